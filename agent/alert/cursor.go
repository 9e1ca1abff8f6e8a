package alert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	cursorVersion = 1
	// maxCursor bounds the file: a rule of which alerts are held back takes some
	// two kilobytes, a finding that was told some hundred bytes.
	maxCursor = 16 << 20
)

// cursor is how far an output is, over restarts.
type cursor struct {
	Version int `json:"version"`
	// Seq is the last record that was delivered, counted by Flood, or is not for
	// this output.
	Seq   uint64 `json:"seq"`
	Flood flood  `json:"flood"`
	// Due are summaries that are to be delivered before anything else.
	Due []Summary `json:"due,omitempty"`
}

// readCursor reads a cursor file; fs.ErrNotExist can be matched.
func readCursor(path string) (cursor, error) {
	f, err := os.Open(path)
	if err != nil {
		return cursor{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCursor+1))
	if err != nil {
		return cursor{}, err
	}
	c, err := parseCursor(b)
	if err != nil {
		return cursor{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// parseCursor reads the content of a cursor file.
func parseCursor(b []byte) (cursor, error) {
	if len(b) > maxCursor {
		return cursor{}, fmt.Errorf("more than %d bytes", maxCursor)
	}
	var c cursor
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&c); err != nil {
		return cursor{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return cursor{}, errors.New("something stands behind the cursor")
	}
	if c.Version != cursorVersion {
		return cursor{}, fmt.Errorf("version %d instead of %d", c.Version, cursorVersion)
	}
	for k, p := range c.Flood.Keys {
		if p.Held.Count > 0 && p.Held.Kinds == nil {
			return cursor{}, fmt.Errorf("of %q there is a count, and none by kind", k)
		}
	}
	return c, nil
}

// save replaces the cursor file. It does not wait for the disk: after a power
// cut an older cursor has some records delivered once more, and a file that was
// never replaced is better than an fsync for each alert.
func (c cursor) save(path string) error {
	c.Version = cursorVersion
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	dir, base := filepath.Split(path)
	f, err := os.CreateTemp(dir, "."+base+".*.tmp") // 0600, and nobody else's
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// recallCursor returns the cursor of an output: where there is no file yet, one
// that begins behind the record now. problem says why a file could not be used,
// as after a power cut.
func recallCursor(path string, now uint64) (c cursor, problem error) {
	c, err := readCursor(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cursor{Seq: now}, nil
	case err != nil:
		return cursor{Seq: now}, err
	}
	return c, nil
}
