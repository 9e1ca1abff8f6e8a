package alert

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/portaudit/portaudit/agent/audit"
)

// authority makes certificates for a test.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	a.key, der = a.sign(template, template, nil)
	a.cert = a.parse(der)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, der
}

func (a *authority) parse(der []byte) *x509.Certificate {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

func (a *authority) issue(name string) tls.Certificate {
	key, der := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// received keeps the sequence numbers of what servers read.
type received struct {
	mu   sync.Mutex
	seqs []uint64
}

func (r *received) add(t testing.TB, message string) {
	m, err := rfc5424.NewParser().Parse([]byte(message))
	if err != nil {
		t.Errorf("%v: %q", err, message)
		return
	}
	seq, err := strconv.ParseUint((*m.(*rfc5424.SyslogMessage).StructuredData)["portaudit@32473"]["seq"], 10, 64)
	if err != nil {
		t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seqs = append(r.seqs, seq)
}

// all reports whether each from 1 to n was read, in their order but for repetitions.
func (r *received) all(n uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	sorted := slices.Compact(slices.Sorted(slices.Values(r.seqs)))
	return slices.Equal(sorted, numbers(1, n))
}

// readCounted reads a frame of octet counting.
func readCounted(r *bufio.Reader) (string, error) {
	length, err := r.ReadString(' ')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return string(b), err
}

// serve accepts one connection, reads up to some messages and ends the connection,
// and the listener, with whatever was not read.
func serve(t testing.TB, l net.Listener, some int, next func(*bufio.Reader) (string, error), to *received) {
	conn, err := l.Accept()
	if err != nil {
		return // it was closed
	}
	r := bufio.NewReaderSize(conn, 16) // what lies here is lost with the connection, too
	for range some {
		message, err := next(r)
		if err != nil {
			break
		}
		to.add(t, strings.TrimSuffix(message, "\n"))
	}
	if c, ok := conn.(*net.TCPConn); ok {
		if err := c.SetLinger(0); err != nil { // as the end of a process that is killed with data unread
			t.Error(err)
		}
	}
	conn.Close()
	l.Close()
}

// TestSyslogReceiverDies lets receivers die again and again, with messages unread.
func TestSyslogReceiverDies(t *testing.T) {
	a := newAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{a.issue("siem.example")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool}
	client := &tls.Config{RootCAs: a.pool, ServerName: "siem.example", Certificates: []tls.Certificate{a.issue("alpha")}}
	local := filepath.Join(t.TempDir(), "log")
	line := func(r *bufio.Reader) (string, error) { return r.ReadString('\n') }
	plain := func(network string) func(string) (net.Listener, error) {
		return func(address string) (net.Listener, error) { return net.Listen(network, address) }
	}
	tests := []struct {
		network string
		address string
		listen  func(address string) (net.Listener, error)
		next    func(*bufio.Reader) (string, error)
	}{
		{"tcp", "127.0.0.1:0", plain("tcp"), readCounted},
		{"tls", "127.0.0.1:0", func(address string) (net.Listener, error) { return tls.Listen("tcp", address, server) }, readCounted},
		{"unix", local, plain("unix"), line},
	}
	for _, tt := range tests {
		t.Run(tt.network, func(t *testing.T) {
			if tt.network == "unix" && runtime.GOOS == "windows" {
				t.Skip("Windows has no such sockets for syslog")
			}
			l, err := tt.listen(tt.address)
			if err != nil {
				t.Fatal(err)
			}
			address := l.Addr().String()
			b, got := newBench(t), &received{}
			s := NewSyslog(SyslogOptions{Network: tt.network, Address: address, TLS: client, Facility: 3})
			o := b.output(s, Selection{All: true})
			stop := run(o)
			total := uint64(0)
			for round := range 5 {
				done := make(chan struct{})
				go func() { // ends with the connection
					defer close(done)
					serve(t, l, 7+round, tt.next, got)
				}()
				b.add(20, audit.Event{Event: audit.ListenerOpened, Message: "m"})
				total += 20
				<-done
				for {
					if l, err = tt.listen(address); err == nil {
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
			go serve(t, l, 1<<20, tt.next, got) // ends when the output is closed
			for began := time.Now(); !got.all(total); time.Sleep(20 * time.Millisecond) {
				if time.Since(began) > 30*time.Second {
					t.Fatalf("after %v there are %d: %v; %+v %s", time.Since(began), len(got.seqs), got.seqs, o.Counts(), b.said())
				}
			}
			stop()
			t.Logf("%d records, %d of them more than once", total, len(got.seqs)-int(total))
		})
	}
}

// TestSyslogDatagrams lets the owner of a local socket die, as when rsyslog starts
// anew.
func TestSyslogDatagrams(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no sockets of datagrams with a path")
	}
	path := filepath.Join(t.TempDir(), "log")
	b, got := newBench(t), &received{}
	stop := run(b.output(NewSyslog(SyslogOptions{Network: "unix", Address: path}), Selection{All: true}))
	defer stop()
	total := uint64(0)
	for round := range 3 {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		b.add(10, audit.Event{Event: audit.ListenerOpened, Message: "m"})
		total += 10
		buf := make([]byte, 64<<10)
		for !got.all(total) {
			if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("round %d: %v, %v; %s", round, err, got.seqs, b.said())
			}
			got.add(t, string(buf[:n]))
		}
		b.add(10, audit.Event{Event: audit.ListenerClosed, Message: "they lie in the socket when it is closed"})
		total += 10
		time.Sleep(50 * time.Millisecond)
		conn.Close()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSyslogUDP(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_WINE") != "" {
		t.Skip("Go opens no UDP socket under Wine, which lacks a call that it makes (WSAIoctl)")
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := NewSyslog(SyslogOptions{Network: "udp", Address: conn.LocalAddr().String()})
	defer s.Close()
	if err := s.Send(t.Context(), full("x")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	n, _, err := conn.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	if p := parse(t, buf[:n]); *p.MsgID != audit.FindingRaised {
		t.Errorf("got %q", buf[:n])
	}
	if again, err := s.Tend(t.Context()); again != 0 || err != nil {
		t.Errorf("there is nothing to tend, but %v, %v", again, err)
	}
}

// TestSyslogRefuses holds what a connection is refused for.
func TestSyslogRefuses(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{a.issue("siem.example")}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()
	tests := []struct {
		reason string
		o      SyslogOptions
		want   string
	}{
		{"a certificate of nobody we know", SyslogOptions{Network: "tls", TLS: &tls.Config{RootCAs: other.pool, ServerName: "siem.example"}}, "unknown authority"},
		{"one of another name", SyslogOptions{Network: "tls", TLS: &tls.Config{RootCAs: a.pool, ServerName: "else.example"}}, "else.example"},
		{"nobody listens", SyslogOptions{Network: "tcp", Address: "127.0.0.1:1"}, "refused"},
		{"no such socket", SyslogOptions{Network: "unix", Address: filepath.Join(t.TempDir(), "none")}, "none"},
		{"a transport that nobody knows", SyslogOptions{Network: "pigeon"}, "pigeon"},
	}
	for _, tt := range tests {
		if tt.o.Address == "" {
			tt.o.Address = l.Addr().String()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := NewSyslog(tt.o).Send(ctx, full("x"))
		cancel()
		if err == nil || !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%s: %v, want %s", tt.reason, err, tt.want)
		}
		if errors.Is(err, ErrRefused) != (tt.o.Network == "pigeon") {
			t.Errorf("%s: to be tried again? %v", tt.reason, err)
		}
	}
}
