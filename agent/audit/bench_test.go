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
