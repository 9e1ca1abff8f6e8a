package main

import (
	"fmt"
	"slices"
	"strings"
)

// grant is what an entry of an access control list of Windows allows an account,
// by its security identifier.
type grant struct {
	sid    string
	rights uint32
}

// grants are what the handle of a file or directory tells on Windows of who may
// change it. A file without a list is everybody's.
type grants struct {
	owner string
	all   bool // there is no list
	list  []grant
}

// Rights to a file or directory (winnt.h), and the ones that each role must not
// grant to others. To add a file beside one, or a directory, changes neither.
const (
	rightRead        = 0x1
	rightWrite       = 0x2 // of a directory: add a file
	rightAppend      = 0x4 // of a directory: add a directory
	rightDeleteChild = 0x40
	rightDelete      = 0x10000
	rightWriteDACL   = 0x40000
	rightWriteOwner  = 0x80000
	rightGenericAll  = 0x10000000
	rightGenericPut  = 0x40000000 // GENERIC_WRITE
	rightGenericGet  = 0x80000000 // GENERIC_READ

	rightsToExchange = rightDelete | rightDeleteChild | rightWriteDACL | rightWriteOwner | rightGenericAll
	rightsToWrite    = rightsToExchange | rightWrite | rightAppend | rightGenericPut
	rightsToRead     = rightRead | rightGenericGet | rightGenericAll
)

// trustedAccounts may change everything on a host, or stand for the owner of what
// they are asked of: SYSTEM, Administrators, TrustedInstaller, CREATOR OWNER and
// OWNER RIGHTS.
func trustedAccounts() []string {
	return []string{
		"S-1-5-18", "S-1-5-32-544", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464", "S-1-3-0", "S-1-3-4",
	}
}

// distrust says why a file or directory is not to be trusted by an account, nil if
// it is. Entries that deny are not looked at: they only take away.
func (g grants) distrust(path string, as role, self string) error {
	trusted := append(trustedAccounts(), self)
	if !slices.Contains(trusted, g.owner) {
		return untrusted{path, fmt.Sprintf("belongs to %s, who is neither an administrator nor the one who runs this", g.owner), fmt.Sprintf("icacls %q /setowner *S-1-5-32-544", path)}
	}
	if g.all {
		return untrusted{path, "has no access control list, so that everybody can change it", fmt.Sprintf("icacls %q /reset", path)}
	}
	forbidden := uint32(rightsToWrite)
	if as == onTheWay {
		forbidden = rightsToExchange
	}
	others := g.others(forbidden, trusted)
	if len(others) == 0 {
		return nil
	}
	return untrusted{path, "can be changed by " + strings.Join(others, " and "),
		fmt.Sprintf("icacls %q /inheritance:d /remove:g *%s", path, strings.Join(others, " *"))}
}

// others returns who else is granted one of some rights, each once.
func (g grants) others(rights uint32, trusted []string) []string {
	var others []string
	for _, one := range g.list {
		if one.rights&rights != 0 && !slices.Contains(trusted, one.sid) && !slices.Contains(others, one.sid) {
			others = append(others, one.sid)
		}
	}
	return others
}

// expose says who else can read a file with a secret in it, nil if nobody can. Who
// can change it is distrust's to say.
func (g grants) expose(path, self string) error {
	others := g.others(rightsToRead, append(trustedAccounts(), self))
	if len(others) == 0 {
		return nil
	}
	return untrusted{path, "holds a secret that can be read by " + strings.Join(others, " and "),
		fmt.Sprintf("icacls %q /inheritance:d /remove:g *%s", path, strings.Join(others, " *"))}
}
