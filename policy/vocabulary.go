package policy

import "slices"

// Hows returns the ways in which an owner may be resolved: the values of
// Owner.How and of the condition owner.
func Hows() []string {
	return []string{"process", "socket unit", "kernel", "container proxy", "other pid namespace", "denied", "raced"}
}

// Authorities returns the reasons why a process may hold a privileged port:
// the values of Listener.Authority and of the condition authority.
func Authorities() []string {
	return []string{"root", "creator-root", "capability", "sysctl", "user namespace", "inherited", "unexplained"}
}

// Reaches returns from where a listener may be reached in effect, from the
// narrowest: the values of Listener.Reach and of the condition reach.
func Reaches() []string {
	return []string{"none", "host", "blocked", "namespace", "restricted", "published", "network"}
}

// Placeholders returns the names that may stand in braces in the texts of a
// rule: {address} {port} {transport} of the listener, and {endpoint}, which
// says all of these of every kind of socket; {service}, its highest-ranking
// name; {program}, {executable} and {user} of its owners;
// {owners}, program, pid and user of each; {state} and {range} of the
// registry; {scope} of the address; {reach}, from where it can be reached in
// effect; {authority} over a privileged port;
// {risk_name} and {risk_why}, what the port is commonly abused for.
func Placeholders() []string {
	return []string{
		"address", "port", "transport", "endpoint", "service", "program", "executable", "user", "owners",
		"state", "range", "scope", "reach", "authority", "risk_name", "risk_why",
	}
}

// Expand replaces each placeholder of text by its value.
func Expand(text string, value func(placeholder string) string) string {
	return placeholder.ReplaceAllStringFunc(text, func(s string) string {
		name := s[1 : len(s)-1]
		if !slices.Contains(Placeholders(), name) {
			return s
		}
		return value(name)
	})
}
