package export

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/portaudit/portaudit/agent/audit"
)

func TestCSV(t *testing.T) {
	var buf bytes.Buffer
	c, err := NewCSV(&buf)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds(t) {
		if err := c.Write(record(kind)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(buf.Bytes(), []byte("\r\n")); n != 1+len(kinds(t)) {
		t.Errorf("%d lines end in CRLF", n)
	}
	compare(t, filepath.Join("testdata", "records.csv"), buf.Bytes())
}

func TestCSVOfAnything(t *testing.T) {
	var buf bytes.Buffer
	c, err := NewCSV(&buf)
	if err != nil {
		t.Fatal(err)
	}
	wrote := 0
	wilds(t, func(e audit.Event) {
		if err := c.Write(e); err != nil {
			t.Fatal(err)
		}
		wrote++
	})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(&buf) // it refuses rows of other lengths
	head, err := r.Read()
	if err != nil || !slices.Equal(head, Columns()) {
		t.Fatalf("%v: header %q", err, head)
	}
	for n := 0; ; n++ {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			if n != wrote {
				t.Errorf("%d rows of %d records", n, wrote)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, cell := range row {
			if strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "+") || strings.HasPrefix(cell, "-") || strings.HasPrefix(cell, "@") || cell != audit.Visible(cell) {
				t.Fatalf("%s is %q", head[i], cell)
			}
		}
	}
}

func TestHarmless(t *testing.T) {
	for _, tt := range []struct{ reason, in, want string }{
		{"nothing", "", ""},
		{"text", "nginx", "nginx"},
		{"a formula", "=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"},
		{"plus", "+1", "'+1"},
		{"minus", "-1", "'-1"},
		{"a function of Lotus", "@SUM(A1)", "'@SUM(A1)"},
		{"a tab, which Excel skips", "\t=1", "'\t=1"},
		{"a return", "\r=1", "'\r=1"},
		{"a wide form, which Excel takes too", "＝1", "'＝1"},
		{"behind the first it is text", "a=1", "a=1"},
	} {
		if got := harmless(tt.in); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}

func TestColumnsAreDistinct(t *testing.T) {
	sorted := slices.Sorted(slices.Values(Columns()))
	if len(slices.Compact(sorted)) != len(Columns()) {
		t.Errorf("a column is there twice: %q", Columns())
	}
}
