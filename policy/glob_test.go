package policy

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestGlob(t *testing.T) {
	tests := []struct {
		pattern, text string
		want          bool
		reason        string
	}{
		{"/usr/sbin/sshd", "/usr/sbin/sshd", true, "itself"},
		{"/usr/sbin/sshd", "/usr/sbin/sshd2", false, "the whole text counts"},
		{"/usr/sbin/sshd", "/chroot/usr/sbin/sshd", false, "from its beginning"},
		{"/usr/sbin/sshd", "/USR/sbin/sshd", false, "case matters on Unix"},
		{"/usr/*/sshd", "/usr/sbin/sshd", true, "* is one part"},
		{"/usr/*/sshd", "/usr/a/b/sshd", false, "* is one part"},
		{"/usr/*", "/usr/", true, "* may be empty"},
		{"/usr/s*d", "/usr/sshd", true, "* within a part"},
		{"/usr/**", "/usr/a/b/c", true, "** is all below"},
		{"/usr/**", "/usr", false, "but not the directory"},
		{"**/sshd", "/usr/sbin/sshd", true, "any directory"},
		{"**/sshd", "/sshd", true, "the root is one"},
		{"**/sshd", "sshd", true, "none at all"},
		{"**/sshd", "/usr/xsshd", false, "whole parts"},
		{"/usr/**/sshd", "/usr/sshd", true, "no part between"},
		{"/usr/**/sshd", "/usr/a/b/sshd", true, "two parts between"},
		{"/usr/x**/sshd", "/usr/sshd", false, "within a part, ** asks for the slash behind it"},
		{"/usr/x**/sshd", "/usr/xy/z/sshd", true, "across parts"},
		{"/usr/{**/,}sshd", "/usr/a/b/sshd", true, "a part begins in a brace"},
		{"/usr/{**/a,b}", "/usr/a", true, "where a brace begins, **/ may be nothing"},
		{"/usr/{b,**/a}", "/usr/a", true, "where a choice begins too"},
		{"/{x,y},**/c", "/x,c", false, "but not behind a comma outside of braces"},
		{"/python?", "/python3", true, "? is one character"},
		{"/python?", "/python", false, "and not none"},
		{"/a?b", "/a/b", false, "nor a slash"},
		{"/a?b", "/aéb", true, "a character may be two bytes"},
		{"/a?b", "/a\xffb", true, "a byte that is no UTF-8 is one"},
		{"/a*b", "/a\nb", true, "a name may hold a line end"},
		{"/{usr,opt}/bin/x", "/opt/bin/x", true, "either"},
		{"/{usr,opt}/bin/x", "/var/bin/x", false, "and nothing else"},
		{"/{usr/,}bin/x", "/bin/x", true, "or nothing"},
		{"/{a,b*}{1,2}", "/bcd2", true, "a star in a brace, and two braces"},
		{"/a,b", "/a,b", true, "a comma outside of braces"},
		{"/a}", "/a}", true, "a brace that was not opened"},
		{"/a.b+(c)[d]|$^", "/a.b+(c)[d]|$^", true, "nothing else is special"},
		{"/a.b", "/axb", false, "a dot is a dot"},
		{"/[ab]", "/a", false, "no classes"},
		{`/a\*`, `/a\b`, true, "nothing escapes"},
		{`C:\Windows\System32\svchost.exe`, `c:\WINDOWS\system32\SVCHOST.EXE`, true, "case does not matter on Windows"},
		{`C:/Windows/*/svchost.exe`, `C:\Windows\System32\svchost.exe`, true, "either slash"},
		{`C:\Windows\*`, `C:\Windows\System32\svchost.exe`, false, "* is one part there too"},
		{`C:\Windows\**`, `C:\Windows\System32\svchost.exe`, true, "** is all below"},
		{`**/nginx.exe`, `C:\nginx\nginx.exe`, true, "any directory of any drive"},
		{`?:\nginx.exe`, `D:\nginx.exe`, true, "any drive"},
		{`{C,D}:\nginx.exe`, `D:\nginx.exe`, true, "either drive"},
		{`\\server\share\*.exe`, `\\SERVER\share\a.exe`, true, "a share"},
		{`C:\nginx\nginx.exe`, "c:/NGINX/nginx.exe", true, "a path told with the other slash"},
		{"C:", "C:", true, "no path of Windows yet"},
		{"?:", "c:x", false, "no path of Windows either"},
		{"/nginx.exe", `C:\nginx.exe`, false, "a path of Unix"},
		{`C:\a`, "/C:/a", false, "a path of Windows"},
		{"ssh*.service", "sshd.service", true, "a unit"},
	}
	for _, test := range tests {
		g, err := compileGlob(test.pattern)
		if err != nil {
			t.Fatalf("%s: %v", test.pattern, err)
		}
		if got := g.match(test.text); got != test.want {
			t.Errorf("%s matches %q: %v, want %v (%s)", test.pattern, test.text, got, test.want, test.reason)
		}
	}
}

