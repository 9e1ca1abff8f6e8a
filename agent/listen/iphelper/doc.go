// Package iphelper owns what the IP Helper API of Windows tells of listening
// sockets: it reads the owner-module tables of TCP and UDP and decodes them.
//
// Append, which decodes, is a pure function of bytes and works on every
// platform; a Reader needs Windows.
//
// It refuses to know what a process is, what a service is called, and which
// address is worth an alarm. Windows shows a program only the sockets of the
// program's own network compartment, and of a UDP socket not whether it is
// connected.
package iphelper
