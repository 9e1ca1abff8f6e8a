package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/portaudit/portaudit/registry"
)

// fact reads one fact of an expectation into a T.
type fact[T any] func(d *decoder, n *yaml.Node, of *T)

// aged is a listener that has been there for some time.
type aged struct {
	Listener
	age time.Duration
}

// listenerFacts returns the facts of a listener that an expectation can give, by
// the conditions that ask for them. A new condition is one line here.
func listenerFacts() map[string]fact[aged] {
	return map[string]fact[aged]{
		"transport":  parsedFact(registry.ParseSocketTransport, registry.TransportNames(), func(l *aged) *registry.Transport { return &l.Transport }),
		"port":       parsedFact(registry.ParsePort, nil, func(l *aged) *registry.Port { return &l.Port }),
		"address":    parsedFact(parseAddress, nil, func(l *aged) *netip.Addr { return &l.Address }),
		"scope":      parsedFact(parseAnyScope, scopeNames[:], func(l *aged) *Scope { return &l.Scope }),
		"state":      parsedFact(registry.ParseState, nil, func(l *aged) *registry.State { return &l.State }),
		"service":    textsFact(func(l *aged) *[]string { return &l.Names }),
		"risk":       parsedFact(parseAnySeverity, severityNames[:], func(l *aged) *Severity { return &l.Risk }),
		"interface":  textFact(func(l *aged) *string { return &l.Interface }),
		"namespace":  textFact(func(l *aged) *string { return &l.Namespace }),
		"authority":  wordFact(Authorities(), func(l *aged) *string { return &l.Authority }),
		"reach":      wordFact(Reaches(), func(l *aged) *string { return &l.Reach }),
		"changed":    wordFact(append(Changes(), "none"), func(l *aged) *string { return &l.Changed }),
		"new":        answerFact(func(l *aged) *Answer { return &l.New }),
		"shadows":    answerFact(func(l *aged) *Answer { return &l.Shadows }),
		"older_than": parsedFact(parseAge, nil, func(l *aged) *time.Duration { return &l.age }),
		"dual_stack": answerFact(func(l *aged) *Answer { return &l.DualStack }),
		"privileged": answerFact(func(l *aged) *Answer { return &l.Privileged }),
		"ephemeral":  answerFact(func(l *aged) *Answer { return &l.Ephemeral }),
		"reachable":  follows[aged]("scope or address"),
		"range":      follows[aged]("port"),
		"shared":     follows[aged]("owners"),
	}
}

// ownerFacts returns the facts of an owner, as listenerFacts.
func ownerFacts() map[string]fact[Owner] {
	return map[string]fact[Owner]{
		"owner":          wordFact(append(Hows(), unknownOwner), func(o *Owner) *string { return &o.How }),
		"group":          textsFact(func(o *Owner) *[]string { return &o.Groups }),
		"capabilities":   capabilitiesFact,
		"sha256":         parsedFact(parseDigest, nil, func(o *Owner) *string { return &o.SHA256 }),
		"image":          textFact(func(o *Owner) *string { return &o.Image }),
		"user":           textFact(func(o *Owner) *string { return &o.User }),
		"uid":            parsedFact(parseKnownUID, nil, func(o *Owner) *UID { return &o.UID }),
		"root":           answerFact(func(o *Owner) *Answer { return &o.Root }),
		"executable":     textFact(func(o *Owner) *string { return &o.Executable }),
		"unit":           textFact(func(o *Owner) *string { return &o.Unit }),
		"command_line":   textFact(func(o *Owner) *string { return &o.CommandLine }),
		"parent":         textFact(func(o *Owner) *string { return &o.Parent }),
		"container":      textFact(func(o *Owner) *string { return &o.Container }),
		"deleted":        answerFact(func(o *Owner) *Answer { return &o.Deleted }),
		"memory":         answerFact(func(o *Owner) *Answer { return &o.Memory }),
		"concealed":      answerFact(func(o *Owner) *Answer { return &o.Concealed }),
		"world_writable": answerFact(func(o *Owner) *Answer { return &o.WorldWritable }),
		"program":        follows[Owner]("executable"),
	}
}

// textFact reads a text.
func textFact[T any](at func(*T) *string) fact[T] {
	return func(d *decoder, n *yaml.Node, of *T) { *at(of), _ = d.text(n) }
}

// textsFact reads a text or a list of them, which may be empty.
func textsFact[T any](at func(*T) *[]string) fact[T] {
	return func(d *decoder, n *yaml.Node, of *T) {
		if *at(of) = []string{}; n.Kind != yaml.SequenceNode || len(n.Content) > 0 {
			*at(of) = d.texts(n)
		}
	}
}

// wordFact reads one of a fixed set of words.
func wordFact[T any](words []string, at func(*T) *string) fact[T] {
	return func(d *decoder, n *yaml.Node, of *T) { *at(of) = d.word(n, words) }
}

// answerFact reads true, false, or unknown, which is for facts that would be
// derived.
func answerFact[T any](at func(*T) *Answer) fact[T] {
	return func(d *decoder, n *yaml.Node, of *T) {
		if n.Kind == yaml.ScalarNode && n.Value == "unknown" {
			*at(of) = Unknown
			return
		}
		*at(of) = truth(d.bool(n))
	}
}

// parsedFact reads what has a parser of its own.
func parsedFact[T, V any](parse func(string) (V, error), words []string, at func(*T) *V) fact[T] {
	return func(d *decoder, n *yaml.Node, of *T) {
		text, ok := d.text(n)
		if !ok {
			return
		}
		v, err := parse(clip(text)) // a text that is clipped is none of the words
		if err != nil {
			d.errorf(n, "%v%s", err, suggest(text, words))
			return
		}
		*at(of) = v
	}
}

