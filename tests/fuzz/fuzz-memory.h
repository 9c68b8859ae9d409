/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection between our end and the peer, in memory, in place of a socket. */
#ifndef TLSHD_TESTS_FUZZ_MEMORY_H
#define TLSHD_TESTS_FUZZ_MEMORY_H

#include <glib.h>
#include <stdbool.h>

#define FUZZ_FD 0x3fffffff	/* no descriptor of this process */

struct memory {
	GByteArray *to_us, *from_us;
	size_t we_read, peer_read;	/* bytes of these that were taken */
	size_t chunk;		/* we get at most so many in one call, and nothing in the next; 0: all */
	bool pause;		/* ... this is the next */
	bool short_writes;	/* we can write 100 bytes, then nothing, and so on */
	bool full;
	bool closed;		/* nothing comes behind @to_us */
};

/* The only one. */
extern struct memory memory;

void memory_reset(void);

#endif
