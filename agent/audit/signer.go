package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Files of the keys and of what they sign.
const (
	KeyName        = "audit.key"        // public, beside the log; a line for each key that it had, the last is today's
	CheckpointName = "audit.checkpoint" // the last signed checkpoint, beside the log
	SigningKeyName = "checkpoint.key"   // private, in the state directory
)

// maxKeyFile bounds a file of keys that is read.
const maxKeyFile = 64 << 10

// OpenSigner returns what signs the checkpoints of the log in logDir: by the key in
// stateDir, which is made where there is none. It sees to it that the public key is
// beside the log. Both directories must exist. A private key is never replaced; one
// that cannot be read is an error.
func OpenSigner(stateDir, logDir, host string) (note.Signer, error) {
	path := filepath.Join(stateDir, SigningKeyName)
	private, err := readBounded(path, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		private, err = makeKey(path, host)
	}
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	text := strings.TrimSpace(string(private))
	signer, err := note.NewSigner(text)
	if err != nil {
		// What the file holds is a secret, so it is not shown.
		return nil, fmt.Errorf("signing key %s: it is none: move it away, and a new one is made; "+
			"what was signed stays verifiable by the public keys in %s", path, KeyName)
	}
	public, err := publicKey(text)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", path, err)
	}
	if err := publish(filepath.Join(logDir, KeyName), public); err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return signer, nil
}

// makeKey makes a private key at path, where there must be none.
func makeKey(path, host string) ([]byte, error) {
	private, _, err := note.GenerateKey(rand.Reader, keyName(host))
	if err != nil {
		return nil, err
	}
	text := []byte(private + "\n")
	return text, createFile(path, text)
}

// publish adds a public key to the file at path, unless it is in it already. Keys
// from before stay: what they signed is in the log.
func publish(path, public string) error {
	text, err := readBounded(path, maxKeyFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	lines := strings.Fields(string(text)) // a key has no space in it
	if len(lines) > 0 && lines[len(lines)-1] == public {
		return nil
	}
	lines = append(lines, public)
	return WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// createFile is WriteFile for a secret that must not be there: if it is, it fails
// with fs.ErrExist and leaves it as it is. On Windows the file is for this program
// and administrators, whatever the directory says.
func createFile(path string, data []byte) error {
	dir, base := filepath.Split(path)
	dir = filepath.Clean(dir)
	temporary := filepath.Join(dir, "."+base+".tmp")
	// One that a crash has left was never used.
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := realDisk().fill(temporary, data)
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	err = f.Close()
	if err == nil {
		err = os.Link(temporary, path) // unlike a rename it replaces nothing
	}
	if err := errors.Join(err, os.Remove(temporary)); err != nil {
		return err
	}
	return syncDir(dir)
}

// readBounded reads a file of at most so many bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: it has more than %d bytes", path, most)
	}
	return b, err
}

// keyName makes a name for the key of a host's log: that of the host, as far as
// note allows its characters, and what the log is of.
func keyName(host string) string {
	safe := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '-'
	}, host)
	if safe = strings.Trim(safe[:min(len(safe), 253)], "."); safe == "" { // 253: the longest name of DNS
		safe = "host"
	}
	return safe + "/portaudit"
}

// publicKey returns the public key of a private one in note's form, which is
// PRIVATE+KEY+<name>+<hash>+<base64 of the algorithm and the seed>: note itself
// makes a public key only together with a private one.
func publicKey(private string) (string, error) {
	parts := strings.SplitN(private, "+", 5) // there may be a + in the base64
	seed, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if len(parts) != 5 || err != nil || len(seed) != 1+ed25519.SeedSize {
		return "", errors.New("it is no private key of a log")
	}
	key, ok := ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("it has no public key")
	}
	return note.NewEd25519VerifierKey(parts[2], key)
}
