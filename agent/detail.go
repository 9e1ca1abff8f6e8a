package agent

import (
	"math/bits"
	"strconv"

	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
)

// detailOf makes the document of what is known of an owner beside the evidence;
// nil of an owner that is no process. Its texts are not yet visible.
func detailOf(o listen.Owner) *audit.OwnerDetail {
	if !o.Resolved() {
		return nil
	}
	d := &audit.OwnerDetail{
		Cgroup: o.Cgroup, Unhashed: o.Unhashed.String(), Capabilities: capabilitiesOf(o), Inherits: answerOf(o.Inherits),
		NamespaceOwner: answerOf(o.NamespaceOwner), Elevated: answerOf(o.Elevated), Integrity: o.Integrity,
	}
	for _, a := range o.Parents {
		d.Parents = append(d.Parents, audit.Process{PID: a.PID, Command: a.Command})
	}
	for _, g := range o.Groups {
		d.Groups = append(d.Groups, audit.Group{GID: g.ID, Name: g.Name})
	}
	if o.Login.Known {
		d.LoginUID = &o.Login.ID
	}
	return d
}

// capabilitiesOf makes the document of an owner's capabilities; nil where both
// sets are empty or full, which the user tells as well, or not known.
func capabilitiesOf(o listen.Owner) *audit.Capabilities {
	if o.BindCapability == listen.Unknown {
		return nil
	}
	c := &audit.Capabilities{Effective: capabilityNames(o.Effective), Permitted: capabilityNames(o.Permitted)}
	if o.Effective == o.Permitted {
		c.Permitted = nil // the rule: it is told once
	}
	if c.Effective == nil && c.Permitted == nil {
		return nil
	}
	return c
}

// capabilityNames names the capabilities of a set by their order; nil of an
// empty set and of a full one. Of a set that lacks few, as that of root in a
// container, it names those: "ALL", then each with a "-" before it.
func capabilityNames(set uint64) []string {
	if set == 0 || fullSet(set) {
		return nil
	}
	sign, names := "", []string(nil)
	if bits.OnesCount64(set) > oldestFull/2 {
		full := uint64(1)<<max(bits.Len64(set), oldestFull) - 1
		sign, names, set = "-", []string{"ALL"}, full&^set
	}
	known := policy.CapabilityNames()
	for ; set != 0; set &= set - 1 {
		if n := bits.TrailingZeros64(set); n < len(known) {
			names = append(names, sign+"CAP_"+known[n])
		} else {
			names = append(names, sign+"CAP_"+strconv.Itoa(n)) // of a kernel that is newer than the table
		}
	}
	return names
}

// oldestFull is how many capabilities a kernel has at least: 38 since Linux
// 3.16. A set of all without a gap that is as long is a full one; which was the
// last of the running kernel is not asked.
const oldestFull = 38

func fullSet(set uint64) bool { return set&(set+1) == 0 && bits.Len64(set) >= oldestFull }
