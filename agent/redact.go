package agent

import (
	"regexp"
	"strings"
)

const redacted = "[redacted]"

// secretName matches the names under which programs take secrets.
var secretName = regexp.MustCompile(`(?i)(pass(word|wd|phrase)?|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|auth|credential|bearer|cookie|session[-_]?key|signature)s?$`)

// secretValue matches what is a secret wherever it stands: the password of a
// URL (RFC 3986 section 3.2.1), a header's credentials (RFC 9110 section
// 11.4), and the published prefixes of access keys.
var secretValue = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@]*):[^/\s@]+@`), "$1:" + redacted + "@"},
	{regexp.MustCompile(`(?i)((proxy-)?authorization|x-api-key|cookie)(\s*[:=]\s*).+`), "$1$3" + redacted},
	{regexp.MustCompile(`(?i)\b(bearer|basic)(\s+)\S+`), "$1$2" + redacted},
	{regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b`), redacted},
	{regexp.MustCompile(`\b(gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-)[A-Za-z0-9_-]{16,}`), redacted},
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`), redacted}, // JSON Web Token
}

// redact returns a command line as one string without what looks like a
// secret: the value of --password=x, --password x, PASSWORD=x and key:value
// forms, and secrets that show by their own form. It errs on the side of
// hiding, and cannot know a secret that a program takes as a bare word.
func redact(arguments []string) string {
	out := make([]string, 0, len(arguments))
	hideNext := false
	for i, a := range arguments {
		switch name, value, assigned := cutAssignment(a); {
		case i == 0: // the program itself
		case hideNext && !strings.HasPrefix(a, "-"):
			a = redacted
			hideNext = false
		case assigned && secretName.MatchString(name):
			a = name + a[len(name):len(a)-len(value)] + redacted
			hideNext = false
		default:
			hideNext = strings.HasPrefix(a, "-") && !assigned && secretName.MatchString(a)
		}
		for _, s := range secretValue {
			a = s.pattern.ReplaceAllString(a, s.with)
		}
		out = append(out, quote(a))
	}
	return strings.Join(out, " ")
}

// cutAssignment splits name=value and name:value.
func cutAssignment(s string) (name, value string, ok bool) {
	i := strings.IndexAny(s, "=:")
	if i <= 0 || i == len(s)-1 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// quote sets an argument with white space apart from its neighbours.
func quote(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\n") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
