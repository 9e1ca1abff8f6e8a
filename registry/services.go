package registry

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Services is what a host's services file, /etc/services or
// drivers\etc\services, calls its ports. It is immutable and safe for concurrent
// use; a nil *Services names nothing.
type Services struct {
	names map[portOn][]string
}

type portOn struct {
	port      Port
	transport Transport
}

// Limits of a services file. Debian's of 2026 has 13 kB; Nmap's, which some
// hosts install in its place, has 1 MB.
const (
	maxServices     = 8 << 20
	maxServicesLine = 4 << 10
)

// ParseServices reads lines of the form "name port/transport alias... # comment";
// name is the file's name for errors. Such files are edited by hand and by
// installers, so a line that is longer than 4 kB or of another form is passed
// over. An error means that the file could not be read or is larger than 8 MiB.
func ParseServices(r io.Reader, name string) (*Services, error) {
	s := &Services{names: map[portOn][]string{}}
	in := bufio.NewReaderSize(r, maxServicesLine)
	for read := 0; ; {
		line, err := in.ReadSlice('\n')
		n := len(line)
		if errors.Is(err, bufio.ErrBufferFull) {
			n, err = skipLine(in)
		} else {
			s.add(string(line))
		}
		read += n
		switch {
		case read > maxServices:
			return nil, fmt.Errorf("%s: the file is larger than %d MiB", name, maxServices>>20)
		case errors.Is(err, io.EOF):
			return s, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// skipLine reads to the end of a line, or past the limit of the file, and
// returns how much it read.
func skipLine(in *bufio.Reader) (int, error) {
	for n := 0; ; {
		part, err := in.ReadSlice('\n')
		n += len(part)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return n, err
		}
		if n > maxServices {
			return n, nil
		}
	}
}

// add takes the names of one line. The first line of a port leads, as it does
// for getservbyport(3); further lines add names.
func (s *Services) add(line string) {
	line, _, _ = strings.Cut(line, "#")
	words := strings.Fields(line)
	if len(words) < 2 {
		return
	}
	number, transport, _ := strings.Cut(words[1], "/")
	port, err := ParsePort(number)
	if err != nil {
		return
	}
	t, err := ParseTransport(strings.ToLower(transport))
	if err != nil {
		return
	}
	key := portOn{port, t}
	for _, name := range append(words[:1:1], words[2:]...) {
		if isName(name) && !slices.Contains(s.names[key], name) {
			s.names[key] = append(s.names[key], name)
		}
	}
}

// Lookup returns the names of p on t, aliases last, or nil.
func (s *Services) Lookup(p Port, t Transport) []string {
	if s == nil {
		return nil
	}
	return slices.Clone(s.names[portOn{p, t}])
}

// ByName returns the ports that the file calls name, without regard to case, by
// port and transport.
func (s *Services) ByName(name string) []Ref {
	var refs []Ref
	if s == nil {
		return refs
	}
	for key, names := range s.names {
		if slices.ContainsFunc(names, func(own string) bool { return strings.EqualFold(own, name) }) {
			refs = append(refs, Ref{key.port, key.port, key.transport})
		}
	}
	slices.SortFunc(refs, Ref.compare)
	return refs
}
