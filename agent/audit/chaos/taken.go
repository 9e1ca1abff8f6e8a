package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// taking is a way to take the log away from a portaudit.
type taking struct {
	name string
	take func(log string) error
	mend func(log string) error // nil: it goes on by itself
}

func active(log string) string { return filepath.Join(log, "audit.jsonl") }

var takings = []taking{
	{"its file is removed", func(log string) error { return os.Remove(active(log)) }, nil},
	{"its file is renamed", func(log string) error { return os.Rename(active(log), active(log)+".1") }, nil},
	{
		"its file is replaced",
		func(log string) error {
			return errors.Join(os.Remove(active(log)), os.WriteFile(active(log), []byte("another's\n"), 0o600))
		},
		func(log string) error {
			if data, err := os.ReadFile(active(log)); string(data) != "another's\n" {
				return fmt.Errorf("another's file was written: %q, %v", data, err)
			}
			return os.Remove(active(log))
		},
	},
	{"its directory is removed", os.RemoveAll, func(log string) error { return os.Mkdir(log, 0o700) }},
}

// taken takes the log away from portaudit in each way.
func (l *lab) taken(ctx context.Context) error {
	for _, t := range takings {
		if err := l.takeAway(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return l.readOnly(ctx)
}

// some is how many listeners are opened before and after.
const some = 5

func (l *lab) takeAway(ctx context.Context, t taking) error {
	dir, err := l.fresh("taken")
	if err != nil {
		return err
	}
	d, err := l.daemon(ctx, dir, filepath.Join(dir, "log"), "", "--realtime", "off")
	if err != nil {
		return err
	}
	ls, err := t.through(ctx, d)
	if err = errors.Join(err, ls.close(), d.stop(false)); err != nil {
		return err
	}
	c := d.logged()
	say("taken: %s: %d listeners before and %d after; the new file has %d of them and %d findings, %d log.degraded and %d log.restored",
		t.name, some, some, c.opened, c.raised, c.degraded, c.restored)
	if c.err != nil || c.opened != some || c.raised != some || c.degraded != 1 || c.restored != 1 {
		return fmt.Errorf("that is not what was opened after: %v", c.err)
	}
	return nil
}

func (t taking) through(ctx context.Context, d *daemon) (all listeners, err error) {
	if all, err = t.begin(ctx, d); err != nil {
		return all, err
	}
	if t.mend != nil {
		if err := d.awaitTrouble(ctx); err != nil {
			return all, err
		}
		if err := t.mend(d.log); err != nil {
			return all, err
		}
	}
	return all, d.await(ctx, patience, "later findings in a new file", func() bool {
		c := d.logged()
		return c.err == nil && c.raised == some && c.restored > 0
	})
}

// begin opens listeners, takes the log away when it has them, and opens more.
func (t taking) begin(ctx context.Context, d *daemon) (all listeners, err error) {
	if all, err = open(ctx, some, 0, 0); err != nil {
		return all, err
	}
	// Told, they are acknowledged: what can be read may be in memory alone.
	if err := d.await(ctx, patience, "alerts", func() bool { return d.told() == some && d.logged().raised == some }); err != nil {
		return all, err
	}
	if err := t.take(d.log); err != nil {
		return all, err
	}
	more, err := open(ctx, some, 0, some)
	return append(all, more...), err
}

// awaitTrouble waits until the daemon says that its log cannot be written.
func (d *daemon) awaitTrouble(ctx context.Context) error {
	return d.await(ctx, patience, "word of the trouble", func() bool {
		return strings.Contains(d.said.String(), "the audit log cannot be written")
	})
}

// readOnly makes the file system of the log read-only, as ext4 does by itself when it
// finds an error (errors=remount-ro): it cannot be written again before it is
// unmounted, which needs an end of portaudit. That must come when it is asked for,
// and the next one must find all that was acknowledged.
func (l *lab) readOnly(ctx context.Context) (err error) {
	m, err := l.mount(ctx, disks[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.remove()) }()
	dir, err := l.fresh("taken")
	if err != nil {
		return err
	}
	d, err := l.daemon(ctx, dir, m.log, "", "--realtime", "off")
	if err != nil {
		return err
	}
	abort := taking{"its file system becomes read-only",
		func(string) error { return command(ctx, "mount", "-o", "remount,abort", m.dir) }, nil}
	ls, err := abort.begin(ctx, d)
	defer func() { err = errors.Join(err, ls.close()) }()
	if err == nil {
		err = d.awaitTrouble(ctx)
	}
	if err = errors.Join(err, d.stop(true)); err != nil {
		return err
	}
	if err := m.restart(ctx); err != nil {
		return err
	}
	before := d.logged()
	again, err := l.daemon(ctx, dir, m.log, "", "--realtime", "off")
	if err != nil {
		return err
	}
	err = again.await(ctx, patience, "all findings in the log", func() bool { return again.logged().raised == 2*some })
	if err = errors.Join(err, again.stop(false)); err != nil {
		return err
	}
	c := again.logged()
	say("taken: %s: %d findings in the log before, and %d of %d when portaudit was started again on it", abort.name, before.raised, c.raised, 2*some)
	if before.raised != some || c.opened != 2*some || c.err != nil {
		return fmt.Errorf("that is not what was opened: %d listeners, %v", c.opened, c.err)
	}
	return nil
}
