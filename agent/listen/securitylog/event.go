package securitylog

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// The events of the Windows Filtering Platform that are told of
// (https://learn.microsoft.com/previous-versions/windows/it-pro/windows-10/security/threat-protection/auditing/event-5154,
// and event-5158).
const (
	permittedListen = 5154 // to listen on a port for incoming connections
	permittedBind   = 5158 // to bind to a local port
)

// Event is a program that was permitted to listen, or to bind to a port.
type Event struct {
	Record   uint64 // number in the log
	Time     time.Time
	Listens  bool // else it is bound, of which a datagram socket listens
	PID      uint32
	Program  string // as the kernel names its file: \device\harddiskvolume2\…
	Local    netip.AddrPort
	Protocol uint8 // of IP: 6 TCP, 17 UDP
}

// maxEvent bounds an event's XML, in bytes: these have some 1,200, and a path
// 32,767 characters at the most.
const maxEvent = 256 << 10

// ErrMalformed is what the errors of Parse match.
var ErrMalformed = errors.New("malformed event")

// document is the XML of an event, as far as it is asked for.
type document struct {
	System struct {
		EventID uint32
		Record  uint64 `xml:"EventRecordID"`
		Created struct {
			Time string `xml:"SystemTime,attr"`
		} `xml:"TimeCreated"`
	}
	Data []struct {
		Name string `xml:"Name,attr"`
		Text string `xml:",chardata"`
	} `xml:"EventData>Data"`
}

// Parse decodes the XML of an event, in UTF-8. An error matches ErrMalformed and
// names what was refused.
func Parse(b []byte) (Event, error) {
	if len(b) > maxEvent {
		return Event{}, fmt.Errorf("%w: %d bytes, more than %d", ErrMalformed, len(b), maxEvent)
	}
	var d document
	if err := xml.NewDecoder(bytes.NewReader(b)).Decode(&d); err != nil {
		return Event{}, fmt.Errorf("%w: %w in %.200q", ErrMalformed, err, b)
	}
	if d.System.EventID != permittedListen && d.System.EventID != permittedBind {
		return Event{}, fmt.Errorf("%w: event %d is neither %d nor %d", ErrMalformed, d.System.EventID, permittedListen, permittedBind)
	}
	e := Event{Record: d.System.Record, Listens: d.System.EventID == permittedListen}
	var err error
	if e.Time, err = time.Parse(time.RFC3339Nano, d.System.Created.Time); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := e.fill(d); err != nil {
		return Event{}, fmt.Errorf("%w: record %d: %w", ErrMalformed, e.Record, err)
	}
	return e, nil
}

// fill takes over the data of an event, each by its name.
func (e *Event) fill(d document) error {
	values := map[string]string{}
	for _, v := range d.Data {
		values[v.Name] = v.Text
	}
	pid, err := strconv.ParseUint(values["ProcessId"], 0, 32) // a pointer: some render it as 0x1038
	if err != nil {
		return fmt.Errorf("process: %w", err)
	}
	port, err := strconv.ParseUint(values["SourcePort"], 10, 16)
	if err != nil {
		return fmt.Errorf("port: %w", err)
	}
	protocol, err := strconv.ParseUint(values["Protocol"], 10, 8)
	if err != nil {
		return fmt.Errorf("protocol: %w", err)
	}
	address, err := netip.ParseAddr(values["SourceAddress"])
	if err != nil {
		return fmt.Errorf("address: %w", err)
	}
	e.PID, e.Protocol, e.Program = uint32(pid), uint8(protocol), values["Application"]
	e.Local = netip.AddrPortFrom(address, uint16(port))
	return nil
}
