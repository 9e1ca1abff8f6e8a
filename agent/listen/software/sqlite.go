package software

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The layout of a SQLite database, https://www.sqlite.org/fileformat2.html.
// Only what rpm's database needs is read: UTF-8 tables with a row id, and an
// index on one column of text.
const (
	sqliteMagic     = "SQLite format 3\x00"
	sqliteHead      = 100
	sqliteIndexNode = 2 // types of pages
	sqliteTableNode = 5
	sqliteIndexLeaf = 10
	sqliteTableLeaf = 13
	sqliteUTF8      = 1

	// sqliteDepth bounds a tree (BTCURSOR_MAX_DEPTH in SQLite's src/btreeInt.h).
	sqliteDepth = 20

	// sqlitePages bounds the pages that one pass reads, so that a tree that
	// was built to grow at each level comes to an end. A path takes some ten,
	// the header of a package a few to some hundred. As many cells as are in
	// a page of a real database, cellsOfPage, count as one more.
	sqlitePages = 1 << 18
	cellsOfPage = 64
)

var errSQLite = errors.New("no SQLite database that can be read here")

// sqlite reads a SQLite database. Its buffers are reused: what a method
// yields is good until it goes on.
type sqlite struct {
	file     io.ReaderAt
	log      *sqliteLog // nil if there is none
	pageSize int
	usable   int // bytes of a page that are not reserved
	left     int // pages that may still be read
	levels   [sqliteDepth][]byte
	overflow []byte
	payload  []byte
}

// openSQLite reads the head of a database, the newest pages of which are in
// log.
func openSQLite(f io.ReaderAt, log *sqliteLog) (*sqlite, error) {
	d := &sqlite{file: f, log: log, left: sqlitePages}
	head := make([]byte, sqliteHead)
	if err := d.readPage(head, 1); err != nil {
		return nil, fmt.Errorf("%w: %v", errSQLite, err)
	}
	if string(head[:16]) != sqliteMagic {
		return nil, fmt.Errorf("%w: it begins with %q", errSQLite, head[:16])
	}
	d.pageSize = int(binary.BigEndian.Uint16(head[16:]))
	if d.pageSize == 1 {
		d.pageSize = 64 << 10
	}
	if d.pageSize < 512 || d.pageSize&(d.pageSize-1) != 0 {
		return nil, fmt.Errorf("%w: pages of %d bytes", errSQLite, d.pageSize)
	}
	d.usable = d.pageSize - int(head[20])
	if d.usable < 480 {
		return nil, fmt.Errorf("%w: %d bytes of each page are reserved", errSQLite, head[20])
	}
	if read, encoding := head[19], binary.BigEndian.Uint32(head[56:]); read > 2 || encoding != sqliteUTF8 {
		return nil, fmt.Errorf("%w: format %d, encoding %d", errSQLite, read, encoding)
	}
	if log != nil && log.pageSize != d.pageSize {
		return nil, fmt.Errorf("%w: its log has pages of %d bytes instead of %d", errSQLite, log.pageSize, d.pageSize)
	}
	d.overflow = make([]byte, d.pageSize)
	return d, nil
}

// readPage fills page from the page of that number; they count from 1.
func (d *sqlite) readPage(page []byte, number uint32) error {
	if d.left--; d.left < 0 {
		return fmt.Errorf("more than %d pages", sqlitePages)
	}
	if number == 0 {
		return errors.New("page 0")
	}
	from, offset := d.file, int64(number-1)*int64(d.pageSize)
	if d.log != nil {
		if at, ok := d.log.pages[number]; ok {
			from, offset = d.log.file, at
		}
	}
	if _, err := from.ReadAt(page, offset); err != nil {
		return fmt.Errorf("page %d: %w", number, eof(err))
	}
	return nil
}

// node is a page of a tree.
type node struct {
	kind  byte
	page  []byte // the usable part
	cells []byte // two bytes each: where in the page a cell is
	last  uint32 // the child after the last cell, of an inner node
}

// node reads the page of that number at a depth of its tree.
func (d *sqlite) node(number uint32, depth int) (node, error) {
	if depth >= sqliteDepth {
		return node{}, fmt.Errorf("%w: a tree of more than %d levels", errSQLite, sqliteDepth)
	}
	if d.levels[depth] == nil {
		d.levels[depth] = make([]byte, d.pageSize)
	}
	if err := d.readPage(d.levels[depth], number); err != nil {
		return node{}, err
	}
	n := node{page: d.levels[depth][:d.usable]}
	head := n.page
	if number == 1 {
		head = head[sqliteHead:]
	}
	n.kind = head[0]
	count := int(binary.BigEndian.Uint16(head[3:]))
	size := 8
	if n.kind == sqliteIndexNode || n.kind == sqliteTableNode {
		n.last, size = binary.BigEndian.Uint32(head[8:]), 12
	}
	if size+2*count > len(head) {
		return node{}, fmt.Errorf("%w: page %d has %d cells", errSQLite, number, count)
	}
	n.cells = head[size : size+2*count]
	d.left -= count / cellsOfPage
	return n, nil
}

// cell returns the bytes of cell i and what comes after it.
func (n node) cell(i int) ([]byte, error) {
	at := int(binary.BigEndian.Uint16(n.cells[2*i:]))
	if at < 8 || at+4 > len(n.page) {
		return nil, fmt.Errorf("%w: a cell at %d", errSQLite, at)
	}
	return n.page[at:], nil
}

