/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a worker or keeper may still ask of the kernel once it has loaded all it
 * needs. demote() takes its privileges, this takes what every process has:
 * files, sockets, processes, memory without end (docs/ARCHITECTURE.md, "The sandbox").
 */
#ifndef TLSHD_COMMON_SANDBOX_H
#define TLSHD_COMMON_SANDBOX_H

enum sandbox_role {
	SANDBOX_WORKER,
	SANDBOX_KEEPER,
	/*
	 * A keeper with a key behind a URL: a PKCS#11 module or a TPM's library does
	 * what it likes at each signature. Few things are forbidden here, and no file.
	 */
	SANDBOX_KEEPER_TOKEN,
	SANDBOX_N_ROLES,
};

/*
 * Confines this process, for good: resource limits, Landlock where the kernel
 * has it (landlock(7)), and a filter of system calls (seccomp(2)). What the
 * filter does not list ends the process by SIGSYS; in a build with
 * -Dsandbox=trap the call's name goes to the monitor first, as a WIRE_LOG over
 * CHILD_FD_MONITOR. With -Dsandbox=off nothing is done.
 *
 * To be called after demote() (no_new_privs is needed), by a process that has
 * everything open and loaded, and one thread; only the filter holds for others,
 * too, which the module of a SANDBOX_KEEPER_TOKEN may have started. Returns the version of Landlock
 * that is in force, 0 for none, or a negative errno with the failing step in
 * *@ret_step (static text); then the process must end.
 */
int sandbox_enter(enum sandbox_role role, const char **ret_step);

/*
 * The filter alone. Returns 0 or a negative errno with *@ret_step set; -ENOSYS or
 * -EINVAL where the kernel has no seccomp filters, -ENOMEM where it has no room.
 */
int sandbox_filter(enum sandbox_role role, const char **ret_step);

#endif
