/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a worker and a keeper do alike at their start and when they have something to say. */
#ifndef TLSHD_COMMON_CHILD_H
#define TLSHD_COMMON_CHILD_H

#include <stddef.h>

#include "common/log.h"
#include "common/sandbox.h"
#include "common/wire.h"

/* A log sink: sends the message to the monitor. @ctx: pointer to the channel's int. Waits when it is full. */
void log_sink_channel(void *ctx, int priority, const char *text,
		      const struct log_field *fields, size_t n_fields);

/* A file the monitor has sent. @fd and @data are the receiver's until child_files_free(). */
struct child_file {
	struct wire_file what;
	int fd;			/* -1: a URL */
	void *data;		/* mapped read-only; NULL when empty, a private key or a URL */
	size_t size;
};

#define CHILD_FILES_MAX 16

struct child_files {
	struct child_file file[CHILD_FILES_MAX];
	size_t n;
	struct wire_start start;
};

/*
 * Receives what the monitor sends until WIRE_START, mapping all files but
 * private keys. Returns 0 or a negative errno (-EPIPE: the monitor has gone).
 */
int child_receive_files(int channel, struct child_files *ret);
void child_files_free(struct child_files *files);

/*
 * Sends WIRE_READY where @error is 0; where it is a negative errno, WIRE_FAILED with @reason, and
 * whether is_passing(). Returns 0 or a negative errno.
 */
int child_report_start(int channel, int error, const char *reason);

/*
 * sandbox_enter(), for what has loaded everything and is about to report that. A
 * failure is reported here. Returns 0 or a negative errno.
 */
int child_confine(int channel, const struct log *log, enum sandbox_role role);

/*
 * Makes signals that are meant for the monitor but reach all (^C, pkill) no
 * concern of ours, and a broken connection an error instead of a signal. So is
 * a message to standard error for which there is no room (SIGXFSZ).
 */
void child_ignore_signals(void);

/* channel_send() that waits while the channel is full, and up to 10 s while memory is short. */
int child_send(int channel, const struct wire_message *msg);

#endif
