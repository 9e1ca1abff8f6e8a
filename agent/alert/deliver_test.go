package alert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// receiver is a Sender that keeps what it gets.
type receiver struct {
	mu     sync.Mutex
	got    []Message
	times  []time.Time
	before func(ctx context.Context, n int) error // called for message n, may refuse it
	closed bool
}

func (r *receiver) Send(ctx context.Context, m Message) error {
	r.mu.Lock()
	n := len(r.got)
	r.mu.Unlock()
	if r.before != nil {
		if err := r.before(ctx, n); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got, r.times = append(r.got, m), append(r.times, time.Now())
	return nil
}

func (r *receiver) Close() error { r.closed = true; return nil }

// messages returns what was got, and sequence numbers of the records among them.
func (r *receiver) messages() (all []Message, seqs []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.got {
		if m.Summary == nil {
			seqs = append(seqs, m.Event.Seq)
		}
	}
	return slices.Clone(r.got), seqs
}

// bench is a log with a feed.
type bench struct {
	t     *testing.T
	dir   string
	state string
	log   *audit.Log
	feed  *Feed
	text  strings.Builder // of the logger
	mu    sync.Mutex
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), state: t.TempDir()}
	b.open()
	t.Cleanup(func() { b.log.Close() })
	return b
}

func (b *bench) open() {
	var err error
	if b.log, err = audit.Open(b.dir, audit.Options{Host: "alpha", Boot: "b"}); err != nil {
		b.t.Fatal(err)
	}
	b.feed = NewFeed(b.dir, b.log.Seq())
}

// put records events and hands them on.
func (b *bench) put(events ...audit.Event) {
	acknowledged, err := b.log.Append(events...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.feed.Put(acknowledged...)
	if acknowledged, err = b.log.Sync(); err != nil {
		b.t.Fatal(err)
	}
	b.feed.Put(acknowledged...)
}

// add hands on events that the log already has.
func (b *bench) add(n int, e audit.Event) {
	events := make([]audit.Event, n)
	for i := range events {
		events[i] = e
		events[i].Time = time.Now()
	}
	b.put(events...)
}

func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *bench) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *bench) output(r Sender, s Selection) *Output {
	return NewOutput(OutputOptions{
		Name: "test", Sender: r, Select: s, Feed: b.feed, StateDir: b.state,
		Logger: slog.New(slog.NewTextHandler(b, nil)),
	})
}

// run runs an output until the function that it returns is called.
func run(o *Output) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		o.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// numbers returns the sequence numbers of some records of a test, which come behind
// the one that begins the log.
func numbers(first, last uint64) []uint64 {
	var all []uint64
	for n := first + 1; n <= last+1; n++ {
		all = append(all, n)
	}
	return all
}

var raised = audit.Event{Event: audit.FindingRaised, Rule: "r", Severity: "high", Message: "m"}

// TestFloodOfListeners is the issue's: 10,000 listeners in five seconds.
func TestFloodOfListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t), &receiver{}
		stop := run(b.output(r, Selection{}))
		const listeners, rules = 10000, 3
		for i := range 100 {
			var events []audit.Event
			for j := range listeners / 100 {
				rule := fmt.Sprintf("rule-%d", j%rules)
				events = append(events, audit.Event{Event: audit.ListenerOpened, Rule: rule, Message: "opened", Time: time.Now()},
					audit.Event{Event: audit.FindingRaised, Rule: rule, ID: fmt.Sprint(i, j), Severity: "high", Message: "raised", Time: time.Now()})
			}
			b.put(events...)
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(3 * time.Minute)
		stop()
		if b.log.Seq() != 2*listeners+1 {
			t.Errorf("the log has %d records", b.log.Seq())
		}
		all, _ := r.messages()
		sum, single, summaries := uint64(0), map[string]int{}, map[string]int{}
		for _, m := range all {
			if m.Summary == nil {
				single[m.Event.Rule]++
				sum++
				continue
			}
			summaries[m.Event.Rule]++
			sum += m.Summary.Count
		}
		if sum != listeners {
			t.Errorf("alerts and summaries stand for %d", sum)
		}
		for rule := range rules {
			rule := fmt.Sprintf("rule-%d", rule)
			if single[rule] != atOnce || summaries[rule] != 1 {
				t.Errorf("%s: %d by themselves and %d summaries", rule, single[rule], summaries[rule])
			}
		}
		if len(all) != rules*(atOnce+1) {
			t.Errorf("%d messages", len(all))
		}
	})
}

