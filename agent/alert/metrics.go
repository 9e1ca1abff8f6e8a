package alert

import (
	"io"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/portaudit/portaudit/agent/audit"
)

// Metrics is what an agent tells of itself in numbers, at one moment. Its maps
// are not changed once it is handed on.
type Metrics struct {
	Version   string // of the program
	Listeners map[ListenerKind]int
	Findings  map[FindingKind]int
	Audits    Durations // that worked, since the agent started
	Failed    uint64    // audits, since the agent started
	LastAudit time.Time // that worked; the zero time: none yet
	Complete  bool      // whether that one could see everything
	Records   uint64    // of the log
	Unlogged  bool      // whether that cannot be written
	LogLost   uint64    // records that it does not have, since the agent started
	Waiting   int       // records that wait until it can
	Signed    time.Time // of its last checkpoint; the zero time: none since the agent started

	Outputs map[string]OutputCounts // of alerts, by name

	// What became of changes that were told of between audits, since the state was
	// begun: agent.Tally says what each is.
	Told, Brief, Unsettled, Lost uint64
}

// ListenerKind is by what listeners are counted.
type ListenerKind struct{ Transport, Verdict string }

// FindingKind is by what findings are counted.
type FindingKind struct{ Rule, Severity string }

// Durations counts durations by how long they are.
type Durations struct {
	Count  uint64
	Sum    time.Duration
	Within [bounds]uint64 // by durationBounds: this bound or less, and more than the bound before
}

const bounds = 13

// durationBounds go from an audit that finds all as it was to one of a host with
// ten thousand listeners on a slow disk.
func durationBounds() [bounds]time.Duration {
	return [bounds]time.Duration{
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
		10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
	}
}

// With returns the counts with one more.
func (d Durations) With(took time.Duration) Durations {
	d.Count++
	d.Sum += took
	for i, bound := range durationBounds() {
		if took <= bound {
			d.Within[i]++
			break
		}
	}
	return d
}

// WriteMetrics replaces the file at path by one with the metrics, in the text
// format of Prometheus, that every user may read: node-exporter's textfile
// collector runs as one of its own. No moment shows half a file.
//
// prometheus.WriteToTextfile does the same, but sets the mode by name: in a
// directory of another user, as node-exporter's often is, root would give it to
// whatever that user had put there meanwhile.
func WriteMetrics(path string, m Metrics) error {
	registry := prometheus.NewRegistry()
	if err := registry.Register(collector{m}); err != nil {
		return err
	}
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	return audit.WriteFileBy(path, 0o644, func(w io.Writer) error {
		for _, f := range families {
			if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
				return err
			}
		}
		return nil
	})
}

// collector makes Prometheus' metrics of ours. It describes none before, since
// which there are depends on what was counted.
type collector struct{ m Metrics }

