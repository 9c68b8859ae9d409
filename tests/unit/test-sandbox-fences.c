// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The two fences that stand behind the filter, which hides them. So the child does what
 * sandbox_enter() does before the filter: the program is linked with --wrap=sandbox_filter,
 * which leaves it out.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build-config.h"
#include "sandbox-child.h"

int __wrap_sandbox_filter(enum sandbox_role role, const char **ret_step);

int __wrap_sandbox_filter(enum sandbox_role role, const char **ret_step)
{
	return 0;
}

/* ---- limits ------------------------------------------------------------------------------- */

static bool writable(size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return map != MAP_FAILED && munmap(map, size) == 0;
}

static long look_at_limits(const struct have *h)
{
	struct rlimit l;
	static const int zero[] = {
		RLIMIT_CORE, RLIMIT_NPROC, RLIMIT_FSIZE, RLIMIT_MSGQUEUE, RLIMIT_NICE,
		RLIMIT_RTPRIO,
	};

	for (unsigned int i = 0; i < G_N_ELEMENTS(zero); i++)
		if (getrlimit((__rlimit_resource_t)zero[i], &l) < 0 || l.rlim_cur || l.rlim_max)
			return -1;
	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_max > 16448)
		return -1;
	/* Some is there, and not all. */
	if (getrlimit(RLIMIT_DATA, &l) < 0 || l.rlim_max > 2u << 30 || !writable(200 << 20))
		return -1;
	return writable(l.rlim_max) || errno != ENOMEM ? -1 : 0;
}

static void test_limits(void)
{
	for (unsigned int role = SANDBOX_WORKER; role <= SANDBOX_KEEPER; role++)
		g_assert_cmpint(WEXITSTATUS(run(role, look_at_limits, NULL, 0)), ==, CAME_BACK);
	/* Without a sandbox some of them are not there, or this says nothing. */
	g_assert_true(look_at_limits(NULL) < 0);
}

/* ---- Landlock ----------------------------------------------------------------------------- */

static long landlock_abi(void)
{
	return syscall(444, NULL, 0, 1);	/* landlock_create_ruleset(2) */
}

static long look_at_files(const struct have *h)
{
	if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
		return -1;
	if (open("/", O_RDONLY | O_DIRECTORY) >= 0 || errno != EACCES)
		return -1;
	return mkdir("/tmp/tlshd-test-sandbox", 0700) == 0 || errno != EACCES ? -1 : 0;
}

static long look_at_connect(const struct have *h)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(9),
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 || errno != EACCES ? -1 : 0;
}

static long look_at_signals(const struct have *h)
{
	return kill(h->other, 0) == 0 || errno != EPERM ? -1 : 0;
}

static void test_landlock(void)
{
	long abi = landlock_abi();

	if (abi <= 0) {
		g_test_skip("this kernel has no Landlock");
		return;
	}
	g_test_message("Landlock %ld", abi);
	for (unsigned int role = SANDBOX_WORKER; role <= SANDBOX_KEEPER; role++) {
		g_assert_cmpint(WEXITSTATUS(run(role, look_at_files, NULL, 0)), ==, CAME_BACK);
		if (abi >= 4)
			g_assert_cmpint(WEXITSTATUS(run(role, look_at_connect, NULL, 0)), ==,
					CAME_BACK);
		if (abi >= 6)
			g_assert_cmpint(WEXITSTATUS(run(role, look_at_signals, NULL, 0)), ==,
					CAME_BACK);
	}
}

static void test_off(void)
{
	g_test_skip("this build has no sandbox: the sanitizers need system calls of their own");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (TLSHD_SANDBOX_OFF) {
		g_test_add_func("/sandbox-fences/off", test_off);
		return g_test_run();
	}
	g_test_add_func("/sandbox-fences/limits", test_limits);
	g_test_add_func("/sandbox-fences/landlock", test_landlock);
	return g_test_run();
}
