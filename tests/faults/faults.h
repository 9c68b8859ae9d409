/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What shim.c, within the processes of the daemon, and faultctl.c, which tells
 * it what to do, share: one page of a file. Processes that began before the
 * file was there are not concerned.
 */
#ifndef TLSHD_TESTS_FAULTS_H
#define TLSHD_TESTS_FAULTS_H

#include <stdatomic.h>

#define FAULTS_FILE "/run/tlshd-faults"

enum role {
	ROLE_MONITOR,
	ROLE_WORKER,
	ROLE_KEEPER,
	N_ROLES,
};

enum call {
	CALL_MALLOC,	/* and calloc, realloc, posix_memalign */
	CALL_SOCKET,	/* and socketpair, timerfd_create, memfd_create, eventfd */
	CALL_SEND,	/* sendmsg */
	CALL_RECV,	/* recv, recvmsg */
	CALL_SPAWN,	/* posix_spawn */
	CALL_OPEN,	/* open, openat */
	CALL_MMAP,	/* of the program and libraries, not libc's own */
	CALL_EPOLL,	/* epoll_ctl but DEL, and the waits */
	CALL_WRITE,	/* write, writev */
	N_CALLS,
};

struct faults {
	struct fault_plan {
		atomic_uint every;	/* each n-th call fails; 0: none */
		atomic_uint once;	/* after so many calls one fails; 0: none */
		atomic_uint error;	/* errno */
		atomic_uint calls, failed;
	} plan[N_ROLES][N_CALLS];
};

#endif
