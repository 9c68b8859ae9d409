// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * spawn_child() runs its own program again, which here is this test: with
 * --role= it looks at itself and tells the test what it is and has.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <malloc.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/child.h"
#include "common/demote.h"
#include "tlshd/monitor/spawn.h"

#define PATTERN 0x5c

extern char **environ;

/* --- the child --- */

/* What a compiler knows to be never read again it would not write. */
__attribute__((noinline)) static void fill(void *p, size_t len)
{
	volatile uint8_t *bytes = p;

	while (len--)
		*bytes++ = PATTERN;
}

/*
 * How many bytes of a block of @size are still there after free(), but for the
 * first two of each stretch: malloc()'s own pointers may have such a byte. Reading
 * freed memory is undefined for the compiler, which is kept from knowing; the
 * page is there, for a neighbour is in it or it is the top of the heap.
 */
static unsigned int n_left(size_t size)
{
	void *before = malloc(size), *block = malloc(size), *after = malloc(size);
	const volatile uint8_t *look;
	unsigned int n = 0;
	uintptr_t at;

	fill(block, size);
	at = (uintptr_t)block;
	free(block);
	__asm__ volatile("" : "+r" (at) : : "memory");
	look = (const volatile uint8_t *)at;
	for (size_t i = 2; i < size; i++)
		n += look[i - 2] == PATTERN && look[i - 1] == PATTERN && look[i] == PATTERN;
	free(before);
	free(after);
	return n;
}

static void say(const char *text)
{
	struct wire_message msg = { .type = WIRE_LOG, .text.priority = LOG_INFO };

	g_strlcpy(msg.text.text, text, sizeof(msg.text.text));
	if (child_send(CHILD_FD_MONITOR, &msg) < 0)
		_exit(1);
}

static void look_around(char **argv)
{
	static const size_t sizes[] = { 16, 32, 48, 64, 256, 1024, 4096, 65536 };
	char text[512];

	for (unsigned int i = 1; argv[i]; i++) {
		g_snprintf(text, sizeof(text), "argument %s", argv[i]);
		say(text);
	}
	for (char **e = environ; *e; e++) {
		g_snprintf(text, sizeof(text), "environment %s", *e);
		say(text);
	}
	for (int sig = 1; sig < NSIG; sig++) {
		struct sigaction sa = { .sa_handler = SIG_DFL };
		sigset_t blocked;

		sigprocmask(SIG_SETMASK, NULL, &blocked);
		sigaction(sig, NULL, &sa);
		if (sa.sa_handler != SIG_IGN && sigismember(&blocked, sig) < 1)
			continue;
		g_snprintf(text, sizeof(text), "signal %d", sig);
		say(text);
	}
	for (int fd = 0; fd < 1000; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			continue;
		g_snprintf(text, sizeof(text), "descriptor %d", fd);
		say(text);
	}
#ifndef __SANITIZE_ADDRESS__
	for (unsigned int i = 0; i < G_N_ELEMENTS(sizes); i++) {
		g_snprintf(text, sizeof(text), "left of %zu: %u", sizes[i], n_left(sizes[i]));
		say(text);
	}
#else
	(void)sizes;
	(void)n_left;
#endif
	g_assert_cmpint(write(STDERR_FILENO, "last words\n", 11), ==, 11);
	_exit(42);
}

/* --- the test --- */

