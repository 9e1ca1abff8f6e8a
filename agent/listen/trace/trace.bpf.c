//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * These programs tell of sockets at the moment at which they begin and cease to
 * listen, with the process that makes them.
 *
 * inet_sock_set_state is called by the kernel for each change of a TCP socket's
 * state, in the process that called listen(2). post_bind4 and post_bind6 are
 * called for each bind(2) that a program asks for, and not for the one that a
 * first sendto(2) makes: that tells servers from clients. sock_release is called
 * when the last descriptor of a socket is closed.
 *
 * What the process is, is read at once, its program's path piece by piece: it
 * may be gone before user space looks.
 */
#define PORTAUDIT_TRACE
#include "../walk/kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define AF_INET 2
#define AF_INET6 10
#define SOCK_DGRAM 2
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_UDPLITE 136
#define TCP_CLOSE 7 /* include/net/tcp_states.h */
#define TCP_LISTEN 10
#define BPF_MAP_TYPE_ARRAY 2	/* include/uapi/linux/bpf.h */
#define BPF_MAP_TYPE_LRU_HASH 9
#define BPF_MAP_TYPE_RINGBUF 27
#define BPF_F_MMAPABLE 1024

#define OPENED 1
#define CLOSED 2

#define NAME 64 /* bytes of a name that are told, a NUL included */
#define NAMES 12
#define LEVELS 8

/* record is what trace.Record decodes. */
struct record {
	u64 time; /* nanoseconds since boot */
	/* Of the socket. */
	u64 cookie;	  /* 0 if nobody asked for it yet and the kernel gives it to no program of this kind */
	u64 inode;	  /* 0 where the kernel does not tell */
	u64 netns_cookie; /* 0 before Linux 5.12 */
	u32 netns;
	u32 device; /* index of the one that it is bound to */
	u16 family;
	u16 protocol;
	u16 port;
	u8 kind;
	u8 v6only; /* 1: no, 2: yes, 0: unknown */
	u8 address[16];
	/* Of the process. */
	u64 start;
	u64 effective;
	u64 cgroup; /* of the unified hierarchy */
	u64 exe;
	u32 exe_device; /* as the kernel numbers them */
	u32 links;	/* names that the program's file has */
	s32 pid;	/* as the reader's pid namespace numbers it; 0: it does not */
	s32 initial;	/* as the initial one does */
	s32 parent;	/* likewise */
	u32 pidns;
	u32 userns;
	u32 uid;
	u32 whole; /* the path reaches the root after so many names but one; 0: it does not */
	u32 unused;
	char comm[16];
	u64 socket; /* the same in both records of a socket, and not of another one meanwhile */
	char path[NAMES][NAME]; /* the names of the path, the last one first; "" says nothing */
};

/* Room for some 1,100: the kernel maps all of it for the reader, twice, and each
 * page of that counts as the daemon's memory. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} records SEC(".maps");

/* counts are those that user space reads without a call. */
struct counts {
	u64 lost; /* records for which there was no room */
	u64 told;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct counts);
} counted SEC(".maps");

/* endpoint is where a socket is bound. */
struct endpoint {
	u8 address[16];
	u16 port;
	u16 unused[3];
};

/* bound are the UDP sockets that were told of, by cookie: the release of any
 * other one is nobody's business, and where one was bound the kernel does not
 * say any more. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64 << 10);
	__type(key, u64);
	__type(value, struct endpoint);
} bound SEC(".maps");

const volatile u32 own_pidns; /* inode of the reader's pid namespace */
const volatile s32 ignored;   /* process whose sockets are not told of, as that numbers it; 0: none */

static __always_inline s32 number(struct pid *pid, u32 level)
{
	struct upid *upid = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
			    level * bpf_core_type_size(struct upid);

	return BPF_CORE_READ(upid, nr);
}

/* numbers fills in what the pid namespaces call the process. */
static __always_inline void numbers(struct record *r, struct pid *pid)
{
	u32 level = BPF_CORE_READ(pid, level), i;

	r->initial = number(pid, 0);
	for (i = 0; i < LEVELS && i <= level; i++) {
		struct upid *upid = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
				    i * bpf_core_type_size(struct upid);
		u32 inum = BPF_CORE_READ(upid, ns, ns.inum);

		if (inum == own_pidns)
			r->pid = BPF_CORE_READ(upid, nr);
		r->pidns = inum;
	}
}

