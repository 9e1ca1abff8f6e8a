package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/portaudit/portaudit/agent"
)

// printDocument prints a report as one JSON document: indented on a terminal,
// for people, and else on one line, which takes half the time. A host may have
// ten thousand listeners.
func printDocument(w io.Writer, r agent.Report) error {
	if screenOf(w).width > 0 {
		return printJSON(w, r)
	}
	return writeDocument(w, r)
}

// writeDocument writes the report, its two long lists encoded on every core.
// What comes out is what encoding/json makes of the report as a whole, without
// escapes for HTML.
func writeDocument(w io.Writer, r agent.Report) error {
	const lists = `"listeners":null,"findings":null` // in no string of JSON: there the quotes are escaped
	frame := r
	frame.Listeners, frame.Findings = nil, nil
	var b bytes.Buffer
	if err := compact(&b).Encode(frame); err != nil {
		return err
	}
	before, after, ok := bytes.Cut(b.Bytes(), []byte(lists))
	if !ok || r.Listeners == nil || r.Findings == nil {
		return compact(w).Encode(r)
	}
	text := func(parts ...[]byte) error {
		_, err := w.Write(bytes.Join(parts, nil))
		return err
	}
	if err := text(before, []byte(`"listeners":[`)); err != nil {
		return err
	}
	if err := writeList(w, r.Listeners); err != nil {
		return err
	}
	if err := text([]byte(`],"findings":[`)); err != nil {
		return err
	}
	if err := writeList(w, r.Findings); err != nil {
		return err
	}
	return text([]byte{']'}, after)
}

func compact(w io.Writer) *json.Encoder {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder
}

// encodeAtOnce is how many elements of a list a core encodes before they are
// written: some hundred kilobytes. The text of all would be tens of megabytes.
const encodeAtOnce = 256

// writeList encodes the elements of a list, with commas in between, a part of
// them on each core, and writes the parts in turn. All goroutines have ended
// when it returns.
func writeList[T any](w io.Writer, list []T) error {
	parts := make([]bytes.Buffer, runtime.GOMAXPROCS(0))
	errs := make([]error, len(parts))
	for some := range slices.Chunk(list, encodeAtOnce*len(parts)) {
		var all sync.WaitGroup
		for i := range parts {
			part := some[i*len(some)/len(parts) : (i+1)*len(some)/len(parts)]
			all.Go(func() {
				parts[i].Reset()
				errs[i] = encodeList(&parts[i], part)
			})
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		list = list[len(some):]
		for i := range parts {
			text := parts[i].Bytes()
			if len(list) == 0 && i == len(parts)-1 { // it may be empty only where all are
				text = bytes.TrimSuffix(text, []byte(","))
			}
			if _, err := w.Write(text); err != nil {
				return err
			}
		}
	}
	return nil
}

// encodeList encodes the elements of a list with a comma behind each.
func encodeList[T any](b *bytes.Buffer, list []T) error {
	encoder := compact(b)
	for i := range list {
		if err := encoder.Encode(&list[i]); err != nil {
			return err
		}
		b.Truncate(b.Len() - 1) // the newline
		b.WriteByte(',')
	}
	return nil
}
