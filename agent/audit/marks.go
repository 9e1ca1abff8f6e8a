package audit

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// clipBegin is how the mark of Clip and that of a list that was cut begin.
const clipBegin = "…[+"

// marked says which texts of clean, which sanitize made of e, are not as they were:
// their paths are in Escaped and in Clipped. line is clean as JSON. Both lists are
// absent where nothing is to be said: without a backslash no text was escaped, and
// without a mark none was cut. So a reader can tell a record that says of its
// backslashes that they were there from one of an older version, which says nothing.
//
// Records that need this are few, and it costs as much as their JSON.
func marked(e, clean Event, l limits, line []byte) Event {
	backslash, cut := bytes.Contains(line, []byte(`\\`)), bytes.Contains(line, []byte(clipBegin))
	if !backslash && !cut {
		return clean
	}
	m := marks{limits: l, escaped: slices.Clone(e.Escaped), clipped: slices.Clone(e.Clipped)}
	for i, o := range clean.Owners {
		if i < len(e.Owners) {
			for _, name := range e.Owners[i].Escaped {
				m.escaped = append(m.escaped, "owners["+strconv.Itoa(i)+"]."+name)
			}
		}
		o.Escaped = nil
		clean.Owners[i] = o // sanitize made a list of its own
	}
	m.compare("", reflect.ValueOf(e), reflect.ValueOf(clean))
	if backslash {
		clean.Escaped = l.strings(distinct(m.escaped))
	}
	if cut {
		clean.Clipped = l.strings(distinct(m.clipped))
	}
	return clean
}

func distinct(paths []string) []string {
	slices.Sort(paths)
	return slices.Compact(paths)
}

// marks gathers the paths of texts that are not as they were.
type marks struct {
	limits
	escaped, clipped []string
}

// compare goes through what was given and what became of it. Both have the same
// shape, but that lists may have been cut.
func (m *marks) compare(path string, in, out reflect.Value) {
	switch in.Kind() {
	case reflect.String:
		m.text(path, in.String(), out.String())
	case reflect.Pointer:
		if !in.IsNil() {
			m.compare(path, in.Elem(), out.Elem())
		}
	case reflect.Slice:
		if in.Len() > m.list {
			m.clipped = append(m.clipped, path)
		}
		for i := range min(in.Len(), m.list) {
			m.compare(path+"["+strconv.Itoa(i)+"]", in.Index(i), out.Index(i))
		}
	case reflect.Struct:
		for i := range in.NumField() {
			if a, b := in.Field(i), out.Field(i); mayDiffer(a, b) {
				if name, is := textField(in.Type().Field(i)); is {
					m.compare(below(path, name), a, b)
				}
			}
		}
	}
}

// mayDiffer is quick: most fields of most records are empty or plain.
func mayDiffer(in, out reflect.Value) bool {
	switch in.Kind() {
	case reflect.String:
		return in.String() != out.String()
	case reflect.Pointer:
		return !in.IsNil() && in.Elem().Kind() != reflect.Bool && in.Type().Elem() != reflect.TypeFor[time.Time]()
	case reflect.Slice:
		return in.Len() > 0
	}
	return in.Kind() == reflect.Struct && in.Type() != reflect.TypeFor[time.Time]()
}

func (m *marks) text(path, in, out string) {
	limit := m.limits.text
	if path == "message" {
		limit = m.message
	}
	cut := Clip(in, limit)
	if in != cut && in != out {
		m.clipped = append(m.clipped, path)
	}
	if cut != out && in != out {
		m.escaped = append(m.escaped, path)
	}
}

// textField returns the name of a field in JSON, "" for that of an embedded struct,
// and whether it can hold a text. The marks themselves are none.
func textField(f reflect.StructField) (name string, is bool) {
	name, _, _ = strings.Cut(f.Tag.Get("json"), ",")
	return name, f.IsExported() && f.Name != "Escaped" && f.Name != "Clipped" && (name != "" || f.Anonymous)
}

// below is the path of a field.
func below(path, name string) string {
	if path == "" || name == "" {
		return path + name
	}
	return path + "." + name
}