/* is_ignored says whether the process is the one whose sockets are not told of. */
static __always_inline int is_ignored(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct pid *pid = BPF_CORE_READ(task, group_leader, thread_pid);
	u32 level = BPF_CORE_READ(pid, level), i;

	for (i = 0; ignored && i < LEVELS && i <= level; i++) {
		struct upid *upid = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
				    i * bpf_core_type_size(struct upid);

		if (BPF_CORE_READ(upid, nr) == ignored && BPF_CORE_READ(upid, ns, ns.inum) == own_pidns)
			return 1;
	}
	return 0;
}

/* path reads the names of a program's path, from the file up to the root of the
 * process, as d_path does (fs/d_path.c). Nothing is locked: a rename under way
 * may mix two paths. */
static __always_inline void path(struct record *r, struct task_struct *task, struct file *exe)
{
	struct dentry *dentry = BPF_CORE_READ(exe, f_path.dentry), *root = BPF_CORE_READ(task, fs, root.dentry);
	struct vfsmount *mnt = BPF_CORE_READ(exe, f_path.mnt), *top = BPF_CORE_READ(task, fs, root.mnt);
	u32 i;

	for (i = 0; i < NAMES; i++) {
		struct mount *m = (void *)mnt - bpf_core_field_offset(struct mount, mnt);
		struct dentry *parent;

		if (dentry == root && mnt == top)
			goto whole;
		parent = BPF_CORE_READ(dentry, d_parent);
		if (dentry == BPF_CORE_READ(mnt, mnt_root) || dentry == parent) {
			struct mount *above = BPF_CORE_READ(m, mnt_parent);

			if (above == m)
				goto whole;
			dentry = BPF_CORE_READ(m, mnt_mountpoint);
			mnt = (void *)above + bpf_core_field_offset(struct mount, mnt);
			r->path[i][0] = 0;
			continue;
		}
		bpf_probe_read_kernel_str(r->path[i], NAME, BPF_CORE_READ(dentry, d_name.name));
		dentry = parent;
	}
	return;
whole:
	r->whole = i + 1;
}

/* identify fills in the part of the record that is of the process. */
static __always_inline void identify(struct record *r)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	struct inode *inode = BPF_CORE_READ(exe, f_inode);
	const struct cred *cred = BPF_CORE_READ(task, real_cred);

	r->start = BPF_CORE_READ(leader, start_boottime);
	numbers(r, BPF_CORE_READ(leader, thread_pid));
	r->parent = BPF_CORE_READ(leader, real_parent, tgid);
	r->uid = BPF_CORE_READ(cred, euid.val);
	r->userns = BPF_CORE_READ(cred, user_ns, ns.inum);
	bpf_core_read(&r->effective, sizeof(r->effective), &cred->cap_effective);
	bpf_core_read(&r->comm, sizeof(r->comm), &leader->comm);
	r->cgroup = bpf_get_current_cgroup_id();
	if (!exe)
		return; /* a thread of the kernel */
	r->exe = BPF_CORE_READ(inode, i_ino);
	r->exe_device = BPF_CORE_READ(inode, i_sb, s_dev);
	r->links = BPF_CORE_READ(inode, i_nlink);
	path(r, task, exe);
}

/* reserve returns a record to be filled in, zeroed but for its path; 0 where
 * there is no room, which is counted. Each branch counts for itself: made one, as
 * the compiler would, the verifiers up to Linux 6.1 lose sight of the record. */
static __always_inline struct record *reserve(u8 kind)
{
	u32 zero = 0;
	struct counts *c = bpf_map_lookup_elem(&counted, &zero);
	struct record *r;

	if (!c)
		return 0;
	r = bpf_ringbuf_reserve(&records, sizeof(*r), 0);
	if (!r) {
		__sync_fetch_and_add(&c->lost, 1);
		return 0;
	}
	asm volatile("" ::: "memory");
	__sync_fetch_and_add(&c->told, 1);
	__builtin_memset(r, 0, __builtin_offsetof(struct record, path));
	r->kind = kind;
	r->time = bpf_ktime_get_boot_ns();
	return r;
}

