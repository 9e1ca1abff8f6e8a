package audit

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestVisible(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"empty", "", ""},
		{"plain ASCII", `nginx: worker "a" <b> & 'c'`, `nginx: worker "a" <b> & 'c'`},
		{"clean with a backslash stays as it is", `C:\new\x`, `C:\new\x`},
		{"other scripts and emoji", "Größe 東京 ✓ 🚢", "Größe 東京 ✓ 🚢"},
		{"newline would start a second record", "a\nb", `a\nb`},
		{"tab and return", "a\tb\r", `a\tb\r`},
		{"backslash is doubled in what is escaped", "C:\\new\n", `C:\\new\n`},
		{"ESC sets the terminal's title", "\x1b]0;owned\a", `\x1b]0;owned\a`},
		{"NUL", "a\x00b", `a\x00b`},
		{"DEL, which JSON leaves raw", "a\x7f", `a\x7f`},
		{"C1 CSI as a rune", "a\u009b2J", `a\u009b2J`},
		{"C1 CSI as a byte is no UTF-8", "a\x9b2J", `a\x9b2J`},
		{"invalid byte", "a\xffb", `a\xffb`},
		{"half a rune", "a\xe6\x9d", `a\xe6\x9d`},
		{"encoded surrogate", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"a real U+FFFD is no error", "a\ufffdb", "a\ufffdb"},
		{"right-to-left override hides a suffix", "gpj.\u202eexe", `gpj.\u202eexe`},
		{"bidi isolate", "\u2066x\u2069", `\u2066x\u2069`},
		{"zero-width space makes two names look alike", "ss\u200bhd", `ss\u200bhd`},
		{"byte order mark", "\ufeffsshd", `\ufeffsshd`},
		{"tag characters carry hidden text", "a\U000e0041", `a\U000e0041`},
		{"line and paragraph separator", "a\u2028b\u2029", `a\u2028b\u2029`},
		{"no-break space looks like a space", "a\u00a0b", `a\u00a0b`},
		{"Hangul filler is a letter that shows nothing", "\u3164sshd", `\u3164sshd`},
		{"variation selector shows nothing", "a\ufe0f", `a\ufe0f`},
		{"soft hyphen", "ss\u00adhd", `ss\u00adhd`},
		{"a mark on a letter", "e\u0301", "e\u0301"},
		{"a mark at the start would sit on the quote", "\u0301e", `\u0301e`},
		{"a mark behind an escape would sit on the escape", "\n\u0301", `\n\u0301`},
		{"private use has no agreed picture", "\ue000", `\ue000`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Visible(tt.in)
			if got != tt.want {
				t.Errorf("Visible(%+q) = %+q, want %+q", tt.in, got, tt.want)
			}
			checkVisible(t, tt.in)
		})
	}
}

// checkVisible checks what Visible promises of every string.
func checkVisible(t *testing.T, in string) {
	t.Helper()
	out := Visible(in)
	for _, r := range out {
		if !unicode.IsPrint(r) || unicode.In(r, unicode.Cf, unicode.Cc, unicode.Zl, unicode.Zp) {
			t.Errorf("Visible(%+q) = %+q shows %U", in, out, r)
		}
	}
	if !utf8.ValidString(out) {
		t.Errorf("Visible(%+q) = %+q is no UTF-8", in, out)
	}
	if again := Visible(out); again != out {
		t.Errorf("Visible of its own result %+q = %+q", out, again)
	}
	if out == in {
		return
	}
	if back, whole := unescape(out); back != in || !whole {
		t.Errorf("Visible(%+q) = %+q, which reads back as %+q", in, out, back)
	}
}

func FuzzVisible(f *testing.F) {
	for _, s := range []string{"sshd", "a\nb", `a\nb`, "\x1b]0;x\a", "\u202e", "\xff", "\u0301", "e\u0301", "\u3164", "\U000e0041\\"} {
		f.Add(s, 40)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		checkVisible(t, s)
		checkClip(t, s, limit)
	})
}

func TestClip(t *testing.T) {
	long := strings.Repeat("a", 1000)
	tests := []struct {
		name  string
		in    string
		limit int
		want  string
	}{
		{"short", "abc", 100, "abc"},
		{"exactly at the limit", long, 1000, long},
		{"one too long", long, 999, long[:968] + "…[+32 bytes]"},
		{"a limit with room for the mark only", long, 31, "…[+1000 bytes]"},
		{"a limit below the mark", long, 0, "…[+1000 bytes]"},
		{"a negative limit", long, -5, "…[+1000 bytes]"},
		{"shorter than the mark is never cut", "abcdefghij", 5, "abcdefghij"},
		{"not within a rune", strings.Repeat("東", 20), 36, "東…[+57 bytes]"},
		{"no UTF-8, any place does", strings.Repeat("\x80", 50), 40, strings.Repeat("\x80", 9) + "…[+41 bytes]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Clip(tt.in, tt.limit); got != tt.want {
				t.Errorf("Clip(%d bytes, %d) = %q, want %q", len(tt.in), tt.limit, got, tt.want)
			}
			checkClip(t, tt.in, tt.limit)
		})
	}
}

func checkClip(t *testing.T, s string, limit int) {
	t.Helper()
	got := Clip(s, limit)
	if bound := max(limit, clipMark); len(got) > bound {
		t.Errorf("Clip(%q, %d) has %d bytes", s, limit, len(got))
	}
	if utf8.ValidString(s) && !utf8.ValidString(got) {
		t.Errorf("Clip(%q, %d) = %q cuts a rune", s, limit, got)
	}
	if again := Clip(got, limit); again != got {
		t.Errorf("Clip of its own result %q = %q", got, again)
	}
}

func BenchmarkVisibleClean(b *testing.B) {
	s := "/usr/lib/systemd/systemd-resolved --größe=" + strings.Repeat("x", 80)
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		Visible(s)
	}
}

func TestVisibleCleanAllocatesNothing(t *testing.T) {
	s := "/usr/bin/größe --flag=" + strings.Repeat("東", 40)
	if n := testing.AllocsPerRun(100, func() { Visible(s) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
