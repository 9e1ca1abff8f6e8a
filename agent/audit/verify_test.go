package audit

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// maker makes the files of a log as they are specified, without Log: so a test can
// make what Log would never write, as one does who rewrites a log and knows how.
type maker struct {
	t      testing.TB
	dir    string
	signer note.Signer // of checkpoints
	head   Head
	trees  []tree       // by the last record
	file   bytes.Buffer // the segment that is made
	first  uint64       // its first record
	blocks bool         // whether blocks of compressed files are of full size
	change func(*Event) // what is changed of each record before it is written, nil: nothing
}

// newMaker begins a log in a new directory, with a key of its own.
func newMaker(t testing.TB) *maker {
	t.Helper()
	state := t.TempDir()
	m := &maker{t: t, dir: t.TempDir(), head: firstHead()}
	var err error
	if m.signer, err = OpenSigner(state, m.dir, "web1"); err != nil {
		t.Fatal(err)
	}
	return m
}

// add writes a record.
func (m *maker) add(e Event) {
	m.t.Helper()
	e.Version, e.Seq, e.Prev, e.Host = Version, m.head.Seq+1, m.head.Hash, "web1"
	e.Time = time.Date(2026, 11, 20, 14, 0, int(e.Seq), 0, time.UTC)
	if m.change != nil {
		m.change(&e)
	}
	start := m.file.Len()
	if _, err := encode(&m.file, e); err != nil {
		m.t.Fatal(err)
	}
	m.trees = append(m.trees, m.head.tree)
	m.head = m.head.follow(m.file.Bytes()[start : m.file.Len()-1])
}

// records writes n ordinary records.
func (m *maker) records(n int) {
	m.t.Helper()
	for range n {
		m.add(Event{Event: ListenerOpened, Message: "record " + strconv.FormatUint(m.head.Seq+1, 10), Port: 443})
	}
}

// begin begins a segment with its header.
func (m *maker) begin() {
	m.t.Helper()
	m.first = m.head.Seq + 1
	m.add(Event{Event: LogSegment, Tree: m.head.tree.list()})
}

// checkpoint writes the record of one, and then the checkpoint beside the log.
func (m *maker) checkpoint() {
	m.t.Helper()
	m.add(Event{Event: LogCheckpoint, Checkpoint: string(m.signed())})
	m.write(CheckpointName, m.signed())
}

// signed returns a signed checkpoint of the log as it is.
func (m *maker) signed() []byte {
	m.t.Helper()
	signed, err := signTree(m.head.tree, m.signer)
	if err != nil {
		m.t.Fatal(err)
	}
	return signed
}

// rotate closes the segment and begins the next.
func (m *maker) rotate(packed bool) {
	m.t.Helper()
	m.close(packed)
	m.begin()
}

// close writes the segment as a closed one; a compressed one has blocks of at most
// three records.
func (m *maker) close(packed bool) {
	m.t.Helper()
	name := segment{first: m.first, packed: packed}.name()
	if packed {
		n := 3
		if m.blocks {
			n = math.MaxInt
		}
		m.write(name, packBlocks(m.t, m.file.Bytes(), n))
	} else {
		m.write(name, m.file.Bytes())
	}
	m.file.Reset()
}

// done writes the active segment, and returns the directory.
func (m *maker) done() string {
	m.t.Helper()
	m.write(logName, m.file.Bytes())
	return m.dir
}

