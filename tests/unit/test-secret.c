// SPDX-License-Identifier: GPL-2.0-or-later
/* Linked with --wrap=munmap --wrap=mlock: memory is looked at just before it is given back. */
#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/secret.h"

static struct {
	uint8_t *watched;
	size_t len;
	bool given_back, was_zero;
	int mlock_error;
} state;

static bool all_zero(const uint8_t *data, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (data[i])
			return false;
	return true;
}

int __real_munmap(void *addr, size_t len);
int __wrap_munmap(void *addr, size_t len);
int __wrap_munmap(void *addr, size_t len)
{
	uint8_t *start = addr;

	if (state.watched && state.watched >= start && state.watched < start + len) {
		state.given_back = true;
		state.was_zero = all_zero(state.watched, state.len) &&
				 state.watched + state.len <= start + len;
	}
	return __real_munmap(addr, len);
}

int __wrap_mlock(const void *addr, size_t len);
int __wrap_mlock(const void *addr, size_t len)
{
	/* Not the real function: AddressSanitizer puts one that does nothing in its place. */
	if (!state.mlock_error)
		return (int)syscall(SYS_mlock, addr, len);
	errno = state.mlock_error;
	return -1;
}

static struct secret *make(size_t cap)
{
	struct secret *secret = NULL;

	g_assert_cmpint(secret_new(&secret, cap), ==, 0);
	g_assert_nonnull(secret);
	g_assert_cmpuint(secret->cap, >=, cap);
	g_assert_cmpuint(secret->len, ==, 0);
	g_assert_true(all_zero(secret->data, secret->cap));
	return secret;
}

static void test_new(void)
{
	static const size_t sizes[] = { 0, 1, 32, 4095, 4096, 4097, 100000 };
	struct secret *secret;
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(sizes); i++) {
		secret = make(sizes[i]);
		memset(secret->data, 0xa5, secret->cap);
		secret_free(secret);
	}
	secret_free(NULL);
	secret = NULL;
	g_assert_cmpint(secret_new(&secret, SIZE_MAX), ==, -ENOMEM);
	g_assert_cmpint(secret_new(&secret, SIZE_MAX / 2), ==, -ENOMEM);
	g_assert_null(secret);
}

static void test_wiped(void)
{
	struct secret *secret = make(5000);

	state.watched = secret->data;
	state.len = secret->cap;
	state.given_back = state.was_zero = false;
	memset(secret->data, 0xa5, secret->cap);
	secret->len = 1;	/* all of it is wiped, not what is in use */
	secret_free(secret);
	state.watched = NULL;
	g_assert_true(state.given_back);
	g_assert_true(state.was_zero);
}

/* The lines of /proc/self/smaps on the mapping that holds @addr. */
static char *smaps_of(const void *addr)
{
	GString *text = g_string_new(NULL);
	uintptr_t at = (uintptr_t)addr;
	unsigned long start, end;
	bool inside = false;
	char line[512];
	FILE *f;

	f = fopen("/proc/self/smaps", "re");
	g_assert_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && strchr(line, '-') < line + 17)
			inside = at >= start && at < end;
		if (inside)
			g_string_append(text, line);
	}
	fclose(f);
	return g_string_free(text, FALSE);
}

static void test_flags(void)
{
	struct secret *secret = make(8192);
	g_autofree char *smaps = NULL;
	const char *locked, *flags;

	memset(secret->data, 0xa5, secret->cap);
	smaps = smaps_of(secret->data);
	locked = strstr(smaps, "Locked:");
	flags = strstr(smaps, "VmFlags:");
	if (!locked || !flags) {
		g_test_skip("/proc/self/smaps of this kernel has no Locked: and VmFlags:");
		secret_free(secret);
		return;
	}
	g_assert_cmpint(atoi(locked + strlen("Locked:")), ==, 8);
	g_assert_nonnull(strstr(flags, " lo"));		/* locked */
	g_assert_nonnull(strstr(flags, " dd"));		/* not dumped */
	g_assert_nonnull(strstr(flags, " wf"));		/* wiped in a child */
	secret_free(secret);
}

static int run_child(void (*fn)(struct secret *), struct secret *secret)
{
	pid_t pid = fork();
	int status;

	g_assert_no_errno(pid);
	if (pid == 0) {
		const struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGSEGV, SIG_DFL);
		fn(secret);
		_exit(0);
	}
	g_assert_no_errno(waitpid(pid, &status, 0));
	return status;
}

