package listen

import (
	"os"
	"slices"
	"strings"
)

// gap records a gap, once for each source.
func (e *engine) gap(g Gap) {
	if e.cloned() { // users know it by the path where it is mounted
		g.Source = strings.ReplaceAll(g.Source, e.base, e.root)
		g.Reason = strings.ReplaceAll(g.Reason, e.base, e.root)
	}
	same := func(other Gap) bool { return other.Source == g.Source && other.Hides == g.Hides }
	if !slices.ContainsFunc(e.gaps, same) {
		e.gaps = append(e.gaps, g)
	}
}

// sameGap compares gaps without the counts, which change with every process
// that starts.
func sameGap(a, b Gap) bool {
	a.Count, b.Count = 0, 0
	return a == b
}

// coverage records what this enumeration could not see.
func (e *engine) coverage() {
	for _, g := range e.staticGaps {
		e.gap(g)
	}
	for _, s := range e.spaces {
		if s.gap != nil {
			e.gap(*s.gap)
		}
	}
	if e.blind > 0 {
		e.gap(Gap{
			Source: "/proc/PID/ns/net", Hides: HidesSockets, Count: e.blind,
			Reason: refusal("network namespace") + ": listeners in containers may be missing",
			Fix:    remedy("CAP_SYS_PTRACE"),
		})
	}
	if e.denied > 0 {
		e.gap(Gap{
			Source: "/proc/PID/fd", Hides: HidesOwners, Count: e.denied,
			Reason: refusal("descriptors"),
			Fix:    remedy("CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"),
		})
	}
	if len(e.covered) > 0 && !e.cloned() {
		e.gap(Gap{
			Source: "/proc/PID", Hides: HidesOwners, Count: len(e.covered),
			Reason: "something is mounted over the directories of processes, which hides them", Fix: remedy("CAP_SYS_ADMIN"),
		})
	}
	if e.hidden {
		e.gap(Gap{
			Source: "/proc", Hides: HidesOwners,
			Reason: "the processes of other users are hidden (process 1 is absent: /proc is mounted with hidepid)",
			Fix:    "run as root, or as a member of the group that /proc is mounted with (gid=)",
		})
	}
	slices.SortFunc(e.gaps, compareGaps)
}

// refusal says who would not show what. Some hosts refuse a look into process 1
// even to root.
func refusal(what string) string {
	if os.Geteuid() == 0 {
		return "some processes do not show their " + what + " even to root"
	}
	return "processes of other users do not show their " + what
}

func remedy(capabilities string) string {
	if os.Geteuid() == 0 {
		return ""
	}
	return "run as root, or with " + capabilities
}
