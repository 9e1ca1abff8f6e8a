package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

func newStatus(s *settings) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Say whether the daemon works, since when, and what it cannot see",
		Long: `Status tells whether "portaudit run" works on this host, since when, under
which policy, when it audited last, how it finds sockets and their owners, and
what it cannot see. It reads the state of the daemon, and of the log what is
behind it, so that it answers at once however large the log is; "portaudit log
verify" checks the log. It changes nothing.

Exit codes: 0 the daemon works and sees everything, 1 it does not work or that
cannot be told, 2 wrong call, 3 it works, but something is wrong: it does not
see everything, its last audit failed, it refused a new policy and goes on
with the old one, or its state, or what was read of its log, is damaged.`,
		Example: `  sudo portaudit status
  sudo portaudit status --json | jq .coverage.gaps
  portaudit status --log-dir ./log --state-dir ./state`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			resolved, err := s.resolve()
			if err != nil {
				return usage(err)
			}
			st, err := readStatus(resolved)
			if err != nil {
				return failure(withRemedy(err, "--log-dir and --state-dir"))
			}
			if asJSON {
				err = printJSON(c.OutOrStdout(), st)
			} else {
				err = writeStatus(c.OutOrStdout(), screenOf(c.OutOrStdout()), st)
			}
			if err != nil {
				return failure(err)
			}
			return st.exit()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document (docs/json.md)")
	s.logFlag(c)
	s.stateFlag(c)
	return c
}

// status is what status --json prints.
type status struct {
	Schema    int             `json:"schema"`
	Host      string          `json:"host"`
	Time      time.Time       `json:"time"`
	Running   bool            `json:"running"`
	PID       *int            `json:"pid"`
	Program   string          `json:"program"`
	Started   *time.Time      `json:"started"`
	Stopped   bool            `json:"stopped"`
	Policy    *audit.Policy   `json:"policy"`
	LastAudit *time.Time      `json:"last_audit"`
	Failure   string          `json:"failure,omitempty"`
	Coverage  *audit.Coverage `json:"coverage"`
	Listeners int             `json:"listeners"`
	Findings  int             `json:"findings"`
	Changes   agent.Tally     `json:"changes"`
	Log       logStatus       `json:"log"`
	Problems  []string        `json:"problems"`
}

// logStatus is what there is of the log.
type logStatus struct {
	Directory string     `json:"directory"`
	Records   uint64     `json:"records"`
	Last      *time.Time `json:"last"`
}

// readStatus asks who holds the log, and reads what the agent left.
func readStatus(s settings) (status, error) {
	pid, running, err := audit.Holder(s.logDir)
	if err != nil {
		return status{}, err
	}
	left, err := agent.ReadStatus(s.logDir, s.stateDir)
	if err != nil {
		return status{}, err
	}
	st := status{
		Schema: 1, Host: audit.Visible(hostName()), Time: time.Now().UTC(), Running: running, Program: left.Version,
		Started: known(left.Started), Stopped: left.Stopped, Policy: left.Policy, LastAudit: known(left.LastAudit),
		Failure: left.Failure, Coverage: left.Coverage, Listeners: left.Listeners, Findings: left.Findings, Changes: left.Changes,
		Log:      logStatus{Directory: audit.Visible(s.logDir), Records: left.Records, Last: known(left.Recorded)},
		Problems: append([]string{}, left.Problems...),
	}
	if pid != 0 {
		st.PID = &pid
	}
	return st, nil
}

// known returns nil for a time that is not known, which JSON shows as null.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// exit returns the exit code that the status stands for.
func (s status) exit() error {
	switch {
	case !s.Running:
		return exitError{code: exitFailed}
	case s.Failure != "", len(s.Problems) > 0, s.Coverage == nil, !s.Coverage.Complete:
		return exitError{code: exitFindings}
	}
	return nil
}

// writeStatus prints the status for people.
func writeStatus(w io.Writer, s screen, st status) error {
	var b strings.Builder
	b.WriteString(s.wrap("", s.paint("bold", runningSentence(st))))
	if st.Policy != nil {
		b.WriteString(s.wrap("", fmt.Sprintf("Policy: %s (SHA-256 %.12s).", audit.Visible(st.Policy.Source), audit.Visible(st.Policy.SHA256))))
	}
	if st.LastAudit != nil {
		b.WriteString(s.wrap("", fmt.Sprintf("Last audit recorded: %s, with %s, %s.",
			local(*st.LastAudit), counted(st.Listeners, "listener"), counted(st.Findings, "finding"))))
	}
	if c := st.Changes; c.Told+c.Lost > 0 {
		b.WriteString(s.wrap("", changesSentence(c)))
	}
	if st.Log.Last != nil {
		b.WriteString(s.wrap("", fmt.Sprintf("Log: %s in %s, the last one at %s.",
			counted(int(st.Log.Records), "record"), st.Log.Directory, local(*st.Log.Last))))
	}
	if st.Failure != "" {
		b.WriteString(s.wrap("", s.paint("high", "Failing")+": "+sentence(st.Failure)))
	}
	for _, p := range st.Problems {
		b.WriteString(s.wrap("", s.paint("high", "Wrong")+": "+sentence(p)))
	}
	if st.Coverage != nil {
		writeCoverage(&b, s, *st.Coverage)
		writeSources(&b, s, *st.Coverage)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// changesSentence says what became of what the system told between audits.
func changesSentence(c agent.Tally) string {
	text := fmt.Sprintf("Between audits: %s heard of, %d lost; %s too brief for an audit", counted(int(c.Told), "change"), c.Lost, counted(int(c.Brief), "socket"))
	if c.Unsettled > 0 {
		text += fmt.Sprintf(", %d that the next one did not find", c.Unsettled)
	}
	return text + "."
}

// sentence ends a text with a full stop, unless it ends like a sentence: what is
// wrong with a policy may end with a question.
func sentence(text string) string {
	text = audit.Visible(text)
	if strings.HasSuffix(text, ".") || strings.HasSuffix(text, "?") {
		return text
	}
	return text + "."
}

// runningSentence says whether the daemon works, and what became of it if not.
func runningSentence(st status) string {
	program := "portaudit " + cmp.Or(audit.Visible(st.Program), "(unknown version)")
	switch {
	case st.Running && st.PID != nil && st.Started != nil:
		return fmt.Sprintf("%s works: process %d, since %s.", program, *st.PID, local(*st.Started))
	case st.Running:
		return "portaudit works, and has recorded nothing yet."
	case st.Log.Last == nil:
		return "portaudit does not work, and there is no log in " + st.Log.Directory + ": it never has, or has another --log-dir."
	case st.Stopped:
		return fmt.Sprintf("%s does not work: it was stopped at %s.", program, local(*st.Log.Last))
	default:
		return fmt.Sprintf("%s does not work: it ended without a word after %s.", program, local(*st.Log.Last))
	}
}

// local is how a time is told to people: on their own clock.
func local(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
