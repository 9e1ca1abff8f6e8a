package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// exposed says why a file with a secret in it is none, nil if it may be one.
func exposed(f *os.File, path string) error {
	held, err := grantsOf(windows.Handle(f.Fd()))
	if err != nil {
		return fmt.Errorf("who may read %s: %w", path, err)
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return err
	}
	return held.expose(path, user.User.Sid.String())
}
