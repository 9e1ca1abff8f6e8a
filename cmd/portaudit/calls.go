package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// see ends a complaint about a call with the way out.
func see(c *cobra.Command, complaint string) error {
	return usage(fmt.Errorf("%s: see %s --help", complaint, c.CommandPath()))
}

// noArguments refuses arguments to a command that has none.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return see(c, fmt.Sprintf("%s takes no argument, and was given %q", c.CommandPath(), args[0]))
}

// oneArgument wants exactly one argument, which is a what.
func oneArgument(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return see(c, c.CommandPath()+" wants "+what)
		case 1:
			return nil
		default:
			return see(c, fmt.Sprintf("%s wants one argument, %s, and was given %d", c.CommandPath(), what, len(args)))
		}
	}
}

// knownCommand refuses the name of a command that does not exist, and suggests
// the nearest one: cobra does so for the root command alone.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	message := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
	if c.SuggestionsMinimumDistance <= 0 {
		c.SuggestionsMinimumDistance = 2 // cobra's own default, set where it suggests
	}
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		message += fmt.Sprintf(", did you mean %q?", near[0])
	}
	return see(c, message)
}

// wrongFlag says which flag of a command is wrong, and where they are told of.
func wrongFlag(c *cobra.Command, err error) error { return see(c, err.Error()) }

// newHelp makes the command help, as cobra's own, but that it refuses what is no
// command.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Say how to call a command",
		Long: `Help tells what a command does and how to call it, as the command itself does
with --help.`,
		Example: `  portaudit help scan
  portaudit help registry import`,
		RunE: func(c *cobra.Command, args []string) error {
			target, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				var names []string
				for _, sub := range c.Root().Commands() {
					if sub.IsAvailableCommand() {
						names = append(names, sub.Name())
					}
				}
				return usage(fmt.Errorf("no command is called %q: there are %s", strings.Join(args, " "), strings.Join(names, ", ")))
			}
			target.InitDefaultHelpFlag() // which it tells of
			return target.Help()
		},
	}
}

// writeHelpOnce makes the help of all commands be written at once, and notes in
// failed why it could not be: cobra tells of that, and then of success.
func writeHelpOnce(root *cobra.Command, failed *error) {
	render := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		var b bytes.Buffer
		out := c.OutOrStdout()
		c.SetOut(&b)
		render(c, args)
		c.SetOut(out)
		_, err := out.Write(b.Bytes())
		*failed = errors.Join(*failed, err)
	})
}
