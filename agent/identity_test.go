package agent

import (
	"testing"

	"github.com/portaudit/portaudit/agent/audit"
)

func TestProgramOf(t *testing.T) {
	manager := audit.Owner{How: "socket unit", Executable: "/usr/lib/systemd/systemd", Unit: "web.socket", Services: []string{"web.service"}}
	web := audit.Owner{How: "process", Executable: "/usr/sbin/web", Unit: "web.service"}
	tests := []struct {
		reason string
		owners []audit.Owner
		want   string
	}{
		{"before a connection starts the service", []audit.Owner{manager}, "unit:web.service"},
		{"and after", []audit.Owner{manager, web}, "unit:web.service"},
		{"a unit that starts one of several", []audit.Owner{{How: "socket unit", Unit: "a.socket", Services: []string{"a.service", "b.service"}}}, "unit:a.socket"},
		{"a container goes before all", []audit.Owner{{How: "process", Container: "c", Unit: "x.service", Executable: "/x"}}, "container:c"},
		{"a login's group is no name", []audit.Owner{{How: "process", Unit: "session-1.scope", Executable: "/x", Command: "y"}}, "exe:/x"},
		{"a name is better than none", []audit.Owner{{How: "process", Command: "y"}}, "command:y"},
		{"workers of one program", []audit.Owner{web, web}, "unit:web.service"},
		{"several programs, in whatever order", []audit.Owner{web, {How: "process", Executable: "/a"}}, "exe:/a+unit:web.service"},
		{"nobody could look", []audit.Owner{{How: "denied"}}, "unresolved"},
		{"nobody looked in time", []audit.Owner{{How: "raced"}}, "unresolved"},
		{"nobody knows", []audit.Owner{{}}, "unresolved"},
		{"the kernel", []audit.Owner{{How: "kernel"}}, "how:kernel"},
	}
	for _, tt := range tests {
		if got := programOf(tt.owners); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}
