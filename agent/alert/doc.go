// Package alert owns the outputs of alerts: it turns events of the audit log, and
// numbers that the agent tells of itself, into what people and other programs read.
//
// It refuses to know why something is an alert, and keeps no state: each
// output takes one event, or all numbers of a moment, and writes it. Of this module
// it imports only audit, for the Event and for files that are replaced whole.
package alert
