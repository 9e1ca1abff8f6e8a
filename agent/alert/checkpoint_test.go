package alert

import (
	"strings"
	"testing"

	"github.com/portaudit/portaudit/agent/audit"
)

// signed is a checkpoint of a log, of a host with a name as long as one may be, and a
// record that holds it.
func signed(t *testing.T, dir string) (m Message, note string) {
	t.Helper()
	host := strings.Repeat("abcdefgh.", 28) + "x"
	l, err := audit.Open(dir, audit.Options{Host: host, Boot: "f3489fb2-eb27-4094-bdfd-92400b3ec83f"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	signer, err := audit.OpenSigner(t.TempDir(), dir, host)
	if err != nil {
		t.Fatal(err)
	}
	events, err := l.Checkpoint(signer)
	if err != nil {
		t.Fatal(err)
	}
	e := events[len(events)-1]
	if e.Event != audit.LogCheckpoint || len(e.Checkpoint) < 600 {
		t.Fatalf("it is %+v", e)
	}
	return Message{Event: e, Hash: strings.Repeat("ab", 32)}, e.Checkpoint
}

// TestCheckpointLeaves holds that what each output makes of a checkpoint is found
// again, whole, and verifies the log: in the least message of syslog, too.
func TestCheckpointLeaves(t *testing.T) {
	dir := t.TempDir()
	m, note := signed(t, dir)
	event, err := eventText(m)
	if err != nil {
		t.Fatal(err)
	}
	small := encoder()
	small.size = LeastSyslogSize
	small.enterprise = 1<<31 - 1
	document := small
	document.format = Document
	entry := entryFields(t, NewJournal("").encode(m))
	if entry["PORTAUDIT_CHECKPOINT"] != note {
		t.Errorf("the journal has %q", entry)
	}
	for reason, text := range map[string]string{
		"syslog":                        string(encoder().encode(m)),
		"syslog, as small as it may be": string(small.encode(m)),
		"that with JSON":                string(document.encode(m)),
		"the journal":                   entry["PORTAUDIT_CHECKPOINT"],
		"the Event Log":                 event,
		"the Event Log, without record": strings.Split(event, "\r\n\r\n")[0],
	} {
		got, err := audit.FindCheckpoint([]byte(text))
		if err != nil || string(got) != note {
			t.Errorf("%s: %v, %q of\n%s", reason, err, got, text)
			continue
		}
		if _, err := audit.VerifyLog(dir, audit.VerifyOptions{Checkpoint: got}); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
	}
	if got := string(small.encode(m)); len(got) > small.size || strings.Contains(got, "truncated") && !strings.Contains(got, `boot="`) {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	checkHarmless(t, small.encode(m))
}
