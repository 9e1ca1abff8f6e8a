package alert

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc/eventlog"
)

// EventLog is a Sender to the Windows Event Log.
type EventLog struct{ log *eventlog.Log }

// OpenEventLog opens the log Application of this host for the source EventSource,
// and registers the source if that was not done before, for which it needs an
// administrator's rights.
func OpenEventLog() (*EventLog, error) {
	if err := registerSource(); err != nil {
		return nil, err
	}
	log, err := eventlog.Open(EventSource)
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	return &EventLog{log}, nil
}

const sourceKey = `SYSTEM\CurrentControlSet\Services\EventLog\Application\` + EventSource

// registerSource registers the source, unless it is. Without that the Event Viewer
// shows each text behind a complaint that it cannot be found.
func registerSource() error {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, sourceKey, registry.QUERY_VALUE)
	if err == nil {
		return key.Close()
	}
	if errors.Is(err, registry.ErrNotExist) {
		err = eventlog.InstallAsEventCreate(EventSource, eventlog.Info|eventlog.Warning|eventlog.Error)
	}
	switch {
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return fmt.Errorf("event log: the source %s is not registered, and this user may not do so: start portaudit once as an administrator, or run as one: eventcreate /L APPLICATION /T INFORMATION /ID 1 /SO %s /D registered", EventSource, EventSource)
	case err != nil:
		return fmt.Errorf("event log: register the source %s: %w", EventSource, err)
	}
	return nil
}

// Send implements Sender.
func (l *EventLog) Send(_ context.Context, m Message) error {
	text, err := eventText(m)
	if err != nil {
		return err
	}
	report := l.log.Info
	switch levelOf(m.Priority()) {
	case eventWarning:
		report = l.log.Warning
	case eventError:
		report = l.log.Error
	}
	err = report(eventID(m.Event.Event), text)
	switch {
	case errors.Is(err, windows.ERROR_INVALID_PARAMETER), errors.Is(err, windows.RPC_S_INVALID_BOUND):
		return fmt.Errorf("%w: event log: %w", ErrRefused, err)
	case err != nil:
		return fmt.Errorf("event log: %w", err)
	}
	return nil
}

// Close implements Sender.
func (l *EventLog) Close() error { return l.log.Close() }
