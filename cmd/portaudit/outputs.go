package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/portaudit/portaudit/agent/alert"
)

// outputList is what the key outputs says, a list of mappings. nil is a file without it.
type outputList struct{ outputs []outputEntry }

// outputEntry is one entry of the key outputs.
type outputEntry struct {
	name      string
	selection alert.Selection
	open      func() (alert.Sender, error) // reads the files that the entry names
	place     string                       // of the entry, file:line:column
}

// outputTypes are what each type makes of the keys of an entry that are its own.
// With a problem, which the mapping keeps, what it returns is not called.
func outputTypes() map[string]func(*mapping) func() (alert.Sender, error) {
	return map[string]func(*mapping) func() (alert.Sender, error){
		"stderr": func(*mapping) func() (alert.Sender, error) {
			return func() (alert.Sender, error) { return alert.NewLines(os.Stderr), nil }
		},
		"syslog":   syslogOutput,
		"journald": journaldOutput,
		"webhook":  webhookOutput,
		"eventlog": eventLogOutput,
	}
}

// maxOutputs bounds a list that somebody generates.
const maxOutputs = 32

// parseOutputs reads the key outputs and returns all that is wrong with it, each
// with file, line and column.
func parseOutputs(value *yaml.Node, file string) (*outputList, []error) {
	all := mapping{file: file}
	if value.Kind != yaml.SequenceNode {
		all.wrong(value, "outputs wants a list, such as \"- type: stderr\"")
		return nil, all.problems
	}
	if len(value.Content) > maxOutputs {
		all.wrong(value, "outputs has more than %d entries", maxOutputs)
		return nil, all.problems
	}
	list, names := &outputList{}, map[string]bool{}
	for _, node := range value.Content {
		m := newMapping(node, file)
		o := parseOutput(m)
		if names[o.name] && len(m.problems) == 0 {
			m.wrong(node, "two outputs are named %q: give one another name, such as \"name: %s-2\"", o.name, o.name)
		}
		names[o.name] = true
		all.problems = append(all.problems, m.problems...)
		list.outputs = append(list.outputs, o)
	}
	return list, all.problems
}

// outputName is what is safe as a part of a file's name and as a label.
var outputName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

func parseOutput(m *mapping) outputEntry {
	if m.node.Kind != yaml.MappingNode {
		m.wrong(m.node, "an output wants keys, such as \"type: stderr\"")
		return outputEntry{}
	}
	types := outputTypes()
	kind := m.word("type", slices.Sorted(maps.Keys(types))...)
	if kind == "" && len(m.problems) == 0 {
		m.wrong(m.node, "an output wants a type: one of %s", strings.Join(slices.Sorted(maps.Keys(types)), ", "))
	}
	o := outputEntry{name: kind, place: fmt.Sprintf("%s:%d:%d", m.file, m.node.Line, m.node.Column)}
	if name, node := m.text("name"); node != nil {
		if o.name = name; !outputName.MatchString(name) {
			m.wrong(node, "name wants small letters, digits, - and _, 32 at the most, not %q", name)
		}
	}
	o.selection.All = m.word("records", "alerts", "all") == "all"
	o.selection.Severity = m.word("severity", alert.Severities()...)
	if build := types[kind]; build != nil {
		o.open = build(m)
		m.end()
	}
	return o
}

// mapping reads a mapping of YAML strictly. Each method takes the value of one key,
// and notes what is wrong with it.
type mapping struct {
	file     string
	node     *yaml.Node
	values   map[string]*yaml.Node // that were not taken yet
	keys     []string              // that are known
	problems []error
}

func newMapping(node *yaml.Node, file string) *mapping {
	m := &mapping{file: file, node: node, values: map[string]*yaml.Node{}}
	if node.Kind != yaml.MappingNode {
		return m
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if m.values[key.Value] != nil {
			m.wrong(key, "%q is given twice", key.Value)
		}
		m.values[key.Value] = node.Content[i+1]
	}
	return m
}

// wrong notes a problem at a node.
func (m *mapping) wrong(at *yaml.Node, format string, args ...any) {
	m.problems = append(m.problems, fmt.Errorf("%s:%d:%d: %s", m.file, at.Line, at.Column, fmt.Sprintf(format, args...)))
}

// take returns the value of a key, nil if there is none.
func (m *mapping) take(key string) *yaml.Node {
	m.keys = append(m.keys, key)
	value := m.values[key]
	delete(m.values, key)
	return value
}

