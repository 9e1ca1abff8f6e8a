package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// proofOf makes the proof of a record of a small log, in memory.
func proofOf(t testing.TB, signer note.Signer, size, record uint64) Proof {
	t.Helper()
	head := firstHead()
	var all [][]byte
	for range size {
		var buf bytes.Buffer
		e := Event{Version: Version, Seq: head.Seq + 1, Event: ListenerOpened, Host: "web1", Prev: head.Hash}
		if _, err := encode(&buf, e); err != nil {
			t.Fatal(err)
		}
		line := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
		all, head = append(all, line), head.follow(line)
	}
	c, err := newCollector(tree{}, size, record)
	if err != nil {
		t.Fatal(err)
	}
	var tr tree
	for _, line := range all {
		sum := sha256.Sum256(line)
		tr.grow(tlog.RecordHash(sum[:]), c.see)
	}
	path, err := tlog.ProveRecord(int64(size), int64(record)-1, c)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signTree(tr, signer)
	if err != nil {
		t.Fatal(err)
	}
	return Proof{Seq: record, Line: all[record-1], Path: path, Checkpoint: signed}
}

func TestProof(t *testing.T) {
	signer, keys := newKey(t, "web1")
	for size := uint64(1); size <= 9; size++ {
		for record := uint64(1); record <= size; record++ {
			p := proofOf(t, signer, size, record)
			back, err := ParseProof(p.Format())
			if err != nil || back.Seq != p.Seq || !bytes.Equal(back.Line, p.Line) || !bytes.Equal(back.Checkpoint, p.Checkpoint) {
				t.Fatalf("record %d of %d, read back: %+v, %v", record, size, back, err)
			}
			e, c, err := back.Verify(keys)
			if err != nil || e.Seq != record || c.Size != size {
				t.Fatalf("record %d of %d: %+v, %+v, %v", record, size, e, c, err)
			}
		}
	}
}

func TestProofRefuses(t *testing.T) {
	signer, keys := newKey(t, "web1")
	foreign, _ := newKey(t, "web1")
	good := proofOf(t, signer, 6, 3)
	line := string(good.Line)
	change := func(f func(p *Proof)) []byte {
		p := good
		p.Path = append([]tlog.Hash(nil), good.Path...)
		f(&p)
		return p.Format()
	}
	text := string(good.Format())
	for _, test := range []struct {
		why   string
		proof []byte
		want  string
	}{
		{"another record", change(func(p *Proof) { p.Line = []byte(strings.Replace(line, "web1", "web2", 1)) }), "does not hold this as record 3"},
		{"another number", change(func(p *Proof) { p.Seq = 4 }), "does not hold this as record 4"},
		{"a number behind the end", change(func(p *Proof) { p.Seq = 7 }), "does not hold this as record 7"},
		{"another hash", change(func(p *Proof) { p.Path[1][0]++ }), "does not hold"},
		{"a hash too few", change(func(p *Proof) { p.Path = p.Path[1:] }), "does not hold"},
		{"a hash too many", change(func(p *Proof) { p.Path = append(p.Path, tlog.Hash{}) }), "does not hold"},
		{"by another key", proofOf(t, foreign, 6, 3).Format(), "none of the keys"},
		{"no checkpoint", change(func(p *Proof) { p.Checkpoint = nil }), "no signed note"},
		{"no proof", []byte(line), "first line"},
		{"empty", nil, "first line"},
		{"cut off", []byte(text[:strings.Index(text, "\n\n")]), "only a part"},
		{"no record in it", []byte(strings.Replace(text, "\nextra ", "\nother ", 1)), "line 2"},
		{"a number in another form", []byte(strings.Replace(text, "index 2", "index 02", 1)), "line 3"},
		{"a number beyond any log", []byte(strings.Replace(text, "index 2", "index 18446744073709551615", 1)), "line 3"},
		{"a hash that is none", []byte(strings.Replace(text, good.Path[0].String(), "AAAA", 1)), "line 4"},
		{"too many hashes for any log", change(func(p *Proof) { p.Path = make([]tlog.Hash, maxPeaks+1) }), "more than 40 hashes"},
	} {
		p, err := ParseProof(test.proof)
		if err == nil {
			_, _, err = p.Verify(keys)
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.why, err, test.want)
		}
	}
}

// TestProofFlips holds that no bit of a proof can be changed, but for those of
// base64 that stand for nothing.
func TestProofFlips(t *testing.T) {
	signer, keys := newKey(t, "web1")
	good := proofOf(t, signer, 6, 3)
	text := good.Format()
	for i := range text {
		for bit := range 8 {
			text[i] ^= 1 << bit
			if p, err := ParseProof(text); err == nil {
				if e, c, err := p.Verify(keys); err == nil && (!bytes.Equal(p.Line, good.Line) || e.Seq != 3 || c.Size != 6 || !reflect.DeepEqual(p.Path, good.Path)) {
					t.Fatalf("bit %d of byte %d was changed, and the proof holds:\n%s", bit, i, text)
				}
			}
			text[i] ^= 1 << bit
		}
	}
}

// FuzzParseProof holds that a proof that is taken is read as it is written, and
// that errors show nothing raw.
func FuzzParseProof(f *testing.F) {
	signer, keys := newKey(f, "web1")
	f.Add(proofOf(f, signer, 6, 3).Format())
	f.Add(proofOf(f, signer, 1, 1).Format())
	f.Add([]byte(proofHeader + "\nextra \nindex 0\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseProof(data)
		if err == nil {
			again, err := ParseProof(p.Format())
			if err != nil || !reflect.DeepEqual(again, p) {
				t.Fatalf("%q is read as %+v, and that as %+v, %v", data, p, again, err)
			}
			_, _, err = p.Verify(keys)
			if err == nil && !bytes.Contains(data, []byte("extra "+base64.StdEncoding.EncodeToString(p.Line))) {
				t.Fatalf("%q proves a record that is not in it", data)
			}
		}
		if err != nil && err.Error() != Visible(err.Error()) {
			t.Fatalf("the error is not harmless: %q", err)
		}
	})
}
