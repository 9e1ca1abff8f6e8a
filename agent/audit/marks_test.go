package audit

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// recorded returns e as a reader of the log has it.
func recorded(t testing.TB, e Event) Event {
	t.Helper()
	e.Version, e.Seq, e.Prev = Version, 1, firstHead().Hash
	e.Time = time.Date(2026, 11, 23, 5, 12, 36, 0, time.UTC)
	var buf bytes.Buffer
	if _, err := encode(&buf, e); err != nil {
		t.Fatal(err)
	}
	got, err := decode(bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestMarks(t *testing.T) {
	long := strings.Repeat("é", 5000)
	for _, tt := range []struct {
		reason           string
		event            Event
		escaped, clipped string // the lists as JSON
	}{
		{"nothing is said where there is nothing to say", Event{Message: "größe", Owners: []Owner{{Command: "nginx"}}}, `null`, `null`},
		{"a newline", Event{Owners: []Owner{{}, {Command: "ev\nil"}}}, `["owners[1].command"]`, `null`},
		{"backslashes that were there", Event{Owners: []Owner{{Executable: `C:\new\x.exe`}}}, `[]`, `null`},
		{"both", Event{Owners: []Owner{{Executable: `C:\new`, Command: "\x1b"}}}, `["owners[0].command"]`, `null`},
		{"in lists and in what is pointed to", Event{
			Errors: []string{"a", "\x00"}, Registry: &Registry{Names: []string{"\n"}, Description: "\n"},
			Owners:   []Owner{{Package: &Package{Name: "\n"}, Services: []string{"\n"}}},
			Coverage: &Coverage{Gaps: []Gap{{Reason: "\n"}}},
		}, `["coverage.gaps[0].reason","errors[1]","owners[0].package.name","owners[0].services[0]","registry.names[0]","registry.description"]`, `null`},
		{"cut", Event{Owners: []Owner{{Command: long}}}, `null`, `["owners[0].command"]`},
		{"cut and escaped", Event{Message: strings.Repeat("\n", 40000)}, `["message"]`, `["message"]`},
		{"what only looks as if it was cut", Event{Message: "…[+12 bytes]"}, `null`, `[]`},
		{"a list that was cut", Event{Errors: make([]string, 300)}, `null`, `["errors"]`},
		{"what was escaped before it came here", Event{Owners: []Owner{{Command: `ev\nil`, Escaped: []string{"command"}}}}, `["owners[0].command"]`, `null`},
		{"what was recorded before", Event{Escaped: []string{"message"}, Message: `\n`}, `["message"]`, `null`},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			got := recorded(t, tt.event)
			slices.Sort(got.Escaped)
			check := func(what string, got []string, want string) {
				var list []string
				if err := json.Unmarshal([]byte(want), &list); err != nil {
					t.Fatal(err)
				}
				slices.Sort(list)
				if !slices.Equal(got, list) || (got == nil) != (list == nil) {
					t.Errorf("%s: %#v, want %s", what, got, want)
				}
			}
			check("escaped", got.Escaped, tt.escaped)
			check("clipped", got.Clipped, tt.clipped)
			if len(got.Owners) > 0 && got.Owners[0].Escaped != nil {
				t.Error("an owner has a list of its own")
			}
		})
	}
}

