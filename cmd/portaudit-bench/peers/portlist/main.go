// Portlist lists the listening ports by tailscale's portlist.
package main

import (
	"fmt"
	"os"

	"tailscale.com/portlist"
)

func main() {
	var p portlist.Poller
	p.IncludeLocalhost = true
	defer p.Close()
	ports, _, err := p.Poll()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, p := range ports {
		fmt.Println(p.Proto, p.Port, p.Pid, p.Process)
	}
}
