/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a worker or keeper becomes one: the whole of its privileges on one
 * screen. What it still needs while it loads goes with sandbox_enter().
 */
#ifndef TLSHD_COMMON_DEMOTE_H
#define TLSHD_COMMON_DEMOTE_H

#include <stddef.h>
#include <sys/types.h>

/* The descriptors a child starts with, besides 0 to 2. */
enum {
	CHILD_FD_MONITOR = 3,	/* channel to the monitor */
	CHILD_FD_PEER = 4,	/* channel between a worker and its keeper */
	CHILD_FD_END,
};

enum demote_flags {
	DEMOTE_LOCK_MEMORY = 1 << 0,	/* secret_lock_all() */
};

/*
 * Gives up, for good: every descriptor from CHILD_FD_END on, supplementary
 * groups, group and user (to @uid, @gid), all capabilities and the bounding
 * set, the right to gain any by exec (no_new_privs), core dumps and being
 * traced (dumpable), the monitor's raised priority, root's keyrings (a fresh
 * session keyring), and life beyond the monitor's death. Returns 0, or a
 * negative errno with the failing step in *@ret_step (static text); then the
 * process must end. Started without root it keeps its user and does the rest
 * (for tests by developers; the daemon itself needs root for ACCEPT).
 */
int demote(uid_t uid, gid_t gid, enum demote_flags flags, const char **ret_step);

#endif
