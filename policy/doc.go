// Package policy owns the policy language: YAML in, compiled rules out, and
// for each listener a decision that is total, pure and deterministic.
//
// It refuses to know how listeners are found, where policies are stored and
// what becomes of a decision: it reads bytes and never the host, and imports
// of this module only the registry, for the names of its facts.
package policy
