package firewall

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// A capture is what a kernel answered: records of a kind, a length of 4 bytes
// (big-endian) and a body. The kinds of nftables are those of its messages; the
// ones of legacy tables follow on each other: name, information, entries.
const (
	captureName    = 0xf0
	captureInfo    = 0xf1
	captureIPv4    = 0xf2
	captureIPv6    = 0xf3
	captureTooLong = 1 << 20
)

// readCapture makes of a capture what Read makes of the kernel. It is an error
// of the parsers, or none; the capture itself may end anywhere.
func readCapture(b []byte) (Ruleset, error) {
	d := newDump()
	var legacy []chain
	var table, info []byte
	for len(b) >= 5 {
		kind, n := b[0], int(binary.BigEndian.Uint32(b[1:]))
		body := b[5:]
		body = body[:min(n, len(body), captureTooLong)]
		b = b[5+len(body):]
		layout := layoutIPv4
		switch kind {
		case captureName:
			table = body
			continue
		case captureInfo:
			info = body
			continue
		case captureIPv6:
			layout = layoutIPv6
		case captureIPv4:
		default:
			if err := d.add(kind, body); err != nil {
				return Ruleset{}, err
			}
			continue
		}
		chains, err := parseTable(layout, string(table), info, body)
		if err != nil {
			return Ruleset{}, err
		}
		legacy = append(legacy, chains...)
	}
	devices := map[uint32]string{1: "lo", 2: "eth0"}
	return newRuleset(append(d.ruleChains(), legacy...), devices), nil
}

// captures returns the captures in testdata by name. They are of a machine with
// the byte order and alignment of amd64.
func captures(t testing.TB) map[string][]byte {
	t.Helper()
	if !bytes.Equal(native.AppendUint16(nil, 1), []byte{1, 0}) || xt6EntrySize != 168 {
		t.Skip("the captures are of a machine that keeps the least significant byte first and aligns to 8 bytes")
	}
	files, err := filepath.Glob("testdata/*.capture")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	found := make(map[string][]byte)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(f)] = b
	}
	return found
}
