package systemd

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

const accepted = "OK 0123456789abcdef\r\n"

// ok answers a call with a body.
func ok(reply uint32, body []byte) string {
	return string(answer(binary.LittleEndian, kindReturn, reply, "", "v", body))
}

// refusal answers a call with an error.
func refusal(reply uint32, name string) string {
	return string(answer(binary.LittleEndian, kindError, reply, name, "s", appendString(nil, 0, "for a reason")))
}

// listed answers the list of units.
func listed(reply uint32, names ...string) string {
	b := make([]byte, 8)
	for _, name := range names {
		b = pad(b, 0, 8)
		for _, s := range []string{name, "", "loaded", "active", "listening", "", "/unit/" + name} {
			b = appendString(b, 0, s)
		}
		b = binary.LittleEndian.AppendUint32(pad(b, 0, 4), 0)
		b = appendString(appendString(b, 0, ""), 0, "/")
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-8))
	return ok(reply, b)
}

// listens answers the property Listen.
func listens(reply uint32, pairs ...string) string {
	b := pad([]byte("\x05a(ss)\x00"), 0, 4)
	at := len(b)
	b = pad(append(b, 0, 0, 0, 0), 0, 8)
	start := len(b)
	for i, s := range pairs {
		if i%2 == 0 {
			b = pad(b, 0, 8)
		}
		b = appendString(b, 0, s)
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-start))
	return ok(reply, b)
}

func text(reply uint32, s string) string {
	return ok(reply, appendString([]byte("\x01s\x00"), 0, s))
}

func texts(reply uint32, list ...string) string {
	return ok(reply, appendStrings([]byte("\x02as\x00"), 0, list))
}

func number(reply uint32, kind byte, n uint32) string {
	return ok(reply, binary.LittleEndian.AppendUint32([]byte{1, kind, 0, 0}, n))
}

// details answers the properties that are asked for second, of one unit.
func details(first uint32) string {
	return texts(first, "ssh.service") + number(first+1, 'b', 0) + number(first+2, 'i', 0) +
		text(first+3, "eth0") + number(first+4, 'b', 0) + text(first+5, "")
}

// said is a connection whose other side says what it will, whoever asks what.
type said struct {
	io.Reader
	io.Writer
}

