//go:build !linux && !windows

package listen

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

var errNoPortRules = errors.New("the rules for ports are not read on this platform")

// hostNamespace returns the host's namespace without its rules for ports.
func hostNamespace(context.Context) (Namespace, []Gap) {
	err := fmt.Errorf("%s: %w", runtime.GOOS, errNoPortRules)
	return Namespace{Label: HostNamespace, Complete: true},
		[]Gap{{Source: "port rules", Reason: err.Error(), Hides: HidesFacts}}
}
