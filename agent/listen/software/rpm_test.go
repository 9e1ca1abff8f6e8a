package software

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRPM(t *testing.T) {
	stores := []struct {
		reason string
		files  map[string]string // name below the database's directory, and in testdata
	}{
		{"SQLite", map[string]string{"rpmdb.sqlite": "rpmdb.sqlite"}},
		{"SQLite, a package in its log only", map[string]string{"rpmdb.sqlite": "wal.sqlite", "rpmdb.sqlite-wal": "wal.sqlite-wal"}},
		{"ndb", map[string]string{"Packages.db": "Packages.db"}},
		{"Berkeley DB", map[string]string{"Packages": "Packages"}},
		{"Berkeley DB of a big-endian machine", map[string]string{"Packages": "Packages.big"}},
		{"SQLite before the Berkeley DB that it was made from", map[string]string{"rpmdb.sqlite": "rpmdb.sqlite", "Packages": "Packages"}},
	}
	for _, home := range rpmHomes {
		for _, store := range stores {
			t.Run(store.reason+" in "+home, func(t *testing.T) {
				files := map[string]string{}
				for name, data := range store.files {
					files[home+"/"+name] = string(unpack(t, data))
				}
				checkOwners(t, system(t, files), map[string]Package{
					"/usr/bin/tiny":                         tiny,
					"/usr/sbin/tinyd":                       tiny,
					"/usr/share/tiny/data-file-number-1":    tiny,
					"/usr/share/tiny/data-file-number-150":  tiny,
					"/opt/small/tiny":                       small,
					"/usr/share/tiny/data-file-number-1500": {},
					"/tiny":                                 {},
					"/usr/bin/absent":                       {},
					"/zzz/last":                             {},
				})
			})
		}
	}
}

// TestRPMMergedSbin is Fedora 42: the package lists /usr/sbin/tinyd and the
// program runs as /usr/bin/tinyd.
func TestRPMMergedSbin(t *testing.T) {
	root := system(t, map[string]string{"var/lib/rpm/rpmdb.sqlite": string(unpack(t, "rpmdb.sqlite")), "usr/bin/tinyd": ""})
	link(t, "bin", filepath.Join(root, "usr/sbin"))
	link(t, "usr/sbin", filepath.Join(root, "sbin"))
	checkOwners(t, root, map[string]Package{"/usr/bin/tinyd": tiny, "/usr/sbin/tinyd": tiny, "/sbin/tinyd": tiny, "/sbin/tiny": tiny})
}

func TestRPMDamaged(t *testing.T) {
	tests := []struct {
		reason, file, data string
		change             func([]byte) []byte
		want               string
	}{
		{"no SQLite file", "rpmdb.sqlite", "rpmdb.sqlite", func(b []byte) []byte { return b[1:] }, "no SQLite database"},
		{"an empty file", "rpmdb.sqlite", "rpmdb.sqlite", func([]byte) []byte { return nil }, "no SQLite database"},
		{"the rows are missing", "rpmdb.sqlite", "rpmdb.sqlite", func(b []byte) []byte { return b[:8192] }, "unexpected EOF"},
		{"UTF-16", "rpmdb.sqlite", "rpmdb.sqlite", func(b []byte) []byte { b[59] = 2; return b }, "encoding 2"},
		{"ndb cut short", "Packages.db", "Packages.db", func(b []byte) []byte { return b[:8192] }, "of 8192 bytes"},
		{"a slot of ndb without its mark", "Packages.db", "Packages.db", func(b []byte) []byte { b[48] = 'x'; return b }, `page 0: no ndb database: a slot begins with "xlot"`},
		{"Berkeley DB cut short", "Packages", "Packages", func(b []byte) []byte { return b[:len(b)-4096] }, "page 9 of 9"},
		{"Berkeley DB, a tree", "Packages", "Packages", func(b []byte) []byte { binary.LittleEndian.PutUint32(b[12:], 0x053162); return b }, "magic 0x53162"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			name := "var/lib/rpm/" + tt.file
			root := system(t, map[string]string{name: string(tt.change(unpack(t, tt.data)))})
			_, err := Open(root).Owners([]string{"/usr/bin/tiny"})
			if err == nil || !strings.HasPrefix(err.Error(), name+": ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one of %s with %q", err, name, tt.want)
			}
		})
	}
}

