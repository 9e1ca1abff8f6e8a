package audit

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestBounded(t *testing.T) {
	huge := Event{Event: FindingRaised, Message: strings.Repeat("m\x1b", 1<<20)}
	for range 1000 {
		huge.Owners = append(huge.Owners, Owner{Command: strings.Repeat("\u202e\"", 10000), Executable: "/\xff"})
		huge.Errors = append(huge.Errors, strings.Repeat("<", 5000))
	}
	tests := []struct {
		reason string
		event  Event
		size   int
		want   string // in the error
	}{
		{"what is small stays as it is", Event{Event: AgentStopped, Message: "m"}, 16 << 10, ""},
		{"what is large is cut", huge, 16 << 10, ""},
		{"a few kilobytes always suffice", huge, 4 << 10, ""},
		{"nothing fits into nothing", Event{Event: "a\nb"}, 10, `event a\nb: it does not fit into 10 bytes`},
		{"a year beyond 9999", Event{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, 4 << 10, "year"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			got, err := Bounded(tt.event, tt.size)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("%v, want an error about %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if text := strings.ReplaceAll(string(b), `\u003c`, "<"); len(text) > tt.size || got.Event != tt.event.Event {
				t.Errorf("%d bytes of %s", len(text), got.Event)
			}
			if got.Message != Visible(got.Message) || len(got.Owners) > 0 && got.Owners[0].Executable != `/\xff` {
				t.Errorf("it is not harmless: %.100q", got.Message)
			}
		})
	}
}
