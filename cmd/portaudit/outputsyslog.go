package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/portaudit/portaudit/agent/alert"
)

// journaldOutput is the type journald. Its socket has another path in tests alone.
func journaldOutput(m *mapping) func() (alert.Sender, error) {
	path, node := m.text("socket")
	if node == nil {
		path = alert.JournalSocket
	} else if !filepath.IsAbs(path) {
		m.wrong(node, "socket wants a path from the root, not %q", path)
	}
	if runtime.GOOS != "linux" {
		m.wrong(m.node, "journald is a part of Linux alone")
	}
	return func() (alert.Sender, error) { return alert.NewJournal(path), nil }
}

// facilities are those of RFC 5424, table 1, by the names of syslog.conf(5).
func facilities() []string {
	return []string{
		"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
		"ntp", "security", "console", "solaris-cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
	}
}

// syslogOutput is the type syslog.
func syslogOutput(m *mapping) func() (alert.Sender, error) {
	o := alert.SyslogOptions{PID: os.Getpid(), Facility: slices.Index(facilities(), "daemon")}
	address, at := m.text("address")
	if at == nil {
		address, at = "unix:///dev/log", m.node
	}
	var err error
	if o.Network, o.Address, err = syslogAddress(address); err != nil {
		m.wrong(at, "%v", err)
	}
	if facility := m.word("facility", facilities()...); facility != "" {
		o.Facility = slices.Index(facilities(), facility)
	}
	o.Enterprise = m.number("enterprise", 1, 1<<31-1, alert.DefaultEnterprise)
	o.Size = int(m.size("max_size", alert.LeastSyslogSize, alert.MostSyslogSize, alert.DefaultSyslogSize))
	o.Format = formats()[m.word("format", formatNames()...)]
	files := tlsFiles{}
	for _, f := range []struct {
		key    string
		target *string
	}{{"ca_file", &files.ca}, {"cert_file", &files.cert}, {"key_file", &files.key}, {"server_name", &files.name}} {
		var node *yaml.Node
		if *f.target, node = m.text(f.key); node != nil && o.Network != "tls" && err == nil {
			m.wrong(node, "%s is for an address that begins with tls://", f.key)
		}
	}
	if (files.cert == "") != (files.key == "") {
		m.wrong(m.node, "cert_file and key_file are of one certificate: give both or neither")
	}
	return func() (alert.Sender, error) {
		var err error
		if o.Network == "tls" {
			if o.TLS, err = files.config(); err != nil {
				return nil, err
			}
		}
		return alert.NewSyslog(o), nil
	}
}

// syslogAddress reads where messages go.
func syslogAddress(text string) (network, address string, _ error) {
	network, address, ok := strings.Cut(text, "://")
	wrong := fmt.Errorf("address wants unix:///path, tcp://host:port, tls://host:port or udp://host:port, not %q", text)
	switch {
	case !ok:
		return "", "", wrong
	case network == "unix":
		if !strings.HasPrefix(address, "/") {
			return "", "", wrong
		}
		return network, address, nil
	case network == "tcp", network == "tls", network == "udp":
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || port == "" {
			return "", "", wrong
		}
		return network, address, nil
	}
	return "", "", wrong
}

// tlsFiles name what a TLS connection is made with.
type tlsFiles struct{ ca, cert, key, name string }

// config reads the files. None but root and the user of this process may be able to
// change them, for who can, reads along, and others must not read the key.
func (f tlsFiles) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.name}
	if f.ca != "" {
		pem, err := readSecret("ca_file", f.ca)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s has no certificate in PEM", f.ca)
		}
	}
	if f.cert == "" {
		return c, nil
	}
	cert, err1 := readSecret("cert_file", f.cert)
	key, err2 := readPrivate("key_file", f.key)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("cert_file %s and key_file %s: %w", f.cert, f.key, err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// formatNames are what the text of a message can be.
func formatNames() []string { return []string{"text", "json", "ecs", "ocsf"} }

// formats are those that are documents.
func formats() map[string]func(alert.Message) ([]byte, error) {
	return map[string]func(alert.Message) ([]byte, error){"json": alert.Document, "ecs": alert.ECS, "ocsf": alert.OCSF}
}
