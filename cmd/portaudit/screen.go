package main

import (
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// screen is what output is laid out for.
type screen struct {
	width  int // columns; 0: a pipe or file, which takes lines of any length
	colour bool
}

// textWidth is the width of running text where the output is no terminal, and
// its greatest width on one: longer lines are hard to read.
const textWidth = 80

// screenOf asks what w is. Colour needs a terminal that can show it, and its
// user not to have said no (no-color.org).
func screenOf(w io.Writer) screen {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return screen{}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 40 {
		width = textWidth
	}
	_, noColour := os.LookupEnv("NO_COLOR")
	noColour = noColour && os.Getenv("NO_COLOR") != ""
	able := os.Getenv("TERM") != "dumb"
	if runtime.GOOS == "windows" {
		able = enableEscapes(f)
	}
	return screen{width: width, colour: able && !noColour}
}

// Colours of ECMA-48 (SGR) by severity; every terminal has these eight.
var colours = map[string]string{
	"critical": "1;31", "high": "31", "medium": "33", "low": "36", "bold": "1", "dim": "2", "reverse": "7",
}

// paint puts text into the colour of a severity.
func (s screen) paint(colour, text string) string {
	code, ok := colours[colour]
	if !s.colour || !ok {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// hang prints text behind a label of as many columns as indent has. On a
// terminal what does not fit goes on below it, and two spaces between words stay
// two; a pipe gets one line.
func (s screen) hang(label, indent, text string) string {
	if s.width == 0 || shownWidth(label+text) <= s.width {
		return label + text + "\n"
	}
	var b strings.Builder
	b.WriteString(label)
	column, space := len(indent), 0
	for i, word := range strings.Split(text, " ") {
		if i > 0 {
			space++
		}
		if word == "" {
			continue
		}
		w := shownWidth(word)
		if column > len(indent) && column+space+w > s.width {
			b.WriteString("\n" + indent)
			column, space = len(indent), 0
		}
		b.WriteString(strings.Repeat(" ", space) + word)
		column, space = column+space+w, 0
	}
	return b.String() + "\n"
}

// shownWidth is the width of text on the screen, where paint leaves no trace.
func shownWidth(text string) int {
	width := 0
	for {
		plain, rest, painted := strings.Cut(text, "\x1b[")
		width += runewidth.StringWidth(plain)
		if !painted {
			return width
		}
		_, text, _ = strings.Cut(rest, "m")
	}
}

// wrap breaks text into lines no wider than the screen allows, each behind
// indent. A word that is longer stays whole: paths are copied from here.
func (s screen) wrap(indent, text string) string {
	width := textWidth
	if s.width > 0 {
		width = min(s.width, textWidth)
	}
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		w := shownWidth(word)
		switch {
		case column == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+w > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += w
	}
	return b.String() + "\n"
}