/* Lines of all that a child says. */
static char *run(enum child_kind kind)
{
	const struct spawn_user user = { 1234, 5678 };
	g_autoptr(GString) said = g_string_new("\n");
	struct wire_message msg;
	int monitor[2], peer[2], err[2], status;
	char words[64] = "";
	pid_t pid;

	g_assert_cmpint(channel_pair(monitor), ==, 0);
	g_assert_cmpint(channel_pair(peer), ==, 0);
	g_assert_no_errno(pipe2(err, O_CLOEXEC));
	pid = spawn_child(kind, &user, monitor[1], peer[1], err[1]);
	g_assert_cmpint(pid, >, 0);
	g_assert_cmpint(fcntl(monitor[1], F_GETFD), ==, FD_CLOEXEC);	/* still ours */
	g_assert_cmpint(fcntl(peer[1], F_GETFD), ==, FD_CLOEXEC);
	close(monitor[1]);
	close(peer[1]);
	close(err[1]);
	for (;;) {
		int fd = -1, r = channel_wait(monitor[0], 20000);

		if (!r)
			r = channel_recv(monitor[0], &msg, &fd);
		if (r == -EPIPE)
			break;
		g_assert_cmpint(r, ==, 0);
		g_assert_cmpint(msg.type, ==, WIRE_LOG);
		g_string_append_printf(said, "%s\n", msg.text.text);
	}
	close(monitor[0]);
	close(peer[0]);
	g_assert_cmpint(read(err[0], words, sizeof(words) - 1), >, 0);
	g_assert_cmpstr(words, ==, "last words\n");
	close(err[0]);
	g_assert_no_errno(waitpid(pid, &status, 0));
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, 42);
	g_test_message("%s", said->str);
	return g_string_free(g_steal_pointer(&said), FALSE);
}

static unsigned int count(const char *text, const char *what)
{
	unsigned int n = 0;

	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	return n;
}

static void test_who(void)
{
	static const char *const names[N_CHILDREN] = {
		[CHILD_WORKER] = "worker", [CHILD_KEEPER] = "keeper",
	};

	for (unsigned int kind = 0; kind < N_CHILDREN; kind++) {
		g_autofree char *said = run(kind), *role = NULL;

		g_assert_cmpstr(spawn_kind_name(kind), ==, names[kind]);
		role = g_strdup_printf("\nargument --role=%s\nargument 1234\nargument 5678\n",
				       names[kind]);
		g_assert_nonnull(strstr(said, role));
		g_assert_cmpuint(count(said, "\nargument "), ==, 3);
		g_assert_nonnull(strstr(said, "\ndescriptor 0\ndescriptor 1\ndescriptor 2\n"
					"descriptor 3\ndescriptor 4\n"));
		g_assert_cmpuint(count(said, "\ndescriptor "), ==, 5);
	}
}

/* The library's settings, and nothing that would weaken it. */
static void test_environment(void)
{
	g_autofree char *plain = NULL, *set = NULL;
	unsigned int before, n_plain;

	g_setenv("SSLKEYLOGFILE", "/tmp/keys", TRUE);
	g_setenv("LD_PRELOAD", "", TRUE);
	g_setenv("GLIBC_TUNABLES", "glibc.malloc.perturb=0", TRUE);
	g_unsetenv("GNUTLS_SYSTEM_PRIORITY_FILE");
	plain = run(CHILD_WORKER);
	n_plain = count(plain, "\nenvironment ");
	before = count(plain, "OPTIONS=");	/* a sanitizer's */
	g_assert_cmpuint(n_plain, ==, before + 1);
	g_assert_nonnull(strstr(plain, "\nenvironment GLIBC_TUNABLES=glibc.malloc.perturb=255:"
				"glibc.malloc.tcache_count=0\n"));

	g_setenv("GNUTLS_SYSTEM_PRIORITY_FILE", "/etc/policy", TRUE);
	set = run(CHILD_KEEPER);
	g_assert_cmpuint(count(set, "\nenvironment "), ==, n_plain + 1);
	g_assert_nonnull(strstr(set, "\nenvironment GNUTLS_SYSTEM_PRIORITY_FILE=/etc/policy\n"));
	g_unsetenv("GNUTLS_SYSTEM_PRIORITY_FILE");
	g_unsetenv("GLIBC_TUNABLES");
	g_unsetenv("SSLKEYLOGFILE");
	g_unsetenv("LD_PRELOAD");
}

/* What the monitor ignores or blocks, by itself or because it was started so, is its own affair. */
static void test_signals(void)
{
	static const int signals[] = { SIGPIPE, SIGXFSZ, SIGHUP, SIGTERM, SIGUSR1 };
	g_autofree char *said = NULL;
	sigset_t mask, before;

	sigemptyset(&mask);
	for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
		signal(signals[i], SIG_IGN);
		sigaddset(&mask, signals[i]);
	}
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, &before);
	said = run(CHILD_WORKER);
	sigprocmask(SIG_SETMASK, &before, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
		signal(signals[i], SIG_DFL);
	g_assert_null(strstr(said, "\nsignal "));
}

