package alert

import (
	"os"
	"testing"

	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc/eventlog"
)

var _ Sender = (*EventLog)(nil)

// TestEventLog registers the source and reports events of every kind. Wine takes
// them and shows them nowhere: what is in the log afterwards is not looked at.
func TestEventLog(t *testing.T) {
	if os.Getenv("PORTAUDIT_TEST_WINE") == "" {
		t.Skip("registers an event source on this host: set PORTAUDIT_TEST_WINE=1")
	}
	t.Cleanup(func() {
		if err := eventlog.Remove(EventSource); err != nil {
			t.Error(err)
		}
	})
	for range 2 { // the second time it is registered
		l, err := OpenEventLog()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range append(samples(), spoil(aFinding(), "\x00\x1b\u202e%1\xff\"")) {
			if err := l.Send(t.Context(), m); err != nil {
				t.Errorf("%s: %v", m.Event.Event, err)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, sourceKey, registry.QUERY_VALUE)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	file, _, err := key.GetStringValue("EventMessageFile")
	types, _, typesErr := key.GetIntegerValue("TypesSupported")
	if err != nil || typesErr != nil || file != `%SystemRoot%\System32\EventCreate.exe` || types != 7 {
		t.Errorf("the source is registered with %q and %d: %v, %v", file, types, err, typesErr)
	}
}
