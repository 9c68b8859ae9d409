// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What may be needed is asked for before: once it has been given back, malloc
 * has it at hand, and nobody else in this one thread takes it. It must be
 * written to, for only then the kernel has given it, too.
 */
#include "tlshd/monitor/reserve.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK (50u << 10)	/* bytes; larger ones malloc gives back to the kernel at once */
#define BLOCKS 8		/* the longest list in one line of a configuration takes 250 KiB */
#define KEPT (1 << 20)		/* bytes free at the end of the heap that malloc may keep */

bool reserve_memory(void)
{
	char *block[BLOCKS];
	unsigned int n;

#ifdef __GLIBC__
	mallopt(M_TRIM_THRESHOLD, KEPT);
#endif
	for (n = 0; n < BLOCKS; n++) {
		block[n] = malloc(BLOCK);
		if (!block[n])
			break;
		explicit_bzero(block[n], BLOCK);
	}
	for (unsigned int i = 0; i < n; i++)
		free(block[i]);
	return n == BLOCKS;
}
