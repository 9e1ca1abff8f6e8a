package alert

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// The receivers are those of Debian, started by their own commands: what they make
// of a message is what an administrator sees. ".ci/run receivers" installs them.
func needReceivers(t *testing.T, commands ...string) {
	t.Helper()
	if os.Getenv("PORTAUDIT_TEST_RECEIVERS") == "" {
		t.Skip("set PORTAUDIT_TEST_RECEIVERS=1 for a test with real receivers, as .ci/run receivers does")
	}
	for _, c := range commands {
		if _, err := exec.LookPath(c); err != nil {
			t.Fatal(err)
		}
	}
}

// openDir returns a directory that a receiver with fewer rights can use.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "portaudit-receiver-") //nolint:usetesting // that of a test is below one that is root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// nobody is Debian's user without rights.
const nobody = 65534

// start starts a receiver, as nobody where that is asked for, and ends it with the
// test or by the function that it returns.
func start(t *testing.T, asNobody bool, name string, args ...string) (cmd *exec.Cmd, stop func()) {
	t.Helper()
	cmd = exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if asNobody && os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended, which Wait tells
		timer := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		timer.Stop()
		if t.Failed() {
			t.Logf("%s said: %s", name, out.Bytes())
		}
	}
	t.Cleanup(stop)
	return cmd, stop
}

// parsed is what rsyslog writes of a message that it has parsed.
type parsed struct {
	Pri, Host, App, ProcID, MsgID, Time, SD, Msg string
}

const rsyslogTemplate = `template(name="parsed" type="list" option.jsonf="on") {
	property(outname="Pri" name="pri" format="jsonf")
	property(outname="Host" name="hostname" format="jsonf")
	property(outname="App" name="app-name" format="jsonf")
	property(outname="ProcID" name="procid" format="jsonf")
	property(outname="MsgID" name="msgid" format="jsonf")
	property(outname="Time" name="timereported" dateFormat="rfc3339" format="jsonf")
	property(outname="SD" name="structured-data" format="jsonf")
	property(outname="Msg" name="msg" format="jsonf")
}
`

func TestRsyslog(t *testing.T) {
	needReceivers(t, "rsyslogd")
	a := newAuthority(t)
	tests := []struct {
		reason, network, input string // input: PORT and DIR stand for themselves
	}{
		{"local", "unix", `module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="DIR/log" UseSpecialParser="off" IgnoreTimestamp="off")`},
		{"TCP", "tcp", `module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="PORT")`},
		{"TLS by GnuTLS", "tls", tlsInput("gtls")},
		{"TLS by OpenSSL", "tls", tlsInput("ossl")},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir := openDir(t)
			server := a.issue("siem.example")
			writePEM(t, filepath.Join(dir, "ca.pem"), "CERTIFICATE", a.cert.Raw)
			writePEM(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", server.Certificate[0])
			key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey.(*ecdsa.PrivateKey))
			if err != nil {
				t.Fatal(err)
			}
			writePEM(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", key)
			port := freePort(t)
			conf := filepath.Join(dir, "rsyslog.conf")
			text := "global(workDirectory=\"DIR\" maxMessageSize=\"64k\")\n" + rsyslogTemplate + tt.input +
				"\naction(type=\"omfile\" file=\"DIR/out\" template=\"parsed\" asyncWriting=\"off\" flushOnTXEnd=\"on\")\n" +
				"action(type=\"omfile\" file=\"DIR/plain\" template=\"RSYSLOG_SyslogProtocol23Format\" asyncWriting=\"off\" flushOnTXEnd=\"on\")\n"
			text = strings.NewReplacer("DIR", dir, "PORT", port).Replace(text)
			if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			begin := func() func() {
				_, stop := start(t, true, "rsyslogd", "-n", "-f", conf, "-i", filepath.Join(dir, "pid"))
				return stop
			}
			stopReceiver := begin()
			o := SyslogOptions{Network: tt.network, Address: "127.0.0.1:" + port, Facility: 10, PID: 99, TLS: &tls.Config{
				RootCAs: a.pool, ServerName: "siem.example", Certificates: []tls.Certificate{a.issue("alpha")},
			}}
			if tt.network == "unix" {
				o.Address = filepath.Join(dir, "log")
			}
			b := newBench(t)
			stop := run(b.output(NewSyslog(o), Selection{All: true}))
			putHostile(b)
			b.sign()
			half := b.log.Seq()
			waitFor(t, func() bool { return len(readParsed(t, dir)) >= int(half)-1 })
			stopReceiver() // and what comes while it is away
			putHostile(b)
			b.sign()
			begin()
			waitFor(t, func() bool { return len(readParsed(t, dir)) >= int(b.log.Seq())-1 })
			stop()
			compareParsed(t, b, readParsed(t, dir))
			for _, name := range []string{"out", "plain"} {
				kept, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				b.verify(name, kept)
			}
		})
	}
}

