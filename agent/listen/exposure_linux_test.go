package listen

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portaudit/portaudit/registry"
)

// TestExposureOfRealRules loads rules of nftables in a namespace of its own and
// holds the words for its listeners against them, and again once they are gone.
func TestExposureOfRealRules(t *testing.T) {
	needRoot(t)
	for _, tool := range []string{"nft", "ip", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const setup = `ip link set lo up; ip link add veth0 type veth peer name veth1; ip link set veth0 up; ip address add 192.0.2.1/24 dev veth0
nft -f - <<END
table inet filter {
	chain input {
		type filter hook input priority 0; policy drop;
		iif lo accept
		ct state established,related accept
		tcp dport 8001 accept
		ip saddr 192.0.2.0/25 tcp dport 8002 accept
	}
}
END
exec "$0"`
	for _, tt := range []struct {
		reason, address string
		want, without   Reach
	}{
		{"a rule lets it through", "0.0.0.0:8001", ReachNetwork, ReachNetwork},
		{"a rule lets some through", "0.0.0.0:8002", ReachRestricted, ReachNetwork},
		{"no rule lets it through", "0.0.0.0:8003", ReachBlocked, ReachNetwork},
		{"loopback, whatever the rules", "127.0.0.1:8003", ReachHost, ReachHost},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			// In a pid namespace of its own the child's process 1 is in this network
			// namespace too, which makes it the host's.
			script := strings.Replace(setup, `exec "$0"`, childMode+`=reach exec "$0"`, 1)
			cmd := exec.Command("unshare", "--net", "--pid", "--fork", "--mount-proc", "sh", "-ec", "("+script+")", self)
			cmd.Env = append(os.Environ(), "REACH_ADDRESS="+tt.address)
			cmd.SysProcAttr = &syscall.SysProcAttr{}
			_, printed := start(t, cmd)
			if !slices.Equal(printed, []string{tt.want.String(), tt.without.String()}) {
				t.Errorf("%s is %q, want %s, and %s without the rules", tt.address, printed, tt.want, tt.without)
			}
		})
	}
}

// TestExposureInsideNamespace loads rules in a namespace that is not the host's:
// they are those that count there.
func TestExposureInsideNamespace(t *testing.T) {
	needRoot(t)
	for _, tool := range []string{"nft", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const setup = `ip link set lo up; ip link add veth0 type veth peer name veth1; ip link set veth0 up; ip address add 192.0.2.1/24 dev veth0
nft 'add table inet filter'
nft 'add chain inet filter input { type filter hook input priority 0; policy accept; }'
nft 'add rule inet filter input tcp dport 8003 drop'
exec "$0"`
	for _, tt := range []struct {
		reason, address string
		port            registry.Port
		want, without   Reach
	}{
		{"no rule concerns it", "0.0.0.0:8001", 8001, ReachNamespace, ReachNamespace},
		{"a rule drops it", "0.0.0.0:8003", 8003, ReachBlocked, ReachNamespace},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			cmd := exec.Command("sh", "-ec", setup, self)
			cmd.Env = append(os.Environ(), childMode+"=tcp "+tt.address)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
			process, _ := start(t, cmd)
			e := openTest(t, Options{})
			look := func() Exposure {
				e.beat = time.Time{}
				s := snapshotOf(t, e)
				i := slices.IndexFunc(s.Sockets, func(k Socket) bool { return k.Port == tt.port && k.Namespace != HostNamespace })
				if i < 0 {
					t.Fatalf("port %d is not in the snapshot", tt.port)
				}
				return s.Sockets[i].Exposure
			}
			if x := look(); x.Reach != tt.want || !strings.Contains(x.Sentence, "the packet filter of its namespace") {
				t.Errorf("it is %s: %s, want %s", x.Reach, x.Sentence, tt.want)
			}
			flush := exec.Command("nsenter", "-n", "-t", strconv.Itoa(process.Pid), "nft", "flush", "ruleset")
			if out, err := flush.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if x := look(); x.Reach != tt.without {
				t.Errorf("without the rules it is %s: %s, want %s", x.Reach, x.Sentence, tt.without)
			}
		})
	}
}
