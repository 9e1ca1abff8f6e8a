package alert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// SyslogOptions is what a Syslog works with.
type SyslogOptions struct {
	Network string // unix, udp, tcp or tls
	Address string // path of a socket, or host and port

	TLS *tls.Config // for tls

	Facility   int                           // RFC 5424, table 1
	Enterprise int                           // number in the name of the structured data; 0 is DefaultEnterprise
	Size       int                           // the most bytes of a message; 0 is DefaultSyslogSize
	Format     func(Message) ([]byte, error) // of MSG, one document; nil: a sentence
	PID        int                           // of this process
}

// What was written to a stream or a local socket is not yet read by the receiver,
// and syslog confirms nothing (RFC 6587, 5; RFC 5425 neither). So what was written
// shortly before a connection breaks is written again to the next one: a receiver
// that restarts loses nothing, and knows by seq what it has twice.
const (
	// keepFor is how long something may lie in a socket of a receiver that lives.
	keepFor = time.Minute
	// keepBytes bounds what is kept. A receiver's socket takes some 200 KiB while
	// nobody reads (net.ipv4.tcp_rmem, net.core.rmem_default).
	keepBytes = 1 << 20
	// tendEvery is how often a connection is looked at while something is kept.
	tendEvery = time.Second
)

// Syslog is a Sender of RFC 5424: in datagrams to a local socket or by UDP (RFC
// 5426), with octet counting over TCP (RFC 6587, 3.4.1) or TLS (RFC 5425), one to
// a line over a local stream, where no message has a newline in it.
type Syslog struct {
	options SyslogOptions
	encoder syslogEncoder
	conn    net.Conn
	socket  os.FileInfo // of a local socket, when it was connected
	kept    []kept
	size    int // of all that is kept
}

// kept is a frame that the receiver may not have read.
type kept struct {
	at    time.Time
	frame []byte
}

// NewSyslog returns a Syslog that connects when it has something to send.
func NewSyslog(o SyslogOptions) *Syslog {
	if o.Enterprise == 0 {
		o.Enterprise = DefaultEnterprise
	}
	if o.Size == 0 {
		o.Size = DefaultSyslogSize
	}
	return &Syslog{options: o, encoder: syslogEncoder{
		facility: o.Facility, enterprise: o.Enterprise, size: o.Size, pid: o.PID, format: o.Format,
	}}
}

// Send writes the message.
func (s *Syslog) Send(ctx context.Context, m Message) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	frame := s.frame(s.encoder.encode(m))
	if err := s.write(ctx, frame); err != nil {
		return err
	}
	if s.options.Network != "udp" {
		s.kept = append(s.kept, kept{time.Now(), frame})
		s.size += len(frame)
		s.forget()
	}
	return nil
}

// Tend looks whether the connection still is, and if not writes what may be lost to
// the next one.
func (s *Syslog) Tend(ctx context.Context) (time.Duration, error) {
	s.forget()
	if len(s.kept) == 0 {
		return 0, nil
	}
	if s.conn != nil && s.broken() {
		s.disconnect()
	}
	return tendEvery, s.connect(ctx)
}

// Close ends the connection.
func (s *Syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

// forget drops what is too old, or too much, to be kept.
func (s *Syslog) forget() {
	n := 0
	for n < len(s.kept) && (time.Since(s.kept[n].at) > keepFor || s.size > keepBytes) {
		s.size -= len(s.kept[n].frame)
		n++
	}
	s.kept = append([]kept(nil), s.kept[n:]...)
}

// frame returns a message as the transport wants it.
func (s *Syslog) frame(message []byte) []byte {
	switch {
	case s.options.Network == "tcp" || s.options.Network == "tls":
		return append(strconv.AppendInt(nil, int64(len(message)), 10), append([]byte{' '}, message...)...)
	case s.options.Network == "unix" && s.conn.RemoteAddr().Network() == "unix":
		return append(message, '\n')
	}
	return message
}

// connect connects, if that is to be done, and writes what the connection before may
// have lost.
func (s *Syslog) connect(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	s.conn = conn
	for _, k := range s.kept {
		if err := s.write(ctx, k.frame); err != nil {
			return err
		}
	}
	return nil
}

func (s *Syslog) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{
		// A receiver that has gone without a word is known in half a minute.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         boundRetransmission,
	}
	switch s.options.Network {
	case "tls":
		return (&tls.Dialer{NetDialer: &d, Config: s.options.TLS}).DialContext(ctx, "tcp", s.options.Address)
	case "unix":
		return s.dialLocal(ctx)
	case "tcp", "udp":
		return d.DialContext(ctx, s.options.Network, s.options.Address)
	}
	return nil, fmt.Errorf("%w: syslog over %q is not known", ErrRefused, s.options.Network)
}

// dialLocal connects to a local socket, of datagrams or of a stream, as syslog(3)
// does.
func (s *Syslog) dialLocal(ctx context.Context) (net.Conn, error) {
	var err error
	if s.socket, err = os.Stat(s.options.Address); err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unixgram", s.options.Address)
	if errors.Is(err, syscall.EPROTOTYPE) {
		return d.DialContext(ctx, "unix", s.options.Address)
	}
	return conn, err
}

// write writes a frame, or ends the connection: nobody knows how much of it is on
// its way.
func (s *Syslog) write(ctx context.Context, frame []byte) error {
	deadline, _ := ctx.Deadline() // the zero time is none
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		s.disconnect()
		return err
	}
	conn := s.conn
	defer context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Now()) })() // it fails where nothing waits any more
	_, err := s.conn.Write(frame)
	if err == nil {
		return nil
	}
	s.disconnect()
	if errors.Is(err, syscall.EMSGSIZE) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

func (s *Syslog) disconnect() {
	_ = s.conn.Close() // it is broken anyhow
	s.conn = nil
}

// broken reports whether the receiver has ended the connection. Of a local socket
// of datagrams the kernel says nothing before the next write: there it is another
// socket that lies at the path, or none that takes anything.
func (s *Syslog) broken() bool {
	if s.conn.RemoteAddr().Network() == "unixgram" {
		now, err := os.Stat(s.options.Address)
		if err != nil || !os.SameFile(now, s.socket) {
			return true
		}
		probe, err := net.Dial("unixgram", s.options.Address)
		if err != nil {
			return true
		}
		return probe.Close() != nil
	}
	var buf [512]byte // what a receiver says, nobody wants to know
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			return true
		}
		if _, err := s.conn.Read(buf[:]); err != nil {
			return !errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
}
