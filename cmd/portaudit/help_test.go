package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"
)

// TestHelpFits holds that the help of every command fits a terminal of 80
// columns, and names what a command of this program always says.
func TestHelpFits(t *testing.T) {
	tried := 0
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		tried++
		var out bytes.Buffer
		root := newRoot()
		root.SetOut(&out)
		root.SetArgs(append(strings.Fields(c.CommandPath())[1:], "--help"))
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Errorf("%s --help: %v", c.CommandPath(), err)
		}
		for line := range strings.Lines(out.String()) {
			line = strings.TrimSuffix(line, "\n")
			if w := runewidth.StringWidth(line); w > textWidth {
				t.Errorf("%s --help: %d columns:\n%s", c.CommandPath(), w, line)
			}
		}
		if !strings.Contains(out.String(), "Usage:\n  "+c.CommandPath()) {
			t.Errorf("%s --help says nothing of how to call it:\n%s", c.CommandPath(), out.String())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	root := newRoot()
	root.InitDefaultHelpCmd()
	visit(root)
	if tried < 8 {
		t.Errorf("only %d commands were tried", tried)
	}
}
