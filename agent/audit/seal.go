package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"
)

// Checkpoint signs the log as it is. It writes a record that holds the signed note of
// the tree of all records before it, and then, to CheckpointName, a note of the tree
// with that record. Where nothing was recorded since the last checkpoint of this Log,
// it does nothing. The first time that file comes before the record.
//
// It signs no log that is not the one that was signed last, and more: whoever cut off
// or changed a log while nobody wrote it would get a signature for it, and the one
// that shows it would be gone. The first call that finds it so records it, as
// log.damaged.
//
// It returns the events that became durable with this call, as Append does, and fails
// as that does while the log cannot be written; no checkpoint waits for it then. If
// the file alone cannot be written, the record is there and returned, and the file is
// written by the next call that signs.
func (l *Log) Checkpoint(signer note.Signer) ([]Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, l.wrap(os.ErrClosed)
	case l.trouble != nil:
		return l.retry()
	}
	err := l.write(true) // so that nothing waits before it
	if err == nil && l.kept.Seq > 0 && l.kept.Seq != l.sealed {
		err = l.seal(signer)
	}
	var unsigned *unsignedError
	switch {
	case errors.As(err, &unsigned):
		done, err := l.result()
		return done, errors.Join(err, l.wrap(unsigned))
	case err != nil:
		l.degrade(err)
	}
	return l.result()
}

// unsignedError says that the log could be written, and not signed.
type unsignedError struct{ err error }

func (e *unsignedError) Error() string { return e.err.Error() }
func (e *unsignedError) Unwrap() error { return e.err }

// seal signs what is kept, which is all of the log.
func (l *Log) seal(signer note.Signer) error {
	if err := l.compare(signer); err != nil {
		return err
	}
	if err := l.enqueueSigned(signer); err != nil {
		return err
	}
	// If the record goes into a new segment, the header of that comes before it, and
	// is to be signed with the rest.
	before := l.kept.Seq
	if err := l.room(); err != nil {
		return err
	}
	if l.kept.Seq != before {
		l.queue = nil
		if err := l.enqueueSigned(signer); err != nil {
			return err
		}
	}
	if err := l.write(true); err != nil {
		return err
	}
	signed, err := l.signed(signer)
	if err == nil {
		err = WriteFile(filepath.Join(l.dir, CheckpointName), signed, 0o600)
	}
	if err != nil {
		return &unsignedError{err}
	}
	l.sealed = l.kept.Seq
	return nil
}

// compare makes sure, once, that the log is what was signed before, and more, and that
// there is something to compare it with. That it is not is recorded, once.
func (l *Log) compare(signer note.Signer) error {
	switch {
	case l.extends:
		return nil
	case l.damaged != nil:
		return &unsignedError{l.damaged}
	}
	damage, err := extends(l.dir, l.kept.Seq, l.marked)
	switch {
	case err != nil:
		return &unsignedError{err}
	case damage == nil:
		if err := l.firstSigned(signer); err != nil {
			return &unsignedError{err}
		}
		l.extends = true
		return nil
	}
	l.damaged = damage
	e := Event{
		Event: LogDamaged, Message: "the audit log is not what was signed, and is not signed any more: " + damage.Error(),
		Errors: []string{damage.Error()},
	}
	if err := l.enqueue([]Event{l.stamp(e)}); err != nil {
		return err
	}
	if err := l.write(true); err != nil {
		return err // it waits with the rest
	}
	return &unsignedError{damage}
}

// firstSigned writes the file of the last checkpoint where there is none yet, of what
// is kept: a record of a checkpoint in a log without that file, as a crash between
// the two would leave it, looks like one of which records were cut off.
func (l *Log) firstSigned(signer note.Signer) error {
	path := filepath.Join(l.dir, CheckpointName)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	signed, err := l.signed(signer)
	if err != nil {
		return err
	}
	return WriteFile(path, signed, 0o600)
}

