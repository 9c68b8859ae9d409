// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the filter lets pass, in full: test-sandbox tries what should be refused, but only what
 * somebody thought of. Here the program that would be given to the kernel is run instead, for
 * each number and with all ways it may go for what it compares in arguments, and what comes of
 * it is compared with a list of names. Nothing is confined, so this runs in every build.
 */
#include <asm/sockios.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "build-config.h"
#include "common/sandbox.h"

#define NUMBERS 4096u	/* far more than there are */
#define X32_BIT 0x40000000u
#define N_ARGS 6u

/* What is done with a call, in a set. */
#define ALLOWED (1u << 0)
#define VIOLATION (1u << 1)
#define KILLED (1u << 2)	/* by what a wrong architecture gets; in most builds the same */
#define MISSING (1u << 3)	/* as if the kernel did not have it */

/* ---- the lists ---------------------------------------------------------------------------- */

#define WORKER (1u << SANDBOX_WORKER)
#define BOTH (WORKER | 1u << SANDBOX_KEEPER)
#define SELF UINT64_MAX	/* the number of this process */

/* Lower halves, for more is not looked at by the kernel either; of a pointer, all. */
#define EQUAL(value) { UINT32_MAX, (value) }
#define NO_BIT_BUT(flags) { (uint32_t)~(uint32_t)(flags), 0 }
#define NOT_BIT(flags) { (flags), 0 }
#define NO_POINTER { UINT64_MAX, 0 }

struct pass {
	unsigned int roles;
	const char *name;
	struct {
		uint64_t mask, value;
	} arg[N_ARGS];
};

static const struct pass passes[] = {
	{ BOTH, "brk" },
	{ BOTH, "clock_gettime" },
	{ BOTH, "close" },
	{ BOTH, "epoll_ctl" },
	{ BOTH, "epoll_pwait" },
	{ BOTH, "epoll_pwait2" },
	{ BOTH, "epoll_wait" },
	{ BOTH, "exit" },
	{ BOTH, "exit_group" },
	{ BOTH, "futex" },
	{ WORKER, "getpeername" },
	{ BOTH, "getpid" },
	{ BOTH, "getrandom" },
	{ BOTH, "gettid" },
	{ BOTH, "gettimeofday" },
	{ BOTH, "lseek" },
	{ BOTH, "madvise" },
	{ BOTH, "mlock" },
	{ BOTH, "mmap", { [2] = NO_BIT_BUT(PROT_READ | PROT_WRITE),
			[3] = NOT_BIT(MAP_SHARED | MAP_GROWSDOWN) } },
	{ BOTH, "mprotect", { [2] = NO_BIT_BUT(PROT_READ | PROT_WRITE) } },
	{ BOTH, "mremap" },
	{ BOTH, "munmap" },
	{ BOTH, "poll" },
	{ BOTH, "ppoll" },
	{ BOTH, "read" },
	{ WORKER, "recvfrom", { [3] = NO_BIT_BUT(MSG_DONTWAIT | MSG_PEEK), [4] = NO_POINTER } },
	{ BOTH, "recvmsg", { [2] = NO_BIT_BUT(MSG_DONTWAIT | MSG_CMSG_CLOEXEC) } },
	{ BOTH, "restart_syscall" },
	{ BOTH, "rt_sigaction" },
	{ BOTH, "rt_sigprocmask" },
	{ BOTH, "rt_sigreturn" },
	{ BOTH, "sendmsg", { [2] = NO_BIT_BUT(MSG_DONTWAIT | MSG_NOSIGNAL) } },
	{ WORKER, "setsockopt", { [1] = EQUAL(IPPROTO_TCP), [2] = EQUAL(TCP_ULP) } },
	{ WORKER, "setsockopt", { [1] = EQUAL(SOL_TLS), [2] = EQUAL(TLS_TX) } },
	{ WORKER, "setsockopt", { [1] = EQUAL(SOL_TLS), [2] = EQUAL(TLS_RX) } },
	/* TLS_TX_MAX_PAYLOAD_LEN of Linux 6.19 */
	{ WORKER, "setsockopt", { [1] = EQUAL(SOL_TLS), [2] = EQUAL(5) } },
	{ BOTH, "sysinfo" },
	{ BOTH, "tgkill", { EQUAL(SELF), EQUAL(SELF), EQUAL(SIGABRT) } },
	{ BOTH, "time" },
	{ WORKER, "timerfd_settime" },
	{ BOTH, "write", { EQUAL(STDERR_FILENO) } },
	{ BOTH, "writev", { EQUAL(STDERR_FILENO) } },
};