// capabilitiesFact reads the effective capabilities of an owner, which may be none.
func capabilitiesFact(d *decoder, n *yaml.Node, o *Owner) {
	o.Capabilities.Known = true
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		return
	}
	o.Capabilities.Set = d.capabilities(n)
}

// follows refuses a fact that another one settles.
func follows[T any](from string) fact[T] {
	return func(d *decoder, n *yaml.Node, _ *T) { d.errorf(n, "this follows from %s: give that instead", from) }
}

func parseAddress(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		err = fmt.Errorf("%q is no address such as 192.0.2.1, 2001:db8::1 or fe80::1%%eth0", text)
	}
	return a, err
}

// parseAnyScope reads a scope, unknown too.
func parseAnyScope(text string) (Scope, error) {
	if text == UnknownScope.String() {
		return UnknownScope, nil
	}
	return ParseScope(text)
}

// parseAnySeverity reads a severity, none too.
func parseAnySeverity(text string) (Severity, error) {
	if text == None.String() {
		return None, nil
	}
	return ParseSeverity(text)
}

func parseKnownUID(text string) (UID, error) {
	id, ok := parseUID(text)
	if !ok {
		return UID{}, fmt.Errorf("%q is no uid such as 33", text)
	}
	return UID{ID: id, Known: true}, nil
}

// listener reads the facts of a listener, and of its one owner if they stand
// among them, and derives others.
func (d *decoder) listener(n *yaml.Node) (Listener, time.Duration) {
	var l aged
	var o Owner
	facts, ofOwner := listenerFacts(), ownerFacts()
	keys := slices.Concat(slices.Sorted(maps.Keys(facts)), slices.Sorted(maps.Keys(ofOwner)), []string{"owners"})
	given, ownerGiven := map[string]bool{}, map[string]bool{}
	d.mapping(n, "a listener", keys, func(key string, k, v *yaml.Node) {
		given[key] = true
		switch read, known := facts[key]; {
		case known:
			read(d, v, &l)
		case key == "owners":
			l.Owners = d.owners(v)
		default:
			ownerGiven[key] = true
			ofOwner[key](d, v, &o)
		}
	})
	if n.Kind != yaml.MappingNode {
		return Listener{}, 0
	}
	switch {
	case len(ownerGiven) > 0 && given["owners"]:
		d.errorf(n, "facts of an owner stand beside \"owners\": put each into one of these")
	case len(ownerGiven) > 0:
		o.derive(ownerGiven)
		l.Owners = []Owner{o}
	}
	switch {
	case !given["transport"]:
		d.errorf(n, "a listener needs the key \"transport\"")
	case !given["port"] && !l.portless():
		d.errorf(n, "a listener needs the key \"port\"")
	}
	l.derive(given)
	return l.Listener, l.age
}

func (d *decoder) owners(n *yaml.Node) []Owner {
	if n.Kind != yaml.SequenceNode {
		d.errorf(n, "owners wants a list, such as [{user: root, executable: /usr/sbin/sshd}]")
		return nil
	}
	facts := ownerFacts()
	keys := slices.Sorted(maps.Keys(facts))
	var list []Owner
	for _, item := range n.Content {
		var o Owner
		given := map[string]bool{}
		d.mapping(item, "an owner", keys, func(key string, _, v *yaml.Node) {
			given[key] = true
			facts[key](d, v, &o)
		})
		o.derive(given)
		list = append(list, o)
	}
	return list
}

// deriveAuthority says why root may hold a privileged port. Of others that takes
// more than their name.
func (l *Listener) deriveAuthority(given map[string]bool) {
	if !given["authority"] && l.Privileged == Yes && slices.ContainsFunc(l.Owners, func(o Owner) bool { return o.Root == Yes }) {
		l.Authority = "root"
	}
}

// derive fills in the facts of a listener that were not given and that others
// settle, as agent does where it is the host that is asked. Privileged is by the
// usual limit; the range for automatic binds differs from system to system, so
// that nothing is said of it.
func (l *Listener) derive(given map[string]bool) {
	if !given["scope"] {
		l.Scope = ScopeOf(l.Address)
	}
	if !given["dual_stack"] && l.Address.Is4() {
		l.DualStack = No
	}
	if l.Transport.Assigned() == 0 {
		return
	}
	known := registry.Catalog{}.Describe(l.Port, l.Transport)
	if !given["state"] {
		l.State = known.State
	}
	if !given["service"] {
		l.Names = known.Names
	}
	if !given["risk"] && known.Common != nil {
		l.Risk, _ = ParseSeverity(known.Common.Severity) // "none" is none
	}
	if !given["privileged"] {
		l.Privileged = truth(l.Port < firstUnprivileged)
	}
	l.deriveAuthority(given)
}

// firstUnprivileged is the first port that everybody may open, where nobody has
// set another (net.ipv4.ip_unprivileged_port_start).
const firstUnprivileged = 1024

// derive fills in what the facts of an owner settle: that of which anything is
// seen is a process, and who is root.
func (o *Owner) derive(given map[string]bool) {
	switch {
	case o.How == unknownOwner:
		o.How = ""
	case !given["owner"] && len(given) > 0:
		o.How = "process"
	}
	if given["root"] {
		return
	}
	switch {
	case o.How == "kernel":
		o.Root = Yes
	case o.UID.Known:
		o.Root = truth(o.UID.ID == 0)
	case o.User != "" && !strings.Contains(o.User, `\`): // of Windows' accounts the name says less
		o.Root = truth(o.User == "root")
	}
}
