//go:build !linux

package main

import (
	"fmt"
	"time"

	"github.com/shirou/gopsutil/v3/host"
)

// bootID names this boot by its time, to the minute: systems other than Linux
// have no id for it, and their time of boot moves with the clock.
func bootID() string {
	t, err := host.BootTime()
	if err != nil {
		return ""
	}
	return fmt.Sprint("boot-", time.Unix(int64(t), 0).UTC().Round(time.Minute).Format("20060102T1504Z"))
}
