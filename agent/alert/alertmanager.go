package alert

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// The life of an alert in Alertmanager.
//
// Alertmanager keeps alerts in memory alone, and ends each at its endsAt, or if it
// has none, when it was not sent again for resolve_timeout (5 minutes). Neither
// suits a finding, which is raised once and holds until it is cleared: with the
// default a finding would end while it holds; with an endsAt far ahead alone it
// would be lost when Alertmanager starts anew; and an alert that is merely sent
// again and again ends when the agent is stopped, which is what an intruder would
// like. So both: each alert has an endsAt HoldAlerts ahead, and what holds is sent
// again every ResendAlerts with a new one. Who stops the agent ends no alert for a
// day; who starts Alertmanager anew has all back after a minute; what was raised is
// kept in a file, so that an agent that starts anew goes on. The end of a finding
// is its alert once more, with endsAt the time at which it was cleared.
const (
	// HoldAlerts is how long an alert holds that is not sent again.
	HoldAlerts = 24 * time.Hour
	// ResendAlerts is how often what holds is sent again.
	ResendAlerts = time.Minute
	// passingAlert is how long one holds that nothing ends, such as a summary.
	passingAlert = time.Hour
)

const (
	maxStanding  = 1000     // alerts that are sent again; the oldest of more are not
	alertsAtOnce = 64       // in one request, as Prometheus sends them
	maxLabel     = 256      // bytes of a label
	maxStandFile = 16 << 20 // bytes of the file
	alertsPath   = "/api/v2/alerts"
)

// amAlert is an alert as POST /api/v2/alerts takes it (alertmanager's
// api/v2/openapi.yaml, postableAlert). Its labels are what Alertmanager knows it by.
type amAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt,omitzero"`
}

// Alertmanager is a Sender that keeps an Alertmanager's alerts as the findings are.
type Alertmanager struct {
	post      *Webhook
	path      string
	now       func() time.Time
	standing  map[string]amAlert // what holds, by its key
	refreshed time.Time          // when it was last sent again
}

// NewAlertmanager returns a Sender to the Alertmanager that w posts to, of which the
// URL may be that of its page.
func NewAlertmanager(w *Webhook) *Alertmanager {
	if !strings.HasSuffix(w.url.Path, alertsPath) {
		w.url = w.url.JoinPath(alertsPath)
	}
	return &Alertmanager{post: w, now: time.Now, standing: map[string]amAlert{}}
}

// Recall implements Recaller: what holds is in the file.
func (a *Alertmanager) Recall(path string) (err error) {
	a.path = path
	if a.standing, err = readStanding(path); err != nil {
		return fmt.Errorf("alerts that held are not sent again: %w", err)
	}
	return nil
}

// readStanding reads the file of what holds. Of one that cannot be used, or is not
// there, nothing holds.
func readStanding(path string) (map[string]amAlert, error) {
	none := map[string]amAlert{}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	} else if err != nil {
		return none, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxStandFile+1))
	if err == nil && len(b) > maxStandFile {
		err = fmt.Errorf("it has more than %d bytes", maxStandFile)
	}
	standing := map[string]amAlert{}
	if err == nil {
		err = json.Unmarshal(b, &standing)
	}
	switch {
	case err != nil:
		return none, fmt.Errorf("%s: %w", path, err)
	case standing == nil: // "null"
		return none, nil
	}
	maps.DeleteFunc(standing, func(_ string, alert amAlert) bool { return alert.Labels["alertname"] == "" })
	return bounded(standing), nil
}

// Send implements Sender.
func (a *Alertmanager) Send(ctx context.Context, m Message) error {
	m, err := harmless(m)
	if err != nil {
		return err
	}
	alerts, after := a.step(m)
	if len(alerts) > 0 {
		if err := a.send(ctx, identity(m), m.Event.Seq, alerts); err != nil {
			return err
		}
	}
	if len(a.standing) == 0 {
		a.refreshed = a.now() // the first that holds was sent just now
	}
	return a.keep(after)
}

// Awaits implements Awaiter: the receiver waits for what ends an alert that it was
// sent, however many such ends there are and whatever is selected.
func (a *Alertmanager) Awaits(e audit.Event) bool {
	return slices.ContainsFunc(ends(e), func(key string) bool {
		_, stands := a.standing[key]
		return stands
	})
}

