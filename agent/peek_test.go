package agent

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
)

// TestPeek lets something open 12.5 s after the start, between the audits of
// every ten, on a host that tells of no changes, and gone after 35.
func TestPeek(t *testing.T) {
	for _, tt := range []struct {
		reason  string
		takes   time.Duration // a peek
		err     error
		confirm int
		peeks   bool
		want    []string // of 80
	}{
		{"a peek sees it, and so does the audit that follows", time.Millisecond, nil, 2, true, []string{"13.003s listener.opened", "13.003s finding.raised", "1m0s finding.cleared", "1m0s listener.closed"}},
		{"three audits are asked for: the next one confirms it", time.Millisecond, nil, 3, true, []string{"20s listener.opened", "20s finding.raised", "1m0s finding.cleared", "1m0s listener.closed"}},
		{"a peek takes long: it is made less often, and audits are first", 20 * time.Millisecond, nil, 2, true, []string{"30s listener.opened", "30s finding.raised", "1m0s finding.cleared", "1m0s listener.closed"}},
		{"a peek fails: audits go on", time.Millisecond, errors.New("no tables"), 2, true, []string{"30s listener.opened", "30s finding.raised", "1m0s finding.cleared", "1m0s listener.closed"}},
		{"nobody peeks", 0, nil, 2, false, []string{"30s listener.opened", "30s finding.raised", "1m0s finding.cleared", "1m0s listener.closed"}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, began := t.TempDir(), time.Now()
				there := func() bool {
					at := time.Since(began)
					return at >= 12500*time.Millisecond && at < 35*time.Second
				}
				seen := false
				runFor(t, dir, &host{}, mustPolicy(t, alertAll), 65*time.Second, func(o *Options) {
					o.Interval, o.Limits = 10*time.Second, Limits{Confirm: tt.confirm, Gone: 3}
					o.List = func(context.Context) (listen.Snapshot, error) {
						s := listening(22)
						if seen = there(); seen {
							s = listening(22, 80)
						}
						s.Time = time.Now()
						return s, nil
					}
					o.Realtime = Realtime{Text: "peeks", Peek: func(context.Context) (bool, error) {
						time.Sleep(tt.takes)
						return there() != seen, tt.err
					}}
					if !tt.peeks {
						o.Realtime.Peek = nil
					}
				})
				var got []string
				for e, err := range audit.ReadFrom(dir+"/log", 0) {
					if err != nil {
						t.Fatal(err)
					}
					if e.Port == 80 {
						got = append(got, fmt.Sprintf("%v %s", e.Time.Sub(began), e.Event))
					}
				}
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Errorf("reported (-want +got):\n%s", d)
				}
			})
		})
	}
}