/* All that a keeper with a key behind a URL may not. */
static const char *const token_refused[] = {
	"acct", "add_key", "bpf", "chroot", "clone3", "delete_module", "execve", "execveat", "finit_module",
	"fsconfig", "fsmount", "fsopen", "fspick", "init_module", "io_uring_enter",
	"io_uring_register", "io_uring_setup", "kcmp", "kexec_file_load", "kexec_load", "keyctl",
	"modify_ldt", "mount", "mount_setattr", "move_mount", "open_by_handle_at", "open_tree",
	"perf_event_open", "personality", "pidfd_getfd", "pidfd_open", "pidfd_send_signal",
	"pivot_root", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
	"quotactl", "quotactl_fd", "reboot", "request_key", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
	"setns", "swapoff", "swapon", "syslog", "tkill", "umount2", "unshare", "userfaultfd",
	"vmsplice",
};

/* ... or with some arguments only. */
static const char *const token_some[] = {
	"clone", "fcntl", "ioctl", "kill", "prlimit64", "tgkill",
};

static const struct {
	const char *name;
	uint64_t first;
	unsigned int outcome;
	uint64_t second;
} token_cases[] = {
	{ "clone", CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, ALLOWED },
	{ "clone", CLONE_NEWUSER, VIOLATION },
	{ "clone", CLONE_NEWUSER | CLONE_NEWNET | SIGCHLD, VIOLATION },
	{ "clone", CLONE_NEWNET | SIGCHLD, VIOLATION },
	{ "clone", CLONE_NEWNS | SIGCHLD, VIOLATION },
	{ "clone", CLONE_NEWPID | SIGCHLD, VIOLATION },
	{ "clone", CLONE_NEWIPC | SIGCHLD, VIOLATION },
	{ "clone", CLONE_NEWUTS | SIGCHLD, VIOLATION },
	{ "clone", CLONE_NEWCGROUP | SIGCHLD, VIOLATION },
	{ "clone3", 0, MISSING },
	{ "kill", SELF, ALLOWED },
	{ "kill", 1, VIOLATION },
	{ "kill", 0, VIOLATION },
	{ "kill", (uint32_t)-1, VIOLATION },
	{ "tgkill", SELF, ALLOWED },
	{ "tgkill", 1, VIOLATION },
	{ "prlimit64", 0, ALLOWED },
	{ "prlimit64", 1, VIOLATION },
	{ "fcntl", 7, VIOLATION, F_SETOWN },
	{ "fcntl", 7, VIOLATION, F_SETOWN_EX },
	{ "fcntl", 7, ALLOWED, F_SETFL },
	{ "ioctl", 7, VIOLATION, FIOSETOWN },
	{ "ioctl", 7, VIOLATION, SIOCSPGRP },
	{ "ioctl", 7, ALLOWED, FIONREAD },
};

static const char *const role_names[] = { "worker", "keeper", "keeper-token" };

/* ---- the program -------------------------------------------------------------------------- */

struct program {
	struct sock_filter insn[BPF_MAXINSNS];
	unsigned int n;
};

/* Where the filter goes that is not loaded. */
static struct program *taken;

int __wrap_seccomp_load(scmp_filter_ctx ctx);

int __wrap_seccomp_load(scmp_filter_ctx ctx)
{
	int fd = memfd_create("filter", 0);
	ssize_t size;

	g_assert_no_errno(fd);
	g_assert_cmpint(seccomp_export_bpf(ctx, fd), ==, 0);
	size = pread(fd, taken->insn, sizeof(taken->insn), 0);
	g_assert_cmpint(size, >, 0);
	g_assert_cmpint(lseek(fd, 0, SEEK_END), ==, size);
	taken->n = (unsigned int)((size_t)size / sizeof(taken->insn[0]));
	close(fd);
	return 0;
}

