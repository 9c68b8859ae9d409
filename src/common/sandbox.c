// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Three fences, one behind the other: Landlock, which knows what a path and an
 * address is, where the kernel has it; limits, which every kernel has; the filter,
 * which knows numbers only but stops most calls at the kernel's door. The filter
 * comes last, for it forbids setting up the other two.
 */
#include "common/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "build-config.h"
#include "common/cleanup.h"

/* include/uapi/linux/landlock.h; the build host's may be older than the kernel it runs on. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444	/* the same on all architectures */
#define SYS_landlock_restrict_self 446
#endif
#define CREATE_RULESET_VERSION (1u << 0)

struct landlock_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;	/* ABI 4 */
	uint64_t scoped;		/* ABI 6 */
};

#define FS_ABI_1 ((UINT64_C(1) << 13) - 1)	/* execute, read, write, make and remove of all kinds */
#define FS_REFER (UINT64_C(1) << 13)		/* ABI 2 */
#define FS_TRUNCATE (UINT64_C(1) << 14)		/* ABI 3 */
#define FS_IOCTL_DEV (UINT64_C(1) << 15)	/* ABI 5 */
#define NET_TCP 3u				/* ABI 4: bind and connect */
#define SCOPES 3u				/* ABI 6: abstract sockets and signals */

/*
 * A worker has a socket for each handshake, and briefly a file of certificates.
 * All handshakes of the daemon (16384 at most) may be with one worker. What comes when the
 * table is full would be lost, so there is room. A keeper has none but the latter.
 */
#define WORKER_FDS (16384 + 64)
#define KEEPER_FDS 64

/*
 * All of it is locked, so without a limit a worker could take the host's memory. This is
 * beyond what was loaded, which may be large lists of revoked certificates. A handshake
 * takes some 20 KiB, and one of a hostile peer some 100 KiB more; a key of a request 10.
 */
#define WORKER_MEMORY ((rlim_t)1 << 30)		/* bytes */
#define KEEPER_MEMORY ((rlim_t)256 << 20)

/* Where the limit is lower than @value already, it stays. */
static int lower(__rlimit_resource_t resource, rlim_t value)
{
	struct rlimit l;

	if (getrlimit(resource, &l) < 0)
		return -1;
	if (l.rlim_max > value)
		l.rlim_max = value;
	if (l.rlim_cur > l.rlim_max)
		l.rlim_cur = l.rlim_max;
	return setrlimit(resource, &l);
}

/* In bytes. */
struct in_use {
	rlim_t all;	/* as RLIMIT_AS counts */
	rlim_t data;	/* as RLIMIT_DATA does: writable and our own */
};

static int memory_in_use(struct in_use *ret)
{
	CLEANUP_FD int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	const rlim_t page = (rlim_t)sysconf(_SC_PAGESIZE);
	unsigned long long all, data;
	char text[128];
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	if (sscanf(text, "%llu %*u %*u %*u %*u %llu", &all, &data) != 2)
		return -EBADMSG;
	*ret = (struct in_use){ all * page, data * page };
	return 0;
}

static int limit(enum sandbox_role role, const struct in_use *used)
{
	rlim_t memory = role == SANDBOX_WORKER ? WORKER_MEMORY : KEEPER_MEMORY;
	int r = lower(RLIMIT_MSGQUEUE, 0);

	if (!r)
		r = lower(RLIMIT_NICE, 0);
	if (!r)
		r = lower(RLIMIT_RTPRIO, 0);
	if (!r)
		r = lower(RLIMIT_CORE, 0);
	/* A module may have threads and files of its own. */
	if (r || role == SANDBOX_KEEPER_TOKEN)
		return r < 0 ? -errno : 0;
	r = lower(RLIMIT_NPROC, 0);
	if (!r)
		r = lower(RLIMIT_DATA, used->data + memory);
	/* The tables for what is only read, and a stack that grows, are memory, too. */
	if (!r)
		r = lower(RLIMIT_AS, used->all + memory);
	if (!r)
		r = lower(RLIMIT_FSIZE, 0);
	if (!r)
		r = lower(RLIMIT_NOFILE, role == SANDBOX_WORKER ? WORKER_FDS : KEEPER_FDS);
	return r < 0 ? -errno : 0;
}

/* Handled and never allowed by a rule is forbidden. Returns the ABI, 0 for none, or a negative errno. */
static int forbid_paths_and_addresses(void)
{
	struct landlock_attr attr = { .handled_access_fs = FS_ABI_1 };
	size_t size = offsetof(struct landlock_attr, handled_access_net);
	CLEANUP_FD int ruleset = -1;
	int abi;

	abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
	if (abi < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	if (abi >= 2)
		attr.handled_access_fs |= FS_REFER;
	if (abi >= 3)
		attr.handled_access_fs |= FS_TRUNCATE;
	if (abi >= 4) {
		attr.handled_access_net = NET_TCP;
		size = offsetof(struct landlock_attr, scoped);
	}
	if (abi >= 5)
		attr.handled_access_fs |= FS_IOCTL_DEV;
	if (abi >= 6) {
		attr.scoped = SCOPES;
		size = sizeof(attr);
	}
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (ruleset < 0 || syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return -errno;
	return abi;
}

int sandbox_enter(enum sandbox_role role, const char **ret_step)
{
	struct in_use used = { 0 };
	int abi = 0, r;

	if (TLSHD_SANDBOX_OFF)
		return 0;
	*ret_step = "/proc/self/statm";
	r = memory_in_use(&used);
	if (r < 0)
		return r;
	*ret_step = "Landlock";
	if (role != SANDBOX_KEEPER_TOKEN)
		abi = forbid_paths_and_addresses();
	if (abi < 0)
		return abi;
	*ret_step = "resource limits";
	r = limit(role, &used);
	if (r < 0)
		return r;
	r = sandbox_filter(role, ret_step);
	return r < 0 ? r : abi;
}
