//go:build !windows

package alert

import (
	"context"
	"errors"
)

// EventLog is a Sender to the Windows Event Log, which other systems do not have.
type EventLog struct{}

// OpenEventLog returns an error.
func OpenEventLog() (*EventLog, error) {
	return nil, errors.New("event log: only Windows has one: use journald or syslog")
}

// Send implements Sender.
func (*EventLog) Send(context.Context, Message) error { return errors.ErrUnsupported }

// Close implements Sender.
func (*EventLog) Close() error { return nil }
