package main

import (
	"github.com/spf13/cobra"
)

func newLog(s *settings) *cobra.Command {
	c := &cobra.Command{
		Use:   "log",
		Short: "Ask the audit log, and prove that nobody changed it",
		Long: `The audit log is what "portaudit run" has recorded. These commands read it
where it lies, closed and compressed parts too, and change nothing;
docs/json.md tells what a record holds, and docs/evidence.md how it proves
itself.`,
		Args: knownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(logCommands(s)...)
	return c
}

// logCommands are the commands below "portaudit log".
func logCommands(s *settings) []*cobra.Command {
	return []*cobra.Command{
		newLogShow(s), newLogFollow(s), newLogAt(s), newLogHistory(s), newLogStats(s), newLogExport(s),
		newLogVerify(s), newLogProve(s), newLogCheckpoint(s), newLogKey(s),
	}
}
