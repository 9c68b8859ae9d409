// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the filter refuses and lets pass. How a child ended is what is looked at: with a
 * status, which says that the call came back, or by SIGSYS. What must be refused is also tried
 * without a sandbox, where it must come back: else a mistake would pass for a refusal.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "build-config.h"
#include "common/channel.h"
#include "common/demote.h"
#include "common/sandbox.h"
#include "sandbox-child.h"

static const char *const role_names[] = { "worker", "keeper", "keeper-token", "nobody" };

/* ---- the lists ---------------------------------------------------------------------------- */

struct test {
	enum sandbox_role role;
	const struct attempt *what;
};

static void test_refused(const void *data)
{
	const struct test *t = data;
	char told[LOG_TEXT_MAX];
	g_autofree char *end = status_text(run(t->role, t->what->fn, told, sizeof(told)));
	g_autofree char *wanted = g_strdup_printf("killed by signal %d", SIGSYS);

	g_assert_cmpstr(end, ==, wanted);
	if (!TLSHD_SANDBOX_TRAP) {
		g_assert_cmpstr(told, ==, "");
		return;
	}
	g_test_message("%s", told);
	g_assert_nonnull(strstr(told, "the sandbox forbids "));
	g_assert_nonnull(strstr(told, t->what->call));
}

static void test_possible(const void *data)
{
	const struct test *t = data;
	g_autofree char *end = status_text(run(t->role, t->what->fn, NULL, 0));
	g_autofree char *wanted = g_strdup_printf("status %d", CAME_BACK);

	g_assert_cmpstr(end, ==, wanted);
}

/* ---- other doors -------------------------------------------------------------------------- */
#ifdef __x86_64__
#define X32_BIT 0x40000000

static long try_x32(const struct have *h)
{
	return syscall(X32_BIT | SYS_getpid);
}

/* getpid() of i386 is 20. */
static long try_int80(const struct have *h)
{
	long r;

	__asm__ volatile("int $0x80" : "=a" (r) : "a" (20L) : "r8", "r9", "r10", "r11", "memory");
	return r;
}

/* Killed at once, in a trap build, too: nothing of ours knows that architecture. */
static void test_architectures(void)
{
	g_autofree char *x32 = status_text(run(SANDBOX_WORKER, try_x32, NULL, 0));
	g_autofree char *wanted = g_strdup_printf("killed by signal %d", SIGSYS);
	g_autofree char *i386 = NULL;
	int outside = run(NOBODY, try_int80, NULL, 0);

	g_assert_cmpstr(x32, ==, wanted);
	if (!WIFEXITED(outside)) {
		g_test_skip("this kernel has no system calls of i386; those of x32 were tried");
		return;
	}
	i386 = status_text(run(SANDBOX_WORKER, try_int80, NULL, 0));
	g_assert_cmpstr(i386, ==, wanted);
}
#else
static void test_architectures(void)
{
	g_test_skip("this processor has one set of system calls only");
}
#endif

static long do_abort(const struct have *h)
{
	signal(SIGABRT, SIG_DFL);
	abort();
}

/* A fault that the C library finds is seen as such, not as a violation. */
static void test_abort(void)
{
	for (unsigned int role = 0; role < SANDBOX_N_ROLES; role++) {
		int status = run(role, do_abort, NULL, 0);

		g_assert_true(WIFSIGNALED(status));
		g_assert_cmpint(WTERMSIG(status), ==, SIGABRT);
	}
}

/* ---- a keeper with a token ---------------------------------------------------------------- */

static long token_does(const struct have *h)
{
	int fd = open("/dev/null", O_RDWR), s = socket(AF_UNIX, SOCK_STREAM, 0);

	return fd < 0 || s < 0 || write(fd, "x", 1) != 1 || fcntl(fd, F_GETFL) < 0 ? -1 : 0;
}

static const struct attempt *find_refused(const char *name)
{
	const struct attempt *a = sandbox_refused;

	while (g_strcmp0(a->name, name) != 0) {
		g_assert_nonnull(a->name);
		a++;
	}
	return a;
}

static void test_token(void)
{
	static const char *const too_much[] = {
		"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "keyctl",
		"add_key", "unshare", "io_uring_setup", "bpf", "userfaultfd",
	};
	int status = run(SANDBOX_KEEPER_TOKEN, token_does, NULL, 0);

	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, CAME_BACK);
	for (unsigned int i = 0; i < G_N_ELEMENTS(too_much); i++) {
		struct test t = { SANDBOX_KEEPER_TOKEN, find_refused(too_much[i]) };

		test_refused(&t);
	}
}

static void *start_program(void *pipe_end)
{
	char name[] = "true", *const argv[] = { name, NULL }, *const envp[] = { NULL };
	char byte;

	if (read(*(int *)pipe_end, &byte, 1) == 1)
		execve("/bin/true", argv, envp);
	return NULL;
}

