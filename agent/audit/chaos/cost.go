package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// costRecords is how many records of one way are measured.
const costRecords = 5000

// nginx is a record of ordinary size.
func nginx() audit.Event {
	pid, uid := 4711, uint32(33)
	return audit.Event{
		Event: audit.ListenerOpened, Message: "nginx (pid 4711, www-data) listens on 0.0.0.0:443/tcp",
		Listener: "host/tcp/0.0.0.0/443/nginx.service", Transport: "tcp", Address: "0.0.0.0", Port: 443, Scope: "wildcard",
		Registry: &audit.Registry{Range: "system", State: "assigned", Names: []string{"https"}, Description: "http protocol over TLS/SSL"},
		Owners:   []audit.Owner{{PID: &pid, UID: &uid, Executable: "/usr/sbin/nginx", User: "www-data", How: "process", Unit: "nginx.service"}},
	}
}

// cost measures what a record costs, on the disk that the lab is on and on a
// tmpfs, and beside it what the same lines cost by rsyslog.
func (l *lab) cost(ctx context.Context) error {
	var sample []byte
	for _, place := range []struct{ name, dir string }{{"this disk", l.work}, {"tmpfs", l.memory}} {
		for _, together := range []int{1, 50} {
			dir := filepath.Join(place.dir, "cost")
			each, data, err := appendCost(dir, together)
			if err != nil {
				return err
			}
			sample = data
			say("cost: %s, %d records per fsync: %.1f µs and %d bytes a record", place.name, together, micro(each), len(data)/costRecords)
		}
		for _, sync := range []bool{true, false} {
			each, err := l.rsyslogCost(ctx, filepath.Join(place.dir, "rsyslog"), sample, sync)
			if errors.Is(err, exec.ErrNotFound) {
				say("cost: rsyslog is not compared: install the package rsyslog")
				return nil
			}
			if err != nil {
				return fmt.Errorf("rsyslog: %w", err)
			}
			say("cost: %s, rsyslogd with sync=%v: %.1f µs a record", place.name, sync, micro(each))
		}
	}
	return nil
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// appendCost appends records, so many with one fsync, and returns what one took
// and the log.
func appendCost(dir string, together int) (time.Duration, []byte, error) {
	if err := os.RemoveAll(dir); err != nil {
		return 0, nil, err
	}
	log, err := audit.Open(dir, audit.Options{Host: "alpha", Boot: "b1"})
	if err != nil {
		return 0, nil, err
	}
	events := slices.Repeat([]audit.Event{nginx()}, together)
	start := time.Now()
	for range costRecords / together {
		if err := settle(log, events); err != nil {
			return 0, nil, errors.Join(err, log.Close())
		}
	}
	each := time.Since(start) / costRecords
	if err := log.Close(); err != nil {
		return 0, nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, "audit.jsonl"))
	return each, data, err
}

// settle appends events and brings them to disk.
func settle(log *audit.Log, events []audit.Event) error {
	if _, err := log.Append(events...); err != nil {
		return err
	}
	_, err := log.Sync()
	return err
}

// rsyslogCost sends the lines to an rsyslogd of its own, and returns what one of
// them took until it was in its file. With sync, rsyslogd calls fsync for each
// batch that it writes.
func (l *lab) rsyslogCost(ctx context.Context, dir string, lines []byte, sync bool) (each time.Duration, err error) {
	program, err := exec.LookPath("rsyslogd")
	if err != nil {
		return 0, exec.ErrNotFound
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return 0, err
	}
	socket, config, out := filepath.Join(dir, "socket"), filepath.Join(dir, "conf"), filepath.Join(dir, "out")
	onoff := map[bool]string{true: "on", false: "off"}[sync]
	text := fmt.Sprintf(`global(workDirectory=%q maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket=%q RateLimit.Interval="0")
action(type="omfile" file=%q sync=%q)
`, dir, socket, out, onoff)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, program, "-n", "-f", config, "-i", filepath.Join(dir, "pid"))
	tie(cmd)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, kill(cmd))
		_ = cmd.Wait() // it was killed
	}()
	var conn net.Conn
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if conn, err = net.Dial("unixgram", socket); err == nil {
			break
		}
		if time.Since(start) > 5*time.Second {
			return 0, err
		}
	}
	defer conn.Close()
	start := time.Now()
	for line := range bytes.Lines(lines) {
		if _, err := conn.Write(append([]byte("<110>portaudit: "), bytes.TrimSuffix(line, []byte("\n"))...)); err != nil {
			return 0, err
		}
	}
	for time.Since(start) < 60*time.Second {
		data, _ := os.ReadFile(out) // it is not there yet
		if bytes.Count(data, []byte("\n")) >= costRecords {
			return time.Since(start) / costRecords, nil
		}
		time.Sleep(2 * time.Millisecond)
	}
	return 0, errors.New("it did not write all lines in a minute")
}
