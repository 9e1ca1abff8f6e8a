package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// filling is one way to fill the disk of a portaudit.
type filling struct {
	policy    string // what it is to do then: suspend, alert or exit
	size      string // of the tmpfs
	listeners int    // that are opened while it is full
	lossy     bool   // whether these are more than it can keep in memory
	outputs   string // of the configuration; empty: the usual one, with its flood control
}

var fillings = []filling{
	{policy: "suspend", size: "1m", listeners: 100},
	{policy: "alert", size: "1m", listeners: 100, outputs: "outputs: [{type: stderr, records: all}]\n"},
	{policy: "alert", size: "16m", listeners: 3000, lossy: true},
	{policy: "exit", size: "1m", listeners: 100},
}

// full fills the disk of the log of a portaudit that has much to tell, and gives it
// room again: it must go on by itself, and say once that it could not and once that
// it can, with the exact number of records that it lost. Then it takes the log away
// from it in other ways.
func (l *lab) full(ctx context.Context) error {
	for _, f := range fillings {
		if err := l.fill(ctx, f); err != nil {
			return fmt.Errorf("%s, %s: %w", f.policy, f.size, err)
		}
	}
	return nil
}

// fill fills one disk.
func (l *lab) fill(ctx context.Context, f filling) (err error) {
	dir, err := l.fresh("full")
	if err != nil {
		return err
	}
	disk := filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		return err
	}
	if err := command(ctx, "mount", "-t", "tmpfs", "-o", "mode=700,size="+f.size, "tmpfs", disk); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, command(context.Background(), "umount", disk)) }()
	start := func() (*daemon, error) {
		return l.daemon(ctx, dir, filepath.Join(disk, "log"), "log:\n  disk_full: "+f.policy+"\n"+f.outputs, "--realtime", "off")
	}
	d, err := start()
	if err != nil {
		return err
	}
	filler := filepath.Join(disk, "filler")
	ls, err := f.through(ctx, d, filler)
	defer func() { err = errors.Join(err, ls.close()) }()
	if err = errors.Join(err, d.stop(f.policy == "exit")); err != nil {
		return err
	}
	if f.policy == "exit" { // and is started again when there is room
		if err := os.Remove(filler); err != nil {
			return err
		}
		if d, err = start(); err != nil {
			return err
		}
		all := func() bool { return d.logged().raised == len(ls) }
		err = d.await(ctx, patience, "all listeners in the log of the next one", all)
		if err = errors.Join(err, d.stop(false)); err != nil {
			return err
		}
	}
	return f.judge(d, len(ls))
}

// through opens listeners before the disk is full, while it is, and behind that.
func (f filling) through(ctx context.Context, d *daemon, filler string) (all listeners, err error) {
	more := func(count int) error {
		ls, err := open(ctx, count, 0, len(all))
		all = append(all, ls...)
		return err
	}
	if err := more(20); err != nil {
		return all, err
	}
	if err := d.await(ctx, patience, "findings in the log", func() bool { return d.logged().raised >= 20 }); err != nil {
		return all, err
	}
	if err := fillUp(filler); err != nil {
		return all, err
	}
	if err := more(f.listeners); err != nil {
		return all, err
	}
	if f.policy == "exit" {
		return all, d.awaitEnd(ctx)
	}
	if err := d.await(ctx, patience, "log.degraded", func() bool { return d.logged().degraded > 0 }); err != nil {
		return all, err
	}
	if f.policy == "alert" {
		want := 20 + f.listeners
		if err := d.await(ctx, patience, "alerts that the log cannot hold", func() bool { return d.told()+d.missed() >= want }); err != nil {
			return all, err
		}
	}
	time.Sleep(3 * time.Second) // it tries again, and must not say so again
	if err := os.Remove(filler); err != nil {
		return all, err
	}
	if err := d.await(ctx, patience, "log.restored", func() bool { return d.logged().restored > 0 }); err != nil {
		return all, err
	}
	if err := more(20); err != nil {
		return all, err
	}
	want := func() bool { c := d.logged(); return c.raised+c.opened+int(c.lost) >= 2*len(all) }
	return all, d.await(ctx, patience, "the last listener in the log", want)
}

// verified returns an error if the log of the daemon, which has ended, is not as it
// was written and signed.
func (d *daemon) verified() error {
	found, err := audit.VerifyLog(d.log, audit.VerifyOptions{})
	if err == nil && found.Covered != found.Last {
		err = fmt.Errorf("the log has %d records, and its checkpoint covers %d", found.Last, found.Covered)
	}
	return err
}

// judge judges what is in the log after so many listeners.
func (f filling) judge(d *daemon, opened int) error {
	if err := d.verified(); err != nil {
		return err
	}
	c := d.logged()
	say("full: %s on %s: %d listeners; the log has %d of them and %d findings, %d log.degraded, %d log.restored and %d records lost",
		f.policy, f.size, opened, c.opened, c.raised, c.degraded, c.restored, c.lost)
	switch {
	case c.err != nil:
		return c.err
	case c.degraded != 1 || c.restored != 1:
		return errors.New("not exactly one log.degraded and one log.restored")
	case c.opened+c.raised+int(c.lost) != 2*opened:
		return fmt.Errorf("%d records of listeners and %d lost make not %d", c.opened+c.raised, c.lost, 2*opened)
	case f.lossy == (c.lost == 0):
		return fmt.Errorf("%d records were lost", c.lost)
	}
	return nil
}

// fillUp writes a file until there is no room for a byte more.
func fillUp(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for size := 64 << 10; err == nil && size > 0; {
		if _, err = f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			err, size = nil, size/2
		}
	}
	return errors.Join(err, f.Close())
}

// counts is what a log says of the listeners of chaos and of itself.
type counts struct {
	opened, raised, degraded, restored int
	lost                               uint64
	err                                error // that it could not be read to its end with
}

// logged reads the daemon's log.
func (d *daemon) logged() (c counts) {
	for e, err := range audit.ReadFrom(d.log, 0) {
		if errors.Is(err, fs.ErrNotExist) {
			return c
		}
		if c.err = err; err != nil {
			return c
		}
		if e.Lost != nil {
			c.lost += *e.Lost
		}
		switch {
		case e.Event == audit.LogDegraded:
			c.degraded++
		case e.Event == audit.LogRestored:
			c.restored++
		case e.Address != chaosAddress:
		case e.Event == audit.ListenerOpened:
			c.opened++
		case e.Event == audit.FindingRaised:
			c.raised++
		}
	}
	return c
}

// told is how many findings of chaos the daemon told of, one by one or in summaries.
func (d *daemon) told() int {
	_, findings := d.summaries()
	return d.alerts() + findings
}

var missed = regexp.MustCompile(`faster than the output could deliver them" output=stderr alerts=(\d+)`)

// missed is how many alerts the daemon says that it could not tell of, for neither
// the log nor its memory held them: how many that are depends on who is faster.
func (d *daemon) missed() (n int) {
	for _, m := range missed.FindAllStringSubmatch(d.said.String(), -1) {
		count, _ := strconv.Atoi(m[1]) // these are digits
		n += count
	}
	return n
}

// alerts counts the findings of chaos that the daemon told on standard error.
func (d *daemon) alerts() int { return strings.Count(d.said.String(), "LOW "+chaosRule) }
