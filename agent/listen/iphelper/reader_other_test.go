//go:build !windows

package iphelper_test

import (
	"errors"
	"testing"

	"github.com/portaudit/portaudit/agent/listen/iphelper"
)

func TestReaderSaysThatItNeedsWindows(t *testing.T) {
	var r iphelper.Reader
	if rows, err := r.Append(nil, iphelper.TCP4); len(rows) > 0 || !errors.Is(err, iphelper.ErrUnavailable) {
		t.Errorf("got %v, %v, want ErrUnavailable", rows, err)
	}
}
