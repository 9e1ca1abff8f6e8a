package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
)

// scanFlags are the flags of scan that no other command has.
type scanFlags struct {
	json, lines, verbose bool
	crossCheck, probe    bool
	failOn               string
}

func newScan(s *settings) *cobra.Command {
	var f scanFlags
	c := &cobra.Command{
		Use:   "scan",
		Short: "Audit this host once: every listener, its owner, and what is wrong",
		Long: `Scan lists every listening socket of this host with its owner, the service
that IANA registered for its port, and what the policy says of it. Below the
table stands one paragraph for each finding: what, why it matters, what to do.
With --verbose it says too from where each listener can be reached, how it was
looked for, and what this host does not have.

It changes nothing. Without root it works too, and says what it could not see.

Exit codes: 0 nothing found at the --fail-on level, 1 the audit itself failed,
2 wrong call or bad policy, 3 findings at the --fail-on level or above.`,
		Example: `  portaudit scan
  sudo portaudit scan --fail-on high
  sudo portaudit scan --verbose
  portaudit scan --json | jq '.findings[].message'
  portaudit scan --policy ./policy.yaml --jsonl`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return runScan(c, *s, f) },
	}
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON document (docs/json.md)")
	c.Flags().BoolVar(&f.lines, "jsonl", false, "print one JSON object a listener, one a line")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "say how it was looked for, and from where each can be reached")
	c.Flags().StringVar(&f.failOn, "fail-on", "", "exit with 3 on findings of this `SEVERITY` or above: low, medium, high, critical")
	c.Flags().BoolVar(&f.crossCheck, "cross-check", false, "compare the system's views, for hidden ports")
	c.Flags().BoolVar(&f.probe, "probe", false, "with --cross-check: try to bind every port, in every network namespace")
	s.policyFlag(c)
	s.stateFlag(c)
	s.dataFlag(c)
	s.overlayFlag(c)
	s.sourceFlag(c)
	s.hashFlag(c)
	return c
}

func runScan(c *cobra.Command, s settings, f scanFlags) error {
	level := policy.None
	if f.failOn != "" {
		var err error
		if level, err = policy.ParseSeverity(f.failOn); err != nil {
			return usage(err)
		}
	}
	if f.json && f.lines || f.verbose && (f.json || f.lines) {
		return see(c, "--json, --jsonl and --verbose are three forms of the same: give one of them (JSON has all that --verbose tells)")
	}
	if f.probe && !f.crossCheck {
		return usage(errors.New("--probe is a part of --cross-check: give both"))
	}
	began := time.Now()
	report, err := scan(c, s, f)
	if err != nil {
		return err
	}
	if err := printReport(c.OutOrStdout(), report, f, time.Since(began)); err != nil {
		return failure(err)
	}
	if level != policy.None && report.Worst() >= level {
		return exitError{code: exitFindings}
	}
	return nil
}

// scan makes one audit with the settings of the command line.
func scan(c *cobra.Command, s settings, f scanFlags) (agent.Report, error) {
	s, err := s.resolve()
	if err != nil {
		return agent.Report{}, usage(err)
	}
	o, sockets, err := scanOptions(s, true)
	if err != nil {
		return agent.Report{}, err
	}
	if f.crossCheck {
		o.CrossCheck = func(ctx context.Context) (listen.CrossReport, error) {
			return sockets.CrossCheck(ctx, listen.CrossOptions{Probe: f.probe})
		}
	}
	report, err := agent.Scan(c.Context(), o)
	return report, failure(errors.Join(err, sockets.Close()))
}

// scanOptions reads everything that an audit works with; the caller closes the
// Lister. once is that there will be no other.
func scanOptions(s settings, once bool) (o agent.ScanOptions, sockets *listen.Lister, err error) {
	if once {
		// The program ends before what it took is worth collecting: on a host with
		// ten thousand listeners the collector would take a fifth of the time to give
		// back 20 MB.
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(512 << 20) // from some sixty thousand listeners on
	}
	sockets, err = lister(s, once) // first: it goes on while the rest is read
	if err != nil {
		return o, nil, err
	}
	p, err := loadPolicy(s.policy)
	if err != nil {
		return o, nil, usage(errors.Join(err, sockets.Close()))
	}
	catalog, err := loadCatalog(s)
	if err != nil {
		return o, nil, usage(errors.Join(err, sockets.Close()))
	}
	return agent.ScanOptions{List: sockets.List, Catalog: catalog, Policy: p, Host: hostName(), StateDir: s.stateDir}, sockets, nil
}

// hostName returns the name of this host, "localhost" if it has none.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

func printReport(w io.Writer, r agent.Report, f scanFlags, took time.Duration) error {
	switch {
	case f.json:
		return printDocument(w, r)
	case f.lines:
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		for _, l := range r.Listeners {
			if err := encoder.Encode(l); err != nil {
				return err
			}
		}
		return nil
	case f.verbose:
		return writeVerbose(w, screenOf(w), r, took)
	default:
		return writeReport(w, screenOf(w), r)
	}
}

// printJSON prints a document for people and programs alike.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
