package listen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/portaudit/portaudit/registry"
)

// Windows has no documented call for its range for automatic binds of UDP and
// for the ports that it excludes from them, and the undocumented ones are of
// the inside of its network store. netsh shows all of it without elevation.
// The ranges are set for each transport and each version of IP on its own
// (Microsoft support article 929851). The exclusions are of a transport alone,
// and the active ones, which netsh shows, include those that Hyper-V makes anew
// at each start and no registry key holds.

// portQuestion is one thing to ask netsh for: int VERSION show WHAT TRANSPORT.
type portQuestion struct{ version, transport, what string }

const (
	dynamicPort  = "dynamicport"
	excludedPort = "excludedportrange"
)

var portQuestions = []portQuestion{
	{"ipv4", "tcp", dynamicPort}, {"ipv4", "udp", dynamicPort},
	{"ipv6", "tcp", dynamicPort}, {"ipv6", "udp", dynamicPort},
	{"ipv4", "tcp", excludedPort}, {"ipv4", "udp", excludedPort},
}

// portAnswer is what netsh printed, or why it did not.
type portAnswer struct {
	output []byte
	err    error
}

// hostRules makes the host's namespace of the answers to portQuestions, in
// their order. A Namespace has one range for all that a bind can ask for: where
// the ranges of TCP and UDP or of the versions of IP differ it stays unknown,
// and only what is excluded for both TCP and UDP is excluded. Windows reserves
// no port for privileged processes.
func hostRules(answers []portAnswer) (Namespace, []Gap) {
	ns := Namespace{Label: HostNamespace, StartKnown: true, Complete: true}
	var dynamic []PortRange
	var excluded [][]PortRange
	failed := map[string]portFailures{}
	for i, q := range portQuestions {
		err := answers[i].err
		switch {
		case err != nil:
		case q.what == dynamicPort:
			var r PortRange
			r, err = parseDynamicPort(answers[i].output)
			dynamic = append(dynamic, r)
		default:
			var ranges []PortRange
			ranges, err = parseExcludedPorts(answers[i].output)
			excluded = append(excluded, ranges)
		}
		if err != nil {
			failed[q.what] = failed[q.what].with(q, err)
		}
	}
	if failed[dynamicPort] == nil {
		ns.Ephemeral, ns.EphemeralKnown = dynamic[0], !slices.ContainsFunc(dynamic, func(r PortRange) bool { return r != dynamic[0] })
		if !ns.EphemeralKnown {
			ns.Ephemeral = PortRange{}
			failed[dynamicPort] = portFailures{{reason: "the ranges for automatic binds differ: " + describeRanges(dynamic)}}
		}
	}
	if failed[excludedPort] == nil {
		ns.Excluded = commonPorts(excluded[0], excluded[1])
	}
	var gaps []Gap
	for _, what := range []string{dynamicPort, excludedPort} {
		if f := failed[what]; f != nil {
			gaps = append(gaps, Gap{Source: "netsh int show " + what, Reason: f.String(), Hides: HidesFacts})
		}
	}
	return ns, gaps
}

// portFailures are the reasons why questions have no answer, each named once
// with the questions that it is of.
type portFailures []struct{ questions, reason string }

func (f portFailures) with(q portQuestion, err error) portFailures {
	question, reason := q.version+" "+q.transport, err.Error()
	for i := range f {
		if f[i].reason == reason {
			f[i].questions += ", " + question
			return f
		}
	}
	return append(f, struct{ questions, reason string }{question, reason})
}

