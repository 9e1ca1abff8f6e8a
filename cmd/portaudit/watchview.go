package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/mattn/go-runewidth"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
)

// View draws: a line of sums, the gravest findings, the table or what covers it,
// and a line of keys.
func (m watchModel) View() tea.View {
	var b strings.Builder
	if m.seen {
		b.WriteString(m.head() + "\n")
		if m.pane != noPane {
			m.drawPane(&b)
		} else {
			m.drawFindings(&b)
			m.drawTable(&b)
		}
	} else {
		b.WriteString("Looking at this host …\n" + strings.Repeat("\n", m.height-2))
	}
	b.WriteString(m.foot())
	v := tea.NewView(b.String())
	v.AltScreen, v.WindowTitle = true, "portaudit watch"
	return v
}

// cut returns what of a text fits into the screen.
func (m watchModel) cut(text string) string { return runewidth.Truncate(text, m.screen.width, "…") }

// head says where this is, when, and how it stands.
func (m watchModel) head() string {
	text := m.view.Host + "  " + clock(m.now) + "  "
	if m.view.Failure != "" {
		return m.screen.paint("critical", m.cut(text+"the last audit failed: "+m.view.Failure))
	}
	text += counted(len(m.view.Listeners), "listener")
	if n := len(m.view.Findings); n > 0 {
		text += ", " + counted(n, "finding")
	}
	text += ", by " + watchOrders[m.order].title
	if m.reverse {
		text += " turned round"
	}
	if !m.view.Coverage.Complete {
		text += "  not everything can be seen (c)"
	}
	return m.screen.paint("bold", m.cut(text))
}

// findingsHeight is how many lines the findings take: the gravest, and a line that
// counts the others.
func (m watchModel) findingsHeight() int { return min(len(m.view.Findings), max(1, (m.height-4)/4)) }

// tableHeight is how many rows the table has room for, below its titles.
func (m watchModel) tableHeight() int { return max(1, m.height-3-m.findingsHeight()) }

func (m watchModel) paneHeight() int { return max(1, m.height-2) }

func (m watchModel) drawFindings(b *strings.Builder) {
	n := m.findingsHeight()
	for i, f := range m.view.Findings[:n] {
		if rest := len(m.view.Findings) - i; i == n-1 && rest > 1 {
			b.WriteString(m.screen.paint("dim", m.cut(fmt.Sprintf("          %d more (f)", rest))) + "\n")
			break
		}
		severity := fmt.Sprintf("%-8s", strings.ToUpper(f.Severity))
		text := runewidth.Truncate(f.Message, max(0, m.screen.width-10), "…")
		b.WriteString(m.screen.paint(f.Severity, severity) + "  " + text + "\n")
	}
}

// watchColumns lays the rows out. The first column is for the choice and the
// mark.
func (m watchModel) watchColumns(rows []agent.Listener) []column {
	columns := []column{
		{title: "  "}, {title: "PROTO"}, {title: "ADDRESS", least: []int{whole, whole, whole, whole, 12}}, {title: "PORT", right: true},
		{title: "SERVICE", least: []int{10, 8, 8, 0}}, {title: "PID", right: true, least: []int{whole, whole, whole, whole, 0}},
		{title: "PROGRAM", least: []int{16, 12, 10, 8}}, {title: "USER", least: []int{whole, 8, 6, 4, 4, 0}},
		{title: "REACH", least: []int{whole, whole, whole, whole, 5, 0}},
		{title: "VERDICT"}, {title: "AGE", right: true, least: []int{whole, whole, whole, whole, whole, 0}},
	}
	elsewhere := slices.ContainsFunc(rows, func(l agent.Listener) bool { return l.Namespace != listen.HostNamespace })
	labels := namespaceTexts(m.screen, rows)
	if elsewhere {
		columns = slices.Insert(columns, 1, column{title: "NETNS", least: []int{whole, whole, 6, 0}})
	}
	for _, l := range rows {
		service := tableRows(agent.Listener{Transport: l.Transport, Port: l.Port, Service: l.Service, Registry: l.Registry, Owners: []audit.Owner{{}}})[0][3]
		cells := []string{
			" " + cmp.Or(m.marks[l.ID].sign, " "), l.Transport, agent.AddressText(l), agent.PortText(l), service,
			pidText(l), programText(l), userText(l), reachText(l), m.verdictText(l), m.age(l),
		}
		if elsewhere {
			cells = slices.Insert(cells, 1, labels[l.Namespace])
		}
		for i, cell := range cells {
			columns[i].cells = append(columns[i].cells, cell)
		}
	}
	return columns
}