func (l *Log) enqueueSigned(signer note.Signer) error {
	signed, err := l.signed(signer)
	if err != nil {
		return &unsignedError{err}
	}
	e := Event{
		Event: LogCheckpoint, Checkpoint: string(signed),
		Message: fmt.Sprintf("the %d records before this are signed by the key %s+%08x", l.kept.Seq, signer.Name(), signer.KeyHash()),
	}
	return l.enqueue([]Event{l.stamp(e)})
}

// signed returns the signed note of the records that are kept.
func (l *Log) signed(signer note.Signer) ([]byte, error) {
	if l.kept.tree.size != l.kept.Seq {
		return nil, errors.New("the log cannot be signed: the header of its file does not hold the tree of the records before it")
	}
	return signTree(l.kept.tree, signer)
}

// sweepSigned removes what a program that was killed left of the files that only the
// one that holds the log writes. What cannot be removed is in nobody's way, and is
// tried again at the next start.
func sweepSigned(dir string) {
	entries, _ := os.ReadDir(dir) // none if it cannot be read, of which open tells
	for _, e := range entries {
		switch temporaryOf(e.Name()) {
		case CheckpointName, KeyName:
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// extends says in damage why the log in dir, which ends with the record last, is not
// the one that the checkpoint beside it was made of, and more; marked tells that the
// log holds a checkpoint behind which that one was written. err is why that cannot be
// told at present. Only the file of the log in which the checkpoint ends is read: the
// tree in its header stands for those before.
func extends(dir string, last uint64, marked bool) (damage, err error) {
	other := func(why string) error {
		return fmt.Errorf("%s (portaudit log verify tells more): keep the directory as evidence by moving it, and a new log is started", why)
	}
	signed, err := readBounded(filepath.Join(dir, CheckpointName), maxNote)
	switch {
	case errors.Is(err, fs.ErrNotExist) && marked:
		return other("the log was signed, and the file " + CheckpointName + ", which would show what, is missing"), nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // nothing was signed yet
	case err != nil:
		return other(markBeside + " cannot be read: " + err.Error()), nil
	}
	text, err := readBounded(filepath.Join(dir, KeyName), maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // who signs without OpenSigner has nothing to go by
	}
	if err != nil {
		return nil, err
	}
	keys, err := ParseKeys(text)
	if err != nil {
		return other("the public keys in " + KeyName + " were changed: " + err.Error()), nil
	}
	c, err := ParseCheckpoint(signed, keys)
	switch {
	case errors.As(err, new(*UnknownKeyError)):
		return other("the keys were replaced, or " + markBeside + " is of another log: " + err.Error()), nil
	case err != nil:
		return other(markBeside + " was changed: " + err.Error()), nil
	}
	changed := fmt.Sprintf("it is not the log of %d records that was signed last: records were changed or cut off", c.Size)
	if c.Size > last {
		return other(changed), nil
	}
	root, err := rootAt(dir, c.Size)
	switch {
	case errors.As(err, new(*DamageError)):
		return other(changed + ": " + err.Error()), nil
	case err != nil:
		return nil, err
	case root != nil && *root != c.Root:
		return other(changed), nil
	}
	return nil, nil
}

// rootAt returns the root of the tree of the first size records, nil if retention has
// removed the last of them. It reads the one segment in which that is.
func rootAt(dir string, size uint64) (*[32]byte, error) {
	s, err := look(dir)
	if err != nil {
		return nil, err
	}
	if err := s.close(); err != nil {
		return nil, err
	}
	first := s.first
	for i := len(s.closed) - 1; i >= 0 && (first == 0 || first > size); i-- {
		first = s.closed[i].first
	}
	if first == 0 || first > size {
		return nil, nil
	}
	h := firstHead()
	for l, err := range Lines(dir, Range{After: first - 1}) {
		if err != nil {
			return nil, err
		}
		if l.Seq == first && first > 1 {
			t, err := treeBefore(l)
			if err != nil {
				return nil, err
			}
			h = Head{Seq: first - 1, tree: t}
		}
		if h = h.follow(l.Raw); h.Seq == size {
			break
		}
	}
	root := [32]byte(h.tree.root())
	return &root, nil
}
