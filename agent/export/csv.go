package export

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// Columns returns the header of CSV: the same columns in the same order for
// every kind of event. A later version may add some at the end.
func Columns() []string {
	return []string{
		"seq", "time", "event", "host", "severity", "rule", "message",
		"transport", "address", "port", "interface", "namespace", "scope", "reach", "services",
		"pid", "executable", "command", "user", "unit", "container", "package", "sha256",
		"verdict", "change", "first_seen", "last_seen", "listener", "finding", "why", "fix", "tags", "errors",
		"policy", "policy_sha256", "program", "boot", "prev",
	}
}

// CSV writes records as RFC 4180 has it, behind a header: for a spreadsheet. What
// a spreadsheet would take for a formula begins with an apostrophe.
type CSV struct{ w *csv.Writer }

// NewCSV writes the header to w.
func NewCSV(w io.Writer) (*CSV, error) {
	c := &CSV{csv.NewWriter(w)}
	c.w.UseCRLF = true // RFC 4180, 2.1
	if err := c.w.Write(Columns()); err != nil {
		return nil, err
	}
	return c, nil
}

// Write writes one row. It may be kept until Flush.
func (c *CSV) Write(e audit.Event) error {
	e = audit.Clean(e)
	cells := slices.Concat(cellsOfPlace(e), cellsOfOwners(e.Owners), cellsOfRest(e))
	for i, cell := range cells {
		cells[i] = harmless(cell)
	}
	return c.w.Write(cells)
}

// Flush writes what was kept.
func (c *CSV) Flush() error {
	c.w.Flush()
	return c.w.Error()
}

func cellsOfPlace(e audit.Event) []string {
	var services []string
	if e.Registry != nil {
		services = e.Registry.Names
	}
	address := e.Address
	if len(e.Addresses) > 0 {
		address = joined(e.Addresses)
	}
	return []string{
		strconv.FormatUint(e.Seq, 10), e.Time.Format(time.RFC3339Nano), e.Event, e.Host, e.Severity, e.Rule, e.Message,
		e.Transport, address, number(e.Port), e.Interface, e.Namespace, e.Scope, e.Reach, joined(services),
	}
}

// cellsOfOwners has in each cell what all owners have, in the same order, so that
// the second pid is that of the second executable.
func cellsOfOwners(owners []audit.Owner) []string {
	of := func(text func(audit.Owner) string) string {
		var texts []string
		for _, o := range owners {
			texts = append(texts, text(o))
		}
		return joined(texts)
	}
	return []string{
		of(func(o audit.Owner) string {
			if o.PID == nil {
				return ""
			}
			return strconv.Itoa(*o.PID)
		}),
		of(func(o audit.Owner) string { return o.Executable }),
		of(func(o audit.Owner) string { return o.Command }),
		of(func(o audit.Owner) string { return o.User }),
		of(serviceName),
		of(func(o audit.Owner) string { return o.Container }),
		of(func(o audit.Owner) string {
			if o.Package == nil {
				return ""
			}
			return strings.TrimSpace(o.Package.Name + " " + o.Package.Version)
		}),
		of(func(o audit.Owner) string { return o.SHA256 }),
	}
}

func cellsOfRest(e audit.Event) []string {
	var policy audit.Policy
	if e.Policy != nil {
		policy = *e.Policy
	}
	return []string{
		e.Verdict, e.Change, moment(e.FirstSeen), moment(e.LastSeen), e.Listener, e.ID, e.Why, e.Fix, joined(e.Tags), joined(e.Errors),
		policy.Source, policy.SHA256, e.Program, e.Boot, e.Prev,
	}
}

// joined is a list in one cell; "" if every entry of it is.
func joined(texts []string) string {
	all := strings.Join(texts, "; ")
	if strings.Trim(all, "; ") == "" {
		return ""
	}
	return all
}

func number(n uint32) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}

func moment(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

// harmless keeps a spreadsheet from taking a cell for a formula: these are the
// characters that OWASP lists, with their wide forms.
// https://owasp.org/www-community/attacks/CSV_Injection
func harmless(cell string) string {
	if cell != "" && strings.ContainsAny(firstRune(cell), "=+-@\t\r\n＝＋－＠") {
		return "'" + cell
	}
	return cell
}

func firstRune(s string) string {
	for _, r := range s {
		return string(r)
	}
	return ""
}