// TestKilled takes at each message the cursor that a kill -9 would leave there,
// goes on from it, and counts what comes twice or never.
func TestKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var left []string // state directories
		first := &receiver{}
		first.before = func(context.Context, int) error {
			dir := t.TempDir()
			left = append(left, dir)
			return os.CopyFS(dir, os.DirFS(b.state))
		}
		o := b.output(first, Selection{})
		o.save(true)
		stop := run(o)
		for range 3 { // floods with a pause
			b.add(12, raised)
			b.add(2, audit.Event{Event: audit.AuditFailed, Message: "failed"})
			time.Sleep(2 * time.Minute)
		}
		stop()
		all, _ := first.messages()
		if len(all) != 3*(5+1+2) {
			t.Fatalf("%d messages", len(all))
		}
		end := b.log.Seq()
		for n, dir := range left {
			b.state, b.feed = dir, NewFeed(b.dir, end) // the daemon starts again
			again := &receiver{}
			stop := run(b.output(again, Selection{}))
			time.Sleep(time.Hour)
			stop()
			rest, _ := again.messages()
			// What was in flight is repeated, nothing before it, and all behind it comes.
			if got, want := texts(rest), texts(all[n:]); !slices.Equal(got, want) {
				t.Fatalf("after a kill at message %d came\n%s\nwant\n%s", n, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	})
}

func texts(all []Message) []string {
	var out []string
	for _, m := range all {
		out = append(out, fmt.Sprint(m.Event.Seq, " ", m.Text()))
	}
	return out
}

// TestBehind lets an output hang while more comes than memory has room for: it
// gets all of it from the log, in order, and holds up neither the loop nor others.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		release := make(chan struct{})
		slow, fast := &receiver{}, &receiver{}
		slow.before = func(_ context.Context, n int) error {
			if n == 3 {
				<-release // whatever its context says
			}
			return nil
		}
		slowOutput := b.output(slow, Selection{All: true})
		stopSlow := run(slowOutput)
		fastOutput := NewOutput(OutputOptions{Name: "fast", Sender: fast, Select: Selection{All: true}, Feed: b.feed, StateDir: b.state, Logger: slog.New(slog.DiscardHandler)})
		stopFast := run(fastOutput)
		const total = 3*ringSize + 17
		for range total / 100 {
			b.add(100, audit.Event{Event: audit.ListenerOpened, Message: "m"})
		}
		b.add(total%100, audit.Event{Event: audit.ListenerOpened, Message: "m"})
		synctest.Wait()
		if _, seqs := fast.messages(); !slices.Equal(seqs, numbers(1, total)) {
			t.Errorf("the other output got %d", len(seqs))
		}
		if c := slowOutput.Counts(); c.Behind != total-3 || c.Delivered != 3 {
			t.Errorf("while it hangs: %+v", c)
		}
		close(release)
		time.Sleep(time.Second)
		if _, seqs := slow.messages(); !slices.Equal(seqs, numbers(1, total)) {
			t.Errorf("it got %d, not each in order: %v", len(seqs), seqs[:10])
		}
		if c := slowOutput.Counts(); c != (OutputCounts{Delivered: total}) {
			t.Errorf("at the end: %+v", c)
		}
		stopSlow()
		stopFast()
		if len(b.feed.ring) != 0 || cap(b.feed.ring) > ringSize {
			t.Errorf("the ring keeps %d of %d", len(b.feed.ring), cap(b.feed.ring))
		}
	})
}

// TestRestart holds where an output begins.
func TestRestart(t *testing.T) {
	all := Selection{All: true}
	event := audit.Event{Event: audit.ListenerOpened, Message: "m"}
	got := func(b *bench) []uint64 {
		r := &receiver{}
		stop := run(b.output(r, all))
		synctest.Wait()
		b.add(1, event)
		synctest.Wait()
		stop()
		if !r.closed {
			b.t.Error("it was not closed")
		}
		_, seqs := r.messages()
		return seqs
	}
	tests := []struct {
		reason string
		before func(b *bench)
		want   []uint64
	}{
		{"without a cursor it begins now", func(b *bench) { b.add(3, event) }, numbers(4, 4)},
		{"what came while it was not there", func(b *bench) { got(b); b.add(3, event); b.feed = NewFeed(b.dir, b.log.Seq()) }, numbers(2, 5)},
		{"a log that was moved aside begins anew", func(b *bench) {
			b.add(5, event)
			got(b)
			b.log.Close()
			b.dir = b.t.TempDir()
			b.open()
			b.add(2, event)
			b.feed = NewFeed(b.dir, b.log.Seq())
		}, numbers(3, 3)},
		{"a cursor that cannot be read is one from now on", func(b *bench) {
			got(b)
			b.add(5, event)
			if err := os.WriteFile(filepath.Join(b.state, "test.cursor"), []byte("{"), 0o600); err != nil {
				b.t.Fatal(err)
			}
			b.feed = NewFeed(b.dir, b.log.Seq())
		}, numbers(7, 7)},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				tt.before(b)
				if seqs := got(b); !slices.Equal(seqs, tt.want) {
					t.Errorf("got %v, want %v; %s", seqs, tt.want, b.said())
				}
			})
		})
	}
}

