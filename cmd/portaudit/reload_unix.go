//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// reloads returns a channel that asks for a reload on SIGHUP, and a function
// that ends it.
func reloads() (<-chan struct{}, func()) {
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
	return reload, func() { signal.Stop(signals); close(done) }
}
