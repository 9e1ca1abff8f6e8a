package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// Unlogged says what the loop does while the log cannot be written: on a full
// disk, as a rule.
type Unlogged uint8

const (
	// Suspend makes no audit until the log can be written again.
	Suspend Unlogged = iota
	// Alert goes on with audits, and alerts tell of what the log cannot hold.
	Alert
	// Exit ends Run with the error.
	Exit
)

var unloggedWords = []string{"suspend", "alert", "exit"}

func (u Unlogged) String() string {
	if int(u) < len(unloggedWords) {
		return unloggedWords[u]
	}
	return fmt.Sprintf("Unlogged(%d)", uint8(u))
}

// ParseUnlogged reads a word of String.
func ParseUnlogged(word string) (Unlogged, error) {
	i := slices.Index(unloggedWords, word)
	if i < 0 {
		return 0, fmt.Errorf("%q is none of %s", word, strings.Join(unloggedWords, ", "))
	}
	return Unlogged(i), nil
}

// errAhead is why a state is not saved that tells more than the log: after a crash
// nobody would say the rest.
var errAhead = errors.New("the log does not hold all of it yet")

// ahead is what was not acknowledged by the log, where alerts do not wait for it, in
// the order in which the log was given it. What the log lost stays in it until all
// the rest is acknowledged.
type ahead struct {
	open []audit.Event // not told yet
	told []audit.Event // without what is not needed to know them again
}

// sync makes durable what the log has, if there is something.
func (l *loop) sync() error {
	if _, waits := l.Log.Pending(); !waits {
		return nil
	}
	if err := l.took(l.Log.Sync()); err != nil {
		return err
	}
	return l.signDue()
}

// syncDue tells when the log wants to be synced; never, if nothing waits in it.
func (l *loop) syncDue() <-chan time.Time {
	due, waits := l.Log.Pending()
	if !waits {
		return nil
	}
	return time.After(time.Until(due))
}

// took takes over what the log acknowledged, and why it did not more.
func (l *loop) took(acknowledged []audit.Event, err error) error {
	for _, e := range acknowledged {
		l.state.account(e)
		if e.Event == audit.LogSegment && l.Rotated != nil {
			l.Rotated()
		}
	}
	l.state.Seq = l.Log.Seq()
	l.measured.recorded(acknowledged)
	l.alert(l.ahead.news(acknowledged)...)
	switch {
	case err == nil:
		l.ahead.told = nil
		if l.degraded {
			l.degraded = false
			l.Logger.Info("the audit log can be written again", "lost", l.Log.Health().Lost)
		}
		return nil
	case !errors.Is(err, audit.ErrDegraded) || l.Unlogged == Exit:
		return fmt.Errorf("write the audit log: %w", err)
	case !l.degraded:
		l.degraded = true
		l.Logger.Error("the audit log cannot be written", "error", err, "until then", l.Unlogged)
	}
	if l.Unlogged == Alert {
		l.alert(l.ahead.tell()...)
	}
	return nil
}

// news returns which of the acknowledged events were not told before. What the log
// says of itself is in neither list.
func (a *ahead) news(acknowledged []audit.Event) []audit.Event {
	var news []audit.Event
	for _, e := range acknowledged {
		was := func(o audit.Event) bool { return o.Event == e.Event && o.Time.Equal(e.Time) }
		if i := slices.IndexFunc(a.told, was); i >= 0 {
			a.told = a.told[i+1:]
			continue
		}
		if i := slices.IndexFunc(a.open, was); i >= 0 {
			a.open = a.open[i+1:]
		}
		news = append(news, e)
	}
	return news
}

// tell returns what was not told, and notes that it is now.
func (a *ahead) tell() []audit.Event {
	told := a.open
	a.open = nil
	for _, e := range told[:min(len(told), maxTold-len(a.told))] {
		a.told = append(a.told, audit.Event{Event: e.Event, Time: e.Time})
	}
	return told
}

// maxTold bounds what is remembered of what was told: more than the log lets wait,
// so that what comes then is lost to it in the main. If not, it is told twice.
const maxTold = 10_000

// alert hands events on.
func (l *loop) alert(events ...audit.Event) {
	if l.Alerts != nil {
		l.Alerts(events...)
	}
}

// suspended reports whether audits wait for the log.
func (l *loop) suspended() bool { return l.degraded && l.Unlogged == Suspend }

// pause waits until the log can be written, if audits have to wait for that. It
// reports whether the loop is to stop.
func (l *loop) pause(ctx context.Context, tell <-chan time.Time) (stop bool, err error) {
	for l.suspended() {
		select {
		case <-ctx.Done():
			return true, nil
		case <-tell:
			l.tell()
		case n := <-l.Notes:
			if err := l.note(n); err != nil {
				return false, err
			}
		case <-l.syncDue():
			if err := l.sync(); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}
