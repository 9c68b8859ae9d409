/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files named by the configuration. Symbolic links are followed (certbot's
 * are fine); what counts is the file at their end.
 */
#ifndef TLSHD_COMMON_FILE_H
#define TLSHD_COMMON_FILE_H

#include <stddef.h>

enum file_kind {
	FILE_PUBLIC,	/* refused when group- or world-writable */
	FILE_PRIVATE,	/* refused when group-writable, world-writable or world-readable */
};

#define FILE_SIZE_MAX (64u << 20)	/* bytes; larger files are refused */

/*
 * Opens @path read-only, close-on-exec, never blocking on a FIFO, and checks
 * that it is a regular file of at most FILE_SIZE_MAX bytes with the modes
 * @kind allows. Returns the descriptor, the caller's, or a negative errno with
 * a sentence for a person in @reason (@reason_size bytes), which names the
 * path, what is wrong and what to do.
 */
int file_open(const char *path, enum file_kind kind, char *reason, size_t reason_size);

/*
 * Copies what @fd holds, from its start, to a new sealed memfd (F_SEAL_WRITE,
 * GROW, SHRINK) that can be handed to another process. Not for secrets. @name
 * is seen in /proc/PID/fd only; a long one is cut. Returns the descriptor, the
 * caller's, or a negative errno (-EFBIG: over FILE_SIZE_MAX).
 */
int file_to_memfd(int fd, const char *name);

/* The same of the @len bytes at @data. */
int file_memfd_from(const void *data, size_t len, const char *name);

#endif
