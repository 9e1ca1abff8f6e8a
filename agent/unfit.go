package agent

import (
	"cmp"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
)

// unfit says why no rule may allow what was seen, "" if one may, and whether for
// that its owner was not seen.
func unfit(s Sighting) (why string, unseen bool) {
	switch f := s.Facts; {
	case f.Transport == 0:
		return "its transport has no name here", false
	case f.Scope == policy.UnknownScope && ported(f.Transport):
		return "its address could not be seen", true
	case f.Namespace == "" || !writable(f.Namespace) || f.Interface != "" && !writable(f.Interface):
		return "the name of its namespace or of its device cannot be written in a policy", false
	case len(f.Owners) == 0:
		return "its owner could not be seen", true
	}
	for _, o := range s.Facts.Owners {
		if why, unseen := ownerUnfit(o, s.Doubtful); why != "" {
			return why, unseen
		}
	}
	return "", false
}

// writable reports whether a pattern for a text can be written.
func writable(text string) bool {
	pattern, _ := policy.Literal(text)
	return policy.Writable(pattern)
}

func ownerUnfit(o policy.Owner, doubtful bool) (why string, unseen bool) {
	pattern, _ := policy.Literal(o.Executable)
	switch {
	case o.Deleted == policy.Yes:
		return "its program file was deleted", false
	case o.Memory == policy.Yes:
		return "its program runs from memory and never was a file", false
	case o.Concealed == policy.Yes:
		return "its process is hidden by a mount over its directory in /proc", false
	case o.How == listen.Kernel.String():
		return "", false
	case o.Executable == "":
		return "its owner could not be seen (" + cmp.Or(o.How, "unknown") + ")", true
	case doubtful:
		return "the log does not hold the name of its program as it was", false
	case !policy.Pattern(pattern):
		return "the path of its program cannot be written in a policy", false
	case !policy.Writable(o.User) && !o.UID.Known:
		return "the account of its owner could not be seen", true
	}
	return "", false
}
