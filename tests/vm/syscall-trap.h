/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Holds a process of the daemon right before one of its system calls, by ptrace(2), so that a
 * phase of a handshake is met exactly and without any code for tests in the daemon.
 */
#ifndef TLSHD_TESTS_SYSCALL_TRAP_H
#define TLSHD_TESTS_SYSCALL_TRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TRAP_PIDS_MAX 16

/* A call about to be made by @pid. Returns whether it is the one. */
typedef bool trap_match(pid_t pid, uint64_t nr, const uint64_t args[6]);

struct trap;

/* From now on the first of @pids that meets @match is held. Ends the program when it cannot. */
struct trap *trap_set(const pid_t *pids, size_t n, trap_match *match);
/* Returns the one that is held; 0 when there is none within the time. */
pid_t trap_wait(struct trap *trap, int timeout_ms);
/*
 * Kills @pids, those that are held or others, and lets all others go on. Returns the time just
 * before it, CLOCK_MONOTONIC in us.
 */
uint64_t trap_kill(struct trap *trap, const pid_t *pids, size_t n);

uint64_t now_us(void);

#endif
