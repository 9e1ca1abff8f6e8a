package alert

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/portaudit/portaudit/agent/audit"
)

// TestEventIDs holds the table of docs/outputs.md, and that each id is one of its
// own that EventCreate.exe has a text for.
func TestEventIDs(t *testing.T) {
	page := read(t, filepath.Join("..", "..", "docs", "outputs.md"))
	documented := map[string]uint32{}
	for _, row := range regexp.MustCompile("(?m)^\\| (\\d+) \\| `([\\w.]+)` \\|").FindAllStringSubmatch(page, -1) {
		var id uint32
		if _, err := fmt.Sscan(row[1], &id); err != nil {
			t.Fatal(err)
		}
		documented[row[2]] = id
	}
	if !maps.Equal(documented, EventIDs()) {
		t.Errorf("documented are\n%v, there are\n%v", documented, EventIDs())
	}
	kinds := map[uint32]string{}
	for kind, id := range EventIDs() {
		if kinds[id] != "" || id < 1 || id > 1000 || id == otherEvent {
			t.Errorf("%s has the id %d, as %q", kind, id, kinds[id])
		}
		kinds[id] = kind
	}
	for _, m := range samples() {
		if eventID(m.Event.Event) == otherEvent {
			t.Errorf("%s has no id", m.Event.Event)
		}
	}
	if eventID("new.kind") != otherEvent {
		t.Error("a kind that nobody knows has an id")
	}
}

func TestEventLevel(t *testing.T) {
	for severity, want := range map[string]eventLevel{"critical": eventError, "high": eventError, "medium": eventWarning, "low": eventInfo} {
		m := aFinding()
		m.Event.Severity = severity
		if got := levelOf(m.Priority()); got != want {
			t.Errorf("%s is %d", severity, got)
		}
	}
	if got := levelOf(itsEnd().Priority()); got != eventInfo {
		t.Errorf("an end is %d", got)
	}
}

func TestEventText(t *testing.T) {
	text, err := eventText(aFinding())
	if err != nil {
		t.Fatal(err)
	}
	head, record, _ := strings.Cut(text, "\r\n\r\n")
	want := strings.ReplaceAll(docBlock(t, "event"), "\n", "\r\n")
	if got := head + "\r\n"; got != want {
		t.Errorf("it is\n%s\nthe documentation has\n%s", got, want)
	}
	var e audit.Event
	if err := json.Unmarshal([]byte(record), &e); err != nil || e.Seq != 4 || e.Prev != aFinding().Event.Prev {
		t.Errorf("%v of %s", err, record)
	}
	for _, bad := range []string{"a\nb\x1b\x00\xff\u202e", strings.Repeat("%1 \"", 1<<19), strings.Repeat("\U0001F600", 1<<18), strings.Repeat("%n%0%!s!", 3000)} {
		for _, m := range []Message{spoil(aFinding(), bad), spoil(aSummary(), bad), spoil(itsEnd(), bad)} {
			text, err := eventText(m)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(utf16.Encode([]rune(text))); n > maxEventText {
				t.Errorf("%d characters", n)
			}
			if percent.MatchString(text) {
				t.Errorf("it has what the Event Viewer replaces: %.200q", text)
			}
			plain := strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", ""), `\`, "/")
			if audit.Visible(plain) != plain {
				t.Errorf("it has what cannot be seen: %.200q", text)
			}
			if _, record, ok := strings.Cut(text, "\r\n\r\n"); ok && !json.Valid([]byte(record)) {
				t.Errorf("no JSON: %.200q", record)
			}
		}
	}
}

func TestEventLogElsewhere(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("this system has an Event Log")
	}
	_, err := OpenEventLog()
	checkError(t, "no Windows", err, "only Windows has one")
}
