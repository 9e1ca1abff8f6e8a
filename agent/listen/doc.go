// Package listen owns one question: what listens on this host, and who owns
// it. List answers it with a Snapshot, which also says what could not be seen.
//
// It refuses to judge: no registry look-up, no policy, no output. What a
// platform lacks is left unknown and named in the coverage record, never
// guessed.
//
// A Lister remembers between enumerations what does not change. On Linux
// sockets come from sock_diag and owners from a BPF iterator or /proc/PID/fd
// (docs/architecture.md), on Windows from the IP Helper API, elsewhere from
// gopsutil. Portable is gopsutil's way on every platform. No goroutine outlives
// the call that started it, but for the one that loads the BPF program: it ends
// with the loading, for which the first List or Close waits.
package listen
