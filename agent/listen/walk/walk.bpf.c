//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * These programs visit every descriptor of every process and return those that
 * lead to a socket that listens, or is one step away from it.
 *
 * walk_tasks runs once for each task while user space reads the iterator, and
 * walks the task's descriptor table itself; it needs bpf_loop (Linux 5.17).
 * walk_files is called by the kernel for each descriptor, and is there for
 * older kernels (5.8). Both write their rows to an array that user space has
 * mapped: the iterator's own buffer (8 pages, kernel/bpf/bpf_iter.c) would not
 * hold those of a process with more than some hundred listeners.
 *
 * Everything is read with bpf_probe_read_kernel and no lock is held. Tables
 * change under the walk: a row may tell of a descriptor that was just closed,
 * and whoever uses it must look again. The kernel runs each call in an RCU
 * reader, so a table that is replaced meanwhile stays readable.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_PACKET 17
#define AF_VSOCK 40
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_SEQPACKET 5
#define SOCK_DCCP 6
#define TCP_CLOSE 7    /* include/net/tcp_states.h */
#define TCP_LISTEN 10
#define BPF_MAP_TYPE_ARRAY 2   /* include/uapi/linux/bpf.h */
#define BPF_F_MMAPABLE 1024

/* row is one descriptor; walk.Row decodes it. */
struct row {
	/* Of the process. */
	u64 start;	/* nanoseconds since boot */
	u64 exe;	/* inode of its executable */
	u64 effective;	/* capabilities */
	u32 exe_device; /* as the kernel numbers them: major << 20 | minor */
	s32 pid;	/* as the pid namespace of the reader numbers it */
	s32 initial;	/* as the initial pid namespace numbers it */
	u32 pidns;	/* inode of its own pid namespace */
	u32 userns;	/* inode of its user namespace */
	u32 uid;	/* effective, as the initial user namespace numbers it */
	/* Of the descriptor. */
	u64 inode;	  /* of the socket */
	u64 cookie;	  /* of the socket, 0 if nobody asked for it yet */
	u64 netns_cookie; /* of the socket's network namespace, 0 before Linux 5.12 */
	u32 netns;	  /* inode of the socket's network namespace */
	u32 fd;
	u16 family;
	u16 type;
	u16 protocol;
	u16 port;
	u8 state;
	u8 unused[7];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct row);
} rows SEC(".maps");

/* state is what one lane of a walk hands on from task to task. Several threads
 * may read an iterator each, at the same time: each has a lane, and walks the
 * processes that fall to it. */
struct state {
	u64 socket_ops; /* address of socket_file_ops, 0 until learn */
	u64 files;	/* the table that was walked last, and whose it is */
	s32 tgid;
	u32 count;   /* of rows, those that found no room included */
	u32 skipped; /* tables that are too large to walk */
	u32 reader;  /* thread that has this lane, as its own pid namespace numbers it */
	u64 unused[4]; /* a cache line each */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct state);
} walked SEC(".maps");

const volatile u32 own_socket; /* descriptor of a Unix socket of the process that reads */
const volatile u64 own_inode;  /* and its inode */
const volatile u32 capacity;   /* of rows in a lane */
const volatile u32 lanes;

/* table is a descriptor table under way. */
struct table {
	struct state *state;
	struct file **fd;
	unsigned long *open;
	u64 word;   /* of the bitmap, under way: what is left of it */
	u32 number; /* of the descriptor that its lowest bit stands for */
	u32 unused;
	struct task_struct *task;
	struct row row; /* the part that is of the process */
	u32 lane;
	u32 padding;
};

/* task_context and file_context are what the kernel calls the programs with:
 * struct bpf_iter__task and bpf_iter__task_file. */
struct task_context {
	void *meta;
	struct task_struct *task;
};

struct file_context {
	void *meta;
	struct task_struct *task;
	u32 fd __attribute__((aligned(8)));
	struct file *file __attribute__((aligned(8)));
};

/* learn finds the address that tells the file of a socket from other files, and
 * proves by a socket that user space knows that the fields are where they are
 * thought to be. What it returns ends the walk with EAGAIN at its first object
 * (bpf_seq_read in kernel/bpf/bpf_iter.c). */
