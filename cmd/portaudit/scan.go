package main

import (
	"encoding/json"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
)

func newScan(s *settings) *cobra.Command {
	var asJSON, asLines bool
	var failOn string
	c := &cobra.Command{
		Use:   "scan",
		Short: "Audit this host once: every listener, its owner, and what is wrong",
		Long: `Scan lists every listening socket of this host with its owner, the service
that IANA registered for its port, and what the policy says of it. Below the
table stands one paragraph for each finding: what, why it matters, what to do.

It changes nothing. Without root it works too, and says what it could not see.

Exit codes: 0 nothing found at the --fail-on level, 1 the audit itself failed,
2 wrong call or bad policy, 3 findings at the --fail-on level or above.`,
		Example: `  portaudit scan
  sudo portaudit scan --fail-on high
  portaudit scan --json | jq '.findings[].message'
  portaudit scan --policy ./policy.yaml --jsonl`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			level := policy.None
			if failOn != "" {
				var err error
				if level, err = policy.ParseSeverity(failOn); err != nil {
					return usage(err)
				}
			}
			report, err := scan(c, *s)
			if err != nil {
				return err
			}
			if err := printReport(c.OutOrStdout(), report, asJSON, asLines); err != nil {
				return failure(err)
			}
			if level != policy.None && report.Worst() >= level {
				return exitError{code: exitFindings}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document (docs/json.md)")
	c.Flags().BoolVar(&asLines, "jsonl", false, "print one JSON object a listener, one a line")
	c.Flags().StringVar(&failOn, "fail-on", "", "exit with 3 on findings of this `SEVERITY` or above: low, medium, high, critical")
	c.MarkFlagsMutuallyExclusive("json", "jsonl")
	s.policyFlag(c)
	s.stateFlag(c)
	s.dataFlag(c)
	s.overlayFlag(c)
	return c
}

// scan makes one audit with the settings of the command line.
func scan(c *cobra.Command, s settings) (agent.Report, error) {
	o, err := scanOptions(s)
	if err != nil {
		return agent.Report{}, usage(err)
	}
	report, err := agent.Scan(c.Context(), o)
	return report, failure(err)
}

// scanOptions reads everything that one audit works with.
func scanOptions(s settings) (agent.ScanOptions, error) {
	s, err := s.resolve()
	if err != nil {
		return agent.ScanOptions{}, err
	}
	p, err := loadPolicy(s.policy)
	if err != nil {
		return agent.ScanOptions{}, err
	}
	catalog, err := loadCatalog(s)
	if err != nil {
		return agent.ScanOptions{}, err
	}
	return agent.ScanOptions{List: listen.List, Catalog: catalog, Policy: p, Host: hostName(), StateDir: s.stateDir}, nil
}

// hostName returns the name of this host, "localhost" if it has none.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

func printReport(w io.Writer, r agent.Report, asJSON, asLines bool) error {
	switch {
	case asJSON:
		return printJSON(w, r)
	case asLines:
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		for _, l := range r.Listeners {
			if err := encoder.Encode(l); err != nil {
				return err
			}
		}
		return nil
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
