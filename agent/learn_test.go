package agent

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/configs"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// sightingOf makes what was seen of a socket of the host.
func sightingOf(s listen.Socket, at time.Time) Sighting {
	if s.Namespace == "" {
		s.Namespace = listen.HostNamespace
	}
	snapshot := listen.Snapshot{Sockets: []listen.Socket{s}, Namespaces: []listen.Namespace{{
		Label: s.Namespace, UnprivilegedStart: 1024, StartKnown: true, Complete: true,
		Ephemeral: listen.PortRange{First: 32768, Last: 60999}, EphemeralKnown: true,
	}}}
	c := newClassifier(snapshot, &registry.Catalog{}, &policy.Policy{}, false).classify(s)
	return Sighting{Listener: listener(c, policy.Decision{}, at), Facts: c.facts, First: at, Last: at, Times: 1}
}

// ran is an owner of which everything was seen.
func ran(path, user string, id uint32) listen.Owner {
	return listen.Owner{How: listen.Process, PID: 7, Executable: path, User: user, UID: uid(id), Deleted: listen.No, Memory: listen.No, Concealed: listen.No, WorldWritable: listen.No}
}

// in returns an owner with its unit.
func in(unit string, o listen.Owner) listen.Owner {
	o.Unit = unit
	return o
}

func tcp(address string, port registry.Port, owners ...listen.Owner) listen.Socket {
	return listen.Socket{Transport: registry.TCP, Address: netip.MustParseAddr(address), Port: port, Owners: owners}
}

func udp(address string, port registry.Port, owners ...listen.Owner) listen.Socket {
	s := tcp(address, port, owners...)
	s.Transport = registry.UDP
	return s
}

// rulesOf returns the rules of a learnt text that allow, those that are comments
// too, without the reason.
func rulesOf(lesson Lesson) string {
	_, text, _ := strings.Cut(string(lesson.Text), "hides it.'\n")
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "verdict: allow") && !strings.Contains(line, "reason: ") {
			b.WriteString(line)
		}
	}
	return strings.TrimSpace(b.String())
}

