package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// needReceiver returns where a program is that receives what portaudit tells: one
// that others have written, as Debian ships it.
func needReceiver(t *testing.T, program string) string {
	t.Helper()
	if os.Getenv("PORTAUDIT_TEST_RECEIVERS") == "" {
		t.Skip("starts programs that Debian ships: set PORTAUDIT_TEST_RECEIVERS=1")
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("install the package %s: %v", program, err)
	}
	return path
}

// freePort returns a port of the loopback address on which nobody listens.
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

// startProgram runs a program until the end of the test, or of stop. What it says
// is told if the test fails.
func startProgram(t *testing.T, path string, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		_ = cmd.Wait() // that it was interrupted
		out.Close()
		if b, err := os.ReadFile(out.Name()); t.Failed() && err == nil {
			t.Logf("%s said:\n%s", filepath.Base(path), b)
		}
	}
	t.Cleanup(stop)
	return stop
}

// get returns what a server of this host answers.
func get(t *testing.T, url string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, b)
	}
	return string(b), err
}

// eventually asks until it is told yes, and for what it was told last otherwise.
func eventually(t *testing.T, what string, patience time.Duration, ask func() (bool, string)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		yes, told := ask()
		if yes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v it is not so that %s; last:\n%s", patience, what, told)
		}
	}
}

// alertShown is an alert as Alertmanager shows it.
type alertShown struct {
	Labels, Annotations map[string]string
	StartsAt, EndsAt    time.Time
	Status              struct{ State string }
}

// TestAlertmanagerReceives lets Alertmanager show an alert and its end, over a
// restart of either side.
func TestAlertmanagerReceives(t *testing.T) {
	program := needReceiver(t, "prometheus-alertmanager")
	dir := t.TempDir()
	address := "127.0.0.1:" + freePort(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	notices := make(chan string, 1000) // what Alertmanager tells people
	people := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var told struct{ Alerts []struct{ Status string } }
		if err := json.NewDecoder(r.Body).Decode(&told); err != nil {
			t.Error(err)
		}
		for _, a := range told.Alerts {
			notices <- a.Status
		}
	}))
	defer people.Close()
	// With a resolve_timeout of a second, an alert without an end would be gone before it is looked at.
	config := write("alertmanager.yml", "global: {resolve_timeout: 1s}\nroute: {receiver: people, group_wait: 1s, group_interval: 1s}\n"+
		"receivers: [{name: people, webhook_configs: [{url: '"+people.URL+"', send_resolved: true}]}]\n")
	alertmanager := func(storage string) func() {
		return startProgram(t, program, "--config.file="+config, "--storage.path="+filepath.Join(dir, storage),
			"--web.listen-address="+address, "--cluster.listen-address=", "--log.level=warn")
	}
	shown := func() ([]alertShown, string) {
		text, err := get(t, "http://"+address+"/api/v2/alerts?filter=alertname%3DPortauditFinding")
		if err != nil {
			return nil, err.Error()
		}
		var alerts []alertShown
		if err := json.Unmarshal([]byte(text), &alerts); err != nil {
			t.Fatal(err)
		}
		return alerts, text
	}
	stopAlertmanager := alertmanager("first")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	policy := write("policy.yaml", "version: 1\ndefault: allow\nrules:\n  - {id: own, verdict: alert, severity: high, match: {port: "+port+"}, why: 'a \"quoted\" reason', fix: Stop it.}\n")
	settings := write("portaudit.yaml", "outputs:\n  - {type: webhook, format: alertmanager, url: 'http://"+address+"'}\n")
	portaudit := func() func() {
		return startProgram(t, theProgram(t), "run", "--config", settings, "--policy", policy, "--interval", "1s", "--gone", "1",
			"--log-dir", filepath.Join(dir, "log"), "--state-dir", filepath.Join(dir, "state"))
	}
	stopPortaudit := portaudit()
	var first alertShown
	isThere := func() (bool, string) {
		alerts, text := shown()
		if len(alerts) != 1 || alerts[0].Labels["port"] != port {
			return false, text
		}
		first = alerts[0]
		return first.Status.State == "active", text
	}
	eventually(t, "the finding is an active alert", 30*time.Second, isThere)
	a := first
	if a.Labels["rule"] != "own" || a.Labels["severity"] != "high" || a.Labels["transport"] != "tcp" || a.Labels["instance"] != hostName() || a.Labels["finding"] == "" ||
		a.Annotations["description"] != `a "quoted" reason` || a.Annotations["fix"] != "Stop it." || !strings.Contains(a.Annotations["summary"], port) {
		t.Errorf("it is %+v", a)
	}
	if left := time.Until(a.EndsAt); left < 23*time.Hour {
		t.Errorf("it holds for %v", left)
	}
	if amtool, err := exec.LookPath("amtool"); err == nil {
		out, err := exec.CommandContext(t.Context(), amtool, "--alertmanager.url=http://"+address, "alert", "query", "rule=own").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PortauditFinding") {
			t.Errorf("amtool says %v:\n%s", err, out)
		}
	}

	// A new Alertmanager, which knows nothing, is told again within a minute, and a
	// daemon that starts tells at once.
	stopAlertmanager()
	stopAlertmanager = alertmanager("second")
	eventually(t, "a new Alertmanager has the alert", 90*time.Second, isThere)
	if !first.StartsAt.Equal(a.StartsAt) {
		t.Errorf("it began at %v, and now at %v", a.StartsAt, first.StartsAt)
	}
	stopPortaudit()
	stopAlertmanager()
	alertmanager("third")
	portaudit()
	eventually(t, "a daemon that starts tells what holds", 30*time.Second, isThere)

	l.Close()
	eventually(t, "the alert has ended", 30*time.Second, func() (bool, string) {
		alerts, text := shown()
		return strings.HasPrefix(text, "[") && len(alerts) == 0, text
	})
	var told []string
	eventually(t, "people are told that it has", 30*time.Second, func() (bool, string) {
		for len(notices) > 0 {
			told = append(told, <-notices)
		}
		return slices.Contains(told, "resolved"), strings.Join(told, " ")
	})
	if told[0] != "firing" || slices.Index(told, "resolved") != len(told)-1 {
		t.Errorf("people are told %q", told)
	}
}

