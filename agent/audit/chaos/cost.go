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
// tmpfs, and beside it what the same lines cost by rsyslog. The ways take turns, for a
// machine may be busy at times: the median of a way counts.
func (l *lab) cost(ctx context.Context) error {
	const rounds = 3
	var names []string
	took := map[string][]time.Duration{}
	note := func(name string, each time.Duration) {
		if took[name] == nil {
			names = append(names, name)
		}
		took[name] = append(took[name], each)
	}
	size := 0
	for range rounds {
		for _, place := range []struct{ name, dir string }{{"this disk", l.work}, {"tmpfs", l.memory}} {
			var err error
			if size, err = l.costAt(ctx, place.dir, func(way string, each time.Duration) { note(place.name+", "+way, each) }); err != nil {
				return err
			}
		}
	}
	say("cost: a record of an ordinary listener has %d bytes", size)
	for _, name := range names {
		slices.Sort(took[name])
		say("cost: %s: %.1f µs a record (%.1f to %.1f)", name,
			micro(took[name][rounds/2]), micro(took[name][0]), micro(took[name][rounds-1]))
	}
	if _, err := exec.LookPath("rsyslogd"); err != nil {
		say("cost: rsyslog is not compared: install the package rsyslog")
	}
	return nil
}

// costAt measures each way once below dir, and returns the size of a record.
func (l *lab) costAt(ctx context.Context, dir string, note func(way string, each time.Duration)) (int, error) {
	var lines []byte
	for _, together := range []int{1, 50} {
		each, data, err := appendCost(filepath.Join(dir, "cost"), together)
		if err != nil {
			return 0, err
		}
		lines = data
		note(fmt.Sprintf("%d per fsync", together), each)
	}
	size := len(lines) / costRecords
	if _, err := exec.LookPath("rsyslogd"); err != nil {
		return size, nil //nolint:nilerr // cost says that it is missing
	}
	for _, sync := range []string{"on", "off"} {
		each, err := rsyslogCost(ctx, filepath.Join(dir, "rsyslog"), lines, sync)
		if err != nil {
			return size, fmt.Errorf("rsyslog: %w", err)
		}
		note("rsyslogd with sync="+sync, each)
	}
	return size, nil
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
func rsyslogCost(ctx context.Context, dir string, lines []byte, sync string) (each time.Duration, err error) {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return 0, err
	}
	socket, config, out := filepath.Join(dir, "socket"), filepath.Join(dir, "conf"), filepath.Join(dir, "out")
	text := fmt.Sprintf(`global(workDirectory=%q maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket=%q RateLimit.Interval="0")
action(type="omfile" file=%q sync=%q)
`, dir, socket, out, sync)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, "rsyslogd", "-n", "-f", config, "-i", filepath.Join(dir, "pid"))
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
