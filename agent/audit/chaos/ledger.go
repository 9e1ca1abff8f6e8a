package main

import (
	"sync/atomic"
	"unsafe"
)

const (
	// ledgerRecords is how many records a writer can acknowledge.
	ledgerRecords = 1 << 18
	ledgerSize    = int(unsafe.Sizeof(ledger{}))
)

// ledger is memory that a writer shares with the chaos program. What the writer
// stores in it counts from that instant on, also if it is killed at the next;
// a pipe would hold some of it back.
type ledger struct {
	opened  atomic.Bool
	done    atomic.Bool   // all is written that was to be
	begun   atomic.Uint32 // the last record that was given to Append
	acked   atomic.Uint32 // the last that was acknowledged
	refused atomic.Uint32 // errors of Append
	// seqs holds for each record that was acknowledged its sequence number in the log.
	seqs [ledgerRecords + 1]atomic.Uint32
}

// acknowledge notes that the writer's record n is the record seq of the log.
func (l *ledger) acknowledge(n int, seq uint64) {
	l.seqs[n].Store(uint32(seq))
	l.acked.Store(max(l.acked.Load(), uint32(n)))
}

// page is what a ledger said at a moment.
type page struct {
	begun int
	done  bool     // whether all is written that was to be
	acked int      // how many records were acknowledged
	seqs  []uint32 // by record, 0 if it was not acknowledged
}

// read reads the ledger. What is acknowledged while it reads may be missing.
func (l *ledger) read() page {
	last := int(l.acked.Load())
	p := page{seqs: make([]uint32, last+1)}
	for n := range p.seqs {
		if p.seqs[n] = l.seqs[n].Load(); p.seqs[n] != 0 {
			p.acked++
		}
	}
	p.begun, p.done = int(l.begun.Load()), l.done.Load()
	return p
}