// TestReadLogTorn cuts the log at every frame: a package whose transaction is
// not whole is not there, and nothing else is lost.
func TestReadLogTorn(t *testing.T) {
	base, log := unpack(t, "wal.sqlite"), unpack(t, "wal.sqlite-wal")
	const frame = logFrameHead + 4096
	frames := (len(log) - logHead) / frame
	seen := false
	for n := range frames + 1 {
		part := log[:logHead+n*frame]
		s := newSearch(nil, []string{"/usr/bin/tiny", "/opt/small/tiny"})
		if err := searchSQLite(reader(base), reader(part), int64(len(part)), s); err != nil {
			t.Fatalf("%d frames: %v", n, err)
		}
		if s.found["/opt/small/tiny"] != small {
			t.Errorf("%d frames: the package of the database is lost", n)
		}
		if now := s.found["/usr/bin/tiny"] == tiny; seen && !now {
			t.Errorf("%d frames: the package is lost again", n)
		} else {
			seen = now
		}
	}
	if !seen {
		t.Error("the whole log does not show the package")
	}
	log[logHead+logFrameHead+100]++ // in the first frame: nothing counts any more
	l, err := readLog(reader(log), int64(len(log)))
	if err != nil || len(l.pages) != 0 {
		t.Errorf("with a wrong checksum: got %d pages, %v, want none", len(l.pages), err)
	}
}

// TestSQLiteGrowingTree: each page of a table leads to the next one 1,000 times,
// so that 18 pages make 10^54 ways. Reading them comes to an end, as it does
// where a page leads to itself.
func TestSQLiteGrowingTree(t *testing.T) {
	const first, leaf, cells, pageSize = 2, 20, 1000, 4096
	b := slices.Concat(unpack(t, "rpmdb.sqlite")[:pageSize], make([]byte, (leaf-1)*pageSize))
	lead := func(from, to uint32) {
		node := b[(from-1)*pageSize:][:pageSize]
		node[0] = sqliteTableNode
		binary.BigEndian.PutUint16(node[3:], cells)
		binary.BigEndian.PutUint32(node[8:], to)
		for i := range cells {
			binary.BigEndian.PutUint16(node[12+2*i:], 4000)
		}
		binary.BigEndian.PutUint32(node[4000:], to)
	}
	for page := uint32(first); page < leaf; page++ {
		lead(page, page+1)
	}
	b[(leaf-1)*pageSize] = sqliteTableLeaf // of no rows
	rows := func() error {
		d, err := openSQLite(reader(b), nil)
		if err != nil {
			t.Fatal(err)
		}
		return d.rows(first, 0, func(record) error { return nil })
	}
	if err := rows(); err == nil || !strings.Contains(err.Error(), "more than 262144 pages") {
		t.Errorf("got error %v, want the bound of pages", err)
	}
	lead(first, first)
	if err := rows(); err == nil || !strings.Contains(err.Error(), "more than 20 levels") {
		t.Errorf("got error %v, want the bound of levels", err)
	}
}

