package firewall

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/portaudit/portaudit/registry"
)

// ParseProxy says from the arguments of a process, its name first, which ports
// it hands on, if it is a program that publishes ports of containers and its
// arguments tell: docker-proxy, rootlesskit and pasta. podman's rootlessport
// gets them by its standard input, slirp4netns by a socket; they tell nothing.
func ParseProxy(args []string) []Publication {
	if len(args) == 0 {
		return nil
	}
	program := args[0][strings.LastIndexByte(args[0], '/')+1:]
	switch program {
	case "docker-proxy":
		if p, ok := ParseDockerProxy(args[1:]); ok {
			return []Publication{p}
		}
	case "rootlesskit":
		return parseFlags(args[1:], []string{"-p", "--publish"}, parseRootlessKit)
	case "pasta", "pasta.avx2":
		list := parseFlags(args[1:], []string{"-t", "--tcp-ports"}, func(v string) []Publication { return parsePasta(v, registry.TCP) })
		return append(list, parseFlags(args[1:], []string{"-u", "--udp-ports"}, func(v string) []Publication { return parsePasta(v, registry.UDP) })...)
	}
	return nil
}

// ParseDockerProxy reads the arguments of docker-proxy, without its name:
// moby's cmd/docker-proxy/main_linux.go. Not ok where one is missing or is not
// what it should be.
func ParseDockerProxy(args []string) (Publication, bool) {
	values := make(map[string]string)
	for i := 0; i < len(args); i++ {
		flag, value, inline := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(args[i], "-"), "-"), "=")
		if flag == "use-listen-fd" && !inline {
			continue
		}
		if !inline && i+1 < len(args) {
			i++
			value = args[i]
		}
		values[flag] = value
	}
	t, err1 := registry.ParseTransport(values["proto"])
	from, err2 := netip.ParseAddr(values["host-ip"])
	to, err3 := netip.ParseAddr(values["container-ip"])
	port, err4 := registry.ParsePort(values["host-port"])
	toPort, err5 := registry.ParsePort(values["container-port"])
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			return Publication{}, false
		}
	}
	return Publication{
		Transport: t, Addresses: bound(from), Ports: Ports{port, port},
		To: to, ToPorts: Ports{toPort, toPort}, Because: "docker-proxy",
	}, true
}

// bound is the range of an address to which a program is bound.
func bound(a netip.Addr) Addresses {
	if !a.IsValid() || a.IsUnspecified() {
		return Addresses{}
	}
	return Addresses{a, a}
}

// parseFlags calls parse with the value of each flag that has one of the names.
func parseFlags(args, names []string, parse func(string) []Publication) []Publication {
	var list []Publication
	for i := 0; i < len(args); i++ {
		flag, value, inline := strings.Cut(args[i], "=")
		if !slices.Contains(names, flag) {
			continue
		}
		if !inline && i+1 < len(args) {
			i++
			value = args[i]
		}
		list = append(list, parse(value)...)
	}
	return list
}

// parseRootlessKit reads [address:]port:port/protocol: rootlesskit's
// pkg/port/portutil. Its addresses of the other side are those of its namespace.
func parseRootlessKit(s string) []Publication {
	spec, protocol, _ := strings.Cut(s, "/")
	protocol = strings.TrimRight(protocol, "46") // tcp4, tcp6: of one family
	t, err := registry.ParseTransport(protocol)
	if err != nil {
		return nil
	}
	rest, inside := cutLast(spec, ':')
	address, outside := cutLast(rest, ':')
	p := Publication{Transport: t, Because: "rootlesskit", Note: "into its network namespace"}
	var ok bool
	if p.Addresses, ok = parseBound(strings.Trim(address, "[]")); !ok {
		return nil
	}
	if p.Ports, ok = parsePorts(outside); !ok {
		return nil
	}
	if p.ToPorts, ok = parsePorts(inside); !ok {
		return nil
	}
	return []Publication{p}
}

// parsePasta reads the ports that pasta forwards, separated by commas:
// [address[%interface]/]ports[:ports], passt(1). The words none, all and auto,
// and the ports that ~ leaves out, tell no port.
func parsePasta(s string, t registry.Transport) []Publication {
	var list []Publication
	p := Publication{Transport: t, Because: "pasta", Note: "into its network namespace"}
	if where, ports, ok := strings.Cut(s, "/"); ok {
		s = ports
		where, p.Interface, _ = strings.Cut(where, "%")
		if p.Addresses, ok = parseBound(where); !ok {
			return nil
		}
	}
	for spec := range strings.SplitSeq(s, ",") {
		outside, inside, both := strings.Cut(spec, ":")
		var ok bool
		if p.Ports, ok = parsePorts(outside); !ok {
			continue
		}
		p.ToPorts = p.Ports
		if both {
			if p.ToPorts, ok = parsePorts(inside); !ok {
				continue
			}
		}
		list = append(list, p)
	}
	return list
}

func parseBound(s string) (Addresses, bool) {
	if s == "" {
		return Addresses{}, true
	}
	a, err := netip.ParseAddr(s)
	return bound(a), err == nil
}

// parsePorts reads a port, or two with a hyphen between them.
func parsePorts(s string) (Ports, bool) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	f, err1 := registry.ParsePort(first)
	l, err2 := registry.ParsePort(last)
	return Ports{f, l}, err1 == nil && err2 == nil && f <= l
}

// cutLast cuts s around its last separator; without one, all of it comes after.
func cutLast(s string, separator byte) (before, after string) {
	i := strings.LastIndexByte(s, separator)
	return s[:max(i, 0)], s[i+1:]
}
