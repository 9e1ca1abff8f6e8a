package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portaudit/portaudit/agent/audit"
)

// signedLog makes a log of five records with a checkpoint, and returns its directory
// and its keys.
func signedLog(t *testing.T) (string, audit.Keys) {
	t.Helper()
	dir := t.TempDir()
	signer, err := audit.OpenSigner(t.TempDir(), dir, "web1")
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(dir, audit.Options{Host: "web1"})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := log.Append(audit.Event{Event: audit.ChangesLost, Message: "m"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := log.Checkpoint(signer); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	keys, err := readKeys(filepath.Join(dir, audit.KeyName))
	if err != nil {
		t.Fatal(err)
	}
	return dir, keys
}

func marshalled(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestJSONOfLogVerify(t *testing.T) {
	dir, _ := signedLog(t)
	c := contractOf(t, "verify")
	c.holds(t, printed(t, "log", "verify", "--json", "--log-dir", dir, "--config", file(t, "none.yaml", "")))
	path := filepath.Join(dir, "audit.jsonl")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ why, log string }{
		{"a record is changed", strings.Replace(string(good), `"m"`, `"x"`, 1)},
		{"the end is cut off", string(good[:len(good)/2])},
		{"nothing is left", ""},
	} {
		if err := os.WriteFile(path, []byte(test.log), 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := audit.VerifyLog(dir, audit.VerifyOptions{})
		if !errors.As(err, new(*audit.DamageError)) {
			t.Fatalf("%s: %v", test.why, err)
		}
		r := checkedLog(dir, found, err)
		if r.Good || r.Damage == nil || r.Damage.First == nil {
			t.Errorf("%s: %+v", test.why, r)
		}
		c.holds(t, marshalled(t, r))
	}
	if err := os.WriteFile(filepath.Join(dir, audit.CheckpointName), []byte("forged"), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := audit.VerifyLog(dir, audit.VerifyOptions{})
	r := checkedLog(dir, found, err)
	if r.Damage == nil || r.Damage.First != nil || r.Damage.Offset != nil {
		t.Errorf("a forged checkpoint: %+v", r.Damage)
	}
	c.holds(t, marshalled(t, r))
}

func TestJSONOfProof(t *testing.T) {
	dir, keys := signedLog(t)
	proof, err := audit.Prove(dir, 3, keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := contractOf(t, "proven")
	r, seq := provenBy(proof.Format(), keys)
	if !r.Good || seq != 3 || r.Line != string(proof.Line) {
		t.Errorf("%+v, record %d", r, seq)
	}
	c.holds(t, marshalled(t, r))
	proof.Seq++
	r, _ = provenBy(proof.Format(), keys)
	if r.Good || r.Reason == "" || r.Line != "" {
		t.Errorf("a proof that does not hold: %+v", r)
	}
	c.holds(t, marshalled(t, r))
}
