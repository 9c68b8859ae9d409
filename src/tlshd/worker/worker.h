/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that talks with strangers: no privilege, no file, no other
 * process but its monitor and its keeper; many handshakes in one event loop.
 */
#ifndef TLSHD_WORKER_WORKER_H
#define TLSHD_WORKER_WORKER_H

#include <sys/types.h>

/* Runs on CHILD_FD_MONITOR and CHILD_FD_PEER (the keeper) until drained. Returns the exit status. */
int worker_main(uid_t uid, gid_t gid);

#endif
