package listen

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/portaudit/portaudit/agent/listen/digest"
	"github.com/portaudit/portaudit/registry"
)

// TestHashLimit: what is too large is told of the owner, and in a note with the
// limit.
func TestHashLimit(t *testing.T) {
	_, at := listenTCP(t, "tcp4", "127.0.0.1:0")
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		reason   string
		limit    int64
		hashed   bool
		unhashed Unhashed
		note     string // "": none that this program is too large
	}{
		{"the default", 0, true, UnhashedOther, ""},
		{"a program of just the limit", self.Size(), true, UnhashedOther, ""},
		{"a program of a byte more", self.Size() - 1, false, UnhashedLarge, "programs larger than " + binaryUnits(self.Size()-1) + " were not hashed"},
		{"a small limit", 1 << 10, false, UnhashedLarge, "programs larger than 1 KiB were not hashed"},
		{"no hashing", -1, false, UnhashedOther, "programs are not hashed"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			l, err := Open(Options{Way: Proc, Once: true, MaxDigest: tt.limit})
			if err != nil {
				t.Fatal(err)
			}
			s, err := l.List(t.Context())
			if err := errors.Join(err, l.Close()); err != nil {
				t.Fatal(err)
			}
			o := find(t, s, registry.TCP, at).Owners[0]
			if (o.SHA256 != [32]byte{}) != tt.hashed || o.Unhashed != tt.unhashed {
				t.Errorf("SHA-256 %x, unhashed %q, want %q", o.SHA256, o.Unhashed, tt.unhashed)
			}
			told := slices.ContainsFunc(s.Coverage.Notes, func(n Note) bool { return n.Source == "sha256" && strings.HasSuffix(n.Text, tt.note) })
			if tt.note != "" && !told {
				t.Errorf("notes are %q, want one that ends with %q", s.Coverage.Notes, tt.note)
			}
		})
	}
}

// TestTooLargeNow: the note counts programs that run now, each once, and not
// those that ran.
func TestTooLargeNow(t *testing.T) {
	large := func(inode uint64) *known {
		return &known{processFacts: processFacts{exe: fileID{1, inode}, owner: Owner{Unhashed: UnhashedLarge}}}
	}
	e := &engine{processes: map[int32]*known{1: large(7), 2: large(7), 3: large(8), 4: {}}}
	if n := e.tooLarge(); n != 2 {
		t.Errorf("%d programs, want 2", n)
	}
	delete(e.processes, 3)
	if n := e.tooLarge(); n != 1 {
		t.Errorf("%d programs after one has ended, want 1", n)
	}
}

func TestBinaryUnits(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1023: "1023 bytes", 1 << 10: "1 KiB", 64 << 20: "64 MiB", 3 << 29: "1536 MiB", 1 << 62: "4194304 TiB",
	} {
		if got := binaryUnits(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

// TestDigestLater: who may not wait is not made to, and gets what is known.
func TestDigestLater(t *testing.T) {
	e := &engine{hasher: digest.New(digest.Limits{}), patient: digest.New(digest.Limits{})}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // the digest of a file that changed just now is not kept
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		t.Fatal(err)
	}
	want := digest.Sum(sha256.Sum256([]byte("program")))
	for _, tt := range []struct {
		reason string
		most   int64
		sum    digest.Sum
		why    Unhashed
	}{
		{"larger than what there is time for", 6, digest.Sum{}, UnhashedPending},
		{"as large as what there is time for", 7, want, UnhashedOther},
		{"too large, and known by now", 6, want, UnhashedOther},
	} {
		sum, why := e.digest(t.Context(), path, fileID{s.Dev, s.Ino}, tt.most)
		if sum != tt.sum || why != tt.why {
			t.Errorf("%s: %x, %v, want %x, %v", tt.reason, sum, why, tt.sum, tt.why)
		}
	}
}

// TestHashBeside hashes this program beside everything else: nobody waits, and
// afterwards its digest is known.
func TestHashBeside(t *testing.T) {
	var s unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &s); err != nil {
		t.Fatal(err)
	}
	self, pid := fileID{s.Dev, s.Ino}, int32(os.Getpid())
	for _, tt := range []struct {
		reason  string
		limit   int64
		exe     fileID // that the process ran when it was read
		want    Unhashed
		summed  bool
		hurried bool // the engine is closed meanwhile
	}{
		{"a large program", 0, self, UnhashedOther, true, false},
		{"it was too large to be read", 1, self, UnhashedLarge, false, false},
		{"the process runs another one by now", 0, fileID{1, 1}, UnhashedPending, false, false},
		{"the engine is closed before it was read", 0, self, UnhashedOther, false, true},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			limits := digest.Limits{MaxSize: tt.limit}
			e := &engine{
				base: procRoot, hasher: digest.New(limits), patient: digest.New(limits),
				pending: map[int32]bool{pid: true}, unhashable: map[fileID]bool{}, processes: map[int32]*known{pid: {processFacts: processFacts{exe: tt.exe}}},
			}
			e.hashBeside()
			if tt.hurried {
				e.stopHashing()
			}
			for deadline := time.Now().Add(10 * time.Second); e.hashing != nil; e.hashed() {
				if time.Sleep(time.Millisecond); time.Now().After(deadline) {
					t.Fatal("it is being hashed still")
				}
			}
			sum, why := e.digest(t.Context(), "/proc/self/exe", tt.exe, 1)
			if (sum != digest.Sum{}) != tt.summed || why != tt.want {
				t.Errorf("the digest is %x, %v; want one: %v, %v", sum, why, tt.summed, tt.want)
			}
		})
	}
}
