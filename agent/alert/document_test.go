package alert

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/export"
)

// TestExported holds that messages are what log export makes of their records, in
// syslog whole and small, and that a summary is one, too.
func TestExported(t *testing.T) {
	for name, test := range map[string]struct {
		format func(Message) ([]byte, error)
		by     func(audit.Event, string) ([]byte, error)
		want   string // of a summary
	}{
		"ecs":  {ECS, export.ECS, `"code":"alert.summary"`},
		"ocsf": {OCSF, export.OCSF, `"event_code":"alert.summary"`},
	} {
		for _, m := range append(samples(), aFinding(), itsEnd()) {
			got, err := test.format(m)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if want, err := test.by(m.Event, m.Hash); m.Summary == nil && (err != nil || string(got) != string(want)) {
				t.Errorf("%s: %v, it is\n%s, want\n%s", name, err, got, want)
			}
			s := encoder()
			s.format = test.format
			b := s.encode(m)
			checkHarmless(t, b)
			if text := parse(t, b).Message; text == nil || !json.Valid([]byte(*text)) {
				t.Errorf("%s: in syslog it is %s", name, b)
			}
		}
		if got, err := test.format(aSummary()); err != nil || !strings.Contains(string(got), test.want) || !strings.Contains(string(got), "37 more records") {
			t.Errorf("%s of a summary: %v, %s", name, err, got)
		}
		long, err := test.format(spoil(aFinding(), strings.Repeat("\x1b", 1<<20)))
		if err != nil || len(long) > 4*maxData {
			t.Errorf("%s of 1 MB: %v, %d bytes", name, err, len(long))
		}
	}
}
