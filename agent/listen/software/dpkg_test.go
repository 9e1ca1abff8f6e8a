package software

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

const dpkgTestStatus = `Package: coreutils
Status: install ok installed
Architecture: amd64
Version: 9.1-1
Description: tools
 Version: not this one

Package: libc6
Status: deinstall ok config-files
Architecture: i386
Version: 2.35-1

Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9

Package: dash
Status: install ok installed
Architecture: amd64
Version: 0.5.12-2

Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.15-2
`

func TestDPKG(t *testing.T) {
	root := system(t, map[string]string{
		dpkgStatus:                      dpkgTestStatus,
		dpkgInfo + "/coreutils.list":    "/.\n/bin\n/bin/ls\n/usr/bin\n/usr/bin/env\n",
		dpkgInfo + "/libc6:amd64.list":  "/.\n/lib/ld.so\n",
		dpkgInfo + "/dash.list":         "/.\n/usr/bin/sh\n/usr/bin/dash",
		dpkgInfo + "/bash.list":         "/.\n/usr/bin/sh\n/usr/bin/admin\n",
		dpkgInfo + "/gone.list":         "/.\n/usr/bin/nostatus\n",
		dpkgInfo + "/coreutils.md5sums": "not a list",
		dpkgDiversions:                  "/usr/bin/sh\n/usr/bin/sh.distrib\ndash\n/bin/admin\n/bin/admin.real\n:\n",
		"usr/bin/ls":                    "", "usr/lib/ld.so": "",
	})
	link(t, "usr/bin", filepath.Join(root, "bin"))
	link(t, "/usr/lib", filepath.Join(root, "lib")) // an absolute one means the same
	coreutils := Package{DPKG, "coreutils", "9.1-1", "amd64"}
	dash, bash := Package{DPKG, "dash", "0.5.12-2", "amd64"}, Package{DPKG, "bash", "5.2.15-2", "amd64"}
	checkOwners(t, root, map[string]Package{
		"/usr/bin/ls":         coreutils, // listed as /bin/ls
		"/bin/env":            coreutils, // listed as /usr/bin/env
		"/usr/lib/ld.so":      {DPKG, "libc6", "2.36-9", "amd64"},
		"/usr/bin/sh":         dash, // its diversion
		"/bin/sh.distrib":     bash, // where that put it
		"/usr/bin/admin":      {},   // the administrator's own
		"/usr/bin/admin.real": bash,
		"/usr/bin/nostatus":   {DPKG, "gone", "", ""},
		"/usr/bin/../bin/env": coreutils,
		"/usr/bin/en":         {},
		"usr/bin/env":         {}, // no absolute path
		"":                    {},
		"memfd:env (deleted)": {},
	})
}

// TestDPKGManyLists has so many lists that every core reads some: of two that
// have a path, the first by name counts.
func TestDPKGManyLists(t *testing.T) {
	files := map[string]string{dpkgStatus: ""}
	for i := range 20 * listsEach {
		files[fmt.Sprintf("%s/p%04d.list", dpkgInfo, i)] = fmt.Sprintf("/.\n/usr/bin/both%d\n/usr/bin/p%04d\n", i%(10*listsEach), i)
	}
	root := system(t, files)
	for i := range 10 * listsEach {
		name := fmt.Sprintf("p%04d", i)
		checkOwners(t, root, map[string]Package{
			fmt.Sprintf("/usr/bin/both%d", i): {Manager: DPKG, Name: name},
			"/usr/bin/" + name:                {Manager: DPKG, Name: name},
		})
	}
}

func TestDPKGDistroless(t *testing.T) {
	root := system(t, map[string]string{
		dpkgStatusDir + "/base":           "Package: base-files\nVersion: 12.4\nArchitecture: arm64\n",
		dpkgStatusDir + "/base.md5sums":   strings.Repeat("0", 32) + "  etc/os-release\n",
		dpkgStatusDir + "/nodejs":         "Package: nodejs\nVersion: 18.19\nArchitecture: arm64\nDescription: x",
		dpkgStatusDir + "/nodejs.md5sums": strings.Repeat("a", 32) + "  ./usr/bin/node\n",
	})
	checkOwners(t, root, map[string]Package{
		"/usr/bin/node":   {DPKG, "nodejs", "18.19", "arm64"},
		"/etc/os-release": {DPKG, "base-files", "12.4", "arm64"},
		"/usr/bin/other":  {},
	})
}

func TestTextRefuses(t *testing.T) {
	tests := []struct{ reason, file, content, want string }{
		{"a relative path in a list", dpkgInfo + "/x.list", "/.\nusr/bin/x\n", dpkgInfo + `/x.list:2: "usr/bin/x" is no absolute path`},
		{"an endless line", dpkgInfo + "/x.list", "/.\n/" + strings.Repeat("x", maxLine) + "\n/y\n", dpkgInfo + "/x.list:2: bufio.Scanner: token too long"},
		{"half a diversion", dpkgDiversions, "/a\n/b\n", dpkgDiversions + ":3: a diversion has three lines"},
		{"a diversion from nowhere", dpkgDiversions, "/a\n\nx\n", dpkgDiversions + `:2: "" is no absolute path`},
		{"a line of status that is no field", dpkgStatus, "Package: a\nrubbish\n", dpkgStatus + `:2: "rubbish" is no field`},
		{"a digest without a path", dpkgStatusDir + "/a.md5sums", strings.Repeat("a", 32) + "\n", dpkgStatusDir + "/a.md5sums:1: "},
		{"apk", apkInstalled[0], "P:a\nx\n", apkInstalled[0] + `:2: "x" is no field`},
		{"pacman", pacmanLocal + "/a-1-1/files", "\nusr/\n", pacmanLocal + `/a-1-1/files:2: "usr/" is in no section`},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			files := map[string]string{}
			if !strings.HasPrefix(tt.file, dpkgStatusDir+"/") && strings.HasPrefix(tt.file, "var/lib/dpkg/") {
				files = map[string]string{dpkgInfo + "/a.list": "/usr/bin/x\n", dpkgStatus: dpkgTestStatus}
			}
			files[tt.file] = tt.content
			got, err := Open(system(t, files)).Owners([]string{"/usr/bin/x", "/usr/bin/y"})
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v and error %v, want one that begins with %q", got, err, tt.want)
			}
		})
	}
}
