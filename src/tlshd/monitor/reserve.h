/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TLSHD_MONITOR_RESERVE_H
#define TLSHD_MONITOR_RESERVE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Sees to it that malloc has 400 KiB at hand, in pieces of up to 50 KiB, for
 * what GLib is about to do: that ends the process when it gets no memory, and
 * the monitor with it all handshakes. They are this thread's until it
 * allocates something else. Returns false when they are not to be had.
 */
bool reserve_memory(void);

/*
 * Sees to it that three descriptors are to be had: a socket, a list of keys while
 * it is read, a certificate. @fd: any open one. Returns false when they are not.
 */
bool reserve_descriptors(int fd);

/*
 * A number that nobody can guess, never 0 (getrandom(2)). Returns false when there is none yet,
 * which is at most while the host starts; it does not wait.
 */
bool reserve_number(uint64_t *ret);

#endif
