package listen

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/portaudit/portaudit/registry"
)

// parseDynamicPort reads the output of "netsh int ipv4 show dynamicport tcp":
// the first port and the number of ports, each behind a colon at the end of
// its line. The words before the colons are in the language of the system.
func parseDynamicPort(b []byte) (PortRange, error) {
	var numbers []uint64
	for line := range bytes.Lines(b) {
		i := bytes.LastIndexByte(line, ':')
		if i < 0 {
			continue
		}
		if n, err := strconv.ParseUint(string(bytes.TrimSpace(line[i+1:])), 10, 32); err == nil {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) != 2 || numbers[1] == 0 || numbers[0]+numbers[1] > 65536 {
		return PortRange{}, fmt.Errorf("netsh shows no range for automatic binds, but %q", clip(b))
	}
	return PortRange{registry.Port(numbers[0]), registry.Port(numbers[0] + numbers[1] - 1)}, nil
}
