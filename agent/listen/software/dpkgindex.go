package software

import (
	"bufio"
	"bytes"
	"errors"
	"hash/maphash"
	"io/fs"
	"math"
	"slices"
	"strings"
)

// dpkgIndex tells which of dpkg's lists may have a file of a name, for one state
// of the database. A host has a thousand lists, and to read them from a disk
// takes a tenth of a second.
type dpkgIndex struct {
	lists []string
	seed  maphash.Seed
	names []uint64 // sorted; the hash of the last part of a path, and in the lowest listBits its list
}

// listBits is how many bits of a name tell the list. A host with more lists than
// they can tell has no index.
const listBits = 16

// name returns what stands in an index for a list's last parts of this hash.
func indexName(hash uint64, list int) uint64 { return hash>>listBits<<listBits | uint64(list) }

// indexLists reads all lists. There is no index, and no error, where dpkg has no
// lists, or too many.
func (r *root) indexLists() (*dpkgIndex, error) {
	dir, lists, err := r.dpkgLists()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if len(lists) > math.MaxUint16 {
		return nil, nil
	}
	at, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer at.Close()
	x := &dpkgIndex{lists: lists, seed: maphash.MakeSeed()}
	for i, list := range lists {
		err := r.readList(dir, at, list, func([]byte) bool { return true }, func(scan *bufio.Scanner) error {
			return parseList(scan, dpkgInfo+"/"+list, func(line []byte) { x.add(line, i) })
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(x.names)
	x.names = slices.Clip(slices.Compact(x.names))
	return x, nil
}

// add adds a path that a list has.
func (x *dpkgIndex) add(name []byte, list int) {
	hash := maphash.Bytes(x.seed, name[bytes.LastIndexByte(name, '/')+1:])
	x.names = append(x.names, indexName(hash, list))
}

// having returns the numbers of the lists that may have a file of one of the
// names, in the order of the lists.
func (x *dpkgIndex) having(names map[string]string) []int {
	var found []int
	for name := range names {
		hash := maphash.String(x.seed, name[strings.LastIndexByte(name, '/')+1:])
		first, _ := slices.BinarySearch(x.names, indexName(hash, 0))
		for _, n := range x.names[first:] {
			if n>>listBits != hash>>listBits {
				break
			}
			found = append(found, int(n&math.MaxUint16))
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
