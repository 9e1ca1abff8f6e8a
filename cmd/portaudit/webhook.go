package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/portaudit/portaudit/agent/alert"
)

// webhookKeys are the keys of an output of the type webhook.
type webhookKeys struct {
	url, urlFile          string
	insecure              bool
	format                string
	template              string
	secret, bearer, basic string // files
	tls                   tlsFiles
	timeout               time.Duration
}

// Formats of a webhook.
const (
	formatJSON         = "json"
	formatECS          = "ecs"
	formatOCSF         = "ocsf"
	formatSlack        = "slack"
	formatAlertmanager = "alertmanager"
	formatTemplate     = "template"
)

// webhookOutput reads the keys of a webhook.
func webhookOutput(m *mapping) func() (alert.Sender, error) {
	var k webhookKeys
	var url *yaml.Node
	k.url, url = m.text("url")
	k.format = m.word("format", formatJSON, formatECS, formatOCSF, formatSlack, formatAlertmanager, formatTemplate)
	k.insecure = m.yes("insecure")
	k.timeout = m.duration("timeout", time.Second, 30*time.Second)
	k.urlFile, _ = m.text("url_file")
	k.template, _ = m.text("template")
	k.secret, _ = m.text("secret_file")
	k.bearer, _ = m.text("bearer_token_file")
	k.basic, _ = m.text("basic_auth_file")
	k.tls.ca, _ = m.text("ca_file")
	k.tls.cert, _ = m.text("cert_file")
	k.tls.key, _ = m.text("key_file")
	k.tls.name, _ = m.text("server_name")
	switch {
	case len(m.problems) > 0:
	case (k.url == "") == (k.urlFile == ""):
		m.wrong(m.node, "a webhook wants either url, or url_file with a file that holds it")
	case (k.format == formatTemplate) != (k.template != ""):
		m.wrong(m.node, "template names a file, and goes with \"format: template\"")
	case k.bearer != "" && k.basic != "":
		m.wrong(m.node, "bearer_token_file and basic_auth_file exclude each other")
	case (k.tls.cert == "") != (k.tls.key == ""):
		m.wrong(m.node, "cert_file and key_file are of one certificate: give both or neither")
	case url != nil:
		if _, err := alert.OpenWebhook(alert.WebhookOptions{URL: k.url, Insecure: k.insecure}, alert.JSON); err != nil {
			m.wrong(url, "%v", err)
		}
	}
	return k.open
}

// yes takes true or false, or false where there is neither.
func (m *mapping) yes(key string) bool {
	var yes bool
	if node := m.take(key); node != nil {
		if err := setBool(&yes, key, node); err != nil {
			m.wrong(node, "%v", err)
		}
	}
	return yes
}

// duration takes a duration between two, 0 where there is none.
func (m *mapping) duration(key string, least, most time.Duration) time.Duration {
	node := m.take(key)
	if node == nil {
		return 0
	}
	d, err := time.ParseDuration(node.Value)
	if err != nil || d < least || d > most {
		m.wrong(node, "%s wants a duration from %v to %v, such as %v, not %q", key, least, most, least, node.Value)
		return 0
	}
	return d
}

// open reads the files that a webhook names.
func (k webhookKeys) open() (alert.Sender, error) {
	o := alert.WebhookOptions{URL: k.url, Insecure: k.insecure, Version: version(), Timeout: k.timeout}
	if err := k.readSecrets(&o); err != nil {
		return nil, err
	}
	var err error
	if o.TLS, err = k.tls.config(); err != nil {
		return nil, err
	}
	format, err := k.body()
	if err != nil {
		return nil, err
	}
	w, err := alert.OpenWebhook(o, format)
	if err != nil {
		return nil, err
	}
	if k.format == formatAlertmanager {
		return alert.NewAlertmanager(w), nil
	}
	return w, nil
}

// body returns what makes the bodies.
func (k webhookKeys) body() (alert.Format, error) {
	switch k.format {
	case formatECS:
		return alert.ECS, nil
	case formatOCSF:
		return alert.OCSF, nil
	case formatSlack:
		return alert.Slack, nil
	case formatTemplate:
		b, err := readSecret("template", k.template)
		if err != nil {
			return nil, err
		}
		format, err := alert.ParseTemplate(k.template, string(b))
		if err != nil {
			return nil, fmt.Errorf("template: %w", err)
		}
		return format, nil
	}
	return alert.JSON, nil
}

// readSecrets reads the files that nobody else may read.
func (k webhookKeys) readSecrets(o *alert.WebhookOptions) error {
	if k.urlFile != "" {
		line, err := readLine("url_file", k.urlFile)
		if err != nil {
			return err
		}
		o.URL = line
	}
	if k.secret != "" {
		b, err := readPrivate("secret_file", k.secret)
		if err != nil {
			return err
		}
		if o.Signer, err = alert.ParseSecret(b); err != nil {
			return fmt.Errorf("secret_file: %s: %w", k.secret, err)
		}
	}
	if k.bearer != "" {
		line, err := readLine("bearer_token_file", k.bearer)
		if err != nil {
			return err
		}
		o.Authorization = "Bearer " + line
	}
	if k.basic != "" {
		line, err := readLine("basic_auth_file", k.basic)
		if err != nil {
			return err
		}
		if !strings.Contains(line, ":") {
			return fmt.Errorf("basic_auth_file: %s: write USER:PASSWORD on one line", k.basic)
		}
		o.Authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(line))
	}
	return nil
}

// readLine reads the one line of a file that nobody else may read.
func readLine(what, path string) (string, error) {
	b, err := readPrivate(what, path)
	if err != nil {
		return "", err
	}
	line := strings.TrimRight(string(b), "\r\n")
	printable := func(r rune) bool { return r > ' ' && r < 0x7f || r == ' ' && what == "basic_auth_file" }
	if line == "" || strings.IndexFunc(line, func(r rune) bool { return !printable(r) }) >= 0 {
		return "", fmt.Errorf("%s: %s: one line is wanted, of ASCII, with nothing else", what, path)
	}
	return line, nil
}

// eventLogOutput reads the keys of an output to the Windows Event Log, of which
// there are none.
func eventLogOutput(*mapping) func() (alert.Sender, error) {
	return func() (alert.Sender, error) {
		l, err := alert.OpenEventLog()
		if err != nil {
			return nil, err // not a Sender that is no nil interface
		}
		return l, nil
	}
}

// readPrivate reads a file that none but root and the user of this process can
// change, and that others cannot read. what names the key for the error.
func readPrivate(what, path string) ([]byte, error) {
	f, err := openTrusted(path, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer f.Close()
	if err := exposed(f, path); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case len(b) > maxFile:
		return nil, fmt.Errorf("%s: %s has more than %d bytes", what, path, maxFile)
	}
	return b, nil
}
