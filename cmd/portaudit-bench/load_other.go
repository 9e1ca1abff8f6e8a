//go:build !linux

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

var errLinuxOnly = fmt.Errorf("the loads are made of what only Linux has, and this is %s: %w", runtime.GOOS, errors.ErrUnsupported)

func hold(string, int, int, int) error      { return errLinuxOnly }
func inside(context.Context, options) error { return errLinuxOnly }
func settle() error                         { return errLinuxOnly }
func readlinks([]string) error              { return errLinuxOnly }
func dump([]string) error                   { return errLinuxOnly }
func steady([]string) error                 { return errLinuxOnly }
func kernel() string                        { return runtime.GOOS }

func steadyState(context.Context, options, string) (string, error) { return "", errLinuxOnly }