// pidText is the number of the first owner, and how many others there are.
func pidText(l agent.Listener) string {
	text := "-"
	if len(l.Owners) > 0 && l.Owners[0].PID != nil {
		text = strconv.Itoa(*l.Owners[0].PID)
	}
	if n := len(l.Owners) - 1; n > 0 {
		text += "+" + strconv.Itoa(n)
	}
	return text
}

func programText(l agent.Listener) string { return agent.OwnersText(l.Owners, agent.ProgramText) }

func userText(l agent.Listener) string {
	return cmp.Or(agent.OwnersText(l.Owners, func(o audit.Owner) string { return o.User }), "-")
}

// reachText says from where a listener can be reached: in effect where that is
// known, else by its address.
func reachText(l agent.Listener) string {
	if r := l.Exposure.Reach; r != "" && r != listen.ReachUnknown.String() {
		return r
	}
	return l.Scope
}

func (m watchModel) verdictText(l agent.Listener) string {
	if m.marks[l.ID].sign == markClosed {
		return "closed"
	}
	if l.Verdict == policy.Alert.String() {
		return cmp.Or(worst(l), l.Verdict)
	}
	return strings.TrimSpace(l.Verdict + " " + worst(l))
}

// age says for how long a listener is there.
func (m watchModel) age(l agent.Listener) string {
	at, known := bornAt(l)
	switch {
	case at.IsZero():
		return "-"
	case known:
		return short(m.now.Sub(at))
	default:
		return "<" + short(m.now.Sub(at))
	}
}

// short is a duration in its largest unit.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

func (m watchModel) drawTable(b *strings.Builder) {
	widths := fit(m.screen, m.columns)
	n := m.tableHeight()
	b.WriteString(m.screen.paint("bold", m.cut(m.row(-1, widths))) + "\n")
	for i := m.top; i < m.top+n; i++ {
		switch {
		case i < len(m.rows):
			b.WriteString(m.paintRow(i, m.row(i, widths)))
		case i == 0:
			b.WriteString(m.cut("  " + m.emptyText()))
		}
		b.WriteString("\n")
	}
}

// emptyText says why there are no rows.
func (m watchModel) emptyText() string {
	switch {
	case m.filter != "" || m.alerts:
		return "Nothing that listens is such; esc shows all."
	default:
		return "Nothing listens on this host."
	}
}

// row is a line of the table, -1 the one of its titles.
func (m watchModel) row(i int, widths []int) string {
	var parts []string
	for c, col := range m.columns {
		if widths[c] == 0 {
			continue
		}
		value := col.title
		if i >= 0 {
			value = col.cells[i]
		}
		value = runewidth.Truncate(value, widths[c], "…")
		pad := strings.Repeat(" ", widths[c]-runewidth.StringWidth(value))
		switch {
		case c == 0 && i == m.chosen:
			value = ">" + value[1:]
			parts = append(parts, value)
		case col.right:
			parts = append(parts, pad+value)
		default:
			parts = append(parts, value+pad)
		}
	}
	return strings.Join(parts, "  ")
}

// paintRow colours a line of the table: the one that is chosen, what changed, and
// what is wrong.
func (m watchModel) paintRow(i int, line string) string {
	l := m.rows[i]
	line = m.cut(line)
	switch sign := m.marks[l.ID].sign; {
	case i == m.chosen:
		return m.screen.paint("reverse", line)
	case sign == markClosed:
		return m.screen.paint("dim", line)
	case sign != "":
		return m.screen.paint("bold", line)
	default:
		return m.screen.paint(worst(l), line)
	}
}

func (m watchModel) drawPane(b *strings.Builder) {
	n := m.paneHeight()
	for i := m.scrolled; i < m.scrolled+n; i++ {
		if i < len(m.text) {
			b.WriteString(m.text[i])
		}
		b.WriteString("\n")
	}
}

// foot tells which keys do something now.
func (m watchModel) foot() string {
	var text string
	switch {
	case m.typing:
		return m.cut("filter: " + m.filter + "_   enter: keep, esc: take away")
	case m.pane != noPane:
		text = "esc back"
		if m.pane == detailPane {
			text += "  w every rule"
		}
		if len(m.text) > m.paneHeight() {
			text += fmt.Sprintf("  arrows: lines %d to %d of %d", m.scrolled+1, min(m.scrolled+m.paneHeight(), len(m.text)), len(m.text))
		}
	default:
		text = "enter tell  / filter  s sort  r reverse  a alerts  f findings  ? help  q quit"
		if m.filter != "" || m.alerts {
			text = fmt.Sprintf("%d of %d shown: %s  esc all", len(m.rows), len(m.view.Listeners)+len(m.gone), strings.TrimSpace(map[bool]string{true: "alerts "}[m.alerts]+m.filter))
		}
	}
	return m.screen.paint("dim", m.cut(text))
}
