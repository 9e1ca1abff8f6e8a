package main

import (
	"testing"
	"time"
)

func TestParseSpan(t *testing.T) {
	for _, tt := range []struct {
		text   string
		want   time.Duration
		reason string
	}{
		{"90s", 90 * time.Second, "as Go writes it"},
		{"1h30m", 90 * time.Minute, "two units"},
		{"30d", 720 * time.Hour, "days"},
		{"65535d", 65535 * 24 * time.Hour, "the most"},
		{"65536d", 0, "more than that"},
		{"1.5d", 0, "a part of a day"},
		{"-7d", 0, "back"},
		{"0d", 0, "none"},
		{"-1h", 0, "back"},
		{"7", 0, "no unit"},
		{"", 0, "nothing"},
		{"d", 0, "no number"},
	} {
		got, err := parseSpan("since", tt.text)
		if got != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%s: %q is %v, %v", tt.reason, tt.text, got, err)
		}
	}
}
