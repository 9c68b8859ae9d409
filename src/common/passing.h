/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TLSHD_COMMON_PASSING_H
#define TLSHD_COMMON_PASSING_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/*
 * Is @error, a negative errno, one of what is short or disturbed at the moment? Then the same may
 * work later, and says nothing of the files that were read meanwhile.
 */
static inline bool is_passing(int error)
{
	return error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -EAGAIN ||
	       error == -EINTR || error == -EIO;
}

/*
 * For who sets errno to 0, has a library load a file, and gets @error. Where an allocation failed
 * meanwhile, the library may have told of a fault of the file all the same: but malloc() left its
 * errno. Returns @error, or -ENOMEM with another @reason.
 */
static inline int loading_error(int error, char *reason, size_t reason_size)
{
	if (error >= 0 || is_passing(error) || errno != ENOMEM)
		return error;
	snprintf(reason, reason_size, "out of memory while the certificates and keys were loaded");
	return -ENOMEM;
}

#endif
