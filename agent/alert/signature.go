package alert

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Signer signs webhooks as version 1.0.0 of the Standard Webhooks specification
// says (github.com/standard-webhooks/standard-webhooks): HMAC-SHA256 over id, time
// and body. The zero Signer signs nothing.
type Signer struct{ keys [][]byte }

// secretPrefix tells what a secret is for.
const secretPrefix = "whsec_"

// maxSecrets is one that is in use, and the one before.
const maxSecrets = 2

// ParseSecret reads the secret of a webhook, as a file holds it: one line,
// whsec_ and 24 to 64 bytes in base64. While receivers go over from one secret to
// another, a second line may hold the old one: both sign. Its errors quote nothing.
func ParseSecret(b []byte) (Signer, error) {
	var s Signer
	for line := range bytes.Lines(b) {
		text := strings.TrimSpace(string(line))
		if text == "" {
			continue
		}
		text, ok := strings.CutPrefix(text, secretPrefix)
		key, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil || len(key) < 24 || len(key) > 64 {
			return Signer{}, fmt.Errorf("it is no secret of a webhook: make one with: echo %s$(openssl rand -base64 32)", secretPrefix)
		}
		s.keys = append(s.keys, key)
	}
	switch n := len(s.keys); {
	case n == 0:
		return Signer{}, errors.New("it is empty")
	case n > maxSecrets:
		return Signer{}, fmt.Errorf("it has %d secrets: keep the one in use and the one before", n)
	}
	return s, nil
}

// sign sets the headers of the specification but the id. The time is that of this
// try: receivers refuse what is old, so that nobody can send it once more.
func (s Signer) sign(h http.Header, d delivery, now time.Time) {
	if len(s.keys) == 0 {
		return
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	var all []string
	for _, key := range s.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(d.id + "." + stamp + ".")) // of hash.Hash, which never fails
		mac.Write(d.body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	h.Set("Webhook-Timestamp", stamp)
	h.Set("Webhook-Signature", strings.Join(all, " "))
}
