// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A message is one line whatever its arguments held: it is made fit for a log
 * here, once, so that no caller has to remember to and no sink has to. errno
 * is left as it was, so that logging can stand between a failure and its use.
 *
 * The journal is written to by its native protocol
 * (https://systemd.io/JOURNAL_NATIVE_PROTOCOL), not by sd_journal_sendv(): that
 * waits for a journald that does not read for as long as it takes, and all
 * handshakes with it; and it needs memory. Here neither is the case.
 */
#include "common/log.h"

#include <endian.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/text.h"

#define ENTRY_MAX 16384	/* bytes of a journal entry; fields beyond are left out */
#define PATIENCE_MS 20	/* for a reader that lags behind ... */
#define PATIENCE_EVERY 1000000	/* ... in so many us, for all messages together */
#define SEND_BUFFER (8 << 20)	/* bytes; as sd_journal_sendv() has it, for bursts */

static void write_stderr(const char *text, size_t len, bool *ret_written)
{
	struct iovec iov[] = {
		{ .iov_base = (void *)(uintptr_t)text, .iov_len = len },
		{ .iov_base = (void *)(uintptr_t)"\n", .iov_len = 1 },
	};
	ssize_t n;

	/* A short write tears one line; trying again could tear everyone's. */
	do {
		n = writev(STDERR_FILENO, iov, ARRAY_SIZE(iov));
	} while (n < 0 && errno == EINTR);
	*ret_written = n > 0;
}

/*
 * There is no room: may it be waited for? A reader that always makes just enough for the next
 * message would hold up each of them, and whoever writes them.
 */
static bool may_wait(uint64_t *waited)
{
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
	if (*waited && now - *waited < PATIENCE_EVERY)
		return false;
	*waited = now;
	return true;
}

/* Its flags are shared with others, so it is not made non-blocking but asked. */
static bool to_stderr(struct log_state *state, const char *text)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	bool written;

	if (poll(&p, 1, 0) <= 0 &&
	    ((state && !may_wait(&state->stderr_waited)) || poll(&p, 1, PATIENCE_MS) <= 0))
		return false;
	write_stderr(text, strlen(text), &written);
	return written;
}

typedef bool (*say_fn)(struct log_state *state, const char *text);

/* What could not be said, once something can be again. */
static void note_loss(struct log_state *state, bool said, say_fn say)
{
	char text[128];

	if (!state)
		return;
	if (!said) {
		state->lost++;
		return;
	}
	if (!state->lost)
		return;
	snprintf(text, sizeof(text), "messages that could not be written to the log: %u",
		 state->lost);
	if (say(state, text))
		state->lost = 0;
}

void log_sink_stderr(void *ctx, int priority, const char *text,
		     const struct log_field *fields, size_t n_fields)
{
	int saved = errno;

	note_loss(ctx, to_stderr(ctx, text), to_stderr);
	errno = saved;
}

struct entry {
	size_t len;
	char data[ENTRY_MAX];
};

/* "NAME=value\n", or where there is a newline in it "NAME\n", its length, and "value\n". */
static void add_field(struct entry *e, const char *name, const char *value)
{
	size_t n = strlen(name), v = strlen(value);
	uint64_t le = htole64(v);

	if (e->len + n + 1 + sizeof(le) + v + 1 > sizeof(e->data))
		return;
	memcpy(e->data + e->len, name, n);
	e->len += n;
	if (memchr(value, '\n', v)) {
		e->data[e->len++] = '\n';
		memcpy(e->data + e->len, &le, sizeof(le));
		e->len += sizeof(le);
	} else {
		e->data[e->len++] = '=';
	}
	memcpy(e->data + e->len, value, v);
	e->len += v;
	e->data[e->len++] = '\n';
}

static int journal_open(void)
{
	/* It can be waited for twice in one call: for room in ours, and in the reader's. */
	const struct timeval patience = { .tv_usec = PATIENCE_MS * 1000 / 2 };
	const int size = SEND_BUFFER;
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return TAKE_FD(fd);
}

/* Not connected: a journald that was started again has another socket behind the same name. */
static bool journal_send(struct log_state *state, const struct entry *e)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	ssize_t n;

	if (state->journal_fd < 0)
		state->journal_fd = journal_open();
	if (state->journal_fd < 0)
		return false;
	text_copy(to.sun_path, sizeof(to.sun_path), state->journal_path);
	n = sendto(state->journal_fd, e->data, e->len, MSG_NOSIGNAL | MSG_DONTWAIT,
		   (const struct sockaddr *)&to, sizeof(to));
	/* A signal ends the wait: the monitor has none that is caught. */
	if (n < 0 && errno == EAGAIN && may_wait(&state->journal_waited))
		n = sendto(state->journal_fd, e->data, e->len, MSG_NOSIGNAL,
			   (const struct sockaddr *)&to, sizeof(to));
	return n >= 0;
}

static bool to_journal(struct log_state *state, int priority, const char *text,
		       const struct log_field *fields, size_t n_fields)
{
	struct entry e = { .len = 0 };
	char number[12];

	snprintf(number, sizeof(number), "%d", priority);
	add_field(&e, "MESSAGE", text);
	add_field(&e, "PRIORITY", number);
	add_field(&e, "SYSLOG_IDENTIFIER", "tlshd");
	add_field(&e, "SYSLOG_FACILITY", "3");	/* daemon, RFC 5424 6.2.1 */
	for (size_t i = 0; i < n_fields; i++) {
		if (fields[i].value)
			add_field(&e, fields[i].name, fields[i].value);
	}
	return journal_send(state, &e);
}

static bool loss_to_journal(struct log_state *state, const char *text)
{
	return to_journal(state, LOG_WARNING, text, NULL, 0);
}

void log_sink_journal(void *ctx, int priority, const char *text,
		      const struct log_field *fields, size_t n_fields)
{
	struct log_state *state = ctx;
	int saved = errno;

	if (to_journal(state, priority, text, fields, n_fields))
		note_loss(state, true, loss_to_journal);
	else
		note_loss(state, to_stderr(state, text), to_stderr);
	errno = saved;
}

void log_state_close(struct log_state *state)
{
	state->journal_fd = fd_close(state->journal_fd);
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
