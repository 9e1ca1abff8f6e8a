package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be a worker, as the program itself is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		if err := worker(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func sampleResults() []result {
	tiny, _ := findLoad("tiny")
	return []result{{load: tiny, machine: "a machine", rows: []row{
		{name: "ss", samples: []sample{{wall: 30 * time.Millisecond}, {wall: 10 * time.Millisecond}, {wall: 20 * time.Millisecond, memory: 5e6}}},
		{name: "portaudit <fast>", samples: []sample{{wall: 5 * time.Millisecond}}},
		{name: "absent", skipped: "not installed"},
	}}}
}

func TestMarkdown(t *testing.T) {
	text := sampleResults()[0].markdown()
	for _, want := range []string{
		"| ss | 20 ms (10 ms to 30 ms) |", "| 5 MB | 1.0 times as long |",
		"| portaudit <fast> | 5.0 ms (5.0 ms to 5.0 ms) |", "| 4.0 times as long |",
		"| absent | not measured: not installed |", "a machine", "3 processes, 12 listeners, 60 descriptors, 12 connected sockets",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

func TestChart(t *testing.T) {
	text := chart(sampleResults())
	var bars int
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("no XML: %v\n%s", err, text)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 2 || !strings.Contains(text, "portaudit &lt;fast&gt;") || strings.Contains(text, "absent") {
		t.Errorf("%d bars in:\n%s", bars, text)
	}
	if long, short := barWidth(time.Second, time.Millisecond, time.Second), barWidth(time.Millisecond, time.Millisecond, time.Second); long <= short || short <= 0 {
		t.Errorf("a second is %d wide, a millisecond %d", long, short)
	}
}

func TestUnknownLoad(t *testing.T) {
	if _, err := findLoad("huge"); err == nil {
		t.Error("a load that there is not was found")
	}
}

// TestLoad makes a small load for real, counts it, and sees it gone.
func TestLoad(t *testing.T) {
	l, err := findLoad("tiny")
	if err != nil {
		t.Fatal(err)
	}
	before := children(t)
	stop, err := l.start(t.Context())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Skipf("no load here: %v", err)
	}
	var workers, files int
	for _, pid := range children(t) {
		if slices.Contains(before, pid) {
			continue
		}
		workers++
		entries, err := os.ReadDir("/proc/" + pid + "/fd")
		if err != nil {
			t.Fatal(err)
		}
		files += len(entries)
	}
	if workers != l.processes {
		t.Errorf("%d workers, want %d", workers, l.processes)
	}
	// The runtime of each has a handful of its own.
	if least := l.processes * l.files; files < least || files > least+l.processes*10 {
		t.Errorf("%d descriptors, want %d and some of the runtimes", files, least)
	}
	stop()
	if left := children(t); len(left) != len(before) {
		t.Errorf("children are %v, and were %v", left, before)
	}
}

// children returns the processes whose parent is this one.
func children(t *testing.T) []string {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skipf("no /proc here: %v", err)
	}
	var list []string
	for _, task := range tasks {
		b, err := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		if err != nil {
			t.Skipf("this kernel does not list children: %v", err)
		}
		list = append(list, strings.Fields(string(b))...)
	}
	return list
}
