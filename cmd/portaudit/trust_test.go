package main

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// wantDistrust holds what is said of a file, "" for nothing, and that the way to
// mend it is said too.
func wantDistrust(t *testing.T, err error, want string) {
	t.Helper()
	var u untrusted
	if (err == nil) != (want == "") || err != nil && (!errors.As(err, &u) || !strings.Contains(err.Error(), want) || u.mend == "" || strings.Contains(err.Error(), "\n")) {
		t.Errorf("error %v, want %q and the way to mend it", err, want)
	}
}

func TestDistrustMode(t *testing.T) {
	const nobody, alice = 65534, 1000
	tests := []struct {
		reason string
		as     role
		uid    uint32
		mode   fs.FileMode
		euid   uint32
		want   string
	}{
		{"root's, of root's daemon", text, 0, 0o644, 0, ""},
		{"root's, that its group may read", text, 0, 0o640, 0, ""},
		{"root's, of another's daemon", text, 0, 0o644, alice, ""},
		{"the daemon's own", text, alice, 0o600, alice, ""},
		{"a user's, of root's daemon: the user would decide what root's is silent about", text, alice, 0o600, 0, "belongs to user 1000, who is not root: chown root /p"},
		{"another user's", text, nobody, 0o600, alice, "who is neither root nor user 1000, who runs this: chown root /p"},
		{"who owns a file may change its mode, whatever that is", text, alice, 0o400, 0, "belongs to user 1000"},
		{"everybody's", text, 0, 0o646, 0, "can be written by every user: chmod go-w /p"},
		{"a group's, or of a list whose mask that is", text, 0, 0o664, 0, "can be written by its group, or by others whom an access control list names: chmod g-w /p"},
		{"the group of the daemon's own", text, alice, 0o660, alice, "by its group"},
		{"a sticky bit says nothing of a file", text, 0, 0o666 | fs.ModeSticky, 0, "by every user"},
		{"a directory on the way", onTheWay, 0, 0o755, 0, ""},
		{"one that may be passed and not read", onTheWay, 0, 0o711, 0, ""},
		{"one in which others could put another file in its place", onTheWay, 0, 0o777, 0, "by every user"},
		{"the same for a group", onTheWay, 0, 0o775, 0, "by its group"},
		{"as /tmp: what others do not own they cannot exchange there", onTheWay, 0, 0o777 | fs.ModeSticky, 0, ""},
		{"a sticky one of another user, who may exchange what is in it", onTheWay, alice, 0o777 | fs.ModeSticky, 0, "belongs to user 1000"},
		{"a directory whose files are all read", folder, 0, 0o755, 0, ""},
		{"others can add files to one like /tmp", folder, 0, 0o777 | fs.ModeSticky, 0, "by every user"},
		{"a group can", folder, 0, 0o770, 0, "by its group"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			wantDistrust(t, holding{tt.uid, tt.mode}.distrust("/p", tt.as, tt.euid), tt.want)
		})
	}
}

func TestDistrustLink(t *testing.T) {
	tests := []struct {
		reason    string
		link, dir holding
		euid      uint32
		want      string
	}{
		{"root's, in root's directory", holding{0, 0o777}, holding{0, 0o755}, 0, ""},
		{"the daemon's own", holding{1000, 0o777}, holding{0, 0o755}, 1000, ""},
		{"another user's", holding{1000, 0o777}, holding{0, 0o755}, 0, "is a link of user 1000"},
		{"where others may put links, such as /tmp", holding{0, 0o777}, holding{0, 0o777 | fs.ModeSticky}, 0, "where others may put links: name the file"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			wantDistrust(t, distrustLink("/p", tt.link, tt.dir, tt.euid), tt.want)
		})
	}
}

func TestDistrustGrants(t *testing.T) {
	const (
		system, administrators = "S-1-5-18", "S-1-5-32-544"
		installer              = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
		users, everyone        = "S-1-5-32-545", "S-1-1-0"
		alice, bob             = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"

		full, read, modify = 0x1F01FF, 0x1200A9, 0x1301BF
	)
	tests := []struct {
		reason string
		as     role
		held   grants
		self   string
		want   string
	}{
		{"as under Program Files", text, grants{owner: installer, list: []grant{{system, full}, {administrators, full}, {installer, full}, {users, read}}}, system, ""},
		{"the user's own, of a daemon of that user", text, grants{owner: alice, list: []grant{{alice, full}, {system, full}}}, alice, ""},
		{"a user's, of a service", text, grants{owner: alice, list: []grant{{alice, full}}}, system, "belongs to " + alice + ", who is neither an administrator nor the one who runs this: icacls \"p\" /setowner *S-1-5-32-544"},
		{"users may write", text, grants{owner: administrators, list: []grant{{administrators, full}, {users, modify}}}, system, `can be changed by S-1-5-32-545: icacls "p" /inheritance:d /remove:g *S-1-5-32-545`},
		{"two may", text, grants{owner: administrators, list: []grant{{users, modify}, {bob, full}, {users, full}}}, system, `by S-1-5-32-545 and ` + bob + `: icacls "p" /inheritance:d /remove:g *S-1-5-32-545 *` + bob},
		{"everyone may read, execute and see attributes", text, grants{owner: administrators, list: []grant{{everyone, read}}}, system, ""},
		{"to write is enough", text, grants{owner: administrators, list: []grant{{bob, 0x2}}}, system, "can be changed by " + bob},
		{"to append is", text, grants{owner: administrators, list: []grant{{bob, 0x4}}}, system, "can be changed by " + bob},
		{"to delete is: another takes its place", text, grants{owner: administrators, list: []grant{{bob, 0x10000}}}, system, "can be changed by " + bob},
		{"to change the list is", text, grants{owner: administrators, list: []grant{{bob, 0x40000}}}, system, "can be changed by " + bob},
		{"to take it over is", text, grants{owner: administrators, list: []grant{{bob, 0x80000}}}, system, "can be changed by " + bob},
		{"generic rights, which an entry may have as well", text, grants{owner: administrators, list: []grant{{bob, 0x40000000}}}, system, "can be changed by " + bob},
		{"all of them", text, grants{owner: administrators, list: []grant{{bob, 0x10000000}}}, system, "can be changed by " + bob},
		{"no list is no protection", text, grants{owner: administrators, all: true}, system, `has no access control list, so that everybody can change it: icacls "p" /reset`},
		{"an empty list lets nobody in", text, grants{owner: administrators}, system, ""},
		{"the owner, by the names that stand for it", text, grants{owner: administrators, list: []grant{{"S-1-3-0", full}, {"S-1-3-4", full}}}, system, ""},
		{"as C:\\: users may add directories", onTheWay, grants{owner: installer, list: []grant{{"S-1-5-11", 0x4}, {users, read}}}, system, ""},
		{"as ProgramData: users may add files", onTheWay, grants{owner: system, list: []grant{{users, 0x116}}}, system, ""},
		{"but not to a directory whose files are all read", folder, grants{owner: system, list: []grant{{users, 0x116}}}, system, "can be changed by " + users},
		{"to delete what is in it", onTheWay, grants{owner: system, list: []grant{{users, 0x40}}}, system, "can be changed by " + users},
		{"to move it away", onTheWay, grants{owner: system, list: []grant{{users, 0x10000}}}, system, "can be changed by " + users},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			wantDistrust(t, tt.held.distrust("p", tt.as, tt.self), tt.want)
		})
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}
