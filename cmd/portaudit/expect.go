package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
)

func newTest(s *settings) *cobra.Command {
	var asJSON, all bool
	c := &cobra.Command{
		Use:   "test [FILE...]",
		Short: "Hold a policy against what is expected of it",
		Long: `Test reads expectations: listeners as they might be, and what the policy is
expected to say of each. It tells which ones the policy does not fulfil, and
by which rules, and names the rules that no expectation matches. Nothing of
this host is looked at.

The expectations of policy.yaml lie beside it, in policy.test.yaml; without
FILE they are those of the policy that "portaudit run" would use. A FILE may
name its policy itself; --policy goes before that. docs/policy.md has the
format.

Exit codes: 0 all are fulfilled; 1 one is not, or the output could not be
written; 2 mistakes, a file that cannot be read, or a wrong call.`,
		Example: `  portaudit policy test
  portaudit policy test -v policy.test.yaml
  portaudit policy test --policy new.yaml policy.test.yaml`,
		RunE: func(c *cobra.Command, files []string) error {
			resolved, err := s.resolve()
			if err != nil {
				return usage(err)
			}
			if len(files) == 0 {
				if resolved.policy == "" {
					return usage(errors.New("no policy is installed, and the built-in one has no expectations: name a FILE with some"))
				}
				files = []string{testOf(resolved.policy)}
			}
			r, err := testPolicies(files, s.policy)
			if err != nil {
				return usage(err)
			}
			if asJSON {
				err = printJSON(c.OutOrStdout(), r)
			} else {
				err = writeTested(c.OutOrStdout(), screenOf(c.OutOrStdout()), r, all)
			}
			if err == nil && !r.Passed {
				return exitError{code: exitFailed}
			}
			return failure(err)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document (docs/json.md)")
	c.Flags().BoolVarP(&all, "verbose", "v", false, "list the expectations that are fulfilled, too")
	s.policyFlag(c)
	return c
}

const testSuffix = ".test"

// testOf returns the file with the expectations of a policy: policy.test.yaml
// of policy.yaml.
func testOf(path string) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + testSuffix + ext
}

// policyOf returns the policy that a file of expectations belongs to.
func policyOf(path, named, flag string) (string, error) {
	ext := filepath.Ext(path)
	base, ok := strings.CutSuffix(strings.TrimSuffix(path, ext), testSuffix)
	switch {
	case flag != "":
		return flag, nil
	case filepath.IsAbs(named):
		return named, nil
	case named != "":
		return filepath.Join(filepath.Dir(path), named), nil
	case !ok:
		return "", fmt.Errorf("which policy %s is for is not known: write \"policy: FILE\" into it, name it like policy.test.yaml, or use --policy", path)
	}
	return base + ext, nil
}

// tested is what policy test --json prints.
type tested struct {
	Schema       int                 `json:"schema"`
	Passed       bool                `json:"passed"`
	Expectations []testedExpectation `json:"expectations"`
	Coverage     []testedCoverage    `json:"coverage"`
}

// testedExpectation is one expectation and what became of it.
type testedExpectation struct {
	File   string        `json:"file"`
	Line   int           `json:"line"`
	Column int           `json:"column"`
	Name   string        `json:"name"`
	Policy string        `json:"policy"`
	Passed bool          `json:"passed"`
	Wanted testedOutcome `json:"wanted"`
	Came   testedOutcome `json:"came"`
	Steps  []agent.Step  `json:"steps,omitempty"`

	wanted, came string
}

// testedOutcome is what a policy says of a listener, or is expected to say.
type testedOutcome struct {
	Verdict  string           `json:"verdict"`
	Rule     string           `json:"rule"`
	Severity string           `json:"severity,omitempty"`
	Findings *[]testedFinding `json:"findings,omitempty"`
	Meets    *[]string        `json:"meets,omitempty"`
}

type testedFinding struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity,omitempty"`
}

// testedCoverage says which rules of a policy matched for some expectation.
type testedCoverage struct {
	Policy    string   `json:"policy"`
	Matched   []string `json:"matched"`
	Unmatched []string `json:"unmatched"`
}

// testPolicies runs the expectations of files, which may belong to several
// policies. Its error holds the mistakes of all files.
func testPolicies(files []string, flag string) (tested, error) {
	t := tested{Schema: 1, Passed: true, Expectations: []testedExpectation{}, Coverage: []testedCoverage{}}
	var errs []error
	now := time.Now()
	for _, file := range files {
		errs = append(errs, t.run(file, flag, now))
	}
	return t, errors.Join(errs...)
}

