// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What workers and keepers have logged: messages on their channels, and what comes on their
 * standard error, which is nothing but the last words of a library that gives up. One that has
 * fallen could write anything there, so it is a pipe and not the daemon's own: only
 * the monitor writes into the log, so much and no more.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "tlshd/monitor/pool-private.h"

#define WINDOW (60 * USEC_PER_SEC)
#define LINES 100		/* of one process in that time; the others are counted */
#define LINES_DEBUG 100000	/* ... when somebody wants to know more */
#define FLOOD 100		/* times as many are a violation */
#define READS 64		/* of standard error at a time: what its pipe holds */

/* How many messages of this minute are written. */
static unsigned int log_limit(const struct child *c)
{
	const struct wire_start *start = &c->pair->gen->start;

	return start->log_level >= LOG_DEBUG || start->tls_debug ? LINES_DEBUG : LINES;
}

static void end_window(struct child *c)
{
	if (c->n_log > log_limit(c))
		log_warn(c->pair->gen->pool->log, "%s[%d] wrote too many messages; not written: %u",
			 spawn_kind_name(c->kind), c->pid, c->n_log - log_limit(c));
	c->n_log = 0;
}

/* Once it has written enough for a minute, only the number of its messages is of interest. */
static void write_message(struct child *c, int priority, const char *text)
{
	struct pool *pool = c->pair->gen->pool;
	uint64_t now = pool_now(pool);

	if (!c->log_since || now - c->log_since >= WINDOW) {
		end_window(c);
		c->log_since = now;
	}
	/* What is above an error is not theirs to say: it goes to every terminal. */
	if (c->n_log++ < log_limit(c))
		log_msg(pool->log, MAX(priority, LOG_ERR), "%s[%d]: %s", spawn_kind_name(c->kind),
			c->pid, text);
	if (c->n_log > FLOOD * log_limit(c))
		pair_end_by(c, "floods the log");
}

void child_log(struct child *c, const struct wire_text *msg)
{
	/* All of a new generation load the same files: one tells of them. */
	if (!c->ready && c->pair->gen->state == GEN_COMING && c->pair->next)
		return;
	write_message(c, msg->priority, msg->text);
}

static void end_line(struct child *c)
{
	char quoted[4 * STDERR_LINE + 1], text[LOG_TEXT_MAX];

	snprintf(text, sizeof(text), "on standard error: \"%s\"",
		 text_quote(quoted, sizeof(quoted), c->line, c->n_line));
	c->n_line = 0;
	write_message(c, LOG_ERR, text);
}

void child_read_stderr(struct child *c)
{
	char buf[1024];
	ssize_t n = 0;

	for (unsigned int i = 0; i < READS && c->err >= 0; i++) {
		n = read(c->err, buf, sizeof(buf));
		if (n <= 0)
			break;
		for (ssize_t k = 0; k < n && c->err >= 0; k++) {
			if (buf[k] != '\n')
				c->line[c->n_line++] = buf[k];
			if (buf[k] == '\n' || c->n_line == sizeof(c->line))
				end_line(c);
		}
	}
	/* Of one that has ended, or will, the rest comes never. */
	if (c->n_line && (n == 0 || c->pair->ended || c->pair->dying))
		end_line(c);
	if (n == 0)
		c->err_io = sd_event_source_disable_unref(c->err_io);
}

static int on_stderr(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	child_read_stderr(ctx);
	return 0;
}

int child_open_stderr(struct child *c, int *ret_theirs)
{
	CLEANUP_FD int theirs = -1;
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	c->err = fds[0];
	theirs = fds[1];
	if (fcntl(c->err, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	r = sd_event_add_io(c->pair->gen->pool->event, &c->err_io, c->err, EPOLLIN, on_stderr, c);
	if (r < 0)
		return r;
	*ret_theirs = TAKE_FD(theirs);
	return 0;
}

void child_end_log(struct child *c)
{
	/* Why it could not start may be there, and the end of another has been seen first. */
	child_read_stderr(c);
	c->err_io = sd_event_source_disable_unref(c->err_io);
	c->err = fd_close(c->err);
	end_window(c);
}
