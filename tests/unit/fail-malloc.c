// SPDX-License-Identifier: GPL-2.0-or-later
#include "fail-malloc.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
#define REAL(name) __interceptor_##name
#else
#define REAL(name) __libc_##name
#endif

void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t n, size_t size);
void *REAL(realloc)(void *p, size_t size);
void *REAL(memalign)(size_t align, size_t size);

static struct {
	unsigned long n, calls;
	unsigned int paused;
	enum fail_malloc how;
	bool on, failed;
} state;

void fail_malloc_begin(unsigned long n, enum fail_malloc how)
{
	state.n = n;
	state.how = how;
	state.calls = 0;
	state.failed = false;
	state.on = true;
}

bool fail_malloc_end(void)
{
	state.on = false;
	return state.failed;
}

unsigned long fail_malloc_calls(void)
{
	return state.calls;
}

void fail_malloc_pause(void)
{
	state.paused++;
}

void fail_malloc_go_on(void)
{
	state.paused--;
}

static bool fails(void)
{
	if (!state.on || state.paused)
		return false;
	state.calls++;
	if (!state.n || (state.how == FAIL_ONCE ? state.calls != state.n : state.calls < state.n))
		return false;
	state.failed = true;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return fails() ? NULL : REAL(malloc)(size);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : REAL(calloc)(n, size);
}

void *realloc(void *p, size_t size)
{
	return fails() ? NULL : REAL(realloc)(p, size);
}

void *reallocarray(void *p, size_t n, size_t size)
{
	size_t all;

	if (__builtin_mul_overflow(n, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, all);
}

void *aligned_alloc(size_t align, size_t size)
{
	return fails() ? NULL : REAL(memalign)(align, size);
}

int posix_memalign(void **ret, size_t align, size_t size)
{
	void *p = aligned_alloc(align, size);

	if (!p)
		return ENOMEM;
	*ret = p;
	return 0;
}
