package registry

import (
	"encoding/hex"
	"strings"
)

// Licence says under which terms IANA publishes its registries
// (https://www.iana.org/help/licensing-terms).
const Licence = "IANA dedicates its protocol registries to the public domain (CC0 1.0 Universal)."

// Info describes a registry as a whole.
type Info struct {
	Source  string  // what the data was made from, in words
	Date    string  // day of the data, YYYY-MM-DD
	Licence string  // one sentence on the terms of the data
	SHA256  string  // of the packed data, in hexadecimal
	Names   int     // distinct service names that have a port
	Counts  []Count // by transport and then state, in the order of their types
}

// Count says how many ports of a transport have a state. The counts of one
// transport add up to 65,536.
type Count struct {
	Transport Transport
	State     State
	Ports     int
}

// Info counts what the registry holds. It reads the whole registry.
func (r *Registry) Info() Info {
	names := map[string]bool{}
	for n := range len(r.records) / recordSize {
		for name := range r.entry(n).AllNames() {
			names[strings.ToLower(name)] = true
		}
	}
	info := Info{
		Source:  r.source,
		Date:    r.date,
		Licence: Licence,
		SHA256:  hex.EncodeToString([]byte(r.sum)),
		Names:   len(names),
	}
	for i, t := range Transports {
		var ports [len(stateNames)]int
		for run, n := range r.indexes[i].all {
			ports[r.entry(n).State] += int(run.last) - int(run.first) + 1
		}
		for state, n := range ports {
			info.Counts = append(info.Counts, Count{t, State(state), n})
		}
	}
	return info
}
