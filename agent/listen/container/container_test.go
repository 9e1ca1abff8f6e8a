package container

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ids of containers.
var (
	web  = strings.Repeat("0123456789abcdef", 4)
	base = strings.Repeat("fedcba9876543210", 4)
)

// Cut from files of Docker 27 and Podman 5.
func dockerFile(id, name, image string) string {
	return `{"StreamConfig":{},"State":{"Running":true,"Pid":812},"ID":"` + id + `","Created":"2026-11-01T10:00:00.1Z","Managed":false,"Path":"nginx","Args":[],"Config":{"Hostname":"h","Env":["A=b"],"Image":"` +
		image + `","Labels":{"Image":"other"}},"Image":"sha256:5ed8fcc66f4ed123c1b2560ed708dc148755b6e4cbd8b943fab094f2c6bfa91e","Name":"/` + name + `","Driver":"overlay2"}`
}

func podmanFile(id string) string {
	return `[{"id":"` + base + `","names":["db"],"image":"","layer":"a","metadata":"not JSON","created":"2026-11-01T10:00:00.1Z"},` +
		`{"id":"` + id + `","names":["web"],"image":"5ed8","layer":"b","metadata":"{\"image-name\":\"docker.io/library/nginx:latest\",\"image-id\":\"5ed8\",\"name\":\"web\",\"created-at\":1}","flags":{"MountLabel":""}}]`
}

func TestLook(t *testing.T) {
	docker := dockerDir + "/" + web + "/config.v2.json"
	overlay, volatile := podmanFiles()[0], podmanFiles()[1]
	nginx := Container{Name: "web", Image: "docker.io/library/nginx:latest"}
	tests := []struct {
		reason, id string
		files      map[string]string
		want       Container
		wrong      string // part of the error
	}{
		{"Docker", web, map[string]string{docker: dockerFile(web, "web", "nginx:1.29")}, Container{"web", "nginx:1.29"}, ""},
		{"Podman", web, map[string]string{overlay: podmanFile(web)}, nginx, ""},
		{"Podman, a container that ends with its process", web, map[string]string{overlay: "[]", volatile: podmanFile(web)}, nginx, ""},
		{"another driver", web, map[string]string{podmanFiles()[2]: podmanFile(web)}, nginx, ""},
		{"a storage that somebody else uses", base, map[string]string{overlay: podmanFile(web)}, Container{Name: "db"}, ""},
		{"neither is installed", web, nil, Container{}, ""},
		{"it is another's container", strings.Repeat("a", 64), map[string]string{overlay: podmanFile(web)}, Container{}, ""},
		{"a file that is of another container than its directory says", web, map[string]string{docker: dockerFile(base, "db", "postgres")}, Container{}, ""},
		{"a name of LXC that leads elsewhere", "../" + web, map[string]string{docker: dockerFile(web, "web", "nginx")}, Container{}, ""},
		{"an id that is too short", web[:12], map[string]string{docker: dockerFile(web, "web", "nginx")}, Container{}, ""},
		{"upper case is no id", strings.ToUpper(web), map[string]string{docker: dockerFile(web, "web", "nginx")}, Container{}, ""},
		{"a torn file", web, map[string]string{docker: dockerFile(web, "web", "nginx")[:100]}, Container{}, "config.v2.json: unexpected EOF"},
		{"a file with more behind", web, map[string]string{overlay: podmanFile(web) + "x"}, Container{}, "behind the first value"},
		{"a file of another form", web, map[string]string{overlay: "{}"}, Container{}, "containers.json: json: cannot unmarshal object"},
		{"an endless file", web, map[string]string{overlay: strings.Repeat(" ", maxFile) + "[]"}, Container{}, "more than 16777216"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range tt.files {
				write(t, filepath.Join(root, path), text, time.Now())
			}
			s := Open(root)
			for range 2 { // the second answer is remembered
				got, err := s.Look(tt.id)
				if got != tt.want || (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("%+v, %v, want %+v and %q", got, err, tt.want, tt.wrong)
				}
			}
		})
	}
}

// TestLookAgain: a container that is renamed is known by its new name, and one
// that is gone is not known any more.
func TestLookAgain(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, dockerDir, web, "config.v2.json")
	s, at := Open(root), time.Now().Add(-time.Hour)
	for i, name := range []string{"web", "old"} { // as long as each other
		write(t, path, dockerFile(web, name, "nginx"), at.Add(time.Duration(i)*time.Second))
		if c, err := s.Look(web); c.Name != name || err != nil {
			t.Errorf("%+v, %v, want %s", c, err, name)
		}
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Look(web); c != (Container{}) || err != nil || len(s.files) != 0 {
		t.Errorf("gone: %+v, %v, %v", c, err, s.files)
	}
}

// TestLookForgets: what is remembered is bounded.
func TestLookForgets(t *testing.T) {
	s := Open(t.TempDir())
	for i := range maxFiles {
		s.files[string(rune('a'+i))] = file{}
	}
	write(t, filepath.Join(s.root, podmanFiles()[0]), podmanFile(web), time.Now())
	if c, err := s.Look(web); c.Name != "web" || err != nil || len(s.files) != 1 {
		t.Errorf("%+v, %v, and %d are remembered", c, err, len(s.files))
	}
}

// TestLookWithoutRights: what may not be read is not known, and no error.
func TestLookWithoutRights(t *testing.T) {
	if os.Geteuid() <= 0 { // -1 on Windows, where no mode keeps a file from being read
		t.Skip("no mode keeps this user from reading a file")
	}
	root := t.TempDir()
	write(t, filepath.Join(root, podmanFiles()[0]), podmanFile(web), time.Now())
	if err := os.Chmod(filepath.Join(root, podmanFiles()[0]), 0); err != nil {
		t.Fatal(err)
	}
	if c, err := Open(root).Look(web); c != (Container{}) || err != nil {
		t.Errorf("%+v, %v", c, err)
	}
}

func write(t *testing.T, path, text string, at time.Time) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(dockerFile(web, "web", "nginx")))
	f.Add([]byte(podmanFile(web)))
	f.Add([]byte("[{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (map[string]Container, error){
			func(b []byte) (map[string]Container, error) { return parseDocker(bytes.NewReader(b)) },
			func(b []byte) (map[string]Container, error) { return parsePodman(bytes.NewReader(b)) },
		} {
			all, err := parse(b)
			if err != nil && all != nil {
				t.Errorf("an error beside %+v", all)
			}
			size := 0
			for _, c := range all {
				size += len(c.Name) + len(c.Image)
			}
			if size > 3*len(b) { // invalid UTF-8 becomes U+FFFD
				t.Errorf("%d bytes of %d", size, len(b))
			}
		}
	})
}
