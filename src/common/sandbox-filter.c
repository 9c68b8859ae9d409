// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The lists. What is allowed is what was seen to be used by every path of worker and
 * keeper (the tests in virtual machines run with -Dsandbox=trap, too), and what the C
 * library needs to end a process that it has found broken. They are for x86_64 and aarch64
 * of 64 bits; meson.build refuses others, where names and arguments differ.
 *
 * Arguments are compared in their lower 32 bits, for the kernel looks at no more of
 * these. A pointer cannot be looked through: therefore neither stat() by name nor
 * sendto() with an address is allowed, and sendmsg() is harmless only because there is no
 * socket here that is not connected.
 */
#include "common/sandbox.h"

#include <asm/sockios.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "build-config.h"
#include "common/cleanup.h"
#include "common/ktls.h"
#include "common/sandbox-trap.h"

#define WORKER (1u << SANDBOX_WORKER)
#define BOTH (WORKER | 1u << SANDBOX_KEEPER)

struct rule {
	unsigned int roles;
	const char *name;
	struct scmp_arg_cmp arg[2];	/* both must hold; none where op is 0 */
};

#define IS(n, value) { (n), SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)(value) }
#define ONLY(n, flags) { (n), SCMP_CMP_MASKED_EQ, (uint32_t)~(uint32_t)(flags), 0 }
#define WITHOUT(n, flags) { (n), SCMP_CMP_MASKED_EQ, (uint32_t)(flags), 0 }
#define WITH(n, flag) { (n), SCMP_CMP_MASKED_EQ, (uint32_t)(flag), (uint32_t)(flag) }
#define NONE(n) { (n), SCMP_CMP_EQ, 0 }	/* a pointer */

static const struct rule allowed[] = {
	/* the event loop */
	{ BOTH, "epoll_wait" },
	{ BOTH, "epoll_pwait" },
	{ BOTH, "epoll_pwait2" },
	{ BOTH, "epoll_ctl" },
	{ BOTH, "poll" },
	{ BOTH, "ppoll" },
	{ WORKER, "timerfd_settime" },
	{ BOTH, "read" },
	{ BOTH, "clock_gettime" },	/* where the vDSO does not do */
	{ BOTH, "gettimeofday" },
	{ BOTH, "time" },

	/* channels, and a handshake's socket */
	{ BOTH, "recvmsg", { ONLY(2, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) } },
	{ BOTH, "sendmsg", { ONLY(2, MSG_DONTWAIT | MSG_NOSIGNAL) } },
	{ WORKER, "recvfrom", { ONLY(3, MSG_DONTWAIT | MSG_PEEK), NONE(4) } },
	{ WORKER, "getpeername" },
	{ WORKER, "setsockopt", { IS(1, IPPROTO_TCP), IS(2, TCP_ULP) } },
	{ WORKER, "setsockopt", { IS(1, SOL_TLS), IS(2, TLS_TX) } },
	{ WORKER, "setsockopt", { IS(1, SOL_TLS), IS(2, TLS_RX) } },
	{ WORKER, "setsockopt", { IS(1, SOL_TLS), IS(2, TLS_TX_MAX_PAYLOAD_LEN) } },
	{ BOTH, "close" },

	/* memory; no code, and nothing shared */
	{ BOTH, "brk" },
	{ BOTH, "mmap", { ONLY(2, PROT_READ | PROT_WRITE), WITHOUT(3, MAP_SHARED | MAP_GROWSDOWN) } },
	{ BOTH, "mprotect", { ONLY(2, PROT_READ | PROT_WRITE) } },
	{ BOTH, "mremap" },
	{ BOTH, "munmap" },
	{ BOTH, "madvise" },
	{ BOTH, "mlock" },
	{ BOTH, "lseek" },	/* the size of a file of certificates */
	{ BOTH, "futex" },
	{ BOTH, "getrandom" },
	{ BOTH, "sysinfo" },	/* glibc's qsort(), once */

	/* the end: a message of the C library, abort() */
	{ BOTH, "write", { IS(0, STDERR_FILENO) } },
	{ BOTH, "writev", { IS(0, STDERR_FILENO) } },
	{ BOTH, "getpid" },
	{ BOTH, "gettid" },
	{ BOTH, "rt_sigaction" },
	{ BOTH, "rt_sigprocmask" },
	{ BOTH, "rt_sigreturn" },
	{ BOTH, "restart_syscall" },	/* by the kernel, after a SIGSTOP */
	{ BOTH, "exit" },
	{ BOTH, "exit_group" },
};

/* For SANDBOX_KEEPER_TOKEN: what no module needs for a signature, and an attacker might like. */
static const char *const forbidden[] = {
	"execve", "execveat",
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
	"add_key", "request_key", "keyctl",
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
	"io_uring_register", "personality", "modify_ldt", "vmsplice",
	"unshare", "setns", "chroot", "pivot_root", "mount", "umount2", "open_tree", "move_mount",
	"fsopen", "fsmount", "fsconfig", "fspick", "mount_setattr", "open_by_handle_at",
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load",
	"swapon", "swapoff", "reboot", "acct", "quotactl", "quotactl_fd", "syslog",
	"tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_send_signal",
};

