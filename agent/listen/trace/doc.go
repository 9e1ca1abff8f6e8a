// Package trace tells of sockets at the moment at which they begin and cease to
// listen, by BPF programs in the kernel. It owns the programs, their loading and
// the form of their records. It refuses to know what becomes of a record: what
// listens is for an audit to say, and a record is a hint that comes early.
//
// TCP is seen where it changes its state, of every process and every network
// namespace of the host (tp_btf/inet_sock_set_state; Linux 5.8 for the ring
// buffer). UDP is seen where a program asks for a port with bind(2), by programs
// of the root control group (cgroup/post_bind4 and 6; sock_release since 5.9),
// of the processes below it. A datagram socket that was given its port by its
// first sendto(2) is a client's, and not told of.
//
// It needs CAP_BPF and CAP_PERFMON, for UDP CAP_NET_ADMIN too.
//
// The compiled programs are committed, for ordinary machines have no compiler
// for BPF. go generate makes them anew; it needs clang and libbpf's headers.
package trace

//go:generate sh -c "sha256sum ../walk/kernel.h trace.bpf.c >programs.sum"
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -go-package trace -tags linux -no-global-types programs trace.bpf.c -- -O2 -g -Wall -Werror
