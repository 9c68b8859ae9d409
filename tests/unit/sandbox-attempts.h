/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For test-sandbox: what a process in the sandbox tries. */
#ifndef TESTS_SANDBOX_ATTEMPTS_H
#define TESTS_SANDBOX_ATTEMPTS_H

#include <sys/types.h>

/* What the process has; opened before. */
struct have {
	int tcp;		/* one end of a connection, without data */
	int unix_socket;	/* not bound, not connected, datagrams */
	int epoll, timer;
	int memfd;		/* begins with "content" */
	unsigned int role;	/* which sandbox, enum sandbox_role */
	unsigned long data, all;	/* bytes that RLIMIT_DATA and RLIMIT_AS count, just before */
	pid_t other;		/* a process of the test's own that sleeps */
	char page[64];		/* at the same place in the other process */
};

struct attempt {
	const char *name;
	long (*fn)(const struct have *h);	/* -1 with errno, as system calls do */
	/*
	 * Part of the name of the call that is refused; of what is possible, the first
	 * that is refused to a keeper, NULL for none.
	 */
	const char *call;
};

/* Both end with an entry without name. */
extern const struct attempt sandbox_refused[];
extern const struct attempt sandbox_possible[];

#endif