func (collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(to chan<- prometheus.Metric) {
	m := c.m
	send := func(kind prometheus.ValueType, name, help string, value float64) {
		to <- metric(prometheus.NewDesc(name, help, nil, nil), kind, value)
	}
	c.collectKinds(to)
	c.collectOutputs(to)
	to <- c.durations()
	send(prometheus.CounterValue, "portaudit_audit_failures_total", "Audits that could not be made, since the agent started.", float64(m.Failed))
	if !m.LastAudit.IsZero() {
		send(prometheus.GaugeValue, "portaudit_audit_last_success_timestamp_seconds", "Time of the last audit that worked.", float64(m.LastAudit.UnixMilli())/1000)
		send(prometheus.GaugeValue, "portaudit_coverage_complete", "Whether the last audit could see everything.", zeroOne(m.Complete))
	}
	send(prometheus.CounterValue, "portaudit_log_records_total", "Records of the audit log: the sequence number of the last one.", float64(m.Records))
	writable := 1.0
	if m.Unlogged {
		writable = 0
	}
	send(prometheus.GaugeValue, "portaudit_log_writable", "Whether the audit log can be written.", writable)
	send(prometheus.CounterValue, "portaudit_log_lost_records_total", "Records that were lost while the audit log could not be written, since the agent started.", float64(m.LogLost))
	send(prometheus.GaugeValue, "portaudit_log_waiting_records", "Records that wait until the audit log can be written.", float64(m.Waiting))
	if !m.Signed.IsZero() {
		send(prometheus.GaugeValue, "portaudit_log_last_checkpoint_timestamp_seconds", "Time of the last signed checkpoint of the audit log.", float64(m.Signed.UnixMilli())/1000)
	}
	send(prometheus.CounterValue, "portaudit_changes_told_total", "Sockets that opened or closed between audits, as they were told of.", float64(m.Told))
	send(prometheus.CounterValue, "portaudit_changes_brief_total", "Sockets that opened and closed between two audits.", float64(m.Brief))
	send(prometheus.CounterValue, "portaudit_changes_unsettled_total", "Sockets that opened, as was told, and that the audit after did not see.", float64(m.Unsettled))
	send(prometheus.CounterValue, "portaudit_changes_lost_total", "Changes that were lost before they could be read.", float64(m.Lost))
}

// collectOutputs sends what became of alerts.
func (c collector) collectOutputs(to chan<- prometheus.Metric) {
	labels := []string{"output"}
	delivered := prometheus.NewDesc("portaudit_output_messages_delivered_total", "Alerts, records and summaries that an output delivered, since the agent started.", labels, nil)
	failures := prometheus.NewDesc("portaudit_output_failures_total", "Tries of an output to deliver that failed, since the agent started.", labels, nil)
	dropped := prometheus.NewDesc("portaudit_output_records_dropped_total", "Records that an output did not deliver because they were refused or gone, since the agent started.", labels, nil)
	behind := prometheus.NewDesc("portaudit_output_behind_records", "Records that wait for an output.", labels, nil)
	for name, n := range c.m.Outputs {
		to <- metric(delivered, prometheus.CounterValue, float64(n.Delivered), name)
		to <- metric(failures, prometheus.CounterValue, float64(n.Failures), name)
		to <- metric(dropped, prometheus.CounterValue, float64(n.Dropped), name)
		to <- metric(behind, prometheus.GaugeValue, float64(n.Behind), name)
	}
}

// collectKinds sends what has labels.
func (c collector) collectKinds(to chan<- prometheus.Metric) {
	build := prometheus.NewDesc("portaudit_build_info", "The program, by the versions of it and of Go; always 1.", []string{"version", "goversion"}, nil)
	to <- metric(build, prometheus.GaugeValue, 1, c.m.Version, runtime.Version())
	listeners := prometheus.NewDesc("portaudit_listeners", "Listeners that were reported and not closed.", []string{"transport", "verdict"}, nil)
	for kind, n := range c.m.Listeners {
		to <- metric(listeners, prometheus.GaugeValue, float64(n), kind.Transport, kind.Verdict)
	}
	findings := prometheus.NewDesc("portaudit_findings", "Findings that were raised and not cleared.", []string{"rule", "severity"}, nil)
	for kind, n := range c.m.Findings {
		to <- metric(findings, prometheus.GaugeValue, float64(n), kind.Rule, kind.Severity)
	}
}

func (c collector) durations() prometheus.Metric {
	desc := prometheus.NewDesc("portaudit_audit_duration_seconds", "How long the audits that worked took, since the agent started.", nil, nil)
	buckets, sum := make(map[float64]uint64, bounds), uint64(0)
	for i, bound := range durationBounds() {
		sum += c.m.Audits.Within[i] // Prometheus wants them cumulated
		buckets[bound.Seconds()] = sum
	}
	made, err := prometheus.NewConstHistogram(desc, c.m.Audits.Count, c.m.Audits.Sum.Seconds(), buckets)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return made
}

// metric makes one value; if it cannot be made, Gather says so.
func metric(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) prometheus.Metric {
	made, err := prometheus.NewConstMetric(desc, kind, value, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return made
}

func zeroOne(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
