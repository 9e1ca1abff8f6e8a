package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// maxPeaks bounds the perfect subtrees of a tree: of one with fewer than 2⁴⁰
// records, which would take 34,000 years at one a second, there are no more.
const maxPeaks = 40

// tree is the Merkle tree of RFC 6962 over the records of a log, as far as it is
// needed to add the next one: the roots of the perfect subtrees that the tree
// consists of, the largest first ("compact range"). Record n is leaf n-1, and the
// data of a leaf is the SHA-256 of the record's line.
//
// A tree is a value: to go back to an earlier one is an assignment. The zero value
// is the tree of an empty log. Two trees over the same records are equal.
type tree struct {
	size  uint64
	peaks [maxPeaks]tlog.Hash // as many as size has bits that are 1; the rest is zero
}

// add returns the tree with one more record, sum being the SHA-256 of its line.
func (t tree) add(sum [32]byte) tree {
	t.grow(tlog.RecordHash(sum[:]), nil)
	return t
}

// grow adds a leaf. Each hash that becomes known by that goes to seen, if that is
// not nil, in the order in which package tlog stores hashes.
func (t *tree) grow(leaf tlog.Hash, seen func(tlog.Hash)) {
	n, h := bits.OnesCount64(t.size), leaf
	if seen != nil {
		seen(h)
	}
	for size := t.size; size&1 == 1; size >>= 1 { // two of the same size make a larger one
		n--
		h = tlog.NodeHash(t.peaks[n], h)
		t.peaks[n] = tlog.Hash{}
		if seen != nil {
			seen(h)
		}
	}
	t.peaks[n] = h
	t.size++
}

// root is the hash of the whole tree: what a checkpoint signs.
func (t tree) root() tlog.Hash {
	n := bits.OnesCount64(t.size)
	if n == 0 {
		empty, _ := tlog.TreeHash(0, nil) // reads nothing, so nothing can fail
		return empty
	}
	h := t.peaks[n-1]
	for i := n - 2; i >= 0; i-- {
		h = tlog.NodeHash(t.peaks[i], h)
	}
	return h
}

// list is the form of the tree in a record: its peaks in hexadecimal.
func (t tree) list() []string {
	var all []string
	for _, h := range t.peaks[:bits.OnesCount64(t.size)] {
		all = append(all, hex.EncodeToString(h[:]))
	}
	return all
}

// parseTree is the inverse of list, for a tree of size records.
func parseTree(size uint64, list []string) (tree, error) {
	t := tree{size: size}
	if size >= 1<<maxPeaks || len(list) != bits.OnesCount64(size) {
		return tree{}, fmt.Errorf("a tree of %d records does not have %d parts", size, len(list))
	}
	for i, text := range list {
		h, err := parseSum(text)
		if err != nil {
			return tree{}, fmt.Errorf("part %d of the tree %q: %w", i+1, Clip(text, 80), err)
		}
		t.peaks[i] = h
	}
	return t, nil
}

// parseSum reads a SHA-256 in hexadecimal, as encoding/hex writes it: of two ways
// to write the same the other would change a record and not its meaning.
func parseSum(text string) (sum [32]byte, err error) {
	if len(text) != hex.EncodedLen(len(sum)) {
		return sum, errors.New("it has not 64 hexadecimal digits")
	}
	if _, err := hex.Decode(sum[:], []byte(text)); err != nil || hex.EncodeToString(sum[:]) != text {
		return sum, errors.New("it is not in lower hexadecimal digits")
	}
	return sum, nil
}

// collector keeps of the hashes that a growing tree makes known those that are
// wanted. It is how a proof is made in one pass over a log of any length, with no
// more in memory than the proof: a tlog.HashReader is asked only when all was read.
type collector struct {
	wanted map[int64]bool // by tlog's index
	found  map[int64]tlog.Hash
	next   int64 // index of the next hash
}

// newCollector wants what the proof that record is in the tree of size records
// consists of, and what the root of that tree does. It begins behind the tree
// start, of which only the peaks are known.
func newCollector(start tree, size, record uint64) (*collector, error) {
	c := &collector{wanted: map[int64]bool{}, found: map[int64]tlog.Hash{}, next: tlog.StoredHashCount(int64(start.size))}
	note := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		for _, i := range indexes {
			c.wanted[i] = true
		}
		return make([]tlog.Hash, len(indexes)), nil
	})
	if _, err := tlog.ProveRecord(int64(size), int64(record)-1, note); err != nil {
		return nil, err
	}
	first, i := uint64(0), 0
	for left := start.size; left != 0; i++ {
		level := bits.Len64(left) - 1
		c.found[tlog.StoredHashIndex(level, int64(first>>level))] = start.peaks[i]
		first, left = first+1<<level, left&^(1<<level)
	}
	return c, nil
}

// see takes the next hash, for tree.grow.
func (c *collector) see(h tlog.Hash) {
	if c.wanted[c.next] {
		c.found[c.next] = h
	}
	c.next++
}

// ReadHashes makes it a tlog.HashReader.
func (c *collector) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		h, ok := c.found[index]
		if !ok {
			return nil, fmt.Errorf("hash %d of the tree was not read", index)
		}
		hashes[i] = h
	}
	return hashes, nil
}
