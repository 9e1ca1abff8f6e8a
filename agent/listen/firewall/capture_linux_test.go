package firewall

import (
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the captures in testdata anew (needs root)")

// TestCapture makes the captures in testdata of the rules beside them, and holds
// a capture against what Read makes of the same kernel.
func TestCapture(t *testing.T) {
	files, err := filepath.Glob("testdata/*.rules")
	if err != nil || len(files) == 0 {
		t.Fatalf("no rules: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			newNamespace(t)
			rules, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			load(t, string(rules))
			b := capture(t)
			if *update {
				if err := os.WriteFile(strings.TrimSuffix(f, ".rules")+".capture", b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			fromCapture, err := readCapture(b)
			if err != nil {
				t.Fatal(err)
			}
			fromKernel, err := Read()
			if err != nil {
				t.Fatal(err)
			}
			if a, b := fromCapture.Rules(), fromKernel.Rules(); a != b || a == 0 {
				t.Errorf("the capture has %d rules, the kernel %d", a, b)
			}
		})
	}
}

// appendRecord appends one record of a capture.
func appendRecord(b []byte, kind uint8, body []byte) []byte {
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// capture records what the kernel says of the calling thread's namespace.
func capture(t *testing.T) []byte {
	t.Helper()
	var b []byte
	d := newDump()
	err := dumpNftables(d, func(kind uint8, m []byte) error {
		b = appendRecord(b, kind, m)
		return d.add(kind, m)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range iptablesKinds() {
		kind := uint8(captureIPv4)
		if k.layout.family == familyIPv6 {
			kind = captureIPv6
		}
		err := k.dump(func(name string, raw, entries []byte) error {
			b = appendRecord(b, captureName, []byte(name))
			b = appendRecord(b, captureInfo, raw)
			b = appendRecord(b, kind, entries)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b
}
