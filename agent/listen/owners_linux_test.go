package listen

import "testing"

// TestSameProgram: a process is the one that was read before where its walk and
// its reading agree, or disagree as they did before.
func TestSameProgram(t *testing.T) {
	a, b, c := fileID{1, 1}, fileID{1, 2}, fileID{9, 1} // c is a, as a file system shows it that has two device numbers
	type look struct{ walk, read fileID }
	for _, tt := range []struct {
		name  string
		looks []look // each is one in which the process was read
		now   fileID
		want  bool
	}{
		{"it runs what was read", []look{{a, a}}, a, true},
		{"it runs another program", []look{{a, a}}, b, false},
		{"it ran another one when it was read, and is back", []look{{a, b}}, a, false},
		{"the walk and the reading never agree, seen once", []look{{a, c}}, a, false},
		{"the walk and the reading never agree, seen twice", []look{{a, c}, {a, c}}, a, true},
		{"it was read as another each time", []look{{a, b}, {a, c}}, a, false},
		{"read twice as another, and it changed since", []look{{a, c}, {a, c}}, b, false},
		{"it runs the other one now", []look{{a, b}}, b, false},
		{"nobody may look at its program", []look{{a, fileID{}}, {a, fileID{}}}, a, true},
	} {
		var p *known
		for _, l := range tt.looks {
			h := holding{pid: 7, start: 3, exe: l.walk}
			p = &known{ran: l.walk, twice: p.readAs(h), processFacts: processFacts{exe: l.read, owner: Owner{How: Process, Start: 3}}}
		}
		if got := (*engine)(nil).same(p, holding{pid: 7, start: 3, exe: tt.now}); got != tt.want {
			t.Errorf("%s: the same is %v, want %v", tt.name, got, tt.want)
		}
		if (*engine)(nil).same(p, holding{pid: 7, start: 4, exe: tt.now}) {
			t.Errorf("%s: the same though it started at another time", tt.name)
		}
	}
}
