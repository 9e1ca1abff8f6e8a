package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent/audit"
)

func newLogProve(s *settings) *cobra.Command {
	c := &cobra.Command{
		Use:   "prove SEQ",
		Short: "Print a proof that the audit log holds a record",
		Long: `Prove prints a proof that the record with a sequence number is in the audit
log, as the last checkpoint signs it. The proof has the record in it, and a
few hashes instead of all others: who has it and the public key needs nothing
else of this host ("portaudit log verify --proof"). Its form is that of
c2sp.org/tlog-proof.

A record can be proven once a checkpoint covers it: the daemon makes one
every so often, and when it stops.

Exit codes: 0 done; 1 there is no such record, it is not covered yet, or the
log could not be read; 2 a wrong call; 3 the log was changed or is damaged.`,
		Example: `  sudo portaudit log prove 4711 > record.tlog-proof`,
		Args:    oneArgument("the sequence number of a record"),
		RunE: func(c *cobra.Command, args []string) error {
			seq, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil || seq == 0 {
				return see(c, fmt.Sprintf("%q is no sequence number of a record: use a whole number, 1 or more", args[0]))
			}
			resolved, err := s.resolve()
			if err != nil {
				return usage(err)
			}
			return prove(c, resolved.logDir, seq)
		},
	}
	s.logFlag(c)
	return c
}

func prove(c *cobra.Command, dir string, seq uint64) error {
	text, err := readBeside(filepath.Join(dir, audit.KeyName))
	if err != nil {
		return failure(logRemedy(fmt.Errorf("public key: %w", err)))
	}
	keys, err := audit.ParseKeys(text)
	if err != nil {
		return failure(fmt.Errorf("public key %s: %w", filepath.Join(dir, audit.KeyName), err))
	}
	p := newProgress(c.ErrOrStderr(), "reading")
	proof, err := audit.Prove(dir, seq, keys, p.until(c.Context()))
	p.hide()
	if err != nil {
		return damageOr(withRemedy(err, "--log-dir"))
	}
	_, err = c.OutOrStdout().Write(proof.Format())
	return failure(err)
}

// damageOr gives an error of reading the log its exit code: that of findings, if the
// log is not as it was written.
func damageOr(err error) error {
	if errors.As(err, new(*audit.DamageError)) {
		return exitError{exitFindings, fmt.Errorf("portaudit: %w", err)}
	}
	return failure(err)
}
