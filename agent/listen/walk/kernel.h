/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The fields of the kernel's structures that the programs read, and no others;
 * some are read by those of package trace alone, and what is declared costs time
 * when a program is loaded.
 * Offsets are put in for the running kernel when the program is loaded
 * (CO-RE); the order here means nothing.
 */
#ifndef PORTAUDIT_KERNEL_H
#define PORTAUDIT_KERNEL_H

typedef unsigned char u8;
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef short s16;
typedef unsigned long long u64;
typedef long long s64;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	u32 inum;
};

struct net {
	struct ns_common ns;
	u64 net_cookie; /* Linux 5.12; an atomic64_t before, which is left out */
};

struct user_namespace {
	struct ns_common ns;
};

struct pid_namespace {
	struct ns_common ns;
};

typedef struct {
	u32 val;
} kuid_t;

typedef struct {
	u64 val; /* two halves of 32 bits before Linux 6.3 */
} kernel_cap_t;

struct cred {
	kuid_t euid;
	kernel_cap_t cap_effective;
	struct user_namespace *user_ns;
};

struct super_block {
	u32 s_dev;
};

struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
#ifdef PORTAUDIT_TRACE
	u32 i_nlink;
#endif
};

#ifdef PORTAUDIT_TRACE
struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct fs_struct {
	struct path root;
};
#endif

struct file {
	const void *f_op;
	void *private_data;
	struct inode *f_inode;
#ifdef PORTAUDIT_TRACE
	struct path f_path;
#endif
};

struct fdtable {
	u32 max_fds;
	struct file **fd;
	unsigned long *open_fds;
};

struct files_struct {
	struct fdtable *fdt;
};

struct mm_struct {
	struct file *exe_file;
};

struct upid {
	s32 nr;
	struct pid_namespace *ns;
};

struct pid {
	u32 level;
	struct upid numbers[1];
};

#ifdef PORTAUDIT_TRACE
struct nsproxy {
	struct net *net_ns;
};
#endif

struct task_struct {
	s32 tgid;
	u64 start_boottime;
	struct task_struct *group_leader;
#ifdef PORTAUDIT_TRACE
	struct task_struct *real_parent;
	struct nsproxy *nsproxy;
	struct fs_struct *fs;
	char comm[16];
#endif
	struct files_struct *files;
	struct mm_struct *mm;
	struct pid *thread_pid;
	const struct cred *real_cred;
};

typedef struct {
	struct net *net;
} possible_net_t;

typedef struct {
	s64 counter;
} atomic64_t;

#ifdef PORTAUDIT_TRACE
struct in6_addr {
	union {
		u8 u6_addr8[16];
	} in6_u;
};
#endif

struct sock_common {
	u16 skc_family;
	u8 skc_state;
	u16 skc_num;
#ifdef PORTAUDIT_TRACE
	u32 skc_rcv_saddr;
	struct in6_addr skc_v6_rcv_saddr;
	u8 skc_ipv6only : 1;
	s32 skc_bound_dev_if;
#endif
	possible_net_t skc_net;
	atomic64_t skc_cookie;
};

struct socket;

struct sock {
	struct sock_common __sk_common;
	u16 sk_type;
	u16 sk_protocol;
	struct socket *sk_socket;
	void (*sk_data_ready)(struct sock *sk);
};

#ifdef PORTAUDIT_TRACE
struct inet_sock {
	u16 inet_sport;
};
#endif

struct tcp_sock {
	u8 is_mptcp; /* Linux 5.6; a bool */
};

typedef enum {
	SS_FREE = 0,
	SS_UNCONNECTED,
	SS_CONNECTING,
	SS_CONNECTED,
	SS_DISCONNECTING,
} socket_state;

struct socket {
	socket_state state;
	s16 type;
	struct sock *sk;
	struct file *file;
};

struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};

#pragma clang attribute pop

#endif
