package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// newRoot assembles the command line.
func newRoot() *cobra.Command {
	var s settings
	root := &cobra.Command{
		Use:   "portaudit",
		Short: "See what listens on this host, who owns it, and what is wrong with it",
		Long: `portaudit lists the listening sockets of this host and the programs that own
them, says what IANA's port registry knows of each port, and tells what your
policy does not allow.

Start with "portaudit scan". It changes nothing.`,
		Example: `  portaudit scan                     what listens here, and what is wrong
  portaudit scan --fail-on high      exit code 3 if something is: for scripts
  portaudit explain 8080             everything that is known of a port
  portaudit registry lookup ssh      what IANA says
  portaudit watch                    the same, live
  portaudit run                      keep auditing, and write the audit log
  portaudit status                   whether that works, and what it cannot see`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("portaudit {{.Version}}\n")
	root.SetUsageTemplate(strings.NewReplacer(
		".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", textWidth),
		" for more information about a command.", " for more.",
	).Replace(root.UsageTemplate()))
	root.PersistentFlags().StringVar(&s.config, "config", "", "configuration `FILE` (default "+defaultPaths().config+" if there is one)")
	root.AddCommand(newScan(&s), newWatch(&s), newRun(&s), newReload(&s), newStatus(&s), newExplain(&s), newLog(&s), newPolicy(&s), newRegistry(&s))
	root.SetFlagErrorFunc(wrongFlag)
	root.SetHelpCommand(newHelp())
	ownCompletion(root)
	fitHelp(root)
	return root
}

// fitHelp breaks the lines of help that are too long for a terminal: cobra's
// own commands have some.
func fitHelp(c *cobra.Command) {
	lines := strings.Split(c.Long, "\n")
	for i, line := range lines {
		if len(line) <= textWidth {
			continue
		}
		if at := strings.LastIndexByte(line[:textWidth], ' '); at > 0 {
			lines[i] = line[:at] + "\n" + line[at+1:]
		}
	}
	c.Long = strings.Join(lines, "\n")
	for _, sub := range c.Commands() {
		fitHelp(sub)
	}
}

// version returns the version that the Go toolchain recorded in the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown)"
	}
	v := info.Main.Version
	for _, kv := range info.Settings {
		if kv.Key == "vcs.revision" && v == "(devel)" {
			v = fmt.Sprintf("(devel) %.12s", kv.Value)
		}
	}
	return v
}
