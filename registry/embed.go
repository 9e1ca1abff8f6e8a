package registry

import _ "embed"

//go:generate go run ./internal/pack

//go:embed data/ports.bin
var embedded string

// Embedded returns the registry that is compiled into the program. It decodes
// nothing: the tests hold the embedded data against its reviewed table, so that
// nothing is left to check when the program starts.
func Embedded() *Registry {
	r, _, err := cut(embedded)
	if err != nil {
		panic("registry: the embedded data is cut short: run go generate ./registry")
	}
	return r
}
