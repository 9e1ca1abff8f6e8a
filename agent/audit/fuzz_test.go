package audit

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seedLog is the bytes of a log of 3 records.
func seedLog(f *testing.F) []byte {
	raw, err := os.ReadFile(filepath.Join(writeLog(f, 3), logName))
	if err != nil {
		f.Fatal(err)
	}
	return raw
}

// FuzzOpen gives Open any file. It must not panic, must keep every record
// before the first that is bad, and must find nothing to drop the second time.
func FuzzOpen(f *testing.F) {
	raw := string(seedLog(f))
	half := len(raw) / 2
	for _, s := range []string{
		"", raw, raw[:half], raw + strings.Repeat("\x00", 300), raw[:half] + "\n" + raw[half:], raw + raw,
		strings.Replace(raw, "record 2", "record 9", 1), "\x00" + raw, "{}\n[]\nnull\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, logName)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		good, verifyErr := Verify(bytes.NewReader(data))
		l, err := Open(dir, Options{})
		if err != nil {
			if verifyErr == nil {
				t.Fatalf("Open refuses a good log: %v", err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("Open refused the log and changed it (%v)", err)
			}
			return
		}
		rec := l.Recovered()
		if rec.Seq != good.Seq || (rec.Dropped == 0) != (verifyErr == nil) {
			t.Fatalf("Recovered = %+v; before, Verify said %d records, %v", rec, good.Seq, verifyErr)
		}
		if holdsRecordLine(data[len(data)-int(rec.Dropped):]) {
			t.Fatalf("%d bytes dropped hold a record", rec.Dropped)
		}
		last := max(good.Seq, 1) // a file without a record gets a header
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := Open(dir, Options{})
		if err != nil || again.Recovered().Dropped != 0 || again.Seq() != last {
			t.Fatalf("the second Open: %v", err)
		}
		if seq, err := add(again, Event{Event: AgentStarted}); err != nil || seq != last+1 {
			t.Fatalf("Append = %d, %v, want %d", seq, err, last+1)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		if head, err := verifyFile(t, dir); err != nil || head.Seq != last+1 {
			t.Fatalf("in the end, Verify says %d, %v", head.Seq, err)
		}
	})
}

// holdsRecordLine looks for a whole line that decodes, the plain way.
func holdsRecordLine(data []byte) bool {
	for line := range bytes.Lines(data) {
		if whole, ok := bytes.CutSuffix(line, []byte("\n")); ok {
			if _, err := decode(whole); err == nil {
				return true
			}
		}
	}
	return false
}

// FuzzRead gives the reader any file, in pieces, and what decides on recovery
// too: that is FuzzOpen without the disk, and so a hundred times as fast.
func FuzzRead(f *testing.F) {
	raw := seedLog(f)
	f.Add(raw)
	f.Add(append(raw, "{"...))
	f.Add([]byte(`{"schema":1,"seq":7,"event":"log.segment","prev":"` + strings.Repeat("a", 64) + `"}` + "\n"))
	f.Add([]byte(`{"schema":1,"seq":1,"prev":"` + strings.Repeat("0", 64) + `"}` + "\n"))
	f.Add([]byte("\n\x00\n{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var want uint64
		for e, err := range Read(io.MultiReader(bytes.NewReader(data[:len(data)/2]), bytes.NewReader(data[len(data)/2:]))) {
			if err != nil {
				if err.Error() != Visible(err.Error()) || len(err.Error()) > 1000 {
					t.Fatalf("the error is not harmless: %q", err)
				}
				break
			}
			if want++; want == 1 && e.Event == LogSegment {
				want = e.Seq // the first that is there
			}
			if e.Seq != want {
				t.Fatalf("record %d has sequence number %d", want, e.Seq)
			}
		}
		if head, _ := Verify(bytes.NewReader(data)); head.Seq != want {
			t.Fatalf("Verify reads %d records, Read %d", head.Seq, want)
		}
		checkSurvey(t, data, want)
	})
}

// checkSurvey checks what Open would do with a log in which n records are good.
func checkSurvey(t *testing.T, data []byte, n uint64) {
	t.Helper()
	s, err := surveyOf(bytes.NewReader(data))
	if err != nil {
		if holdsRecordLine(data) || bytes.Contains(data, []byte(`{"schema":`)) {
			return
		}
		t.Fatalf("survey refuses a file without records: %v", err)
	}
	if s.head.Seq != n || s.tail.Seq != n || s.size+s.tail.Dropped != int64(len(data)) {
		t.Fatalf("survey says %+v of %d records in %d bytes", s, n, len(data))
	}
	if holdsRecordLine(data[s.size:]) {
		t.Fatalf("the %d bytes to drop hold a record", s.tail.Dropped)
	}
	again, err := surveyOf(bytes.NewReader(data[:s.size]))
	if again.head != s.head || again.tail.Dropped != 0 || err != nil {
		t.Fatalf("without the tail, survey says %+v, %v", again, err)
	}
}
