package registry

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Site is what a site says of its own ports.
type Site struct {
	Name  string
	Owner string // empty where the overlay names none
}

// Overlay is a site's own names for ports. It is immutable and safe for
// concurrent use; a nil *Overlay names nothing.
type Overlay struct {
	sites []sitePorts // by transport and first port, without overlap
}

type sitePorts struct {
	span
	Site
	at place // of the service in the file
}

// Limits of an overlay and of the texts in it, in bytes.
const (
	maxOverlay  = 1 << 20
	maxSiteName = 64
	maxOwner    = 256
)

// ParseOverlay reads a site's overlay; name is the file's name for errors. The
// file is one YAML document:
//
//	services:
//	  - {ports: 8443, transport: tcp, name: billing-api, owner: payments team}
//	  - {ports: [9000, 9100-9110], transport: [tcp, udp], name: telemetry}
//
// The transport is tcp where none is given, and the owner may be left out. An
// unknown or repeated key, a second document, a bad port or a port that is named
// twice is an error with file, line and column; all errors are returned at once.
func ParseOverlay(data []byte, name string) (*Overlay, error) {
	p := &overlayParser{name: name}
	if len(data) > maxOverlay {
		return nil, fmt.Errorf("%s: the file is larger than %d MiB", name, maxOverlay>>20)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	switch err := d.Decode(&document); {
	case errors.Is(err, io.EOF):
		return &Overlay{}, nil
	case err != nil:
		return nil, yamlError(name, err)
	}
	switch err := d.Decode(&second); {
	case err == nil:
		p.refuse(&second, "a second document: everything after --- would be ignored, so put all services into one list")
	case !errors.Is(err, io.EOF):
		return nil, yamlError(name, err)
	}
	if root := document.Content[0]; root.Tag != "!!null" {
		p.document(root)
	}
	slices.SortStableFunc(p.sites, func(a, b sitePorts) int {
		return cmp.Or(cmp.Compare(a.transport, b.transport), cmp.Compare(a.first, b.first))
	})
	p.checkOverlap()
	if err := p.join(); err != nil {
		return nil, err
	}
	return &Overlay{sites: p.sites}, nil
}

// yamlLine finds the line in the decoder's message, which has no field for it.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func yamlError(name string, err error) error {
	message := err.Error()
	found := yamlLine.FindStringSubmatch(message)
	if found == nil || found[1] == "" {
		return fmt.Errorf("%s: %s", name, strings.TrimPrefix(message, "yaml: "))
	}
	return fmt.Errorf("%s:%s: %s", name, found[1], message[len(found[0]):])
}

// Lookup returns the site's own name for p on t.
func (o *Overlay) Lookup(p Port, t Transport) (Site, bool) {
	if o == nil {
		return Site{}, false
	}
	i, _ := slices.BinarySearchFunc(o.sites, p, func(s sitePorts, p Port) int {
		return cmp.Or(cmp.Compare(s.transport, t), cmp.Compare(s.last, p))
	})
	if i == len(o.sites) || o.sites[i].transport != t || o.sites[i].first > p {
		return Site{}, false
	}
	return o.sites[i].Site, true
}

// ByName returns the ports that the site calls name, without regard to case, by
// transport and port.
func (o *Overlay) ByName(name string) []Ref {
	var refs []Ref
	if o == nil {
		return refs
	}
	for _, s := range o.sites {
		if strings.EqualFold(s.Name, name) {
			refs = append(refs, Ref{s.first, s.last, s.transport})
		}
	}
	return refs
}

type overlayParser struct {
	name    string
	sites   []sitePorts
	refused []refusal
}

// place is a line and a column, both from 1.
type place struct{ line, column int }

func (a place) compare(b place) int {
	return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
}

type refusal struct {
	at  place
	err error
}

func (p *overlayParser) refuse(n *yaml.Node, format string, args ...any) {
	p.refuseAt(place{n.Line, n.Column}, format, args...)
}

func (p *overlayParser) refuseAt(at place, format string, args ...any) {
	err := fmt.Errorf("%s:%d:%d: %s", p.name, at.line, at.column, fmt.Sprintf(format, args...))
	p.refused = append(p.refused, refusal{at, err})
}

