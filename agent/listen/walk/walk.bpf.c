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
 * mapped: the iterator's own buffer would not hold those of a process with
 * more than some hundred listeners.
 *
 * Everything is read with bpf_probe_read_kernel and no lock is held. Tables
 * change under the walk: a row may tell of a descriptor that was just closed,
 * and whoever uses it must look again.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define AF_INET 2
#define AF_INET6 10
#define AF_PACKET 17
#define AF_VSOCK 40
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_SEQPACKET 5
#define TCP_CLOSE 7    /* include/net/tcp_states.h */
#define TCP_LISTEN 10
#define BPF_MAP_TYPE_ARRAY 2   /* include/uapi/linux/bpf.h */
#define BPF_F_MMAPABLE 1024

/* row is one descriptor; walk.Row decodes it. */
struct row {
	u64 start;	/* of the process: nanoseconds since boot */
	u64 exe;	/* inode of its executable */
	u64 inode;	/* of the socket */
	u64 cookie;	/* of the socket, 0 if nobody asked for it yet */
	u32 exe_device; /* as the kernel numbers them: major << 20 | minor */
	s32 pid;	/* as the pid namespace of the reader numbers it */
	u32 netns;	/* inode of the socket's network namespace */
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

/* state is what one walk hands on from task to task. */
struct state {
	u64 socket_ops; /* address of socket_file_ops, found through own_socket */
	u32 count;      /* of rows, those that found no room included */
	u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct state);
} walked SEC(".maps");

const volatile u32 own_socket; /* descriptor of a socket of the process that reads */
const volatile u32 capacity;   /* of rows */

/* table is a descriptor table under way. */
struct table {
	struct state *state;
	struct file **fd;
	unsigned long *open;
	u64 word; /* of the bitmap, under way */
	struct task_struct *leader;
	struct row row; /* the part that is of the process */
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

/* learn finds the address that tells the file of a socket from other files. */
static __always_inline void learn(struct state *state)
{
	struct task_struct *self = (void *)bpf_get_current_task();
	struct file **fds = BPF_CORE_READ(self, files, fdt, fd);
	struct file *file = 0;

	bpf_probe_read_kernel(&file, sizeof(file), fds + own_socket);
	state->socket_ops = (u64)BPF_CORE_READ(file, f_op);
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

static __always_inline void identify(struct table *t)
{
	struct task_struct *leader = t->leader;
	struct file *exe = BPF_CORE_READ(leader, mm, exe_file);
	struct inode *inode = BPF_CORE_READ(exe, f_inode);
	struct task_struct *self = (void *)bpf_get_current_task();
	u32 level = BPF_CORE_READ(self, thread_pid, level);
	struct pid *pid = BPF_CORE_READ(leader, thread_pid);

	t->row.start = BPF_CORE_READ(leader, start_boottime);
	t->row.exe = BPF_CORE_READ(inode, i_ino);
	t->row.exe_device = BPF_CORE_READ(inode, i_sb, s_dev);
	if (level <= BPF_CORE_READ(pid, level)) {
		struct upid *numbers = (void *)pid + bpf_core_field_offset(struct pid, numbers);

		t->row.pid = 0;
		bpf_probe_read_kernel(&t->row.pid, sizeof(t->row.pid),
				      (void *)numbers + level * bpf_core_type_size(struct upid) +
					      bpf_core_field_offset(struct upid, nr));
	}
}

static __always_inline void look(struct table *t, struct file *file, u32 fd)
{
	struct socket *socket;
	struct sock *sk;
	struct row *r;
	u32 i;

	if ((u64)BPF_CORE_READ(file, f_op) != t->state->socket_ops)
		return;
	socket = BPF_CORE_READ(file, private_data);
	/* Connections are by far the most: a look at their struct sock would be a
	 * cache miss for each. */
	if (BPF_CORE_READ(socket, state) == SS_CONNECTED)
		return;
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return;
	r = &t->row;
	r->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	r->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	r->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	r->type = BPF_CORE_READ(sk, sk_type);
	if (!wanted(r))
		return;
	if (!r->start)
		identify(t);
	r->protocol = BPF_CORE_READ(sk, sk_protocol);
	r->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	r->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	r->inode = BPF_CORE_READ(file, f_inode, i_ino);
	r->fd = fd;
	i = t->state->count++;
	if (i >= capacity)
		return;
	r = bpf_map_lookup_elem(&rows, &i);
	if (r)
		*r = t->row;
}

#define WORD (8 * sizeof(unsigned long))

/* descriptor looks at one place of the table. */
static long descriptor(u32 i, struct table *t)
{
	struct file *file = 0;

	if (i % WORD == 0)
		bpf_probe_read_kernel(&t->word, sizeof(t->word), t->open + i / WORD);
	if (!(t->word >> (i % WORD) & 1))
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), t->fd + i);
	if (file)
		look(t, file, i);
	return 0;
}

SEC("iter/task")
int walk_tasks(struct task_context *ctx)
{
	struct task_struct *task = ctx->task;
	struct table t = {};
	struct files_struct *files;
	struct task_struct *leader;
	struct fdtable *fdt;
	struct state *state;
	u32 zero = 0, max;

	if (!task)
		return 0;
	files = BPF_CORE_READ(task, files);
	if (!files)
		return 0;
	leader = BPF_CORE_READ(task, group_leader);
	/* Threads share the table of their process, unless they gave that up. */
	if (task != leader && files == BPF_CORE_READ(leader, files))
		return 0;
	t.leader = leader;
	state = bpf_map_lookup_elem(&walked, &zero);
	if (!state)
		return 0;
	if (!state->socket_ops)
		learn(state);
	t.state = state;
	fdt = BPF_CORE_READ(files, fdt);
	max = BPF_CORE_READ(fdt, max_fds);
	t.fd = BPF_CORE_READ(fdt, fd);
	t.open = BPF_CORE_READ(fdt, open_fds);
	bpf_loop(max, descriptor, &t, 0);
	return 0;
}

SEC("iter/task_file")
int walk_files(struct file_context *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct table t = {};
	u32 zero = 0;

	if (!task || !file)
		return 0;
	t.state = bpf_map_lookup_elem(&walked, &zero);
	if (!t.state)
		return 0;
	if (!t.state->socket_ops)
		learn(t.state);
	t.leader = BPF_CORE_READ(task, group_leader);
	look(&t, file, ctx->fd);
	return 0;
}
