package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// maxNote bounds a signed checkpoint that is read. One of ours has 200 bytes;
// witnesses may have added their signatures.
const maxNote = 64 << 10

// Checkpoint says what a log held at a moment: so many records, of which the
// Merkle tree (RFC 6962) has this root. Signed, it is the note that
// https://c2sp.org/tlog-checkpoint describes.
type Checkpoint struct {
	Origin string // names the log: the name of its key
	Size   uint64 // records
	Root   [32]byte
}

// text is what is signed.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, tlog.Hash(c.Root))
}

// signTree returns the signed note of the tree t.
func signTree(t tree, signer note.Signer) ([]byte, error) {
	c := Checkpoint{Origin: signer.Name(), Size: t.size, Root: t.root()}
	signed, err := note.Sign(&note.Note{Text: c.text()}, signer)
	if err != nil {
		return nil, fmt.Errorf("sign a checkpoint: %w", err)
	}
	return signed, nil
}

// UnknownKeyError says that a checkpoint bears no signature by a key that is known.
type UnknownKeyError struct {
	Keys []string // that signed it, by what it says itself, as name+hash
}

func (e *UnknownKeyError) Error() string {
	return "it is signed by " + strings.Join(e.Keys, ", ") + ", which is none of the keys that it is verified by"
}

// ParseCheckpoint reads a signed checkpoint and verifies it: one of the keys has
// signed it, and none of them is said to have and has not. It fails with an
// *UnknownKeyError if it is one by other keys.
func ParseCheckpoint(signed []byte, keys Keys) (Checkpoint, error) {
	if len(signed) > maxNote {
		return Checkpoint{}, fmt.Errorf("it is no checkpoint: more than %d bytes", maxNote)
	}
	n, err := note.Open(signed, note.VerifierList(keys.list...))
	var unverified *note.UnverifiedNoteError
	var forged *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified):
		var by []string
		for _, s := range unverified.Note.UnverifiedSigs {
			by = append(by, Visible(Clip(fmt.Sprintf("%s+%08x", s.Name, s.Hash), 256)))
		}
		return Checkpoint{}, &UnknownKeyError{Keys: slices.Compact(by)}
	case errors.As(err, &forged):
		return Checkpoint{}, fmt.Errorf("its signature is not by %s+%08x, as it says: it was changed or forged", Visible(forged.Name), forged.Hash)
	case err != nil:
		return Checkpoint{}, errors.New("it is no signed note (c2sp.org/signed-note)")
	}
	for _, s := range n.Sigs {
		// note takes a signature in several forms: the last letter of its base64 has
		// bits that stand for nothing.
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return Checkpoint{}, errors.New("its signature is not in the form in which it was written: it was changed")
		}
	}
	c, err := parseTreeHead(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	// A key may have signed other notes, for other purposes.
	if !slices.ContainsFunc(n.Sigs, func(s note.Signature) bool { return s.Name == c.Origin }) {
		return Checkpoint{}, fmt.Errorf("it is of the log %q, and signed by the key of another", Clip(c.Origin, 256))
	}
	return c, nil
}

// parseTreeHead reads the text of a checkpoint, in the one form that it has.
func parseTreeHead(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n") // the last ends in a newline, so what follows is empty
	if len(lines) < 4 || lines[0] == "" || slices.Contains(lines[:len(lines)-1], "") {
		return Checkpoint{}, errors.New("it is a signed note, but no checkpoint: these have three lines or more, and none is empty")
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] || size >= 1<<maxPeaks {
		return Checkpoint{}, fmt.Errorf("the number of records %q is none", Clip(lines[1], 80))
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return Checkpoint{}, fmt.Errorf("the root %q is no SHA-256 in base64", Clip(lines[2], 80))
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: root}, nil
}

// Keys are the public keys that checkpoints are verified by. The zero value has
// none, and verifies nothing.
type Keys struct{ list []note.Verifier }

// maxKeys bounds the keys of one log: it gets a new one only where the old one was
// lost or stolen.
const maxKeys = 64

// ParseKeys reads public keys as "portaudit log key" prints them: one on a line, in
// the form of golang.org/x/mod/sumdb/note. Empty lines are passed over.
func ParseKeys(text []byte) (Keys, error) {
	var k Keys
	n := 0
	for line := range bytes.Lines(text) {
		n++
		one := string(bytes.TrimSpace(line))
		switch {
		case one == "":
			continue
		case len(k.list) == maxKeys:
			return Keys{}, fmt.Errorf("line %d: there are more than %d keys", n, maxKeys)
		case strings.HasPrefix(one, "PRIVATE+KEY+"):
			// It must not be told again, in an error least of all.
			return Keys{}, fmt.Errorf("line %d: it is a private key: verify by the public one, in %s", n, KeyName)
		}
		v, err := note.NewVerifier(one)
		if err != nil {
			return Keys{}, fmt.Errorf("line %d: %q is no public key of a log: %w", n, Clip(one, 256), err)
		}
		k.list = append(k.list, v)
	}
	if len(k.list) == 0 {
		return Keys{}, errors.New("there is no public key in it")
	}
	return k, nil
}

// String names the keys as name+hash, with commas in between.
func (k Keys) String() string {
	var all []string
	for _, v := range k.list {
		all = append(all, Visible(fmt.Sprintf("%s+%08x", v.Name(), v.KeyHash())))
	}
	return strings.Join(all, ", ")
}
