package systemd

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// client is a connection to a service manager, or to the bus that it is on.
type client struct {
	reader *bufio.Reader
	writer io.Writer
	serial uint32 // of the last call
	out    []byte
	in     []byte
}

func newClient(rw io.ReadWriter) *client {
	return &client{reader: bufio.NewReaderSize(rw, 16<<10), writer: rw}
}

// authenticate says which user asks; the other side compares that with what the
// kernel tells it (D-Bus specification, "Authentication Protocol").
func (c *client) authenticate(uid int) error {
	name := hex.EncodeToString(strconv.AppendInt(nil, int64(uid), 10))
	if _, err := io.WriteString(c.writer, "\x00AUTH EXTERNAL "+name+"\r\n"); err != nil {
		return err
	}
	line, err := c.reader.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return malformed(line, "a line of more than %d bytes", len(line))
	case err != nil:
		return cut(err)
	}
	switch word, _, _ := strings.Cut(strings.TrimSpace(string(line)), " "); word {
	case "OK":
		_, err = io.WriteString(c.writer, "BEGIN\r\n")
		return err
	case "REJECTED":
		return fmt.Errorf("user %d is rejected: %w", uid, fs.ErrPermission)
	}
	return malformed(line, "no answer to who asks")
}

// inFlight is how many calls wait for an answer at a time: fewer than the 128
// that a bus may be configured to allow (max_replies_per_connection,
// dbus-daemon(1)), and few enough that neither side's socket buffer fills up
// with both of them waiting for the other.
const inFlight = 64

// exchange makes the calls, and hands the answer of each to handle as it comes,
// with the index of its call. An answer is valid until handle returns. The
// first error that handle returns ends it.
func (c *client) exchange(calls []call, handle func(i int, m message) error) error {
	for first := 0; first < len(calls); first += inFlight {
		batch := calls[first:min(first+inFlight, len(calls))]
		err := c.batch(batch, func(i int, m message) error { return handle(first+i, m) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *client) batch(calls []call, handle func(i int, m message) error) error {
	base := c.serial + 1
	c.out = c.out[:0]
	for _, call := range calls {
		c.serial++
		c.out = appendCall(c.out, c.serial, call)
	}
	if _, err := c.writer.Write(c.out); err != nil {
		return err
	}
	answered := make([]bool, len(calls))
	for waiting := len(calls); waiting > 0; {
		m, err := c.receive()
		if err != nil {
			return err
		}
		i := int64(m.reply) - int64(base)
		if m.kind != kindReturn && m.kind != kindError || i < 0 || i >= int64(len(calls)) || answered[i] {
			continue // a signal, or what nobody asked for
		}
		answered[i] = true
		waiting--
		if err := handle(int(i), m); err != nil {
			return err
		}
	}
	return nil
}

// receive reads a message. It is valid until the next one.
func (c *client) receive() (message, error) {
	head, err := c.reader.Peek(fixedHeader)
	if err != nil {
		return message{}, cut(err)
	}
	size, err := messageSize(head)
	if err != nil {
		return message{}, err
	}
	c.in = slices.Grow(c.in[:0], size)[:size]
	if _, err := io.ReadFull(c.reader, c.in); err != nil {
		return message{}, cut(err)
	}
	return parseMessage(c.in)
}

// cut makes an end within the conversation the error that it is: io.EOF would
// say that all had been read.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// callError is the answer that a call failed. It matches ErrAbsent and
// fs.ErrPermission where it means them.
type callError struct{ name, text string }

// failure returns the error that an answer carries, nil if it carries none.
func (m *message) failure() error {
	if m.kind != kindError {
		return nil
	}
	e := &callError{name: m.name}
	if len(m.body.b) > 0 {
		e.text = m.body.string() // the text comes first where there is one
	}
	return e
}

func (e *callError) Error() string { return fmt.Sprintf("systemd answers %s: %q", e.name, e.text) }

// The names of errors: D-Bus specification, systemd's bus-error-common.h.
const (
	errorPrefix     = "org.freedesktop.DBus.Error."
	unknownProperty = errorPrefix + "UnknownProperty"
)

// Is reports whether the error means target.
func (e *callError) Is(target error) bool {
	switch e.name {
	case errorPrefix + "ServiceUnknown", errorPrefix + "NameHasNoOwner":
		return target == ErrAbsent
	case errorPrefix + "AccessDenied", errorPrefix + "AuthFailed":
		return target == fs.ErrPermission
	}
	return false
}

// gone reports whether the error says that the unit has gone since it was listed.
func (e *callError) gone() bool {
	switch e.name {
	case errorPrefix + "UnknownObject", "org.freedesktop.systemd1.NoSuchUnit":
		return true
	}
	return false
}
