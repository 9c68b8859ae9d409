/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that holds the private keys of this host and signs with them for
 * one worker. It has no network socket and its memory is locked.
 */
#ifndef TLSHD_KEEPER_KEEPER_H
#define TLSHD_KEEPER_KEEPER_H

#include <sys/types.h>

/* Runs on CHILD_FD_MONITOR and CHILD_FD_PEER (the worker) until one of them closes. Returns the exit status. */
int keeper_main(uid_t uid, gid_t gid);

#endif