// text takes a text, and the node for what else is wrong with it. The node is nil
// where there is none.
func (m *mapping) text(key string) (string, *yaml.Node) {
	node := m.take(key)
	switch {
	case node == nil:
		return "", nil
	case node.Kind != yaml.ScalarNode || node.Tag != "!!str" || node.Value == "":
		m.wrong(node, "%s wants a text", key)
		return "", nil
	}
	return node.Value, node
}

// word takes one of some words, "" where there is none.
func (m *mapping) word(key string, words ...string) string {
	node := m.take(key)
	switch {
	case node == nil:
		return ""
	case node.Kind != yaml.ScalarNode || !slices.Contains(words, node.Value):
		m.wrong(node, "%s wants one of %s, not %q", key, strings.Join(words, ", "), node.Value)
		return ""
	}
	return node.Value
}

// number takes a whole number between two, or returns what it is otherwise.
func (m *mapping) number(key string, least, most, otherwise int) int {
	node := m.take(key)
	if node == nil {
		return otherwise
	}
	n, err := strconv.Atoi(node.Value)
	if err != nil || strconv.Itoa(n) != node.Value || n < least || n > most {
		m.wrong(node, "%s wants a whole number from %d to %d, not %q", key, least, most, node.Value)
		return otherwise
	}
	return n
}

// size takes a size as parseSize reads it, between two.
func (m *mapping) size(key string, least, most, otherwise int64) int64 {
	node := m.take(key)
	if node == nil {
		return otherwise
	}
	n, err := parseSize(node.Value)
	if err == nil && (n < least || n > most) {
		err = fmt.Errorf("%q is not between %d and %d bytes", node.Value, least, most)
	}
	if err != nil {
		m.wrong(node, "%s: %v", key, err)
		return otherwise
	}
	return n
}

// end refuses what nobody took.
func (m *mapping) end() {
	slices.Sort(m.keys)
	for i := 0; i+1 < len(m.node.Content); i += 2 { // in their order
		if key := m.node.Content[i]; m.values[key.Value] != nil {
			m.wrong(key, "unknown key %q: known here are %s", key.Value, strings.Join(m.keys, ", "))
			delete(m.values, key.Value)
		}
	}
}

// readSecret reads a file that an output names, which none but root and the user of
// this process can change. what names the key for the error.
func readSecret(what, path string) ([]byte, error) {
	b, err := readTrusted(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case len(b) > maxFile:
		return nil, fmt.Errorf("%s: %s has more than %d bytes", what, path, maxFile)
	}
	return b, nil
}

// started are the outputs of a daemon, and what they are fed by.
type started struct {
	feed *alert.Feed
	all  []*alert.Output
}

// startOutputs starts each output of the configuration behind the record seq, or without any the lines on
// standard error. stop lets them deliver what is there, and ends them: it waits for
// alert.Grace and a little more at the most, for a write to a pipe that nobody reads
// does not end.
func startOutputs(s settings, seq uint64, logger *slog.Logger) (_ started, stop func(), _ error) {
	list := []outputEntry{{name: "stderr", open: outputTypes()["stderr"](nil)}}
	if s.outputs != nil {
		list = s.outputs.outputs
	}
	started := started{feed: alert.NewFeed(s.logDir, seq)}
	for _, o := range list {
		sender, err := o.open()
		if err != nil {
			return started, nil, fmt.Errorf("output %s: %w", o.name, err)
		}
		started.all = append(started.all, alert.NewOutput(alert.OutputOptions{
			Name: o.name, Sender: sender, Select: o.selection, Feed: started.feed, StateDir: s.stateDir, Logger: logger,
		}))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, o := range started.all {
		running.Go(func() { o.Run(ctx) }) // ends with ctx, or it hangs and ends with the program
	}
	return started, func() {
		cancel()
		done := make(chan struct{})
		go func() { // ends with the outputs
			running.Wait()
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(alert.Grace + time.Second):
			logger.Warn("an output does not end: what it has not delivered comes after the next start")
		}
	}, nil
}

// metricsTo returns what writes metrics to a file, and those of the outputs with them.
func (s started) metricsTo(path string) func(alert.Metrics) error {
	return func(m alert.Metrics) error {
		m.Outputs = make(map[string]alert.OutputCounts, len(s.all))
		for _, o := range s.all {
			m.Outputs[o.Name] = o.Counts()
		}
		return alert.WriteMetrics(path, m)
	}
}

// checkOutputs opens each output of the configuration and closes it, to tell what is
// wrong with it before the log is opened.
func checkOutputs(s settings) error {
	if s.outputs == nil {
		return nil
	}
	var problems []error
	for _, o := range s.outputs.outputs {
		sender, err := o.open()
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: output %s: %w", o.place, o.name, err))
			continue
		}
		problems = append(problems, sender.Close())
	}
	return errors.Join(problems...)
}
