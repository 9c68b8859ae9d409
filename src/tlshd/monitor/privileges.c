// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A child begins as root, by exec, and gives up the rest itself (common/demote.c). With
 * no_new_privs exec gives it nothing that we do not have: so what it takes to change its user
 * stays in our permitted set. It is not in the effective one, so no call of ours has it.
 */
#include "tlshd/monitor/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(cap) (UINT64_C(1) << (cap))
#define USED (BIT(CAP_NET_ADMIN) | BIT(CAP_KILL) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_IPC_LOCK))
#define FOR_CHILDREN (BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_SETPCAP))

static int reduce_bounding_set(void)
{
	for (unsigned int cap = 0; cap < 64; cap++) {
		/* 0: is not there; negative: no such capability */
		if ((USED | FOR_CHILDREN) & BIT(cap) || prctl(PR_CAPBSET_READ, cap, 0, 0, 0) <= 0)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -1;
	}
	return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

static int reduce_sets(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &head, data) < 0)
		return -1;
	for (unsigned int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].permitted &= (uint32_t)((USED | FOR_CHILDREN) >> 32 * i);
		data[i].effective = data[i].permitted & (uint32_t)(USED >> 32 * i);
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, data);
}

static int no_core_dumps(void)
{
	struct rlimit none = { 0, 0 };

	return setrlimit(RLIMIT_CORE, &none) < 0 ? -1 : prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

#define STEP(call) do {				\
	*ret_step = #call;			\
	if ((call) < 0)				\
		return -errno;			\
} while (0)

int privileges_reduce(const char **ret_step)
{
	STEP(no_core_dumps());
	STEP(reduce_bounding_set());
	STEP(reduce_sets());
	STEP(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	return 0;
}
