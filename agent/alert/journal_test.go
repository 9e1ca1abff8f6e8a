package alert

import (
	"encoding/binary"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/portaudit/portaudit/agent/audit"
)

// TestMessageIDs: catalogs and filters of others know these. A new kind of event is
// a new line here and in docs/outputs.md; a line that is here is never changed.
func TestMessageIDs(t *testing.T) {
	want := map[string]string{
		"agent.started":     "264d9252e639b48d069769d4db6aa1c4",
		"agent.stopped":     "49842aab160c0b4d716528312fb8a14c",
		"policy.loaded":     "4d907cab8899e7362ed3c6ad3ddce547",
		"policy.rejected":   "42089d62a8af75ea372d8695764fd30e",
		"listener.opened":   "22bbc67559b8234cac0b31b377ab0221",
		"listener.changed":  "9953ec76ef737ebe7c9f02fa20959287",
		"listener.closed":   "963f3612fd0cfc6d79ac549b9bda2729",
		"finding.raised":    "64f74b048bb811fb79b4b75f78213cd9",
		"finding.cleared":   "1a45b91f7132749025fa1db6234154f3",
		"audit.failed":      "57a7616ff2b4a5856f37c47ae671e39e",
		"coverage.changed":  "aab4475f76e0ece08715fb5c8d3e1c8d",
		"crosscheck.failed": "ae87bf59eda4a167e3752ab5596a4204",
		"changes.lost":      "a4613f58c768c225ebf326de569b6859",
		"log.segment":       "4def6c2b22f149dcf81ed270f1d702d5",
		"log.checkpoint":    "5993799ccd5f0ef45b957d33ffce69f4",
		"log.degraded":      "71eee2f8b0d13296653a6e8fee8db5ad",
		"log.restored":      "2e1da7174e85d0790a799eee58816e9d",
		"log.damaged":       "3ff1a9fd8d2247aebd3277adc2842951",
		"log.pruned":        "e6b6f8b36da90575819fba3c3c06ae72",
		"alert.summary":     "210d6c75cace3f813dcdf7f293dba643",
	}
	got := MessageIDs()
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if kinds := slices.Sorted(slices.Values(append(audit.Kinds(), Summarized))); !slices.Equal(kinds, slices.Sorted(maps.Keys(got))) {
		t.Errorf("audit.Kinds and summaries are %v", kinds)
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "outputs.md"))
	if err != nil {
		t.Fatal(err)
	}
	for kind, id := range want {
		if b, err := hex.DecodeString(id); err != nil || len(b) != 16 {
			t.Errorf("%s: %s is no id: %v", kind, id, err)
		}
		if !strings.Contains(string(page), "| `"+kind+"` | `"+id+"` |") {
			t.Errorf("docs/outputs.md does not have %s with %s", kind, id)
		}
	}
	if n := len(slices.Compact(slices.Sorted(maps.Values(want)))); n != len(want) {
		t.Errorf("%d ids of %d kinds", n, len(want))
	}
}

// entryFields reads an entry of lines, as journald does.
func entryFields(t *testing.T, entry []byte) map[string]string {
	t.Helper()
	fields := map[string]string{}
	for rest := string(entry); rest != ""; {
		line, behind, _ := strings.Cut(rest, "\n")
		name, value, ok := strings.Cut(line, "=")
		if !ok && len(behind) >= 8 { // its length, and what may have newlines
			n := binary.LittleEndian.Uint64([]byte(behind[:8]))
			if behind = behind[8:]; n < uint64(len(behind)) {
				value, behind, ok = behind[:n], behind[n+1:], behind[n] == '\n'
			}
		}
		if !ok || fields[name] != "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || len(name) > 64 {
			t.Fatalf("no field: %q", line)
		}
		fields[name], rest = value, behind
	}
	return fields
}

func TestJournalEntry(t *testing.T) {
	for reason, text := range hostile() {
		t.Run(reason, func(t *testing.T) {
			entry := NewJournal("").encode(full(text))
			got := entryFields(t, entry)
			want := map[string]string{
				"MESSAGE":           "HIGH r: " + audit.Visible("tcp 0.0.0.0:8080 by "+text),
				"PRIORITY":          "3",
				"SYSLOG_IDENTIFIER": "portaudit",
				"MESSAGE_ID":        MessageIDs()["finding.raised"],
				"PORTAUDIT_EVENT":   "finding.raised",
				"PORTAUDIT_TIME":    "2026-11-29T12:00:00.123456789Z",
				"PORTAUDIT_SEQ":     "42", "PORTAUDIT_HASH": strings.Repeat("ab", 32),
				"PORTAUDIT_RULE": "r", "PORTAUDIT_SEVERITY": "high", "PORTAUDIT_FINDING": "id",
				"PORTAUDIT_TRANSPORT": "tcp", "PORTAUDIT_ADDRESS": "0.0.0.0", "PORTAUDIT_PORT": "8080", "PORTAUDIT_SERVICE": "http-alt webcache",
				"PORTAUDIT_OWNERS": "2", "PORTAUDIT_PID": "4711", "PORTAUDIT_UID": "0",
				"PORTAUDIT_USER": audit.Visible(text), "PORTAUDIT_EXE": audit.Visible("/bin/" + text), "PORTAUDIT_COMMAND": audit.Visible(text),
			}
			maps.DeleteFunc(want, func(_, v string) bool { return v == "" })
			if !maps.Equal(got, want) {
				t.Errorf("got\n%v, want\n%v", got, want)
			}
			checkHarmless(t, []byte(strings.ReplaceAll(string(entry), "\n", "")))
		})
	}
	huge := NewJournal("").encode(full(strings.Repeat("\x1b\n", 1<<20)))
	if fields := entryFields(t, huge); len(huge) > 6*maxJournal || !strings.HasSuffix(fields["PORTAUDIT_COMMAND"], " bytes]") {
		t.Errorf("%d bytes", len(huge))
	}
}
