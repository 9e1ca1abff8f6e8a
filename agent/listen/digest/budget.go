package digest

import (
	"sync"
	"time"
)

// budget says whether more bytes may be read now: a bucket that fills at rate,
// holds what one second brings, and may be overdrawn by one file.
type budget struct {
	mu    sync.Mutex
	rate  float64 // bytes a second
	left  float64 // bytes at the time since; negative if overdrawn
	since time.Time
}

func newBudget(rate int64) *budget {
	return &budget{rate: float64(rate), left: float64(rate), since: time.Now()}
}

// take takes n bytes and reports whether any were left. If not, it takes
// nothing.
func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.left = min(b.rate, b.left+b.rate*now.Sub(b.since).Seconds())
	b.since = now
	if b.left <= 0 {
		return false
	}
	b.left -= float64(n)
	return true
}
