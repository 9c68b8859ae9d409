/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory for secrets: own pages, locked (never swapped), left out of core
 * dumps, absent in a forked child, wiped before it is given back. And what to
 * do about copies that a library left on the stack.
 */
#ifndef TLSHD_COMMON_SECRET_H
#define TLSHD_COMMON_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"

struct secret {
	uint8_t *data;
	size_t len;	/* bytes in use, set by the owner */
	size_t cap;	/* bytes usable */
};

/*
 * Makes a buffer of at least @cap bytes, zeroed. Returns 0; -ENOMEM; -EPERM or
 * -EAGAIN when the memory cannot be locked (RLIMIT_MEMLOCK).
 */
int secret_new(struct secret **ret, size_t cap);

/* Wipes and releases. NULL is fine. */
void secret_free(struct secret *secret);

#define SECRET_LIMIT_HINT "raise the limit on locked memory, LimitMEMLOCK= or ulimit -l"
#define SECRET_ROOM (256u << 20)	/* bytes */

/* RLIMIT_MEMLOCK as far up as may be. It counts what is mapped, used or not. */
void secret_raise_limit(void);

/*
 * Raises the limit and locks all that is and will be mapped, each page from its
 * first use on: for processes whose libraries copy secrets where they like.
 * To be called without root's right to lock, if that is to be given up.
 * Returns 0, or a negative errno, mostly -ENOMEM: the limit is too low for what
 * is there and SECRET_ROOM more. Then the process must end: allocations would
 * fail anywhere.
 */
int secret_lock_all(void);

#define SECRET_STACK_DEPTH (64u << 10)	/* bytes; GnuTLS and what it calls was seen to use 8 KiB */

/*
 * Overwrites the unused stack below the caller, SECRET_STACK_DEPTH deep: to be
 * called after a library computed with a secret, from the function that called
 * it or one above. Registers and what the frames of the callers hold stay.
 */
void secret_burn_stack(void);

DEFINE_CLEANUP(struct secret, secret_free);

#endif
