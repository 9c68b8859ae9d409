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
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build-config.h"
#include "sandbox-child.h"

static const char *const role_names[] = { "worker", "keeper", "keeper-token" };

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

/* Those of this process, which a child begins with. */
static struct rlimit before[RLIM_NLIMITS];

static rlim_t highest(const struct have *h, int resource)
{
	switch (resource) {
	case RLIMIT_MSGQUEUE:
	case RLIMIT_NICE:
	case RLIMIT_RTPRIO:
	case RLIMIT_CORE:
		return 0;
	}
	/* Its module may have files, threads and memory. */
	if (h->role == SANDBOX_KEEPER_TOKEN)
		return RLIM_INFINITY;
	switch (resource) {
	case RLIMIT_NPROC:
	case RLIMIT_FSIZE:
		return 0;
	case RLIMIT_DATA:
		return h->data + (h->role == SANDBOX_WORKER ? 1024ul << 20 : 256ul << 20);
	case RLIMIT_NOFILE:
		return h->role == SANDBOX_WORKER ? 16448 : 64;
	default:
		return RLIM_INFINITY;
	}
}

/* It was measured here, and a moment later there; less than what is in use. */
#define DATA_SLACK (64ul << 10)

static bool is_limit(int resource, rlim_t value, rlim_t wanted)
{
	rlim_t slack = resource == RLIMIT_DATA && wanted != RLIM_INFINITY ? DATA_SLACK : 0;

	if (value >= wanted - MIN(slack, wanted) && value <= wanted + slack)
		return true;
	dprintf(STDERR_FILENO, "limit %d is %#lx, not %#lx", resource, value, wanted);
	errno = ERANGE;
	return false;
}

static long look_at_limits(const struct have *h)
{
	struct rlimit l;

	for (int i = 0; i < (int)RLIM_NLIMITS; i++) {
		rlim_t most = highest(h, i);

		if (getrlimit((__rlimit_resource_t)i, &l) < 0 ||
		    !is_limit(i, l.rlim_max, MIN(before[i].rlim_max, most)) ||
		    !is_limit(i, l.rlim_cur, MIN(before[i].rlim_cur, most)))
			return -1;
	}
	if (h->role == SANDBOX_KEEPER_TOKEN)
		return 0;
	getrlimit(RLIMIT_DATA, &l);
	dprintf(STDERR_FILENO, "data: %lu KiB in use and %lu more", h->data >> 10,
		(l.rlim_max - h->data) >> 10);
	/* Some is there, and not all. */
	return !writable(200 << 20) || writable(l.rlim_max) || errno != ENOMEM ? -1 : 0;
}

static void test_limits(const void *role)
{
	g_autofree char *end = NULL;

	for (int i = 0; i < (int)RLIM_NLIMITS; i++)
		g_assert_no_errno(getrlimit((__rlimit_resource_t)i, &before[i]));
	/* Else this says nothing. */
	g_assert_cmpuint(before[RLIMIT_DATA].rlim_cur, >, 2ul << 30);
	g_assert_cmpuint(before[RLIMIT_NPROC].rlim_max, >, 0);
	g_assert_cmpuint(before[RLIMIT_FSIZE].rlim_max, >, 0);
	end = status_text(run(GPOINTER_TO_UINT(role), look_at_limits, NULL, 0));
	g_assert_cmpstr(end, ==, "status " G_STRINGIFY(CAME_BACK));
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
	for (unsigned int role = 0; role < SANDBOX_N_ROLES; role++) {
		g_autofree char *path = g_strdup_printf("/sandbox-fences/limits/%s",
							role_names[role]);

		g_test_add_data_func(path, GUINT_TO_POINTER(role), test_limits);
	}
	g_test_add_func("/sandbox-fences/landlock", test_landlock);
	return g_test_run();
}