static void child_sees_zeros(struct secret *secret)
{
	_exit(all_zero(secret->data, secret->cap) ? 0 : 1);
}

static void test_fork(void)
{
	struct secret *secret = make(5000);
	int status;

	memset(secret->data, 0xa5, secret->cap);
	status = run_child(child_sees_zeros, secret);
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, 0);
	g_assert_cmpint(secret->data[0], ==, 0xa5);
	secret_free(secret);
}

static void child_overruns(struct secret *secret)
{
	((volatile uint8_t *)secret->data)[secret->cap] = 1;
}

static void child_underruns(struct secret *secret)
{
	*((volatile uint8_t *)secret->data - 1) = 1;
}

static void test_guards(void)
{
	struct secret *secret = make(100);
	int status;

	status = run_child(child_overruns, secret);
	g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	status = run_child(child_underruns, secret);
	g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	secret_free(secret);
}

static void test_not_lockable(void)
{
	static const struct {
		int error, want;
	} cases[] = { { ENOMEM, -EAGAIN }, { EAGAIN, -EAGAIN }, { EPERM, -EPERM } };
	struct secret *secret = NULL;
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		state.mlock_error = cases[i].error;
		g_assert_cmpint(secret_new(&secret, 100), ==, cases[i].want);
		g_assert_null(secret);
	}
	state.mlock_error = 0;
}

static void child_limited(struct secret *unused)
{
	const struct rlimit some = { 65536, 65536 }, none = { 0, 0 };
	struct secret *secret = NULL;

	if (setrlimit(RLIMIT_MEMLOCK, &some) < 0 || (geteuid() == 0 && setuid(65534) < 0))
		_exit(2);
	if (secret_new(&secret, 1 << 20) != -EAGAIN)
		_exit(3);
	if (setrlimit(RLIMIT_MEMLOCK, &none) < 0)
		_exit(2);
	if (secret_new(&secret, 1) != -EPERM)
		_exit(4);
}

static void test_limit(void)
{
	int status = run_child(child_limited, NULL);

	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

#ifndef __SANITIZE_ADDRESS__
#define PATTERN 0x5c

/* A library with a secret in its frame: as deep as it is promised to be reached, but for our own frames. */
__attribute__((noinline)) static void leave_pattern(void)
{
	volatile uint8_t frame[SECRET_STACK_DEPTH - 4096];
	size_t i;

	for (i = 0; i < sizeof(frame); i++)
		frame[i] = PATTERN;
}

/*
 * Dead frames are nobody's object, and to read them is undefined: so the pointer
 * comes from the frame's address, through an asm() that hides from where, and
 * the bytes are volatile. No call may come between what is looked at and the
 * look, for it would have its own frame there.
 */
#define COUNT_PATTERN(ret_n) do {						\
	uintptr_t top_ = (uintptr_t)__builtin_frame_address(0), at_;		\
	__asm__ volatile("" : "+r" (top_) : : "memory");			\
	(ret_n) = 0;								\
	for (at_ = top_ - SECRET_STACK_DEPTH; at_ < top_; at_++)		\
		(ret_n) += *(const volatile uint8_t *)at_ == PATTERN;		\
} while (0)
#endif

static void test_burn_stack(void)
{
#ifdef __SANITIZE_ADDRESS__
	g_test_skip("the address sanitizer has frames of its own making");
#else
	size_t before, after;

	leave_pattern();
	COUNT_PATTERN(before);
	leave_pattern();
	secret_burn_stack();
	COUNT_PATTERN(after);
	g_assert_cmpuint(before, >=, SECRET_STACK_DEPTH - 4096);
	/* Single bytes of addresses may look like it. */
	g_assert_cmpuint(after, <, 4);
#endif
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/secret/new", test_new);
	g_test_add_func("/secret/wiped", test_wiped);
	g_test_add_func("/secret/flags", test_flags);
	g_test_add_func("/secret/fork", test_fork);
	g_test_add_func("/secret/guards", test_guards);
	g_test_add_func("/secret/not-lockable", test_not_lockable);
	g_test_add_func("/secret/limit", test_limit);
	g_test_add_func("/secret/burn-stack", test_burn_stack);
	return g_test_run();
}
