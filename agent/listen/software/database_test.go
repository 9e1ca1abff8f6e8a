package software

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestOwnerSeesChanges walks through what a package manager does between two
// questions. The clock is synctest's, the files are real.
func TestOwnerSeesChanges(t *testing.T) {
	for _, indexed := range []bool{false, true} {
		root := system(t, map[string]string{
			dpkgStatus:                   dpkgTestStatus,
			dpkgInfo + "/coreutils.list": "/usr/bin/env\n",
		})
		t.Run(fmt.Sprintf("indexed %v", indexed), func(t *testing.T) { checkChanges(t, root, indexed) })
	}
}

func checkChanges(t *testing.T, root string, indexed bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := Open(root)
		index := func() {
			if !indexed {
				return
			}
			if err := d.Index(); err != nil || d.index == nil {
				t.Errorf("there is no index: %v", err)
			}
		}
		index()
		ask := func(reason, name, version string) {
			t.Helper()
			p, owned, err := d.Owner(name)
			if err != nil || owned != (version != "") || p.Version != version {
				t.Errorf("%s: %s: got %+v, %v, %v, want version %q", reason, name, p, owned, err, version)
			}
		}
		ask("at first", "/usr/bin/env", "9.1-1")
		ask("at first", "/usr/bin/dash", "")
		write(t, filepath.Join(root, dpkgInfo, "dash.list"), "/usr/bin/dash\n")
		touch(t, filepath.Join(root, dpkgInfo))
		ask("answers are kept for a moment", "/usr/bin/dash", "")
		time.Sleep(recheck)
		ask("then a new package is seen", "/usr/bin/dash", "0.5.12-2")
		index()
		write(t, filepath.Join(root, dpkgStatus), "Package: coreutils\nVersion: 9.2\n")
		touch(t, filepath.Join(root, dpkgStatus))
		time.Sleep(recheck)
		ask("and an upgraded one", "/usr/bin/env", "9.2")
		if err := os.Rename(root, root+".old"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(recheck)
		if _, _, err := d.Owner("/usr/bin/env"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("with the root gone: got error %v", err)
		}
	})
}

// touch moves the time of a file on, farther than any clock of a file system
// is coarse.
func touch(t *testing.T, name string) {
	t.Helper()
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(name, later, later); err != nil {
		t.Fatal(err)
	}
}

func TestOwnerErrors(t *testing.T) {
	_, owned, err := Open(t.TempDir()).Owner("/usr/bin/x")
	if owned || !errors.Is(err, ErrNoDatabase) {
		t.Errorf("an empty root: got %v, %v, want ErrNoDatabase", owned, err)
	}
	_, owned, err = Open(filepath.Join(t.TempDir(), "absent")).Owner("/usr/bin/x")
	if owned || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no root: got %v, %v, want os.ErrNotExist", owned, err)
	}
}

// TestOwnersBesideError: what one database knows is told although another is
// damaged, and the damage is told again without another reading.
func TestOwnersBesideError(t *testing.T) {
	d := Open(system(t, map[string]string{
		dpkgStatus:                   dpkgTestStatus,
		dpkgInfo + "/coreutils.list": "/usr/bin/env\n",
		"var/lib/rpm/Packages.db":    "damaged",
	}))
	for range 2 {
		got, err := d.Owners([]string{"/usr/bin/env", "/usr/bin/x"})
		if len(got) != 1 || got["/usr/bin/env"].Name != "coreutils" || !errors.Is(err, errNDB) {
			t.Errorf("got %v, %v, want coreutils and an error of ndb", got, err)
		}
	}
	if got, err := d.Owners([]string{"/usr/bin/env"}); len(got) != 1 || err != nil {
		t.Errorf("got %v, %v, want coreutils alone: the damage hides nothing of it", got, err)
	}
}

func TestOwnerAtOnce(t *testing.T) {
	d := Open(system(t, map[string]string{dpkgStatus: dpkgTestStatus, dpkgInfo + "/dash.list": "/usr/bin/dash\n"}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if p, owned, err := d.Owner("/usr/bin/dash"); p.Name != "dash" || !owned || err != nil {
					t.Errorf("got %+v, %v, %v", p, owned, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestOwnerKnownAllocatesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock stands still
		d := Open(system(t, map[string]string{dpkgStatus: dpkgTestStatus, dpkgInfo + "/dash.list": "/usr/bin/dash\n"}))
		for _, name := range []string{"/usr/bin/dash", "/usr/bin/absent"} {
			if n := testing.AllocsPerRun(100, func() { d.Owner(name) }); n != 0 { //nolint:errcheck // checked elsewhere
				t.Errorf("%s: %v allocations for a known answer, want 0", name, n)
			}
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	d := Open(system(t, map[string]string{dpkgStatus: dpkgTestStatus, dpkgInfo + "/dash.list": "/usr/bin/dash\n"}))
	names := make([]string, 0, maxAnswers)
	for i := range maxAnswers {
		names = append(names, "/x/"+time.Duration(i).String())
	}
	for _, part := range [][]string{names, names[:1], {"/usr/bin/dash"}} {
		if _, err := d.Owners(part); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.answers) > maxAnswers {
		t.Errorf("%d answers are kept, want at most %d", len(d.answers), maxAnswers)
	}
	if p, _, _ := d.Owner("/usr/bin/dash"); p.Name != "dash" {
		t.Errorf("got %+v for the newest question", p)
	}
}
