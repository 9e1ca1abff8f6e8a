package export

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// product is what the documents call this program.
const product = "portaudit"

// marshal returns v as JSON on one line, without a newline.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	// Nobody shows these as HTML, and < and & are frequent in commands.
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}

// addrOf returns the address of a record, without its zone, for neither schema
// has a place for one. It is not valid where the record has none: packet and
// vsock sockets have other addresses, and a finding of the host none at all.
func addrOf(text string) netip.Addr {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return a.WithZone("")
}

// ported reports whether the port of a record is that of a transport above IP.
// Of raw sockets it is the protocol, of packet sockets the EtherType, and vsock
// has larger ones.
func ported(e audit.Event) bool {
	return e.Port != 0 && e.Port < 1<<16 && protocolNumber(e) != 0 && e.Transport != "raw"
}

// protocolNumber is the number that IANA gave to the transport of a record, 0 if
// there is none: https://www.iana.org/assignments/protocol-numbers
func protocolNumber(e audit.Event) int {
	switch e.Transport {
	case "tcp":
		return 6
	case "udp":
		return 17
	case "dccp":
		return 33
	case "sctp":
		return 132
	case "udplite":
		return 136
	case "raw": // its "port" is the protocol
		return int(min(e.Port, 255))
	}
	return 0
}

// commandLine is the command line of an owner, "" where the record has no more
// than the name of the program: the policy did not ask for more.
func commandLine(o audit.Owner) string {
	if o.Command == processName(o) || !strings.Contains(o.Command, " ") {
		return ""
	}
	return o.Command
}

// processName is the name of an owner's program: that of its file, else what
// the process calls itself.
func processName(o audit.Owner) string {
	if o.Executable == "" {
		return o.Command
	}
	return base(o.Executable)
}

// base is path.Base for the paths of every system: a log may be read elsewhere
// than it was written.
func base(file string) string {
	if strings.HasPrefix(file, "/") {
		return path.Base(file)
	}
	return file[strings.LastIndexAny(file, `\/`)+1:]
}

// serviceName is the unit of an owner, or the service of Windows.
func serviceName(o audit.Owner) string {
	if o.Unit == "" && len(o.Services) > 0 {
		return o.Services[0]
	}
	return o.Unit
}

// severityNumber ranks the severities of a policy as OCSF does, where 1 is for what
// is of none; 0 is unknown.
func severityNumber(severity string) int {
	switch severity {
	case "low":
		return 2
	case "medium":
		return 3
	case "high":
		return 4
	case "critical":
		return 5
	}
	return 0
}

// known returns the time at t, and the zero time for nil.
func known(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// distinct appends to list what is not "" and not yet in it.
func distinct(list []string, texts ...string) []string {
next:
	for _, t := range texts {
		if t == "" {
			continue
		}
		for _, have := range list {
			if have == t {
				continue next
			}
		}
		list = append(list, t)
	}
	return list
}
