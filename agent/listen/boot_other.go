//go:build !linux

package listen

import (
	"fmt"
	"time"

	"github.com/shirou/gopsutil/v3/host"
)

// BootID returns a name of this boot, "" if it is unknown: the time of it, to
// the minute. Systems other than Linux have no id for a boot, and the time that
// they tell moves with the clock.
func BootID() string {
	t, err := host.BootTime()
	if err != nil {
		return ""
	}
	return fmt.Sprint("boot-", time.Unix(int64(t), 0).UTC().Round(time.Minute).Format("20060102T1504Z"))
}
