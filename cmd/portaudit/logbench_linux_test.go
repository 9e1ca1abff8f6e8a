package main

import (
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

// BenchmarkQuery measures questions to a log of 64 MB, nine tenths of it compressed;
// MB/s are of its records.
func BenchmarkQuery(b *testing.B) {
	dir := b.TempDir()
	const size = 64e6
	largeLog(b, dir, size)
	if err := audit.Tidy(b.Context(), dir, audit.Retention{}, func(audit.Event) error { return nil }); err != nil {
		b.Fatal(err)
	}
	show := func(s agent.Selection) func() {
		return func() {
			filter := s.Filter()
			for l, err := range audit.Lines(dir, s.Range()) {
				if err == nil {
					_, _, err = filter.Select(l)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	each := func(take func(audit.Line) error) {
		for l, err := range audit.Lines(dir, audit.Range{}) {
			if err == nil {
				err = take(l)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, bb := range []struct {
		name string
		do   func()
	}{
		{"lines", func() { each(func(audit.Line) error { return nil }) }},
		{"all", show(agent.Selection{})},
		{"day", show(agent.Selection{Since: time.Now().Add(-60 * 24 * time.Hour), Until: time.Now().Add(-59 * 24 * time.Hour)})},
		{"port", show(agent.Selection{Port: agent.PortRange32{First: 8080, Last: 8080}})},
		{"ports", show(agent.Selection{Port: agent.PortRange32{First: 8000, Last: 8100}})},
		{"exe", show(agent.Selection{Executable: "/tmp/*"})},
		{"at", func() { agent.Then(audit.Lines(dir, audit.Range{}), time.Now(), time.Now(), false) }},
		{"history", func() {
			life := agent.NewLife(agent.PortRange32{First: 8080, Last: 8080}, "tcp", time.Time{})
			each(func(l audit.Line) error { _, err := life.Take(l); return err })
		}},
		{"stats", func() { each(agent.NewSumming(agent.Selection{}, time.UTC).Take) }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				bb.do()
			}
		})
	}
}
