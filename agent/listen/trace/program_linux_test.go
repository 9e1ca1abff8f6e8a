package trace

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestProgramsAreOfTheseSources fails where a source was changed and go generate
// not run.
func TestProgramsAreOfTheseSources(t *testing.T) {
	sums, err := os.ReadFile("programs.sum")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(sums)), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d sources, want 2", len(lines))
	}
	for _, line := range lines {
		sum, file, _ := strings.Cut(line, "  ")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != sum {
			t.Errorf("%s has changed since go generate: %s, then %s", file, got, sum)
		}
	}
}
