package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"runtime"
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
	document, err := encodeReport(r)
	if err != nil {
		return err
	}
	_, err = w.Write(document)
	return err
}

// encodeReport encodes the two long lists of a report on every core. What comes
// out is what encoding/json makes of the report as a whole, without escapes for
// HTML.
func encodeReport(r agent.Report) ([]byte, error) {
	const lists = `"listeners":null,"findings":null` // in no string of JSON: there the quotes are escaped
	frame := r
	frame.Listeners, frame.Findings = nil, nil
	var b bytes.Buffer
	if err := compact(&b).Encode(frame); err != nil {
		return nil, err
	}
	before, after, ok := bytes.Cut(b.Bytes(), []byte(lists))
	if !ok || r.Listeners == nil || r.Findings == nil {
		b.Reset()
		err := compact(&b).Encode(r)
		return b.Bytes(), err
	}
	listeners, err := encodeList(r.Listeners)
	if err != nil {
		return nil, err
	}
	findings, err := encodeList(r.Findings)
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{before, []byte(`"listeners":[`), listeners, []byte(`],"findings":[`), findings, []byte(`]`), after}, nil), nil
}

func compact(w io.Writer) *json.Encoder {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder
}

// encodeList encodes the elements of a list, with commas in between, each core
// a part of it. All goroutines have ended when it returns.
func encodeList[T any](list []T) ([]byte, error) {
	cores := runtime.GOMAXPROCS(0)
	parts := make([]bytes.Buffer, cores)
	errs := make([]error, cores)
	var all sync.WaitGroup
	for i := range parts {
		all.Go(func() {
			encoder := compact(&parts[i])
			for _, v := range list[i*len(list)/cores : (i+1)*len(list)/cores] {
				if errs[i] = encoder.Encode(v); errs[i] != nil {
					return
				}
				parts[i].Truncate(parts[i].Len() - 1) // the newline
				parts[i].WriteByte(',')
			}
		})
	}
	all.Wait()
	var joined []byte
	for i := range parts {
		joined = append(joined, parts[i].Bytes()...)
	}
	return bytes.TrimSuffix(joined, []byte(",")), errors.Join(errs...)
}
