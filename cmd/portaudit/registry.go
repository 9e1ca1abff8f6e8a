package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/registry"
)

func newRegistry(s *settings) *cobra.Command {
	c := &cobra.Command{
		Use:   "registry",
		Short: "Ask IANA's port registry, or import a newer one",
		Long: `The registry is IANA's list of service names and port numbers. A copy is built
in; a newer one can be imported from the file that IANA publishes.`,
		Args: knownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newLookup(s), newInfo(s), newImport(s))
	return c
}

func newLookup(s *settings) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "lookup PORT | PORT/TRANSPORT | FIRST-LAST | NAME",
		Short: "Say what is registered for a port, a range of ports or a name",
		Example: `  portaudit registry lookup 22
  portaudit registry lookup 22/udp
  portaudit registry lookup ssh
  portaudit registry lookup 8000-8100
  portaudit registry lookup 0-65535 --json`,
		Args: oneArgument("a port, a range or a service name, such as 22, 53/udp, 8000-8100 or ssh"),
		RunE: func(c *cobra.Command, args []string) error {
			resolved, err := s.resolve()
			if err != nil {
				return usage(err)
			}
			catalog, err := loadCatalog(resolved)
			if err != nil {
				return usage(err)
			}
			refs, err := parseRefs(catalog, args[0])
			if err != nil {
				return usage(err)
			}
			if asJSON {
				return failure(printEntries(c.OutOrStdout(), catalog, refs))
			}
			return failure(writeEntries(c.OutOrStdout(), screenOf(c.OutOrStdout()), catalog, refs))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON array, an object for each port and transport (docs/json.md)")
	s.dataFlag(c)
	s.overlayFlag(c)
	return c
}

// parseRefs reads what the user asks for: a port or range with or without a
// transport, else a service name.
func parseRefs(catalog *registry.Catalog, text string) ([]registry.Ref, error) {
	ports, transport, hasTransport := strings.Cut(text, "/")
	first, last, isRange := strings.Cut(ports, "-")
	if !isRange {
		last = first
	}
	a, errA := registry.ParsePort(first)
	b, errB := registry.ParsePort(last)
	if errA != nil || errB != nil {
		return parseName(catalog, text)
	}
	if a > b {
		return nil, fmt.Errorf("the range %q runs backwards: write %d-%d", text, b, a)
	}
	transports := registry.Transports[:]
	if hasTransport {
		t, err := registry.ParseTransport(strings.ToLower(transport))
		if err != nil {
			return nil, err
		}
		transports = []registry.Transport{t}
	}
	var refs []registry.Ref
	for _, t := range transports {
		refs = append(refs, registry.Ref{First: a, Last: b, Transport: t})
	}
	return refs, nil
}

// parseName finds the ports of a service name, "ssh" or "ssh/tcp".
func parseName(catalog *registry.Catalog, text string) ([]registry.Ref, error) {
	if refs := catalog.ByName(text); len(refs) > 0 {
		return refs, nil
	}
	if name, transport, ok := strings.Cut(text, "/"); ok {
		var refs []registry.Ref
		for _, r := range catalog.ByName(name) {
			if r.Transport.String() == strings.ToLower(transport) {
				refs = append(refs, r)
			}
		}
		if len(refs) > 0 {
			return refs, nil
		}
	}
	if text != "" && strings.Trim(text, "0123456789-") == "" {
		return nil, fmt.Errorf("%q is no port: ports are whole numbers from 0 to 65535, ranges such as 8000-8100", text)
	}
	return nil, fmt.Errorf("%q is no port, and no service of that name is registered", text)
}

// entry is what registry lookup --json says of one port and transport.
type entry struct {
	Port         uint16       `json:"port"`
	Transport    string       `json:"transport"`
	Range        string       `json:"range"`
	State        string       `json:"state"`
	Names        []string     `json:"names"`
	Description  string       `json:"description"`
	Note         string       `json:"note,omitempty"`
	Unauthorized string       `json:"unauthorized,omitempty"`
	Service      string       `json:"service"`
	Known        *agent.Known `json:"known,omitempty"`
	Site         *agent.Site  `json:"site,omitempty"`
}

func entryOf(f registry.Facts) entry {
	e := entry{
		Port: uint16(f.Port), Transport: f.Transport.String(), Range: f.Range.String(), State: f.State.String(),
		Names: f.IANA, Description: f.Description, Note: f.Note, Unauthorized: f.Unauthorized,
		Known: agent.KnownOf(f.Common), Site: agent.SiteOf(f.Site),
	}
	if len(f.Names) > 0 {
		e.Service = f.Names[0]
	}
	return e
}

// facts yields what is known of each port and transport of refs, by port.
func facts(catalog *registry.Catalog, refs []registry.Ref, yield func(registry.Facts) error) error {
	for i := 0; i < len(refs); {
		same := i + 1 // refs of the same ports, one for each transport
		for same < len(refs) && refs[same].First == refs[i].First && refs[same].Last == refs[i].Last {
			same++
		}
		for p := int(refs[i].First); p <= int(refs[i].Last); p++ {
			for _, r := range refs[i:same] {
				if err := yield(visible(catalog.Describe(registry.Port(p), r.Transport))); err != nil {
					return err
				}
			}
		}
		i = same
	}
	return nil
}

