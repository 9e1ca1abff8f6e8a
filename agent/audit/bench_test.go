package audit

import (
	"bytes"
	"os"
	"slices"
	"testing"
)

// nginx is an event of ordinary size.
func nginx() Event {
	pid, uid := 4711, uint32(33)
	return Event{
		Event: ListenerOpened, Message: "nginx (pid 4711, www-data) listens on 0.0.0.0:443/tcp",
		Listener: "host/tcp/0.0.0.0/443/nginx.service", Transport: "tcp", Address: "0.0.0.0", Port: 443, Scope: "wildcard",
		Registry: &Registry{Range: "system", State: "assigned", Names: []string{"https"}, Description: "http protocol over TLS/SSL"},
		Owners:   []Owner{{PID: &pid, UID: &uid, Executable: "/usr/sbin/nginx", User: "www-data", How: "process", Unit: "nginx.service"}},
	}
}

// BenchmarkAppend is the cost of a record, on disk: of one that is waited for, of
// ordinary ones that come one by one, and of fifty in one call.
func BenchmarkAppend(b *testing.B) {
	finding := nginx()
	finding.Event = FindingRaised
	tests := []struct {
		name   string
		events []Event
	}{
		{"one, at once", []Event{finding}},
		{"one by one", []Event{nginx()}},
		{"50", slices.Repeat([]Event{nginx()}, 50)},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			l := openLog(b, b.TempDir())
			records := 0
			for b.Loop() {
				done, err := l.Append(tt.events...)
				if err != nil {
					b.Fatal(err)
				}
				records += len(done)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	l := openLog(b, b.TempDir())
	const n = 10_000
	if _, err := add(l, slices.Repeat([]Event{nginx()}, n-1)...); err != nil {
		b.Fatal(err)
	}
	raw, err := os.ReadFile(l.path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if head, err := Verify(bytes.NewReader(raw)); err != nil || head.Seq != n {
			b.Fatal(head, err)
		}
	}
}

// BenchmarkVerifyLog verifies a log of 64 MB with a checkpoint every 1,000 records,
// by what lies beside it.
func BenchmarkVerifyLog(b *testing.B) {
	for _, packed := range []bool{false, true} {
		b.Run(map[bool]string{false: "raw", true: "compressed"}[packed], func(b *testing.B) {
			m := newMaker(b)
			m.begin()
			raw := 0
			for size := 0; raw+size < 64<<20; size = m.file.Len() {
				for range 999 {
					m.add(nginx())
				}
				m.checkpoint()
				if m.file.Len() > 32<<20 {
					raw += m.file.Len()
					m.blocks = true
					m.rotate(packed)
				}
			}
			m.checkpoint()
			dir := m.done()
			b.SetBytes(int64(raw + m.file.Len()))
			b.ReportAllocs()
			for b.Loop() {
				if got, err := VerifyLog(dir, VerifyOptions{}); err != nil || got.Last != m.head.Seq {
					b.Fatal(got, err)
				}
			}
		})
	}
}

// BenchmarkSurvey is what a start reads of an active segment that is as large as one
// gets, in bytes per second.
func BenchmarkSurvey(b *testing.B) {
	l := openLog(b, b.TempDir())
	for range 8 {
		if _, err := l.Append(slices.Repeat([]Event{nginx()}, 10_000)...); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	raw, err := os.ReadFile(l.path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if s, err := surveyOf(bytes.NewReader(raw)); err != nil || s.tail.Dropped != 0 {
			b.Fatal(s, err)
		}
	}
}
