package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/portaudit/portaudit/agent/alert"
	"github.com/portaudit/portaudit/configs"
)

func TestWebhookKeys(t *testing.T) {
	tests := []struct{ reason, keys, want string }{
		{"no more than where to", "url: https://h.example/", ""},
		{"Slack, by a file", "url_file: /etc/slack, format: slack", ""},
		{"Alertmanager", "url: http://127.0.0.1:9093, format: alertmanager", ""},
		{"all of it", "url: http://h.example/, insecure: true, format: template, template: /t, secret_file: /s, basic_auth_file: /b, ca_file: /ca, cert_file: /c, key_file: /k, server_name: h, timeout: 5s", ""},
		{"nowhere", "format: slack", "c.yaml:2:5: a webhook wants either url, or url_file"},
		{"to two", "url: https://h.example/, url_file: /u", "either url, or url_file"},
		{"without TLS", "url: http://h.example/secret", "c.yaml:2:26: url: http:// lets everybody on the way to h.example"},
		{"a format that nobody knows", "url: https://h/, format: xml", "format wants one of json, ecs, ocsf, slack, alertmanager, template, not \"xml\""},
		{"a template without a format", "url: https://h/, template: /t", "goes with \"format: template\""},
		{"a format without a template", "url: https://h/, format: template", "goes with \"format: template\""},
		{"two ways to say who this is", "url: https://h/, bearer_token_file: /t, basic_auth_file: /b", "exclude each other"},
		{"a certificate without a key", "url: https://h/, cert_file: /c", "give both or neither"},
		{"too long a timeout", "url: https://h/, timeout: 1h", "timeout wants a duration from 1s to 30s"},
		{"a number for a yes", "url: https://h/, insecure: 1", "insecure wants true or false"},
		{"a misspelt key", "url: https://h/, secret: /s", "unknown key \"secret\": known here are basic_auth_file, bearer_token_file, ca_file"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			_, err := parseConfig([]byte("outputs:\n  - {type: webhook, "+tt.keys+"}\n"), "c.yaml")
			wantError(t, err, tt.want)
			if err != nil && strings.Contains(err.Error(), "/secret") {
				t.Errorf("it quotes the secret: %v", err)
			}
		})
	}
}

// wantError holds an error against a part of its text, "" for none.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%v, want %q", err, want)
	}
}

const someSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func TestWebhookFiles(t *testing.T) {
	skipWithoutPrivateFiles(t)
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	const url = "https://h.example/"
	tests := []struct {
		reason string
		k      webhookKeys
		want   string
		unix   bool // what only a mode of Unix shows
	}{
		{"a secret", webhookKeys{url: url, secret: file("secret", someSecret+"\n", 0o600)}, "", false},
		{"a secret that the group can read", webhookKeys{url: url, secret: file("group", someSecret, 0o640)}, "", true},
		{"a secret that all can read", webhookKeys{url: url, secret: file("all", someSecret, 0o644)}, "secret_file: " + filepath.Join(dir, "all") + " holds a secret that every user can read: chmod o-r", true},
		{"a token that all can read", webhookKeys{url: url, bearer: file("allt", "token", 0o604)}, "bearer_token_file", true},
		{"a key that all can read", webhookKeys{url: url, tls: tlsFiles{cert: file("c", "", 0o644), key: file("allk", keyPEM, 0o644)}}, "key_file: ", true},
		{"a secret that others can write", webhookKeys{url: url, secret: file("write", someSecret, 0o622)}, "can be written by every user", true},
		{"no secret", webhookKeys{url: url, secret: file("bad", "hunter2", 0o600)}, "it is no secret of a webhook", false},
		{"a file that is not there", webhookKeys{url: url, secret: filepath.Join(dir, "none")}, "secret_file: ", false},
		{"a URL", webhookKeys{urlFile: file("url", url+"T0/B0/X\n", 0o600), format: formatSlack}, "", false},
		{"a URL without TLS", webhookKeys{urlFile: file("url2", "http://h.example/hunter2", 0o600)}, "http:// lets everybody", false},
		{"two lines for a URL", webhookKeys{urlFile: file("url3", url+"\n"+url, 0o600)}, "one line is wanted", false},
		{"a token with a space", webhookKeys{url: url, bearer: file("token", "hunter2 hunter2", 0o600)}, "one line is wanted", false},
		{"a user and a password with a space", webhookKeys{url: url, basic: file("basic", "user:pass word\r\n", 0o600)}, "", false},
		{"a password alone", webhookKeys{url: url, basic: file("basic2", "hunter2", 0o600)}, "write USER:PASSWORD", false},
		{"a template", webhookKeys{url: url, format: formatTemplate, template: file("t", "{{ json .Text }}", 0o644)}, "", false},
		{"a template that forgets json", webhookKeys{url: url, format: formatTemplate, template: file("t2", `"{{ .Text }}"`, 0o644)}, "makes no JSON", false},
		{"no certificates to trust", webhookKeys{url: url, tls: tlsFiles{ca: file("ca", "hello", 0o644)}}, "has no certificate in PEM", false},
		{"no certificate", webhookKeys{url: url, tls: tlsFiles{cert: file("cert", "hello", 0o644), key: file("key", keyPEM, 0o600)}}, "failed to find any PEM data", false},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			if tt.unix && runtime.GOOS == "windows" {
				t.Skip("Windows has no such modes: TestExpose holds its lists")
			}
			sender, err := tt.k.open()
			wantError(t, err, tt.want)
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("it quotes the secret: %v", err)
			}
			if (sender == nil) != (err != nil) {
				t.Errorf("%v with the error %v", sender, err)
			}
		})
	}
	sender, err := webhookKeys{url: "http://127.0.0.1:9093", format: formatAlertmanager}.open()
	if _, ok := sender.(*alert.Alertmanager); !ok || err != nil {
		t.Errorf("for Alertmanager there is %T, %v", sender, err)
	}
}

func TestExpose(t *testing.T) {
	const self, users = "S-1-5-21-1-2-3-1000", "S-1-5-32-545"
	tests := []struct {
		reason string
		list   []grant
		want   string
	}{
		{"one's own and the system's", []grant{{self, rightGenericAll}, {"S-1-5-18", rightRead}, {"S-1-5-32-544", rightGenericGet}}, ""},
		{"every user's", []grant{{"S-1-5-18", rightRead}, {users, 0x1200a9}}, "can be read by " + users},
		{"by a right that stands for others", []grant{{"S-1-1-0", rightGenericGet}}, "can be read by S-1-1-0"},
		{"what others may do beside reading", []grant{{users, 0x80 | 0x20000}}, ""},
	}
	for _, tt := range tests {
		err := grants{owner: self, list: tt.list}.expose("p", self)
		if u := (untrusted{}); err != nil && (!errors.As(err, &u) || u.mend == "") {
			t.Errorf("%s: %v tells no way to mend it", tt.reason, err)
		}
		wantError(t, err, tt.want)
	}
}

func TestEventLogOutput(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("this system has an Event Log: agent/alert has the test")
	}
	s, err := parseConfig([]byte("outputs:\n  - type: eventlog\n"), "c.yaml")
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, checkOutputs(s), "output eventlog: event log: only Windows has one")
}

// TestShippedOutputs holds that what the shipped file shows of outputs is taken when
// it is no comment any more.
func TestShippedOutputs(t *testing.T) {
	_, block, found := strings.Cut(string(configs.Config()), "\n# outputs:\n")
	block, _, _ = strings.Cut(block, "\n\n")
	text := "outputs:\n" + strings.ReplaceAll("\n"+block, "\n# ", "\n")
	want := 5
	if runtime.GOOS != "linux" { // journald is a part of Linux alone, and refused elsewhere
		text, want = strings.Replace(text, "  - type: journald\n", "", 1), want-1
	}
	s, err := parseConfig([]byte(text), "portaudit.yaml")
	if !found || err != nil || s.outputs == nil || len(s.outputs.outputs) < want {
		t.Errorf("%v of\n%s", err, text)
	}
}
