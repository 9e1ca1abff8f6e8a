package agent

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/configs"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

// busyHost is a host of 2,000 processes with six listeners each, as an engine
// tells of it: the sockets of a process share its owners.
func busyHost() listen.Snapshot {
	s := listen.Snapshot{
		Time: time.Now(), Generation: 1,
		Namespaces: []listen.Namespace{{
			Label: listen.HostNamespace, Complete: true, UnprivilegedStart: 1024, StartKnown: true,
			Ephemeral: listen.PortRange{First: 32768, Last: 60999}, EphemeralKnown: true,
		}},
	}
	for p := range 2000 {
		owners := []listen.Owner{{
			How: listen.Process, PID: 1000 + p, Start: uint64(p), Started: s.Time.Add(-time.Hour), Parent: 1,
			Executable: "/usr/lib/server/bin/server", Command: fmt.Sprintf("server-%d", p), User: "service",
			UID: listen.UID{ID: 990, Known: true}, Unit: "server.service", Cgroup: "/system.slice/server.service",
			Deleted: listen.No, WorldWritable: listen.No, BindCapability: listen.No, SHA256: [32]byte{1, byte(p)},
			Package: listen.Package{Manager: "dpkg", Name: "server", Version: "1.2.3-4"},
			Parents: []listen.Ancestor{{PID: 1, Command: "systemd"}},
		}}
		for i := range 6 {
			s.Sockets = append(s.Sockets, listen.Socket{
				Transport: registry.TCP, Address: netip.IPv6Unspecified(), Port: registry.Port(1024 + 6*p + i),
				Namespace: listen.HostNamespace, Creator: owners[0].UID, Owners: owners, Backlog: 128,
				Exposure: listen.Exposure{Reach: listen.ReachNetwork, Sentence: "It takes connections on every address of the host."},
			})
		}
	}
	return s
}

// BenchmarkScan makes the report of a busy host under the default policy.
func BenchmarkScan(b *testing.B) {
	p, err := policy.Parse(configs.Policy(), "default")
	if err != nil {
		b.Fatal(err)
	}
	s := busyHost()
	o := ScanOptions{
		List:    func(context.Context) (listen.Snapshot, error) { return s, nil },
		Catalog: &registry.Catalog{Registry: registry.Embedded()}, Policy: p, StateDir: b.TempDir(),
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Scan(b.Context(), o); err != nil {
			b.Fatal(err)
		}
	}
}
