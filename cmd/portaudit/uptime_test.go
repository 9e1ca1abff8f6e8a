package main

import (
	"testing"
	"time"
)

// The clock goes, forward, and as fast as the other one.
func TestUptime(t *testing.T) {
	before, began := uptime(), time.Now()
	time.Sleep(20 * time.Millisecond)
	passed, want := uptime()-before, time.Since(began)
	if before <= 0 || passed < 10*time.Millisecond || passed > want+10*time.Millisecond {
		t.Errorf("%v and %v later, where %v passed", before, passed, want)
	}
}
