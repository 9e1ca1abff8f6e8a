//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// reloads returns a channel that asks for a reload on SIGHUP, and a function
// that ends it.
func reloads() (<-chan struct{}, func(), error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	reload, done := make(chan struct{}), make(chan struct{})
	go func() { // ends when the returned function is called
		for {
			select {
			case <-signals:
			case <-done:
				return
			}
			select {
			case reload <- struct{}{}:
			case <-done:
				return
			}
		}
	}()
	return reload, func() { signal.Stop(signals); close(done) }, nil
}

// askToReload asks a process for a reload, if it still is the one that is meant:
// from FindProcess on its number stands for no other (pidfd_open(2)), where the
// system can do that.
func askToReload(pid int, still func() error) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer p.Release() //nolint:errcheck // nothing was written to it
	if err := still(); err != nil {
		return err
	}
	return p.Signal(syscall.SIGHUP)
}
