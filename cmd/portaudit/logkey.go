package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent/audit"
)

func newLogKey(s *settings) *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Print the public key that checkpoints are verified by",
		Long: `Key prints the public key of this host's audit log, one line. Keep it, and a
checkpoint, on another host: by both "portaudit log verify" shows what was
changed even by one who may write every file here (docs/evidence.md).

Exit codes: 0 done; 1 there is no key, or it could not be read; 2 a wrong
call.`,
		Example: `  sudo portaudit log key > web1.key`,
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			resolved, err := s.resolve()
			if err != nil {
				return usage(err)
			}
			key, err := readFile(filepath.Join(resolved.logDir, audit.KeyName))
			if err != nil {
				return failure(withRemedy(fmt.Errorf("public key: %w", err), "--log-dir"))
			}
			_, err = c.OutOrStdout().Write(key)
			return failure(err)
		},
	}
	s.logFlag(c)
	return c
}