/* A variable too long for us is left out, not cut. */
static void test_long(void)
{
	g_autofree char *value = g_strnfill(5000, 'x'), *said = NULL;

	g_setenv("GNUTLS_SYSTEM_PRIORITY_FILE", value, TRUE);
	said = run(CHILD_WORKER);
	g_unsetenv("GNUTLS_SYSTEM_PRIORITY_FILE");
	g_assert_null(strstr(said, "PRIORITY_FILE"));
}

static void test_freed_memory(void)
{
#if defined(__SANITIZE_ADDRESS__) || !defined(__GLIBC__)
	g_test_skip("this is about glibc's malloc(), which is not what this build uses");
#else
	g_autofree char *said = run(CHILD_WORKER);

	/* Here, where nobody asks for it (meson did), freed blocks keep what they held. */
	mallopt(M_PERTURB, 0);
	g_assert_cmpuint(n_left(64), >, 0);
	g_assert_cmpuint(n_left(4096), >, 0);
	g_assert_cmpuint(count(said, "\nleft of "), ==, 8);
	for (const char *at = said; (at = strstr(at, "\nleft of ")); at++)
		g_assert_true(g_str_has_prefix(strchr(at, ':'), ": 0\n"));
#endif
}

/* --- the user database --- */

static struct {
	struct passwd *user;
	int error;
} database;

struct passwd *__wrap_getpwnam(const char *name);

struct passwd *__wrap_getpwnam(const char *name)
{
	if (database.error)
		errno = database.error;
	return database.user;
}

static int find_user(struct passwd *user, int error, struct spawn_user *ret, const char *part)
{
	char reason[512] = "";
	int r;

	database.user = user;
	database.error = error;
	errno = EIO;	/* of some earlier call */
	r = spawn_find_user(CHILD_KEEPER, ret, reason, sizeof(reason));
	if (part)
		g_assert_nonnull(strstr(reason, part));
	return r;
}

/* One that is not there needs an administrator, one that cannot be looked for may be found later. */
static void test_users(void)
{
	static const int none[] = { 0, ENOENT, ESRCH, EBADF, EPERM };
	static const int passing[] = { EIO, ENOMEM, EMFILE, ENFILE, EINTR, EAGAIN };
	struct passwd root = { .pw_uid = 0, .pw_gid = 0 }, user = { .pw_uid = 7, .pw_gid = 8 };
	struct spawn_user found = { 0 };
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(none); i++)
		g_assert_cmpint(find_user(NULL, none[i], &found, "systemd-sysusers"), ==, -ENOENT);
	for (i = 0; i < G_N_ELEMENTS(passing); i++)
		g_assert_cmpint(find_user(NULL, passing[i], &found, strerror(passing[i])), ==,
				-passing[i]);
	g_assert_cmpint(find_user(&root, 0, &found, "is root"), ==, -EPERM);
	g_assert_cmpuint(found.uid + found.gid, ==, 0);
	g_assert_cmpint(find_user(&user, EIO, &found, NULL), ==, 0);
	g_assert_cmpuint(found.uid, ==, 7);
	g_assert_cmpuint(found.gid, ==, 8);
}

int main(int argc, char **argv)
{
	if (argc > 1 && g_str_has_prefix(argv[1], "--role="))
		look_around(argv);
	/* Whatever the test was started with is not to be seen in its children. */
	g_assert_no_errno(close_range(3, ~0u, CLOSE_RANGE_CLOEXEC));
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/spawn/users", test_users);
	g_test_add_func("/spawn/who", test_who);
	g_test_add_func("/spawn/environment", test_environment);
	g_test_add_func("/spawn/signals", test_signals);
	g_test_add_func("/spawn/long", test_long);
	g_test_add_func("/spawn/freed-memory", test_freed_memory);
	return g_test_run();
}
