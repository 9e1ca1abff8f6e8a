package main

import (
	"slices"
	"strings"
	"unicode"

	tea "charm.land/bubbletea/v2"

	"github.com/portaudit/portaudit/agent"
)

// watchHelp tells of each key, in the order in which help shows them.
const watchHelp = `up, down, k, j      choose a listener
pgup, pgdn          by a page
home, end, g, G     the first, the last
enter               everything about it, and why the policy decided so;
                    there w tells of each rule why it did not match
/                   filter: rows that have every word, of any column, of the
                    owner's path, unit or container, or of a finding's rule
esc                 go back, or take the filter away
s, S                sort by the next, the last column
r                   turn the order round
a                   alerts alone, or all
f                   the findings, in full
c                   what cannot be seen, and how it is looked
?, h                this
q, ctrl+c           quit
ctrl+z              stop for now; fg goes on

+ opened, ~ changed, - closed within the last ten seconds
An age that begins with < is that of the owner: the listener was there
before anybody looked.`

// press works on a key.
func (m watchModel) press(k tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	switch name := k.String(); {
	case name == "ctrl+c":
		return m, tea.Quit
	case name == "ctrl+z":
		return m, tea.Suspend
	case m.typing:
		return m.typed(k), nil
	case name == "q" && m.pane == noPane:
		return m, tea.Quit
	case m.pane != noPane:
		return m.scroll(name), nil
	default:
		return m.choose(name), nil
	}
}

// typed takes a key of a filter.
func (m watchModel) typed(k tea.KeyPressMsg) watchModel {
	switch k.String() {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace", "ctrl+h":
		runes := []rune(m.filter)
		m.filter = string(runes[:max(0, len(runes)-1)])
	case "ctrl+w":
		rest := strings.TrimRightFunc(m.filter, unicode.IsSpace)
		m.filter = rest[:strings.LastIndexFunc(rest, unicode.IsSpace)+1]
	case "ctrl+u":
		m.filter = ""
	default:
		m.filter += printable(k.Text)
	}
	return m.arrange()
}

// printable returns the runes of text that a filter can have.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}

// choose works on a key of the table.
func (m watchModel) choose(name string) watchModel {
	page := m.tableHeight()
	switch name {
	case "up", "k":
		m.chosen--
	case "down", "j":
		m.chosen++
	case "pgup", "ctrl+b":
		m.chosen -= page
	case "pgdown", "space", "ctrl+f":
		m.chosen += page
	case "home", "g":
		m.chosen = 0
	case "end", "G":
		m.chosen = len(m.rows) - 1
	case "/":
		m.typing = true
	case "esc":
		m.filter, m.alerts = "", false
		return m.arrange()
	case "s":
		m.order = (m.order + 1) % len(watchOrders)
		return m.arrange()
	case "S":
		m.order = (m.order + len(watchOrders) - 1) % len(watchOrders)
		return m.arrange()
	case "r":
		m.reverse = !m.reverse
		return m.arrange()
	case "a":
		m.alerts = !m.alerts
		return m.arrange()
	case "enter":
		if m.chosen < len(m.rows) {
			m.detail = m.rows[m.chosen]
			return m.open(detailPane)
		}
	default:
		return m.openFor(name)
	}
	return m.clamp()
}

// openFor opens the pane of a key, if it has one.
func (m watchModel) openFor(name string) watchModel {
	for _, p := range []struct {
		pane pane
		keys string
	}{{findingsPane, "f"}, {coveragePane, "c"}, {helpPane, "?h"}} {
		if len(name) == 1 && strings.Contains(p.keys, name) {
			return m.open(p.pane)
		}
	}
	return m
}

func (m watchModel) open(p pane) watchModel {
	m.pane, m.scrolled = p, 0
	return m.retell()
}

// scroll works on a key of a pane.
func (m watchModel) scroll(name string) watchModel {
	page := m.paneHeight()
	switch name {
	case "up", "k":
		m.scrolled--
	case "down", "j":
		m.scrolled++
	case "pgup", "b", "ctrl+b":
		m.scrolled -= page
	case "pgdown", "space", "ctrl+f":
		m.scrolled += page
	case "home", "g":
		m.scrolled = 0
	case "end", "G":
		m.scrolled = len(m.text)
	case "w":
		m.everyRule = !m.everyRule
		return m.retell()
	case "esc", "q", "enter", "left":
		m.pane, m.text = noPane, nil
	default:
		return m.openFor(name)
	}
	return m.clamp()
}

// retell writes the text of the pane anew: what it tells of may have changed.
func (m watchModel) retell() watchModel {
	if m.pane == noPane || !m.seen {
		return m
	}
	var b strings.Builder
	s := m.screen
	switch m.pane {
	case detailPane:
		m.writeDetail(&b)
	case findingsPane:
		if len(m.view.Findings) == 0 {
			b.WriteString("Nothing was found.\n")
		}
		writeFindings(&b, s, m.view.Report)
	case coveragePane:
		if m.view.Coverage.Complete {
			b.WriteString(s.wrap("", "Everything could be seen."))
		}
		writeCoverage(&b, s, m.view.Coverage)
		writeSources(&b, s, m.view.Coverage)
		writeNamespaces(&b, s, m.view.Report)
	case helpPane:
		b.WriteString(watchHelp)
	}
	m.text = strings.Split(strings.Trim(b.String(), "\n"), "\n")
	return m.clamp()
}

// writeDetail tells everything about the listener that was chosen, or what was
// last known of it.
func (m watchModel) writeDetail(b *strings.Builder) {
	at := slices.IndexFunc(m.view.Listeners, func(l agent.Listener) bool { return key(l) == key(m.detail) })
	l := m.detail
	var steps []agent.Step
	if at >= 0 {
		l = m.view.Listeners[at]
		steps = m.view.Explain(l)
	} else {
		b.WriteString(m.screen.wrap("", "It is gone. This is what was last known of it:"))
	}
	writeListener(b, m.screen, agent.Explanation{Listener: l, Steps: steps}, m.everyRule, "w says of each why")
}
