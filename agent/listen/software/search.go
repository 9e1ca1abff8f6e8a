package software

import (
	"path"
	"strings"
)

// search is one pass through the databases: the paths that are asked for, and
// the packages found so far. It serves one goroutine.
type search struct {
	links links
	names map[string]string   // each name under which a database may list a file, and its canonical path
	dirs  map[string]struct{} // the directories of names, without a slash at the end; "" is the root
	found map[string]Package  // by canonical path
	asked map[string]struct{} // canonical paths without an owner so far
}

func newSearch(l links, names []string) *search {
	s := &search{
		links: l, names: map[string]string{}, dirs: map[string]struct{}{},
		found: map[string]Package{}, asked: map[string]struct{}{},
	}
	for _, name := range names {
		if path.IsAbs(name) { // "memfd:x" and "" are in no package
			s.asked[s.want(name)] = struct{}{}
		}
	}
	return s
}

// want adds a path and the names that it may be listed under, and returns its
// canonical path.
func (s *search) want(name string) string {
	canonical := s.links.canonical(name)
	for _, alias := range s.links.aliases(canonical) {
		s.names[alias] = canonical
		s.dirs[strings.TrimSuffix(path.Dir(alias), "/")] = struct{}{}
	}
	return canonical
}

// lists returns the canonical path of a name that a database lists, false if
// nobody asked for it.
func (s *search) lists(name []byte) (string, bool) {
	canonical, ok := s.names[string(name)] // the compiler makes no string for it
	return canonical, ok
}

// looksInto tells whether a file of this directory was asked for. dir begins
// with a slash and does not end with one.
func (s *search) looksInto(dir []byte) bool {
	_, ok := s.dirs[string(dir)]
	return ok
}

// give notes the owner of a canonical path. The first one stays.
func (s *search) give(canonical string, p Package) {
	if _, taken := s.found[canonical]; !taken {
		s.found[canonical] = p
		delete(s.asked, canonical)
	}
}

// missing returns how many paths have no owner yet.
func (s *search) missing() int { return len(s.asked) }

// links are directories that are links to others in the way of the /usr merge:
// a running program is seen as /usr/bin/x, and its package may still list
// /bin/x; or the other way round.
type links []struct{ from, to string } // absolute, without a slash at the end

// linkNames are the directories that distributions have made into links:
// systemd's file-hierarchy(7) "Compatibility symlinks", Fedora 42's merge of
// /usr/sbin, Arch's of /usr/lib64, and Debian's multilib directories.
var linkNames = [...]string{
	"bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32",
	"usr/sbin", "usr/lib64",
}

// links reads which of linkNames are links below the root.
func (r *root) links() links {
	var l links
	for _, name := range linkNames {
		target, err := r.dir.Readlink(name)
		if err != nil {
			continue // absent, or a directory of its own
		}
		if !path.IsAbs(target) {
			target = path.Join("/", path.Dir(name), target)
		}
		if target = path.Clean(target); target != "/" && target != "/"+name {
			l = append(l, struct{ from, to string }{"/" + name, target})
		}
	}
	return l
}

// maxLinks bounds how many links one path may pass through; /sbin to /usr/sbin
// to /usr/bin are two.
const maxLinks = 4

// canonical returns the path without the links.
func (l links) canonical(name string) string {
	name = path.Clean(name)
	for range maxLinks {
		next := name
		for _, link := range l {
			if rest, ok := strings.CutPrefix(name, link.from+"/"); ok {
				next = link.to + "/" + rest
				break
			}
		}
		if next == name {
			break
		}
		name = next
	}
	return name
}

// aliases returns the canonical path and all others that lead to it through
// the links.
func (l links) aliases(canonical string) []string {
	all := []string{canonical}
	for i := 0; i < len(all) && len(all) < 1<<maxLinks; i++ {
		for _, link := range l {
			if rest, ok := strings.CutPrefix(all[i], link.to+"/"); ok {
				all = append(all, link.from+"/"+rest)
			}
		}
	}
	return all
}
