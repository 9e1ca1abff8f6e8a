package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// disk is a file system to cut the power of.
type disk struct {
	name    string
	size    int64
	mkfs    []string
	options string // of mount
}

// cutsOfLog is how many cuts one log has to stand.
const cutsOfLog = 12

// disks are those that servers have. The journals are small, so that they wrap.
var disks = []disk{
	{"ext4 ordered", 64 << 20, []string{"mkfs.ext4", "-q", "-b", "1024", "-J", "size=1"}, "data=ordered"},
	{"ext4 writeback", 64 << 20, []string{"mkfs.ext4", "-q", "-b", "1024", "-J", "size=1"}, "data=writeback"},
	{"ext4 journal", 64 << 20, []string{"mkfs.ext4", "-q", "-b", "4096", "-J", "size=4"}, "data=journal"},
	{"xfs", 320 << 20, []string{"mkfs.xfs", "-q"}, "defaults"},
	{"btrfs", 128 << 20, []string{"mkfs.btrfs", "-q"}, "defaults"},
}

// power cuts the power of writers: their file system forgets at once all that
// it has not brought to its disk. Then it does the same to writers whose fsync
// does nothing, and fails if those lose nothing, for then it could not see a loss.
func (l *lab) power(ctx context.Context) error {
	var usable []disk
	for _, d := range disks {
		if err := l.tryDisk(ctx, d); err != nil {
			say("power: %s left out: %v", d.name, err)
			continue
		}
		usable = append(usable, d)
	}
	if len(usable) == 0 {
		return errors.New("no file system can be mounted and shut down here")
	}
	var sum tally
	for i, d := range usable {
		cuts := (l.cuts + i) / len(usable) // they add up to l.cuts
		t, err := l.cutDisk(ctx, d, cuts, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		say("power: %s: %d cuts; %v", d.name, cuts, t)
		sum.sum(t)
	}
	say("power: %d cuts in all; %v", l.cuts, sum)
	return l.control(ctx, usable[0])
}

// control is the negative control of power.
func (l *lab) control(ctx context.Context, d disk) error {
	const cuts = 10
	t, err := l.cutDisk(ctx, d, cuts, []string{"strace", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf",
		"-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:retval=0"})
	if err != nil {
		return fmt.Errorf("without fsync: %w", err)
	}
	say("power: %s without fsync: %d cuts; %v", d.name, cuts, t)
	if t.lost == 0 {
		return errors.New("writers without fsync lost nothing: this program would not see a loss")
	}
	return nil
}

// tryDisk shuts a file system down once.
func (l *lab) tryDisk(ctx context.Context, d disk) error {
	m, err := l.mount(ctx, d)
	if err != nil {
		return err
	}
	return errors.Join(m.cut(false), m.remove())
}

// cutDisk cuts the power of so many writers, which run under a command, if
// there is one. Those may lose what they acknowledged, others may not.
func (l *lab) cutDisk(ctx context.Context, d disk, cuts int, under []string) (t tally, err error) {
	m, err := l.mount(ctx, d)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, m.remove()) }()
	// Without fsync the key is lost, and a log that lost records is not signed again.
	keys := m.keys
	if under != nil {
		keys = ""
	}
	j := newJudge(m.log, keys, 0)
	for number := 1; number <= cuts; number++ {
		if err := l.cutOne(ctx, m, j, number, under); err != nil {
			return t, fmt.Errorf("cut %d: %w", number, err)
		}
		if number%cutsOfLog != 0 && number < cuts && under == nil {
			continue
		}
		if err := j.check(true); err != nil && under == nil {
			return t, fmt.Errorf("the log after cut %d: %w", number, err)
		}
		t.add(j)
		if err := os.RemoveAll(m.log); err != nil {
			return t, err
		}
		j = newJudge(m.log, keys, kept(number/cutsOfLog))
	}
	return t, nil
}

func (l *lab) cutOne(ctx context.Context, m *mounted, j *judge, number int, under []string) error {
	w, err := l.start(number, j.dir, under, j.flags()...)
	if err != nil {
		return err
	}
	err = w.awaitOpen(ctx)
	quiet := m.disturb()
	time.Sleep(rand.N(120 * time.Millisecond))
	before := w.book.read() // what was acknowledged before the power goes must stay
	cut := m.cut(number%4 == 0)
	quiet()
	after, _ := w.end() // how it ends without a disk is its own affair
	if err = errors.Join(err, cut, ctx.Err()); err != nil {
		return err
	}
	before.begun = after.begun
	j.hear(number, before)
	if err := m.restart(ctx); err != nil {
		return err
	}
	if err := j.recover(); err != nil {
		return err
	}
	if err := j.check(false); err != nil && under == nil {
		return err
	}
	return nil
}

// mounted is a file system in a file.
type mounted struct {
	disk
	image string
	dir   string // where it is mounted
	log   string // the directory in it for the log
	keys  string // and that for the key
	ours  bool   // whether it is mounted now
}

// mount makes the file system and mounts it.
func (l *lab) mount(ctx context.Context, d disk) (*mounted, error) {
	dir, err := l.fresh("disk")
	if err != nil {
		return nil, err
	}
	m := &mounted{disk: d, image: filepath.Join(l.memory, "image"), dir: dir, log: filepath.Join(dir, "log"), keys: filepath.Join(dir, "keys")}
	if err := errors.Join(os.WriteFile(m.image, nil, 0o600), os.Truncate(m.image, d.size)); err != nil {
		return nil, err
	}
	if err := command(ctx, append(d.mkfs, m.image)...); err != nil {
		return nil, err
	}
	if err := m.restart(ctx); err != nil {
		return nil, err
	}
	// So that the directory is there after any cut; the writer makes the key.
	return m, errors.Join(os.Mkdir(m.keys, 0o700), command(ctx, "sync", "--file-system", m.dir))
}

// restart mounts the file system, as a start of the machine after a power cut
// does. The kernel makes the loop device, and frees it when it is unmounted.
func (m *mounted) restart(ctx context.Context) error {
	if err := m.unmount(); err != nil {
		return err
	}
	if err := command(ctx, "mount", "-o", "loop,"+m.options, m.image, m.dir); err != nil {
		return err
	}
	m.ours = true
	return nil
}

func (m *mounted) unmount() error {
	if !m.ours {
		return nil
	}
	// Not with ctx: it is to be done when that has ended, too.
	if err := command(context.Background(), "umount", m.dir); err != nil {
		return err
	}
	m.ours = false
	return nil
}

// disturb lets the file system bring to disk what it has at any moment, as other
// programs of a host do, so that a cut finds records of which a part is there. The
// function that it returns ends that.
func (m *mounted) disturb() (quiet func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends when stop is closed
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(rand.N(20 * time.Millisecond)):
				_ = syncFiles(m.dir) // it fails when the power is gone
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// remove unmounts the file system and removes it.
func (m *mounted) remove() error { return errors.Join(m.unmount(), os.Remove(m.image)) }

// cut cuts its power.
func (m *mounted) cut(flush bool) error {
	f, err := os.Open(m.dir)
	if err != nil {
		return err
	}
	return errors.Join(shutdown(f, flush), f.Close())
}

// command runs a command, and returns an error with what it said.
func command(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
