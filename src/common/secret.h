/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory for secrets: own pages, locked (never swapped), left out of core
 * dumps, absent in a forked child, wiped before it is given back.
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

DEFINE_CLEANUP(struct secret, secret_free);

#endif
