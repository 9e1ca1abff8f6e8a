package firewall

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// brief is a publication in one line, for tables of tests.
func brief(p Publication) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s ", p.Transport)
	switch {
	case !p.Addresses.First.IsValid():
		b.WriteString("*")
	case p.Addresses.First == p.Addresses.Last:
		fmt.Fprint(&b, p.Addresses.First)
	default:
		fmt.Fprintf(&b, "%s-%s", p.Addresses.First, p.Addresses.Last)
	}
	fmt.Fprintf(&b, ":%d-%d", p.Ports.First, p.Ports.Last)
	if p.Interface != "" {
		b.WriteString("%" + p.Interface)
	}
	b.WriteString(" > ")
	if p.To.IsValid() {
		fmt.Fprint(&b, p.To)
	}
	if p.ToPorts != (Ports{}) {
		fmt.Fprintf(&b, ":%d-%d", p.ToPorts.First, p.ToPorts.Last)
	}
	if p.On != 0 {
		fmt.Fprintf(&b, " on %s", p.On)
	}
	if p.Local {
		b.WriteString(" locally")
	}
	if p.Note != "" {
		fmt.Fprintf(&b, " (%s)", p.Note)
	}
	return b.String()
}

// TestPublished holds the publications of what real kernels answered against
// the rules beside the captures.
func TestPublished(t *testing.T) {
	tests := map[string][]string{
		"server.capture": nil,
		"docker.capture": {
			"tcp *:8080-8080 > 172.17.0.2:80-80 on the interface",
			"udp 192.0.2.1:53-53 > 172.17.0.4:5353-5353 on the interface",
			"tcp *:8080-8080 > fd00::2:80-80",
		},
		"portmap.capture": {
			"tcp 10.96.0.1:443-443 > 10.0.1.1:6443-6443 on a rate or chance",
			"tcp 10.96.0.1:443-443 > 10.0.1.2:6443-6443",
			"tcp *:30080-30080 > 10.0.1.1:6443-6443 on a rate or chance",
			"tcp *:30080-30080 > 10.0.1.2:6443-6443",
			"tcp *:8080-8080 > 10.88.0.5:80-80",
			"tcp *:8443-8443 > 10.88.0.5:443-443",
		},
		"nat.capture": {
			"tcp *:80-80 > 10.0.0.2:8080-8080",
			"tcp *:81-81 > :82-82",
			"tcp *:90-90 > 10.0.0.1",
			"tcp *:91-91 > 10.0.0.2",
			"tcp *:92-92 > 10.0.0.1:80-80",
			"tcp *:100-110 > 10.0.0.2:200-210",
			"udp *:30000-30000 > 10.0.0.3",
			"udp *:30002-30003 > 10.0.0.3",
			"tcp 192.0.2.0-192.0.2.15:5000-5000%eth0 > 10.0.0.4:5001-5001",
			"tcp 192.0.2.1:443-443 > 10.0.0.1:8443-8443 on a rate or chance",
			"tcp 192.0.2.1:443-443 > 10.0.0.2:8443-8443",
			"udp 192.0.2.1:443-443 > 10.0.0.1:8443-8443 on a rate or chance",
			"tcp *:6000-6000 > 10.0.0.5 on the source address",
			"tcp 192.0.2.1:80-80 > 10.0.0.2:8080-8080 locally",
			"tcp *:7000-7000 > 10.0.0.9:7-7 locally",
		},
	}
	for name, capture := range captures(t) {
		t.Run(name, func(t *testing.T) {
			r, err := readCapture(capture)
			if err != nil {
				t.Fatal(err)
			}
			list, complete := r.Published()
			if !complete {
				t.Error("not complete")
			}
			var got []string
			for _, p := range list {
				got = append(got, brief(p))
				if p.Because == "" {
					t.Errorf("%s: no rule", brief(p))
				}
			}
			want := tests[name]
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}