// Tend implements Tender: it sends again what holds, if it is time, at the start too.
func (a *Alertmanager) Tend(ctx context.Context) (again time.Duration, err error) {
	now := a.now()
	if len(a.standing) == 0 {
		return 0, nil
	}
	if passed := now.Sub(a.refreshed); passed >= 0 && passed < ResendAlerts {
		return ResendAlerts - passed, nil
	}
	a.refreshed = now // if it fails, too: the next time comes
	var alerts []amAlert
	for _, key := range slices.Sorted(maps.Keys(a.standing)) {
		alert := a.standing[key]
		alert.EndsAt = latest(alert.StartsAt, now).Add(HoldAlerts)
		alerts = append(alerts, alert)
	}
	for some := range slices.Chunk(alerts, alertsAtOnce) {
		if err := a.send(ctx, "refresh_"+strconv.FormatInt(now.UnixNano(), 36), 0, some); err != nil {
			return ResendAlerts, fmt.Errorf("alerts that hold were not sent again: %w", err)
		}
	}
	return ResendAlerts, nil
}

// Close implements Sender.
func (a *Alertmanager) Close() error { return a.post.Close() }

func (a *Alertmanager) send(ctx context.Context, id string, seq uint64, alerts []amAlert) error {
	body, err := marshal(alerts)
	if err != nil {
		return err
	}
	return a.post.post(ctx, delivery{id: id, seq: seq, body: body})
}

// step returns the alerts that a message makes, and what holds after it.
func (a *Alertmanager) step(m Message) ([]amAlert, map[string]amAlert) {
	e, key := m.Event, alertKey(m.Event)
	after := maps.Clone(a.standing)
	var alerts []amAlert
	end := func(key string) bool {
		alert, stands := after[key]
		if stands {
			alert.EndsAt = latest(alert.StartsAt, e.Time)
			alerts = append(alerts, alert)
			delete(after, key)
		}
		return stands
	}
	ended := false
	for _, key := range ends(e) {
		ended = end(key) || ended
	}
	switch {
	case starts(e):
		alert := alertOf(m)
		if before, ok := after[key]; ok && maps.Equal(before.Labels, alert.Labels) {
			alert.StartsAt = before.StartsAt
		} else {
			end(key) // of another severity since: an alert of its own
		}
		after[key] = alert
		alert.EndsAt = latest(alert.StartsAt, a.now()).Add(HoldAlerts)
		alerts = append(alerts, alert)
	case e.Event == audit.FindingCleared && !ended: // it was raised before this output was
		alert := alertOf(m)
		alert.EndsAt = alert.StartsAt
		alerts = append(alerts, alert)
	case passes(m):
		alert := alertOf(m)
		alert.EndsAt = latest(alert.StartsAt, e.Time).Add(passingAlert)
		alerts = append(alerts, alert)
	}
	return alerts, bounded(after)
}

// starts reports whether an event is the start of what another one ends.
func starts(e audit.Event) bool {
	switch e.Event {
	case audit.FindingRaised, audit.AuditFailed, audit.PolicyRejected, audit.LogDegraded, audit.LogDamaged:
		return true
	case audit.CoverageChanged:
		return e.Coverage != nil && !e.Coverage.Complete
	}
	return false
}

// passes reports whether a message is one that nothing ends. A summary of findings
// that were cleared is no alert.
func passes(m Message) bool {
	if s := m.Summary; s != nil {
		return s.Kinds[audit.FindingCleared] != s.Count
	}
	return m.Event.Event == audit.CrossFailed || m.Event.Event == audit.ChangesLost
}

// ends returns the keys of what an event ends.
func ends(e audit.Event) []string {
	switch e.Event {
	case audit.FindingCleared:
		return []string{alertKey(e)}
	case audit.PolicyLoaded:
		return []string{audit.PolicyRejected}
	case audit.LogRestored:
		return []string{audit.LogDegraded}
	case audit.CoverageChanged: // the first after audits that failed tells that one was made
		if starts(e) {
			return []string{audit.AuditFailed}
		}
		return []string{audit.AuditFailed, audit.CoverageChanged}
	case audit.AgentStarted: // it tells anew of what still holds
		return []string{audit.AuditFailed, audit.LogDegraded, audit.LogDamaged}
	}
	return nil
}

