package audit

import (
	"bytes"
	"os"
	"slices"
	"strconv"
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

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 50} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			l := openLog(b, b.TempDir())
			events := slices.Repeat([]Event{nginx()}, n)
			for b.Loop() {
				if _, err := l.Append(events...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	l := openLog(b, b.TempDir())
	const n = 10_000
	if _, err := l.Append(slices.Repeat([]Event{nginx()}, n)...); err != nil {
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
