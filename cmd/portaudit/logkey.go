package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent/audit"
)

func newLogKey(s *settings) *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Print the public key that checkpoints are verified by",
		Long: `Key prints the public key of this host's audit log. Keep it, and checkpoints,
on another host: by them "portaudit log verify" shows what was changed even
by one who may write every file here (docs/evidence.md).

It is one line; a log whose key was lost and made anew has a line for each.

Exit codes: 0 done; 1 there is no key, or it could not be read; 2 a wrong
call.`,
		Example: `  sudo portaudit log key > web1.key`,
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return printBeside(c, s, audit.KeyName, "public key", func(text []byte) error {
				_, err := audit.ParseKeys(text)
				return err
			})
		},
	}
	s.logFlag(c)
	return c
}

func newLogCheckpoint(s *settings) *cobra.Command {
	c := &cobra.Command{
		Use:   "checkpoint",
		Short: "Print the last signed checkpoint of the audit log",
		Long: `Checkpoint prints the last checkpoint of the audit log: how many records it
has, the root of the tree of their hashes, and the signature of both, in the
form of c2sp.org/tlog-checkpoint. Keep it on another host, as often as you
can; "portaudit log verify --checkpoint" then holds the log against it.

Exit codes: 0 done; 1 there is none, or it could not be read; 2 a wrong call.`,
		Example: `  sudo portaudit log checkpoint | mail -s "$(hostname)" auditor@example.com
  ssh web1 sudo portaudit log checkpoint > web1.checkpoint`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return printBeside(c, s, audit.CheckpointName, "checkpoint", func(text []byte) error {
				if !bytes.Contains(text, []byte("\n\n— ")) {
					return errors.New("it is no signed note")
				}
				return nil
			})
		},
	}
	s.logFlag(c)
	return c
}

// printBeside prints a file that lies beside the log, if it is what it should be.
func printBeside(c *cobra.Command, s *settings, name, what string, check func([]byte) error) error {
	resolved, err := s.resolve()
	if err != nil {
		return usage(err)
	}
	path := filepath.Join(resolved.logDir, name)
	text, err := readBeside(path)
	if err != nil {
		return failure(logRemedy(fmt.Errorf("%s: %w", what, err)))
	}
	if err = check(text); err == nil && visibleLines(string(text)) != string(text) {
		err = errors.New("there are characters in it that cannot be seen")
	}
	if err != nil {
		return failure(fmt.Errorf("%s %s: %w", what, path, err))
	}
	_, err = c.OutOrStdout().Write(text)
	return failure(err)
}

// readBeside reads a file that lies beside the log. The directory may have been
// prepared by somebody else, so it waits at no pipe.
func readBeside(path string) ([]byte, error) {
	if fi, err := os.Stat(path); err == nil && !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return readFile(path)
}
