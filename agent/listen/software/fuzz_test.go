package software

import (
	"bufio"
	"bytes"
	"path"
	"strings"
	"testing"
)

// wantAll asks for what the databases of the tests have, and the root itself.
func wantAll() *search {
	return newSearch(links{{"/bin", "/usr/bin"}}, []string{
		"/usr/bin/tiny", "/opt/small/tiny", "/usr/bin/env", "/usr/sbin/nginx", "/.init", "/x",
	})
}

// check fails if a search found what was not asked for.
func (s *search) check(t *testing.T) {
	for name := range s.found {
		if _, asked := s.names[name]; !asked || !path.IsAbs(name) {
			t.Errorf("%q was found and not asked for", name)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(testHeader(
		testField{rpmName, rpmString, 1, "x\x00"}, testField{rpmEpoch, rpmInt32, 1, "\x00\x00\x00\x02"},
		testField{rpmDirnames, rpmStringArray, 2, "/usr/bin/\x00/\x00"},
		testField{rpmBasenames, rpmStringArray, 2, "tiny\x00.init\x00"},
		testField{rpmDirIndexes, rpmInt32, 2, "\x00\x00\x00\x00\x00\x00\x00\x01"},
		testField{rpmFileStates, rpmChar, 2, "\x00\x01"},
	))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := wantAll()
		_ = s.searchHeader(b) // most are refused
		s.check(t)
	})
}

// FuzzSQLite changes a real database at any place, and its log: a flip at an
// offset is worth more than a database made of noise.
func FuzzSQLite(f *testing.F) {
	whole, base, log := unpack(f, "rpmdb.sqlite"), unpack(f, "wal.sqlite"), unpack(f, "wal.sqlite-wal")
	f.Add(uint32(16), []byte{2, 0}, false)
	f.Add(uint32(4096*6), []byte{2, 0, 0, 255, 255}, false)
	f.Add(uint32(40), []byte{0, 0, 0, 1}, true)
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, inLog bool) {
		s := wantAll()
		if inLog {
			b := patched(log, at, patch)
			_ = searchSQLite(reader(base), reader(b), int64(len(b)), s)
		} else {
			_ = searchSQLite(reader(patched(whole, at, patch)), nil, 0, s)
		}
		s.check(t)
	})
}

// patched returns a copy of b with patch at an offset, which wraps around.
func patched(b []byte, at uint32, patch []byte) []byte {
	b = bytes.Clone(b)
	copy(b[int(at)%len(b):], patch)
	return b
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte{3, 17, 1, 'a', 'b', 7})
	f.Add([]byte{2, 15, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		text, _, ok := record(b).entry()
		if ok && !bytes.Contains(b, text) {
			t.Errorf("text %q is not in the record", text)
		}
		if _, n := varint(b); n > min(len(b), 9) {
			t.Errorf("a number of %d bytes in %d", n, len(b))
		}
		for i := range 6 {
			record(b).blob(i)
		}
	})
}

func FuzzNDB(f *testing.F) {
	whole := unpack(f, "Packages.db")
	f.Add(uint32(12), []byte{2})
	f.Add(uint32(40), []byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		s := wantAll()
		b := patched(whole, at, patch)
		_ = readNDB(nil, reader(b), int64(len(b)), "x", s)
		s.check(t)
	})
}

func FuzzBDB(f *testing.F) {
	little, big := unpack(f, "Packages"), unpack(f, "Packages.big")
	f.Add(uint32(20), []byte{0, 2}, false)
	f.Add(uint32(4096+20), []byte{0xff, 0xff}, false)
	f.Add(uint32(512+26), []byte{1, 0xff}, true)
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, isBig bool) {
		b := little
		if isBig {
			b = big
		}
		s := wantAll()
		b = patched(b, at, patch)
		_ = readBDB(nil, reader(b), int64(len(b)), "x", s)
		s.check(t)
	})
}

// FuzzText puts the same text through each parser of lines.
func FuzzText(f *testing.F) {
	for _, seed := range []string{
		apkTest, dpkgTestStatus, "/.\n/usr/bin/env\n", "/a\n/b\n:\n",
		strings.Repeat("a", 32) + "  usr/bin/env\n", "%NAME%\nx\n\n%FILES%\nusr/bin/env\n", "F:\nR:x\nP:p\nR:x",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		scan := func() *bufio.Scanner { return bufio.NewScanner(reader(b)) }
		absolute := func(line []byte) {
			if line[0] != '/' {
				t.Errorf("%q is no absolute path", line)
			}
		}
		s := wantAll()
		_ = parseAPK(scan(), "x", s)
		s.check(t)
		_ = parseList(scan(), "x", absolute)
		_ = parseSums(scan(), "x", absolute)
		_ = parseDiversions(scan(), "x", func(from string, v diversion) {
			if from[0] != '/' || v.to[0] != '/' || v.by == "" {
				t.Errorf("a diversion of %q: %+v", from, v)
			}
		})
		_ = parseControl(scan(), "x", func(c control) {
			if c.name == "" {
				t.Errorf("a paragraph without a name: %+v", c)
			}
		})
		_ = parsePacman(scan(), "x", func(section, value []byte) {
			if len(section) < 3 || len(value) == 0 {
				t.Errorf("section %q, value %q", section, value)
			}
		})
	})
}
