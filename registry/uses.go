package registry

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Use is what is commonly found on a port, whatever IANA says of it.
type Use struct {
	Name     string // the product or protocol as commonly known
	Class    string // ordinary, cleartext, legacy, amplifier, exposure, database, admin, admin-noauth or remote-access
	Severity string // of reaching it from other hosts: none, low, medium, high or critical
	Why      string // one sentence
	Source   string // who says so
}

// The words of the table, whose head explains them.
var (
	classes    = [...]string{"ordinary", "cleartext", "legacy", "amplifier", "exposure", "database", "admin", "admin-noauth", "remote-access"}
	severities = [...]string{"none", "low", "medium", "high", "critical"}
)

//go:embed data/uses.tsv
var usesTSV string

// usePorts is a use of one span of ports.
type usePorts struct {
	span
	Use
}

// parsedUses is read once, at the first question; the tests hold the table
// against its form.
var parsedUses = sync.OnceValue(func() []usePorts {
	uses, _ := parseUses(usesTSV)
	return uses
})

// CommonUse returns what is commonly found on p of t beside or against IANA's
// registry. Most ports have no such use.
func CommonUse(p Port, t Transport) (Use, bool) {
	uses := parsedUses()
	i, _ := slices.BinarySearchFunc(uses, p, func(u usePorts, p Port) int {
		return cmp.Or(cmp.Compare(u.transport, t), cmp.Compare(u.last, p))
	})
	if i == len(uses) || uses[i].transport != t || uses[i].first > p {
		return Use{}, false
	}
	return uses[i].Use, true
}

// parseUses reads the table of uses, whose head explains its columns, and
// returns it by transport and port. It leaves out what it refuses.
func parseUses(table string) ([]usePorts, error) {
	var uses []usePorts
	var problems problems
	number := 0
	for line := range strings.Lines(table) {
		number++
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "ports\t") {
			continue
		}
		found, err := parseUse(line)
		if err != nil {
			problems.add(fmt.Errorf("uses.tsv:%d: %w", number, err))
			continue
		}
		uses = append(uses, found...)
	}
	slices.SortFunc(uses, func(a, b usePorts) int {
		return cmp.Or(cmp.Compare(a.transport, b.transport), cmp.Compare(a.first, b.first))
	})
	for i := 1; i < len(uses); i++ {
		if uses[i].transport == uses[i-1].transport && uses[i].first <= uses[i-1].last {
			problems.add(fmt.Errorf("uses.tsv: port %d/%s is listed twice", uses[i].first, uses[i].transport))
		}
	}
	return uses, problems.join()
}

func parseUse(line string) ([]usePorts, error) {
	cells := strings.Split(line, "\t")
	if len(cells) != 7 {
		return nil, fmt.Errorf("%d cells where the table has 7 columns", len(cells))
	}
	for i, s := range cells {
		if s == "" || tidy(s) != s {
			return nil, fmt.Errorf("column %d is empty or holds a character that is not printable or a needless space", i+1)
		}
	}
	use := Use{Name: cells[2], Class: cells[3], Severity: cells[4], Why: cells[5], Source: cells[6]}
	switch {
	case !slices.Contains(classes[:], use.Class):
		return nil, fmt.Errorf("unknown class %q", use.Class)
	case !slices.Contains(severities[:], use.Severity):
		return nil, fmt.Errorf("unknown severity %q", use.Severity)
	case !strings.HasSuffix(use.Why, "."):
		return nil, errors.New("the reason is a sentence")
	}
	var uses []usePorts
	for _, ports := range strings.Split(cells[0], " ") {
		first, last, err := parsePorts(ports)
		if err != nil {
			return nil, err
		}
		for _, s := range strings.Split(cells[1], " ") {
			t, err := ParseTransport(s)
			if err != nil {
				return nil, err
			}
			uses = append(uses, usePorts{span{first, last, t}, use})
		}
	}
	return uses, nil
}