// FuzzGlob holds the matching of a pattern against one that follows the
// definition letter by letter.
func FuzzGlob(f *testing.F) {
	f.Add("/usr/**/s*d", "/usr/a/sshd")
	f.Add("{a,b**/}?", "bx/y")
	f.Add("**/x**", "/a/x/")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern)+len(text) > 40 || strings.Count(pattern, "{") > 3 || strings.Count(pattern, "*") > 8 || isWindowsPath(text) {
			t.Skip()
		}
		g, err := compileGlob(pattern)
		if err != nil {
			return
		}
		g.match(`C:\` + text)
		want := false
		for _, p := range spread(pattern, "") {
			want = want || plainMatch(p, []rune(text))
		}
		if got := g.match(text); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, text, got, want)
		}
	})
}

// The pieces of a pattern that are not a character, below all characters.
const (
	anyParts rune = -1 - iota // **/
	anything                  // **
	inPart                    // *
	oneRune                   // ?
)

// spread returns the patterns that a pattern with braces stands for, as pieces.
// before is what stands before it: whether a part begins is told by the text,
// not by what a brace stands for.
func spread(pattern, before string) [][]rune {
	head, tail, found := strings.Cut(pattern, "{")
	pieces := split(head, before)
	if !found {
		return [][]rune{pieces}
	}
	inside, rest, _ := strings.Cut(tail, "}")
	var all [][]rune
	for _, choice := range strings.Split(inside, ",") {
		for _, end := range spread(rest, "}") {
			one := append(append(append([]rune{}, pieces...), split(choice, "")...), end...)
			all = append(all, one)
		}
	}
	return all
}

func split(text, before string) []rune {
	var pieces []rune
	part := before == ""
	for text != "" {
		r, size := utf8.DecodeRuneInString(text)
		piece := r
		switch {
		case part && strings.HasPrefix(text, "**/"):
			piece, size = anyParts, 3
		case strings.HasPrefix(text, "**"):
			piece, size = anything, 2
		case r == '*':
			piece = inPart
		case r == '?':
			piece = oneRune
		}
		pieces, text = append(pieces, piece), text[size:]
		part = piece == anyParts || piece == '/'
	}
	return pieces
}

func plainMatch(pattern, text []rune) bool {
	if len(pattern) == 0 {
		return len(text) == 0
	}
	rest := pattern[1:]
	switch pattern[0] {
	case anyParts:
		if plainMatch(rest, text) {
			return true
		}
		for i, r := range text {
			if r == '/' && plainMatch(rest, text[i+1:]) {
				return true
			}
		}
		return false
	case anything, inPart:
		for i := 0; i <= len(text); i++ {
			if plainMatch(rest, text[i:]) {
				return true
			}
			if i < len(text) && pattern[0] == inPart && text[i] == '/' {
				return false
			}
		}
		return false
	case oneRune:
		return len(text) > 0 && text[0] != '/' && plainMatch(rest, text[1:])
	}
	return len(text) > 0 && text[0] == pattern[0] && plainMatch(rest, text[1:])
}

// TestNeeded holds what a pattern needs of a text, and that the short ways to an
// answer give that of the regular expression.
func TestNeeded(t *testing.T) {
	for pattern, want := range map[string]string{
		"**/.*/**": ".", "/usr/{,s}bin/*": "/usr/", "**/{a,b}": "", "/a**/bcd/*": "bcd/", "*x?yz": "yz", "**/a/**/bc": "a/", "{a}longer{b}": "longer", "a}b*": "a}b",
	} {
		if got := neededOf(pattern); got != want {
			t.Errorf("%s needs %q, want %q", pattern, got, want)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	text := func(alphabet string) string {
		var b strings.Builder
		for range random.IntN(9) {
			b.WriteByte(alphabet[random.IntN(len(alphabet))])
		}
		return b.String()
	}
	tried := 0
	for range 50_000 {
		g, err := compileGlob(text("ab./*?{,}\xff"))
		if err != nil {
			continue
		}
		for range 10 {
			s := text("ab./\xff\xfe")
			if got, want := g.match(s), g.exact.MatchString(s); got != want {
				t.Fatalf("%v of %q: %v, want %v", g, s, got, want)
			}
			tried++
		}
	}
	if tried < 100_000 {
		t.Errorf("only %d were tried", tried)
	}
}
