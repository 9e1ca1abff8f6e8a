// Package configs owns the YAML files that ship with portaudit: the default
// policy and the commented configuration. They are embedded, so that the
// program works without any file, and installed as they are.
//
// It refuses to know what they mean, and imports no other package of this
// module.
package configs

import _ "embed"

//go:embed policy.yaml
var policy string

//go:embed portaudit.yaml
var config string

// Policy returns the default policy, in the language of package policy.
func Policy() []byte { return []byte(policy) }

// Policies returns the policies that others may build on, by name.
func Policies() map[string][]byte { return map[string][]byte{"default": Policy()} }

// Config returns the commented configuration of the daemon.
func Config() []byte { return []byte(config) }