// content returns what a cell holds, after the child's number and the row id:
// size bytes, of which at most room are in the page itself and the rest in a
// chain of pages.
func (d *sqlite) content(cell []byte, size uint64, room int) ([]byte, error) {
	if size <= uint64(room) {
		if size > uint64(len(cell)) {
			return nil, fmt.Errorf("%w: a cell past its page", errSQLite)
		}
		return cell[:size], nil
	}
	if size > maxHeader+64 { // the record's own head
		return nil, fmt.Errorf("a value of %d bytes", size)
	}
	least := (d.usable-12)*32/255 - 23
	local := least + (int(size)-least)%(d.usable-4)
	if local > room {
		local = least
	}
	if local+4 > len(cell) {
		return nil, fmt.Errorf("%w: a cell past its page", errSQLite)
	}
	d.payload = append(d.payload[:0], cell[:local]...)
	next := binary.BigEndian.Uint32(cell[local:])
	for rest := int(size) - local; rest > 0; {
		if err := d.readPage(d.overflow, next); err != nil {
			return nil, err
		}
		part := d.overflow[4:d.usable]
		part = part[:min(rest, len(part))]
		d.payload = append(d.payload, part...)
		rest -= len(part)
		next = binary.BigEndian.Uint32(d.overflow)
	}
	return d.payload, nil
}

// rows calls do with each row of the table whose tree begins at page number.
func (d *sqlite) rows(number uint32, depth int, do func(row record) error) error {
	n, err := d.node(number, depth)
	if err != nil {
		return err
	}
	for i := range len(n.cells) / 2 {
		cell, err := n.cell(i)
		if err != nil {
			return err
		}
		switch n.kind {
		case sqliteTableNode:
			err = d.rows(binary.BigEndian.Uint32(cell), depth+1, do)
		case sqliteTableLeaf:
			var row record
			if row, _, err = d.tableRow(cell); err == nil {
				err = do(row)
			}
		default:
			err = fmt.Errorf("%w: page %d is of type %d, not of a table", errSQLite, number, n.kind)
		}
		if err != nil {
			return err
		}
	}
	if n.kind == sqliteTableNode {
		return d.rows(n.last, depth+1, do)
	}
	return nil
}

// tableRow returns the row of a cell of a table's leaf, and its id.
func (d *sqlite) tableRow(cell []byte) (record, int64, error) {
	size, n := varint(cell)
	id, m := varint(cell[n:])
	b, err := d.content(cell[n+m:], size, d.usable-35)
	return record(b), int64(id), err
}

// row returns the row with that id, false if there is none.
func (d *sqlite) row(number uint32, id int64) (record, bool, error) {
	for depth := 0; ; depth++ {
		n, err := d.node(number, depth)
		if err != nil {
			return nil, false, err
		}
		switch n.kind {
		case sqliteTableNode:
			if number, err = n.childOf(id); err != nil {
				return nil, false, err
			}
			continue
		case sqliteTableLeaf:
		default:
			return nil, false, fmt.Errorf("%w: page %d is of type %d, not of a table", errSQLite, number, n.kind)
		}
		for i := range len(n.cells) / 2 {
			cell, err := n.cell(i)
			if err != nil {
				return nil, false, err
			}
			_, skip := varint(cell)
			if key, _ := varint(cell[skip:]); int64(key) != id {
				continue
			}
			row, _, err := d.tableRow(cell)
			return row, err == nil, err
		}
		return nil, false, nil
	}
}

// childOf returns the child of a table's inner node below which a row is.
func (n node) childOf(id int64) (uint32, error) {
	for i := range len(n.cells) / 2 {
		cell, err := n.cell(i)
		if err != nil {
			return 0, err
		}
		if key, _ := varint(cell[4:]); id <= int64(key) {
			return binary.BigEndian.Uint32(cell), nil
		}
	}
	return n.last, nil
}

// find calls do with the id of each row that the index has under key. It is
// false when it has passed the last one.
func (d *sqlite) find(number uint32, depth int, key []byte, do func(id int64) error) (more bool, err error) {
	n, err := d.node(number, depth)
	if err != nil {
		return false, err
	}
	if n.kind != sqliteIndexNode && n.kind != sqliteIndexLeaf {
		return false, fmt.Errorf("%w: page %d is of type %d, not of an index", errSQLite, number, n.kind)
	}
	for i := range len(n.cells) / 2 {
		child, text, id, err := d.indexCell(n, i)
		if err != nil {
			return false, fmt.Errorf("page %d: %w", number, err)
		}
		order := bytes.Compare(text, key)
		if order < 0 {
			continue
		}
		if child != 0 { // may have equal keys too
			if more, err := d.find(child, depth+1, key, do); err != nil || !more {
				return false, err
			}
		}
		if order > 0 {
			return false, nil
		}
		if err := do(id); err != nil {
			return false, err
		}
	}
	if n.kind == sqliteIndexNode {
		return d.find(n.last, depth+1, key, do)
	}
	return true, nil
}

// indexCell returns the child before cell i (0 in a leaf), its text and the id
// of the row.
func (d *sqlite) indexCell(n node, i int) (child uint32, text []byte, id int64, err error) {
	cell, err := n.cell(i)
	if err != nil {
		return 0, nil, 0, err
	}
	if n.kind == sqliteIndexNode {
		child, cell = binary.BigEndian.Uint32(cell), cell[4:]
	}
	size, skip := varint(cell)
	b, err := d.content(cell[skip:], size, (d.usable-12)*64/255-23)
	if err != nil {
		return 0, nil, 0, err
	}
	text, id, ok := record(b).entry()
	if !ok {
		return 0, nil, 0, fmt.Errorf("%w: no index of text", errSQLite)
	}
	return child, text, id, nil
}
