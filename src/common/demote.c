// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/demote.h"

#include <errno.h>
#include <grp.h>
#include <keyutils.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/secret.h"

/* The bounding set first: afterwards, without CAP_SETPCAP, it cannot be changed. */
static int drop_bounding_set(void)
{
	for (int cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
			return -1;
	}
	return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capset, &head, none);
}

/*
 * Where the unit has it taken back at fork (CPUSchedulingResetOnFork=) there is nothing to do, and
 * its filter would not let us.
 */
static int normal_priority(void)
{
	struct sched_param param = { 0 };

	if (sched_getscheduler(0) != SCHED_OTHER &&
	    sched_setscheduler(0, SCHED_OTHER, &param) < 0)
		return -1;
	errno = 0;
	if (getpriority(PRIO_PROCESS, 0) < 0 && !errno)
		return setpriority(PRIO_PROCESS, 0, 0);
	return 0;
}

static int limit(__rlimit_resource_t resource, rlim_t value)
{
	struct rlimit l = { value, value };

	return setrlimit(resource, &l);
}

#define STEP(call) do {				\
	*ret_step = #call;			\
	if ((call) < 0)				\
		return -errno;			\
} while (0)

int demote(uid_t uid, gid_t gid, enum demote_flags flags, const char **ret_step)
{
	bool root = geteuid() == 0;
	int r;

	*ret_step = "the user to become";
	if (root && (uid == 0 || gid == 0 || uid == (uid_t)-1 || gid == (gid_t)-1))
		return -EINVAL;
	STEP(close_range(CHILD_FD_END, ~0U, 0));
	STEP(normal_priority());
	STEP(limit(RLIMIT_CORE, 0));
	if (flags & DEMOTE_LOCK_MEMORY)
		secret_raise_limit();
	/* What the monitor possesses must not be found by a search from here. */
	if (keyctl_join_session_keyring(NULL) < 0 && errno != ENOSYS) {
		*ret_step = "keyctl_join_session_keyring()";
		return -errno;
	}
	if (root) {
		STEP(drop_bounding_set());
		STEP(setgroups(0, NULL));
		STEP(setresgid(gid, gid, gid));
		STEP(setresuid(uid, uid, uid));
	}
	STEP(drop_capabilities());
	/* From here on the limit counts for us. */
	if (flags & DEMOTE_LOCK_MEMORY) {
		*ret_step = "mlockall() (" SECRET_LIMIT_HINT ")";
		r = secret_lock_all();
		if (r < 0)
			return r;
	}
	STEP(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	STEP(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
	/* Last, for a change of user clears it. */
	STEP(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
	return 0;
}
