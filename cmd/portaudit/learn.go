package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
)

// learnFlags are the flags of policy learn that no other command has.
type learnFlags struct {
	watch, since string // durations
	output       string
	force, all   bool
}

func newLearn(s *settings) *cobra.Command {
	var f learnFlags
	c := &cobra.Command{
		Use:   "learn",
		Short: "Write a policy that allows what is there, and nothing else",
		Long: `Learn looks at this host, or at its audit log, and writes a policy that allows
exactly what it saw: transport, port, scope, network namespace, program,
account and unit or service. Ports that the system gave out are allowed to the
program that was given them, by range. Each rule says when and how often it
was seen.

What the built-in policy finds high or critical is written as a comment with
the finding, for somebody to look at, unless --all. Listeners whose owners
could not be seen, and programs without a file, are not allowed; the end of
the file says which. Read it, then use it.

Exit codes: 0 written, whatever could not be allowed; 1 the host or the log
could not be read, or the file not be written; 2 wrong call, or a file in the
way.`,
		Example: `  sudo portaudit policy learn -o policy.yaml
  sudo portaudit policy learn --for 1h -o policy.yaml
  sudo portaudit policy learn --since 30d > policy.yaml
  sudo portaudit scan --policy policy.yaml`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return runLearn(c, *s, f) },
	}
	c.Flags().StringVar(&f.watch, "for", "", "watch the host for this `TIME`, such as 10m; else it is looked at once")
	c.Flags().StringVar(&f.since, "since", "", "read the audit log of this `TIME`, such as 7d, and not the host")
	c.Flags().StringVarP(&f.output, "output", "o", "", "write to this `FILE`, which must not exist (default standard output)")
	c.Flags().BoolVar(&f.force, "force", false, "replace the file of --output")
	c.Flags().BoolVar(&f.all, "all", false, "allow what is high or critical, too")
	s.logFlag(c)
	s.stateFlag(c)
	s.dataFlag(c)
	s.overlayFlag(c)
	s.sourceFlag(c)
	c.Flags().StringVar(&s.realtime, "realtime", "", "with --for: hear of listeners as they open: auto, on or off (default auto)")
	return c
}

// parseSpan reads a time such as 90s, 10m, 12h or 30d. A day is 24 hours: the log
// is in UTC.
func parseSpan(flag, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16) // of which 2^16 are 179 years
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("--%s wants a time, such as 90s, 10m, 12h or 30d, not %q", flag, text)
	}
	return d, nil
}

func runLearn(c *cobra.Command, s settings, f learnFlags) error {
	if f.watch != "" && f.since != "" {
		return see(c, "--for watches the host, and --since reads the log: give one of them")
	}
	if _, err := os.Lstat(f.output); f.output != "" && !f.force && !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s exists: name another file, or replace it with --force", f.output)
		}
		return usage(err)
	}
	s, err := s.resolve()
	if err != nil {
		return usage(err)
	}
	s.policy = "" // the built-in one judges, whatever is in force
	judge, err := loadPolicy(s.policy)
	if err != nil {
		return failure(err)
	}
	seen, how, err := observed(c, s, f)
	if err != nil {
		return err
	}
	lesson := agent.Learn(seen, agent.LearnOptions{Judge: judge, All: f.all, Head: learnHead(how)})
	if err := usable(lesson.Text); err != nil {
		return failure(err)
	}
	if err := writeLesson(c.OutOrStdout(), f, lesson.Text); err != nil {
		return failure(err)
	}
	_, err = io.WriteString(c.ErrOrStderr(), screen{}.wrap("", lessonText(lesson, f.all)))
	return failure(err)
}

// usable fails where what was learnt is not a policy without a mistake and
// without anything odd: then this program is wrong.
func usable(text []byte) error {
	p, err := policy.Parse(text, "what was learnt")
	if err == nil && len(p.Warnings(time.Now())) > 0 {
		err = p.Warnings(time.Now())
	}
	return err
}

