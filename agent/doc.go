// Package agent owns the loop and all state: it lists, classifies, decides,
// compares with the audit before, records and alerts, and remembers on disk
// what it has already said.
//
//	listen.List → classify → policy.Decide → diff → audit.Event → log, then alerts
//
// Classify, diff and the making of events are pure functions of their input;
// only Run and Scan call the host. The package refuses to know how sockets are
// found (listen), what a port means (registry), what is allowed (policy), how a
// log is kept (audit) and where alerts go (alert).
package agent
