package configs_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/portaudit/portaudit/configs"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// today is any day before the reviews of the templates.
var today = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func compile(t *testing.T, text, name string) *policy.Policy {
	t.Helper()
	p, err := policy.Compile([]byte(text), name, policy.Files{Shipped: configs.Policies()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// expectations returns those of all files, by the path of the policy that they
// are of.
func expectations(t *testing.T) map[string]*policy.Expectations {
	t.Helper()
	all := map[string]*policy.Expectations{}
	err := filepath.WalkDir(".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".test.yaml") {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		e, err := policy.ParseExpectations(text, name)
		if err != nil {
			return err
		}
		all[strings.TrimSuffix(name, ".test.yaml")+".yaml"] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// fileOf returns where a policy that is shipped lies.
func fileOf(name string) string {
	if name == "default" {
		return "policy.yaml"
	}
	return filepath.Join("profiles", name+".yaml")
}

// shipped returns the names of the profiles, without the default policy.
func shipped() []string {
	var names []string
	for name := range configs.Policies() {
		if name != "default" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestShipped holds that what lies in the folder is what is shipped.
func TestShipped(t *testing.T) {
	files, err := filepath.Glob("profiles/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".yaml"); !strings.HasSuffix(name, ".test") {
			names = append(names, name)
		}
	}
	if want := []string{"cis-debian", "container-host", "pci-dss", "server", "workstation"}; !slices.Equal(names, want) || !slices.Equal(shipped(), want) {
		t.Errorf("in the folder %q, shipped %q, want %q", names, shipped(), want)
	}
}

// TestExpectations runs every file of expectations, which must reach each rule of
// its policy. Rules about the host are reached by TestHost.
func TestExpectations(t *testing.T) {
	all := expectations(t)
	for file, e := range all {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p := compile(t, string(text), file)
		results, coverage, err := policy.Run(p, e, today)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if !r.Passed {
				t.Errorf("%s:%d: %s: wanted %s, came %s", e.Source, r.Line, r.Name, r.Wanted(), r.Came())
			}
			for _, f := range r.Decision.Findings {
				if r.Listener.Risk == policy.None && strings.Contains(f.Message+f.Why+f.Fix, "{risk_") {
					t.Errorf("%s:%d: %s: %s tells of a risk, and none is known of the port", e.Source, r.Line, r.Name, f.Rule)
				}
			}
		}
		if len(coverage.Unmatched) > 0 {
			t.Errorf("%s: no expectation reaches %s", file, strings.Join(coverage.Unmatched, ", "))
		}
		if w := p.Warnings(today); len(w) > 0 {
			t.Errorf("%s: %v", file, w)
		}
	}
	for name := range configs.Policies() {
		if all[fileOf(name)] == nil {
			t.Errorf("%s has no expectations", name)
		}
	}
}

// TestHost holds what the policies find of the host itself, and of what is
// missing.
func TestHost(t *testing.T) {
	states := []policy.State{
		{Word: "coverage-degraded", Detail: "blind"}, {Word: "unprivileged-ports-lowered", Detail: "open"}, {Word: "published-without-socket", Detail: "away"},
	}
	tests := []struct{ profile, reason, found, required string }{
		{"default", "it is for every host", "unprivileged-port-start-lowered low, published-without-socket medium, coverage-degraded medium", ""},
		{"server", "strict, and who cannot log in must know", "coverage-degraded medium, unprivileged-port-start-lowered low, published-without-socket medium", "ssh-required high"},
		{"workstation", "without root it is quiet", "unprivileged-port-start-lowered low, published-without-socket medium", ""},
		{"container-host", "what it publishes has no socket", "coverage-degraded medium, unprivileged-port-start-lowered low, published-without-socket low", ""},
		{"pci-dss", "what is published is a service as well", "coverage-degraded medium, unprivileged-port-start-lowered low, published-without-socket high", ""},
		{"cis-debian", "the benchmark asks for no more", "coverage-degraded medium, unprivileged-port-start-lowered low, published-without-socket medium", ""},
	}
	for _, test := range tests {
		p := compile(t, string(configs.Policies()[test.profile]), test.profile)
		var found, required []string
		for _, f := range p.Judge(states) {
			found = append(found, f.Rule+" "+f.Severity.String())
			if strings.Contains(f.Message, "{") {
				t.Errorf("%s: %s: %q", test.profile, f.Rule, f.Message)
			}
		}
		for _, r := range p.Requirements() {
			required = append(required, r.Rule+" "+r.Severity.String())
		}
		if got := strings.Join(found, ", "); got != test.found {
			t.Errorf("%s: %s: found %q, want %q", test.profile, test.reason, got, test.found)
		}
		if got := strings.Join(required, ", "); got != test.required {
			t.Errorf("%s: %s: requires %q, want %q", test.profile, test.reason, got, test.required)
		}
	}
}

// TestRequired holds what fulfils the requirement of the server.
func TestRequired(t *testing.T) {
	p := compile(t, string(configs.Policies()["server"]), "server")
	systemd := policy.Owner{How: "socket unit", Root: policy.Yes, Executable: "/usr/lib/systemd/systemd", Unit: "ssh.socket"}
	tests := []struct {
		reason string
		port   registry.Port
		owner  policy.Owner
		want   policy.Answer
	}{
		{"sshd", 22, policy.Owner{Root: policy.Yes, Executable: "/usr/sbin/sshd"}, policy.Yes},
		{"systemd for sshd", 22, systemd, policy.Yes},
		{"another port", 2222, systemd, policy.No},
		{"another program", 22, policy.Owner{How: "process", Root: policy.Yes, Executable: "/opt/x"}, policy.No},
		{"a program that cannot be seen proves nothing", 22, policy.Owner{How: "denied"}, policy.Unknown},
	}
	for _, test := range tests {
		met := []policy.Answer{policy.No}
		p.Meets(met, policy.Listener{Transport: registry.TCP, Port: test.port, Owners: []policy.Owner{test.owner}}, today)
		if met[0] != test.want {
			t.Errorf("%s: %v, want %v", test.reason, met[0], test.want)
		}
	}
}

// ownedBy makes a question about one of the owners of a listener.
func ownedBy(holds func(*policy.Owner) bool) func(*policy.Listener) bool {
	return func(l *policy.Listener) bool {
		return slices.ContainsFunc(l.Owners, func(o policy.Owner) bool { return holds(&o) })
	}
}

// cases are those that every policy has to get right where they concern it.
func cases() map[string]func(*policy.Listener) bool {
	by := func(name string) func(*policy.Listener) bool {
		return ownedBy(func(o *policy.Owner) bool { return path.Base(strings.ReplaceAll(o.Executable, `\`, "/")) == name })
	}
	authority := func(word string) func(*policy.Listener) bool {
		return func(l *policy.Listener) bool { return l.Authority == word }
	}
	udp := func(port registry.Port) func(*policy.Listener) bool {
		return func(l *policy.Listener) bool { return l.Port == port && l.Transport == registry.UDP }
	}
	kernel := ownedBy(func(o *policy.Owner) bool { return o.How == "kernel" })
	return map[string]func(*policy.Listener) bool{
		"root opened it, then dropped its rights": authority("creator-root"),
		"CAP_NET_BIND_SERVICE":                    authority("capability"),
		"pid 1 holds the socket": ownedBy(func(o *policy.Owner) bool {
			return o.How == "socket unit" && strings.HasSuffix(o.Executable, "/systemd")
		}),
		"docker-proxy": by("docker-proxy"),
		"lockd":        func(l *policy.Listener) bool { return kernel(l) && l.Ephemeral == policy.Yes && l.Port < 49152 },
		"WireGuard":    func(l *policy.Listener) bool { return kernel(l) && udp(51820)(l) },
		"DHCP":         udp(68),
		"DHCPv6":       udp(546),
		"mDNS":         udp(5353),
		"chrony":       udp(323),
		"a UDP client": func(l *policy.Listener) bool { return l.Transport == registry.UDP && l.Ephemeral == policy.Yes },
		"svchost in the dynamic range": func(l *policy.Listener) bool {
			return by("svchost.exe")(l) && registry.RangeOf(l.Port) == registry.Dynamic
		},
		"the process System of Windows": func(l *policy.Listener) bool {
			return kernel(l) && registry.RangeOf(l.Port) == registry.Dynamic && l.Transport == registry.TCP
		},
		"a rootless container":               by("rootlessport"),
		"a user namespace":                   authority("user namespace"),
		"ip_unprivileged_port_start lowered": authority("sysctl"),
	}
}

// TestCases holds that the expectations of each policy have the cases that
// listing sockets goes wrong on. What is left out does not concern it.
func TestCases(t *testing.T) {
	leftOut := map[string][]string{
		"container-host": {"svchost in the dynamic range", "the process System of Windows"}, // it is Linux's
		"cis-debian":     {"svchost in the dynamic range", "the process System of Windows"}, // it is Debian's
	}
	all := expectations(t)
	for name := range configs.Policies() {
		e := all[fileOf(name)]
		if e == nil {
			t.Fatalf("%s has no expectations", name)
		}
		for c, is := range cases() {
			has := slices.ContainsFunc(e.List, func(one policy.Expectation) bool { return is(&one.Listener) })
			if !has && !slices.Contains(leftOut[name], c) {
				t.Errorf("%s: no expectation has the case %q", name, c)
			}
		}
	}
}

// TestTexts holds that each rule of a profile says why it is there and what to do,
// and under which names others look for it; of pci-dss who answers for it, too.
func TestTexts(t *testing.T) {
	for _, name := range shipped() {
		var file struct {
			Extends string
			Rules   []struct {
				ID, Verdict, Reason, Owner, Message, Why, Fix string
				Tags                                          []string
			}
		}
		if err := yaml.Unmarshal(configs.Policies()[name], &file); err != nil {
			t.Fatal(err)
		}
		if file.Extends != "" {
			t.Errorf("%s extends %s: a profile is complete", name, file.Extends)
		}
		for _, r := range file.Rules {
			switch {
			case r.Verdict == "allow" && r.Reason == "":
				t.Errorf("%s: %s has no reason", name, r.ID)
			case r.Verdict == "allow" && name == "pci-dss" && r.Owner == "":
				t.Errorf("%s: %s has no owner", name, r.ID)
			case r.Verdict != "allow" && (r.Message == "" || r.Why == "" || r.Fix == "" || len(r.Tags) == 0):
				t.Errorf("%s: %s does not say what, why, what to do, or has no tags", name, r.ID)
			}
		}
	}
}

// TestTemplates holds that the templates of pci-dss, once their # is taken away,
// are rules that allow what they name.
func TestTemplates(t *testing.T) {
	text := regexp.MustCompile(`(?m)^  #(- |  )`).ReplaceAllString(string(configs.Policies()["pci-dss"]), "  $1")
	p := compile(t, text, "pci-dss")
	if w := p.Warnings(today); len(w) > 0 {
		t.Error(w)
	}
	nginx := func(port registry.Port) policy.Listener {
		return policy.Listener{
			Transport: registry.TCP, Port: port, Scope: policy.Wildcard,
			Owners: []policy.Owner{{How: "process", User: "root", Executable: "/usr/sbin/nginx", Unit: "nginx.service"}},
		}
	}
	review := time.Date(2099, 6, 20, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		reason string
		port   registry.Port
		at     time.Time
		want   string
	}{
		{"a payment page", 443, today, "payment-page"},
		{"the redirection to it, which is insecure and justified", 80, today, "redirection-to-https"},
		{"ten days before its review", 443, review, policy.ExpiringRule},
		{"after it nothing allows it", 443, review.AddDate(0, 1, 0), "unjustified"},
		{"another port", 8444, today, "unjustified"},
	}
	for _, test := range tests {
		if got := p.Decide(nginx(test.port), test.at).Rule; got != test.want {
			t.Errorf("%s: by %s, want %s", test.reason, got, test.want)
		}
	}
}

// TestExtends holds that a policy can build on each profile: what it allows comes
// before the profile, but for alerts that no allowance silences.
func TestExtends(t *testing.T) {
	bob := policy.Owner{
		How: "process", User: "bob", Root: policy.No, Executable: "/opt/app/bin/app",
		Deleted: policy.No, Memory: policy.No, Concealed: policy.No, WorldWritable: policy.No,
	}
	app := policy.Listener{Transport: registry.TCP, Port: 8081, Scope: policy.Wildcard, Namespace: "host", Owners: []policy.Owner{bob}}
	deleted := app
	gone := bob
	gone.Deleted = policy.Yes
	deleted.Owners = []policy.Owner{gone}
	for _, name := range shipped() {
		p := compile(t, "version: 1\nextends: "+name+"\nrules: [{id: app, verdict: allow, match: {port: 8081, executable: /opt/app/bin/app}}]\n", "p.yaml")
		if d := p.Decide(app, today); d.Verdict != policy.Allow || d.Rule != "app" {
			t.Errorf("%s: %v by %s of what is allowed", name, d.Verdict, d.Rule)
		}
		if d := p.Decide(deleted, today); d.Rule != "suspicious-executable-deleted" {
			t.Errorf("%s: %v by %s of a deleted program that is allowed", name, d.Verdict, d.Rule)
		}
	}
}

// TestAcceptedRisks holds how a database server is described by the profile
// server: its port is named twice, and one of these alone allows nothing.
func TestAcceptedRisks(t *testing.T) {
	const accept, rule = "accepted-risks: [5432/tcp]", "  - {id: database, verdict: allow, match: {port: 5432/tcp, user: postgres}}\n"
	server := string(configs.Policies()["server"])
	accepted := strings.Replace(server, "accepted-risks: [0/tcp]", accept, 1)
	if accepted == server {
		t.Fatal("there is no set accepted-risks to replace")
	}
	database := policy.Listener{
		Transport: registry.TCP, Port: 5432, Scope: policy.Wildcard, Risk: policy.High, Owners: []policy.Owner{{How: "process", User: "postgres"}},
	}
	tests := []struct{ reason, text, want string }{
		{"neither", server, "risky-service-high"},
		{"allowed, and its risk not accepted", strings.Replace(server, "rules:\n", "rules:\n"+rule, 1), "risky-service-high"},
		{"its risk accepted, and not allowed", accepted, "default"},
		{"both", strings.Replace(accepted, "rules:\n", "rules:\n"+rule, 1), "database"},
	}
	for _, test := range tests {
		if d := compile(t, test.text, "server").Decide(database, today); d.Rule != test.want {
			t.Errorf("%s: by %s, want %s", test.reason, d.Rule, test.want)
		}
	}
}
