package agent

import (
	"errors"
	"strings"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
)

// Refused is a policy that was not taken: which text it was, and why.
type Refused struct {
	Policy audit.Policy
	Err    error
}

func (r *Refused) Error() string { return r.Err.Error() }

func (r *Refused) Unwrap() error { return r.Err }

// reload puts a new policy in force, or keeps the old one and says why; it
// reports whether there is another one in force. What was asked for is answered
// in the log. What was not is recorded where it tells something new: a file that
// was written anew with the same text says nothing, and a bad one once.
//
// Everything that is decided after the record is decided by that policy: the loop
// works on one thing at a time, and here no audit is under way.
func (l *loop) reload(asked bool) (changed bool, err error) {
	if l.LoadPolicy == nil {
		return false, nil
	}
	p, err := l.LoadPolicy()
	if err != nil {
		e := Rejected(err, l.Policy)
		before := l.refused
		if l.refused = refusal(e); l.refused == before && !asked {
			return false, nil
		}
		return false, l.record([]audit.Event{e})
	}
	changed = p.SHA256 != l.Policy.SHA256
	if !changed && l.refused == "" && !asked {
		return false, nil
	}
	l.Policy, l.seen, l.refused = p, 0, ""
	l.by.owners.commandLines = p.CommandLines // of changes that are told before the next audit has worked
	return changed, l.record([]audit.Event{loaded(p)})
}

// refusal is what tells one refusal from another.
func refusal(e audit.Event) string {
	text := strings.Join(e.Errors, "\n")
	if e.Refused != nil {
		text += "\n" + e.Refused.SHA256
	}
	return text
}

// Rejected makes the record of a policy that was refused; inForce is the one
// that stays, nil if there is none.
func Rejected(err error, inForce *policy.Policy) audit.Event {
	e := audit.Event{Event: audit.PolicyRejected, Message: "the policy was refused", Errors: []string{err.Error()}}
	var list policy.Errors
	if errors.As(err, &list) {
		e.Errors = nil
		for _, one := range list {
			e.Errors = append(e.Errors, one.Error())
		}
	}
	var r *Refused
	if errors.As(err, &r) {
		e.Refused = &r.Policy
	}
	if inForce != nil {
		e.Message += "; the one loaded before stays in force"
		e.Policy = named(inForce)
	}
	return e
}
