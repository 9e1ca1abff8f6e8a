package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := &progress{w: &out, width: 50, what: "verifying", began: time.Now(), next: time.Now().Add(progressAfter)}
		p.set(10e6, 1000e6)
		p.hide()
		if out.Len() > 0 {
			t.Errorf("shown at once: %q", out.String())
		}
		time.Sleep(2 * time.Second)
		p.set(500e6, 1000e6)
		p.set(501e6, 1000e6) // too soon to be shown
		text := "verifying:  50 % of 1000 MB, 250 MB/s, 2s left"
		if got, want := out.String(), "\r"+text+strings.Repeat(" ", 49-len(text))+"\r"+text; got != want {
			t.Errorf("shown: %q, want %q, filled to 49 columns, and the cursor behind the text", got, want)
		}
		out.Reset()
		p.hide()
		p.hide() // there is nothing to hide any more
		if got := out.String(); got != "\r"+strings.Repeat(" ", 49)+"\r" {
			t.Errorf("hidden by %q", got)
		}
		for _, test := range []struct {
			why         string
			done, total int64
			want        string
		}{
			{"the total is not known", 4e6, 0, "verifying: 4 MB, 1 MB/s"},
			{"the log grew meanwhile", 8e6, 4e6, "verifying: 8 MB, 2 MB/s"},
			{"nothing was read yet", 0, 8e6, "verifying:   0 % of 8 MB, 0 MB/s"},
			{"it is done", 8e6, 8e6, "verifying: 100 % of 8 MB, 2 MB/s, 0s left"},
		} {
			if got := p.line(test.done, test.total, 4*time.Second); got != test.want {
				t.Errorf("%s: %q, want %q", test.why, got, test.want)
			}
		}
	})
}

// TestProgressElsewhere holds that a pipe, a file and the absence of a meter get
// nothing.
func TestProgressElsewhere(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, "reading")
	if p != nil {
		t.Error("a buffer is no terminal")
	}
	p.set(1, 2)
	p.hide()
	if out.Len() > 0 {
		t.Errorf("wrote %q", out.String())
	}
}
