package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/portaudit/portaudit/"

// wall is what stands around a package.
type wall struct {
	imports []string // packages of this module that it may import
	owns    []string // prefixes of import paths that only its owners may import
}

// walls are those of docs/architecture.md. A package that is not here may not
// exist: add it here and there.
var walls = map[string]wall{
	"cmd/portaudit":            {imports: []string{"agent", "agent/alert", "agent/audit", "agent/export", "agent/listen", "configs", "policy", "registry"}, owns: []string{"github.com/kardianos/service", "github.com/spf13/cobra"}},
	"cmd/portaudit-bench":      {imports: []string{"agent/listen", "agent/listen/sockdiag"}},
	"agent":                    {imports: []string{"agent/alert", "agent/audit", "agent/listen", "configs", "policy", "registry"}},
	"agent/listen":             {imports: []string{"agent/listen/container", "agent/listen/digest", "agent/listen/firewall", "agent/listen/iphelper", "agent/listen/securitylog", "agent/listen/sockdiag", "agent/listen/software", "agent/listen/systemd", "agent/listen/trace", "agent/listen/walk", "registry"}, owns: []string{"github.com/shirou/gopsutil"}},
	"agent/listen/container":   {},
	"agent/listen/digest":      {},
	"agent/listen/firewall":    {imports: []string{"registry"}, owns: []string{"github.com/google/nftables", "github.com/mdlayher/netlink"}},
	"agent/listen/iphelper":    {},
	"agent/listen/securitylog": {},
	"agent/listen/sockdiag":    {},
	"agent/listen/software":    {},
	"agent/listen/systemd":     {},
	"agent/listen/trace":       {owns: []string{"github.com/cilium/ebpf"}},
	"agent/listen/walk":        {owns: []string{"github.com/cilium/ebpf"}},
	"agent/audit":              {},
	"agent/audit/chaos":        {imports: []string{"agent/audit"}},
	"agent/export":             {imports: []string{"agent/audit"}},
	"agent/alert":              {imports: []string{"agent/audit", "agent/export"}, owns: []string{"github.com/prometheus/"}},
	"policy":                   {imports: []string{"registry"}},
	"registry":                 {},
	"configs":                  {},
	"registry/internal/merge":  {imports: []string{"registry"}},
	"registry/internal/pack":   {imports: []string{"registry"}},
	"packaging":                {},
}

// TestWalls holds the architecture for every system that is built for.
func TestWalls(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skipf("needs the go command to list imports: %v", err)
	}
	for _, system := range []string{"linux", "windows", "darwin"} {
		t.Run(system, func(t *testing.T) {
			for _, p := range listPackages(t, system) {
				checkWalls(t, p)
			}
		})
	}
}

type listed struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T, system string) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 7 {
		t.Fatalf("only %d packages listed: %v", len(packages), packages)
	}
	return packages
}

func checkWalls(t *testing.T, p listed) {
	t.Helper()
	name := strings.TrimPrefix(p.ImportPath, module)
	own, known := walls[name]
	if !known && !strings.Contains(name, "/testdata/") {
		t.Errorf("package %s is not in the architecture", name)
		return
	}
	for _, path := range p.Imports {
		if inner, ours := strings.CutPrefix(path, module); ours && !slices.Contains(own.imports, inner) {
			t.Errorf("%s imports %s, which it may not", name, inner)
		}
		owns := func(w wall) bool {
			return slices.ContainsFunc(w.owns, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
		}
		for owner, w := range walls {
			if owns(w) && !owns(own) {
				t.Errorf("%s imports %s, which only %s may", name, path, owner)
			}
		}
	}
}
