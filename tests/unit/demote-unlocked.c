// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For -Wl,--wrap=demote: where nobody may lock memory, as in some containers, it is not locked.
 * That is not what is tested by those who use this.
 */
#include <sys/resource.h>

#include "common/demote.h"

int __real_demote(uid_t uid, gid_t gid, enum demote_flags flags, const char **ret_step);
int __wrap_demote(uid_t uid, gid_t gid, enum demote_flags flags, const char **ret_step);

int __wrap_demote(uid_t uid, gid_t gid, enum demote_flags flags, const char **ret_step)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	if (setrlimit(RLIMIT_MEMLOCK, &all) < 0)
		flags &= ~(unsigned int)DEMOTE_LOCK_MEMORY;
	return __real_demote(uid, gid, flags, ret_step);
}
