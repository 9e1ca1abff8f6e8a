package main

import "golang.org/x/sys/windows"

// threadModeBackgroundBegin is THREAD_MODE_BACKGROUND_BEGIN, which is of the
// processor and of the disk:
// https://learn.microsoft.com/en-us/windows/win32/api/processthreadsapi/nf-processthreadsapi-setthreadpriority
const threadModeBackgroundBegin = 0x00010000

// giveWay makes this thread the last to get a processor and the disk.
func giveWay() error {
	proc := windows.NewLazySystemDLL("kernel32.dll").NewProc("SetThreadPriority")
	if ok, _, err := proc.Call(uintptr(windows.CurrentThread()), threadModeBackgroundBegin); ok == 0 {
		return err
	}
	return nil
}