// testHeader makes a header of rpm.
func testHeader(fields ...testField) []byte {
	var index, data []byte
	for _, f := range fields {
		for len(data)%4 != 0 {
			data = append(data, 0)
		}
		for _, n := range []uint32{f.tag, f.kind, uint32(len(data)), f.count} {
			index = binary.BigEndian.AppendUint32(index, n)
		}
		data = append(data, f.data...)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(fields)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return slices.Concat(b, index, data)
}

type testField struct {
	tag, kind, count uint32
	data             string
}

func TestHeaderFiles(t *testing.T) {
	dirs := testField{rpmDirnames, rpmStringArray, 2, "/usr/bin/\x00/\x00"}
	bases := testField{rpmBasenames, rpmStringArray, 3, "a\x00b\x00init\x00"}
	indexes := testField{rpmDirIndexes, rpmInt32, 3, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"}
	tests := []struct {
		reason string
		header []byte
		want   []string
	}{
		{"all", testHeader(dirs, bases, indexes), []string{"/usr/bin/a", "/usr/bin/b", "/init"}},
		{"a file that another package has replaced", testHeader(dirs, bases, indexes, testField{rpmFileStates, rpmChar, 3, "\x00\x01\x00"}), []string{"/usr/bin/a", "/init"}},
		{"a package without files", testHeader(testField{rpmName, rpmString, 1, "x\x00"}), nil},
		{"a value of the wrong type is none", testHeader(dirs, testField{rpmBasenames, rpmInt32, 3, "a\x00b\x00c\x00"}, indexes), nil},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			h, err := parseHeader(tt.header)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if err := h.files(func([]byte) bool { return true }, func(path []byte) { got = append(got, string(path)) }); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestHeaderRefuses(t *testing.T) {
	dirs := testField{rpmDirnames, rpmStringArray, 1, "/usr/bin/\x00"}
	bases := testField{rpmBasenames, rpmStringArray, 2, "a\x00b\x00"}
	tests := []struct {
		reason string
		header []byte
		want   string
	}{
		{"too short", []byte("1234567"), "7 bytes"},
		{"more entries than bytes", []byte{0, 0, 0, 9, 0, 0, 0, 0}, "9 entries"},
		{"more entries than rpm allows", bytes.Repeat([]byte{0, 1}, 1<<20), "65537 entries"},
		{"a value past the end", testHeader(testField{rpmName, rpmString, 99, "x\x00"}), "tag 1000 has 99 values"},
		{"a file of no directory", testHeader(dirs, bases, testField{rpmDirIndexes, rpmInt32, 2, "\x00\x00\x00\x00\x00\x00\x00\x01"}), "directory 1 of 1"},
		{"fewer directory numbers than files", testHeader(dirs, bases, testField{rpmDirIndexes, rpmInt32, 1, "\x00\x00\x00\x00"}), "1 directory numbers"},
		{"the same directory without end", testHeader(testField{rpmDirnames, rpmStringArray, maxWanted + 1, strings.Repeat("/\x00", maxWanted+1)}), "times the same"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			h, err := parseHeader(tt.header)
			if err == nil {
				err = h.files(func([]byte) bool { return true }, func([]byte) {})
			}
			if !errors.Is(err, errHeader) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestVarint(t *testing.T) {
	tests := []struct {
		reason string
		in     []byte
		want   uint64
		n      int
	}{
		{"one byte", []byte{0x7f, 1}, 127, 1},
		{"two bytes", []byte{0x81, 0x00}, 128, 2},
		{"nine bytes, the last of eight bits", bytes.Repeat([]byte{0xff}, 10), 1<<64 - 1, 9},
		{"cut short", []byte{0x81}, 1, 1},
		{"eight bytes and no ninth", bytes.Repeat([]byte{0x80}, 8), 0, 8},
		{"nothing", nil, 0, 0},
	}
	for _, tt := range tests {
		if got, n := varint(tt.in); got != tt.want || n != tt.n {
			t.Errorf("%s: got %d of %d bytes, want %d of %d", tt.reason, got, n, tt.want, tt.n)
		}
	}
}

func TestRecord(t *testing.T) {
	tests := []struct {
		reason string
		in     record
		column int
		want   int64
		ok     bool
	}{
		{"a byte", record{2, 1, 5}, 0, 5, true},
		{"a negative byte", record{2, 1, 0xfb}, 0, -5, true},
		{"three bytes", record{2, 3, 1, 0, 0}, 0, 65536, true},
		{"six bytes", record{2, 5, 0, 1, 0, 0, 0, 0}, 0, 1 << 32, true},
		{"the number 1 without bytes", record{2, 9}, 0, 1, true},
		{"after a text", record{3, 17, 1, 'a', 'b', 7}, 1, 7, true},
		{"text is no number", record{2, 15, 'a'}, 0, 0, false},
		{"NULL is no number", record{2, 0}, 0, 0, false},
		{"no such column", record{2, 9}, 1, 0, false},
		{"a value past the end", record{2, 4, 1}, 0, 0, false},
		{"a head past the end", record{9, 1, 1}, 0, 0, false},
		{"nothing", nil, 0, 0, false},
	}
	for _, tt := range tests {
		if got, ok := tt.in.integer(tt.column); got != tt.want || ok != tt.ok {
			t.Errorf("%s: got %d, %v, want %d, %v", tt.reason, got, ok, tt.want, tt.ok)
		}
	}
}

// BenchmarkRPM is one question to each form of the database, of two packages
// and 153 files.
func BenchmarkRPM(b *testing.B) {
	for _, store := range []string{"rpmdb.sqlite", "Packages.db", "Packages"} {
		b.Run(store, func(b *testing.B) {
			root := system(b, map[string]string{"var/lib/rpm/" + store: string(unpack(b, store))})
			b.ReportAllocs()
			for b.Loop() {
				if _, owned, err := Open(root).Owner("/usr/sbin/tinyd"); !owned || err != nil {
					b.Fatal(owned, err)
				}
			}
		})
	}
}
