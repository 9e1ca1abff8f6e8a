package alert

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func someMetrics() Metrics {
	return Metrics{
		Version:   "v1.2.3",
		Listeners: map[ListenerKind]int{{"tcp", "allow"}: 12, {"tcp", "alert"}: 1, {"udp", "allow"}: 3},
		Findings:  map[FindingKind]int{{"hidden-port", "critical"}: 1, {"a\"b\\c\nd", "low"}: 2},
		Audits:    Durations{}.With(4 * time.Millisecond).With(5 * time.Millisecond).With(time.Minute),
		Failed:    7, LastAudit: time.UnixMilli(1795903292050), Complete: true, Records: 31, Waiting: 12, Signed: time.UnixMilli(1795903200000), Unlogged: true, LogLost: 12,
		Outputs: map[string]OutputCounts{"siem": {Delivered: 41, Failures: 3, Dropped: 2, Behind: 9}},
		Told:    310, Brief: 4, Unsettled: 1, Lost: 2,
	}
}

func TestWriteMetrics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portaudit.prom")
	tests := []struct {
		reason  string
		metrics Metrics
		has     []string // lines
		lacks   []string // parts of lines
	}{
		{"an agent that has not audited yet says nothing of an audit", Metrics{Version: "v1"},
			[]string{"portaudit_audit_duration_seconds_count 0", "portaudit_audit_failures_total 0", "portaudit_log_records_total 0", "portaudit_log_writable 1", "portaudit_log_lost_records_total 0"},
			[]string{"portaudit_audit_last_success", "portaudit_log_last_checkpoint", "portaudit_coverage", "portaudit_listeners", "portaudit_findings"}},
		{"all that there is, in the place of what was there", someMetrics(), []string{
			`portaudit_listeners{transport="tcp",verdict="alert"} 1`, `portaudit_listeners{transport="tcp",verdict="allow"} 12`,
			`portaudit_listeners{transport="udp",verdict="allow"} 3`, `portaudit_findings{rule="hidden-port",severity="critical"} 1`,
			"portaudit_audit_failures_total 7", "portaudit_audit_last_success_timestamp_seconds 1.79590329205e+09",
			"portaudit_coverage_complete 1", "portaudit_log_records_total 31", "portaudit_log_waiting_records 12", "portaudit_log_last_checkpoint_timestamp_seconds 1.7959032e+09", "portaudit_log_writable 0", "portaudit_log_lost_records_total 12", "portaudit_changes_told_total 310",
			`portaudit_output_messages_delivered_total{output="siem"} 41`, `portaudit_output_failures_total{output="siem"} 3`,
			`portaudit_output_records_dropped_total{output="siem"} 2`, `portaudit_output_behind_records{output="siem"} 9`,
			"portaudit_changes_brief_total 4", "portaudit_changes_unsettled_total 1", "portaudit_changes_lost_total 2",
		}, []string{"portaudit_log_records_total 0"}},
		{"buckets hold all that took less, and the last one all", someMetrics(), []string{
			`portaudit_audit_duration_seconds_bucket{le="0.0025"} 0`, `portaudit_audit_duration_seconds_bucket{le="0.005"} 2`,
			`portaudit_audit_duration_seconds_bucket{le="10"} 2`, `portaudit_audit_duration_seconds_bucket{le="+Inf"} 3`,
			"portaudit_audit_duration_seconds_sum 60.009", "portaudit_audit_duration_seconds_count 3",
		}, nil},
		{"a rule of any name stays one line", someMetrics(), []string{`portaudit_findings{rule="a\"b\\c\nd",severity="low"} 2`}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			if err := WriteMetrics(path, tt.metrics); err != nil {
				t.Fatal(err)
			}
			text := read(t, path)
			lines := strings.Split(text, "\n")
			for _, line := range tt.has {
				if !slices.Contains(lines, line) {
					t.Errorf("no line is %s:\n%s", line, text)
				}
			}
			for _, part := range tt.lacks {
				if strings.Contains(text, part) {
					t.Errorf("it has %s:\n%s", part, text)
				}
			}
			lint(t, text)
		})
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o444 != 0o444 {
		t.Errorf("mode %v, %v: node-exporter could not read it", info.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("beside it there are %v, %v", entries, err)
	}
}

func TestWriteMetricsFails(t *testing.T) {
	tests := []struct {
		reason, path string
		metrics      Metrics
		want         string
	}{
		{"the directory is not there", filepath.Join(t.TempDir(), "none", "a.prom"), Metrics{}, "none"},
		{"a text that the format cannot hold", filepath.Join(t.TempDir(), "a.prom"),
			Metrics{Findings: map[FindingKind]int{{"\xff", "low"}: 1}}, "UTF-8"},
	}
	for _, tt := range tests {
		err := WriteMetrics(tt.path, tt.metrics)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error about %s", tt.reason, err, tt.want)
		}
		if _, err := os.Stat(tt.path); err == nil {
			t.Errorf("%s: there is a file nevertheless", tt.reason)
		}
	}
}

// TestMetricsAreDocumented holds the table and the output of docs/metrics.md
// against what is written.
func TestMetricsAreDocumented(t *testing.T) {
	page := read(t, filepath.Join("..", "..", "docs", "metrics.md"))
	path := filepath.Join(t.TempDir(), "portaudit.prom")
	if err := WriteMetrics(path, someMetrics()); err != nil {
		t.Fatal(err)
	}
	types := func(text, pattern string) []string {
		var all []string
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			all = append(all, m[1]+" "+m[2])
		}
		return slices.Sorted(slices.Values(all))
	}
	const written = `(?m)^# TYPE (\S+) (\S+)$`
	want := types(read(t, path), written)
	if len(want) != 20 {
		t.Errorf("%d metrics: %q", len(want), want)
	}
	if got := types(page, "(?m)^\\| `(portaudit_\\w+)[^`]*` \\| (\\w+) \\|"); !slices.Equal(got, want) {
		t.Errorf("the table has\n%q, written are\n%q", got, want)
	}
	_, example, _ := strings.Cut(page, "```prometheus\n")
	example, _, _ = strings.Cut(example, "```")
	if got := types(example, written); !slices.Equal(got, want) {
		t.Errorf("the example has\n%q, written are\n%q", got, want)
	}
	lint(t, example)
}

// lint holds a text to Prometheus' conventions.
func lint(t *testing.T, text string) {
	t.Helper()
	problems, err := promlint.New(bytes.NewReader([]byte(text))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%+v, %v", problems, err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// BenchmarkWriteMetrics is what each write costs, the disk among it.
func BenchmarkWriteMetrics(b *testing.B) {
	path := filepath.Join(b.TempDir(), "portaudit.prom")
	m := someMetrics()
	b.ReportAllocs()
	for b.Loop() {
		if err := WriteMetrics(path, m); err != nil {
			b.Fatal(err)
		}
	}
}
