// Package securitylog owns what the Security log of Windows tells of programs
// that listen: events 5154 and 5158 of the Windows Filtering Platform, which are
// written where the audit policy has "Filtering Platform Connection".
//
// Parse, which decodes an event's XML, is a pure function of bytes and works on
// every platform; a Subscription needs Windows.
//
// It refuses to know whether a port is still open: no event says that one
// closed. What an event tells of is a hint that comes early.
package securitylog
