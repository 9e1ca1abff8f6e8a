package main

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// eventModify and eventSynchronize are the rights to an event that who asks needs
// (winnt.h).
const eventModify = windows.EVENT_MODIFY_STATE | windows.SYNCHRONIZE

// reloadEvent is the name of the event by which a process is asked for a reload,
// from every session of the host.
func reloadEvent(pid int) (*uint16, error) {
	return windows.UTF16PtrFromString(fmt.Sprintf(`Global\PortAudit-Reload-%d`, pid))
}

// reloads returns a channel that asks for a reload when somebody sets the event of
// this process, and a function that ends it. Nobody may but SYSTEM, administrators
// and the user of this process. The function is never nil.
func reloads() (<-chan struct{}, func(), error) {
	asked, err := newReloadEvent()
	if err != nil {
		return nil, func() {}, err
	}
	end, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return nil, func() {}, errors.Join(err, windows.CloseHandle(asked))
	}
	reload, done, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { // ends when the returned function is called
		defer close(ended)
		for {
			which, err := windows.WaitForMultipleObjects([]windows.Handle{end, asked}, false, windows.INFINITE)
			if err != nil || which != windows.WAIT_OBJECT_0+1 {
				return
			}
			select {
			case reload <- struct{}{}:
			case <-done:
				return
			}
		}
	}()
	return reload, func() {
		close(done)
		_ = windows.SetEvent(end) // it can only fail for a bad handle
		<-ended
		_ = windows.CloseHandle(end)
		_ = windows.CloseHandle(asked)
	}, nil
}

// newReloadEvent makes the event of this process. One that exists was made by
// somebody else, who can set it.
func newReloadEvent() (windows.Handle, error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return 0, err
	}
	sd, err := windows.SecurityDescriptorFromString(fmt.Sprintf("D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;%#x;;;%s)", eventModify, user.User.Sid))
	if err != nil {
		return 0, err
	}
	name, err := reloadEvent(int(windows.GetCurrentProcessId()))
	if err != nil {
		return 0, err
	}
	attributes := windows.SecurityAttributes{SecurityDescriptor: sd}
	attributes.Length = uint32(unsafe.Sizeof(attributes))
	h, err := windows.CreateEvent(&attributes, 0, 0, name)
	if errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return 0, errors.Join(fmt.Errorf("another process has an event %s", windows.UTF16PtrToString(name)), windows.CloseHandle(h))
	}
	return h, err
}

// askToReload asks a process for a reload, if it still is the one that is meant.
func askToReload(pid int, still func() error) error {
	name, err := reloadEvent(pid)
	if err != nil {
		return err
	}
	h, err := windows.OpenEvent(eventModify, false, name)
	if err != nil {
		return fmt.Errorf("open event %s: %w", windows.UTF16PtrToString(name), err)
	}
	if err = still(); err == nil {
		err = windows.SetEvent(h)
	}
	return errors.Join(err, windows.CloseHandle(h))
}