static __always_inline int learn(struct state *state)
{
	struct task_struct *self = (void *)bpf_get_current_task();
	struct file **fds = BPF_CORE_READ(self, files, fdt, fd), *file = 0;
	struct socket *socket;

	bpf_probe_read_kernel(&file, sizeof(file), fds + own_socket);
	socket = BPF_CORE_READ(file, private_data);
	if (BPF_CORE_READ(file, f_inode, i_ino) == own_inode &&
	    BPF_CORE_READ(socket, sk, __sk_common.skc_family) == AF_UNIX)
		state->socket_ops = (u64)BPF_CORE_READ(file, f_op);
	return 1;
}

/* wanted says whether a socket listens or could within a moment. */
static __always_inline int wanted(struct row *r)
{
	switch (r->family) {
	case AF_INET:
	case AF_INET6:
		switch (r->type) {
		case SOCK_STREAM:
		case SOCK_SEQPACKET:
		case SOCK_DCCP:
			return r->state == TCP_LISTEN || (r->state == TCP_CLOSE && r->port != 0);
		case SOCK_DGRAM:
			return r->state == TCP_CLOSE && r->port != 0;
		}
		return 1; /* raw */
	case AF_PACKET:
		return 1;
	case AF_VSOCK:
		return r->state == TCP_LISTEN;
	}
	return 0;
}

/* number is what the pid namespace of this level calls a process. */
static __always_inline s32 number(struct pid *pid, u32 level)
{
	struct upid *upid = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
			    level * bpf_core_type_size(struct upid);

	return BPF_CORE_READ(upid, nr);
}

#define MAX_LANES 8

/* find_lane finds the lane of the thread that reads. */
static __always_inline int find_lane(struct table *t)
{
	struct task_struct *self = (void *)bpf_get_current_task();
	struct pid *pid = BPF_CORE_READ(self, thread_pid);
	u32 reader = lanes > 1 ? number(pid, BPF_CORE_READ(pid, level)) : 0, i;

	for (i = 0; i < MAX_LANES && i < lanes; i++) {
		u32 key = i; /* of its own: the verifier follows i */

		t->state = bpf_map_lookup_elem(&walked, &key);
		if (t->state && (lanes == 1 || t->state->reader == reader)) {
			t->lane = i;
			return 1;
		}
	}
	return 0;
}

/* identify fills in the part of the row that is of the process. */
static __always_inline void identify(struct table *t)
{
	struct task_struct *self = (void *)bpf_get_current_task();
	struct task_struct *task = t->task;
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	/* Not the leader's: it may have ended before its threads. */
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	struct inode *inode = BPF_CORE_READ(exe, f_inode);
	const struct cred *cred = BPF_CORE_READ(task, real_cred);
	struct pid *pid = BPF_CORE_READ(leader, thread_pid);
	u32 level = BPF_CORE_READ(pid, level), reader = BPF_CORE_READ(self, thread_pid, level);
	struct upid *own = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
			   level * bpf_core_type_size(struct upid);

	t->row.start = BPF_CORE_READ(leader, start_boottime);
	t->row.exe = BPF_CORE_READ(inode, i_ino);
	t->row.exe_device = BPF_CORE_READ(inode, i_sb, s_dev);
	/* The iterator visits only what the reader's namespace numbers. */
	t->row.pid = reader <= level ? number(pid, reader) : 0;
	t->row.initial = number(pid, 0);
	t->row.pidns = BPF_CORE_READ(own, ns, ns.inum);
	t->row.uid = BPF_CORE_READ(cred, euid.val);
	t->row.userns = BPF_CORE_READ(cred, user_ns, ns.inum);
	bpf_core_read(&t->row.effective, sizeof(t->row.effective), &cred->cap_effective);
}

