/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where messages go. There is no global logger: each process owns one struct
 * log and passes it down, so a worker (which may open nothing) sends its
 * messages over its channel, and the monitor writes them to the journal or to
 * standard error.
 */
#ifndef TLSHD_COMMON_LOG_H
#define TLSHD_COMMON_LOG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <syslog.h>

#define LOG_TEXT_MAX 1536	/* bytes of one message, the NUL included; longer ones are cut */

/* One extra journal field. @name is a journal field name (capitals, digits, _). */
struct log_field {
	const char *name;
	const char *value;	/* NULL: the field is left out */
};

struct log {
	int level;		/* syslog priority; messages above it are dropped */
	/*
	 * Takes one finished message: UTF-8, no newline, NUL-terminated.
	 * @fields may be NULL when @n_fields is 0.
	 */
	void (*sink)(void *ctx, int priority, const char *text,
		     const struct log_field *fields, size_t n_fields);
	void *ctx;
};

/*
 * What the two sinks below remember: their ctx. For room in the journal, and for room in standard
 * error, they wait at most 20 ms in each second; what does not fit is left out and counted.
 */
struct log_state {
	const char *journal_path;	/* of the socket; LOG_JOURNAL_PATH */
	int journal_fd;			/* -1: not opened yet */
	uint64_t journal_waited, stderr_waited;	/* since when, last; CLOCK_MONOTONIC, us; 0: never */
	unsigned int lost;		/* messages that neither took; said as soon as one does */
};

#define LOG_JOURNAL_PATH "/run/systemd/journal/socket"
#define LOG_STATE_INIT { .journal_path = LOG_JOURNAL_PATH, .journal_fd = -1 }

void log_state_close(struct log_state *state);

/*
 * "<text>\n" to standard error in one write; fields are not printed. @ctx may be NULL: nothing is
 * counted then, and each message may wait.
 */
void log_sink_stderr(void *ctx, int priority, const char *text,
		     const struct log_field *fields, size_t n_fields);

/*
 * To the journal: MESSAGE, PRIORITY, SYSLOG_IDENTIFIER=tlshd and @fields. Where
 * the journal does not take it, the text goes to standard error.
 */
void log_sink_journal(void *ctx, int priority, const char *text,
		      const struct log_field *fields, size_t n_fields);

/* @log may be NULL: the message is dropped. @priority is LOG_ERR ... LOG_DEBUG of syslog.h. */
void log_msg(const struct log *log, int priority, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void log_msgv(const struct log *log, int priority, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
/* The same with journal fields. */
void log_fields(const struct log *log, int priority, const struct log_field *fields,
		size_t n_fields, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

#define log_error(l, ...) log_msg(l, LOG_ERR, __VA_ARGS__)
#define log_warn(l, ...) log_msg(l, LOG_WARNING, __VA_ARGS__)
#define log_notice(l, ...) log_msg(l, LOG_NOTICE, __VA_ARGS__)
#define log_info(l, ...) log_msg(l, LOG_INFO, __VA_ARGS__)
#define log_debug(l, ...) log_msg(l, LOG_DEBUG, __VA_ARGS__)

#endif
