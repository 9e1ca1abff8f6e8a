package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// installed runs in a mount namespace of its own, where nothing is installed,
// and with a umask as hardened hosts have. $0 is this program, which runs as
// portaudit by that name.
const installed = `set -eu
umask 077
mount -t tmpfs -o mode=0755 none /var/lib
mount -t tmpfs -o mode=0755 none /var/log
mount -t tmpfs -o mode=0755 none /mnt
cp "$0" /mnt/portaudit && chmod 0755 /mnt/portaudit
printf 'interval: 1s\n' > /mnt/run.yaml && chmod 0644 /mnt/run.yaml
cd /mnt
nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
base=/var/lib/portaudit
daemon() {
	rm -f $base/state/state.json
	./portaudit run --config run.yaml 2>run.txt & pid=$!
	for i in $(seq 300); do test -s $base/state/state.json && break; sleep 0.1; done
	kill -INT $pid; wait $pid
}
import() {
	./portaudit registry import --config run.yaml "$registry" >/dev/null 2>import.txt
}
mode() {
	test "$(stat -c %a $2)" = "$1" || { echo "$3: $2 has mode $(stat -c %a $2), want $1"; exit 1; }
}
check() {
	mode "$1" $base "$2"
	mode 700 $base/state "$2"
	mode 600 $base/state/state.json "$2"
	mode 700 /var/log/portaudit "$2"
	! nobody cat $base/state/state.json 2>/dev/null || { echo "$2: others read the state"; exit 1; }
	nobody ./portaudit scan --config run.yaml --json >scan.json 2>scan.txt || { cat scan.txt; exit 1; }
}
quiet() {
	check 755 "$1"
	test ! -s scan.txt || { echo "$1: a scan without root says:"; cat scan.txt; exit 1; }
}
readable() {
	mode 755 $base/data "$1"
	nobody ./portaudit registry info --config run.yaml | grep -q 2001-02-03 || { echo "$1: others do not read the registry"; exit 1; }
}
warns() {
	grep -q "$1" $2 || { echo "$2 does not say why:"; cat $2; exit 1; }
	grep -q 'the built-in registry is used' scan.txt || { echo "a scan without root says:"; cat scan.txt; exit 1; }
}
registry=$1

import; readable "an import that made it"
rm -r $base
daemon; quiet "a daemon that made it"
import; quiet "an import beside the state"; readable "an import beside the state"

chmod 0700 $base $base/data; import; quiet "an import into what was closed"; readable "an import into what was closed"
chmod 0700 $base; daemon; quiet "a daemon in what was closed"; readable "a daemon in what was closed"

touch $base/notes; chmod 0644 $base/notes; chmod 0700 $base
import; check 700 "a file of somebody's"; warns 'notes would be shown' import.txt

rm $base/notes; touch $base/other; chown 65534 $base/other
daemon; check 700 "a file of another user"; warns 'other would be shown' run.txt

rm $base/other; chown 65534 $base; import
mode 700 $base "the directory of another user"
echo done
`

// TestDirsOfRoot runs daemon and import as root and scans as nobody.
func TestDirsOfRoot(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_ROOT") == "" || os.Geteuid() != 0 {
		t.Skip("needs root and PORTAUDIT_TEST_ROOT=1")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-c", installed, self, writeRegistry(t)).CombinedOutput()
	if err != nil || string(out) != "done\n" {
		t.Errorf("%v:\n%s", err, out)
	}
}

// writeRegistry writes a registry of 2001-02-03 that is long enough to be
// imported, and returns its path.
func writeRegistry(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(`<registry xmlns="http://www.iana.org/assignments" id="service-names-port-numbers"><updated>2001-02-03</updated>`)
	for port := 1; port <= 10_001; port++ {
		fmt.Fprintf(&b, "<record><name>x%d</name><protocol>tcp</protocol><number>%d</number></record>\n", port, port)
	}
	b.WriteString("</registry>\n")
	path := filepath.Join(t.TempDir(), "registry.xml")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
