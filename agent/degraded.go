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
	// Suspend: no audit is made until the log can be written again.
	Suspend Unlogged = iota
	// Alert: audits go on, and alerts tell of what the log cannot hold.
	Alert
	// Exit: Run ends with the error.
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

// ahead is what was not acknowledged by the log, where alerts do not wait for it.
type ahead struct {
	open []audit.Event // not told yet
	told int           // records that wait in the log, the first of which were told
	lost uint64        // records of the log, as far as they were taken off told
}

// sync makes durable what the log has, if there is something.
func (l *loop) sync() error {
	if _, waits := l.Log.Pending(); !waits {
		return nil
	}
	return l.took(l.Log.Sync())
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
	l.state.Seq = l.Log.Seq()
	l.alert(l.ahead.news(acknowledged)...)
	switch {
	case err == nil:
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
		l.alert(l.ahead.tell(l.Log.Health().Lost)...)
	}
	return nil
}

// news returns which of the acknowledged events were not told before.
func (a *ahead) news(acknowledged []audit.Event) []audit.Event {
	var news []audit.Event
	for _, e := range acknowledged {
		switch {
		case ofLog(e): // it knows of these alone
		case a.told > 0:
			a.told--
			continue
		case len(a.open) > 0:
			a.open = a.open[1:]
		}
		news = append(news, e)
	}
	return news
}

// tell returns what was not told, and notes that it is now. lost is how many
// records the log had no room for, which are the last ones that it was given.
func (a *ahead) tell(lost uint64) []audit.Event {
	told := a.open
	a.told += len(told) - int(lost-a.lost)
	a.open, a.lost = nil, lost
	return told
}

// ofLog reports whether a record is one that the log makes by itself.
func ofLog(e audit.Event) bool {
	return e.Event == audit.LogSegment || e.Event == audit.LogDegraded || e.Event == audit.LogRestored
}

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
		case <-l.syncDue():
			if err := l.sync(); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}
