package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

// When progress is shown: not at all of what is over within a second, and then
// no more often than an eye can follow.
const (
	progressAfter = time.Second
	progressEvery = 100 * time.Millisecond
)

// progress shows on a terminal how far a long reading is. Its methods do nothing
// on anything else, and on nil; they are for one goroutine.
type progress struct {
	w     io.Writer
	width int    // of the terminal
	what  string // is being done, such as "verifying"
	next  time.Time
	began time.Time
	shown bool
}

// newProgress begins to count the time. w is where progress goes, standard error,
// so that standard output holds nothing but the answer.
func newProgress(w io.Writer, what string) *progress {
	s := screenOf(w)
	if s.width == 0 {
		return nil
	}
	now := time.Now()
	return &progress{w: w, width: s.width, what: what, began: now, next: now.Add(progressAfter)}
}

// set says that done of total bytes were read; a total of 0 is not known. It may
// be called for each record.
func (p *progress) set(done, total int64) {
	if p == nil {
		return
	}
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next, p.shown = now.Add(progressEvery), true
	text := p.line(done, total, now.Sub(p.began))
	// A line that is one short of the width never breaks, whatever the terminal. The
	// cursor is left behind the text, for a terminal shows ^C there.
	text = runewidth.Truncate(text, p.width-1, "…")
	fmt.Fprint(p.w, "\r"+runewidth.FillRight(text, p.width-1)+"\r"+text)
}

var errInterrupted = errors.New("interrupted: there may be more")

// until returns what shows progress, and ends the reading when ctx is done.
func (p *progress) until(ctx context.Context) func(done, total int64) error {
	return func(done, total int64) error {
		p.set(done, total)
		if ctx.Err() != nil {
			return errInterrupted
		}
		return nil
	}
}

func (p *progress) line(done, total int64, took time.Duration) string {
	const mb = 1e6
	rate := float64(done) / mb / took.Seconds()
	if total < done || total == 0 {
		return fmt.Sprintf("%s: %.0f MB, %.0f MB/s", p.what, float64(done)/mb, rate)
	}
	text := fmt.Sprintf("%s: %3d %% of %.0f MB, %.0f MB/s", p.what, int(100*(float64(done)/float64(total))), float64(total)/mb, rate)
	if done > 0 {
		left := time.Duration(float64(took) * float64(total-done) / float64(done))
		text += ", " + left.Round(time.Second).String() + " left"
	}
	return text
}

// hide takes the line away, before anything else is printed. set shows it again.
func (p *progress) hide() {
	if p == nil || !p.shown {
		return
	}
	p.shown = false
	fmt.Fprint(p.w, "\r"+strings.Repeat(" ", p.width-1)+"\r")
}
