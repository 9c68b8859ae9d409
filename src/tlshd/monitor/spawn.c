// SPDX-License-Identifier: GPL-2.0-or-later
#include "tlshd/monitor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build-config.h"
#include "common/cleanup.h"
#include "common/demote.h"
#include "common/passing.h"

struct kind {
	const char *name, *user, *title, *role;
};

static const struct kind kinds[N_CHILDREN] = {
	[CHILD_WORKER] = { "worker", TLSHD_USER, "tlshd: worker", "--role=worker" },
	[CHILD_KEEPER] = { "keeper", TLSHD_KEEPER_USER, "tlshd: keeper", "--role=keeper" },
};

/*
 * What a child may know of the environment: where the system's crypto policy
 * is, and the sanitizers' settings in test builds. SSLKEYLOGFILE is not among
 * it: a variable should not make a root daemon write down session keys.
 */
static const char *const passed_on[] = {
	"GNUTLS_SYSTEM_PRIORITY_FILE", "GNUTLS_SYSTEM_PRIORITY_FAIL_ON_INVALID",
	"GNUTLS_FORCE_FIPS_MODE", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
};

/*
 * glibc overwrites each block that is freed, for GnuTLS frees some copies of
 * keys as they are. malloc's cache for each thread bypasses that, and one thread
 * does not miss it. What can stay is the end of a block whose size is 1 to 8 more
 * than a multiple of 16, just these bytes: nothing of a key of 32 or 48. (With
 * 255, freed memory is all ones, and new memory zero.)
 */
#define OVERWRITE_FREED "GLIBC_TUNABLES=glibc.malloc.perturb=255:glibc.malloc.tcache_count=0"

const char *spawn_kind_name(enum child_kind kind)
{
	return (unsigned int)kind < N_CHILDREN ? kinds[kind].name : "process";
}

int spawn_find_user(enum child_kind kind, struct spawn_user *ret, char *reason, size_t reason_size)
{
	const struct passwd *pw;
	int r;

	errno = 0;
	pw = getpwnam(kinds[kind].user);
	/* Where there is none the sources of users say so in various ways. */
	r = -errno;
	if (!pw && is_passing(r)) {
		snprintf(reason, reason_size, "cannot look for the user \"%s\": %s",
			 kinds[kind].user, strerror(-r));
		return r;
	}
	if (!pw) {
		snprintf(reason, reason_size,
			 "there is no user \"%s\" for the %ss to run as; create the daemon's users with: systemd-sysusers tlshd.conf",
			 kinds[kind].user, kinds[kind].name);
		return -ENOENT;
	}
	if (pw->pw_uid == 0) {
		snprintf(reason, reason_size, "the user \"%s\" is root: the %ss must not be",
			 kinds[kind].user, kinds[kind].name);
		return -EPERM;
	}
	ret->uid = pw->pw_uid;
	ret->gid = pw->pw_gid;
	return 0;
}

/* @envp and @buf have room for OVERWRITE_FREED and all of passed_on; @envp for a NULL, too. */
static void environment(char *envp[], char buf[][512])
{
	size_t n = 0;

	envp[n++] = strcpy(buf[0], OVERWRITE_FREED);

	for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++) {
		const char *value = getenv(passed_on[i]);

		if (value && (size_t)snprintf(buf[n], sizeof(buf[n]), "%s=%s", passed_on[i],
					      value) < sizeof(buf[n])) {
			envp[n] = buf[n];
			n++;
		}
	}
	envp[n] = NULL;
}

static int file_actions(posix_spawn_file_actions_t *fa, int monitor_fd, int peer_fd, int stderr_fd)
{
	int r = posix_spawn_file_actions_addopen(fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

	if (!r)
		r = posix_spawn_file_actions_addopen(fa, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(fa, stderr_fd, STDERR_FILENO);
	if (!r)
		r = posix_spawn_file_actions_adddup2(fa, monitor_fd, CHILD_FD_MONITOR);
	if (!r)
		r = posix_spawn_file_actions_adddup2(fa, peer_fd, CHILD_FD_PEER);
	return -r;
}

static int attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	r = posix_spawnattr_setsigmask(attr, &none);
	if (!r)
		r = posix_spawnattr_setsigdefault(attr, &all);
	if (!r)
		r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	return -r;
}

pid_t spawn_child(enum child_kind kind, const struct spawn_user *user, int monitor_fd, int peer_fd,
		  int stderr_fd)
{
	/* Out of the way of the numbers they are to get. */
	CLEANUP_FD int monitor = fcntl(monitor_fd, F_DUPFD_CLOEXEC, CHILD_FD_END);
	CLEANUP_FD int peer = fcntl(peer_fd, F_DUPFD_CLOEXEC, CHILD_FD_END);
	CLEANUP_FD int err = fcntl(stderr_fd, F_DUPFD_CLOEXEC, CHILD_FD_END);
	char uid[16], gid[16], env[1 + ARRAY_SIZE(passed_on)][512];
	char *envp[1 + ARRAY_SIZE(passed_on) + 1];
	char *const argv[] = {
		strdupa(kinds[kind].title), strdupa(kinds[kind].role), uid, gid, NULL,
	};
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	pid_t pid;
	int r;

	if (monitor < 0 || peer < 0 || err < 0)
		return -errno;
	snprintf(uid, sizeof(uid), "%u", user->uid);
	snprintf(gid, sizeof(gid), "%u", user->gid);
	environment(envp, env);
	r = -posix_spawn_file_actions_init(&fa);
	if (r < 0)
		return r;
	r = -posix_spawnattr_init(&attr);
	if (r < 0) {
		posix_spawn_file_actions_destroy(&fa);
		return r;
	}
	r = file_actions(&fa, monitor, peer, err);
	if (!r)
		r = attributes(&attr);
	if (!r)
		r = -posix_spawn(&pid, "/proc/self/exe", &fa, &attr, argv, envp);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return r < 0 ? r : pid;
}
