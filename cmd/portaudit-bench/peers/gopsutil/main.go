// Gopsutil lists the sockets of every process by gopsutil, and the name of each
// process that has one: what a program that uses it would do.
package main

import (
	"fmt"
	"os"

	"github.com/shirou/gopsutil/v3/net"
	"github.com/shirou/gopsutil/v3/process"
)

func main() {
	conns, err := net.Connections("inet")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	names := map[int32]string{}
	for _, c := range conns {
		if c.Status != "LISTEN" && c.Raddr.Port != 0 || c.Pid == 0 {
			continue
		}
		name, known := names[c.Pid]
		if !known {
			if p, err := process.NewProcess(c.Pid); err == nil {
				name, _ = p.Name()
			}
			names[c.Pid] = name
		}
		fmt.Println(c.Laddr.IP, c.Laddr.Port, c.Pid, name)
	}
}
