package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// see ends a complaint about a call with the way out.
func see(c *cobra.Command, complaint string) error {
	return usage(fmt.Errorf("%s: see %s --help", complaint, c.CommandPath()))
}

// called is how a command is called, without the name of the program.
func called(c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
}

// noArguments refuses arguments to a command that has none.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return see(c, fmt.Sprintf("%s takes no argument, and was given %q", called(c), args[0]))
}

// oneArgument wants exactly one argument, which is a what.
func oneArgument(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return see(c, called(c)+" wants "+what)
		case 1:
			return nil
		default:
			return see(c, fmt.Sprintf("%s wants one argument, %s, and was given %d", called(c), what, len(args)))
		}
	}
}

// atMostOneArgument takes none, or one that is a what.
func atMostOneArgument(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) <= 1 {
			return nil
		}
		return see(c, fmt.Sprintf("%s wants one argument, %s, or none, and was given %d", called(c), what, len(args)))
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
	} else {
		message += ": there are " + commandNames(c)
	}
	return see(c, message)
}

// commandNames lists the commands of a command.
func commandNames(c *cobra.Command) string {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return strings.Join(names, ", ")
}

// wrongFlag says which flag of a command is wrong, what it wants, and where they
// are told of.
func wrongFlag(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var bare *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name := "--" + unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			name = name[1:]
		}
		return see(c, called(c)+" has no flag "+name)
	case errors.As(err, &bare):
		return see(c, "--"+bare.GetFlag().Name+" wants "+wanted(bare.GetFlag()))
	case errors.As(err, &invalid):
		return see(c, fmt.Sprintf("--%s wants %s, not %q", invalid.GetFlag().Name, wanted(invalid.GetFlag()), invalid.GetValue()))
	}
	return see(c, err.Error())
}

// wanted says which values a flag takes.
func wanted(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true, false or no value"
	case "int":
		return "a whole number"
	case "duration":
		return "a duration, such as 90s or 1h"
	}
	name, _ := pflag.UnquoteUsage(f)
	return "a value, " + name
}

// ownCompletion makes the commands by which cobra completes command lines
// refuse wrong calls as all others do.
func ownCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args, c.RunE = knownCommand, func(c *cobra.Command, _ []string) error { return c.Help() }
		for _, shell := range c.Commands() {
			shell.Args = noArguments
		}
	}
}

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
				if !target.HasAvailableSubCommands() {
					target = c.Root()
				}
				return usage(fmt.Errorf("no command is called %q: there are %s", strings.Join(args, " "), commandNames(target)))
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
