package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
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
	ls, err := open(ctx, floodListeners, floodTime)
	opened := time.Since(start)
	defer func() { err = errors.Join(err, ls.close()) }()
	if err != nil {
		return errors.Join(err, d.stop())
	}
	count := func() (int, int) { return logged(d.log) }
	err = d.await(ctx, 2*time.Minute, "the last listener in the log", func() bool {
		_, raised := count()
		return raised >= floodListeners
	})
	told := time.Since(start)
	err = errors.Join(err, d.stop())
	listeners, raised := count()
	say("flood: realtime %s: %d listeners opened in %.1f s, the log had %d of them and %d findings after %.1f s; %d alerts",
		realtime, len(ls), opened.Seconds(), listeners, raised, told.Seconds(), strings.Count(d.said.String(), chaosRule))
	if err == nil && (listeners != floodListeners || raised != floodListeners) {
		err = errors.New("not each listener is in the log once")
	}
	return err
}

// logged counts the listeners and findings of chaos in a log.
func logged(dir string) (opened, raised int) {
	for e, err := range audit.ReadFrom(dir, 0) {
		switch {
		case err != nil:
			return opened, raised // it is being written
		case e.Address != chaosAddress:
		case e.Event == audit.ListenerOpened:
			opened++
		case e.Event == audit.FindingRaised:
			raised++
		}
	}
	return opened, raised
}
