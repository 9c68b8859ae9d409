// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Each secret has pages of its own between two pages that cannot be touched:
 * an overrun ends the process instead of reaching a neighbour, and the lock
 * and the two madvise() flags, which the kernel keeps by page, cover nothing
 * else. A secret is a key or a few; the waste of pages does not matter.
 */
#include "common/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Everything is set before a byte of the owner's is in it, so failing needs no wipe. */
static int protect(uint8_t *data, size_t cap)
{
	if (mprotect(data, cap, PROT_READ | PROT_WRITE) < 0 ||
	    madvise(data, cap, MADV_DONTDUMP) < 0 ||
	    madvise(data, cap, MADV_WIPEONFORK) < 0)
		return -errno;
	/* mlock(2) says ENOMEM for the limit, too: that would read as "no memory left". */
	if (mlock(data, cap) < 0)
		return errno == ENOMEM ? -EAGAIN : -errno;
	return 0;
}

int secret_new(struct secret **ret, size_t cap)
{
	CLEANUP_FREE struct secret *secret = NULL;
	size_t page = page_size();
	uint8_t *map;
	int r;

	if (cap > SIZE_MAX / 2)
		return -ENOMEM;
	cap = cap == 0 ? page : (cap + page - 1) / page * page;
	secret = calloc(1, sizeof(*secret));
	if (!secret)
		return -ENOMEM;
	map = mmap(NULL, cap + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return -errno;
	r = protect(map + page, cap);
	if (r < 0) {
		munmap(map, cap + 2 * page);
		return r;
	}
	secret->data = map + page;
	secret->cap = cap;
	*ret = TAKE_PTR(secret);
	return 0;
}

void secret_free(struct secret *secret)
{
	size_t page = page_size();

	if (!secret)
		return;
	explicit_bzero(secret->data, secret->cap);
	munmap(secret->data - page, secret->cap + 2 * page);
	free(secret);
}

void secret_raise_limit(void)
{
	struct rlimit l = { RLIM_INFINITY, RLIM_INFINITY };

	if (setrlimit(RLIMIT_MEMLOCK, &l) == 0 || getrlimit(RLIMIT_MEMLOCK, &l) < 0)
		return;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &l);
}

int secret_lock_all(void)
{
	void *room;

	secret_raise_limit();
	/* MCL_ONFAULT: without it every library would be read and kept whole. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		return -errno;
	/* A limit that is only just enough shows later, as a trust store that seems empty. */
	room = mmap(NULL, SECRET_ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED)
		return -ENOMEM;
	munmap(room, SECRET_ROOM);
	return 0;
}

/* Not inlined: its frame must lie where those of the calls before it did. */
__attribute__((noinline)) void secret_burn_stack(void)
{
	uint8_t unused[SECRET_STACK_DEPTH];

	explicit_bzero(unused, sizeof(unused));
}