// bounded leaves out the oldest of too many.
func bounded(standing map[string]amAlert) map[string]amAlert {
	if len(standing) <= maxStanding {
		return standing
	}
	keys := slices.SortedFunc(maps.Keys(standing), func(x, y string) int {
		return cmp.Or(standing[x].StartsAt.Compare(standing[y].StartsAt), cmp.Compare(x, y))
	})
	for _, key := range keys[:len(keys)-maxStanding] {
		delete(standing, key)
	}
	return standing
}

// keep takes what holds over, and writes it down if it has changed. If it cannot,
// Send fails once: called again it finds that nothing has changed.
func (a *Alertmanager) keep(after map[string]amAlert) error {
	same := maps.EqualFunc(a.standing, after, func(x, y amAlert) bool {
		return x.StartsAt.Equal(y.StartsAt) && maps.Equal(x.Labels, y.Labels) && maps.Equal(x.Annotations, y.Annotations)
	})
	a.standing = after
	if same || a.path == "" {
		return nil
	}
	b, err := marshal(after)
	if err != nil {
		return err
	}
	return audit.WriteFile(a.path, b, 0o600)
}

// alertKey is what an alert is known by here: a finding by its id, what there is
// one of by its kind.
func alertKey(e audit.Event) string {
	if e.Event == audit.FindingRaised || e.Event == audit.FindingCleared {
		return "finding " + e.ID
	}
	return e.Event
}

// alertOf makes an alert of a message, without its end.
func alertOf(m Message) amAlert {
	e := m.Event
	labels := map[string]string{
		"alertname": alertName(e.Event), "instance": e.Host, "severity": cmp.Or(e.Severity, severityOf(m.Priority())),
		"rule": e.Rule, "finding": e.ID, "transport": e.Transport, "namespace": e.Namespace,
	}
	if e.Port != 0 {
		labels["port"] = strconv.FormatUint(uint64(e.Port), 10)
	}
	if r := e.Registry; r != nil && len(r.Names) > 0 {
		labels["service"] = r.Names[0]
	}
	annotations := map[string]string{
		"summary": audit.Clip(e.Message, maxText), "description": e.Why, "fix": e.Fix, "address": e.Address,
		"program": audit.Clip(programs(e.Owners), maxText), "user": audit.Clip(users(e.Owners), maxText),
		"tags": strings.Join(e.Tags, ", "), "errors": audit.Clip(strings.Join(e.Errors, "; "), maxText),
	}
	if e.Seq != 0 {
		annotations["record"] = strconv.FormatUint(e.Seq, 10)
	}
	started := e.Time
	if s := m.Summary; s != nil {
		annotations["count"] = strconv.FormatUint(s.Count, 10)
		started = s.First
	}
	// Alertmanager takes a label or annotation without a value for none.
	none := func(_, value string) bool { return value == "" }
	maps.DeleteFunc(labels, none)
	maps.DeleteFunc(annotations, none)
	for name, value := range labels {
		labels[name] = audit.Clip(value, maxLabel)
	}
	return amAlert{Labels: labels, Annotations: annotations, StartsAt: started.UTC()}
}

// alertName is the alertname of each kind of event.
func alertName(kind string) string {
	switch kind {
	case audit.FindingRaised, audit.FindingCleared:
		return "PortauditFinding"
	case Summarized:
		return "PortauditSummary"
	case audit.AuditFailed:
		return "PortauditAuditFailed"
	case audit.PolicyRejected:
		return "PortauditPolicyRejected"
	case audit.CrossFailed:
		return "PortauditCrossCheckFailed"
	case audit.ChangesLost:
		return "PortauditChangesLost"
	case audit.CoverageChanged:
		return "PortauditCoverage"
	case audit.LogDegraded:
		return "PortauditLogDegraded"
	case audit.LogDamaged:
		return "PortauditLogDamaged"
	default:
		return "Portaudit"
	}
}

// severityOf is the severity of what has none of its own, in the words of findings.
func severityOf(p Priority) string {
	switch p {
	case Critical:
		return "critical"
	case Failure:
		return "high"
	case Warning:
		return "medium"
	default:
		return "low"
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b.UTC()
}
