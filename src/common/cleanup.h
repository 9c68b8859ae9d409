/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scope-bound ownership. A variable declared with one of these releases what
 * it holds when it goes out of scope; TAKE_PTR() and TAKE_FD() pass ownership
 * on. GLib's g_autofree and g_autoptr() are used for GLib's own types.
 */
#ifndef TLSHD_COMMON_CLEANUP_H
#define TLSHD_COMMON_CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* For DEFINE_CLEANUP(struct foo, foo_free): use as CLEANUP(foo_freep). */
#define DEFINE_CLEANUP(type, free_fn)				\
	static inline void free_fn##p(type **p)			\
	{							\
		free_fn(*p);					\
	}							\
	struct cleanup_semicolon_is_wanted

/* Closes @fd unless negative; errno is preserved. Returns -1, to be assigned. */
static inline int fd_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return -1;
}

static inline void fd_closep(int *fd)
{
	fd_close(*fd);
}

static inline void freep(void *p)
{
	free(*(void **)p);
}

#define CLEANUP_FD CLEANUP(fd_closep)
#define CLEANUP_FREE CLEANUP(freep)

#define TAKE_PTR(p)					\
	({						\
		__typeof__(p) take_ = (p);		\
		(p) = NULL;				\
		take_;					\
	})

#define TAKE_FD(fd)					\
	({						\
		int take_ = (fd);			\
		(fd) = -1;				\
		take_;					\
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