// TestMarksAreBounded holds a record of which every text is hostile.
func TestMarksAreBounded(t *testing.T) {
	e := fullEvent(t, "a\n", 40)
	e.Escaped, e.Clipped = nil, nil
	for i := range e.Owners {
		e.Owners[i].Escaped = nil
	}
	got := recorded(t, e)
	if n := len(got.Escaped); n < 2 || n > 257 || !strings.HasPrefix(got.Escaped[n-1], clipBegin) {
		t.Fatalf("%d paths, the last %q", n, got.Escaped[n-1])
	}
	// What the list does not name may have been escaped: it is a doubt, never wrong.
	original, doubts := got.Original()
	for path, text := range texts(original) {
		if text != "a\n" && !strings.HasPrefix(text, clipBegin) && !slices.Contains(doubts, path) && strings.Contains(text, `\`) {
			t.Errorf("%s is %q for certain", path, text)
		}
	}
}

// texts returns the texts of an event by path.
func texts(e Event) map[string]string {
	all := map[string]string{}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			all[path] = v.String()
		case reflect.Pointer:
			if !v.IsNil() {
				walk(path, v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(path+"["+strconv.Itoa(i)+"]", v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if name, is := textField(v.Type().Field(i)); is {
					walk(below(path, name), v.Field(i))
				}
			}
		}
	}
	walk("", reflect.ValueOf(e))
	return all
}

// TestOriginalOfEveryField fails for a field of a kind that has no path.
func TestOriginalOfEveryField(t *testing.T) {
	const hostile = "a\n\x1b]0;x\a\u202e\x00\xff\\"
	e := fullEvent(t, hostile, 2)
	e.Escaped, e.Clipped = nil, nil
	for i := range e.Owners {
		e.Owners[i].Escaped = nil
	}
	got := recorded(t, e)
	original, doubts := got.Original()
	if len(doubts) > 0 {
		t.Errorf("doubts: %q", doubts)
	}
	n := 0
	for path, text := range texts(original) {
		n++
		if text != hostile && path != "prev" && path != "host" && path != "boot" {
			t.Errorf("%s is %q", path, text)
		}
	}
	if n < 60 {
		t.Errorf("only %d texts", n)
	}
	if again := recorded(t, e); !reflect.DeepEqual(again, got) {
		t.Error("Original changed the record")
	}
}

func TestOriginal(t *testing.T) {
	long := strings.Repeat("é", 5000)
	for _, tt := range []struct {
		reason string
		event  Event
		want   string // of message
		doubt  bool
	}{
		{"plain", Event{Message: "m"}, "m", false},
		{"an older record without a backslash", Event{Message: "m"}, "m", false},
		{"an older record that may have been escaped", Event{Message: `a\nb`}, `a\nb`, true},
		{"an older record that cannot have been: that is no escape", Event{Message: `C:\Windows`}, `C:\Windows`, false},
		{"an older record that cannot have been: systemd escapes what need not be", Event{Message: `a\x2db.service`}, `a\x2db.service`, false},
		{"an older record that was cut", Event{Message: Clip(long, 4096)}, Clip(long, 4096), true},
		{"a backslash that was there", Event{Message: `a\nb`, Escaped: []string{}}, `a\nb`, false},
		{"a newline", Event{Message: `a\nb`, Escaped: []string{"message"}}, "a\nb", false},
		{"a path of nothing", Event{Message: `a\nb`, Escaped: []string{"massage", "owners[", "owners[7].command"}}, `a\nb`, false},
		{"a list that was cut", Event{Message: `a\nb`, Escaped: []string{"why", "…[+12 more]"}}, `a\nb`, true},
		{"what is no escape, though it says so", Event{Message: `a\qb`, Escaped: []string{"message"}}, "a", true},
		{"cut within an escape", Event{Message: `a\x1…[+9 bytes]`, Escaped: []string{"message"}, Clipped: []string{"message"}}, "a", true},
		{"cut", Event{Message: "ab…[+9 bytes]", Clipped: []string{"message"}}, "ab", true},
		{"what only looks cut", Event{Message: "ab…[+9 bytes]", Clipped: []string{}}, "ab…[+9 bytes]", false},
		{"cut without a mark", Event{Message: "ab", Clipped: []string{"message"}}, "ab", false},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			got, doubts := tt.event.Original()
			if got.Message != tt.want || slices.Contains(doubts, "message") != tt.doubt {
				t.Errorf("%q, doubts %q; want %q, doubt %v", got.Message, doubts, tt.want, tt.doubt)
			}
		})
	}
}

func TestOwnerVisible(t *testing.T) {
	o := Owner{Command: "a\n", Executable: `C:\x`, Services: []string{"s", "\x1b"}, Package: &Package{Name: "\n"}}
	got := o.Visible()
	if want := []string{"command", "package.name", "services[1]"}; !slices.Equal(got.Escaped, want) {
		t.Errorf("escaped %q, want %q", got.Escaped, want)
	}
	if o.Services[1] != "\x1b" || o.Package.Name != "\n" || o.Escaped != nil {
		t.Error("the owner of the caller was changed")
	}
	e := recorded(t, Event{Owners: []Owner{{}, got}})
	if back := e.EscapedOwners(); !slices.Equal(back[1].Escaped, got.Escaped) || back[0].Escaped != nil {
		t.Errorf("the record tells of %q and %q", back[0].Escaped, back[1].Escaped)
	}
	original, doubts := e.Original()
	if len(doubts) > 0 || original.Owners[1].Command != "a\n" || original.Owners[1].Executable != `C:\x` {
		t.Errorf("%q %+v", doubts, original.Owners[1])
	}
	if plain := (Owner{Command: "nginx"}).Visible(); plain.Escaped != nil {
		t.Errorf("of a plain owner %q is escaped", plain.Escaped)
	}
}

// FuzzOriginal: any text comes back exactly, unless it was cut; then its beginning.
func FuzzOriginal(f *testing.F) {
	for _, s := range []string{"", "sshd", "a\nb", `a\nb`, "\xff", "\x1b]0;x\a", "…[+12 bytes]", "…[+12 bytes]\n", `\`, "\u0301", "e\u0301", strings.Repeat("\xe6\x9d", 3000), strings.Repeat("a\n", 3000) + "…[+1 bytes]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := recorded(t, Event{Event: "e", Owners: []Owner{{Command: s, Services: []string{s}}}, Errors: []string{s}, Why: s})
		original, doubts := e.Original()
		for path, got := range map[string]string{
			"owners[0].command": original.Owners[0].Command, "owners[0].services[0]": original.Owners[0].Services[0], "errors[0]": original.Errors[0], "why": original.Why,
		} {
			switch cut := len(s) > fullLimits().text; {
			case !cut && (got != s || slices.Contains(doubts, path)):
				t.Errorf("%s: %+q came back as %+q, doubts %q", path, s, got, doubts)
			case cut && (!strings.HasPrefix(s, got) || !slices.Contains(doubts, path) || len(got) < fullLimits().text-clipMark-4):
				t.Errorf("%s: %d bytes came back as %d, doubts %q", path, len(s), len(got), doubts)
			}
		}
	})
}

// FuzzMarks: no record, whatever its lists say, makes Original panic.
func FuzzMarks(f *testing.F) {
	f.Add("message", "…[+12 more]", `a\n…[+1 bytes]`)
	f.Add("owners[99].command", "owners[-1].", `\x`)
	f.Fuzz(func(_ *testing.T, path, other, text string) {
		e := Event{Message: text, Owners: []Owner{{Command: text}}, Escaped: []string{path, other}, Clipped: []string{other, path}}
		e.Original()
		e.EscapedOwners()
	})
}

func BenchmarkEncode(b *testing.B) {
	owner := Owner{Executable: "/usr/bin/perl", Command: "perl", User: "nobody", How: "process"}
	for name, text := range map[string]string{"plain": "perl", "backslash": `C:\perl`, "escaped": "pe\nrl"} {
		owner.Command = text
		e := Event{Event: FindingRaised, Message: "m", Transport: "tcp", Port: 80, Owners: []Owner{owner}}
		b.Run(name, func(b *testing.B) {
			var buf bytes.Buffer
			for b.Loop() {
				buf.Reset()
				if _, err := encode(&buf, e); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(buf.Len()), "B/record")
		})
	}
}
