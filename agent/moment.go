package agent

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// The forms in which a moment may be written, beside how long it is ago. Those
// without a zone are in the zone of whoever asks.
var (
	zonedForms = []string{
		time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00",
		"2006-01-02 15:04 Z07:00", "2006-01-02 15:04:05 MST", "2006-01-02 15:04 MST",
	}
	localForms = []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"}
	clockForms = []string{"15:04:05", "15:04"}
)

// maxAgo bounds how long ago a moment can be: two centuries, which a Duration
// holds.
const maxAgo = 200 * 365 * 24 * time.Hour

// ParseMoment reads a moment as people write it: how long ago it is (90s, 2h,
// 1d12h, 3d, 2w; a day is 24 hours), "now", "today" and "yesterday" for their first
// moment, a day, a day and a time, a time of today, or RFC 3339. What names no zone
// is in that of now. A time that this zone's clocks showed twice, or never, is
// refused: nobody can know which was meant.
func ParseMoment(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if ago, ok := parseAgo(text); ok {
		if ago > maxAgo {
			return time.Time{}, fmt.Errorf("%q is longer ago than any log", text)
		}
		return now.Add(-ago), nil
	}
	year, month, day := now.Date()
	switch text {
	case "now":
		return now, nil
	case "today":
		return firstOf(year, month, day, now.Location()), nil
	case "yesterday":
		return firstOf(year, month, day-1, now.Location()), nil
	}
	for _, form := range zonedForms {
		// Go takes every abbreviation for a zone, and those that it does not know for
		// UTC: only the one that is certain is taken.
		if t, err := time.Parse(form, text); err == nil && (!strings.HasSuffix(form, "MST") || strings.HasSuffix(text, " UTC")) {
			return inYears(t, text)
		}
	}
	for _, form := range localForms {
		if t, err := time.Parse(form, text); err == nil {
			if form == "2006-01-02" {
				return inYears(firstOf(t.Year(), t.Month(), t.Day(), now.Location()), text)
			}
			return onClock(t, now.Location(), text)
		}
	}
	for _, form := range clockForms {
		if t, err := time.Parse(form, text); err == nil {
			return onClock(time.Date(year, month, day, t.Hour(), t.Minute(), t.Second(), 0, time.UTC), now.Location(), text)
		}
	}
	return time.Time{}, fmt.Errorf(`%q is no time: write how long ago, such as 2h or 3d, or 2026-11-20, "2026-11-20 14:00", 14:00, or 2026-11-20T14:00:00Z`, audit.Clip(text, 64))
}

// parseAgo reads 90s, 2h, 1d12h, 2w: whole numbers with a unit, the larger units
// first, each at most once.
func parseAgo(text string) (time.Duration, bool) {
	units := "wdhms"
	sizes := []time.Duration{7 * 24 * time.Hour, 24 * time.Hour, time.Hour, time.Minute, time.Second}
	var sum time.Duration
	for rest := text; rest != ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits == len(rest) {
			return 0, false
		}
		unit := strings.IndexByte(units, rest[digits])
		n, err := strconv.ParseUint(rest[:digits], 10, 63)
		if unit < 0 || err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, false
		}
		size := sizes[len(sizes)-len(units)+unit]
		if err != nil || n > uint64(maxAgo/size) {
			n = uint64(maxAgo/size) + 1 // for the caller to refuse
		}
		if sum += time.Duration(n) * size; sum > maxAgo {
			sum = maxAgo + 1 // and no more, so that it never overflows
		}
		units, rest = units[unit+1:], rest[digits+1:]
	}
	return sum, text != ""
}

// firstOf is the first moment of a day. Where clocks skip midnight it is the moment
// at which they do.
func firstOf(year int, month time.Month, day int, zone *time.Location) time.Time {
	t := time.Date(year, month, day, 0, 0, 0, 0, zone)
	// In a gap, and where the hour before midnight comes twice, Date may choose the
	// day before or the second of two.
	wanted := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Day()
	for skipped := 0; t.Day() != wanted && skipped < 24*60; skipped++ { // Samoa had no 30th of December in 2011
		t = t.Add(time.Minute)
	}
	for before := t.Add(-time.Minute); before.Day() == t.Day(); before = t.Add(-time.Minute) {
		t = before
	}
	return t
}

// onClock is the moment at which clocks of the zone show what t does.
func onClock(t time.Time, zone *time.Location, text string) (time.Time, error) {
	at := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
	const shown = "2006-01-02T15:04:05.999999999"
	if at.Format(shown) != t.Format(shown) {
		return time.Time{}, fmt.Errorf("clocks here never showed %q: they were put forward then; write it with a zone, such as %s", text, at.Format(time.RFC3339))
	}
	// The same again, by what clocks were put back.
	for _, other := range []time.Time{at.Add(-24 * time.Hour), at.Add(24 * time.Hour)} {
		_, here := at.Zone()
		_, there := other.Zone()
		twin := at.Add(time.Duration(here-there) * time.Second)
		if !twin.Equal(at) && twin.Format(shown) == t.Format(shown) {
			first, second := at, twin
			if second.Before(first) {
				first, second = second, first
			}
			return time.Time{}, fmt.Errorf("clocks here showed %q twice: write %s or %s", text, first.Format(time.RFC3339), second.Format(time.RFC3339))
		}
	}
	return inYears(at, text)
}

// inYears refuses what no record can have: RFC 3339 has years of four digits.
func inYears(t time.Time, text string) (time.Time, error) {
	if y := t.UTC().Year(); y < 1 || y > 9999 {
		return time.Time{}, fmt.Errorf("%q lies outside of the years that a log can have", text)
	}
	return t, nil
}