func tlsInput(driver string) string {
	return `global(DefaultNetstreamDriverCAFile="DIR/ca.pem" DefaultNetstreamDriverCertFile="DIR/cert.pem" DefaultNetstreamDriverKeyFile="DIR/key.pem")
module(load="imtcp" StreamDriver.Name="` + driver + `" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
input(type="imtcp" address="127.0.0.1" port="PORT")`
}

// putHostile records an event for each string that a process can call itself.
func putHostile(b *bench) {
	strange := hostile()
	strange["2 MB"] = strings.Repeat("\x1b\u202eab", 300_000)
	for _, reason := range slices.Sorted(maps.Keys(strange)) {
		e := full(strange[reason]).Event
		e.Seq, e.Time = 0, time.Now()
		b.put(e)
	}
}

// sign signs the log, and hands on what that records.
func (b *bench) sign() {
	b.t.Helper()
	signer, err := audit.OpenSigner(b.state, b.dir, "alpha")
	if err != nil {
		b.t.Fatal(err)
	}
	acknowledged, err := b.log.Checkpoint(signer)
	if err != nil {
		b.t.Fatal(err)
	}
	b.feed.Put(acknowledged...)
}

// verify verifies the log by the last checkpoint in what a receiver kept, and a log
// that ends before it.
func (b *bench) verify(what string, kept []byte) {
	b.t.Helper()
	found, err := audit.FindCheckpoint(kept)
	if err != nil {
		b.t.Errorf("%s: %v", what, err)
		return
	}
	v, err := audit.VerifyLog(b.dir, audit.VerifyOptions{Checkpoint: found})
	if last := fmt.Sprintf("\n%d\n", b.log.Seq()-1); err != nil || v.Covered != v.Last || !strings.Contains(string(found), last) {
		b.t.Errorf("%s: %+v, %v by\n%s", what, v, err, found)
	}
	raw, err := os.ReadFile(filepath.Join(b.dir, "audit.jsonl"))
	if err != nil {
		b.t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(b.dir, audit.KeyName))
	if err != nil {
		b.t.Fatal(err)
	}
	cut := b.t.TempDir()
	for name, text := range map[string][]byte{"audit.jsonl": raw[:bytes.LastIndexByte(raw[:len(raw)/2], '\n')+1], audit.KeyName: key} {
		if err := os.WriteFile(filepath.Join(cut, name), text, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	if _, err := audit.VerifyLog(cut, audit.VerifyOptions{Checkpoint: found}); !errors.As(err, new(*audit.DamageError)) {
		b.t.Errorf("%s: of a log that was cut off: %v", what, err)
	}
}

// compareParsed holds what rsyslog parsed against the log.
func compareParsed(t *testing.T, b *bench, all map[string]parsed) {
	for r, err := range b.feed.records(1) {
		if err != nil {
			t.Fatal(err)
		}
		m := Message{Event: r.event, Hash: r.hash}
		p, ok := all[fmt.Sprint(r.event.Seq)]
		if !ok {
			t.Errorf("record %d is missing", r.event.Seq)
			continue
		}
		sd := parse(t, []byte("<1>1 - - - - - "+p.SD)).StructuredData
		params := (*sd)["portaudit@32473"]
		want := map[string]string{}
		for _, f := range fieldsOf(m) {
			want[f.name] = audit.Visible(f.value) // a checkpoint has newlines
		}
		if params["truncated"] != "" { // the 2 MB
			if !strings.HasSuffix(params["command"], " bytes]") || !strings.HasSuffix(p.Msg, " bytes]") {
				t.Errorf("record %d does not show that it was cut: %.200s", r.event.Seq, p.SD)
			}
			continue
		}
		if !maps.Equal(params, want) {
			t.Errorf("record %d became\n%v, the log has\n%v", r.event.Seq, params, want)
		}
		when := r.event.Time.Format("2006-01-02T15:04:05.000000Z07:00")
		got := fmt.Sprint(p.Pri, p.Host, p.App, p.ProcID, p.MsgID, p.Time, strings.TrimPrefix(p.Msg, " "))
		if got != fmt.Sprint(10*8+int(m.Priority()), "alpha", "portaudit", "99", r.event.Event, when, m.Text()) {
			t.Errorf("record %d became %q", r.event.Seq, got)
		}
	}
}

// readParsed returns what rsyslog wrote, by seq: a message that came twice is one.
func readParsed(t *testing.T, dir string) map[string]parsed {
	t.Helper()
	all := map[string]parsed{}
	f, err := os.Open(filepath.Join(dir, "out"))
	if err != nil {
		return all // not yet
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p parsed
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			continue // being written
		}
		if _, rest, ok := strings.Cut(p.SD, ` seq="`); ok {
			seq, _, _ := strings.Cut(rest, `"`)
			all[seq] = p
		}
	}
	return all
}

// waitFor waits until something holds.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Error("it does not come")
			return
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
}

