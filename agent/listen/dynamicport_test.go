package listen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/registry"
)

// excludedEnglish and excludedGerman are as netsh prints them, with the spaces
// at the ends of their lines.
const (
	excludedEnglish = "\r\nProtocol tcp Port Exclusion Ranges\r\n\r\nStart Port    End Port      \r\n----------    --------      \r\n" +
		"      5357        5357      \r\n     50000       50059     *\r\n     49671       49770      \r\n     49771       49870      \r\n\r\n" +
		"* - Administered port exclusions.\r\n\r\n"
	excludedGerman = "\r\nPortausschlussbereiche f\x81r das Protokoll \"udp\"\r\n\r\nStartport      Endport\r\n----------    --------\r\n" +
		"     50000       50009     *\r\n\r\n* - Verwaltete Portausschl\x81sse.\r\n"
	excludedNone = "\r\nProtocol tcp Port Exclusion Ranges\r\n\r\nStart Port    End Port      \r\n----------    --------      \r\n\r\n* - Administered port exclusions.\r\n"
)

func dynamicOutput(first, count int) []byte {
	return fmt.Appendf(nil, "\r\nProtocol tcp Dynamic Port Range\r\n-----\r\nStart Port      : %d\r\nNumber of Ports : %d\r\n", first, count)
}

func TestParseExcludedPorts(t *testing.T) {
	tests := []struct {
		reason, text string
		want         []PortRange
	}{
		{"sorted, and ranges of 100 ports that touch are one", excludedEnglish, []PortRange{{5357, 5357}, {49671, 49870}, {50000, 50059}}},
		{"another language in another code page", excludedGerman, []PortRange{{50000, 50009}}},
		{"nothing excluded", excludedNone, nil},
		{"every port", "--\n0 65535\n", []PortRange{{0, 65535}}},
		{"ranges within one another", "--\n10 20\n12 13\n15 30\n", []PortRange{{10, 30}}},
		{"a title that starts with a number is none of the table", "2 1\n--\n7 8\n", []PortRange{{7, 8}}},
	}
	for _, tt := range tests {
		if got, err := parseExcludedPorts([]byte(tt.text)); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, %v, want %v", tt.reason, got, err, tt.want)
		}
	}
	for reason, bad := range map[string]string{
		"no output":                     "",
		"an error message of netsh":     "The following command was not found: int ipv4 show.\r\n",
		"a port past 65535":             "--\n65535 65536\n",
		"a range that ends too early":   "--\n9 8\n",
		"one column":                    "--\n9\n",
		"three columns without a mark":  "--\n9 10 11\n",
		"a first port that is a number": "--\n9x 10\n",
	} {
		if got, err := parseExcludedPorts([]byte(bad)); err == nil {
			t.Errorf("%s: got %v, want an error", reason, got)
		}
	}
}

func TestCommonPorts(t *testing.T) {
	tests := []struct {
		reason     string
		a, b, want []PortRange
	}{
		{"nothing in common with nothing", []PortRange{{1, 2}}, nil, nil},
		{"equal", []PortRange{{1, 2}, {4, 5}}, []PortRange{{1, 2}, {4, 5}}, []PortRange{{1, 2}, {4, 5}}},
		{"one range over two", []PortRange{{1, 10}}, []PortRange{{2, 3}, {9, 12}}, []PortRange{{2, 3}, {9, 10}}},
		{"touching is not overlapping", []PortRange{{1, 2}}, []PortRange{{3, 4}}, nil},
		{"to the last port", []PortRange{{1, 65535}}, []PortRange{{65535, 65535}}, []PortRange{{65535, 65535}}},
	}
	for _, tt := range tests {
		if got := commonPorts(tt.a, tt.b); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.reason, got, tt.want)
		}
		if got := commonPorts(tt.b, tt.a); !slices.Equal(got, tt.want) {
			t.Errorf("%s, turned around: got %v, want %v", tt.reason, got, tt.want)
		}
	}
}

