package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// largeLog writes a log of about so many bytes in segments of a tenth, over some
// months until now: listeners that come and go, a fifth of them with a finding. It
// returns the number of its records.
func largeLog(t testing.TB, dir string, size int64) uint64 {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	w := &chainWriter{t: t, dir: dir, segment: size / 10}
	step := time.Duration(float64(120*24*time.Hour) / (float64(size) / 1250))
	at := time.Now().Add(-120 * 24 * time.Hour)
	w.add(audit.Event{Event: audit.AgentStarted, Time: at, Message: "portaudit v0.3.0 started", Program: "v0.3.0", PID: 812, Policy: &audit.Policy{Source: "built-in policy", SHA256: strings.Repeat("f1", 32)}})
	var open []audit.Event
	for w.written < size {
		at = at.Add(step)
		var e audit.Event
		if n := len(open); n > 0 && random.IntN(200) < n {
			i := random.IntN(n)
			e = open[i]
			e.Event, e.Message = audit.ListenerClosed, strings.Replace(e.Message, "listens", "no longer listens", 1)
			open[i] = open[n-1]
			open = open[:n-1]
		} else {
			e = listenerRecord(random, at)
			open = append(open, e)
		}
		e.Time, e.LastSeen = at, &at
		w.add(e)
		if e.Event == audit.ListenerOpened && random.IntN(5) == 0 {
			e.Event, e.ID, e.Rule, e.Severity = audit.FindingRaised, e.Listener, "reachable", []string{"low", "medium", "high", "critical"}[random.IntN(4)]
			e.Why, e.Fix = "Other hosts can reach it.", "Bind it to a loopback address."
			w.add(e)
		}
	}
	w.close()
	return w.seq
}

// listenerRecord is a record like those that the agent writes.
func listenerRecord(random *rand.Rand, at time.Time) audit.Event {
	port, pid, uid, no := 1024+random.Uint32N(60000), 1000+random.IntN(30000), uint32(random.IntN(3)), false
	program := []string{"nginx", "python3.11", "sshd", "postgres", "java", "node"}[random.IntN(6)]
	user := []string{"root", "www-data", "postgres"}[uid]
	started := at.Add(-time.Minute)
	return audit.Event{
		Event: audit.ListenerOpened, Message: fmt.Sprintf("%s (pid %d, user %s) listens on tcp 0.0.0.0:%d", program, pid, user, port),
		Listener: fmt.Sprintf("%016x", random.Uint64()), Transport: "tcp", Address: "0.0.0.0", Port: port, Namespace: "host", Scope: "wildcard", Reach: "network",
		Privileged: &no, Ephemeral: &no, DualStack: &no, FirstSeen: &at,
		Registry: &audit.Registry{Range: "registered", State: "unassigned", Names: []string{}, Description: "Unassigned"},
		Owners: []audit.Owner{{
			PID: &pid, Started: &started, Executable: "/usr/bin/" + program, Deleted: &no, SHA256: strings.Repeat("9d", 32),
			Package: &audit.Package{Manager: "dpkg", Name: program, Version: "1.2.3-4"}, Command: program, User: user, UID: &uid, How: "process",
			Unit: program + ".service",
		}},
		Verdict: "allow", Rule: "default",
	}
}

// chainWriter writes records as the log does, without waiting for the disk.
type chainWriter struct {
	t       testing.TB
	dir     string
	segment int64 // its size
	seq     uint64
	prev    [sha256.Size]byte
	file    *os.File
	out     *bufio.Writer
	first   uint64 // of the active segment
	in      int64  // bytes in it
	written int64
}

func (w *chainWriter) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *chainWriter) add(e audit.Event) {
	if w.file != nil && w.in >= w.segment {
		w.close()
		w.check(os.Rename(filepath.Join(w.dir, "audit.jsonl"), filepath.Join(w.dir, fmt.Sprintf("audit-%020d.jsonl", w.first))))
		w.file = nil
	}
	if w.file == nil {
		var err error
		w.file, err = os.OpenFile(filepath.Join(w.dir, "audit.jsonl"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		w.check(err)
		w.out, w.first, w.in = bufio.NewWriterSize(w.file, 1<<20), w.seq+1, 0
	}
	w.seq++
	e.Version, e.Seq, e.Host, e.Boot, e.Prev, e.Time = audit.Version, w.seq, "web1", "f3489fb2-eb27-4094-bdfd-92400b3ec83f", hex.EncodeToString(w.prev[:]), e.Time.UTC()
	line, err := json.Marshal(e)
	w.check(err)
	w.prev = sha256.Sum256(line)
	_, err = w.out.Write(append(line, '\n'))
	w.check(err)
	w.in += int64(len(line)) + 1
	w.written += int64(len(line)) + 1
}

func (w *chainWriter) close() {
	w.check(w.out.Flush())
	w.check(w.file.Close())
}
