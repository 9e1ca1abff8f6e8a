package audit

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// newKey returns a signer and its public key.
func newKey(t testing.TB, host string) (note.Signer, Keys) {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, keyName(host))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParseKeys([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	return signer, keys
}

// signText signs any text.
func signText(t testing.TB, text string, signers ...note.Signer) []byte {
	t.Helper()
	b, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCheckpointIsReadBack(t *testing.T) {
	signer, keys := newKey(t, "web1")
	trees, _ := forest(t, 9)
	for size, tr := range trees {
		signed, err := signTree(tr, signer)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseCheckpoint(signed, keys)
		if want := (Checkpoint{"web1/portaudit", uint64(size), tr.root()}); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v of\n%s", got, err, want, signed)
		}
	}
}

func TestParseCheckpointRefuses(t *testing.T) {
	signer, keys := newKey(t, "web1")
	other, otherKeys := newKey(t, "web1") // of the same name
	foreign, foreignKeys := newKey(t, "web2")
	trees, _ := forest(t, 7)
	root := trees[7].root().String()
	good := string(signText(t, "web1/portaudit\n7\n"+root+"\n", signer))
	both := Keys{append(keys.list, foreignKeys.list...)}
	for _, test := range []struct {
		why, signed string
		keys        Keys
		want        string
	}{
		{"by another key of the same name", string(signText(t, "web1/portaudit\n7\n"+root+"\n", other)), keys, "none of the keys"},
		{"by another host's key", string(signText(t, "web2/portaudit\n7\n"+root+"\n", foreign)), keys, "signed by web2/portaudit+"},
		{"no key to verify by", good, Keys{}, "none of the keys"},
		{"the number was changed", strings.Replace(good, "\n7\n", "\n8\n", 1), keys, "changed or forged"},
		{"a host's key signs for another's log", string(signText(t, "web1/portaudit\n7\n"+root+"\n", foreign)), both, "signed by the key of another"},
		{"a signature written in another way", otherSignature(good), keys, "form in which it was written"},
		{"not a note", "web1/portaudit\n7\n" + root + "\n", keys, "no signed note"},
		{"empty", "", keys, "no signed note"},
		{"too long", good + strings.Repeat("x", maxNote), keys, "more than 65536 bytes"},
		{"two lines", string(signText(t, "web1/portaudit\n7\n", signer)), keys, "three lines"},
		{"an empty line", string(signText(t, "web1/portaudit\n7\n"+root+"\n\nmore\n", signer)), keys, "none is empty"},
		{"a zero in front", string(signText(t, "web1/portaudit\n07\n"+root+"\n", signer)), keys, `"07" is none`},
		{"a sign", string(signText(t, "web1/portaudit\n+7\n"+root+"\n", signer)), keys, `"+7" is none`},
		{"more records than there can be", string(signText(t, "web1/portaudit\n9223372036854775808\n"+root+"\n", signer)), keys, "is none"},
		{"a short root", string(signText(t, "web1/portaudit\n7\n"+root[:40]+"\n", signer)), keys, "no SHA-256 in base64"},
		{"a root written in another way", string(signText(t, "web1/portaudit\n7\n"+root[:42]+otherEnd(root)+"=\n", signer)), keys, "no SHA-256 in base64"},
	} {
		c, err := ParseCheckpoint([]byte(test.signed), test.keys)
		if err == nil || !strings.Contains(err.Error(), test.want) || c != (Checkpoint{}) {
			t.Errorf("%s: %+v, %v, want %q", test.why, c, err, test.want)
		}
	}
	if _, err := ParseCheckpoint([]byte(good), otherKeys); !errors.As(err, new(*UnknownKeyError)) {
		t.Errorf("another key: %v, want an UnknownKeyError", err)
	}
	more := string(signText(t, "web1/portaudit\n7\n"+root+"\nan extension\n", signer, foreign))
	if c, err := ParseCheckpoint([]byte(more), keys); err != nil || c.Size != 7 {
		t.Errorf("a witness has signed too, and there is an extension: %v", err)
	}
}

// otherEnd returns a last letter of base64 that stands for the same bits as that
// of root and more: the last of 43 has two bits too many.
func otherEnd(root string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return string(alphabet[strings.IndexByte(alphabet, root[42])^1])
}

// otherSignature writes the signature of a note in another way: 68 bytes leave two
// bits of the last letter of base64 without a meaning.
func otherSignature(signed string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	i := strings.LastIndexByte(signed, '=') - 1
	return signed[:i] + string(alphabet[strings.IndexByte(alphabet, signed[i])^1]) + signed[i+1:]
}

func TestParseKeysRefuses(t *testing.T) {
	private, public, err := note.GenerateKey(rand.Reader, "a/portaudit")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ why, text, want string }{
		{"empty", "\n \n", "no public key in it"},
		{"the private one", public + "\n" + private, "line 2: it is a private key"},
		{"not a key", public + "\n\x1b[31m", `line 2: "\x1b[31m" is no public key`},
		{"a hash that is not its own", strings.Replace(public, "+", "+0", 1), "line 1"},
		{"too many", strings.Repeat(public+"\n", maxKeys+1), "line 65: there are more than 64 keys"},
	} {
		_, err := ParseKeys([]byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.why, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), private) {
			t.Errorf("%s: the private key is told: %v", test.why, err)
		}
	}
}

