// Package configs owns the YAML files that ship with portaudit: the default
// policy, the profiles beside it, and the commented configuration. They are
// embedded, so that the program works without any file, and installed as they
// are.
//
// It refuses to know what they mean, and imports no other package of this
// module.
package configs

import (
	"embed"
	"strings"
)

// The expectations beside the policies are for tests, and not embedded.
//
//go:embed policy.yaml portaudit.yaml
//go:embed profiles/server.yaml profiles/workstation.yaml profiles/container-host.yaml
//go:embed profiles/pci-dss.yaml profiles/cis-debian.yaml
var files embed.FS

// Policy returns the default policy, in the language of package policy.
func Policy() []byte { return read("policy.yaml") }

// Policies returns the policies that others may build on, by name: the default
// one and the profiles.
func Policies() map[string][]byte {
	all := map[string][]byte{"default": Policy()}
	profiles, err := files.ReadDir("profiles")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, f := range profiles {
		all[strings.TrimSuffix(f.Name(), ".yaml")] = read("profiles/" + f.Name())
	}
	return all
}

// Config returns the commented configuration of the daemon.
func Config() []byte { return read("portaudit.yaml") }

func read(name string) []byte {
	text, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return text
}
