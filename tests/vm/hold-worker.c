// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Holds a worker of the daemon where it has traffic keys, or has just had them, so that others can
 * look at its memory: prints the process, and lets it go on when the standard input ends.
 */
#include <linux/tls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "syscall-trap.h"

#define WAIT_MS 30000
#define CHANNEL_MONITOR 3	/* of a worker, as it was started */
#ifndef SOL_TLS
#define SOL_TLS 282
#endif

static bool match_rx(pid_t pid, uint64_t nr, const uint64_t args[6])
{
	(void)pid;
	return nr == SYS_setsockopt && (int)args[1] == SOL_TLS && (int)args[2] == TLS_RX;
}

static bool match_report(pid_t pid, uint64_t nr, const uint64_t args[6])
{
	(void)pid;
	return nr == SYS_sendmsg && (int)args[0] == CHANNEL_MONITOR;
}

int main(int argc, char **argv)
{
	pid_t pids[TRAP_PIDS_MAX], held;
	struct trap *trap;
	size_t n = 0;
	char byte;

	for (int i = 2; i < argc && n < TRAP_PIDS_MAX; i++)
		pids[n++] = (pid_t)atoi(argv[i]);
	if (!n || (strcmp(argv[1], "half") != 0 && strcmp(argv[1], "report") != 0)) {
		fputs("usage: hold-worker half|report PID...\n"
		      "half: between TLS_TX and TLS_RX; report: before it tells the monitor\n", stderr);
		return 2;
	}
	trap = trap_set(pids, n, strcmp(argv[1], "half") ? match_report : match_rx);
	puts("waiting");
	fflush(stdout);
	held = trap_wait(trap, WAIT_MS);
	if (!held) {
		fputs("none of them came there\n", stderr);
		return 1;
	}
	printf("held=%d\n", held);
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	trap_kill(trap, NULL, 0);
	return 0;
}
