// Package audit keeps the audit log: an append-only file of JSON Lines in
// which every record carries a sequence number and the hash of the record
// before it, and in which an acknowledged record is on disk. It also replaces
// small files durably (WriteFile), for those that keep state beside the log.
//
// It owns the format (Event), the durability and the recovery after a crash.
// It refuses to know what a listener, a finding or a policy is: it imports no
// other package of this module, starts no goroutine and decides about no event.
//
// # The file
//
// A log is the file audit.jsonl in a directory of its own. One line is one
// record: a JSON object in UTF-8 of at most 1 MiB, ended by a newline. The
// field prev is the SHA-256, in hexadecimal, of the bytes of the line before
// without its newline, and 64 zeros in the first record; seq starts at 1 and
// grows by 1. The file audit.lock beside it is locked by the one process that
// writes, and names its process id.
//
// When the file is too large or too old it is renamed, by the number of its first
// record, and a new one of its name begins with the record log.segment: docs/log.md
// tells of this, and of what is done when the log cannot be written. Tidy compresses
// those that were closed (block.go) and removes the oldest. Lines and Tail read all of
// them as one log.
//
// Readers ignore fields that they do not know. A record whose schema is higher
// than Version is refused, never cut off.
//
// The chain shows a change to any record but the last ones: who can write the
// file can cut off its end, or write the whole of it anew. Checkpoints show that,
// signed notes of the Merkle tree of the records (Log.Checkpoint, VerifyLog). Who has
// the signing key can make them anew, too; not one that is kept elsewhere.
//
// # The fields
//
// Every event carries schema, seq, time, event, host, boot and prev, and most
// carry message. Beyond these:
//
//	agent.started     program, pid, policy
//	agent.stopped     program, pid
//	policy.loaded     policy
//	policy.rejected   policy, refused, errors
//	listener.opened   LISTENER
//	listener.changed  LISTENER, change, replaces
//	listener.closed   LISTENER
//	finding.raised    LISTENER, id, severity, why, fix
//	finding.cleared   LISTENER, id, severity, why, fix
//	audit.failed      errors
//	crosscheck.failed errors
//	coverage.changed  coverage
//	log.segment       tree
//	log.checkpoint    checkpoint
//	log.degraded      errors
//	log.damaged       errors
//	log.restored      lost
//	log.pruned        removed, through
//
// where LISTENER is listener, transport, address, addresses, port, namespace,
// scope, first_seen, last_seen, registry, owners, verdict and rule. A field
// that has no value is left out; within registry, owners and coverage null or
// an empty string says unknown.
//
// # Strings
//
// Much of what a record says was chosen by the process that it is about. Log
// therefore puts every string of an event through Clip and then Visible,
// whoever made it: at most 4 KiB of a string are kept, 32 KiB of message, and
// 256 entries of a list, the last of which is followed by one that says how
// many are missing ("…[+12 more]"; of owners it is in how, of gaps in reason).
// A record that would still be longer than 1 MiB has these bounds halved until
// it fits. The fields escaped and clipped say of which texts the original is another
// one, so that Event.Original can bring it back.
package audit