// Original returns e with its texts as they were before they were recorded, and the
// paths of those of which that cannot be told: of a text that was cut, the beginning
// is there; one of an older version, which does not say what it escaped, is left as
// it is. Numbers and times are those of e. What e points to is never changed.
func (e Event) Original() (original Event, doubts []string) {
	original = sanitize(e, endless())
	original.Escaped, original.Clipped = nil, nil
	r := restorer{
		escaped: setOf(e.Escaped), clipped: setOf(e.Clipped),
		silent: e.Escaped == nil || cutList(e.Escaped), silentCut: e.Clipped == nil || cutList(e.Clipped),
	}
	r.restore("", reflect.ValueOf(&original).Elem())
	return original, r.doubts
}

func endless() limits {
	return limits{text: math.MaxInt, message: math.MaxInt, list: math.MaxInt}
}

func setOf(paths []string) map[string]bool {
	set := make(map[string]bool, len(paths))
	for _, p := range paths {
		set[p] = true
	}
	return set
}

// cutList reports whether a list of paths does not have all.
func cutList(paths []string) bool {
	return len(paths) > 0 && strings.HasPrefix(paths[len(paths)-1], clipBegin)
}

// restorer brings back the texts of a record.
type restorer struct {
	escaped, clipped  map[string]bool
	silent, silentCut bool // a text may have been escaped, or cut, that is not in these
	doubts            []string
}

func (r *restorer) restore(path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		text, sure := r.text(path, v.String())
		if !sure {
			r.doubts = append(r.doubts, path)
		}
		v.SetString(text)
	case reflect.Pointer:
		if !v.IsNil() {
			r.restore(path, v.Elem())
		}
	case reflect.Slice:
		if r.clipped[path] { // its last entry says how many there were
			r.doubts = append(r.doubts, path)
		}
		for i := range v.Len() {
			r.restore(path+"["+strconv.Itoa(i)+"]", v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if name, is := textField(v.Type().Field(i)); is {
				r.restore(below(path, name), v.Field(i))
			}
		}
	}
}

// text returns what was recorded as s, and whether that is certain.
func (r *restorer) text(path, s string) (text string, sure bool) {
	mark := strings.LastIndex(s, clipBegin)
	cut := mark >= 0 && (r.clipped[path] || r.silentCut && strings.HasSuffix(s, " bytes]"))
	if cut && r.clipped[path] {
		s = s[:mark]
	}
	switch {
	case r.escaped[path]:
		text, whole := unescape(s)
		return text, whole && !cut
	case r.silent && couldBeEscaped(s):
		return s, false
	}
	return s, !cut
}

// couldBeEscaped reports whether Visible can have made s of another text.
func couldBeEscaped(s string) bool {
	if !strings.Contains(s, `\`) {
		return false
	}
	text, whole := unescape(s)
	return whole && text != s && Visible(text) == s
}

// unescape is Visible the other way round, for a text that it escaped. It is not
// whole if something in s is no escape that Visible makes; what is before is
// returned.
func unescape(s string) (text string, whole bool) {
	out := make([]byte, 0, len(s))
	for s != "" {
		r, multibyte, rest, err := strconv.UnquoteChar(s, 0)
		if err != nil {
			return string(out), false
		}
		if multibyte {
			out = utf8.AppendRune(out, r)
		} else {
			out = append(out, byte(r)) // \xff is a byte that was no UTF-8
		}
		s = rest
	}
	return string(out), true
}

// Visible returns o with every text visible, and the names of those that were escaped
// for that in Escaped. What o points to is never changed.
func (o Owner) Visible() Owner {
	clean := endless().owner(o)
	m := marks{limits: endless(), escaped: slices.Clone(o.Escaped)}
	m.compare("", reflect.ValueOf(o), reflect.ValueOf(clean))
	clean.Escaped = distinct(m.escaped)
	return clean
}

// EscapedOwners returns for each owner of a record what Owner.Visible says: the
// names of its texts that were escaped.
func (e Event) EscapedOwners() []Owner {
	owners := slices.Clone(e.Owners)
	for _, path := range e.Escaped {
		rest, of := strings.CutPrefix(path, "owners[")
		number, name, field := strings.Cut(rest, "].")
		if i, err := strconv.Atoi(number); of && field && err == nil && i >= 0 && i < len(owners) {
			owners[i].Escaped = append(slices.Clip(owners[i].Escaped), name)
		}
	}
	return owners
}
