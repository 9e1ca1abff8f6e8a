package agent

import (
	"strings"
	"testing"
	"time"

	_ "time/tzdata" // zones with their changes, wherever the test runs
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestParseMoment(t *testing.T) {
	berlin := zone(t, "Europe/Berlin") // +02:00 until 2026-10-25 03:00, forward on 2026-03-29 at 02:00
	now := time.Date(2026, 11, 20, 15, 30, 10, 0, berlin)
	for _, tt := range []struct {
		reason, text, want string // RFC 3339, or a part of the error behind "!"
	}{
		{"seconds ago", "90s", "2026-11-20T15:28:40+01:00"},
		{"hours ago", "2h", "2026-11-20T13:30:10+01:00"},
		{"a day is 24 hours", "1d", "2026-11-19T15:30:10+01:00"},
		{"also over a change of the clock", "30d", "2026-10-21T16:30:10+02:00"},
		{"several units", "1d12h30m", "2026-11-19T03:00:10+01:00"},
		{"weeks", "2w", "2026-11-06T15:30:10+01:00"},
		{"not at all long ago", "0s", "2026-11-20T15:30:10+01:00"},
		{"spaces around it", " 2h\t", "2026-11-20T13:30:10+01:00"},
		{"now", "now", "2026-11-20T15:30:10+01:00"},
		{"today", "today", "2026-11-20T00:00:00+01:00"},
		{"yesterday", "yesterday", "2026-11-19T00:00:00+01:00"},
		{"a day is its first moment", "2026-11-20", "2026-11-20T00:00:00+01:00"},
		{"a day and a time", "2026-11-20 14:00", "2026-11-20T14:00:00+01:00"},
		{"with seconds", "2026-11-20 14:00:07", "2026-11-20T14:00:07+01:00"},
		{"with a part of a second", "2026-11-20T14:00:07.25", "2026-11-20T14:00:07.25+01:00"},
		{"with a T", "2026-11-20T14:00", "2026-11-20T14:00:00+01:00"},
		{"in summer", "2026-07-01 14:00", "2026-07-01T14:00:00+02:00"},
		{"a time of today", "14:00", "2026-11-20T14:00:00+01:00"},
		{"a time of today that is yet to come", "23:59:59", "2026-11-20T23:59:59+01:00"},
		{"RFC 3339 in UTC", "2026-11-20T14:00:00Z", "2026-11-20T15:00:00+01:00"},
		{"RFC 3339 elsewhere", "2026-11-20T14:00:00.5-05:00", "2026-11-20T20:00:00.5+01:00"},
		{"a zone behind a space", "2026-11-20 14:00 +02:00", "2026-11-20T13:00:00+01:00"},
		{"a zone without seconds", "2026-11-20 14:00Z", "2026-11-20T15:00:00+01:00"},
		{"UTC by name", "2026-11-20 14:00 UTC", "2026-11-20T15:00:00+01:00"},
		{"the future is not for this to refuse", "2030-01-01", "2030-01-01T00:00:00+01:00"},
		{"before the clock was put back", "2026-10-25 01:59:59", "2026-10-25T01:59:59+02:00"},
		{"after it was", "2026-10-25 03:00", "2026-10-25T03:00:00+01:00"},
		{"an hour that came twice", "2026-10-25 02:30", "!2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00"},
		{"with a zone it is one of them", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+02:00"},
		{"an hour that never came", "2026-03-29 02:30", "!never showed"},
		{"another zone's name may be any of several", "2026-11-20 14:00 CST", "!is no time"},
		{"a 30th of February", "2026-02-30", "!is no time"},
		{"an hour of 24", "24:00", "!is no time"},
		{"nothing", "", "!is no time"},
		{"a number without a unit", "2", "!is no time"},
		{"a unit without a number", "h", "!is no time"},
		{"small units before large ones", "2m1h", "!is no time"},
		{"a unit twice", "1h2h", "!is no time"},
		{"less than nothing", "-2h", "!is no time"},
		{"half an hour as a fraction", "0.5h", "!is no time"},
		{"longer ago than anything", "99999999999999999999d", "!longer ago than any log"},
		{"and by a sum", "10000w10000w", "!is no time"},
		{"also", "10428w7300d", "!longer ago than any log"},
		{"words", "last tuesday", "!is no time"},
		{"a control character", "2h\x1b[31m", "!is no time"},
		{"the year 0 in UTC", "0001-01-01T00:00:00+05:00", "!outside of the years"},
	} {
		got, err := ParseMoment(tt.text, now)
		if part, wrong := strings.CutPrefix(tt.want, "!"); wrong {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q is %v, %v, want an error with %q", tt.reason, tt.text, got, err, part)
			}
			continue
		}
		if err != nil || got.In(berlin).Format(time.RFC3339Nano) != tt.want {
			t.Errorf("%s: %q is %v, %v, want %s", tt.reason, tt.text, got.In(berlin).Format(time.RFC3339Nano), err, tt.want)
		}
	}
}

// TestParseMomentDays: where clocks skip midnight, or show it twice, a day begins
// with its first moment.
func TestParseMomentDays(t *testing.T) {
	for _, tt := range []struct{ zone, day, want string }{
		{"America/Santiago", "2026-09-06", "2026-09-06T01:00:00-03:00"}, // from 24:00 to 01:00
		{"America/Santiago", "2026-04-05", "2026-04-05T00:00:00-04:00"}, // 23:00 to 24:00 twice, on the day before
		{"Atlantic/Azores", "2026-10-25", "2026-10-25T00:00:00Z"},       // 00:00 to 01:00 twice
		{"Asia/Kathmandu", "2026-11-20", "2026-11-20T00:00:00+05:45"},
	} {
		z := zone(t, tt.zone)
		got, err := ParseMoment(tt.day, time.Date(2026, 12, 1, 0, 0, 0, 0, z))
		want, _ := time.Parse(time.RFC3339, tt.want)
		if err != nil || !got.Equal(want) {
			t.Errorf("%s in %s: %v, %v, want %v", tt.day, tt.zone, got, err, want)
		}
	}
}

// FuzzParseMoment: whatever is written, a moment is in the years of a log, and is
// read again as the same.
func FuzzParseMoment(f *testing.F) {
	for _, text := range []string{"2h", "1d12h", "yesterday", "2026-10-25 02:30", "2026-03-29 02:30", "14:00", "2026-11-20T14:00:00Z", "2026-11-20 14:00 UTC", "9999-12-31", "18446744073709551615w"} {
		f.Add(text, int64(1795012210))
	}
	berlin := zone(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		now := time.Unix(unix%(1<<37), 0).In(berlin)
		if y := now.Year(); y < 1000 || y > 9000 {
			t.Skip("a clock like that has no log")
		}
		at, err := ParseMoment(text, now)
		if err != nil {
			return
		}
		again, err := ParseMoment(at.Format(time.RFC3339Nano), now)
		if err != nil || !again.Equal(at) {
			t.Errorf("%q at %v is %v, which is read as %v, %v", text, now, at, again, err)
		}
	})
}