/* look fills in the row of a descriptor and says whether it is wanted. */
static __always_inline int look(struct table *t, struct file *file, u32 fd)
{
	struct row *r = &t->row;
	struct socket *socket;
	struct sock *sk;
	struct net *net;

	if ((u64)BPF_CORE_READ(file, f_op) != t->state->socket_ops)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	/* Connections are by far the most: a look at their struct sock would be a
	 * cache miss for each. */
	if (BPF_CORE_READ(socket, state) == SS_CONNECTED)
		return 0;
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return 0;
	r->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	r->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	r->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	r->type = BPF_CORE_READ(sk, sk_type);
	if (!wanted(r))
		return 0;
	if (!r->start)
		identify(t);
	net = BPF_CORE_READ(sk, __sk_common.skc_net.net);
	r->netns = BPF_CORE_READ(net, ns.inum);
	if (bpf_core_field_exists(net->net_cookie))
		r->netns_cookie = BPF_CORE_READ(net, net_cookie);
	r->protocol = BPF_CORE_READ(sk, sk_protocol);
	r->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	r->inode = BPF_CORE_READ(file, f_inode, i_ino);
	r->fd = fd;
	return 1;
}

static __always_inline void emit(struct table *t)
{
	u32 i = t->state->count++;
	struct row *r;

	if (i >= capacity)
		return;
	i += t->lane * capacity;
	r = bpf_map_lookup_elem(&rows, &i);
	if (r)
		*r = t->row;
}

#define WORD (8 * sizeof(unsigned long))

/* descriptor looks at the place that the lowest bit of the word stands for. */
static long descriptor(u32 i, struct table *t)
{
	struct file **place = t->fd + t->number, *file = 0, *again = 0;

	if (!t->word)
		return 1;
	if (t->word & 1) {
		bpf_probe_read_kernel(&file, sizeof(file), place);
		if (file && look(t, file, t->number)) {
			/* The memory of a file that was closed may be that of another
			 * one by now (SLAB_TYPESAFE_BY_RCU, fs/file_table.c). */
			bpf_probe_read_kernel(&again, sizeof(again), place);
			if (again == file)
				emit(t);
		}
	}
	t->word >>= 1;
	t->number++;
	return 0;
}

/* descriptors looks at as many places as one word of the bitmap has. */
static long descriptors(u32 i, struct table *t)
{
	bpf_probe_read_kernel(&t->word, sizeof(t->word), t->open + i);
	if (t->word) {
		t->number = i * WORD;
		bpf_loop(WORD, descriptor, t, 0);
	}
	return 0;
}

/* seen says whether the table of a thread has been walked for its process.
 * Threads share the table of their leader unless they gave that up, or the
 * leader has ended and has none. */
static __always_inline int seen(struct state *state, struct task_struct *task, struct files_struct *files)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	s32 tgid = BPF_CORE_READ(task, tgid);

	if (task != leader) {
		if (files == BPF_CORE_READ(leader, files))
			return 1;
		if (state->tgid == tgid && state->files == (u64)files)
			return 1;
	}
	state->tgid = tgid;
	state->files = (u64)files;
	return 0;
}

SEC("iter/task")
int walk_tasks(struct task_context *ctx)
{
	struct task_struct *task = ctx->task;
	struct files_struct *files;
	struct table t = {};
	struct fdtable *fdt;
	u32 before, max;

	if (!task || !find_lane(&t))
		return 0;
	if (!t.state->socket_ops)
		return learn(t.state);
	if ((u32)BPF_CORE_READ(task, tgid) % lanes != t.lane)
		return 0;
	files = BPF_CORE_READ(task, files);
	if (!files || seen(t.state, task, files))
		return 0;
	t.task = task;
	fdt = BPF_CORE_READ(files, fdt);
	max = BPF_CORE_READ(fdt, max_fds);
	t.fd = BPF_CORE_READ(fdt, fd);
	t.open = BPF_CORE_READ(fdt, open_fds);
	before = t.state->count;
	if (bpf_loop((max + WORD - 1) / WORD, descriptors, &t, 0) < 0)
		t.state->skipped++;
	/* A process that has ended gives its table back at once (exit_files in
	 * kernel/exit.c): what was read may have been another's. */
	if (!BPF_CORE_READ(task, files))
		t.state->count = before;
	return 0;
}

SEC("iter/task_file")
int walk_files(struct file_context *ctx)
{
	struct file *file = ctx->file;
	struct table t = {};
	u32 zero = 0;

	t.task = ctx->task;
	t.state = bpf_map_lookup_elem(&walked, &zero);
	if (!t.task || !file || !t.state)
		return 0; /* the kernel finds the descriptors here: one lane is enough */
	if (!t.state->socket_ops)
		return learn(t.state);
	if (look(&t, file, ctx->fd))
		emit(&t);
	return 0;
}
