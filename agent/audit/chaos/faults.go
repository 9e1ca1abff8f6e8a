package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/portaudit/portaudit/agent/audit"
)

// faultyCalls are the system calls that a log is written with.
var faultyCalls = []string{"write", "fsync", "renameat", "openat", "ftruncate", "unlinkat", "fallocate", "pwrite64", "mkdirat"}

// shortWrites names, among these, a write of a part of a record.
const shortWrites = "short"

// fault is what befalls one system call.
type fault struct {
	name   string
	inject string   // as strace has it
	cut    bool     // whether the power goes when the writer is done
	dead   bool     // whether it ends the writer
	calls  []string // that it befalls, nil for all
	more   int      // how many of the calls behind it fail too: then only a few are tried
	met    bool     // whether it befell one in the last trial
}

var faults = []fault{
	{name: "EIO", inject: "error=EIO"},
	{name: "EIO, and a power cut at the end", inject: "error=EIO", cut: true},
	{name: "ENOSPC", inject: "error=ENOSPC"},
	{name: "EDQUOT", inject: "error=EDQUOT", calls: []string{"write", "fsync", "openat"}},
	{name: "EIO, as the next five do", inject: "error=EIO", more: 5},
	{name: "SIGKILL", inject: "signal=SIGKILL", dead: true},
	{name: "a power cut", inject: "signal=SIGKILL", dead: true, cut: true},
}

// faultRecords is how many records the writer writes when nothing is to fail.
const faultRecords = 3000

// faults lets the first system calls of each kind that concern the log fail in
// turn, each in a run of the writer of its own.
func (l *lab) faults(ctx context.Context) error {
	if _, err := exec.LookPath("strace"); err != nil {
		return fmt.Errorf("install strace: %w", err)
	}
	m, err := l.mount(ctx, disks[0])
	if err != nil {
		return err
	}
	f := &faulting{lab: l, disk: m}
	return errors.Join(f.all(ctx), m.remove())
}

type faulting struct {
	*lab
	disk   *mounted
	paths  []string       // of the files of a log, in the order in which they come to be
	counts map[string]int // of the calls that concern them, in a run without faults
}

func (f *faulting) all(ctx context.Context) error {
	if err := f.survey(ctx); err != nil {
		return err
	}
	for _, call := range faultyCalls {
		if f.call != "" && f.call != call {
			continue
		}
		for _, fault := range faults {
			if fault.calls != nil && !slices.Contains(fault.calls, call) {
				continue
			}
			if err := f.each(ctx, call, fault); err != nil {
				return fmt.Errorf("%s, %s: %w", call, fault.name, err)
			}
		}
	}
	if f.call != "" && f.call != shortWrites {
		return nil
	}
	return f.short(ctx)
}

// survey runs the writer without faults, to learn which files a log has and how
// many calls there are to fail.
func (f *faulting) survey(ctx context.Context) error {
	// strace -P takes names, no directories; the names are the same in each run,
	// for the writer is.
	trace, err := f.trace(ctx, nil, faultRecords, "-y")
	if err != nil {
		return err
	}
	f.paths = []string{f.disk.log}
	named := regexp.MustCompile(`"(` + regexp.QuoteMeta(f.disk.log) + `[^"]*)"`)
	for _, match := range named.FindAllStringSubmatch(trace, -1) {
		// The name of a temporary file is another in the next run.
		if path := match[1]; !strings.HasSuffix(path, ".tmp") && !slices.Contains(f.paths, path) {
			f.paths = append(f.paths, path)
		}
	}
	if trace, err = f.trace(ctx, nil, faultRecords, f.only(faultRecords)...); err != nil {
		return err
	}
	f.counts = map[string]int{}
	for _, match := range regexp.MustCompile(`(?m)^\d+ +(\w+)\(`).FindAllStringSubmatch(trace, -1) {
		f.counts[match[1]]++
	}
	say("faults: without one, %d records take %v on %d paths", faultRecords, f.counts, len(f.paths))
	return nil
}

// only are the options of strace that leave all but the log alone, of which so many
// records are written.
func (f *faulting) only(records int) []string {
	var args []string
	for _, path := range f.paths[:min(len(f.paths), len(f.paths)*records/faultRecords+20)] {
		args = append(args, "-P", path)
	}
	return args
}

// trace runs the writer to its end under strace with more options, and returns
// what strace wrote.
func (f *faulting) trace(ctx context.Context, fl *fault, records int, options ...string) (string, error) {
	out := filepath.Join(f.work, "trace")
	under := append([]string{"strace", "-f", "-qq", "-o", out, "-e", "trace=" + strings.Join(faultyCalls, ",")}, options...)
	if fl == nil || !fl.dead { // faster, but no signal can be delivered where it stops a process
		under = append(under, "--seccomp-bpf")
	}
	if err := f.trial(ctx, fl, under, "-count", strconv.Itoa(records)); err != nil {
		return "", err
	}
	trace, err := os.ReadFile(out)
	if fl != nil && !fl.dead {
		fl.met = bytes.Contains(trace, []byte("(INJECTED)"))
	}
	return string(trace), err
}