// journald is a real one in a mount namespace of its own, with a /run of its own,
// which others see below /proc/PID/root.
const journaldScript = `set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
mount -t tmpfs tmpfs /var/log
if ! [ -s /etc/machine-id ]; then
	echo 0123456789abcdef0123456789abcdef >/run/machine-id
	[ -e /etc/machine-id ] || touch /etc/machine-id
	mount --bind /run/machine-id /etc/machine-id
fi
exec /lib/systemd/systemd-journald`

func TestJournald(t *testing.T) {
	needReceivers(t, "unshare", "nsenter", "journalctl", "/lib/systemd/systemd-journald")
	if os.Geteuid() != 0 {
		t.Skip("not root: a mount namespace needs it")
	}
	journald, _ := start(t, false, "unshare", "-m", "sh", "-c", journaldScript)
	pid := fmt.Sprint(journald.Process.Pid)
	socket := "/proc/" + pid + "/root/run/systemd/journal/socket"
	waitFor(t, func() bool {
		ns, err1 := os.Readlink("/proc/" + pid + "/ns/mnt")
		own, err2 := os.Readlink("/proc/self/ns/mnt")
		_, err3 := os.Stat(socket)
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		return err1 == nil && err2 == nil && err3 == nil && ns != own && strings.HasPrefix(string(name), "systemd-journal")
	})
	b := newBench(t)
	stop := run(b.output(NewJournal(socket), Selection{All: true}))
	putHostile(b)
	large := full("large").Event
	large.Seq, large.Time = 0, time.Now()
	for range 300 { // more than a datagram may have
		large.Errors = append(large.Errors, strings.Repeat("y", 4000))
	}
	b.put(large)
	b.sign()
	stop()
	var entries []map[string]any
	waitFor(t, func() bool {
		out, err := exec.Command("nsenter", "-t", pid, "-m", "journalctl", "-o", "json", "--all", "-t", "portaudit").Output()
		if err != nil {
			return false
		}
		entries = nil
		for line := range bytes.Lines(out) {
			var entry map[string]any
			if err := json.Unmarshal(line, &entry); err != nil {
				t.Fatal(err)
			}
			entries = append(entries, entry)
		}
		return len(entries) >= int(b.log.Seq())-1
	})
	if len(entries) != int(b.log.Seq())-1 {
		t.Fatalf("%d entries of %d", len(entries), b.log.Seq())
	}
	i := 0
	for r, err := range b.feed.records(1) {
		if err != nil {
			t.Fatal(err)
		}
		compareEntry(t, Message{Event: r.event, Hash: r.hash}, entries[i])
		i++
	}
	out, err := exec.Command("nsenter", "-t", pid, "-m", "journalctl", "-o", "cat", "MESSAGE_ID="+MessageIDs()[audit.FindingRaised]).Output()
	if n := bytes.Count(out, []byte("\n")); err != nil || n != int(b.log.Seq())-2 {
		t.Errorf("by MESSAGE_ID there are %d, %v", n, err)
	}
	for _, args := range [][]string{{"-o", "json"}, {"-o", "cat", "--output-fields=PORTAUDIT_CHECKPOINT"}} { // of docs/evidence.md
		out, err := exec.Command("nsenter", append([]string{"-t", pid, "-m", "journalctl", "-n", "1", "MESSAGE_ID=" + MessageIDs()[audit.LogCheckpoint]}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		b.verify(args[1], out)
	}
}

func compareEntry(t *testing.T, m Message, entry map[string]any) {
	want := entryFields(t, NewJournal("").encode(m))
	for name, value := range want {
		got := entry[name]
		if got == nil && len(value) > 0 {
			t.Errorf("record %d: journald has no %s", m.Event.Seq, name)
			continue
		}
		if got != value {
			t.Errorf("record %d: %s became %.200v, sent was %.200q", m.Event.Seq, name, got, value)
		}
	}
}