// run runs the expectations of one file.
func (t *tested) run(file, flag string, now time.Time) error {
	text, err := readFile(file)
	if err != nil {
		return fmt.Errorf("expectations: %w", err)
	}
	e, err := policy.ParseExpectations(text, file)
	if err != nil {
		return err
	}
	path, err := policyOf(file, e.Policy, flag)
	if err != nil {
		return err
	}
	p, err := loadPolicy(path)
	if err != nil {
		return err
	}
	results, coverage, err := policy.Run(p, e, now)
	if err != nil {
		return err
	}
	for _, r := range results {
		t.Passed = t.Passed && r.Passed
		one := testedExpectation{
			File: audit.Visible(file), Line: r.Line, Column: r.Column, Name: audit.Visible(r.Name), Policy: audit.Visible(path),
			Passed: r.Passed, Wanted: wantedOutcome(r.Expectation), Came: cameOutcome(r), wanted: r.Wanted(), came: r.Came(),
		}
		if !r.Passed {
			one.Steps = agent.Steps(p.Explain(r.Listener, r.At))
		}
		t.Expectations = append(t.Expectations, one)
	}
	t.cover(audit.Visible(path), coverage)
	return nil
}

// cover joins what the files of one policy cover.
func (t *tested) cover(path string, c policy.Coverage) {
	one := testedCoverage{Policy: path, Matched: nonNil(c.Matched), Unmatched: nonNil(c.Unmatched)}
	i := slices.IndexFunc(t.Coverage, func(c testedCoverage) bool { return c.Policy == path })
	if i < 0 {
		t.Coverage = append(t.Coverage, one)
		return
	}
	before := &t.Coverage[i]
	for _, id := range one.Matched {
		if at := slices.Index(before.Unmatched, id); at >= 0 {
			before.Unmatched = slices.Delete(before.Unmatched, at, at+1)
			before.Matched = append(before.Matched, id)
		}
	}
}

func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func wantedOutcome(e policy.Expectation) testedOutcome {
	o := testedOutcome{Verdict: e.Verdict.String(), Rule: e.Rule}
	if e.Severity != policy.None {
		o.Severity = e.Severity.String()
	}
	if e.Meets != nil {
		o.Meets = &e.Meets
	}
	if e.Some {
		o.Findings = &[]testedFinding{}
		for _, f := range e.Findings {
			one := testedFinding{Rule: f.Rule}
			if f.Severity != policy.None {
				one.Severity = f.Severity.String()
			}
			*o.Findings = append(*o.Findings, one)
		}
	}
	return o
}

func cameOutcome(r policy.Result) testedOutcome {
	d, met := r.Decision, nonNil(r.Met)
	o := testedOutcome{Verdict: d.Verdict.String(), Rule: d.Rule, Findings: &[]testedFinding{}, Meets: &met}
	if s := d.Severity(); s != policy.None {
		o.Severity = s.String()
	}
	for _, f := range d.Findings {
		*o.Findings = append(*o.Findings, testedFinding{f.Rule, f.Severity.String()})
	}
	return o
}

// writeTested prints the failures first, each with its place in the form that
// editors know.
func writeTested(w io.Writer, s screen, t tested, all bool) error {
	var b strings.Builder
	failed := 0
	for _, e := range t.Expectations {
		if e.Passed {
			continue
		}
		failed++
		fmt.Fprintf(&b, "%s:%d:%d: %s: %s\n", e.File, e.Line, e.Column, s.paint("high", "failed"), e.Name)
		b.WriteString("  wanted: " + e.wanted + "\n  came:   " + e.came + "\n")
		writeSteps(&b, s, e.Steps, func(step agent.Step) bool { return matched(step) || e.Wanted.names(step.Rule) }, "--json says of each why")
	}
	if all {
		for _, e := range t.Expectations {
			if e.Passed {
				fmt.Fprintf(&b, "%s:%d:%d: passed: %s\n", e.File, e.Line, e.Column, e.Name)
			}
		}
	}
	if failed > 0 {
		fmt.Fprintf(&b, "%s, %s.\n", counted(len(t.Expectations), "expectation"), s.paint("high", fmt.Sprintf("%d failed", failed)))
	} else {
		fmt.Fprintf(&b, "%s, all fulfilled.\n", counted(len(t.Expectations), "expectation"))
	}
	for _, c := range t.Coverage {
		text := fmt.Sprintf("Coverage of %s: %d of %s matched, the default included",
			c.Policy, len(c.Matched), counted(len(c.Matched)+len(c.Unmatched), "rule"))
		if len(c.Unmatched) > 0 {
			text += "; by no expectation: " + strings.Join(c.Unmatched, ", ")
		}
		b.WriteString(s.hang("", "  ", text+"."))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// names reports whether an outcome names a rule.
func (o testedOutcome) names(rule string) bool {
	return o.Rule == rule || o.Findings != nil && slices.ContainsFunc(*o.Findings, func(f testedFinding) bool { return f.Rule == rule })
}
