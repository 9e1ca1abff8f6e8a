//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * These programs visit the kernel's tables of TCP and UDP sockets, of the
 * network namespace of the thread that opens the iterator (Linux 5.9), and
 * return the inodes of those that the kernel keeps for itself: they have no
 * file, as sockets have that the kernel made, or the kernel has put a function
 * of its own where data is announced, as it does with a socket that a program
 * opened and handed over (svc_addsock in net/sunrpc/svcsock.c, the way of
 * rpc.nfsd).
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TCP_LISTEN 10 /* include/net/tcp_states.h */

const volatile u32 own_socket; /* descriptor of a Unix socket of the process that reads */
const volatile u64 own_inode;  /* and its inode */

struct seq_file;

struct iter_meta {
	struct seq_file *seq;
	u64 session_id;
	u64 seq_num;
};

/* table_context is what the kernel calls both programs with: struct
 * bpf_iter__tcp and bpf_iter__udp begin alike. */
struct table_context {
	struct iter_meta *meta;
	struct sock *sk;
};

static __always_inline u64 inode_of(struct socket *socket)
{
	/* A struct socket is the first member of its struct socket_alloc. */
	return BPF_CORE_READ((struct socket_alloc *)socket, vfs_inode.i_ino);
}

/* multipath says whether a TCP socket is part of a Multipath TCP socket, which
 * is told of what arrives instead of the program (net/mptcp/subflow.c). */
static __always_inline int multipath(struct sock *sk)
{
	struct tcp_sock *tcp = (void *)sk;

	return bpf_core_field_exists(tcp->is_mptcp) && BPF_CORE_READ(tcp, is_mptcp);
}

/* announced says whether data is announced to a program, by sock_def_readable
 * (net/core/sock.c) as it is of the reader's own socket. */
static __always_inline int announced(struct sock *sk)
{
	struct task_struct *self = (void *)bpf_get_current_task();
	struct file **fds = BPF_CORE_READ(self, files, fdt, fd), *file = 0;
	struct socket *own;

	bpf_probe_read_kernel(&file, sizeof(file), fds + own_socket);
	if (BPF_CORE_READ(file, f_inode, i_ino) != own_inode)
		return 1; /* nothing to compare with */
	own = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(sk, sk_data_ready) == BPF_CORE_READ(own, sk, sk_data_ready);
}

static __always_inline void tell(struct table_context *ctx, struct sock *sk, int tcp)
{
	struct socket *socket = BPF_CORE_READ(sk, sk_socket);
	u64 inode;

	if (!socket)
		return; /* closed: nobody's any more */
	if (BPF_CORE_READ(socket, file) && (announced(sk) || (tcp && multipath(sk))))
		return;
	inode = inode_of(socket);
	bpf_seq_write(ctx->meta->seq, &inode, sizeof(inode));
}

SEC("iter/tcp")
int kernel_tcp(struct table_context *ctx)
{
	struct sock *sk = ctx->sk;

	if (!sk)
		return 0;
	/* The listeners come first. What the first other one returns ends the read
	 * with what was written until then (bpf_seq_read in kernel/bpf/bpf_iter.c):
	 * connections may be a hundred thousand. */
	if (BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_LISTEN)
		return 1;
	tell(ctx, sk, 1);
	return 0;
}

SEC("iter/udp")
int kernel_udp(struct table_context *ctx)
{
	struct sock *sk = ctx->sk;

	if (sk)
		tell(ctx, sk, 0);
	return 0;
}