// TestOpenSigner holds that keys are made once, stay, and that what was signed by
// one that was lost can still be verified.
func TestOpenSigner(t *testing.T) {
	state, log := t.TempDir(), t.TempDir()
	open := func() note.Signer {
		t.Helper()
		s, err := OpenSigner(state, log, "web 1+ü.example.")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	trees, _ := forest(t, 3)
	first, err := signTree(trees[3], open())
	if err != nil {
		t.Fatal(err)
	}
	again, err := signTree(trees[3], open())
	if err != nil || !bytes.Equal(first, again) { // Ed25519 has one signature of a text
		t.Fatalf("signed again: %v\n%s", err, again)
	}
	if runtime.GOOS != "windows" {
		if fi, err := os.Stat(filepath.Join(state, SigningKeyName)); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("the private key: %v, %v", fi.Mode(), err)
		}
	}
	if err := os.Remove(filepath.Join(state, SigningKeyName)); err != nil {
		t.Fatal(err)
	}
	second, err := signTree(trees[3], open())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(log, KeyName))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParseKeys(text)
	if err != nil || len(keys.list) != 2 {
		t.Fatalf("two keys were made: %v, %v", keys, err)
	}
	for _, signed := range [][]byte{first, second} {
		if c, err := ParseCheckpoint(signed, keys); err != nil || c.Origin != "web-1--.example/portaudit" {
			t.Errorf("%+v, %v", c, err)
		}
	}
	entries, err := os.ReadDir(state)
	if err != nil || len(entries) != 1 {
		t.Errorf("something is left beside the key: %v, %v", entries, err)
	}
}

func TestOpenSignerRefuses(t *testing.T) {
	private, _, err := note.GenerateKey(rand.Reader, "a/portaudit")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ why, text string }{
		{"a file without anything in it", ""},
		{"torn", private[:len(private)-3]},
		{"with more behind it", private + "\n" + private},
		{"longer than any key", strings.Repeat("A", maxKeyFile+1)},
	} {
		state := t.TempDir()
		path := filepath.Join(state, SigningKeyName)
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenSigner(state, state, "a")
		if err == nil || !strings.Contains(err.Error(), path) || test.text != "" && strings.Contains(err.Error(), private[40:60]) {
			t.Errorf("%s: %v, want an error that names the file and not what it holds", test.why, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != test.text {
			t.Errorf("%s: the key was replaced (%v)", test.why, err)
		}
	}
}

func TestCreateFileReplacesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := createFile(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := createFile(path, []byte("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v, want fs.ErrExist", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "one" {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzParseCheckpoint holds that no checkpoint is taken but in the one form in
// which it was signed, that errors show nothing raw, and that no other is found in
// what comes back from elsewhere than one that was there.
func FuzzParseCheckpoint(f *testing.F) {
	signer, keys := newKey(f, "web1")
	trees, _ := forest(f, 7)
	signed, err := signTree(trees[7], signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add(signed[:len(signed)/2])
	f.Add([]byte("\n\n— a b\n"))
	for _, wrap := range wrappings(f) {
		f.Add([]byte(wrap(string(signed))))
	}
	f.Add(signText(f, "web1/portaudit\n0\n\n", signer))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := parseTreeHead(string(data)); err == nil && !strings.HasPrefix(string(data), c.text()) {
			t.Fatalf("%q was read as %+v", data, c)
		}
		found, err := FindCheckpoint(data)
		switch {
		case err != nil && (err.Error() != Visible(err.Error()) || len(err.Error()) > 1000):
			t.Fatalf("the error is not harmless: %q", err)
		case err == nil:
			if again, err := FindCheckpoint(found); err != nil || !bytes.Equal(again, found) {
				t.Fatalf("what was found is %q, and in that %q is found: %v", found, again, err)
			}
			if c, err := ParseCheckpoint(found, keys); err == nil && c.Size == 7 && c.Root != trees[7].root() {
				t.Fatalf("a root that was never signed: %x", c.Root)
			}
		}
		c, err := ParseCheckpoint(data, keys)
		switch {
		case err != nil && (err.Error() != Visible(err.Error()) || len(err.Error()) > maxNote):
			t.Fatalf("the error is not harmless: %q", err)
		case err == nil && !bytes.HasPrefix(data, []byte(c.text())):
			t.Fatalf("%q was read as %+v", data, c)
		case err == nil && c.Size == 7 && c.Root != trees[7].root():
			t.Fatal(fmt.Errorf("a root that was never signed: %x", c.Root))
		}
	})
}