// TestNodeExporterReads lets node-exporter serve the metrics that a daemon wrote.
func TestNodeExporterReads(t *testing.T) {
	program := needReceiver(t, "prometheus-node-exporter")
	dir := t.TempDir()
	metrics := filepath.Join(dir, "textfile")
	if err := os.Mkdir(metrics, 0o755); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none.yaml")
	if err := os.WriteFile(none, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(metrics, "portaudit.prom")
	startProgram(t, theProgram(t), "run", "--config", none, "--interval", "1s", "--metrics", path,
		"--log-dir", filepath.Join(dir, "log"), "--state-dir", filepath.Join(dir, "state"))
	waitForFile(t, path)
	address := "127.0.0.1:" + freePort(t)
	startProgram(t, program, "--collector.disable-defaults", "--collector.textfile", "--collector.textfile.directory="+metrics,
		"--web.listen-address="+address, "--log.level=warn")
	eventually(t, "every metric of the file is served, and no error", 30*time.Second, func() (bool, string) {
		text, err := get(t, "http://"+address+"/metrics")
		if err != nil {
			return false, err.Error()
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return false, err.Error()
		}
		for line := range strings.Lines(string(b)) {
			if help := strings.HasPrefix(line, "# TYPE portaudit_"); help && !strings.Contains(text, line) {
				return false, line + "\n" + text
			}
		}
		return strings.Contains(text, "\nnode_textfile_scrape_error 0\n") && strings.Contains(text, "\nportaudit_log_records_total ") &&
			strings.Contains(text, `node_textfile_mtime_seconds{file="`), text
	})
}

// theProgram returns the program under test: this one, which testscript lets be
// called by its name.
func theProgram(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("portaudit")
	if err != nil {
		t.Fatal(err)
	}
	return path
}
