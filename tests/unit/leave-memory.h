/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TLSHD_TESTS_LEAVE_MEMORY_H
#define TLSHD_TESTS_LEAVE_MEMORY_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/*
 * For a child process: from now on it gets no more than @extra bytes. It leaves
 * no core. Allocators of sanitizers do not live with that.
 */
static inline void leave_memory(unsigned long extra)
{
	struct rlimit limit = { 0, RLIM_INFINITY };
	unsigned long pages = 0;

	setrlimit(RLIMIT_CORE, &limit);
	if (fscanf(fopen("/proc/self/statm", "re"), "%lu", &pages) != 1)
		_exit(3);
	limit.rlim_cur = pages * (unsigned long)sysconf(_SC_PAGESIZE);
	setrlimit(RLIMIT_AS, &limit);
	/* What is left in the heap is another's. */
	for (size_t size = 4096; size >= 16; size /= 4) {
		while (malloc(size))
			;
	}
	limit.rlim_cur += extra;
	setrlimit(RLIMIT_AS, &limit);
}

#endif
