/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tells when a file of some name may have become another one, or have another
 * content: by inotify(7) on the directories on the way to it, also through
 * symbolic links, and on the file itself. A directory that is missing, or
 * exchanged for another, is noticed like a file.
 *
 * Not noticed: what another host does on a network file system, and a file
 * system that is mounted over a name.
 */
#ifndef TLSHD_MONITOR_WATCH_H
#define TLSHD_MONITOR_WATCH_H

#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"

#define WATCH_QUIET UINT64_C(500000)	/* us without an event, then it is told */
#define WATCH_LONGEST UINT64_C(5000000)	/* us after the first event, come more or not */
#define WATCH_WRITING UINT64_C(30000000)	/* us for a file that was created to be closed */

struct watch;

/*
 * @changed is called from the event loop, never from a call into the watch:
 * WATCH_QUIET after the last of some events, or WATCH_LONGEST after the first; but
 * while a file that was created is still being written, WATCH_WRITING at most.
 * Look then at the files, between watch_begin() and watch_end(). Returns 0 or
 * -ENOMEM.
 */
int watch_new(struct watch **ret, sd_event *event, void (*changed)(void *ctx), void *ctx);
/* NULL is fine. */
void watch_free(struct watch *watch);

/*
 * What is watched is made anew: begin, name each path before its file is read
 * (so that a change after that is not missed), end. What was watched and is
 * not named again is dropped at the end. Events of before are forgotten with
 * the beginning.
 */
void watch_begin(struct watch *watch);

/* @path is absolute. */
void watch_path(struct watch *watch, const char *path);

/*
 * Returns 0 or the first error of inotify since watch_begin(): -EMFILE
 * (fs.inotify.max_user_instances), -ENOSPC (max_user_watches), -ENOMEM and
 * others. Something is watched all the same, but changes may be missed.
 */
int watch_end(struct watch *watch);

DEFINE_CLEANUP(struct watch, watch_free);

#endif
