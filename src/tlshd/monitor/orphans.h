/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes that nobody waits for. As the first process of a container the
 * monitor becomes the parent of each process there whose own parent has ended,
 * and must wait for its end, or zombies fill the container's process table
 * (pid_namespaces(7)).
 */
#ifndef TLSHD_MONITOR_ORPHANS_H
#define TLSHD_MONITOR_ORPHANS_H

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"

struct orphans;

/*
 * From now on reaps each child of this process that ends, except those for
 * which @known says true: they are left to whoever started them. SIGCHLD must
 * be blocked. Pointers are borrowed until orphans_free(). Returns 0 or a
 * negative errno.
 */
int orphans_new(struct orphans **ret, sd_event *event, bool (*known)(void *ctx, pid_t pid),
		void *ctx);
/* NULL is fine. */
void orphans_free(struct orphans *orphans);

DEFINE_CLEANUP(struct orphans, orphans_free);

#endif
