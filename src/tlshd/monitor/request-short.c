// SPDX-License-Identifier: GPL-2.0-or-later
/* What is short is said, each kind once a minute. */
#include "common/event-loop.h"
#include "tlshd/monitor/request-private.h"

#define COMPLAIN_EVERY UINT64_C(60000000)	/* us, of each shortage */

void requests_complain(struct requests *t, enum shortage what)
{
	static const char *const text[N_SHORTAGES] = {
		[SHORT_OF_MEMORY] = "no memory is left for another handshake: requests wait in the kernel until there is",
		[SHORT_OF_DESCRIPTORS] = "no descriptor is left for another handshake: requests wait in the kernel until there is; raise LimitNOFILE=, or lower max_handshakes",
		[SHORT_OF_QUOTA] = "the kernel has no quota of keys left to let us have the keyring of a consumer, whose handshake waits or fails: raise root_maxkeys and root_maxbytes in /proc/sys/kernel/keys",
		[SHORT_OF_KERNEL_MEMORY] = "the kernel has no memory for the answers to its consumers: they are tried again every 20 ms",
	};
	uint64_t now = clock_now();

	if (t->complained[what] && now - t->complained[what] < COMPLAIN_EVERY)
		return;
	t->complained[what] = now;
	log_error(t->log, "%s", text[what]);
}
