// Package listen owns one question: what listens on this host, and who owns
// it. List answers it with a Snapshot, which also says what could not be seen.
//
// It refuses to judge: no registry look-up, no policy, no comparison with an
// earlier snapshot, no output. It starts no goroutine that outlives a call and
// keeps no state between calls. What a platform lacks is left unknown and
// named in the coverage record, never guessed.
//
// On Linux the sockets come from /proc/PID/net of one process of each network
// namespace and the owners from /proc/PID/fd; elsewhere both come from
// gopsutil. Portable is gopsutil's way on every platform.
package listen
