package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/windows"
)

// protect gives a file or directory an access control list, in the words of SDDL,
// in which ME is the user of this process.
func protect(t *testing.T, path, list string) {
	t.Helper()
	sd, err := windows.SecurityDescriptorFromString("D:P" + list)
	if err != nil {
		t.Fatal(err)
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		t.Fatal(err)
	}
	if err := windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil); err != nil {
		t.Fatal(err)
	}
}

func listOf(t *testing.T, path string) []grant {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	held, err := grantsOf(windows.Handle(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return held.list
}

func self(t *testing.T) string {
	t.Helper()
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		t.Fatal(err)
	}
	return user.User.Sid.String()
}

func TestReadTrustedByList(t *testing.T) {
	own := "(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;" + self(t) + ")"
	tests := []struct {
		reason, list string
		other        string // who is in the list
		err          string
	}{
		{"nobody else", own, "", ""},
		{"users may read", own + "(A;;FR;;;BU)", "", ""},
		{"users may write", own + "(A;;FRFW;;;BU)", "S-1-5-32-545", "can be changed by S-1-5-32-545: icacls "},
		{"everybody may do everything", own + "(A;;FA;;;WD)", "S-1-1-0", "can be changed by S-1-1-0: icacls "},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "p.yaml")
			if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
			protect(t, path, tt.list)
			if tt.other != "" && !slices.ContainsFunc(listOf(t, path), func(g grant) bool { return g.sid == tt.other }) {
				t.Skip("this system does not keep the list: Wine keeps the mode of a file instead, in which there are no groups of Windows")
			}
			b, err := readTrusted(path)
			checkError(t, err, tt.err)
			if err == nil && string(b) != "text" {
				t.Errorf("it reads %q", b)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			protect(t, dir, tt.list)
			names, err := listTrusted(dir)
			checkError(t, err, tt.err)
			if len(names) != 0 {
				t.Errorf("it lists %q", names)
			}
		})
	}
}

// TestReload: who may set the event of a process lets it reload.
func TestReload(t *testing.T) {
	reload, stop, err := reloads()
	if err != nil {
		t.Fatal(err)
	}
	if _, stop, err := reloads(); err == nil {
		stop()
		t.Error("the same event was made twice")
	}
	for range 3 {
		if err := askToReload(os.Getpid(), func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		<-reload
	}
	if err := askToReload(os.Getpid(), func() error { return os.ErrProcessDone }); err == nil {
		t.Error("a process that is not meant any more was asked")
	}
	stop()
	if err := askToReload(os.Getpid(), func() error { return nil }); err == nil {
		t.Error("nobody listens, and was asked")
	}
}
