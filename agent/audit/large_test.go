package audit

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// mill makes records fast: it writes the numbers of each into a line that was
// encoded once. Its records are of programs and ports at random, as far as that matters to
// a compressor, and some seconds apart.
type mill struct {
	parts  [][]byte // what is between the numbers of a line
	random *rand.Rand
	seq    uint64
	at     time.Time
	step   time.Duration
	prev   [32]byte
	line   []byte
}

func newMill(t testing.TB, start time.Time, step time.Duration) *mill {
	t.Helper()
	e := nginx()
	e.Version, e.Host, e.Boot = Version, "web1.example.net", "f3489fb2-eb27-4094-bdfd-92400b3ec83f"
	e.Seq, e.Time, e.Prev = 1<<60, start.Add(time.Nanosecond).UTC(), strings.Repeat("a", 64)
	pid, port := 99999998, uint32(44443)
	e.Owners[0].PID, e.Owners[0].SHA256, e.Port = &pid, strings.Repeat("b", 64), port
	var b bytes.Buffer
	if _, err := encode(&b, e); err != nil {
		t.Fatal(err)
	}
	m := &mill{random: rand.New(rand.NewPCG(1, 2)), at: start.UTC(), step: step}
	at, err := e.Time.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	rest := b.Bytes()
	for _, hole := range []string{fmt.Sprint(e.Seq), string(at), e.Prev, fmt.Sprint(port), fmt.Sprint(pid), e.Owners[0].SHA256} {
		before, behind, found := bytes.Cut(rest, []byte(hole))
		if !found {
			t.Fatalf("%s is not in the rest of %s", hole, b.Bytes())
		}
		m.parts, rest = append(m.parts, before), behind
	}
	m.parts = append(m.parts, rest)
	return m
}

// next returns the next line, with its newline, good until the next. begins says
// that it begins a segment.
func (m *mill) next(begins bool) []byte {
	m.seq++
	m.at = m.at.Add(m.step)
	program := m.random.IntN(500) // the hash of a program tells which
	b := m.line[:0]
	b = fmt.Appendf(append(b, m.parts[0]...), "%d", m.seq)
	b = m.at.AppendFormat(append(b, m.parts[1]...), time.RFC3339Nano)
	b = hex.AppendEncode(append(b, m.parts[2]...), m.prev[:])
	b = fmt.Appendf(append(b, m.parts[3]...), "%d", 1024+m.random.IntN(64000))
	b = fmt.Appendf(append(b, m.parts[4]...), "%d", 300+m.random.IntN(4000000))
	b = fmt.Appendf(append(b, m.parts[5]...), "%064x", uint64(program)*0x9e3779b97f4a7c15)
	b = append(b, m.parts[6]...)
	if begins {
		b = bytes.Replace(b, []byte(ListenerOpened), []byte(LogSegment), 1)
	}
	m.prev, m.line = lineSum(b[:len(b)-1]), b
	return b
}