/* One that its module started while the key was loaded is confined as well. */
static void test_former_thread(void)
{
	g_autofree char *end = NULL, *wanted = g_strdup_printf("killed by signal %d", SIGSYS);
	const char *step = "";
	int status, ends[2];
	pthread_t thread;
	pid_t pid = fork();

	g_assert_cmpint(pid, >=, 0);
	if (!pid) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || pipe(ends) < 0 ||
		    pthread_create(&thread, NULL, start_program, ends) != 0 ||
		    sandbox_filter(SANDBOX_KEEPER_TOKEN, &step) < 0 || write(ends[1], "x", 1) != 1)
			_exit(SET_UP_FAILED);
		pthread_join(thread, NULL);
		_exit(CAME_BACK);
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	end = status_text(status);
	g_assert_cmpstr(end, ==, wanted);
}

/* ---- setting it up ------------------------------------------------------------------------ */

/* Filters that let everything pass, until the kernel takes none of @n instructions any more. */
static void fill_with_filters(unsigned int n)
{
	struct sock_filter *insns = g_new(struct sock_filter, n);
	struct sock_fprog program = { (unsigned short)n, insns };

	for (unsigned int i = 0; i < n; i++)
		insns[i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	while (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0)
		;
	g_free(insns);
}

/* What the kernel has no room for is told from what it cannot do. */
static void test_no_room(void)
{
	const char *step = "";
	int status;
	pid_t pid = fork();

	g_assert_cmpint(pid, >=, 0);
	if (!pid) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		for (unsigned int n = BPF_MAXINSNS; n >= 16; n /= 2)
			fill_with_filters(n);
		_exit(-sandbox_filter(SANDBOX_WORKER, &step));
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, ENOMEM);
}

/* Without no_new_privs neither may be had: that is an error, and not a sandbox with holes. */
static void test_order(void)
{
	const char *step = NULL;
	int status;
	pid_t pid;

	pid = fork();
	g_assert_no_errno(pid);
	if (pid == 0) {
		/* Root would be allowed to. */
		if (geteuid() == 0 && setresuid(12345, 12345, 12345) < 0)
			_exit(SET_UP_FAILED);
		_exit(sandbox_enter(SANDBOX_WORKER, &step) < 0 && step ? 0 : 1);
	}
	g_assert_no_errno(waitpid(pid, &status, 0));
	g_assert_cmpint(status, ==, 0);
}

/* ---- what it costs ------------------------------------------------------------------------ */

#define CALLS 200000
#define TIMES_MAX 4u	/* a list walked through from its start would show; noise should not */

static double usec_per_call(void)
{
	struct timespec a, b;
	char byte;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned int i = 0; i < CALLS; i++)
		recv(CHILD_FD_MONITOR, &byte, 1, MSG_DONTWAIT);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3) /
	       CALLS;
}

/* Its own status, and its own text: dprintf() asks for more than is allowed in there. */
static long measure(const struct have *h)
{
	double before = usec_per_call(), after;
	const char *step;
	char text[128];
	int len;

	if (sandbox_enter(SANDBOX_WORKER, &step) < 0)
		_exit(SET_UP_FAILED);
	after = usec_per_call();
	len = snprintf(text, sizeof(text),
		       "recv() without data: %.3f us, in the sandbox %.3f us: %.2f times, limit %u",
		       before, after, after / before, TIMES_MAX);
	if (write(STDERR_FILENO, text, (size_t)len) != len)
		_exit(SET_UP_FAILED);
	_exit(after < TIMES_MAX * before ? 0 : 1);
}

static void test_cost(void)
{
	g_assert_cmpint(run(NOBODY, measure, NULL, 0), ==, 0);
}

static void add(const char *kind, enum sandbox_role role, const struct attempt *what,
		GTestDataFunc fn)
{
	struct test *t = g_new(struct test, 1);
	g_autofree char *path = g_strdup_printf("/sandbox/%s/%s/%s", kind, role_names[role],
						what->name);

	*t = (struct test){ role, what };
	g_test_add_data_func_full(path, t, fn, g_free);
}

static void test_off(void)
{
	g_test_skip("this build has no sandbox: the sanitizers need system calls of their own");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (TLSHD_SANDBOX_OFF) {
		g_test_add_func("/sandbox/off", test_off);
		return g_test_run();
	}
	for (const struct attempt *a = sandbox_refused; a->name; a++) {
		add("refused", SANDBOX_WORKER, a, test_refused);
		add("refused", SANDBOX_KEEPER, a, test_refused);
		add("possible", NOBODY, a, test_possible);
	}
	for (const struct attempt *a = sandbox_possible; a->name; a++) {
		add("possible", SANDBOX_WORKER, a, test_possible);
		add("possible", NOBODY, a, test_possible);
		if (!a->call)
			add("possible", SANDBOX_KEEPER, a, test_possible);
		else
			add("refused", SANDBOX_KEEPER, a, test_refused);
	}
	g_test_add_func("/sandbox/architectures", test_architectures);
	g_test_add_func("/sandbox/abort", test_abort);
	g_test_add_func("/sandbox/token", test_token);
	g_test_add_func("/sandbox/former-thread", test_former_thread);
	g_test_add_func("/sandbox/no-room", test_no_room);
	g_test_add_func("/sandbox/order", test_order);
	g_test_add_func("/sandbox/cost", test_cost);
	return g_test_run();
}
