package policy

import (
	"errors"
	"fmt"
	"time"

	"gopkg.in/yaml.v3"
)

// expiryWarning is how long before its end an allowance is spoken of: long enough
// to ask whoever answers for it.
const expiryWarning = 14 * 24 * time.Hour

// over reports whether an allowance has ended.
func (r *rule) over(now time.Time) bool { return !r.expires.IsZero() && !now.Before(r.expires) }

// ends reports whether an allowance is about to end, or has.
func (r *rule) ends(now time.Time) bool {
	return !r.expires.IsZero() && !now.Before(r.expires.Add(-expiryWarning))
}

// NextChange returns the first time after now at which decisions change by
// themselves, zero if none does: where an allowance ends, or begins to be spoken
// of.
func (p *Policy) NextChange(now time.Time) time.Time {
	var next time.Time
	for i := range p.rules {
		end := p.rules[i].expires
		for _, at := range []time.Time{end.Add(-expiryWarning), end} {
			if !end.IsZero() && at.After(now) && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	return next
}

// expires reads when an allowance ends: after a day, in UTC, or at a time.
func (d *decoder) expires(n *yaml.Node) time.Time {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		d.errorf(n, "a day is wanted, such as 2027-03-31")
		return time.Time{}
	}
	at, err := parseExpiry(n.Value)
	if err != nil {
		d.errorf(n, "%v", err)
	}
	return at
}

func parseExpiry(text string) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New(quote(text) + " is no day such as 2027-03-31, and no time such as 2027-03-31T18:00:00Z")
	}
	return at.UTC(), nil
}

func quote(text string) string { return fmt.Sprintf("%q", clip(text)) }

// lastDay is what people say of an end: the last day on which the allowance
// holds, or the time.
func lastDay(end time.Time) string {
	if end.Equal(end.Truncate(24 * time.Hour)) {
		return end.AddDate(0, 0, -1).Format(time.DateOnly)
	}
	return end.Format(time.RFC3339)
}

// foretold makes the findings of an allowance that ends.
func (r *rule) foretold() {
	who := "whoever answers for it"
	if r.owner != "" {
		who = r.owner
	}
	r.ending = Finding{
		Rule: ExpiringRule, Severity: Low, Tags: r.tags,
		Message: "{owners} listens on {endpoint} ({service}), which rule " + r.id + " allows until " + lastDay(r.expires) + ".",
		Why:     "After that day it is found as what no rule allows.",
		Fix:     "Ask " + who + " whether it is still wanted: then give the rule another day, else stop the listener and remove the rule.",
	}
	r.ended = Finding{
		Rule: ExpiredRule, Severity: Medium, Tags: r.tags,
		Message: "{owners} listens on {endpoint} ({service}), which rule " + r.id + " allowed until " + lastDay(r.expires) + ".",
		Why:     "Somebody meant this to end by then, and it goes on.",
		Fix:     "Stop the listener, or ask " + who + " and give the rule another day.",
	}
}
