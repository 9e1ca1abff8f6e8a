//go:build !linux

package main

import (
	"errors"
	"os"
	"os/exec"
)

var errLinux = errors.New("this needs Linux")

func isolate() error                        { return errLinux }
func tie(*exec.Cmd)                         {}
func kill(cmd *exec.Cmd) error              { return cmd.Process.Kill() }
func newLedger() (*ledger, *os.File, error) { return nil, nil, errLinux }
func mapLedger(int) (*ledger, error)        { return nil, errLinux }
func (l *ledger) unmap() error              { return errLinux }
func shutdown(*os.File, bool) error         { return errLinux }
func limitFiles(uint64) error               { return errLinux }
func syncFiles(string) error                { return errLinux }
func unshare(*exec.Cmd)                     {}
func settleIn() error                       { return errLinux }
