package digest

import (
	"sync"
	"time"
)

// identity tells whether a file is still the one that was read. On Linux and
// other Unix systems no user can set the time of the last change of the inode;
// the system files say what is weaker elsewhere.
type identity struct {
	device, inode     uint64
	size              int64
	modified, changed int64 // of content and of inode, in ns of Unix time
}

// lastChange is the later of both times.
func (id identity) lastChange() time.Time {
	return time.Unix(0, max(id.modified, id.changed))
}

// cache keeps digests in two halves: what is asked for moves into the younger
// one, and when that is full, the older one is forgotten.
type cache struct {
	mu         sync.Mutex
	young, old map[identity]Sum
	half       int
}

func newCache(entries int) *cache {
	return &cache{young: map[identity]Sum{}, old: map[identity]Sum{}, half: max(1, entries/2)}
}

func (c *cache) get(id identity) (Sum, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sum, ok := c.young[id]; ok {
		return sum, true
	}
	sum, ok := c.old[id]
	if ok {
		c.add(id, sum)
	}
	return sum, ok
}

func (c *cache) put(id identity, sum Sum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(id, sum)
}

func (c *cache) add(id identity, sum Sum) {
	if len(c.young) >= c.half {
		c.young, c.old = c.old, c.young
		clear(c.young)
	}
	c.young[id] = sum
}