// visible makes the texts of overlay, services file and imported registry safe
// to print; the notes keep their lines.
func visible(f registry.Facts) registry.Facts {
	f.IANA, f.Names = visibleAll(f.IANA), visibleAll(f.Names)
	f.Description = audit.Visible(f.Description)
	f.Note, f.Unauthorized = visibleLines(f.Note), visibleLines(f.Unauthorized)
	if f.Site != nil {
		f.Site = &registry.Site{Name: audit.Visible(f.Site.Name), Owner: audit.Visible(f.Site.Owner)}
	}
	return f
}

func visibleAll(texts []string) []string {
	all := make([]string, len(texts))
	for i, s := range texts {
		all[i] = audit.Visible(s)
	}
	return all
}

func visibleLines(text string) string {
	return strings.Join(visibleAll(strings.Split(text, "\n")), "\n")
}

func newInfo(s *settings) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "info",
		Short: "Say which registry is in use: its date, its size and its licence",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			resolved, err := s.resolve()
			if err != nil {
				return usage(err)
			}
			r, err := loadRegistry(resolved.dataDir)
			if err != nil {
				return usage(err)
			}
			if asJSON {
				return failure(printJSON(c.OutOrStdout(), infoOf(r.Info())))
			}
			return failure(writeInfo(c.OutOrStdout(), screenOf(c.OutOrStdout()), r.Info()))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document (docs/json.md)")
	s.dataFlag(c)
	return c
}

// info is what registry info --json and registry import --json say.
type info struct {
	Schema  int                       `json:"schema"`
	Source  string                    `json:"source"`
	Date    string                    `json:"date"`
	Licence string                    `json:"licence"`
	SHA256  string                    `json:"sha256"`
	Names   int                       `json:"names"`
	Ports   map[string]map[string]int `json:"ports"` // by transport and state
}

func infoOf(i registry.Info) info {
	doc := info{
		Schema: 1, Source: i.Source, Date: i.Date, Licence: i.Licence, SHA256: i.SHA256, Names: i.Names,
		Ports: map[string]map[string]int{},
	}
	for _, c := range i.Counts {
		t := c.Transport.String()
		if doc.Ports[t] == nil {
			doc.Ports[t] = map[string]int{}
		}
		doc.Ports[t][c.State.String()] = c.Ports
	}
	return doc
}

func writeInfo(w io.Writer, s screen, i registry.Info) error {
	var b strings.Builder
	for _, line := range [][2]string{
		{"Source   ", i.Source}, {"Date     ", i.Date}, {"Licence  ", i.Licence}, {"SHA-256  ", i.SHA256}, {"Names    ", strconv.Itoa(i.Names)},
	} {
		b.WriteString(s.hang(line[0], "         ", line[1]))
	}
	b.WriteString("\n")
	fmt.Fprintf(&b, "%-9s  %8s  %8s  %10s  %12s\n", "PORTS", "ASSIGNED", "RESERVED", "UNASSIGNED", "NO STATEMENT")
	ports := infoOf(i).Ports
	for _, t := range registry.Transports {
		n := ports[t.String()]
		fmt.Fprintf(&b, "%-9s  %8d  %8d  %10d  %12d\n", t, n["assigned"], n["reserved"], n["unassigned"], n["no statement"])
	}
	b.WriteString("\n" + s.wrap("", "The assignments change: IANA publishes them anew every few days. To use today's, "+
		"get the XML or CSV from iana.org and run: portaudit registry import FILE"))
	_, err := io.WriteString(w, b.String())
	return err
}

func newImport(s *settings) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Use the registry that IANA publishes instead of the built-in one",
		Long: `Import reads "Service Name and Transport Protocol Port Number Registry" as
IANA publishes it, XML or CSV, and uses it from now on instead of the built-in
copy.

The file is checked whole before anything changes. A bad one is refused with
its name, the line and the reason, and the registry in use stays.`,
		Example: `  portaudit registry import service-names-port-numbers.xml
  portaudit registry import service-names-port-numbers.csv --data-dir ./data`,
		Args: oneArgument("the file that IANA publishes"),
		RunE: func(c *cobra.Command, args []string) error {
			resolved, err := s.resolve()
			if err != nil {
				return usage(err)
			}
			table, err := registry.Import(args[0])
			if err != nil {
				return usage(err)
			}
			warn := func(err error) { fmt.Fprintf(c.ErrOrStderr(), "portaudit: %v\n", err) }
			for _, dir := range []string{filepath.Dir(resolved.dataDir), resolved.dataDir} {
				if err := makePublic(dir, warn); err != nil {
					return failure(withRemedy(err, "--data-dir"))
				}
			}
			if err := registry.Save(resolved.dataDir, table); err != nil {
				return failure(withRemedy(err, "--data-dir"))
			}
			r, err := registry.Load(resolved.dataDir)
			if err != nil {
				return failure(err)
			}
			if asJSON {
				return failure(printJSON(c.OutOrStdout(), infoOf(r.Info())))
			}
			fmt.Fprintf(c.OutOrStdout(), "Imported %s into %s.\n\n", filepath.Base(args[0]), resolved.dataDir)
			return failure(writeInfo(c.OutOrStdout(), screenOf(c.OutOrStdout()), r.Info()))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print what was imported as one JSON document (docs/json.md)")
	s.dataFlag(c)
	return c
}
