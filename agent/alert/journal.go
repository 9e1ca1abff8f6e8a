package alert

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// An encoder of our own: github.com/coreos/go-systemd/v22/journal has its socket,
// and the path of it, in variables of the package, tells of a bad name of a field
// on standard error, and leaves what is large in a file of /dev/shm.

// JournalSocket is where journald takes messages of its own protocol,
// https://systemd.io/JOURNAL_NATIVE_PROTOCOL/.
const JournalSocket = "/run/systemd/journal/socket"

// maxJournal bounds a field, in bytes: journald itself takes hundreds of megabytes.
const maxJournal = 64 << 10

// MessageIDs are the MESSAGE_ID of each kind of event, as "journalctl MESSAGE_ID="
// and catalogs know them. They never change: docs/outputs.md has them.
func MessageIDs() map[string]string {
	return map[string]string{
		audit.AgentStarted:    "264d9252e639b48d069769d4db6aa1c4",
		audit.AgentStopped:    "49842aab160c0b4d716528312fb8a14c",
		audit.PolicyLoaded:    "4d907cab8899e7362ed3c6ad3ddce547",
		audit.PolicyRejected:  "42089d62a8af75ea372d8695764fd30e",
		audit.ListenerOpened:  "22bbc67559b8234cac0b31b377ab0221",
		audit.ListenerChanged: "9953ec76ef737ebe7c9f02fa20959287",
		audit.ListenerClosed:  "963f3612fd0cfc6d79ac549b9bda2729",
		audit.FindingRaised:   "64f74b048bb811fb79b4b75f78213cd9",
		audit.FindingCleared:  "1a45b91f7132749025fa1db6234154f3",
		audit.AuditFailed:     "57a7616ff2b4a5856f37c47ae671e39e",
		audit.CoverageChanged: "aab4475f76e0ece08715fb5c8d3e1c8d",
		audit.CrossFailed:     "ae87bf59eda4a167e3752ab5596a4204",
		audit.ChangesLost:     "a4613f58c768c225ebf326de569b6859",
		audit.LogSegment:      "4def6c2b22f149dcf81ed270f1d702d5",
		audit.LogCheckpoint:   "5993799ccd5f0ef45b957d33ffce69f4",
		audit.LogDegraded:     "71eee2f8b0d13296653a6e8fee8db5ad",
		audit.LogRestored:     "2e1da7174e85d0790a799eee58816e9d",
		audit.LogDamaged:      "3ff1a9fd8d2247aebd3277adc2842951",
		audit.LogPruned:       "e6b6f8b36da90575819fba3c3c06ae72",
		Summarized:            "210d6c75cace3f813dcdf7f293dba643",
	}
}

// Journal is a Sender to journald.
type Journal struct {
	path string
	conn journalConn
	ids  map[string]string
}

// journalConn is a socket to journald.
type journalConn interface {
	send(ctx context.Context, entry []byte) error
	close() error
}

// NewJournal returns a Journal that sends to the socket at path.
func NewJournal(path string) *Journal { return &Journal{path: path, ids: MessageIDs()} }

// Send sends the message as one entry. The kernel keeps it for journald, which takes
// the socket over when it starts anew.
func (j *Journal) Send(ctx context.Context, m Message) error {
	if j.conn == nil {
		conn, err := dialJournal(j.path)
		if err != nil {
			return err
		}
		j.conn = conn
	}
	err := j.conn.send(ctx, j.encode(m))
	if err != nil {
		return errors.Join(err, j.Close())
	}
	return nil
}

// Close closes the socket.
func (j *Journal) Close() error {
	if j.conn == nil {
		return nil
	}
	err := j.conn.close()
	j.conn = nil
	return err
}

// encode returns the entry.
func (j *Journal) encode(m Message) []byte {
	var out bytes.Buffer
	e := m.Event
	e.Message = audit.Clip(e.Message, 2*maxJournal)
	appendField(&out, "MESSAGE", Message{Event: e}.Text())
	appendField(&out, "PRIORITY", strconv.Itoa(int(m.Priority())))
	appendField(&out, "SYSLOG_IDENTIFIER", syslogName)
	appendField(&out, "MESSAGE_ID", j.ids[e.Event])
	appendField(&out, "PORTAUDIT_EVENT", e.Event)
	appendField(&out, "PORTAUDIT_TIME", e.Time.UTC().Format(time.RFC3339Nano))
	for _, f := range fieldsOf(m) {
		if name := "PORTAUDIT_" + strings.ToUpper(f.name); f.name == checkpointField {
			appendLines(&out, name, f.value)
		} else {
			appendField(&out, name, f.value)
		}
	}
	return out.Bytes()
}

// appendField writes a field, unless it is empty. What is visible has no newline,
// which would begin another field.
func appendField(out *bytes.Buffer, name, value string) {
	if value == "" {
		return
	}
	out.WriteString(name + "=" + audit.Clip(audit.Visible(audit.Clip(value, maxJournal)), maxJournal) + "\n")
}

// appendLines writes a field that keeps its newlines, in the form for such: its length
// is before it.
func appendLines(out *bytes.Buffer, name, value string) {
	lines := strings.Split(audit.Clip(value, maxJournal), "\n")
	for i := range lines {
		lines[i] = audit.Visible(lines[i])
	}
	value = strings.Join(lines, "\n")
	out.WriteString(name + "\n")
	out.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(value))))
	out.WriteString(value + "\n")
}
