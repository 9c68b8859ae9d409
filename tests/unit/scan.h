/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks for bytes in all the memory of a process. */
#ifndef TLSHD_TESTS_SCAN_H
#define TLSHD_TESTS_SCAN_H

#include <stddef.h>
#include <sys/types.h>

/*
 * How often @needle is in the readable memory of @pid, which should stand still
 * meanwhile. Returns a negative errno when its memory may not be read (a process
 * that cannot be dumped: CAP_SYS_PTRACE). Where it is found is a test message.
 */
int scan_process(pid_t pid, const void *needle, size_t len);

#endif