static struct program *program_new(enum sandbox_role role)
{
	const char *step = "";

	taken = g_new0(struct program, 1);
	g_assert_cmpint(sandbox_filter(role, &step), ==, 0);
	g_assert_cmpuint(taken->n, >, 0);
	g_test_message("%s: %u instructions", role_names[role], taken->n);
	return taken;
}

static unsigned int outcome(uint32_t action)
{
	switch (action) {
	case SECCOMP_RET_ALLOW:
		return ALLOWED;
	case SECCOMP_RET_TRAP:
		g_assert_true(TLSHD_SANDBOX_TRAP);
		return VIOLATION;
	case SECCOMP_RET_KILL_PROCESS:
		return TLSHD_SANDBOX_TRAP ? KILLED : VIOLATION;
	case SECCOMP_RET_ERRNO | ENOSYS:
		return MISSING;
	default:
		g_error("the filter answers with %#x", action);
	}
}

static bool jumps(const struct sock_filter *insn, uint32_t a)
{
	switch (BPF_OP(insn->code)) {
	case BPF_JEQ:
		return a == insn->k;
	case BPF_JGT:
		return a > insn->k;
	case BPF_JGE:
		return a >= insn->k;
	case BPF_JSET:
		return a & insn->k;
	default:
		g_error("a jump of kind %#x", insn->code);
	}
}

/* One way through the program, or all. */
struct run {
	const struct program *program;
	struct seccomp_data data;
	bool any_arguments;	/* those in data do not count */
	GArray *compared;	/* uint32_t: with what arguments were; NULL for nobody asks */
};

/* @a is known when it does not come from an argument. Jumps are forward: this comes to an end. */
static unsigned int follow(const struct run *run, unsigned int pc, uint32_t a, bool known)
{
	for (;; pc++) {
		const struct sock_filter *insn = &run->program->insn[pc];

		g_assert_cmpuint(pc, <, run->program->n);
		if (!known && run->compared && BPF_CLASS(insn->code) != BPF_LD)
			g_array_append_val(run->compared, insn->k);
		switch (insn->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			g_assert_cmpuint(insn->k + sizeof(a), <=, sizeof(run->data));
			memcpy(&a, (const char *)&run->data + insn->k, sizeof(a));
			known = !run->any_arguments ||
				insn->k < offsetof(struct seccomp_data, instruction_pointer);
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= insn->k;
			break;
		case BPF_RET | BPF_K:
			return outcome(insn->k);
		case BPF_JMP | BPF_JA:
			pc += insn->k;
			break;
		default:
			g_assert_cmpint(BPF_CLASS(insn->code), ==, BPF_JMP);
			g_assert_cmpint(BPF_SRC(insn->code), ==, BPF_K);
			if (!known)
				return follow(run, pc + 1 + insn->jt, a, false) |
				       follow(run, pc + 1 + insn->jf, a, false);
			pc += jumps(insn, a) ? insn->jt : insn->jf;
		}
	}
}

/* All that may come of it, whatever the arguments are. */
static unsigned int outcomes(const struct program *program, uint32_t arch, uint32_t nr,
			     GArray *compared)
{
	struct run run = {
		.program = program, .any_arguments = true, .compared = compared,
		.data = { .nr = (int)nr, .arch = arch },
	};

	return follow(&run, 0, 0, true);
}

/* ---- which calls -------------------------------------------------------------------------- */

/* One line for a call, which both sides must have: "mmap: by its arguments". */
static char *line(const char *name, bool by_arguments)
{
	return g_strdup_printf("%s%s", name, by_arguments ? ": by its arguments" : "");
}

static char *name_of(uint32_t nr)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)nr), *ret;

	ret = name ? g_strdup(name) : g_strdup_printf("number %u", nr);
	free(name);
	return ret;
}

static bool has_arguments(const struct pass *pass)
{
	for (unsigned int i = 0; i < N_ARGS; i++)
		if (pass->arg[i].mask)
			return true;
	return false;
}

/* Newer names than the library's are no names for the filter, and older ones ARM does not have. */
static void want(GHashTable *set, const char *name, bool by_arguments)
{
	if (seccomp_syscall_resolve_name(name) >= 0)
		g_hash_table_add(set, line(name, by_arguments));
}

