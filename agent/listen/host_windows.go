package listen

import (
	"context"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows"
)

// hostNamespace returns the rules for ports of this host. Windows reserves no
// port for privileged processes. Its range for automatic binds has no
// documented call; netsh shows it.
func hostNamespace(ctx context.Context) (Namespace, []Gap) {
	ns := Namespace{Label: HostNamespace, StartKnown: true, Complete: true}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var err error
	var out []byte
	dir, err := windows.GetSystemDirectory()
	if err == nil {
		// The full path: a netsh.exe in the current directory must not be run.
		out, err = exec.CommandContext(ctx, filepath.Join(dir, "netsh.exe"),
			"int", "ipv4", "show", "dynamicport", "tcp").Output()
	}
	if err == nil {
		ns.Ephemeral, err = parseDynamicPort(out)
	}
	if err != nil {
		return ns, []Gap{{
			Source: "netsh int ipv4 show dynamicport tcp", Reason: err.Error(), Hides: HidesFacts,
		}}
	}
	ns.EphemeralKnown = true
	return ns, nil
}
