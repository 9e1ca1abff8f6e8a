//go:build !linux && !windows

package main

import "errors"

// giveWay fails: here a priority is of the whole process.
func giveWay() error { return errors.New("threads have no priority of their own on this system") }
