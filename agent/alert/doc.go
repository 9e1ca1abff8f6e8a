// Package alert owns the outputs of alerts: it turns events of the audit log
// into what people and other programs read.
//
// It refuses to know why something is an alert, and keeps no state: each
// output takes one event and writes it. Of this module it imports only audit,
// for the Event.
package alert
