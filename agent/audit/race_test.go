//go:build race

package audit

// raced: what works through thousands of inputs takes some of them, for the detector
// of races makes it ten times as slow and sees the same in each.
const raced = true
