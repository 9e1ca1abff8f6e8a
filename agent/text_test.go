package agent

import (
	"testing"

	"github.com/portaudit/portaudit/agent/audit"
)

func TestProgramText(t *testing.T) {
	tests := []struct {
		reason string
		owner  audit.Owner
		want   string
	}{
		{"file and name agree", audit.Owner{Executable: "/usr/sbin/sshd", Command: "sshd"}, "sshd"},
		{"the name is cut off by the kernel", audit.Owner{Executable: "/usr/bin/a-program-with-a-long-name", Command: "a-program-with-"}, "a-program-with-a-long-name"},
		{"the name is another", audit.Owner{Executable: "/usr/bin/redis-check-rdb", Command: "redis-server"}, "redis-check-rdb (redis-server)"},
		{"a program that calls itself sshd", audit.Owner{Executable: "/tmp/evil", Command: "sshd"}, "evil (sshd)"},
		{"with the command line told", audit.Owner{Executable: "/usr/sbin/sshd", Command: "/usr/sbin/sshd -D"}, "sshd"},
		{"with a quoted one", audit.Owner{Executable: "/usr/bin/redis-check-rdb", Command: "'redis-server *:6379'"}, "redis-check-rdb (redis-server)"},
		{"Windows", audit.Owner{Executable: `C:\Windows\System32\svchost.exe`, Command: "svchost.exe"}, "svchost.exe"},
		{"a backslash is a part of a name elsewhere", audit.Owner{Executable: `/tmp/x\sshd`}, `x\sshd`},
		{"no file", audit.Owner{Command: "kthread"}, "kthread"},
		{"no permission", audit.Owner{How: "denied"}, "unknown (no permission)"},
		{"the kernel", audit.Owner{How: "kernel"}, "the kernel"},
		{"nothing", audit.Owner{}, "unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			if got := ProgramText(tt.owner); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
