// Command pack makes the registry's embedded form from its reviewed table. It
// runs by "go generate ./registry".
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/portaudit/portaudit/registry"
)

func main() {
	in := flag.String("in", "data/ports.tsv", "the reviewed `table`")
	out := flag.String("out", "data/ports.bin", "the packed `file` to write")
	flag.Parse()
	if err := pack(*in, *out); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func pack(in, out string) error {
	f, err := os.Open(in)
	if err != nil {
		return err
	}
	defer f.Close()
	table, err := registry.ParseTSV(f, in)
	if err != nil {
		return err
	}
	return os.WriteFile(out, table.Pack(), 0o644)
}