static GHashTable *wanted(enum sandbox_role role)
{
	GHashTable *set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	if (role == SANDBOX_KEEPER_TOKEN)
		for (unsigned int i = 0; i < G_N_ELEMENTS(token_refused); i++)
			want(set, token_refused[i], false);
	if (role == SANDBOX_KEEPER_TOKEN)
		for (unsigned int i = 0; i < G_N_ELEMENTS(token_some); i++)
			want(set, token_some[i], true);
	else
		for (unsigned int i = 0; i < G_N_ELEMENTS(passes); i++)
			if (passes[i].roles & 1u << role)
				want(set, passes[i].name, has_arguments(&passes[i]));
	return set;
}

static void test_list(const void *data)
{
	enum sandbox_role role = GPOINTER_TO_UINT(data);
	unsigned int unlisted = role == SANDBOX_KEEPER_TOKEN ? ALLOWED : VIOLATION;
	g_autoptr(GHashTable) set = wanted(role);
	g_autoptr(GString) more = g_string_new(NULL), less = g_string_new(NULL);
	g_autofree struct program *program = program_new(role);
	unsigned int n = g_hash_table_size(set);
	GHashTableIter iter;
	void *key;

	for (uint32_t nr = 0; nr < NUMBERS; nr++) {
		unsigned int all = outcomes(program, seccomp_arch_native(), nr, NULL);
		g_autofree char *name = name_of(nr);
		g_autofree char *call = line(name, all == (ALLOWED | VIOLATION));

		g_assert_false(all & KILLED);
		if (all != unlisted && !g_hash_table_remove(set, call))
			g_string_append_printf(more, "%s; ", call);
	}
	g_hash_table_iter_init(&iter, set);
	while (g_hash_table_iter_next(&iter, &key, NULL))
		g_string_append_printf(less, "%s; ", (char *)key);
	g_assert_cmpstr(more->str, ==, "");
	g_assert_cmpstr(less->str, ==, "");
	g_test_message("%s: %u %s", role_names[role], n,
		       unlisted == ALLOWED ? "forbidden" : "allowed");
}

/* ---- with which arguments ----------------------------------------------------------------- */

#define TRIES 20000u

static uint64_t value_of(uint64_t value)
{
	return value == SELF ? (uint64_t)getpid() : value;
}

static bool may_pass(enum sandbox_role role, const char *name, const uint64_t arg[N_ARGS])
{
	for (unsigned int i = 0; i < G_N_ELEMENTS(passes); i++) {
		const struct pass *p = &passes[i];
		bool fits = p->roles & 1u << role && strcmp(p->name, name) == 0;

		for (unsigned int n = 0; fits && n < N_ARGS; n++)
			fits = (arg[n] & p->arg[n].mask) == value_of(p->arg[n].value);
		if (fits)
			return true;
	}
	return false;
}

