package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	floodListeners = 10_000
	floodTime      = 5 * time.Second
)

// flood opens ten thousand listeners in five seconds under a portaudit that
// finds each: all must be in its log, and few of its alerts outside it.
func (l *lab) flood(ctx context.Context) error {
	if err := l.buildPortaudit(ctx); err != nil {
		return err
	}
	for _, realtime := range []string{"on", "off"} {
		if err := l.floodOne(ctx, realtime); err != nil {
			return fmt.Errorf("realtime %s: %w", realtime, err)
		}
	}
	return nil
}

func (l *lab) floodOne(ctx context.Context, realtime string) (err error) {
	dir, err := l.fresh("flood")
	if err != nil {
		return err
	}
	d, err := l.daemon(ctx, dir, dir+"/log", "", "--realtime", realtime)
	if err != nil {
		return err
	}
	start := time.Now()
	ls, err := open(ctx, floodListeners, floodTime, 0)
	opened := time.Since(start)
	defer func() { err = errors.Join(err, ls.close()) }()
	if err != nil {
		return errors.Join(err, d.stop(false))
	}
	err = d.await(ctx, 2*time.Minute, "the last listener in the log", func() bool {
		return d.logged().raised >= floodListeners
	})
	told := time.Since(start)
	err = errors.Join(err, d.stop(false))
	c := d.logged()
	say("flood: realtime %s: %d listeners opened in %.1f s, the log had %d of them and %d findings after %.1f s; %d alerts",
		realtime, len(ls), opened.Seconds(), c.opened, c.raised, told.Seconds(), d.alerts())
	if err == nil && (c.opened != floodListeners || c.raised != floodListeners) {
		err = errors.New("not each listener is in the log once")
	}
	return err
}