// log writes a log of some bytes, of which all but the last of its segments are
// compressed, and returns how many records it has.
func (m *mill) log(t testing.TB, dir string, size, segmentSize int64) uint64 {
	t.Helper()
	for size > 0 {
		part := min(size, segmentSize)
		size -= part
		name := logName
		if size > 0 {
			name = segment{first: m.seq + 1, packed: true}.name()
		}
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		w := blockWriter{w: f}
		for begins := true; part > 0; begins = false {
			line := m.next(begins)
			part -= int64(len(line))
			if size == 0 {
				// As much at once as a block, for speed: it is one file for who reads it.
				if w.lines = append(w.lines, line...); len(w.lines) > blockSize || part <= 0 {
					_, err = f.Write(w.lines)
					w.lines = w.lines[:0]
				}
			} else {
				err = w.write(line[:len(line)-1])
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return m.seq
}

// largeDir is the environment variable that makes of this test the process that
// reads a large log.
const largeDir = "PORTAUDIT_TEST_LARGE_DIR"

// TestLargeLog holds what is promised of a log of a gigabyte: a day of it is
// found within a second, and nobody needs more than 64 MB to read all of it.
func TestLargeLog(t *testing.T) {
	if dir := os.Getenv(largeDir); dir != "" {
		readLarge(t, dir)
		return
	}
	if os.Getenv("PORTAUDIT_TEST_LARGE") == "" {
		t.Skip("writes 1 GB of records: set PORTAUDIT_TEST_LARGE=1")
	}
	const size = 1 << 30
	dir := t.TempDir()
	m := newMill(t, testTime.Add(-30*24*time.Hour), 2*time.Second)
	began := time.Now()
	n := m.log(t, dir, size, 64<<20)
	t.Logf("wrote %d records in %v", n, time.Since(began))
	c := exec.Command(os.Args[0], "-test.run=^TestLargeLog$", "-test.v")
	c.Env = append(os.Environ(), largeDir+"="+dir, fmt.Sprintf("PORTAUDIT_TEST_LARGE=%d", n))
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// readLarge reads the log in its own process, whose memory holds nothing else.
func readLarge(t *testing.T, dir string) {
	const memory = 64 << 20
	since := testTime.Add(-20 * 24 * time.Hour)
	for _, r := range []struct {
		reason string
		within Range
		want   int // 0: all
		bound  time.Duration
	}{
		{"a day", Range{Since: since, Until: since.Add(24 * time.Hour)}, 24 * 60 * 60 / 2, time.Second},
		{"an hour", Range{Since: since, Until: since.Add(time.Hour)}, 60 * 60 / 2, time.Second},
		{"a time before all", Range{Until: since.Add(-365 * 24 * time.Hour)}, -1, time.Second},
		{"all", Range{}, 0, time.Minute},
	} {
		began := time.Now()
		n := 0
		for _, err := range Lines(dir, r.within) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		took := time.Since(began)
		if want := max(r.want, 0); took > r.bound || r.want != 0 && n != want || r.want == 0 && fmt.Sprint(n) != os.Getenv("PORTAUDIT_TEST_LARGE") {
			t.Errorf("%s: %d records in %v, want %d within %v", r.reason, n, took, want, r.bound)
		}
		t.Logf("%s: %d records in %v", r.reason, n, took)
	}
	began, n := time.Now(), 0
	for _, err := range Records(dir, Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	t.Logf("all, decoded: %d records in %v", n, time.Since(began))
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	peak := peakMemory(t)
	t.Logf("the runtime asked for %d MiB, the system counted %d MiB at the most", stats.Sys>>20, peak>>20)
	if stats.Sys > memory || peak > memory {
		t.Errorf("more than %d MiB", memory>>20)
	}
}

// peakMemory returns the most memory that this process had, 0 where the system
// does not tell: proc_pid_status(5).
func peakMemory(t *testing.T) (kib int64) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, text, _ := strings.Cut(string(b), "VmHWM:")
	if _, err := fmt.Sscan(text, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// BenchmarkLines is how fast raw segments and compressed ones are read.
func BenchmarkLines(b *testing.B) {
	const size = 32 << 20
	raw, packed := b.TempDir(), b.TempDir()
	newMill(b, testTime, time.Second).log(b, raw, size, size)
	newMill(b, testTime, time.Second).log(b, packed, size, size-1)
	old := Range{Until: testTime.Add(-time.Hour)}
	for _, bench := range []struct {
		name, dir string
		within    Range
	}{
		{"raw/all", raw, Range{}},
		{"raw/none by time", raw, old}, // every line is looked at
		{"compressed/all", packed, Range{}},
		{"compressed/none by time", packed, old},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range Lines(bench.dir, bench.within) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkPack is how fast segments are compressed, and how small they become.
func BenchmarkPack(b *testing.B) {
	const size = 8 << 20
	m := newMill(b, testTime, time.Second)
	var lines [][]byte
	for n := 0; n < size; {
		line := bytes.Clone(m.next(false))
		lines, n = append(lines, line[:len(line)-1]), n+len(line)
	}
	var out bytes.Buffer
	w := blockWriter{w: &out}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		for _, line := range lines {
			if err := w.write(line); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.flush(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(size/float64(out.Len()), "ratio")
}

// BenchmarkFind is how fast the records behind a sequence number are found in a
// raw segment, as at each start of the agent.
func BenchmarkFind(b *testing.B) {
	dir := b.TempDir()
	n := newMill(b, testTime, time.Second).log(b, dir, 64<<20, 64<<20)
	for b.Loop() {
		count := 0
		for _, err := range Lines(dir, Range{After: n - 10}) {
			if err != nil {
				b.Fatal(err)
			}
			count++
		}
		if count != 10 {
			b.Fatal(count)
		}
	}
}
