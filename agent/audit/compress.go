package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// compress compresses the closed segments of the log in dir that are not, the
// oldest first, and calls do behind each.
func compress(ctx context.Context, dir string, do func()) error {
	s, err := look(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.close() //nolint:errcheck // it was only read
	for i, c := range s.closed {
		if c.packed || ctx.Err() != nil {
			continue
		}
		e := pack(ctx, dir, c.first, s.bound(i))
		if e != nil && ctx.Err() == nil && !errors.Is(e, fs.ErrNotExist) { // do may have removed it
			err = errors.Join(err, fmt.Errorf("compress %s: %w", c.name(), e))
		}
		do()
	}
	return err
}

// errAbandoned is what a segment is not compressed for that ends in what was never
// acknowledged and is no record: the failure of its file is told elsewhere.
var errAbandoned = errors.New("it ends in what is no record")

// pack takes the place of a raw segment by a compressed one. The raw one is removed
// when the other was read back from its file and is the same.
func pack(ctx context.Context, dir string, first, bound uint64) error {
	raw := filepath.Join(dir, segment{first: first}.name())
	packed := filepath.Join(dir, segment{first: first, packed: true}.name())
	f, err := openRegular(raw)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	sum := sha256.New()
	err = WriteFileBy(packed, 0o600, func(w io.Writer) error {
		return packLines(ctx, w, io.TeeReader(f, sum), bound)
	})
	if errors.Is(err, errAbandoned) {
		return nil
	}
	if err != nil {
		return err
	}
	back, err := unpackedSum(packed)
	if err == nil && string(back) != string(sum.Sum(nil)) {
		err = errors.New("it is another when it is read back")
	}
	if err != nil {
		return errors.Join(err, os.Remove(packed))
	}
	// As old as its records are, for who looks at the directory.
	return errors.Join(os.Chtimes(packed, fi.ModTime(), fi.ModTime()), os.Remove(raw), syncDir(dir))
}

// packLines compresses the lines of r to its end.
func packLines(ctx context.Context, w io.Writer, r io.Reader, bound uint64) error {
	b := blockWriter{w: w}
	var l lineReader
	l.reset(r, 0)
	for last := uint64(0); ; {
		line, err := l.next()
		if err == io.EOF {
			return b.flush()
		}
		var p prefix
		if err == nil {
			p, err = parsePrefix(line)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && bound > 0 && last+1 >= bound:
			return errAbandoned
		case err != nil:
			return fmt.Errorf("behind record %d: %w", last, err)
		case last > 0 && p.seq != last+1:
			return fmt.Errorf("behind record %d is record %d", last, p.seq)
		}
		last = p.seq
		if err := b.write(line); err != nil {
			return err
		}
	}
}

// unpackedSum returns the SHA-256 of what is in a compressed segment.
func unpackedSum(path string) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	b := blockReader{r: f, end: fi.Size()}
	for {
		x, err := b.next()
		if err == io.EOF {
			return sum.Sum(nil), nil
		}
		if err != nil {
			return nil, err
		}
		unpacked, err := b.read(x)
		if err != nil {
			return nil, err
		}
		sum.Write(unpacked.lines)
	}
}