func TestHostRules(t *testing.T) {
	// answers in the order of portQuestions; nil stands for an error.
	answers := func(outputs ...[]byte) []portAnswer {
		var list []portAnswer
		for _, b := range outputs {
			a := portAnswer{output: b}
			if b == nil {
				a.err = errors.New("no netsh")
			}
			list = append(list, a)
		}
		return list
	}
	usual, other := dynamicOutput(49152, 16384), dynamicOutput(1025, 60000)
	tcp, udp := []byte(excludedEnglish), []byte(excludedGerman)
	tests := []struct {
		reason    string
		answers   []portAnswer
		ephemeral map[registry.Port]Answer
		gaps      []string // what each gap's source and reason contain
	}{
		{"the usual range; what is excluded for TCP alone is still given out to UDP", answers(usual, usual, usual, usual, tcp, udp),
			map[registry.Port]Answer{49151: No, 49152: Yes, 49700: Yes, 50000: No, 50009: No, 50010: Yes, 65535: Yes}, nil},
		{"another range for UDP over IPv6", answers(usual, usual, usual, other, tcp, udp),
			map[registry.Port]Answer{50000: Unknown, 2000: Unknown},
			[]string{"dynamicport: the ranges for automatic binds differ: ipv4 tcp 49152-65535, ipv4 udp 49152-65535, ipv6 tcp 49152-65535, ipv6 udp 1025-61024"}},
		{"no exclusions to be had: the range is still known", answers(usual, usual, usual, usual, nil, nil),
			map[registry.Port]Answer{50000: Yes}, []string{"excludedportrange: ipv4 tcp, ipv4 udp: no netsh"}},
		{"one range in words that have no numbers", answers(usual, usual, []byte("?"), usual, []byte(excludedNone), []byte(excludedNone)),
			map[registry.Port]Answer{50000: Unknown}, []string{`dynamicport: ipv6 tcp: netsh shows no range for automatic binds, but "?"`}},
		{"no netsh at all is said once of each fact", answers(nil, nil, nil, nil, nil, nil),
			map[registry.Port]Answer{50000: Unknown}, []string{"dynamicport: ipv4 tcp, ipv4 udp, ipv6 tcp, ipv6 udp: no netsh", "excludedportrange: ipv4 tcp, ipv4 udp: no netsh"}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			ns, gaps := hostRules(tt.answers)
			if ns.Label != HostNamespace || !ns.Complete || ns.Privileged(80) != No {
				t.Errorf("got %+v, want the host's namespace, complete, without privileged ports", ns)
			}
			for port, want := range tt.ephemeral {
				if got := ns.InEphemeral(port); got != want {
					t.Errorf("port %d in the range for automatic binds: %v, want %v", port, got, want)
				}
			}
			var got []string
			for _, g := range gaps {
				if g.Hides != HidesFacts {
					t.Errorf("gap %+v hides %v, want facts", g, g.Hides)
				}
				got = append(got, strings.TrimPrefix(g.Source, "netsh int show ")+": "+g.Reason)
			}
			if !slices.Equal(got, tt.gaps) {
				t.Errorf("got gaps %q, want %q", got, tt.gaps)
			}
		})
	}
}

func TestRuleCache(t *testing.T) {
	var c ruleCache
	asked := 0
	ask := func(context.Context) (Namespace, []Gap) {
		asked++
		return Namespace{Ephemeral: PortRange{1, registry.Port(asked)}}, nil
	}
	start := time.Now()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	steps := []struct {
		reason string
		ctx    context.Context
		at     time.Duration
		want   registry.Port // the answer's number
	}{
		{"nothing is known", cancelled, 0, 1},
		{"what was asked when the time was up is not kept", t.Context(), 0, 2},
		{"kept", t.Context(), rulesAge - 1, 2},
		{"too old", t.Context(), rulesAge, 3},
		{"kept again", t.Context(), 2*rulesAge - 1, 3},
		{"the clock was set back", t.Context(), -time.Hour, 4},
	}
	for _, s := range steps {
		if got, _ := c.get(s.ctx, start.Add(s.at), ask); got.Ephemeral.Last != s.want {
			t.Errorf("%s: got answer %d, want %d", s.reason, got.Ephemeral.Last, s.want)
		}
	}
}

func FuzzParseExcludedPorts(f *testing.F) {
	for _, s := range []string{excludedEnglish, excludedGerman, excludedNone, "--\n0 65535\n1 2 *\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		ranges, err := parseExcludedPorts(b)
		if diff := cmp.Diff(before, b); diff != "" {
			t.Errorf("the parser changed its input:\n%s", diff)
		}
		if err != nil {
			return
		}
		for i, r := range ranges {
			if r.First > r.Last || i > 0 && int(r.First) <= int(ranges[i-1].Last)+1 {
				t.Errorf("ranges %v are not sorted and apart", ranges)
			}
		}
		if got := commonPorts(ranges, ranges); !slices.Equal(got, ranges) {
			t.Errorf("%v has in common with itself %v", ranges, got)
		}
	})
}