func TestConverse(t *testing.T) {
	ssh := listed(1, "ssh.socket") + listens(2, "Stream", "[::]:22")
	tests := []struct {
		reason  string
		said    string
		bus     bool
		want    []string // name, services, transports
		err     error
		refused bool
	}{
		{reason: "one unit", said: accepted + ssh + details(3), want: []string{"ssh.socket ssh.service tcp"}},
		{reason: "a bus wants to be greeted", bus: true,
			said: accepted + text(1, ":1.5") + listed(2), want: nil},
		{reason: "signals, answers to nobody and second answers", want: []string{"ssh.socket ssh.service tcp"},
			said: accepted + ok(0, nil) + ok(99, nil) + string(answer(binary.LittleEndian, 4, 1, "", "", nil)) + listed(1, "ssh.socket") +
				listed(1, "other.socket") + listens(2, "Stream", "[::]:22") + details(3)},
		{reason: "answers in another order", want: []string{"a.socket ssh.service tcp", "b.socket ssh.service udp"},
			said: accepted + listed(1, "a.socket", "b.socket") + listens(3, "Datagram", "[::]:53") + listens(2, "Stream", "[::]:53") +
				details(10) + details(4)},
		{reason: "a template for each connection", want: []string{"ssh.socket ssh@.service tcp"},
			said: accepted + ssh + texts(3, "ssh@1.service") + number(4, 'b', 1) + number(5, 'i', 0) + text(6, "") + number(7, 'b', 0) + text(8, "")},
		{reason: "local sockets alone", said: accepted + listed(1, "a.socket") + listens(2, "Stream", "/run/a", "FIFO", "/run/b")},
		{reason: "properties that an older systemd lacks", want: []string{"ssh.socket ssh.service tcp"},
			said: accepted + ssh + texts(3, "ssh.service") + number(4, 'b', 0) + refusal(5, unknownProperty) + text(6, "") +
				number(7, 'b', 0) + refusal(8, unknownProperty)},
		{reason: "a unit that goes while it is asked for", said: accepted + listed(1, "a.socket", "b.socket") +
			refusal(2, errorPrefix+"UnknownObject") + listens(3, "Stream", "[::]:22") + details(4), want: []string{"b.socket ssh.service tcp"}},
		{reason: "a unit that goes after its addresses", said: accepted + ssh + refusal(3, "org.freedesktop.systemd1.NoSuchUnit") +
			refusal(4, "org.freedesktop.systemd1.NoSuchUnit") + refusal(5, "org.freedesktop.systemd1.NoSuchUnit") +
			refusal(6, "org.freedesktop.systemd1.NoSuchUnit") + refusal(7, "org.freedesktop.systemd1.NoSuchUnit") +
			refusal(8, "org.freedesktop.systemd1.NoSuchUnit")},
		{reason: "hung up before a word", said: "", err: io.ErrUnexpectedEOF},
		{reason: "hung up between messages", said: accepted + listed(1, "a.socket"), err: io.ErrUnexpectedEOF},
		{reason: "hung up within a message", said: (accepted + ssh)[:len(accepted)+60], err: io.ErrUnexpectedEOF},
		{reason: "rejected", said: "REJECTED EXTERNAL\r\n", err: fs.ErrPermission},
		{reason: "denied", said: accepted + refusal(1, errorPrefix+"AccessDenied"), err: fs.ErrPermission},
		{reason: "denied later", said: accepted + listed(1, "a.socket") + refusal(2, errorPrefix+"AccessDenied"), err: fs.ErrPermission},
		{reason: "a bus without systemd", bus: true, said: accepted + text(1, ":1.5") + refusal(2, errorPrefix+"ServiceUnknown"), err: ErrAbsent},
		{reason: "a bus without the name", bus: true, said: accepted + text(1, ":1.5") + refusal(2, errorPrefix+"NameHasNoOwner"), err: ErrAbsent},
		{reason: "another language", said: "HTTP/1.1 400 Bad Request\r\n", refused: true},
		{reason: "a line without end", said: strings.Repeat("x", 1<<17), refused: true},
		{reason: "no D-Bus", said: accepted + strings.Repeat("x", 100), refused: true},
		{reason: "a property of another type", said: accepted + listed(1, "a.socket") + text(2, "[::]:22"), refused: true},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			units, err := converse(said{strings.NewReader(tt.said), io.Discard}, 0, tt.bus)
			var refused *MessageError
			switch {
			case tt.refused != errors.As(err, &refused):
				t.Errorf("error is %v, want a refusal: %v", err, tt.refused)
			case !tt.refused && !errors.Is(err, tt.err):
				t.Errorf("error is %v, want %v", err, tt.err)
			}
			var got []string
			for _, u := range units {
				got = append(got, strings.Join([]string{u.Name, strings.Join(u.Triggers, "+"), u.Listen[0].Transport}, " "))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestConverseUnreadable holds that one address in a form that is not known
// takes away neither its unit nor the others.
func TestConverseUnreadable(t *testing.T) {
	units, err := converse(said{strings.NewReader(accepted + listed(1, "a.socket") +
		listens(2, "Stream", "[::]:22", "Stream", "infiniband:7") + details(3)), io.Discard}, 0, false)
	if err == nil || !strings.Contains(err.Error(), `"infiniband:7"`) {
		t.Errorf("error is %v, want one that tells the address", err)
	}
	if len(units) != 1 || len(units[0].Listen) != 2 || units[0].Listen[0].Transport != "tcp" || units[0].Listen[1].Transport != "" {
		t.Errorf("units are %+v", units)
	}
}

// TestInFlight asks for more than is asked at a time.
func TestInFlight(t *testing.T) {
	const n = 3*inFlight + 1
	names := make([]string, n)
	answers := accepted
	for i := range names {
		names[i] = "a.socket"
	}
	answers += listed(1, names...)
	for i := range names {
		answers += listens(uint32(2+i), "Stream", "[::]:22")
	}
	for i := range names {
		answers += details(uint32(2 + n + 6*i))
	}
	units, err := converse(said{strings.NewReader(answers), io.Discard}, 0, false)
	if err != nil || len(units) != n {
		t.Fatalf("%d units, %v", len(units), err)
	}
	if u := units[n-1]; u.Device != "eth0" || u.State != "listening" || len(u.Listen) != 1 {
		t.Errorf("the last one is %+v", u)
	}
}

func TestTemplate(t *testing.T) {
	tests := []struct{ reason, socket, want string }{
		{"a plain name", "ssh.socket", "ssh@.service"},
		{"an instance keeps its prefix alone", "ssh@eth0.socket", "ssh@.service"},
		{"dots", "org.cups.cupsd.socket", "org.cups.cupsd@.service"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			if got := template(tt.socket); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzConverse(f *testing.F) {
	f.Add([]byte(accepted+listed(1, "ssh.socket")+listens(2, "Stream", "[::]:22")+details(3)), false)
	f.Add([]byte(accepted+text(1, ":1.5")+listed(2, "ssh.socket")+refusal(3, errorPrefix+"UnknownObject")), true)
	f.Add([]byte("REJECTED EXTERNAL\r\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, bus bool) {
		units, _ := converse(said{strings.NewReader(string(b)), io.Discard}, 0, bus)
		if len(units) > len(b) {
			t.Errorf("%d units of %d bytes", len(units), len(b))
		}
		for _, u := range units {
			Match(units, Endpoint{Transport: u.Listen[0].Transport, Address: u.Listen[0].Local.Addr()})
		}
	})
}
