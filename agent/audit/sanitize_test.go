package audit

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// setAll sets every field of v: strings to s, numbers to 7, pointers to a new
// value, and slices to n entries. It refuses a kind it does not know, so that
// a field of a new kind cannot slip past the test.
func setAll(t *testing.T, v reflect.Value, s string, n int) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Int:
		v.SetInt(7)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setAll(t, v.Elem(), s, n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			setAll(t, v.Index(i), s, n)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			zone := time.FixedZone("elsewhere", 3600)
			v.Set(reflect.ValueOf(time.Date(2026, 11, 20, 14, 0, 0, 123456789, zone)))
			return
		}
		for i := range v.NumField() {
			setAll(t, v.Field(i), s, n)
		}
	default:
		t.Fatalf("a field of kind %v: teach sanitize and this test about it", v.Kind())
	}
}

// visit calls f with the path of every value below v.
func visit(path string, v reflect.Value, f func(path string, v reflect.Value)) {
	f(path, v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			visit(path, v.Elem(), f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			visit(fmt.Sprintf("%s[%d]", path, i), v.Index(i), f)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			visit(path+"."+v.Type().Field(i).Name, v.Field(i), f)
		}
	}
}

func fullEvent(t *testing.T, s string, n int) Event {
	t.Helper()
	var e Event
	setAll(t, reflect.ValueOf(&e).Elem(), s, n)
	return e
}

func TestSanitizeReachesEveryField(t *testing.T) {
	const hostile = "a\n\x1b]0;x\a\u202e\x00\xff"
	e := fullEvent(t, hostile, 3)
	got := sanitize(e, fullLimits())
	strings, times := 0, 0
	visit("Event", reflect.ValueOf(got), func(path string, v reflect.Value) {
		if v.Kind() == reflect.String {
			strings++
			if v.String() != Visible(hostile) {
				t.Errorf("%s = %+q: sanitize forgets it", path, v.String())
			}
		}
		if at, ok := v.Interface().(time.Time); ok {
			times++
			if at.Location() != time.UTC || at.Hour() != 13 {
				t.Errorf("%s = %v, want UTC", path, at)
			}
		}
	})
	if strings < 60 || times < 6 {
		t.Errorf("the test saw %d strings and %d times only", strings, times)
	}
	if want := fullEvent(t, hostile, 3); !reflect.DeepEqual(e, want) {
		t.Error("sanitize changed the event of its caller")
	}
}

func TestSanitizeKeepsCleanEvents(t *testing.T) {
	e := fullEvent(t, "größe", 256)
	got := sanitize(e, fullLimits())
	visit("Event", reflect.ValueOf(&e).Elem(), func(_ string, v reflect.Value) {
		if at, ok := v.Interface().(time.Time); ok {
			v.Set(reflect.ValueOf(at.UTC()))
		}
	})
	if !reflect.DeepEqual(got, e) {
		t.Errorf("sanitize lost something of a clean event:\n got %+v\nwant %+v", got, e)
	}
}

func TestSanitizeBoundsEveryField(t *testing.T) {
	got := sanitize(fullEvent(t, strings.Repeat("x", 100_000), 300), fullLimits())
	visit("Event", reflect.ValueOf(got), func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			if limit := 4 << 10; path != "Event.Message" && v.Len() > limit {
				t.Errorf("%s has %d bytes, want at most %d", path, v.Len(), limit)
			}
			if limit := 32 << 10; v.Len() > limit {
				t.Errorf("%s has %d bytes, want at most %d", path, v.Len(), limit)
			}
		case reflect.Slice:
			if !v.IsNil() && v.Len() != 257 { // the entry for the rest has no lists
				t.Errorf("%s has %d entries, want 256 and one for the rest", path, v.Len())
			}
		}
	})
	const rest = "…[+44 more]"
	if got.Owners[256].How != rest || got.Coverage.Gaps[256].Reason != rest ||
		got.Errors[256] != rest || got.Registry.Names[256] != rest || got.Coverage.Sources[256] != rest {
		t.Error("a shortened list does not say what is missing")
	}
	if got.Owners[256].PID != nil {
		t.Error("the entry for the missing owners has a process")
	}
}

// The JSON contract says array; null would break readers that iterate.
func TestSanitizeEmptyLists(t *testing.T) {
	var buf bytes.Buffer
	if _, err := encode(&buf, Event{Registry: &Registry{}, Coverage: &Coverage{}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"names":[]`, `"sources":[]`, `"gaps":[]`, `"notes":[]`} {
		if !strings.Contains(buf.String(), want) {
			t.Errorf("%s lacks %s", buf.String(), want)
		}
	}
	for _, omitted := range []string{"owners", "errors", "null"} {
		if strings.Contains(buf.String(), omitted) {
			t.Errorf("%s has %s", buf.String(), omitted)
		}
	}
}

// The worst that an event can hold stays one bounded, readable line.
func TestEncodeBoundsTheRecord(t *testing.T) {
	tests := []struct{ name, fill string }{
		{"NUL takes five bytes in the record", "\x00"},
		{"quotes take two", `"`},
		{"plain text takes one", "x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := fullEvent(t, strings.Repeat(tt.fill, 100_000), 40)
			e.Version, e.Seq, e.Prev = Version, 1, firstHead().Hash
			var buf bytes.Buffer
			if _, err := encode(&buf, e); err != nil {
				t.Fatal(err)
			}
			if buf.Len() > maxRecord || buf.Len() < maxRecord/8 {
				t.Errorf("the record has %d bytes", buf.Len())
			}
			got, err := decode(bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
			if err != nil {
				t.Fatal(err)
			}
			if last := got.Owners[len(got.Owners)-1].How; !strings.HasPrefix(last, "…[+") {
				t.Errorf("the last owner is %q, want the number of those left out", last)
			}
		})
	}
}