// join returns what was refused in the order of the file.
func (p *overlayParser) join() error {
	slices.SortStableFunc(p.refused, func(a, b refusal) int { return a.at.compare(b.at) })
	var problems problems
	for _, r := range p.refused {
		problems.add(r.err)
	}
	return problems.join()
}

func (p *overlayParser) document(root *yaml.Node) {
	for key, value := range p.mapping(root, "services") {
		if value.Tag == "!!null" {
			continue
		}
		if value.Kind != yaml.SequenceNode {
			p.refuse(value, "%s is a list of services", key)
			continue
		}
		for _, n := range value.Content {
			p.service(n)
		}
	}
}

// mapping returns the values of a mapping by key, and refuses every key that
// is repeated or not known.
func (p *overlayParser) mapping(n *yaml.Node, known ...string) map[string]*yaml.Node {
	values := map[string]*yaml.Node{}
	if n.Kind != yaml.MappingNode {
		p.refuse(n, "expected a mapping with the keys %s", strings.Join(known, ", "))
		return values
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case !slices.Contains(known, key.Value):
			p.refuse(key, "unknown key %.40q: use %s", key.Value, strings.Join(known, ", "))
		case values[key.Value] != nil:
			p.refuse(key, "%s is given twice", key.Value)
		default:
			values[key.Value] = value
		}
	}
	return values
}

func (p *overlayParser) service(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		p.refuse(n, "expected a service such as {ports: 8443, name: billing-api}")
		return
	}
	values := p.mapping(n, "ports", "transport", "name", "owner")
	for _, key := range []string{"ports", "name"} {
		if values[key] == nil {
			p.refuse(n, "the service has no %s", key)
		}
	}
	site := Site{
		Name:  p.text(values["name"], "name", maxSiteName),
		Owner: p.text(values["owner"], "owner", maxOwner),
	}
	transports := p.transports(values["transport"])
	for _, s := range p.spans(values["ports"]) {
		for _, t := range transports {
			s.transport = t
			p.sites = append(p.sites, sitePorts{s, site, place{n.Line, n.Column}})
		}
	}
}

// text returns a value that is shown as it stands, or "" for an absent one.
func (p *overlayParser) text(n *yaml.Node, key string, most int) string {
	if n == nil {
		return ""
	}
	switch s := n.Value; {
	case n.Kind != yaml.ScalarNode || n.Tag != "!!str":
		p.refuse(n, "the %s is a text: put it in quotes", key)
	case s == "" || len(s) > most || !utf8.ValidString(s) || tidy(s) != s:
		p.refuse(n, "the %s is one line of 1 to %d bytes of printable text without needless spaces", key, most)
	default:
		return s
	}
	return ""
}

// scalars returns the scalars of a value that may be one or a list of them.
func (p *overlayParser) scalars(n *yaml.Node, key string) []*yaml.Node {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	if len(list) == 0 {
		p.refuse(n, "the list of %s is empty", key)
	}
	for _, item := range list {
		if item.Kind != yaml.ScalarNode {
			p.refuse(item, "%s holds one value or a list of them", key)
			return nil
		}
	}
	return list
}

func (p *overlayParser) spans(n *yaml.Node) []span {
	if n == nil {
		return nil
	}
	var spans []span
	for _, item := range p.scalars(n, "ports") {
		first, last, err := parsePorts(item.Value)
		if err != nil {
			p.refuse(item, "%v", err)
			continue
		}
		spans = append(spans, span{first: first, last: last})
	}
	return spans
}

func (p *overlayParser) transports(n *yaml.Node) []Transport {
	if n == nil {
		return []Transport{TCP}
	}
	var transports []Transport
	for _, item := range p.scalars(n, "transport") {
		t, err := ParseTransport(item.Value)
		if err != nil {
			p.refuse(item, "%v", err)
			continue
		}
		transports = append(transports, t)
	}
	return transports
}

// checkOverlap refuses a port that two services, or one of them twice, name.
func (p *overlayParser) checkOverlap() {
	for i := 1; i < len(p.sites); i++ {
		a, b := p.sites[i-1], p.sites[i]
		if a.transport == b.transport && b.first <= a.last {
			if b.at.compare(a.at) < 0 {
				a, b = b, a
			}
			p.refuseAt(b.at, "port %d/%s is named already at line %d", max(a.first, b.first), b.transport, a.at.line)
		}
	}
}