static uint64_t random_bits(void)
{
	return (uint64_t)(uint32_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
}

/* What the list has, what the program looks for, or anything; often with one bit wrong. */
static uint64_t random_argument(const struct pass *pass, unsigned int n, const GArray *compared)
{
	uint64_t value, noise = random_bits();

	switch (g_test_rand_int_range(0, 8)) {
	case 0:
		value = random_bits();
		break;
	case 1:
	case 2:
		value = g_array_index(compared, uint32_t,
				      g_test_rand_int_range(0, (int)compared->len));
		value |= noise & 0xffffffff00000000;
		break;
	default:
		value = value_of(pass->arg[n].value) | (noise & ~pass->arg[n].mask);
	}
	if (g_test_rand_int_range(0, 8) == 0)
		value ^= UINT64_C(1) << g_test_rand_int_range(0, 64);
	return value;
}

/* Returns how many were allowed. */
static unsigned int try_pass(const struct program *program, enum sandbox_role role,
			     const struct pass *pass)
{
	g_autoptr(GArray) compared = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	int nr = seccomp_syscall_resolve_name(pass->name);
	struct run run = {
		.program = program, .data = { .nr = nr, .arch = seccomp_arch_native() },
	};
	unsigned int allowed = 0;

	outcomes(program, run.data.arch, (uint32_t)nr, compared);
	g_assert_cmpuint(compared->len, >, 0);
	for (unsigned int i = 0; i < TRIES; i++) {
		uint64_t arg[N_ARGS];
		bool got;

		for (unsigned int n = 0; n < N_ARGS; n++)
			run.data.args[n] = arg[n] = random_argument(pass, n, compared);
		got = follow(&run, 0, 0, true) == ALLOWED;
		allowed += got;
		if (got != may_pass(role, pass->name, arg))
			g_error("%s(%#lx, %#lx, %#lx, %#lx, %#lx) is %s", pass->name, arg[0],
				arg[1], arg[2], arg[3], arg[4], got ? "allowed" : "refused");
	}
	return allowed;
}

static void test_arguments(const void *data)
{
	enum sandbox_role role = GPOINTER_TO_UINT(data);
	g_autofree struct program *program = program_new(role);

	for (unsigned int i = 0; i < G_N_ELEMENTS(passes); i++) {
		const struct pass *p = &passes[i];
		unsigned int allowed;

		if (!(p->roles & 1u << role) || !has_arguments(p) ||
		    seccomp_syscall_resolve_name(p->name) < 0)
			continue;
		allowed = try_pass(program, role, p);
		g_test_message("%s: %u of %u allowed", p->name, allowed, TRIES);
		/* Both were seen, often. */
		g_assert_cmpuint(allowed, >, TRIES / 50);
		g_assert_cmpuint(allowed, <, TRIES - TRIES / 50);
	}
}

static void test_token(void)
{
	g_autofree struct program *program = program_new(SANDBOX_KEEPER_TOKEN);

	for (unsigned int i = 0; i < G_N_ELEMENTS(token_cases); i++) {
		int nr = seccomp_syscall_resolve_name(token_cases[i].name);
		struct run run = {
			.program = program,
			.data = {
				.nr = nr, .arch = seccomp_arch_native(),
				.args = { value_of(token_cases[i].first),
					  token_cases[i].second },
			},
		};

		g_test_message("%s(%#llx)", token_cases[i].name, run.data.args[0]);
		g_assert_cmpuint(follow(&run, 0, 0, true), ==, token_cases[i].outcome);
	}
}

/* ---- other doors -------------------------------------------------------------------------- */

/* Other architectures, and x32, which is x86_64's but for a bit of the number. */
static void test_architectures(const void *data)
{
	static const uint32_t others[] = {
		AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, AUDIT_ARCH_ARM, AUDIT_ARCH_AARCH64, 0,
	};
	const unsigned int killed = TLSHD_SANDBOX_TRAP ? KILLED : VIOLATION;
	const uint32_t own = seccomp_arch_native();
	g_autofree struct program *program = program_new(GPOINTER_TO_UINT(data));

	for (uint32_t nr = 0; nr < NUMBERS; nr++) {
		for (unsigned int i = 0; i < G_N_ELEMENTS(others); i++)
			if (others[i] != own)
				g_assert_cmpuint(outcomes(program, others[i], nr, NULL), ==,
						 killed);
		if (own == AUDIT_ARCH_X86_64)
			g_assert_cmpuint(outcomes(program, own, X32_BIT | nr, NULL), ==, killed);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned int role = 0; role < SANDBOX_N_ROLES; role++) {
		g_autofree char *list = g_strdup_printf("/sandbox-calls/list/%s", role_names[role]);
		g_autofree char *doors = g_strdup_printf("/sandbox-calls/architectures/%s",
							 role_names[role]);

		g_test_add_data_func(list, GUINT_TO_POINTER(role), test_list);
		g_test_add_data_func(doors, GUINT_TO_POINTER(role), test_architectures);
	}
	g_test_add_data_func("/sandbox-calls/arguments/worker", GUINT_TO_POINTER(SANDBOX_WORKER),
			     test_arguments);
	g_test_add_data_func("/sandbox-calls/arguments/keeper", GUINT_TO_POINTER(SANDBOX_KEEPER),
			     test_arguments);
	g_test_add_func("/sandbox-calls/arguments/keeper-token", test_token);
	return g_test_run();
}
