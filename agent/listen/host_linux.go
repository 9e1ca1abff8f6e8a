package listen

import "context"

// hostNamespace returns the rules for ports of this process's network namespace.
func hostNamespace(context.Context) (Namespace, []Gap) {
	ns := Namespace{Label: HostNamespace, Complete: true}
	if err := readRules("/proc", &ns); err != nil {
		return ns, []Gap{{Source: "/proc/sys/net", Reason: err.Error(), Hides: HidesFacts}}
	}
	return ns, nil
}