// String puts the failures into one line.
func (f portFailures) String() string {
	var texts []string
	for _, one := range f {
		text := one.reason
		if one.questions != "" {
			text = one.questions + ": " + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

// describeRanges names the ranges of the first questions.
func describeRanges(ranges []PortRange) string {
	var b strings.Builder
	for i, r := range ranges {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %s %d-%d", portQuestions[i].version, portQuestions[i].transport, r.First, r.Last)
	}
	return b.String()
}

// parseDynamicPort reads the output of "netsh int ipv4 show dynamicport tcp":
// the first port and the number of ports, each behind a colon at the end of
// its line. The words before the colons are in the language of the system.
func parseDynamicPort(b []byte) (PortRange, error) {
	var numbers []uint64
	for line := range bytes.Lines(b) {
		i := bytes.LastIndexByte(line, ':')
		if i < 0 {
			continue
		}
		if n, err := strconv.ParseUint(string(bytes.TrimSpace(line[i+1:])), 10, 32); err == nil {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) != 2 || numbers[1] == 0 || numbers[0]+numbers[1] > 65536 {
		return PortRange{}, fmt.Errorf("netsh shows no range for automatic binds, but %q", clip(b))
	}
	return PortRange{registry.Port(numbers[0]), registry.Port(numbers[0] + numbers[1] - 1)}, nil
}

// parseExcludedPorts reads the output of "netsh int ipv4 show excludedportrange
// tcp": below a line of dashes the first and the last port of each range, and
// an asterisk where an administrator made it. What is in words, in the language
// of the system, is passed over. The ranges come back sorted, those that touch
// made one.
func parseExcludedPorts(b []byte) ([]PortRange, error) {
	var ranges []PortRange
	table := false
	for line := range bytes.Lines(b) {
		fields := strings.Fields(string(line))
		switch {
		case len(fields) == 0:
		case strings.Trim(strings.Join(fields, ""), "-") == "":
			table = true
		case table && '0' <= fields[0][0] && fields[0][0] <= '9':
			r, err := parseExcludedPort(fields)
			if err != nil {
				return nil, fmt.Errorf("netsh excludes no ports in %q: %w", clip(line), err)
			}
			ranges = append(ranges, r)
		}
	}
	if !table {
		return nil, fmt.Errorf("netsh shows no table of excluded ports, but %q", clip(b))
	}
	return uniteRanges(ranges), nil
}

func parseExcludedPort(fields []string) (PortRange, error) {
	if len(fields) == 3 && fields[2] == "*" {
		fields = fields[:2]
	}
	if len(fields) != 2 {
		return PortRange{}, fmt.Errorf("%d columns instead of 2", len(fields))
	}
	first, err := strconv.ParseUint(fields[0], 10, 16)
	if err != nil {
		return PortRange{}, errors.New("the first port is none")
	}
	last, err := strconv.ParseUint(fields[1], 10, 16)
	if err != nil || last < first {
		return PortRange{}, errors.New("the last port is none, or below the first")
	}
	return PortRange{registry.Port(first), registry.Port(last)}, nil
}

// uniteRanges sorts ranges and makes one of those that overlap or touch.
func uniteRanges(ranges []PortRange) []PortRange {
	slices.SortFunc(ranges, func(a, b PortRange) int { return int(a.First) - int(b.First) })
	var united []PortRange
	for _, r := range ranges {
		if n := len(united); n > 0 && int(r.First) <= int(united[n-1].Last)+1 {
			united[n-1].Last = max(united[n-1].Last, r.Last)
			continue
		}
		united = append(united, r)
	}
	return united
}

// commonPorts returns what is in both a and b, which are sorted and disjoint.
func commonPorts(a, b []PortRange) []PortRange {
	var common []PortRange
	for len(a) > 0 && len(b) > 0 {
		r := PortRange{max(a[0].First, b[0].First), min(a[0].Last, b[0].Last)}
		if r.First <= r.Last {
			common = append(common, r)
		}
		if a[0].Last < b[0].Last {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return common
}

// rulesAge is how long the rules for ports are taken as they were: they change
// when an administrator or Hyper-V changes them, and asking starts processes.
const rulesAge = 5 * time.Minute

// ruleCache keeps the rules for ports of a host from one audit to the next. The
// zero value is empty.
type ruleCache struct {
	asked     time.Time
	namespace Namespace
	gaps      []Gap
}

// get returns the rules, at most rulesAge old at now, else what ask tells. What
// was asked when ctx ended is no answer and is not kept.
func (c *ruleCache) get(ctx context.Context, now time.Time, ask func(context.Context) (Namespace, []Gap)) (Namespace, []Gap) {
	if age := now.Sub(c.asked); !c.asked.IsZero() && 0 <= age && age < rulesAge {
		return c.namespace, c.gaps
	}
	ns, gaps := ask(ctx)
	if ctx.Err() == nil {
		*c = ruleCache{asked: now, namespace: ns, gaps: gaps}
	}
	return ns, gaps
}