// observed returns what was seen, and how, in a sentence.
func observed(c *cobra.Command, s settings, f learnFlags) (seen []agent.Sighting, how string, err error) {
	if f.since != "" {
		return observedInLog(s, f.since)
	}
	var span time.Duration
	if f.watch != "" {
		if span, err = parseSpan("for", f.watch); err != nil {
			return nil, "", usage(err)
		}
	}
	o, sockets, err := scanOptions(s, false)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, failure(sockets.Close())) }()
	var coverage audit.Coverage
	if span == 0 {
		how = "by looking once"
		seen, coverage, err = agent.See(c.Context(), o)
	} else {
		how = "by watching for " + f.watch
		ctx, cancel := context.WithTimeout(c.Context(), span)
		defer cancel()
		realtime, unwatch, wrong := watch(ctx, s.realtime, sockets)
		if wrong != nil {
			return nil, "", failure(wrong)
		}
		seen, coverage, err = agent.SeeWhile(ctx, agent.WatchOptions{ScanOptions: o, Realtime: realtime, Interval: watchEvery})
		err = errors.Join(err, unwatch())
		if c.Context().Err() != nil {
			how += ", which was ended early"
		}
	}
	for _, g := range coverage.Gaps {
		how += fmt.Sprintf("; not seen: %s, %s", g.Source, g.Reason)
	}
	return seen, how, failure(err)
}

func observedInLog(s settings, since string) (seen []agent.Sighting, how string, err error) {
	span, err := parseSpan("since", since)
	if err != nil {
		return nil, "", usage(err)
	}
	catalog, err := loadCatalog(s)
	if err != nil {
		return nil, "", usage(err)
	}
	seen, err = agent.SeenInLog(s.logDir, catalog, time.Now().Add(-span))
	if err != nil {
		return nil, "", failure(withRemedy(err, "--log-dir"))
	}
	return seen, "from the audit log of " + since, nil
}

// learnHead is what a learnt policy says of itself.
func learnHead(how string) []string {
	return []string{
		fmt.Sprintf("Learnt by portaudit policy learn on %s, %s, %s.", audit.Visible(hostName()), time.Now().UTC().Format(time.RFC3339), audit.Visible(how)),
		"It allows what was seen and reports everything else. Whether what was seen belongs on this host is for you to say: read each rule, take out what does not, and write the reason beside what does. docs/policy.md tells of the language.",
	}
}

// writeLesson writes the policy to the file that was asked for. One that is there
// stays, unless it is to be replaced.
func writeLesson(out io.Writer, f learnFlags, text []byte) error {
	const mode = 0o644 // every user's scan reads a policy
	switch {
	case f.output == "":
		_, err := out.Write(text)
		return err
	case f.force:
		return audit.WriteFile(f.output, text, mode)
	}
	file, err := os.OpenFile(f.output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		err = errors.Join(err, os.Remove(f.output)) // a part of a policy is another policy
	}
	return err
}

// lessonText sums up what was learnt, and what is left to do.
func lessonText(l agent.Lesson, all bool) string {
	text := fmt.Sprintf("Rules that allow what was seen: %d.", l.Rules)
	switch {
	case l.Grave > 0 && all:
		text += fmt.Sprintf(" Of these allow what the built-in policy finds high or critical: %d.", l.Grave)
	case l.Grave > 0:
		text += fmt.Sprintf(" Written as comments, for the built-in policy finds what they would allow high or critical: %d; read them.", l.Grave)
	}
	if l.Unseen > 0 {
		text += fmt.Sprintf(" Not allowed, for the owner could not be seen: %s; portaudit scan says what hides it.", counted(l.Unseen, "listener"))
	}
	if l.Never > 0 {
		text += fmt.Sprintf(" Not allowed, for what the program is: %s; the end of the file says why.", counted(l.Never, "listener"))
	}
	return text
}
