// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A message is one line whatever its arguments held: it is made fit for a log
 * here, once, so that no caller has to remember to and no sink has to. errno
 * is left as it was, so that logging can stand between a failure and its use.
 */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "common/log.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#include "common/cleanup.h"
#include "common/text.h"

#define JOURNAL_FIELDS_MAX 24	/* more are dropped; ours are about a dozen */

void log_sink_stderr(void *ctx, int priority, const char *text,
		     const struct log_field *fields, size_t n_fields)
{
	struct iovec iov[] = {
		{ .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) },
		{ .iov_base = (void *)(uintptr_t)"\n", .iov_len = 1 },
	};
	int saved = errno;
	ssize_t n;

	/* A short write tears one line; trying again could tear everyone's. */
	do {
		n = writev(STDERR_FILENO, iov, ARRAY_SIZE(iov));
	} while (n < 0 && errno == EINTR);
	errno = saved;
}

static bool add_field(struct iovec *iov, const char *name, const char *value)
{
	char *field;
	int len;

	len = asprintf(&field, "%s=%s", name, value);
	if (len < 0)
		return false;
	iov->iov_base = field;
	iov->iov_len = (size_t)len;
	return true;
}

void log_sink_journal(void *ctx, int priority, const char *text,
		      const struct log_field *fields, size_t n_fields)
{
	struct iovec iov[4 + JOURNAL_FIELDS_MAX];
	int saved = errno, n = 0, r = -ENOMEM;
	char number[12];
	size_t i;

	snprintf(number, sizeof(number), "%d", priority);
	if (!add_field(&iov[n], "MESSAGE", text))
		goto out;
	n++;
	n += add_field(&iov[n], "PRIORITY", number);
	n += add_field(&iov[n], "SYSLOG_IDENTIFIER", "tlshd");
	n += add_field(&iov[n], "SYSLOG_FACILITY", "3");	/* daemon, RFC 5424 6.2.1 */
	for (i = 0; i < n_fields && i < JOURNAL_FIELDS_MAX; i++)
		if (fields[i].value)
			n += add_field(&iov[n], fields[i].name, fields[i].value);
	r = sd_journal_sendv(iov, n);
out:
	while (n > 0)
		free(iov[--n].iov_base);
	if (r < 0)
		log_sink_stderr(ctx, priority, text, fields, n_fields);
	errno = saved;
}

static void emit(const struct log *log, int priority, const struct log_field *fields,
		 size_t n_fields, const char *fmt, va_list ap)
	__attribute__((format(printf, 5, 0)));
static void emit(const struct log *log, int priority, const struct log_field *fields,
		 size_t n_fields, const char *fmt, va_list ap)
{
	/* A little more than fits, so that a cut is seen and marked as one. */
	char raw[LOG_TEXT_MAX + 8], text[LOG_TEXT_MAX];
	int saved = errno;

	if (!log || !log->sink || priority > log->level)
		return;
	if (vsnprintf(raw, sizeof(raw), fmt, ap) < 0)
		text_copy(raw, sizeof(raw), fmt);
	text_line(text, sizeof(text), raw, strlen(raw));
	log->sink(log->ctx, priority, text, fields, n_fields);
	errno = saved;
}

void log_msgv(const struct log *log, int priority, const char *fmt, va_list ap)
{
	emit(log, priority, NULL, 0, fmt, ap);
}

void log_msg(const struct log *log, int priority, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(log, priority, NULL, 0, fmt, ap);
	va_end(ap);
}

void log_fields(const struct log *log, int priority, const struct log_field *fields,
		size_t n_fields, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(log, priority, fields, n_fields, fmt, ap);
	va_end(ap);
}