/* The same, where an argument says so. It may have threads, and nothing more. */
static const struct {
	const char *name;
	struct scmp_arg_cmp arg;
} forbidden_with[] = {
	{ "clone", WITH(0, CLONE_NEWUSER) },
	{ "clone", WITH(0, CLONE_NEWNET) },
	{ "clone", WITH(0, CLONE_NEWNS) },
	{ "clone", WITH(0, CLONE_NEWPID) },
	{ "clone", WITH(0, CLONE_NEWIPC) },
	{ "clone", WITH(0, CLONE_NEWUTS) },
	{ "clone", WITH(0, CLONE_NEWCGROUP) },
	{ "prlimit64", { 0, SCMP_CMP_NE, 0 } },	/* another's */
	/* a signal to another when there is something to read */
	{ "fcntl", IS(1, F_SETOWN) },
	{ "fcntl", IS(1, F_SETOWN_EX) },
	{ "ioctl", IS(1, FIOSETOWN) },
	{ "ioctl", IS(1, SIOCSPGRP) },
};

static const char *const to_itself[] = { "kill", "tgkill" };

DEFINE_CLEANUP(void, seccomp_release);

/* A call this architecture does not have needs no rule. */
static int add_rule(scmp_filter_ctx ctx, uint32_t action, const char *name,
		    const struct scmp_arg_cmp *args, unsigned int n)
{
	int nr = seccomp_syscall_resolve_name(name);
	int r = nr == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(ctx, action, nr, n, args);

	return r == -EDOM ? 0 : r;
}

static int allow_listed(scmp_filter_ctx ctx, enum sandbox_role role)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(allowed) && r >= 0; i++) {
		const struct rule *rule = &allowed[i];
		unsigned int n = 0;

		while (n < ARRAY_SIZE(rule->arg) && rule->arg[n].op)
			n++;
		if (rule->roles & 1u << role)
			r = add_rule(ctx, SCMP_ACT_ALLOW, rule->name, rule->arg, n);
	}
	return r;
}

/* To itself only; it has one thread, whose number is that of the process. */
static int allow_signal(scmp_filter_ctx ctx, int signal_number)
{
	const struct scmp_arg_cmp args[] = {
		IS(0, getpid()), IS(1, getpid()), IS(2, signal_number),
	};

	return add_rule(ctx, SCMP_ACT_ALLOW, "tgkill", args, ARRAY_SIZE(args));
}

static int forbid_listed(scmp_filter_ctx ctx, uint32_t action)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(forbidden) && r >= 0; i++)
		r = add_rule(ctx, action, forbidden[i], NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(forbidden_with) && r >= 0; i++)
		r = add_rule(ctx, action, forbidden_with[i].name, &forbidden_with[i].arg, 1);
	for (size_t i = 0; i < ARRAY_SIZE(to_itself) && r >= 0; i++) {
		const struct scmp_arg_cmp other = { 0, SCMP_CMP_NE, (uint32_t)getpid() };

		r = add_rule(ctx, action, to_itself[i], &other, 1);
	}
	/* Its flags cannot be looked at. The C library makes do with clone() then. */
	return r < 0 ? r : add_rule(ctx, SCMP_ACT_ERRNO(ENOSYS), "clone3", NULL, 0);
}

int sandbox_filter(enum sandbox_role role, const char **ret_step)
{
	const uint32_t violation = TLSHD_SANDBOX_TRAP ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS;
	bool token = role == SANDBOX_KEEPER_TOKEN;
	CLEANUP(seccomp_releasep) void *ctx = NULL;
	int r;

	*ret_step = "the list of system calls";
	ctx = seccomp_init(token ? SCMP_ACT_ALLOW : violation);
	if (!ctx)
		return -ENOMEM;
	r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!r)	/* demote() has set it; if not, that is to be seen */
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
	if (!r)	/* a token's module may have threads by now */
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!r)	/* an errno of the kernel's as it is: some pass */
		r = seccomp_attr_set(ctx, SCMP_FLTATR_API_SYSRAWRC, 1);
	if (!r)	/* a binary tree */
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!r)
		r = token ? forbid_listed(ctx, violation) : allow_listed(ctx, role);
	if (!r && !token)
		r = allow_signal(ctx, SIGABRT);
	if (!r && TLSHD_SANDBOX_TRAP) {
		*ret_step = "the handler of SIGSYS";
		r = sandbox_trap();
	}
	if (r < 0)
		return r;
	*ret_step = "the system call filter (CONFIG_SECCOMP_FILTER)";
	return seccomp_load(ctx);
}
