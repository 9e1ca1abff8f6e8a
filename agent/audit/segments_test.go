package audit

import (
	"slices"
	"testing"
)

func TestParseSegment(t *testing.T) {
	tests := []struct {
		reason, name string
		want         segment
		ok           bool
	}{
		{"raw", "audit-00000000000000000042.jsonl", segment{first: 42}, true},
		{"compressed", "audit-00000000000000000042.jsonl.gz", segment{first: 42, packed: true}, true},
		{"the greatest number", "audit-18446744073709551615.jsonl", segment{first: 1<<64 - 1}, true},
		{"more than that", "audit-18446744073709551616.jsonl", segment{}, false},
		{"no record has number 0", "audit-00000000000000000000.jsonl", segment{}, false},
		{"the active one", "audit.jsonl", segment{}, false},
		{"too short", "audit-42.jsonl", segment{}, false},
		{"a sign", "audit-+0000000000000000042.jsonl", segment{}, false},
		{"left behind by a crash", ".audit-00000000000000000042.jsonl.gz.7.tmp", segment{}, false},
		{"another's", "audit-00000000000000000042.jsonl.bak", segment{}, false},
	}
	for _, tt := range tests {
		got, ok := parseSegment(tt.name)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: %+v, %v, want %+v, %v", tt.reason, got, ok, tt.want, tt.ok)
		}
		if ok && got.name() != tt.name {
			t.Errorf("%s: named %s", tt.reason, got.name())
		}
	}
}

func TestListSegments(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []piece{{first: 100}, {first: 20}, {first: 3, packed: true, lines: chainOf(t, testTime, 1)}, {first: 20, packed: true}, {}} {
		put(t, dir, p)
	}
	got, err := listSegments(dir)
	want := []segment{{first: 3, packed: true}, {first: 20}, {first: 100}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}
