package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/policy"
)

// formatFlags are what becomes of files that are not in form.
type formatFlags struct{ write, list, check bool }

func newFormat(s *settings) *cobra.Command {
	var flags formatFlags
	c := &cobra.Command{
		Use:   "format [FILE...]",
		Short: "Put policies into their canonical form",
		Long: `Format prints a policy in its canonical form: two spaces for each level, the
keys of each rule in their order, single blank lines. What it says stays the
same, and every comment stays. A policy for which that is not certain is left
as it is, and told of.

With -w files are replaced, each at once or not at all, and keep their mode
and owner. FILE - is standard input. Without FILE it is the policy that
"portaudit run" would use.

Exit codes: 0 done; 1 with --check a file is not in form, or something could
not be written; 2 mistakes, a file that cannot be read, or a wrong call.`,
		Example: `  portaudit policy format policy.yaml
  portaudit policy format -w /etc/portaudit/policy.yaml
  portaudit policy format --check *.yaml`,
		RunE: func(c *cobra.Command, files []string) error {
			if flags.write && flags.check {
				return see(c, "-w changes files and --check only looks at them: give one")
			}
			if len(files) == 0 {
				resolved, err := s.resolve()
				switch {
				case err != nil:
					return usage(err)
				case resolved.policy == "":
					return usage(errors.New("no policy is installed: name a FILE"))
				}
				files = []string{resolved.policy}
			}
			return flags.run(c, files)
		},
	}
	c.Flags().BoolVarP(&flags.write, "write", "w", false, "replace the files")
	c.Flags().BoolVarP(&flags.list, "list", "l", false, "print the names of the files that are not in form, and not their text")
	c.Flags().BoolVar(&flags.check, "check", false, "as -l, with exit code 1 if there is one")
	s.policyFlag(c)
	return c
}

// run formats all files and tells what is wrong with any of them.
func (f formatFlags) run(c *cobra.Command, files []string) error {
	var mistakes, failures []error
	differs := false
	for _, file := range files {
		differ, err := f.format(c, file)
		differs = differs || differ
		var wrong exitError
		switch {
		case errors.As(err, &wrong):
			mistakes = append(mistakes, wrong.err)
		case err != nil:
			failures = append(failures, err)
		}
	}
	switch {
	case len(failures) > 0:
		return failure(errors.Join(append(failures, mistakes...)...))
	case len(mistakes) > 0:
		return exitError{exitUsage, errors.Join(mistakes...)}
	case f.check && differs:
		return exitError{code: exitFailed}
	}
	return nil
}

// format formats one file and reports whether it was not in form. An error is an
// exitError if the file is to blame.
func (f formatFlags) format(c *cobra.Command, file string) (differs bool, err error) {
	var text []byte
	switch {
	case file != "-":
		text, err = readFile(file)
	case f.write:
		err = errors.New("standard input cannot be replaced: leave -w out")
	default:
		file = "standard input"
		text, err = io.ReadAll(io.LimitReader(c.InOrStdin(), maxFile+1))
	}
	if err != nil {
		return false, usage(err)
	}
	formatted, err := policy.Format(text, file)
	if err != nil {
		return false, usage(err)
	}
	differs = !bytes.Equal(text, formatted)
	if differs && (f.list || f.check) {
		if _, err := fmt.Fprintln(c.OutOrStdout(), audit.Visible(file)); err != nil {
			return differs, err
		}
	}
	switch {
	case f.write && differs:
		return differs, replace(file, formatted)
	case !f.write && !f.list && !f.check:
		_, err = c.OutOrStdout().Write(formatted)
	}
	return differs, err
}

// replace replaces a file at once, or what a symbolic link leads to. It keeps mode
// and owner, but no access list.
func replace(file string, text []byte) error {
	path, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "replace", Path: path, Err: errors.New("it is no regular file")}
	}
	return audit.WriteFileBy(path, info.Mode().Perm(), func(w io.Writer) error {
		if _, err := w.Write(text); err != nil {
			return err
		}
		uid, gid, known := ownerOf(info)
		f, isFile := w.(interface{ Chown(uid, gid int) error })
		if !known || !isFile {
			return nil
		}
		return f.Chown(uid, gid)
	})
}
