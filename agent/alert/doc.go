// Package alert owns the outputs of alerts: it turns events of the audit log, and
// numbers that the agent tells of itself, into what people and other programs read.
//
// A Feed has what the log has acknowledged. An Output takes from it, or from the log
// when it is behind, what is selected for one receiver, holds floods back, and keeps
// in a cursor file how far it is; its Sender knows the receiver. Who starts an Output
// gives it a goroutine: the package starts none.
//
// It refuses to know why something is an alert. Of this module it imports audit, and
// export for the formats of records.
package alert