// TestFailures holds what becomes of what a receiver does not take.
func TestFailures(t *testing.T) {
	tests := []struct {
		reason string
		fail   func(n int) error // of try n
		want   []uint64
		counts OutputCounts
		least  time.Duration // until all is there
		most   time.Duration
		says   string
	}{
		{"a receiver that comes back gets it, after growing pauses", func(n int) error {
			if n < 5 {
				return io.ErrUnexpectedEOF
			}
			return nil
		}, numbers(1, 2), OutputCounts{Delivered: 2, Failures: 5}, 7 * time.Second, 16 * time.Second, "delivers again"},
		{"what it refuses is left out", func(n int) error {
			if n == 0 {
				return fmt.Errorf("%w: 400 Bad Request", ErrRefused)
			}
			return nil
		}, numbers(2, 2), OutputCounts{Delivered: 1, Failures: 1, Dropped: 1}, 0, 0, "400 Bad Request"},
		{"it says when", func(n int) error {
			if n == 0 {
				return &LaterError{After: 90 * time.Second, Err: errors.New("429")}
			}
			return nil
		}, numbers(1, 2), OutputCounts{Delivered: 2, Failures: 1}, 90 * time.Second, 90 * time.Second, "again after"},
		{"not longer than is good", func(n int) error {
			if n == 0 {
				return &LaterError{After: time.Hour, Err: errors.New("429")}
			}
			return nil
		}, numbers(1, 2), OutputCounts{Delivered: 2, Failures: 1}, longestLater, longestLater, "again after"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, r, tries := newBench(t), &receiver{}, 0
				r.before = func(context.Context, int) error { tries++; return tt.fail(tries - 1) }
				o := b.output(r, Selection{})
				stop := run(o)
				began := time.Now()
				b.add(2, raised)
				time.Sleep(time.Hour)
				_, seqs := r.messages()
				if !slices.Equal(seqs, tt.want) || o.Counts() != tt.counts {
					t.Errorf("got %v, %+v", seqs, o.Counts())
				}
				if took := r.times[0].Sub(began); took < tt.least || took > tt.most {
					t.Errorf("it took %v", took)
				}
				if !strings.Contains(b.said(), tt.says) || strings.Count(b.said(), "WARN") != 1 {
					t.Errorf("it said %s", b.said())
				}
				stop()
			})
		})
	}
}

// TestStop holds that the end comes soon, and what waits comes after a restart.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t), &receiver{before: func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }}
		stop := run(b.output(r, Selection{}))
		b.add(9, raised)
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took != Grace {
			t.Errorf("it took %v", took)
		}
		b.feed = NewFeed(b.dir, b.log.Seq())
		r.before = nil
		stop = run(b.output(r, Selection{}))
		time.Sleep(2 * time.Minute)
		stop()
		all, seqs := r.messages()
		if !slices.Equal(seqs, numbers(1, 5)) || len(all) != 6 || all[5].Summary.Count != 4 {
			t.Errorf("then came %v", texts(all))
		}
	})
	synctest.Test(t, func(t *testing.T) { // what is there at the end is delivered
		b, r := newBench(t), &receiver{}
		stop := run(b.output(r, Selection{All: true}))
		synctest.Wait()
		began := time.Now()
		b.add(500, audit.Event{Event: audit.ListenerClosed, Message: "m"})
		stop()
		if _, seqs := r.messages(); len(seqs) != 500 || time.Since(began) != 0 {
			t.Errorf("%d were delivered in %v", len(seqs), time.Since(began))
		}
	})
}

// TestUnheld lets events pass that the log could not hold.
func TestUnheld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t), &receiver{}
		release := make(chan struct{})
		r.before = func(context.Context, int) error { <-release; return nil }
		o := b.output(r, Selection{All: true})
		stop := run(o)
		b.add(1, raised)
		synctest.Wait()
		unheld := raised
		unheld.Time = time.Now()
		for range ringSize + 10 {
			b.feed.Put(unheld)
		}
		b.add(1, raised)
		close(release)
		time.Sleep(time.Second)
		_, seqs := r.messages()
		if len(seqs) != 2+ringSize-1 || seqs[0] != 2 || seqs[1] != 0 || seqs[len(seqs)-1] != 3 {
			t.Errorf("%d came, %v first", len(seqs), seqs[:3])
		}
		if c := o.Counts(); c.Dropped != 11 || c.Behind != 0 {
			t.Errorf("%+v", c)
		}
		stop()
	})
}

// TestHash holds the hash of a message against the record behind it.
func TestHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := newBench(t), &receiver{}
		stop := run(b.output(r, Selection{All: true}))
		for range 3 {
			b.add(2, audit.Event{Event: audit.FindingRaised, Rule: "<&>", Message: strings.Repeat("\x1b[2J\u202e\xff\n", 4000), Owners: []audit.Owner{{Command: "a\x00b"}}})
		}
		synctest.Wait()
		stop()
		all, _ := r.messages()
		for i, m := range all[1:] {
			if m.Event.Prev != all[i].Hash {
				t.Errorf("record %d has prev %s, the one before was delivered with %s", m.Event.Seq, m.Event.Prev, all[i].Hash)
			}
		}
	})
}
