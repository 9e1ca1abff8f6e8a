package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/configs"
	"github.com/portaudit/portaudit/policy"
)

func newPolicy(s *settings) *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Learn a policy, check and test it, and try it on the past",
		Long: `The policy says which listeners belong on this host and which do not. It is a
YAML file; docs/policy.md tells how to write one.`,
		Args: knownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newCheck(s), newTest(s), newExplainPolicy(s), newFormat(s), newLearn(s), newReplay(s), newPolicySchema())
	return c
}

func newCheck(s *settings) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Show every mistake of a policy, and what is odd about it",
		Long: `Check reads a policy and shows all mistakes at once, each with its place. A
policy without any is looked at for rules that decide nothing: that can never
match, that an earlier allowance always comes before, or that allow
everything.

Without FILE it checks the policy that "portaudit run" would use. A file that
others than root and its user can change is a warning; the daemon refuses it.

Exit codes: 0 no mistake, warnings or not; 1 the output could not be written;
2 mistakes, a file that cannot be read, or a wrong call.`,
		Example: `  portaudit policy check /etc/portaudit/policy.yaml
  portaudit policy check --json policy.yaml | jq .warnings`,
		Args: atMostOneArgument("the file of a policy"),
		RunE: func(c *cobra.Command, args []string) error {
			resolved, err := s.resolve()
			if err != nil {
				return usage(err)
			}
			path := resolved.policy
			if len(args) > 0 {
				path = args[0]
			}
			distrust := []remark{}
			warn := func(err error) {
				distrust = append(distrust, remark{Message: audit.Visible("portaudit run would refuse it: " + err.Error())})
			}
			name, text, err := readPolicy(path, warn)
			if err != nil {
				return usage(err)
			}
			r, texts := checkPolicy(name, text, policyFiles(warn))
			r.Warnings = append(distrust, r.Warnings...)
			if asJSON {
				err = printJSON(c.OutOrStdout(), r)
			} else {
				err = writeCheck(c.OutOrStdout(), screenOf(c.OutOrStdout()), r, texts)
			}
			if err == nil && !r.Valid {
				return exitError{code: exitUsage}
			}
			return failure(err)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document (docs/json.md)")
	s.policyFlag(c)
	return c
}

func newPolicySchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema of the policy language, for editors",
		Long: `Schema prints a JSON Schema by which editors complete and check a policy while
it is written. A first line such as this one in a policy tells them of it:

  # yaml-language-server: $schema=policy.schema.json

"portaudit policy check" finds more mistakes than any schema can.`,
		Example: `  portaudit policy schema > policy.schema.json`,
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			text, err := policy.Schema()
			if err != nil {
				return failure(err)
			}
			_, err = c.OutOrStdout().Write(append(text, '\n'))
			return failure(err)
		},
	}
}

// readPolicy returns the text of a policy file, and what errors call it; of the
// embedded one if there is no path. That others can change it goes to warn.
func readPolicy(path string, warn func(error)) (name string, text []byte, err error) {
	if path == "" {
		return builtInPolicy, configs.Policy(), nil
	}
	if text, err = readAnyway(path, warn); err != nil {
		return "", nil, fmt.Errorf("policy: %w", err)
	}
	return path, text, nil
}

// checked is what policy check --json prints.
type checked struct {
	Schema   int      `json:"schema"`
	Policy   string   `json:"policy"`
	Valid    bool     `json:"valid"`
	Rules    *int     `json:"rules"`
	Mistakes []remark `json:"mistakes"`
	Warnings []remark `json:"warnings"`
}

// remark is what is said of one place of a policy.
type remark struct {
	File    string `json:"file,omitempty"` // where it is not the policy's own
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

func remarks(list policy.Errors, own string) []remark {
	all := make([]remark, len(list))
	for i, e := range list {
		all[i] = remark{Line: e.Line, Column: e.Column, Message: audit.Visible(e.Message)}
		if e.File != own {
			all[i].File = audit.Visible(e.File)
		}
	}
	return all
}

// checkPolicy compiles a policy, and returns what came of it and the texts of its
// files by name.
func checkPolicy(name string, text []byte, files policy.Files) (checked, map[string][]byte) {
	r := checked{Schema: 1, Policy: audit.Visible(name), Mistakes: []remark{}, Warnings: []remark{}}
	texts := map[string][]byte{r.Policy: text}
	read := files.Read
	files.Read = func(path string) ([]byte, error) {
		b, err := read(path)
		texts[audit.Visible(path)] = b
		return b, err
	}
	p, err := policy.Compile(text, name, files)
	var mistakes policy.Errors
	if errors.As(err, &mistakes) {
		r.Mistakes = remarks(mistakes, name)
		return r, texts
	}
	rules := p.Len()
	r.Valid, r.Rules, r.Warnings = true, &rules, remarks(p.Warnings(time.Now()), name)
	return r, texts
}

// writeCheck prints the result for people: each place in the form that editors
// know, with the line and a caret below it.
func writeCheck(w io.Writer, s screen, r checked, texts map[string][]byte) error {
	var b strings.Builder
	for _, m := range r.Mistakes {
		writeRemark(&b, s, r.Policy, "", m, texts)
	}
	for _, m := range r.Warnings {
		writeRemark(&b, s, r.Policy, s.paint("medium", "warning")+": ", m, texts)
	}
	switch {
	case !r.Valid:
		fmt.Fprintf(&b, "%s: %s.\n", r.Policy, s.paint("high", counted(len(r.Mistakes), "mistake")))
	case len(r.Warnings) > 0:
		fmt.Fprintf(&b, "%s: %s, no mistake, %s.\n", r.Policy, counted(*r.Rules, "rule"), counted(len(r.Warnings), "warning"))
	default:
		fmt.Fprintf(&b, "%s: %s, no mistake.\n", r.Policy, counted(*r.Rules, "rule"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeRemark(b *strings.Builder, s screen, file, kind string, m remark, texts map[string][]byte) {
	if m.File != "" {
		file = m.File
	}
	if m.Line == 0 {
		fmt.Fprintf(b, "%s: %s%s\n", file, kind, m.Message)
		return
	}
	fmt.Fprintf(b, "%s:%d:%d: %s%s\n", file, m.Line, m.Column, kind, m.Message)
	lines := strings.Split(string(texts[file]), "\n")
	if m.Line > len(lines) {
		return // at the end of the file
	}
	number := fmt.Sprintf("%5d", m.Line)
	excerpt, before := excerptOf(lines[m.Line-1], m.Column, textWidth-len(number)-len(" | "))
	fmt.Fprintf(b, "%s | %s\n%s | %s%s\n", number, excerpt, strings.Repeat(" ", len(number)), strings.Repeat(" ", before), s.paint("high", "^"))
}

// excerptOf returns the part of a line around a column, no wider than width, and
// how wide is what stands before the column in it.
func excerptOf(line string, column, width int) (excerpt string, before int) {
	runes := []rune(strings.TrimRight(strings.ReplaceAll(line, "\t", " "), "\r"))
	at := min(max(column-1, 0), len(runes))
	first := 0
	if runewidth.StringWidth(string(runes[:at])) >= width {
		first = max(0, at-width/2)
	}
	head, tail := audit.Visible(string(runes[first:at])), audit.Visible(string(runes[at:]))
	if first > 0 {
		head = "…" + head
	}
	if before = runewidth.StringWidth(head); before >= width { // of wide letters
		return "", 0
	}
	return head + runewidth.Truncate(tail, width-before, "…"), before
}
