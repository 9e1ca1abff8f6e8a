package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake in a policy file.
type Error struct {
	File         string
	Line, Column int // from 1; 0 where the place is not known
	Message      string
}

// Error returns "file:line:column: message".
func (e Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Errors are all mistakes of a policy file, in the order of the file.
type Errors []Error

// Error returns the mistakes, one a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// shortened returns the first of so many mistakes that nobody reads them all.
func (e Errors) shortened(file string) Errors {
	if len(e) <= maxErrors {
		return e
	}
	more := Error{File: file, Message: fmt.Sprintf("%d more mistakes: mend these first", len(e)-maxErrors)}
	return append(e[:maxErrors:maxErrors], more)
}

// suggest returns ", did you mean …?" for the known word that another tool's word
// stands for, or that is nearest to a mistyped one; "" if none is.
func suggest(word string, known []string) string {
	best, distance := "", 3
	if other := synonym(strings.ToLower(word)); slices.Contains(known, other) {
		best, distance = other, 0
	}
	for _, k := range known {
		if d := editDistance(strings.ToLower(word), k); d < distance && d < len(k) {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// synonym returns this language's word for one of other tools and firewalls, ""
// if there is none.
func synonym(word string) string {
	for ours, theirs := range map[string]string{
		"address": "addr ip cidr network bind", "executable": "exe path binary file image", "program": "process comm name",
		"command_line": "cmdline cmd args arguments command", "transport": "proto protocol", "interface": "iface device dev nic",
		"namespace": "netns net_namespace", "user": "account username", "port": "ports dport lport", "service": "services",
		"verdict": "action", "severity": "level priority", "reason": "description comment justification", "fix": "remediation remedy",
		"match": "conditions when if", "any": "or", "all": "and",

		"alert": "deny block reject drop warn", "allow": "accept permit pass ignore", "low": "info notice", "medium": "warning moderate",
		"tcp": "tcp4 tcp6", "udp": "udp4 udp6", "loopback": "localhost local",
	} {
		if slices.Contains(strings.Fields(theirs), word) {
			return ours
		}
	}
	return ""
}

// editDistance counts the letters to insert, remove or replace (Levenshtein).
// Long words are not compared: no key or value is.
func editDistance(a, b string) int {
	const long = 32
	if len(a) > long || len(b) > long {
		return long
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
