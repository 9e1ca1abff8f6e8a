package alert

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestPayloadsAreDocumented holds the payloads of docs/outputs.md against what is
// sent.
func TestPayloadsAreDocumented(t *testing.T) {
	if got := docBlock(t, "gotemplate"); got != ownTemplate+"\n" {
		t.Errorf("the template is\n%s\ntested is\n%s", got, ownTemplate)
	}
	own, err := ParseTemplate("own.tmpl", docBlock(t, "gotemplate"))
	if err != nil {
		t.Fatal(err)
	}
	began := aFinding().Event.Time
	am := func(m Message) ([]byte, error) {
		a := &Alertmanager{now: func() time.Time { return began }, standing: map[string]amAlert{}}
		alerts, _ := a.step(m)
		return marshal(alerts)
	}
	tests := []struct {
		block  string
		format Format
		m      Message
	}{
		{"payload-json", JSON, aFinding()}, {"payload-summary", JSON, aSummary()}, {"payload-slack", Slack, aFinding()},
		{"payload-alertmanager", am, aFinding()}, {"payload-template", own, aFinding()},
	}
	for _, tt := range tests {
		body, err := tt.format(tt.m)
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(docBlock(t, "json "+tt.block)), &want); err != nil {
			t.Fatalf("%s: %v", tt.block, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: documented (-) and sent (+) differ:\n%s", tt.block, diff)
		}
	}
}
