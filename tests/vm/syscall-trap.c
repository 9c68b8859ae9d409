// SPDX-License-Identifier: GPL-2.0-or-later
/* The tracer is a process of its own: when it ends, the kernel lets all go that it traced. */
#include "syscall-trap.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/ptrace.h>

struct trap {
	pid_t tracer;
	int fd;
};

struct order {
	size_t n;
	pid_t pids[TRAP_PIDS_MAX];
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void seize(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD) < 0 ||
	    ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0)
		die("ptrace: seize");
	if (waitpid(pid, &status, __WALL) < 0 || !WIFSTOPPED(status))
		die("ptrace: stop");
	if (ptrace(PTRACE_SYSCALL, pid, 0, 0) < 0)
		die("ptrace: go on");
}

/* Until one of them is held. */
static pid_t follow(trap_match *match)
{
	struct __ptrace_syscall_info info;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		long signo = 0;

		if (!WIFSTOPPED(status))
			continue;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) > 0 &&
			    info.op == PTRACE_SYSCALL_INFO_ENTRY &&
			    match(pid, info.entry.nr, (const uint64_t *)info.entry.args))
				return pid;
		} else if (status >> 16 == 0) {
			signo = WSTOPSIG(status);
		}
		ptrace(PTRACE_SYSCALL, pid, 0, signo);
	}
	return 0;
}

static void trace(const pid_t *pids, size_t n, trap_match *match, int fd)
{
	struct order order;
	uint64_t when;
	pid_t held;
	size_t i;

	for (i = 0; i < n; i++)
		seize(pids[i]);
	held = 0;
	if (write(fd, &held, sizeof(held)) < 0)
		_exit(1);
	held = follow(match);
	if (write(fd, &held, sizeof(held)) < 0 || read(fd, &order, sizeof(order)) <= 0)
		_exit(1);
	when = now_us();
	/* While a tracer has it the dead one cannot be seen by its parent: it is let go with that. */
	for (i = 0; i < order.n; i++)
		if (order.pids[i] != held || ptrace(PTRACE_DETACH, held, 0, SIGKILL) < 0)
			kill(order.pids[i], SIGKILL);
	_exit(write(fd, &when, sizeof(when)) < 0);
}

struct trap *trap_set(const pid_t *pids, size_t n, trap_match *match)
{
	struct trap *trap = calloc(1, sizeof(*trap));
	pid_t ready;
	int fds[2];

	if (!trap || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) < 0)
		die("socketpair");
	trap->fd = fds[0];
	trap->tracer = fork();
	if (trap->tracer < 0)
		die("fork");
	if (trap->tracer == 0) {
		close(fds[0]);
		trace(pids, n, match, fds[1]);
	}
	close(fds[1]);
	if (read(trap->fd, &ready, sizeof(ready)) != sizeof(ready)) {
		fputs("the daemon's processes cannot be traced\n", stderr);
		exit(1);
	}
	return trap;
}

pid_t trap_wait(struct trap *trap, int timeout_ms)
{
	struct pollfd p = { .fd = trap->fd, .events = POLLIN };
	pid_t held = 0;

	if (poll(&p, 1, timeout_ms) <= 0 || read(trap->fd, &held, sizeof(held)) != sizeof(held))
		return 0;
	return held;
}

uint64_t trap_kill(struct trap *trap, const pid_t *pids, size_t n)
{
	struct order order = { .n = n };
	uint64_t when = 0;
	size_t i;

	for (i = 0; i < n; i++)
		order.pids[i] = pids[i];
	if (write(trap->fd, &order, sizeof(order)) < 0 ||
	    read(trap->fd, &when, sizeof(when)) != sizeof(when))
		die("the tracer");
	waitpid(trap->tracer, NULL, 0);
	close(trap->fd);
	free(trap);
	return when;
}