func (m *maker) write(name string, data []byte) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), data, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// packBlocks compresses lines, n of them in a block.
func packBlocks(t testing.TB, lines []byte, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := blockWriter{w: &out}
	i := 0
	for line := range bytes.Lines(lines) {
		if err := w.write(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			t.Fatal(err)
		}
		if i++; i%n == 0 {
			if err := w.flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// makeLog makes a log of 31 records: records 1 to 9 compressed, 10 to 18 not, 19 to
// 25 compressed, 26 to 31 active; checkpoints in records 6, 15, 24 and 31.
func makeLog(t testing.TB) *maker {
	t.Helper()
	m := newMaker(t)
	m.make()
	return m
}

func (m *maker) make() {
	m.t.Helper()
	m.begin()
	m.records(4)
	m.checkpoint()
	m.records(3)
	m.rotate(true)
	m.records(4)
	m.checkpoint()
	m.records(3)
	m.rotate(false)
	m.records(4)
	m.checkpoint()
	m.records(1)
	m.rotate(true)
	m.records(4)
	m.checkpoint()
	m.done()
}

func TestVerifyLogGood(t *testing.T) {
	for _, test := range []struct {
		why  string
		make func(m *maker)
		want Verified
	}{
		{"one record", func(m *maker) { m.begin() }, Verified{First: 1, Last: 1, Files: 1}},
		{"nothing yet", func(m *maker) {}, Verified{Files: 1}},
		{"of an older build: no header", func(m *maker) { m.records(3) }, Verified{First: 1, Last: 3, Files: 1}},
		{"a checkpoint", func(m *maker) { m.begin(); m.records(2); m.checkpoint() }, Verified{First: 1, Last: 4, Files: 1, Covered: 4, Signed: 1}},
		{"records behind the last checkpoint", func(m *maker) { m.begin(); m.checkpoint(); m.records(3) }, Verified{First: 1, Last: 5, Files: 1, Covered: 2, Signed: 1}},
		{"killed between the record of a checkpoint and the file", func(m *maker) {
			m.begin()
			m.checkpoint()
			m.records(3)
			m.add(Event{Event: LogCheckpoint, Checkpoint: string(m.signed())})
		}, Verified{First: 1, Last: 6, Files: 1, Covered: 5, Signed: 2}},
		{"a torn end", func(m *maker) { m.begin(); m.checkpoint(); m.file.WriteString(`{"schema":`) }, Verified{First: 1, Last: 2, Files: 1, Covered: 2, Signed: 1, Torn: 10}},
		{"a file after the other", func(m *maker) {
			m.begin()
			m.records(2)
			m.rotate(false)
			m.records(2)
			m.rotate(true)
			m.checkpoint()
		}, Verified{First: 1, Last: 8, Files: 3, Covered: 8, Signed: 1}},
		{"a file is being compressed", func(m *maker) {
			m.begin()
			m.records(7)
			m.write(segment{first: 1, packed: true}.name(), packBlocks(m.t, m.file.Bytes(), 3))
			m.rotate(false)
		}, Verified{First: 1, Last: 9, Files: 2}},
		{"retention has removed the first file", func(m *maker) {
			m.begin()
			m.records(5)
			m.rotate(false)
			m.records(1)
			m.add(Event{Event: LogPruned, Through: 6})
			m.remove(1)
			m.checkpoint()
		}, Verified{First: 7, Last: 10, Files: 1, Covered: 10, Signed: 1}},
		{"killed before a file was removed", func(m *maker) {
			m.begin()
			m.records(5)
			m.rotate(false)
			m.add(Event{Event: LogPruned, Through: 6})
		}, Verified{First: 1, Last: 8, Files: 2}},
		{"the disk failed behind record 4, and the log went on elsewhere", func(m *maker) {
			m.begin()
			m.records(3)
			kept := m.head
			m.records(2)
			m.file.WriteString("{\"schema\":\n\x00\x00")
			m.head = kept
			m.rotate(false)
			m.checkpoint()
		}, Verified{First: 1, Last: 6, Files: 2, Covered: 6, Signed: 1, Abandoned: 4}},
	} {
		t.Run(test.why, func(t *testing.T) {
			m := newMaker(t)
			test.make(m)
			got, err := VerifyLog(m.done(), VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if m.head.Seq > 0 && got.Hash != m.head.Hash {
				t.Errorf("the head is %s, want %s", got.Hash, m.head.Hash)
			}
			if got.Hash, got.Bytes = "", 0; got != test.want {
				t.Errorf("%+v, want\n%+v", got, test.want)
			}
		})
	}
}

// remove removes a closed segment, whatever it is.
func (m *maker) remove(first uint64) {
	m.t.Helper()
	for _, packed := range []bool{false, true} {
		if err := os.Remove(filepath.Join(m.dir, segment{first: first, packed: packed}.name())); err == nil {
			return
		}
	}
	m.t.Fatalf("no segment begins with record %d", first)
}

// damageOf returns what VerifyLog finds wrong with a log.
func damageOf(t testing.TB, dir string, o VerifyOptions) *DamageError {
	t.Helper()
	_, err := VerifyLog(dir, o)
	var d *DamageError
	if !errors.As(err, &d) {
		return nil
	}
	if text := err.Error(); text != Visible(text) {
		t.Errorf("the error is not harmless: %q", text)
	}
	return d
}

func (d *DamageError) span() string {
	switch {
	case d == nil:
		return "nothing"
	case d.Last > d.Seq:
		return fmt.Sprintf("%d-%d", d.Seq, d.Last)
	default:
		return strconv.FormatUint(d.Seq, 10)
	}
}

// TestVerifyAmidFirstCheckpoint holds that a log is not called damaged that is between
// its first checkpoint and the file of that.
func TestVerifyAmidFirstCheckpoint(t *testing.T) {
	dir := t.TempDir()
	signer, err := OpenSigner(t.TempDir(), dir, "web1")
	if err != nil {
		t.Fatal(err)
	}
	l := openLog(t, dir)
	if _, err := l.Checkpoint(signer); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, CheckpointName)
	if err := os.Rename(path, path+".later"); err != nil {
		t.Fatal(err)
	}
	if d := damageOf(t, dir, VerifyOptions{}); d == nil || !errors.Is(d, errUnsealed) {
		t.Errorf("where it stays away: %v", d)
	}
	timer := time.AfterFunc(200*time.Millisecond, func() {
		if err := os.Rename(path+".later", path); err != nil {
			t.Error(err)
		}
	})
	defer timer.Stop()
	if got, err := VerifyLog(dir, VerifyOptions{}); err != nil || got.Covered != got.Last {
		t.Errorf("where it comes a moment later: %+v, %v", got, err)
	}
}
