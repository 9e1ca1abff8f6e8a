package audit

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// stored is a tree as package tlog keeps it: all hashes.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, i := range indexes {
		hashes = append(hashes, s[i])
	}
	return hashes, nil
}

func sumOf(n uint64) [32]byte { return sha256.Sum256(fmt.Append(nil, "record ", n)) }

// forest returns the trees of 0 to n records, and all hashes of the last.
func forest(t testing.TB, n uint64) ([]tree, stored) {
	t.Helper()
	trees := []tree{{}}
	var all stored
	for i := range n {
		sum := sumOf(i + 1)
		hashes, err := tlog.StoredHashes(int64(i), sum[:], all)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, hashes...)
		trees = append(trees, trees[i].add(sum))
	}
	return trees, all
}

// TestTreeIsTlogs holds the tree to package tlog's of all small sizes, and its
// form in a record to the tree.
func TestTreeIsTlogs(t *testing.T) {
	trees, all := forest(t, 300)
	for size, tr := range trees {
		want, err := tlog.TreeHash(int64(size), all)
		if err != nil {
			t.Fatal(err)
		}
		if tr.root() != want {
			t.Fatalf("root of %d records: %v, want %v", size, tr.root(), want)
		}
		back, err := parseTree(uint64(size), tr.list())
		if err != nil || back != tr {
			t.Fatalf("tree of %d records from its list: %v", size, err)
		}
	}
}

// TestTreeProof holds that the proof of each record in each small tree is tlog's,
// wherever the log begins: a log that was pruned knows of what is gone no more than
// the tree before its first record.
func TestTreeProof(t *testing.T) {
	const most = 40
	trees, all := forest(t, most)
	for size := uint64(1); size <= most; size++ {
		for record := uint64(1); record <= size; record++ {
			want, err := tlog.ProveRecord(int64(size), int64(record)-1, all)
			if err != nil {
				t.Fatal(err)
			}
			for first := uint64(1); first <= record; first++ {
				tr := trees[first-1]
				c, err := newCollector(tr, size, record)
				if err != nil {
					t.Fatal(err)
				}
				for n := first; n <= size; n++ {
					sum := sumOf(n)
					tr.grow(tlog.RecordHash(sum[:]), c.see)
				}
				got, err := tlog.ProveRecord(int64(size), int64(record)-1, c)
				if err != nil || !slices.Equal(got, want) || tr != trees[size] {
					t.Fatalf("record %d of %d, from %d on: %v, %v, want %v", record, size, first, got, err, want)
				}
			}
		}
	}
}

func TestParseTreeRefuses(t *testing.T) {
	trees, _ := forest(t, 5)
	good := trees[5].list()
	for _, test := range []struct {
		why  string
		size uint64
		list []string
	}{
		{"one too few", 5, good[:1]},
		{"one too many", 4, good},
		{"of another size", 8, good},
		{"larger than any log", 1 << 63, good[:1]},
		{"a short hash", 5, []string{good[0], good[1][:63]}},
		{"upper case, which would say the same in another way", 5, []string{strings.ToUpper(good[0]), good[1]}},
		{"no hexadecimal digit", 5, []string{"g" + good[0][1:], good[1]}},
	} {
		if tr, err := parseTree(test.size, test.list); err == nil || tr != (tree{}) {
			t.Errorf("%s: taken", test.why)
		}
	}
}

func BenchmarkTreeAdd(b *testing.B) {
	var t tree
	sum := sumOf(1)
	for b.Loop() {
		t = t.add(sum)
	}
}

// TestHeadCarriesTree holds that the head of a log knows the tree, and that one of
// which the past is not known does not claim to.
func TestHeadCarriesTree(t *testing.T) {
	h, want := firstHead(), tree{}
	for n := range uint64(20) {
		line := fmt.Append(nil, "record ", n+1)
		blind := Head{Seq: h.Seq, Hash: h.Hash}.follow(line)
		h, want = h.follow(line), want.add(sumOf(n+1))
		if h.tree != want || h.tree.size != h.Seq {
			t.Fatalf("the tree of record %d is not that of its line", h.Seq)
		}
		if n > 0 && blind.tree.size != 0 {
			t.Fatalf("record %d, read alone, has a tree of %d records", h.Seq, blind.tree.size)
		}
	}
}