// TestLearn holds which rules are made of what was seen.
func TestLearn(t *testing.T) {
	nginx, worker := in("nginx.service", ran("/usr/sbin/nginx", "root", 0)), in("nginx.service", ran("/usr/sbin/nginx", "www-data", 33))
	systemd := listen.Owner{How: listen.SocketUnit, PID: 1, Executable: "/usr/lib/systemd/systemd", User: "root", UID: uid(0)}
	deleted, memory, hidden := ran("/x", "root", 0), ran("/memfd:x", "root", 0), ran("/x", "root", 0)
	deleted.Deleted, memory.Memory, hidden.Concealed = listen.Yes, listen.Yes, listen.Yes
	contained, inNamespace := ran("/app", "1000", 1000), tcp("0.0.0.0", 8080)
	contained.Container = "web"
	inNamespace.Namespace, inNamespace.Owners = "net:[4026532008]", []listen.Owner{contained}
	named := tcp("127.0.0.1", 8080, ran("/app", "app", 9))
	named.Namespace = "netns:blue"
	tests := []struct {
		reason string
		seen   []listen.Socket
		want   string
	}{
		{"a server with workers, in IPv4 and IPv6, on two ports", []listen.Socket{
			tcp("0.0.0.0", 80, nginx, worker), tcp("::", 80, nginx, worker), tcp("0.0.0.0", 443, nginx, worker),
		}, `- id: nginx-80-443
    match:
      transport: tcp
      port: [80, 443]
      scope: wildcard
      namespace: host
      executable: /usr/sbin/nginx
      user: [root, www-data]
      unit: nginx.service`},
		{"before the workers were there", []listen.Socket{tcp("0.0.0.0", 80, nginx), tcp("0.0.0.0", 80, worker, nginx)}, `- id: nginx-80
    match:
      transport: tcp
      port: 80
      scope: wildcard
      namespace: host
      executable: /usr/sbin/nginx
      user: [root, www-data]
      unit: nginx.service`},
		{"the unit was not always seen: the rule without it allows both", []listen.Socket{
			tcp("::1", 80, nginx), tcp("127.0.0.1", 80, ran("/usr/sbin/nginx", "root", 0)),
		}, `- id: nginx-80
    match:
      transport: tcp
      port: 80
      scope: loopback
      namespace: host
      executable: /usr/sbin/nginx
      user: root`},
		{"two programs share a socket: no other combination is allowed", []listen.Socket{tcp("::", 22, systemd, in("ssh.service", ran("/usr/sbin/sshd", "sshd", 9)))}, `- id: sshd-22
    match:
      transport: tcp
      port: 22
      scope: wildcard
      namespace: host
      any:
        - {executable: /usr/lib/systemd/systemd, user: root}
        - {executable: /usr/sbin/sshd, user: sshd, unit: ssh.service}`},
		{"ports that the system gave out", []listen.Socket{
			udp("0.0.0.0", 40001, ran("/usr/bin/dig", "alice", 1000)), udp("::", 40007, ran("/usr/bin/dig", "alice", 1000)), udp("0.0.0.0", 61001, ran("/usr/bin/dig", "alice", 1000)),
		}, `# The system gave out its port: seen on 40001, 40007.
  - id: dig-ephemeral-udp
    match:
      transport: udp
      ephemeral: true
      scope: wildcard
      namespace: host
      executable: /usr/bin/dig
      user: alice

  # The system gave out its port: seen on 61001.
  - id: dig-dynamic-udp
    match:
      transport: udp
      range: dynamic
      scope: wildcard
      namespace: host
      executable: /usr/bin/dig
      user: alice`},
		{"in a container, whose namespace has another number the next time", []listen.Socket{inNamespace}, `- id: app-8080
    match:
      transport: tcp
      port: 8080
      scope: wildcard
      not: {namespace: host}
      executable: /app
      user: "1000"
      container: web`},
		{"in a namespace with a name", []listen.Socket{named}, `- id: app-8080
    match:
      transport: tcp
      port: 8080
      scope: loopback
      namespace: 'netns:blue'
      executable: /app
      user: app`},
		{"the kernel", []listen.Socket{tcp("0.0.0.0", 10001, listen.Owner{How: listen.Kernel})}, `- id: kernel-10001
    match:
      transport: tcp
      port: 10001
      scope: wildcard
      namespace: host
      owner: kernel`},
		{"frames of a device, and of each", []listen.Socket{
			{Transport: registry.Packet, Number: 3, Owners: []listen.Owner{ran("/usr/bin/tcpdump", "root", 0)}},
			{Transport: registry.Packet, Number: 3, Interface: "eth0", Owners: []listen.Owner{ran("/usr/bin/tcpdump", "root", 0)}},
		}, `- id: tcpdump-packet
    match:
      transport: packet
      interface: eth0
      namespace: host
      executable: /usr/bin/tcpdump
      user: root

  - id: tcpdump-packet-2
    match:
      transport: packet
      namespace: host
      executable: /usr/bin/tcpdump
      user: root`},
		{"an account without a name", []listen.Socket{tcp("127.0.0.1", 1, ran("/x", "\xff", 7))}, `- id: x-1
    match:
      transport: tcp
      port: 1
      scope: loopback
      namespace: host
      executable: /x
      uid: 7`},
		{"the session of a login is another the next time", []listen.Socket{tcp("127.0.0.1", 1, in("session-3.scope", ran("/x", "u", 7)))}, `- id: x-1
    match:
      transport: tcp
      port: 1
      scope: loopback
      namespace: host
      executable: /x
      user: u`},
		{"ids are told apart", []listen.Socket{
			tcp("127.0.0.1", 1, ran("/x", "u", 7)), tcp("0.0.0.0", 1, ran("/x", "u", 7)), tcp("127.0.0.1", 1, ran("/opt/x", "v", 8)),
		}, `- id: x-1
    match:
      transport: tcp
      port: 1
      scope: loopback
      namespace: host
      executable: /opt/x
      user: v

  - id: x-1-loopback
    match:
      transport: tcp
      port: 1
      scope: loopback
      namespace: host
      executable: /x
      user: u

  - id: x-1-wildcard
    match:
      transport: tcp
      port: 1
      scope: wildcard
      namespace: host
      executable: /x
      user: u`},
		{"what is grave waits for somebody, and takes nothing with it", []listen.Socket{
			tcp("0.0.0.0", 6379, ran("/r", "r", 7)), tcp("::", 6379, ran("/r", "r", 7)), tcp("0.0.0.0", 16379, ran("/r", "r", 7)),
		}, `# Not allowed before somebody has looked; if it belongs here, take the marks
  # away from the rule.
  #
  # CRITICAL risky-service-critical: r listens on 0.0.0.0 port 6379/tcp,
  # commonly Redis, and other hosts can reach it.
  # - id: r-6379
  #   match:
  #     transport: tcp
  #     port: 6379
  #     scope: wildcard
  #     namespace: host
  #     executable: /r
  #     user: r

  - id: r-16379
    match:
      transport: tcp
      port: 16379
      scope: wildcard
      namespace: host
      executable: /r
      user: r`},
		{"what no rule may allow, and what was not seen", []listen.Socket{
			tcp("127.0.0.1", 1, deleted), tcp("127.0.0.1", 2, memory), tcp("127.0.0.1", 3, hidden), tcp("127.0.0.1", 4, listen.Owner{How: listen.Denied}),
			tcp("127.0.0.1", 5, nginx, listen.Owner{How: listen.OtherPIDSpace}), tcp("127.0.0.1", 6, ran("x", "u", 7)),
			{Transport: registry.TCP, Port: 7, Owners: []listen.Owner{nginx}},
		}, `# Seen, and not allowed:
# - tcp *:7, nginx: its address could not be seen
# - tcp 127.0.0.1:1, x: its program file was deleted
# - tcp 127.0.0.1:2, memfd:x: its program runs from memory and never was a file
# - tcp 127.0.0.1:3, x: its process is hidden by a mount over its directory in
#   /proc
# - tcp 127.0.0.1:4, unknown (no permission): its owner could not be seen
#   (denied)
# - tcp 127.0.0.1:5, nginx, unknown (other pid namespace): its owner could not
#   be seen (other pid namespace)
# - tcp 127.0.0.1:6, x: the path of its program cannot be written in a policy`},
	}
	judge := mustPolicy(t, string(configs.Policy()))
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			var seen []Sighting
			for _, s := range tt.seen {
				seen = append(seen, sightingOf(s, time.Unix(1e9, 0)))
			}
			lesson := Learn(seen, LearnOptions{Judge: judge, Head: []string{"h"}})
			if diff := cmp.Diff(tt.want, rulesOf(lesson)); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
			slices.Reverse(seen)
			if again := Learn(seen, LearnOptions{Judge: judge, Head: []string{"h"}}); string(again.Text) != string(lesson.Text) {
				t.Errorf("in another order\n%s", cmp.Diff(string(lesson.Text), string(again.Text)))
			}
			for _, all := range []bool{false, true} {
				holdsLesson(t, seen, Learn(seen, LearnOptions{Judge: judge, All: all}), judge, all)
			}
		})
	}
}

