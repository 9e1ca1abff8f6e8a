package firewall

import (
	"slices"
	"strings"
	"testing"
)

func TestParseProxy(t *testing.T) {
	const docker = "docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 8080 -container-ip 172.17.0.2 -container-port 80"
	tests := []struct {
		reason, command string
		want            []string
	}{
		{"docker", "/usr/bin/" + docker, []string{"tcp *:8080-8080 > 172.17.0.2:80-80"}},
		{"docker 28, which hands down the socket", docker + " -use-listen-fd", []string{"tcp *:8080-8080 > 172.17.0.2:80-80"}},
		{"one address", strings.Replace(docker, "0.0.0.0", "127.0.0.1", 1), []string{"tcp 127.0.0.1:8080-8080 > 172.17.0.2:80-80"}},
		{"IPv6", strings.Replace(docker, "0.0.0.0", "::", 1), []string{"tcp *:8080-8080 > 172.17.0.2:80-80"}},
		{"other ways to write flags", "docker-proxy --proto=sctp --host-ip=192.0.2.1 --host-port=1 --container-ip=fd00::2 --container-port=2", []string{"sctp 192.0.2.1:1-1 > fd00::2:2-2"}},
		{"no port", strings.Replace(docker, "8080", "", 1), nil},
		{"a port too great", strings.Replace(docker, "8080", "80800", 1), nil},
		{"no address", strings.Replace(docker, "172.17.0.2", "host", 1), nil},
		{"a flag without value", docker[:len(docker)-3], nil},
		{"another program", strings.Replace(docker, "docker-proxy", "proxy", 1), nil},
		{"no arguments", "docker-proxy", nil},
		{"rootlesskit", "rootlesskit --net=slirp4netns -p 127.0.0.1:8080:80/tcp --publish=53:5353/udp sh",
			[]string{"tcp 127.0.0.1:8080-8080 > :80-80 (into its network namespace)", "udp *:53-53 > :5353-5353 (into its network namespace)"}},
		{"rootlesskit and IPv6", "rootlesskit -p [::1]:8080:80/tcp6", []string{"tcp ::1:8080-8080 > :80-80 (into its network namespace)"}},
		{"rootlesskit without a protocol", "rootlesskit -p 8080:80", nil},
		{"pasta, as podman starts it", "/usr/bin/pasta --config-net -t 8080-8081:80-81 -u none -T none",
			[]string{"tcp *:8080-8081 > :80-81 (into its network namespace)"}},
		{"pasta at an address of an interface", "pasta -t 127.0.0.1%lo/22,80:8080,~90", []string{
			"tcp 127.0.0.1:22-22%lo > :22-22 (into its network namespace)", "tcp 127.0.0.1:80-80%lo > :8080-8080 (into its network namespace)"}},
		{"podman's rootlessport tells nothing", "rootlessport", nil},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			var got []string
			for _, p := range ParseProxy(strings.Fields(tt.command)) {
				got = append(got, brief(p))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := ParseProxy(nil); got != nil {
		t.Errorf("no process publishes %v", got)
	}
}

// FuzzProxy feeds the arguments of programs that publish ports.
func FuzzProxy(f *testing.F) {
	f.Add("docker-proxy\n-proto\ntcp\n-host-ip\n0.0.0.0\n-host-port\n8080\n-container-ip\n172.17.0.2\n-container-port\n80")
	f.Add("rootlesskit\n-p\n[::1]:8080:80/tcp6")
	f.Add("pasta\n-t\n127.0.0.1%eth0/80-81:90-91,53")
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range ParseProxy(strings.Split(s, "\n")) {
			if p.Transport == 0 || p.Ports.First > p.Ports.Last || p.Because == "" {
				t.Errorf("%q: %+v", s, p)
			}
		}
	})
}
