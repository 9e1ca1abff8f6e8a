// Package digest owns one question: what is the SHA-256 of this file, for a
// caller that asks it of running programs again and again and must not be felt
// on the host. It remembers digests by the file's identity, and bounds how
// large a file and how many bytes a second it reads.
//
// It refuses to know processes, paths and what a digest means, and starts no
// goroutine. A file that it does not read is an error that says why, never a
// digest of a part.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// Sum is a SHA-256. The zero value is that of no file: unknown.
type Sum [sha256.Size]byte

// String returns the sum as 64 hexadecimal digits, "" if it is unknown.
func (s Sum) String() string {
	if s == (Sum{}) {
		return ""
	}
	return hex.EncodeToString(s[:])
}

var (
	// ErrTooLarge is wrapped where a file is larger than Limits.MaxSize. It
	// was not read.
	ErrTooLarge = errors.New("too large for a digest")

	// ErrBusy is wrapped where more bytes than Limits.Rate allows were read of
	// late. Ask again later.
	ErrBusy = errors.New("too many bytes were read of late")

	// ErrChanged is wrapped where the file changed each time while it was
	// read, or where its size does not tell its length (files of procfs).
	ErrChanged = errors.New("the file changed while it was read")

	// ErrNotRegular is wrapped where there is no regular file.
	ErrNotRegular = errors.New("no regular file")
)

// Defaults of Limits.
const (
	DefaultMaxSize = 64 << 20
	DefaultRate    = 32 << 20
	DefaultEntries = 4096
)

// Limits bound what a Hasher reads and keeps. A value of 0 or less is the
// default.
type Limits struct {
	// MaxSize is the size in bytes of the largest file that is read;
	// DefaultMaxSize, 64 MiB, which a core of today hashes in a twentieth of a
	// second. Large programs of Go or Java's images have more.
	MaxSize int64

	// Rate is how many bytes a second are read in the long run; DefaultRate,
	// 32 MiB. What was not used is saved for one second. A file is read whole
	// as soon as anything is left, and what it takes too much is waited off
	// afterwards, so that no file is too large for a slow rate.
	Rate int64

	// Entries is how many digests are kept at most; DefaultEntries, 4096, some
	// 400 KB.
	Entries int
}
