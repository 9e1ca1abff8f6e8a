package listen

import "fmt"

// choose picks the way in which owners are found.
func (e *engine) choose() error {
	switch e.options.Way {
	case Auto, Proc:
		e.finder = newProcFinder(e.proc)
		e.wayNote = Note{Source: "owners", Text: "/proc/PID/fd, on every core"}
		return nil
	}
	return fmt.Errorf("owners cannot be found by %s on this system", e.options.Way)
}
