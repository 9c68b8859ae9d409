// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What may be needed is asked for before: once it has been given back, it is at
 * hand, and nobody else in this one thread takes it. Memory must be written to,
 * for only then the kernel has given it, too.
 */
#include "tlshd/monitor/reserve.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define BLOCK (50u << 10)	/* bytes; larger ones malloc gives back to the kernel at once */
#define BLOCKS 8		/* the longest list in one line of a configuration takes 250 KiB */
#define DESCRIPTORS 3
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

bool reserve_descriptors(int any)
{
	int fd[DESCRIPTORS];
	unsigned int n = 0;

	while (n < DESCRIPTORS && (fd[n] = fcntl(any, F_DUPFD_CLOEXEC, 0)) >= 0)
		n++;
	for (unsigned int i = 0; i < n; i++)
		close(fd[i]);
	return n == DESCRIPTORS;
}

bool reserve_number(uint64_t *ret)
{
	uint64_t number = 0;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number) || !number)
		return false;
	*ret = number;
	return true;
}