// holdsLesson holds that what was learnt is a policy without a mistake or anything
// odd, under which what was seen and may be allowed is quiet, and the rest is not.
func holdsLesson(t *testing.T, seen []Sighting, lesson Lesson, judge *policy.Policy, all bool) *policy.Policy {
	t.Helper()
	p, err := policy.Parse(lesson.Text, "learnt")
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, lesson.Text)
	}
	if odd := p.Warnings(time.Time{}); len(odd) > 0 {
		t.Errorf("%v\nin\n%s", odd, lesson.Text)
	}
	for _, s := range seen {
		why, _ := unfit(s)
		grave := slices.ContainsFunc(judge.Decide(s.Facts, time.Time{}).Findings, func(f policy.Finding) bool { return f.Severity >= policy.High })
		want := policy.Alert
		if why == "" && (all || !grave) {
			want = policy.Allow
		}
		if got := p.Decide(s.Facts, time.Time{}); got.Verdict != want {
			t.Errorf("all %t: %s: %v, want %v, by\n%s", all, EndpointText(s.Listener), got, want, lesson.Text)
		}
	}
	return p
}

// TestLearnTimes holds when and how often a rule says that it was seen.
func TestLearnTimes(t *testing.T) {
	at := func(hour, times int) Sighting {
		s := sightingOf(tcp("127.0.0.1", 1, ran("/x", "u", 7)), time.Date(2026, 11, 28, hour, 0, 0, 0, time.UTC))
		s.Times = times
		return s
	}
	never := at(9, 1)
	never.First = time.Time{}
	for _, tt := range []struct {
		reason string
		seen   []Sighting
		want   string
	}{
		{"once", []Sighting{at(9, 1)}, "Seen once, 2026-11-28T09:00:00Z."},
		{"again", []Sighting{at(12, 2), at(9, 1), at(10, 1)}, "Seen 4 times, first 2026-11-28T09:00:00Z, last 2026-11-28T12:00:00Z."},
		{"there before anybody looked", []Sighting{never}, "Seen once, last 2026-11-28T09:00:00Z."},
	} {
		text := string(Learn(tt.seen, LearnOptions{Judge: &policy.Policy{}}).Text)
		if !strings.Contains(text, "reason: "+tt.want+"\n") {
			t.Errorf("%s: want %q in\n%s", tt.reason, tt.want, text)
		}
	}
}

