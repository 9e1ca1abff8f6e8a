//go:build !linux

package alert

import "fmt"

func dialJournal(string) (journalConn, error) {
	return nil, fmt.Errorf("%w: journald is a part of Linux alone", ErrRefused)
}