// trial runs one writer on a new log to its end, with a fault, if there is one,
// and judges what it left.
func (f *faulting) trial(ctx context.Context, fl *fault, under []string, flags ...string) error {
	if err := os.RemoveAll(f.disk.log); err != nil {
		return err
	}
	w, err := f.start(1, f.disk.log, under, append([]string{"-steady", "-stay", "-segment", "8192", "-tidy-every", "100", "-keys", f.disk.keys}, flags...)...)
	if err != nil {
		return err
	}
	fate := w.finish(ctx, fl)
	p := w.book.read()
	if fl != nil && fl.cut {
		fate = errors.Join(fate, f.disk.cut(false))
	}
	last, _ := w.end() // finish has judged how it ended
	p.begun = last.begun
	if fl != nil && fl.dead {
		fl.met = !p.done
	}
	if said := w.said.String(); fl == nil && fate == nil && said != "" {
		fate = errors.New(said)
	}
	if fate != nil {
		return fate
	}
	if fl != nil && fl.cut {
		if err := f.disk.restart(ctx); err != nil {
			return err
		}
	}
	j := newJudge(f.disk.log, f.disk.keys, 0)
	j.hear(1, p)
	if err := errors.Join(j.recover(), j.check(true)); err != nil {
		return err
	}
	degraded, restored := j.kinds[audit.LogDegraded], j.kinds[audit.LogRestored]
	switch {
	case degraded > 1 || degraded != restored:
		return fmt.Errorf("one fault, and the log was degraded %d times and restored %d times", degraded, restored)
	case p.done && (fl == nil || !fl.cut) && j.gap() != int(j.told):
		return fmt.Errorf("%d records are not in the log, which says that %d were lost", j.gap(), j.told)
	}
	return nil
}

// chosen reports whether the call of a number is tried.
func (l *lab) chosen(number int) bool { return number <= 12 || number%l.every == 0 }

// each lets the calls of one kind fail in turn.
func (f *faulting) each(ctx context.Context, call string, fl fault) error {
	total := f.counts[call]
	tried, missed := 0, 0
	for k := 1; k <= min(total, f.calls); k++ {
		// A log that is still in trouble tries again each second.
		if !f.chosen(k) || fl.more > 0 && k != 8 && k%100 != 0 {
			continue
		}
		// Somewhat more records than it takes to come to that call.
		records := min(faultRecords, faultRecords*k/total+160)
		inject := fmt.Sprintf("inject=%s:%s:when=%d..%d", call, fl.inject, k, k+fl.more)
		trace, err := f.trace(ctx, &fl, records, append(f.only(records), "-e", inject)...)
		if err == nil {
			err = retried(trace)
		}
		switch {
		case err != nil:
			return fmt.Errorf("call %d of %d: %w", k, total, err)
		case fl.met:
			tried++
		default:
			missed++
		}
	}
	switch {
	case tried == 0 && missed > 0:
		return errors.New("none of the calls met it: this program does not try what it says")
	case tried > 0:
		say("faults: %s meets %s: %d of the first %d calls tried, %d not met", call, fl.name, tried, min(total, f.calls), missed)
	}
	return nil
}

// traced is a line of strace: process, call, descriptor or nothing, result.
var traced = regexp.MustCompile(`(?m)^\d+ +(\w+)\((\d*).*\) += (-?\d+)`)

// retried returns an error if fsync failed and then held on the same descriptor:
// the kernel tells of lost data once, and of nothing the second time.
func retried(trace string) error {
	failed := map[string]bool{}
	for _, m := range traced.FindAllStringSubmatch(trace, -1) {
		call, fd, result := m[1], m[2], m[3]
		switch {
		case call == "openat":
			delete(failed, result)
		case call == "fsync" && result == "-1":
			failed[fd] = true
		case call == "fsync" && failed[fd]:
			return fmt.Errorf("fsync failed on descriptor %s, and was called again", fd)
		}
	}
	return nil
}

// short lets the kernel write a part of a record, for each of the first records
// in turn: the limit of the size of files lies within it (setrlimit(2)).
func (f *faulting) short(ctx context.Context) error {
	if err := f.trial(ctx, nil, nil, "-count", strconv.Itoa(f.calls), "-segment", "1000000"); err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(f.disk.log, "audit.jsonl"))
	if err != nil {
		return err
	}
	tried, end, number := 0, 0, 0
	for line := range bytes.Lines(data) {
		start := end
		end += len(line)
		if number++; !f.chosen(number) {
			continue
		}
		limit := start + []int{1, len(line) / 2, len(line) - 1}[tried%3]
		err := f.trial(ctx, &fault{name: "a short write"}, nil, "-count", strconv.Itoa(f.calls+50), "-segment", "1000000", "-limit", strconv.Itoa(limit))
		if err != nil {
			return fmt.Errorf("a short write at byte %d: %w", limit, err)
		}
		tried++
	}
	say("faults: write is short: %d records tried", tried)
	return nil
}