// FuzzLearn holds that whatever a host calls its programs, what is learnt is a
// policy that allows exactly that listener.
func FuzzLearn(f *testing.F) {
	f.Add("/usr/sbin/nginx", "root", "nginx.service", "", "host", uint16(80), uint16(1), false)
	f.Add("/opt/a*{b,c}?[d]", "a: b", "x\\x2d.service", "c 1", "net:[1]", uint16(40000), uint16(2), true)
	f.Add("/a\n  - id: x\n\"'\xff\u202e", "\x00", " ", "\n", "netns:{", uint16(60000), uint16(7), true)
	f.Add(`C:\a{\b.exe`, `DOMAIN\u`, "Svc*", "~", "host", uint16(0), uint16(5), false)
	f.Add(`\\s\?`, "1000", "s.scope", "<<", "*", uint16(65535), uint16(8), false)
	judge := &policy.Policy{} // finds everything to be of medium severity
	f.Fuzz(func(t *testing.T, executable, user, unit, container, namespace string, port, kind uint16, second bool) {
		transports := []registry.Transport{registry.TCP, registry.UDP, registry.SCTP, registry.DCCP, registry.UDPLite, registry.Raw, registry.Packet, registry.VSOCK}
		addresses := []string{"0.0.0.0", "127.0.0.1", "fe80::1%eth0", "10.1.2.3", "2001:db8::1"}
		s := tcp(addresses[int(kind)%len(addresses)], registry.Port(port), ran(executable, user, uint32(kind)))
		s.Transport, s.Namespace, s.Interface = transports[int(kind)%len(transports)], namespace, unit
		s.Owners[0].Unit, s.Owners[0].Container = unit, container
		if second {
			s.Owners = append(s.Owners, ran("/second", user, 0), ran(executable, "other", 1))
		}
		if !ported(s.Transport) {
			s.Port = 0
			if s.Transport != registry.Raw {
				s.Address = netip.Addr{}
			}
		}
		sighting := sightingOf(s, time.Unix(1e9, 0))
		lesson := Learn([]Sighting{sighting}, LearnOptions{Judge: judge})
		p := holdsLesson(t, []Sighting{sighting}, lesson, judge, false)
		if lesson.Rules == 0 {
			return
		}
		for reason, other := range others(sighting.Facts) {
			if d := p.Decide(other, time.Time{}); d.Verdict != policy.Alert {
				t.Errorf("%s is allowed by %s in\n%s", reason, d.Rule, lesson.Text)
			}
		}
	})
}

// others are listeners that differ from one in a thing that no learnt rule passes
// over, by that thing.
func others(l policy.Listener) map[string]policy.Listener {
	all := map[string]policy.Listener{}
	change := func(reason string, do func(*policy.Listener)) {
		other := l
		other.Owners = slices.Clone(l.Owners)
		do(&other)
		all[reason] = other
	}
	owner := func(reason string, do func(*policy.Owner)) {
		change(reason, func(l *policy.Listener) { do(&l.Owners[0]) })
	}
	if l.Ephemeral == policy.No && registry.RangeOf(l.Port) != registry.Dynamic && ported(l.Transport) {
		change("another port", func(l *policy.Listener) { l.Port ^= 1 })
	}
	if l.Scope != policy.UnknownScope {
		change("another scope", func(l *policy.Listener) { l.Scope = l.Scope%policy.Wildcard + 1 })
	}
	change("another transport", func(l *policy.Listener) {
		if l.Transport == registry.TCP {
			l.Transport = registry.UDP
			return
		}
		l.Transport = registry.TCP
	})
	if l.Namespace == listen.HostNamespace {
		change("another namespace", func(l *policy.Listener) { l.Namespace = "net:[7]" })
	}
	change("one more owner", func(l *policy.Listener) {
		l.Owners = append(l.Owners, policy.Owner{How: "process", Executable: "/new", User: "root"})
	})
	change("an owner that is not seen", func(l *policy.Listener) { l.Owners = append(l.Owners, policy.Owner{How: "denied"}) })
	owner("a longer path", func(o *policy.Owner) { o.Executable += "x" })
	owner("another directory", func(o *policy.Owner) { o.Executable = "/x" + o.Executable })
	owner("an unknown program", func(o *policy.Owner) { o.Executable = "" })
	owner("another user", func(o *policy.Owner) { o.User, o.UID.ID = o.User+"x", o.UID.ID+1 })
	owner("a deleted program", func(o *policy.Owner) { o.Deleted = policy.Yes })
	owner("a program in memory", func(o *policy.Owner) { o.Deleted, o.Memory = policy.Unknown, policy.Yes })
	return all
}
