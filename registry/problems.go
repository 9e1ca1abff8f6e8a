package registry

import (
	"errors"
	"fmt"
)

// maxProblems bounds how much is said about one bad file.
const maxProblems = 20

// problems collects what is wrong with a file, so that all of it is shown at once.
type problems struct {
	shown []error
	more  int
}

func (p *problems) add(err error) {
	if len(p.shown) == maxProblems {
		p.more++
		return
	}
	p.shown = append(p.shown, err)
}

// join returns nil where nothing was added.
func (p *problems) join() error {
	if p.more > 0 {
		return errors.Join(append(p.shown, fmt.Errorf("and %d further errors", p.more))...)
	}
	return errors.Join(p.shown...)
}
