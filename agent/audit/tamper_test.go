package audit

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// copyLog copies the files of a log to a new directory.
func copyLog(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// lineAt returns the number of the line, from 0, in which the byte i is.
func lineAt(data []byte, i int) int { return bytes.Count(data[:i], []byte("\n")) }

// TestTamperFlip changes every byte of every file of a small log in several ways.
// In a file that is not compressed the record is named exactly, but for the last two
// of all, behind which none tells which of them it is; in a compressed one the block
// of three records.
func TestTamperFlip(t *testing.T) {
	m := makeLog(t)
	dir := copyLog(t, m.dir)
	flips := []func(byte) byte{
		func(b byte) byte { return b ^ 0x01 },
		func(b byte) byte { return ^b },
		func(byte) byte { return '\n' },
	}
	step := thinly()
	if step > 1 {
		flips = flips[:1]
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(good); i += step {
			for how, flip := range flips {
				if how > 0 && strings.HasSuffix(entry.Name(), packedSuffix) {
					break // a checksum does not care which bit it was
				}
				b := flip(good[i])
				if b == good[i] || entry.Name() == KeyName && i == len(good)-1 { // white space behind the key is nothing
					continue
				}
				bad := bytes.Clone(good)
				bad[i] = b
				if err := os.WriteFile(path, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				tried++
				checkFlip(t, dir, entry.Name(), good, i, how)
				if t.Failed() {
					return
				}
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := VerifyLog(dir, VerifyOptions{}); err != nil || tried < 1000*len(flips)/step {
		t.Errorf("%d changes tried, and in the end: %v", tried, err)
	}
}

func checkFlip(t *testing.T, dir, name string, good []byte, i, how int) {
	t.Helper()
	d := damageOf(t, dir, VerifyOptions{})
	s, closed := parseSegment(name)
	fail := func(want string) {
		t.Errorf("%s, byte %d changed in way %d: %s is named, want %s: %v", name, i, how, d.span(), want, d)
	}
	switch {
	case name == KeyName:
		if _, err := VerifyLog(dir, VerifyOptions{}); err == nil {
			fail("an error")
		}
	case d == nil:
		fail("damage")
	case name == CheckpointName:
		if d.Seq != 0 {
			fail("no record")
		}
	case closed && s.packed:
		b := blockReader{r: bytes.NewReader(good), end: int64(len(good))}
		for {
			x, err := b.next()
			if err != nil {
				t.Fatal(err)
			}
			if b.offset > int64(i) {
				if d.Seq != x.first || d.Last > x.last || d.File != name {
					fail(fmt.Sprintf("records %d to %d", x.first, x.last))
				}
				return
			}
		}
	default:
		first := uint64(26)
		if closed {
			first = s.first
		}
		seq := first + uint64(lineAt(good, i))
		exact := d.Seq == seq && d.Last == 0 && d.File == name
		if !exact && (seq < 30 || d.Seq > seq || d.Last < seq) {
			fail(fmt.Sprint("record ", seq))
		}
	}
}

// TestTamperTruncate cuts every file of a small log off at every byte. The first
// record that is missing is named, in a compressed file the first of its block.
// thinly is the step at which places of a log are tried: each, but where that takes
// minutes, under the detector of races and on a slow file system (-short), every 29th.
func thinly() int {
	if testing.Short() || raced {
		return 29
	}
	return 1
}

func TestTamperTruncate(t *testing.T) {
	m := makeLog(t)
	for _, file := range []struct {
		name string
		seqs []uint64 // first records of its parts, lines or blocks
	}{
		{segment{first: 1, packed: true}.name(), []uint64{1, 4, 7}},
		{segment{first: 10}.name(), []uint64{10, 11, 12, 13, 14, 15, 16, 17, 18}},
		{segment{first: 19, packed: true}.name(), []uint64{19, 22, 25}},
		{logName, []uint64{26, 27, 28, 29, 30, 31}},
	} {
		t.Run(file.name, func(t *testing.T) {
			dir := copyLog(t, m.dir)
			path := filepath.Join(dir, file.name)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			part := func(i int) int { return lineAt(good, i) }
			if strings.HasSuffix(file.name, packedSuffix) {
				part = func(i int) int { return blocksBefore(t, good, i) }
			}
			for i := len(good) - 1; i >= 0; i -= thinly() {
				if err := os.Truncate(path, int64(i)); err != nil {
					t.Fatal(err)
				}
				d := damageOf(t, dir, VerifyOptions{})
				if want := file.seqs[part(i)]; d == nil || d.Seq != want {
					t.Fatalf("cut off at byte %d: %s is named, want %d: %v", i, d.span(), want, d)
				}
			}
		})
	}
}

// blocksBefore returns how many blocks of a compressed file end at or before byte i.
func blocksBefore(t *testing.T, file []byte, i int) int {
	t.Helper()
	b := blockReader{r: bytes.NewReader(file), end: int64(len(file))}
	for n := 0; ; n++ {
		if _, err := b.next(); err != nil {
			t.Fatal(err)
		}
		if b.offset > int64(i) {
			return n
		}
	}
}

// edit rewrites the lines of a raw file.
func edit(t testing.TB, dir, name string, f func(lines [][]byte) [][]byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := f(bytes.SplitAfter(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")))
	for i, line := range lines {
		lines[i] = append(bytes.TrimSuffix(bytes.Clone(line), []byte("\n")), '\n')
	}
	if err := os.WriteFile(path, bytes.Join(lines, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

// swap exchanges the names of two files.
func swap(t testing.TB, dir, a, b string) {
	t.Helper()
	a, b = filepath.Join(dir, a), filepath.Join(dir, b)
	for _, step := range [][2]string{{a, a + ".x"}, {b, a}, {a + ".x", b}} {
		if err := os.Rename(step[0], step[1]); err != nil {
			t.Fatal(err)
		}
	}
}

// remake makes the log of makeLog anew with a change to its records: all hashes, trees
// and indexes fit, as one makes it who knows how. What he cannot make are signatures:
// where signer is nil, the checkpoints are those that were signed.
func remake(t testing.TB, old *maker, signer note.Signer, change func(*Event)) {
	t.Helper()
	signed := map[uint64]string{} // by the record
	for e, err := range Records(old.dir, Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		signed[e.Seq] = e.Checkpoint
	}
	beside, err := os.ReadFile(filepath.Join(old.dir, CheckpointName))
	if err != nil {
		t.Fatal(err)
	}
	m := &maker{t: t, dir: old.dir, head: firstHead(), signer: signer}
	if signer == nil {
		m.signer = old.signer // what it signs is replaced
	}
	m.change = func(e *Event) {
		if e.Event == LogCheckpoint && signer == nil {
			e.Checkpoint = signed[e.Seq]
		}
		change(e)
	}
	m.make()
	if signer == nil {
		m.write(CheckpointName, beside)
	}
}

// changed changes the message of a record.
func changed(seq uint64) func(*Event) {
	return func(e *Event) {
		if e.Seq == seq {
			e.Message = "nothing happened"
		}
	}
}

// unlink removes a file of the log.
func (m *maker) unlink(name string) {
	m.t.Helper()
	if err := os.Remove(filepath.Join(m.dir, name)); err != nil {
		m.t.Fatal(err)
	}
}

// repack rewrites the lines of a compressed file, so that its index fits.
func (m *maker) repack(name string, f func(lines [][]byte) [][]byte) {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		m.t.Fatal(err)
	}
	var lines [][]byte
	for b := (blockReader{r: bytes.NewReader(data), end: int64(len(data))}); ; {
		x, err := b.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			m.t.Fatal(err)
		}
		unpacked, err := b.read(x)
		if err != nil {
			m.t.Fatal(err)
		}
		for line := range bytes.Lines(unpacked.lines) {
			lines = append(lines, bytes.Clone(line))
		}
	}
	m.write(name, packBlocks(m.t, bytes.Join(f(lines), nil), 3))
}

// reindex rewrites the index of the first block of a compressed file, so that its
// checksum fits.
func (m *maker) reindex(name string, f func(*blockIndex)) {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		m.t.Fatal(err)
	}
	x, err := parseIndex(data)
	if err != nil {
		m.t.Fatal(err)
	}
	f(&x)
	x.append(data[:0])
	m.write(name, data)
}

// TestTamper does to a log what one may do who can write to its directory. beside is
// what verify names by what lies in the directory: a record, records of which one or
// all are meant, or "undetected"; elsewhere is what it names by a checkpoint and the
// key that were kept on another host.
func TestTamper(t *testing.T) {
	packed1, raw10, packed19 := segment{first: 1, packed: true}.name(), segment{first: 10}.name(), segment{first: 19, packed: true}.name()
	const undetected = "nothing"
	for _, test := range []struct {
		why, beside, elsewhere string
		tamper                 func(t *testing.T, m *maker)
	}{
		{"nothing is done", undetected, undetected, func(*testing.T, *maker) {}},
		{"a record is deleted", "12", "12", func(t *testing.T, m *maker) {
			edit(t, m.dir, raw10, func(l [][]byte) [][]byte { return append(l[:2:2], l[3:]...) })
		}},
		{"a record is there twice", "13", "13", func(t *testing.T, m *maker) {
			edit(t, m.dir, raw10, func(l [][]byte) [][]byte { return append(append(l[:3:3], l[2]), l[3:]...) })
		}},
		{"two records have changed places", "12", "12", func(t *testing.T, m *maker) {
			edit(t, m.dir, raw10, func(l [][]byte) [][]byte { l[2], l[3] = l[3], l[2]; return l })
		}},
		{"a record of another place in that of one", "12-15", "12-15", func(t *testing.T, m *maker) {
			edit(t, m.dir, raw10, func(l [][]byte) [][]byte { l[2] = l[6]; return l })
		}},
		{"a record is put in", "14", "14", func(t *testing.T, m *maker) {
			edit(t, m.dir, raw10, func(l [][]byte) [][]byte {
				return append(append(l[:4:4], bytes.Replace(l[4], []byte("record 14"), []byte("record xx"), 1)), l[4:]...)
			})
		}},
		{"the last record is cut off", "31", "31", func(t *testing.T, m *maker) {
			edit(t, m.dir, logName, func(l [][]byte) [][]byte { return l[:5] })
		}},
		{"all since the checkpoint before is cut off", "25-31", "25-31", func(t *testing.T, m *maker) {
			if err := os.Remove(filepath.Join(m.dir, logName)); err != nil {
				t.Fatal(err)
			}
			m.repack(packed19, func(l [][]byte) [][]byte { return l[:6] })
		}},
		{"a record is added behind the end, and fits", undetected, undetected, func(t *testing.T, m *maker) {
			// It is behind all checkpoints, where the next would be signed with it.
			edit(t, m.dir, logName, func(l [][]byte) [][]byte {
				h := Head{Seq: 30}.follow(l[5][:len(l[5])])
				return append(l, fmt.Appendf(nil, `{"schema":1,"seq":32,"time":"2026-11-20T14:00:00Z","event":"x","host":"web1","boot":"","prev":"%s"}`, h.Hash))
			})
		}},
		{"a record is added behind the end, and does not fit", "31-32", "31-32", func(t *testing.T, m *maker) {
			edit(t, m.dir, logName, func(l [][]byte) [][]byte {
				return append(l, fmt.Appendf(nil, `{"schema":1,"seq":32,"time":"2026-11-20T14:00:00Z","event":"x","host":"web1","boot":"","prev":"%064d"}`, 7))
			})
		}},
		{"the first file is deleted", "1-9", "1-9", func(t *testing.T, m *maker) { m.unlink(packed1) }},
		{"a middle file is deleted", "10-18", "10-18", func(t *testing.T, m *maker) { m.unlink(raw10) }},
		{"the last closed file is deleted", "19-25", "19-25", func(t *testing.T, m *maker) { m.unlink(packed19) }},
		{"the active file is deleted", "26-31", "26-31", func(t *testing.T, m *maker) { m.unlink(logName) }},
		{"the files are deleted", "1-31", "1-31", func(t *testing.T, m *maker) {
			for _, name := range []string{packed1, raw10, packed19, logName} {
				m.unlink(name)
			}
		}},
		{"two closed files have changed names", "1", "1", func(t *testing.T, m *maker) { swap(t, m.dir, packed1, packed19) }},
		{"a closed file and the active one have changed names", "10", "10", func(t *testing.T, m *maker) { swap(t, m.dir, raw10, logName) }},
		{"a closed file has another number in its name", "10", "10", func(t *testing.T, m *maker) {
			if err := os.Rename(filepath.Join(m.dir, raw10), filepath.Join(m.dir, segment{first: 11}.name())); err != nil {
				t.Fatal(err)
			}
		}},
		{"a closed file is there a second time, and changed", "12", "12", func(t *testing.T, m *maker) {
			data, err := os.ReadFile(filepath.Join(m.dir, raw10))
			if err != nil {
				t.Fatal(err)
			}
			data = bytes.Replace(data, []byte("record 12"), []byte("record xx"), 1)
			m.write(segment{first: 10, packed: true}.name(), packBlocks(t, data, 3))
		}},
		{"records are declared abandoned by a file that begins with an earlier one", "19", "19", func(t *testing.T, m *maker) {
			m.repack(packed19, func(l [][]byte) [][]byte {
				l[0] = bytes.Replace(l[0], []byte(`"seq":19`), []byte(`"seq":17`), 1)
				return l[:1]
			})
			if err := os.Rename(filepath.Join(m.dir, packed19), filepath.Join(m.dir, segment{first: 17, packed: true}.name())); err != nil {
				t.Fatal(err)
			}
		}},
		{"an index claims another time", "1-3", "1-3", func(t *testing.T, m *maker) {
			m.reindex(packed1, func(x *blockIndex) { x.greatest += 1e6 })
		}},
		{"an index claims more records", "1-4", "1-4", func(t *testing.T, m *maker) {
			m.reindex(packed1, func(x *blockIndex) { x.last++ })
		}},
		{"a record of a compressed file is changed, and checksums and index fit", "3", "3", func(t *testing.T, m *maker) {
			m.repack(packed1, func(l [][]byte) [][]byte {
				l[2] = bytes.Replace(l[2], []byte("record 3"), []byte("record x"), 1)
				return l
			})
		}},
		{"record 12 is changed, and all behind it made anew", "6-14", "6-14", func(t *testing.T, m *maker) {
			remake(t, m, nil, changed(12))
		}},
		{"the last record is changed, and nothing has to be made anew", "31", "31", func(t *testing.T, m *maker) {
			remake(t, m, nil, func(e *Event) {
				if e.Seq == 31 {
					e.Host = "web2"
				}
			})
		}},
		{"record 12 is changed, all behind it made anew, and its checkpoints taken out", "6-31", "6-31", func(t *testing.T, m *maker) {
			remake(t, m, nil, func(e *Event) {
				changed(12)(e)
				if e.Event == LogCheckpoint && e.Seq > 12 {
					e.Event, e.Checkpoint = ListenerOpened, ""
				}
			})
		}},
		{"all is made anew and signed by another key, whose public key is not there", "6", "6", func(t *testing.T, m *maker) {
			other, _ := newKey(t, "web1")
			signed, err := os.ReadFile(filepath.Join(m.dir, CheckpointName))
			if err != nil {
				t.Fatal(err)
			}
			remake(t, m, other, changed(12))
			m.write(CheckpointName, signed)
		}},
		{"the checkpoint is one by another key", "0", "0", func(t *testing.T, m *maker) {
			other, _ := newKey(t, "web1")
			trees, _ := forest(t, 31)
			signed, err := signTree(trees[31], other)
			if err != nil {
				t.Fatal(err)
			}
			m.write(CheckpointName, signed)
		}},
		{"the checkpoint is deleted", "32", undetected, func(t *testing.T, m *maker) { m.unlink(CheckpointName) }},
		{"the end is cut off, and the checkpoint deleted", "24", "24-31", func(t *testing.T, m *maker) {
			m.unlink(CheckpointName)
			m.unlink(logName)
			m.repack(packed19, func(l [][]byte) [][]byte { return l[:5] })
		}},
		{"all of the directory is made anew, with a key of its own", undetected, "0", func(t *testing.T, m *maker) {
			private, public, err := note.GenerateKey(rand.Reader, "web1/portaudit")
			if err != nil {
				t.Fatal(err)
			}
			other, err := note.NewSigner(private)
			if err != nil {
				t.Fatal(err)
			}
			m.write(KeyName, []byte(public+"\n"))
			remake(t, m, other, changed(12))
		}},
		{"all of the directory is an older copy", undetected, "16-31", func(t *testing.T, m *maker) {
			// What lay there when record 15, a checkpoint, was the last.
			m.unlink(packed19)
			edit(t, m.dir, raw10, func(l [][]byte) [][]byte { return l[:6] })
			if err := os.Rename(filepath.Join(m.dir, raw10), filepath.Join(m.dir, logName)); err != nil {
				t.Fatal(err)
			}
			signed, err := signTree(m.trees[15], m.signer)
			if err != nil {
				t.Fatal(err)
			}
			m.write(CheckpointName, signed)
		}},
		{"all is made anew by one who has the key", undetected, "1-31", func(t *testing.T, m *maker) {
			remake(t, m, m.signer, changed(12))
		}},
	} {
		t.Run(test.why, func(t *testing.T) {
			m := makeLog(t)
			kept := VerifyOptions{Checkpoint: m.signed()}
			text, err := os.ReadFile(filepath.Join(m.dir, KeyName))
			if err != nil {
				t.Fatal(err)
			}
			if kept.Keys, err = ParseKeys(text); err != nil {
				t.Fatal(err)
			}
			test.tamper(t, m)
			for _, by := range []struct {
				what, want string
				o          VerifyOptions
			}{{"by what is in the directory", test.beside, VerifyOptions{}}, {"by what was kept elsewhere", test.elsewhere, kept}} {
				d := damageOf(t, m.dir, by.o)
				if d.span() != by.want {
					t.Errorf("%s: %s is named, want %s: %v", by.what, d.span(), by.want, d)
				}
				if _, err := VerifyLog(m.dir, by.o); err != nil {
					t.Logf("%s: %v", by.what, err)
				}
			}
		})
	}
}
