// Listener is a Windows program with one listening TCP socket. It prints its
// port and its process id in one line and ends when its standard input does.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "listener:", err)
		os.Exit(1)
	}
}

func run() error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Println(l.Addr().(*net.TCPAddr).Port, os.Getpid())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
