/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For -Dsandbox=trap, a build for tests: who asked for a call that is not listed should say so. */
#ifndef TLSHD_COMMON_SANDBOX_TRAP_H
#define TLSHD_COMMON_SANDBOX_TRAP_H

/*
 * From now on a SIGSYS by the filter sends one WIRE_LOG with the call's name,
 * arguments and place to CHILD_FD_MONITOR, and then ends the process by SIGSYS as
 * without it. Returns 0 or a negative errno.
 */
int sandbox_trap(void);

#endif
