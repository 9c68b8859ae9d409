/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts this program again as a worker or a keeper. */
#ifndef TLSHD_MONITOR_SPAWN_H
#define TLSHD_MONITOR_SPAWN_H

#include <stddef.h>
#include <sys/types.h>

enum child_kind {
	CHILD_WORKER,
	CHILD_KEEPER,
	N_CHILDREN,
};

/* Who the children run as. */
struct spawn_user {
	uid_t uid;
	gid_t gid;
};

/*
 * Looks up the user of @kind in the user database (which is to be local: the
 * daemon runs before the network). Returns 0; -ENOENT where there is none, or
 * -EPERM where it is root; or another negative errno where that cannot be told
 * now. With a sentence that says what to do.
 */
int spawn_find_user(enum child_kind kind, struct spawn_user *ret, char *reason, size_t reason_size);

/*
 * Runs this program's own file with the role @kind, @monitor_fd and @peer_fd
 * as the descriptors CHILD_FD_MONITOR and CHILD_FD_PEER, @stderr_fd as its
 * standard error (all stay the caller's), standard input and output on
 * /dev/null, and hardly any environment but what makes glibc overwrite each
 * freed block. Returns the process id or a negative errno.
 */
pid_t spawn_child(enum child_kind kind, const struct spawn_user *user, int monitor_fd, int peer_fd,
		  int stderr_fd);

/* "worker". Never NULL. */
const char *spawn_kind_name(enum child_kind kind);

#endif
