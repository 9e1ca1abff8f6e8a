package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// load is a workload: so many processes, each with so many of the rest.
type load struct {
	name      string
	processes int
	listeners int // of each process; every fifth is UDP
	files     int // descriptors of each process, those of sockets included
	pairs     int // connections of each process to itself, two descriptors each
}

// loads are those that the documentation speaks of.
var loads = []load{
	{"small", 50, 20, 180, 0},     // 1k listeners, 9k descriptors
	{"middle", 500, 5, 196, 10},   // 2.5k listeners, 98k descriptors, 10k connected sockets
	{"large", 2000, 6, 210, 25},   // 12k listeners, 420k descriptors, 100k connected sockets
	{"tiny", 3, 4, 20, 2},         // for the tests
	{"quiet", 500, 5, 196, 0},     // for the curve over connections
	{"crowded", 500, 5, 220, 100}, // the same listeners, 100k connected sockets
	{"open", 500, 5, 840, 0},      // the same listeners, 420k descriptors
}

func (l load) String() string {
	return fmt.Sprintf("%d processes, %d listeners, %d descriptors, %d connected sockets",
		l.processes, l.processes*l.listeners, l.processes*l.files, 2*l.processes*l.pairs)
}

func findLoad(name string) (load, error) {
	for _, l := range loads {
		if l.name == name {
			return l, nil
		}
	}
	return load{}, fmt.Errorf("%q is no load", name)
}

// start makes the load and returns what ends it. A worker ends when its
// standard input does, whatever happens to this process.
func (l load) start(ctx context.Context) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	in, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ready, said, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close(), hold.Close())
	}
	var workers []*exec.Cmd
	stop = func() {
		_ = hold.Close() // the workers end
		for _, w := range workers {
			_ = w.Wait() // it ended because its input did
		}
		_ = ready.Close()
	}
	for i := range l.processes {
		w := exec.CommandContext(ctx, self, "worker",
			"-listeners", strconv.Itoa(l.listeners), "-files", strconv.Itoa(l.files), "-pairs", strconv.Itoa(l.pairs),
			"-address", fmt.Sprintf("127.%d.%d.1", 1+i/200, 1+i%200))
		// Two thousand runtimes: each as small as it gets.
		w.Env = []string{"GOMAXPROCS=1", "GOGC=off"}
		w.Stdin, w.Stdout, w.Stderr = in, said, os.Stderr
		if err = w.Start(); err != nil {
			break
		}
		workers = append(workers, w)
	}
	err = errors.Join(err, in.Close(), said.Close())
	if err == nil {
		err = l.await(ready)
	}
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// await waits until each worker has said that it is ready.
func (l load) await(ready io.Reader) error {
	b := bufio.NewReader(ready)
	for i := range l.processes {
		if _, err := b.ReadByte(); err != nil {
			return fmt.Errorf("%d of %d workers are ready: %w", i, l.processes, err)
		}
	}
	time.Sleep(500 * time.Millisecond) // the kernel has work left over from so many starts
	return nil
}

// worker holds a part of a load until its input ends.
func worker(args []string) error {
	f := flag.NewFlagSet("worker", flag.ContinueOnError)
	listeners := f.Int("listeners", 1, "")
	files := f.Int("files", 0, "")
	pairs := f.Int("pairs", 0, "")
	address := f.String("address", "127.0.0.1", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := hold(*address, *listeners, *files, *pairs); err != nil {
		return err
	}
	fmt.Print("x")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
