// Package registry owns IANA's Service Name and Transport Protocol Port Number
// Registry: the embedded copy, the look-up, the import of a newer one, a site's
// own names beside it and what is commonly found on a port whatever IANA says.
//
// It refuses to know hosts, sockets, processes and policy, and imports no other
// package of this module.
package registry
