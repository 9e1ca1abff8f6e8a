package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	floodListeners = 10_000
	floodTime      = 5 * time.Second
	// floodAlerts is how many alerts of one rule may be delivered one by one.
	floodAlerts = 5
)

// flood opens ten thousand listeners in five seconds under two portaudits that find
// each, one of which hears of them from the kernel: all must be in their logs, and
// no more than a few alerts and a summary a minute outside these, which counts them.
func (l *lab) flood(ctx context.Context) error {
	if err := l.buildPortaudit(ctx); err != nil {
		return err
	}
	dir, err := l.fresh("flood")
	if err != nil {
		return err
	}
	var all []*flooded
	for _, realtime := range []string{"on", "off"} {
		own := filepath.Join(dir, realtime)
		d, startErr := l.daemon(ctx, own, filepath.Join(own, "log"), "", "--realtime", realtime)
		if err = startErr; err != nil {
			break
		}
		all = append(all, &flooded{daemon: d, realtime: realtime})
	}
	if err == nil {
		err = through(ctx, all)
	}
	for _, f := range all {
		err = errors.Join(err, f.stop(false))
	}
	for _, f := range all {
		if err == nil {
			err = f.judge()
		}
	}
	return err
}

// flooded is a daemon under a flood.
type flooded struct {
	*daemon
	realtime     string
	logged, told time.Duration // after how long all were in the log, and told
}

// through opens the listeners, and holds them until all is told of them.
func through(ctx context.Context, all []*flooded) (err error) {
	start := time.Now()
	ls, err := open(ctx, floodListeners, floodTime, 0)
	defer func() { err = errors.Join(err, ls.close()) }()
	if err != nil {
		return err
	}
	say("flood: %d listeners opened in %.1f s", len(ls), time.Since(start).Seconds())
	for _, f := range all {
		err := f.await(ctx, patience, "the last listener in the log", func() bool {
			return f.daemon.logged().raised >= floodListeners
		})
		if err != nil {
			return err
		}
		f.logged = time.Since(start)
	}
	for _, f := range all {
		err := f.await(ctx, patience, "a summary of the last of them", func() bool {
			return f.daemon.told() >= floodListeners
		})
		if err != nil {
			return err
		}
		f.told = time.Since(start)
	}
	return nil
}

var summary = regexp.MustCompile(`summary ` + chaosRule + `: .* (\d+) finding\.raised of rule`)

// summaries counts the summaries of the rule on standard error, and the findings
// that they stand for.
func (d *daemon) summaries() (count, findings int) {
	for line := range strings.Lines(d.said.String()) {
		if m := summary.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1]) // these are digits
			count++
			findings += n
		}
	}
	return count, findings
}

func (f *flooded) judge() error {
	c, alerts := f.daemon.logged(), f.alerts()
	count, summed := f.summaries()
	say("flood: realtime %s: %d listeners and %d findings in the log after %.1f s; outside it %d alerts and %d summaries of %d after %.0f s",
		f.realtime, c.opened, c.raised, f.logged.Seconds(), alerts, count, summed, f.told.Seconds())
	switch {
	case c.err != nil:
		return c.err
	case f.verified() != nil:
		return f.verified()
	case c.opened != floodListeners || c.raised != floodListeners:
		return errors.New("not each listener is in the log once")
	case alerts > floodAlerts || count > 1+int(f.told/time.Minute):
		return errors.New("these are too many alerts")
	case alerts+summed != floodListeners:
		return fmt.Errorf("they tell of %d findings", alerts+summed)
	}
	return nil
}
