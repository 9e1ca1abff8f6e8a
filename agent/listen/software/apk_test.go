package software

import (
	"path/filepath"
	"testing"
)

// apkTest has the fields of https://wiki.alpinelinux.org/wiki/Apk_spec that an
// installed database has, checksums shortened.
const apkTest = `C:Q1p78yvTLG094tHE1+dToJGbmYzQE=
P:musl
V:1.2.5-r0
A:x86_64
S:383459
I:622592
T:the musl c library (libc) implementation
U:https://musl.libc.org/
L:MIT
o:musl
m:Natanael Copa <ncopa@alpinelinux.org>
t:1709332103
c:fe0ef2db
p:so:libc.musl-x86_64.so.1=1
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1NRqsKPCC6TUuNyZqMtqYTYJ5bKA=
R:libc.musl-x86_64.so.1
a:0:0:777
Z:Q17yJ3JFNypA4mxhJJr0ou6CzsJVI=

C:Q1zVJQRMNVUjYHYPFFkqPFpbvKsLA=
P:nginx
V:1.26.2-r0
A:x86_64
F:
R:.init
F:usr
F:usr/sbin
R:nginx
a:0:0:755
F:etc
F:etc/nginx
R:nginx.conf
`

func TestAPK(t *testing.T) {
	nginx, musl := Package{APK, "nginx", "1.26.2-r0", "x86_64"}, Package{APK, "musl", "1.2.5-r0", "x86_64"}
	want := map[string]Package{
		"/usr/sbin/nginx":          nginx,
		"/.init":                   nginx,
		"/lib/ld-musl-x86_64.so.1": musl,
		"/usr/nginx":               {},
		"/etc/nginx":               {}, // a directory belongs to many
		"/nginx":                   {},
	}
	for _, name := range apkInstalled {
		t.Run(name, func(t *testing.T) { checkOwners(t, system(t, map[string]string{name: apkTest}), want) })
	}
	t.Run("/lib merged into /usr", func(t *testing.T) {
		root := system(t, map[string]string{apkInstalled[1]: apkTest})
		link(t, "usr/lib", filepath.Join(root, "lib"))
		want["/usr/lib/ld-musl-x86_64.so.1"] = musl
		checkOwners(t, root, want)
	})
}

func TestPacman(t *testing.T) {
	root := system(t, map[string]string{
		pacmanLocal + "/ALPM_DB_VERSION":    "9\n",
		pacmanLocal + "/nginx-1.26-1/desc":  "%NAME%\nnginx\n\n%VERSION%\n1.26-1\n\n%BASE%\nnginx\n\n%ARCH%\nx86_64\n\n%DEPENDS%\npcre2\nzlib\n\n",
		pacmanLocal + "/nginx-1.26-1/files": "%FILES%\netc/\netc/nginx/\nusr/bin/nginx\n\n%BACKUP%\nusr/bin/other\tabc\n",
		pacmanLocal + "/empty-1-1/desc":     "%NAME%\nempty\n",
	})
	link(t, "usr/bin", filepath.Join(root, "sbin"))
	link(t, "bin", filepath.Join(root, "usr/sbin"))
	nginx := Package{Pacman, "nginx", "1.26-1", "x86_64"}
	checkOwners(t, root, map[string]Package{"/usr/bin/nginx": nginx, "/usr/sbin/nginx": nginx, "/sbin/nginx": nginx, "/usr/bin/other": {}})
}
