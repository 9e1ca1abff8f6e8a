// Package software owns one question: which package installed a file. It reads
// the databases of dpkg, rpm, apk and pacman itself, below any root directory,
// so that it answers for a container as for the host, without running programs.
//
// It refuses to know processes and sockets, whether a file is still as its
// package brought it, and whether a package may be trusted. It changes
// nothing, starts no goroutine and takes no lock of a package manager: a
// database that is being changed is read again, and then refused with
// ErrChanging.
//
// What it reads may have been written by somebody hostile (a container's
// root): paths never lead out of the root, only regular files are opened, and
// sizes, counts and depths are bounded.
package software

import "errors"

// Names of package managers, as in Package.Manager.
const (
	DPKG   = "dpkg"
	RPM    = "rpm"
	APK    = "apk"
	Pacman = "pacman"
)

// Package names an installed package. The zero value is no package.
type Package struct {
	Manager      string // one of the constants above
	Name         string
	Version      string // in the manager's own form: [epoch:]version[-release]; "" if the database has none
	Architecture string // in the manager's own words; "" if the database has none
}

var (
	// ErrNoDatabase is wrapped where no database of a known package manager
	// lies below the root. A file there belongs to no package that this package could know.
	ErrNoDatabase = errors.New("no package database")

	// ErrChanging is wrapped where a database was changed twice while it was
	// read. Ask again when the package manager is done.
	ErrChanging = errors.New("the package database is being changed")
)
