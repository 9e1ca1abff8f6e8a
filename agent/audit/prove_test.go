package audit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func keysOf(t testing.TB, dir string) Keys {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, KeyName))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestProve proves each record of a small log, whole and after retention has removed
// its first file.
func TestProve(t *testing.T) {
	m := makeLog(t)
	keys := keysOf(t, m.dir)
	for _, first := range []uint64{1, 10} {
		if first == 10 {
			m.unlink(segment{first: 1, packed: true}.name())
		}
		for seq := uint64(1); seq <= 31; seq++ {
			p, err := Prove(m.dir, seq, keys, nil)
			if seq < first {
				if err == nil || !strings.Contains(err.Error(), "no longer there") {
					t.Errorf("record %d of a log from %d on: %v", seq, first, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("record %d: %v", seq, err)
			}
			e, c, err := p.Verify(keys)
			if err != nil || e.Seq != seq || c.Size != 31 {
				t.Errorf("record %d: %+v, %+v, %v", seq, e, c, err)
			}
		}
	}
}

func TestProveRefuses(t *testing.T) {
	_, foreign := newKey(t, "web1")
	for _, test := range []struct {
		why    string
		seq    uint64
		tamper func(m *maker)
		want   string
		is     error
	}{
		{"behind the last checkpoint", 32, func(*maker) {}, "the last is of 31 records", ErrUnsigned},
		{"no checkpoint", 3, func(m *maker) { m.unlink(CheckpointName) }, "there is none", ErrUnsigned},
		{"no number", 0, func(*maker) {}, "numbered from 1", nil},
		{"no log", 3, func(m *maker) {
			for _, name := range []string{segment{first: 1, packed: true}.name(), segment{first: 10}.name(), segment{first: 19, packed: true}.name(), logName} {
				m.unlink(name)
			}
		}, "audit log", fs.ErrNotExist},
		{"the end is cut off", 3, func(m *maker) { edit(t, m.dir, logName, func(l [][]byte) [][]byte { return l[:4] }) }, "records 30 to 31: missing", nil},
		{"another record was changed, and all behind it", 3, func(m *maker) { remake(t, m, nil, changed(12)) }, "records 1 to 31", nil},
		{"another key", 3, func(*maker) {}, "none of the keys", nil},
	} {
		t.Run(test.why, func(t *testing.T) {
			m := makeLog(t)
			test.tamper(m)
			keys := keysOf(t, m.dir)
			if test.why == "another key" {
				keys = foreign
			}
			_, err := Prove(m.dir, test.seq, keys, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
