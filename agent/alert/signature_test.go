package alert

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	oldSecret = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
)

// TestSignature holds the headers against the specification, by code of its own.
func TestSignature(t *testing.T) {
	url, next := catcher(t)
	signer, err := ParseSecret([]byte(secret + "\n" + oldSecret + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	w := openWebhook(t, WebhookOptions{URL: url, Signer: signer})
	w.now = func() time.Time { return time.Unix(1674087231, 0) }
	if err := w.Send(t.Context(), aFinding()); err != nil {
		t.Fatal(err)
	}
	g := next()
	if g.header.Get("webhook-timestamp") != "1674087231" {
		t.Errorf("signed at %s", g.header.Get("webhook-timestamp"))
	}
	signatures := strings.Fields(g.header.Get("webhook-signature"))
	if len(signatures) != 2 {
		t.Fatalf("signatures %q", signatures)
	}
	for i, s := range []string{secret, oldSecret} {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
		if err != nil {
			t.Fatal(err)
		}
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.1674087231.%s", g.header.Get("webhook-id"), g.body)
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); signatures[i] != want {
			t.Errorf("signature %d is %s, want %s", i, signatures[i], want)
		}
	}
}

// TestSignatureExample is the example of the specification's own libraries
// (standard-webhooks, libraries/javascript/src/webhook.test.ts).
func TestSignatureExample(t *testing.T) {
	signer, err := ParseSecret([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	signer.sign(h, delivery{id: "msg_p5jXN8AQM9LWM0D4loKWxJek", body: []byte(`{"test": 2432232314}`)}, time.Unix(1614265330, 0))
	if got := h.Get("webhook-signature"); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signature %s", got)
	}
}

// TestVerifierOfTheDocs gives a delivery to the program that docs/outputs.md shows.
func TestVerifierOfTheDocs(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skipf("needs python3: %v", err)
	}
	url, next := catcher(t)
	signer, err := ParseSecret([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	if err := openWebhook(t, WebhookOptions{URL: url, Signer: signer}).Send(t.Context(), aFinding()); err != nil {
		t.Fatal(err)
	}
	g := next()
	tests := []struct {
		reason string
		change func(h http.Header, body []byte) []byte
		good   bool
	}{
		{"as it was sent", func(_ http.Header, b []byte) []byte { return b }, true},
		{"another body", func(_ http.Header, b []byte) []byte { return append(b, ' ') }, false},
		{"another id", func(h http.Header, b []byte) []byte { h.Set("webhook-id", "record_0"); return b }, false},
		{"an old one", func(h http.Header, b []byte) []byte { h.Set("webhook-timestamp", "1674087231"); return b }, false},
		{"no signature", func(h http.Header, b []byte) []byte { h.Del("webhook-signature"); return b }, false},
	}
	program := docBlock(t, "python") + `
import json, sys
sys.exit(0 if verify(sys.argv[2], json.loads(sys.argv[1]), sys.stdin.buffer.read()) else 1)
`
	for _, tt := range tests {
		h := g.header.Clone()
		body := tt.change(h, bytes.Clone(g.body))
		headers := fmt.Sprintf(`{"webhook-id": %q, "webhook-timestamp": %q, "webhook-signature": %q}`,
			h.Get("webhook-id"), h.Get("webhook-timestamp"), h.Get("webhook-signature"))
		cmd := exec.Command(python, "-c", program, headers, secret)
		cmd.Stdin = bytes.NewReader(body)
		out, err := cmd.CombinedOutput()
		if (err == nil) != tt.good || len(out) > 0 {
			t.Errorf("%s: %v %s", tt.reason, err, out)
		}
	}
}

// docBlock returns the first block of code in a language of docs/outputs.md.
func docBlock(t *testing.T, language string) string {
	t.Helper()
	_, rest, found := strings.Cut(read(t, filepath.Join("..", "..", "docs", "outputs.md")), "```"+language+"\n")
	block, _, _ := strings.Cut(rest, "```")
	if !found {
		t.Fatalf("docs/outputs.md has no block of %s", language)
	}
	return block
}

func TestParseSecret(t *testing.T) {
	tests := []struct{ reason, text, want string }{
		{"one", secret, ""},
		{"two", secret + "\r\n\n" + oldSecret + "\n", ""},
		{"three", secret + "\n" + oldSecret + "\n" + secret, "3 secrets"},
		{"none", "\n", "empty"},
		{"a password", "hunter2", "no secret of a webhook"},
		{"too short", "whsec_aHVudGVyMg==", "no secret of a webhook"},
		{"no base64", "whsec_hunter2hunter2hunter2hunter2!", "no secret of a webhook"},
	}
	for _, tt := range tests {
		_, err := ParseSecret([]byte(tt.text))
		checkError(t, tt.reason, err, tt.want)
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: it quotes the secret: %v", tt.reason, err)
		}
	}
}