static __always_inline void describe(struct record *r, const struct sock *sk)
{
	struct socket *socket = BPF_CORE_READ(sk, sk_socket);
	struct net *net = BPF_CORE_READ(sk, __sk_common.skc_net.net);

	r->socket = (u64)sk; /* a cookie is given when somebody asks for it, and the inode may be gone at the end */
	r->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	if (socket)
		r->inode = BPF_CORE_READ((struct socket_alloc *)socket, vfs_inode.i_ino);
	r->netns = BPF_CORE_READ(net, ns.inum);
	if (bpf_core_field_exists(net->net_cookie))
		r->netns_cookie = BPF_CORE_READ(net, net_cookie);
	r->device = BPF_CORE_READ(sk, __sk_common.skc_bound_dev_if);
	r->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	r->protocol = IPPROTO_TCP;
	/* A port that the kernel chose is given back before the state changes
	 * (tcp_set_state in net/ipv4/tcp.c), but for the copy in network order. */
	r->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (!r->port)
		r->port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	if (r->family == AF_INET6) {
		r->v6only = 1 + BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only);
		bpf_core_read(&r->address, 16, &sk->__sk_common.skc_v6_rcv_saddr);
	} else {
		bpf_core_read(&r->address, 4, &sk->__sk_common.skc_rcv_saddr);
	}
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state, const struct sock *sk, int before, int now)
{
	struct record *r;

	/* A listener passes its state on to each connection that it accepts: only
	 * one that goes from LISTEN to CLOSE has ceased to listen. */
	if (now != TCP_LISTEN && !(before == TCP_LISTEN && now == TCP_CLOSE))
		return 0;
	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	/* Another one's socket ends in the reader's hands where the reader was just
	 * looking at it: an iterator over files holds each for a moment. */
	if (now == TCP_LISTEN && is_ignored())
		return 0;
	r = reserve(now == TCP_LISTEN ? OPENED : CLOSED);
	if (!r)
		return 0;
	describe(r, sk);
	identify(r);
	bpf_ringbuf_submit(r, 0);
	return 0;
}

/* sock_context is struct bpf_sock of include/uapi/linux/bpf.h, which programs of
 * a control group are called with. */
struct sock_context {
	u32 bound_dev_if;
	u32 family;
	u32 type;
	u32 protocol;
	u32 mark;
	u32 priority;
	u32 src_ip4;
	u32 src_ip6[4];
	u32 src_port;
};

static __always_inline int datagram(struct sock_context *ctx)
{
	return ctx->type == SOCK_DGRAM && (ctx->protocol == IPPROTO_UDP || ctx->protocol == IPPROTO_UDPLITE);
}

/* describe_context is describe, of what a program of a control group may see:
 * no more than its context. The socket's namespace is taken for the process's
 * if both have one cookie. */
static __always_inline void describe_context(struct record *r, struct sock_context *ctx, u64 cookie)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net *net = BPF_CORE_READ(task, nsproxy, net_ns);

	r->socket = cookie;
	r->cookie = cookie;
	r->netns_cookie = bpf_get_netns_cookie(ctx);
	if (!bpf_core_field_exists(net->net_cookie) || BPF_CORE_READ(net, net_cookie) == r->netns_cookie)
		r->netns = BPF_CORE_READ(net, ns.inum);
	r->family = ctx->family;
	r->protocol = ctx->protocol;
}

static __always_inline int bind(struct sock_context *ctx, int six)
{
	struct endpoint at = {};
	struct record *r;
	u64 cookie;

	if (!datagram(ctx) || is_ignored())
		return 1;
	cookie = bpf_get_socket_cookie(ctx);
	at.port = ctx->src_port;
	if (six) {
		*(u32 *)&at.address[0] = ctx->src_ip6[0];
		*(u32 *)&at.address[4] = ctx->src_ip6[1];
		*(u32 *)&at.address[8] = ctx->src_ip6[2];
		*(u32 *)&at.address[12] = ctx->src_ip6[3];
	} else {
		*(u32 *)&at.address[0] = ctx->src_ip4;
	}
	bpf_map_update_elem(&bound, &cookie, &at, 0);
	r = reserve(OPENED);
	if (!r)
		return 1;
	describe_context(r, ctx, cookie);
	__builtin_memcpy(r->address, at.address, sizeof(at.address));
	r->port = at.port;
	identify(r);
	bpf_ringbuf_submit(r, 0);
	return 1;
}

SEC("cgroup/post_bind4")
int bind4(struct sock_context *ctx)
{
	return bind(ctx, 0);
}

SEC("cgroup/post_bind6")
int bind6(struct sock_context *ctx)
{
	return bind(ctx, 1);
}

SEC("cgroup/sock_release")
int release(struct sock_context *ctx)
{
	struct endpoint *at;
	struct record *r;
	u64 cookie;

	if (!datagram(ctx))
		return 1;
	cookie = bpf_get_socket_cookie(ctx);
	at = bpf_map_lookup_elem(&bound, &cookie);
	if (!at)
		return 1;
	r = reserve(CLOSED);
	if (r) {
		describe_context(r, ctx, cookie);
		__builtin_memcpy(r->address, at->address, sizeof(at->address));
		r->port = at->port;
	}
	bpf_map_delete_elem(&bound, &cookie);
	if (!r)
		return 1;
	identify(r);
	bpf_ringbuf_submit(r, 0);
	return 1;
}
