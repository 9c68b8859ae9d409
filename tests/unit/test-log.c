// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "fail-malloc.h"

/* A journald of the test's own, which reads when it is asked to. */
struct journald {
	struct log_state state;
	struct log log;
	char *path;
	int fd;
	GPtrArray *fields;	/* of the last entry */
};

static void journald_start(struct journald *j)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	j->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	g_strlcpy(addr.sun_path, j->path, sizeof(addr.sun_path));
	g_assert_no_errno(bind(j->fd, (struct sockaddr *)&addr, sizeof(addr)));
}

static void journald_stop(struct journald *j)
{
	j->fd = fd_close(j->fd);
	g_unlink(j->path);
}

static void journald_new(struct journald *j)
{
	j->path = g_strdup_printf("%s/tlshd-journal-%d", g_get_tmp_dir(), getpid());
	j->state = (struct log_state){ .journal_path = j->path, .journal_fd = -1 };
	j->log = (struct log){ LOG_INFO, log_sink_journal, &j->state };
	j->fields = g_ptr_array_new_with_free_func(g_free);
	journald_start(j);
}

static void journald_free(struct journald *j)
{
	journald_stop(j);
	log_state_close(&j->state);
	g_ptr_array_unref(j->fields);
	g_free(j->path);
}

/* Reads one entry into j->fields, by the rules of the native protocol. Returns false: none. */
static bool journald_read(struct journald *j)
{
	static char buf[65536];
	ssize_t len = recv(j->fd, buf, sizeof(buf), 0);

	g_ptr_array_set_size(j->fields, 0);
	for (char *at = buf; at < buf + len; ) {
		char *end = memchr(at, '\n', (size_t)(buf + len - at));
		uint64_t n;

		g_assert_nonnull(end);
		*end = 0;
		if (strchr(at, '=')) {
			g_ptr_array_add(j->fields, g_strdup(at));
			at = end + 1;
			continue;
		}
		memcpy(&n, end + 1, sizeof(n));
		n = GUINT64_FROM_LE(n);
		g_assert_cmpuint(n, <, (uint64_t)(buf + len - end));
		g_ptr_array_add(j->fields, g_strdup_printf("%s=%.*s", at, (int)n, end + 9));
		at = end + 9 + n;
		g_assert_cmpint(*at++, ==, '\n');
	}
	return len >= 0;
}

static bool journal_has(const struct journald *j, const char *field)
{
	return g_ptr_array_find_with_equal_func(j->fields, field, g_str_equal, NULL);
}

/* A datagram socket in place of standard error: one write is one message. */
struct captured {
	int read_fd, saved;
};

static void capture(struct captured *c)
{
	int fds[2];

	g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds));
	c->read_fd = fds[0];
	c->saved = dup(STDERR_FILENO);
	g_assert_no_errno(dup2(fds[1], STDERR_FILENO));
	close(fds[1]);
}

static void release(struct captured *c)
{
	g_assert_no_errno(dup2(c->saved, STDERR_FILENO));
	close(c->saved);
	close(c->read_fd);
}

/* The next write to standard error; NULL when there was none. */
static char *next_write(struct captured *c)
{
	char buf[4 * LOG_TEXT_MAX];
	ssize_t n = recv(c->read_fd, buf, sizeof(buf), 0);

	return n < 0 ? NULL : g_strndup(buf, (size_t)n);
}

static void assert_write(struct captured *c, const char *want)
{
	g_autofree char *got = next_write(c);

	g_assert_cmpstr(got, ==, want);
}

static void test_stderr(void)
{
	const struct log log = { LOG_INFO, log_sink_stderr, NULL };
	const struct log_field field = { "TLSHD_PEER", "192.0.2.1:2049" };
	struct captured c;

	capture(&c);
	log_info(&log, "plain %d", 1);
	assert_write(&c, "plain 1\n");
	log_fields(&log, LOG_ERR, &field, 1, "with \"a field\"");
	assert_write(&c, "with \"a field\"\n");
	log_info(&log, "two\nlines\r\n");
	assert_write(&c, "two\\x0alines\\x0d\\x0a\n");
	log_info(&log, "bad \xff utf-8 \x1b[2J");
	assert_write(&c, "bad \\xff utf-8 \\x1b[2J\n");
	log_info(&log, "%s", "");
	assert_write(&c, "\n");
	assert_write(&c, NULL);
	release(&c);
}

static void test_cut(void)
{
	const struct log log = { LOG_INFO, log_sink_stderr, NULL };
	g_autofree char *text = g_strnfill(LOG_TEXT_MAX - 1, 'a');
	g_autofree char *longer = g_strnfill(5 * LOG_TEXT_MAX, 'b');
	struct captured c;
	char *got;

	capture(&c);
	log_info(&log, "%s", text);
	got = next_write(&c);
	g_assert_cmpuint(strlen(got), ==, LOG_TEXT_MAX);
	g_assert_true(g_str_has_prefix(got, text));
	g_free(got);

	log_info(&log, "%sc", text);
	got = next_write(&c);
	g_assert_cmpuint(strlen(got), ==, LOG_TEXT_MAX);
	g_assert_true(g_str_has_suffix(got, "aaa...\n"));
	g_free(got);

	log_info(&log, "%s", longer);
	got = next_write(&c);
	g_assert_cmpuint(strlen(got), ==, LOG_TEXT_MAX);
	g_assert_true(g_str_has_suffix(got, "bbb...\n"));
	g_free(got);
	assert_write(&c, NULL);
	release(&c);
}

static void test_level(void)
{
	struct log log = { LOG_NOTICE, log_sink_stderr, NULL };
	const struct log nowhere = { LOG_DEBUG, NULL, NULL };
	struct captured c;

	capture(&c);
	log_debug(&log, "debug");
	log_info(&log, "info");
	log_notice(&log, "notice");
	assert_write(&c, "notice\n");
	log_error(&log, "error");
	assert_write(&c, "error\n");
	log.level = LOG_DEBUG;
	log_debug(&log, "debug");
	assert_write(&c, "debug\n");
	log_error(NULL, "to nobody");
	log_error(&nowhere, "to nobody");
	assert_write(&c, NULL);
	release(&c);
}

static void clobber(void *ctx, int priority, const char *text, const struct log_field *fields,
		    size_t n_fields)
{
	*(int *)ctx = priority;
	errno = EXDEV;
}

static void test_errno(void)
{
	int priority = -1;
	const struct log log = { LOG_INFO, clobber, &priority };
	struct captured c;

	errno = ENOTTY;
	log_warn(&log, "%m");
	g_assert_cmpint(errno, ==, ENOTTY);
	g_assert_cmpint(priority, ==, LOG_WARNING);

	capture(&c);
	close(c.read_fd);	/* the write fails */
	c.read_fd = -1;
	signal(SIGPIPE, SIG_IGN);
	errno = ENOTTY;
	log_sink_stderr(NULL, LOG_INFO, "lost", NULL, 0);
	g_assert_cmpint(errno, ==, ENOTTY);
	g_assert_no_errno(dup2(c.saved, STDERR_FILENO));
	close(c.saved);
}

static void test_journal(void)
{
	struct journald j;
	const struct log_field fields[] = {
		{ "TLSHD_PEER", "[2001:db8::1]:2049" },
		{ "TLSHD_SUBJECT", NULL },
		{ "TLSHD_REASON", "" },
		{ "TLSHD_MATCHED", "a\nPRIORITY=0" },
	};

	journald_new(&j);
	fail_malloc_begin(1, FAIL_FROM);
	log_fields(&j.log, LOG_WARNING, fields, ARRAY_SIZE(fields), "one %s", "line\n");
	fail_malloc_end();
	g_assert_true(journald_read(&j));
	g_assert_true(journal_has(&j, "MESSAGE=one line\\x0a"));
	g_assert_true(journal_has(&j, "PRIORITY=4"));
	g_assert_true(journal_has(&j, "SYSLOG_IDENTIFIER=tlshd"));
	g_assert_true(journal_has(&j, "SYSLOG_FACILITY=3"));
	g_assert_true(journal_has(&j, "TLSHD_PEER=[2001:db8::1]:2049"));
	g_assert_true(journal_has(&j, "TLSHD_REASON="));
	g_assert_true(journal_has(&j, "TLSHD_MATCHED=a\nPRIORITY=0"));
	g_assert_cmpuint(j.fields->len, ==, 7);
	journald_free(&j);
}

static void test_journal_many_fields(void)
{
	g_autofree char *value = g_strnfill(1000, 'x');
	struct log_field fields[100];
	struct journald j;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		fields[i] = (struct log_field){ "TLSHD_PEER", value };
	journald_new(&j);
	log_fields(&j.log, LOG_INFO, fields, ARRAY_SIZE(fields), "text");
	g_assert_true(journald_read(&j));
	g_assert_true(journal_has(&j, "MESSAGE=text"));
	g_assert_cmpuint(j.fields->len, >, 15);
	g_assert_cmpuint(j.fields->len, <, ARRAY_SIZE(fields));
	journald_free(&j);
}

static void test_journal_fallback(void)
{
	struct captured c;
	struct journald j;

	journald_new(&j);
	capture(&c);
	journald_stop(&j);
	log_info(&j.log, "not lost");
	assert_write(&c, "not lost\n");
	journald_start(&j);
	log_info(&j.log, "there");
	g_assert_true(journald_read(&j));
	g_assert_true(journal_has(&j, "MESSAGE=there"));
	g_assert_false(journald_read(&j));
	assert_write(&c, NULL);
	release(&c);
	journald_free(&j);
}

/* A journald that does not read, and standard error that nobody reads, hold nothing up. */
static void test_journal_stalled(void)
{
	unsigned int n = 0, n_stderr = 0;
	g_autofree char *note = NULL;
	gint64 start = g_get_monotonic_time();
	struct captured c;
	struct journald j;
	char *got;

	alarm(60);
	journald_new(&j);
	capture(&c);
	while (n < 20000 && (j.state.lost < 100 || n < 1000))
		log_info(&j.log, "%u", ++n);
	g_test_message("%u messages to a stalled log: %" G_GINT64_FORMAT " us, limit 10 s", n,
		       g_get_monotonic_time() - start);
	g_assert_cmpuint(j.state.lost, >=, 100);
	/* Waiting 20 ms for each lost one would take longer. */
	g_assert_cmpint(g_get_monotonic_time() - start, <, 10000000);

	note = g_strdup_printf("MESSAGE=messages that could not be written to the log: %u",
			       j.state.lost);
	for (; (got = next_write(&c)); g_free(got))
		n_stderr++;
	for (; journald_read(&j); n--)
		;
	/* Each is in the journal, on standard error, or counted. */
	g_assert_cmpuint(n, ==, n_stderr + j.state.lost);
	log_info(&j.log, "awake");
	g_assert_true(journald_read(&j));
	g_assert_true(journal_has(&j, "MESSAGE=awake"));
	g_assert_true(journald_read(&j));
	g_assert_true(journal_has(&j, note));
	log_info(&j.log, "again");
	g_assert_true(journald_read(&j));
	g_assert_false(journald_read(&j));
	release(&c);
	journald_free(&j);
	alarm(0);
}

/* A pipe whose reader is stopped; one whose reader has gone. */
static void test_stderr_stalled(void)
{
	struct log_state state = LOG_STATE_INIT;
	const struct log log = { LOG_INFO, log_sink_stderr, &state };
	int fds[2], saved = dup(STDERR_FILENO);
	g_autofree char *all = g_malloc0(1 << 20);

	alarm(60);
	g_assert_no_errno(pipe(fds));
	g_assert_no_errno(dup2(fds[1], STDERR_FILENO));
	close(fds[1]);
	for (unsigned int i = 0; i < 100000; i++)
		log_info(&log, "a line of some length, a line of some length %u", i);
	g_assert_cmpuint(state.lost, >, 0);
	g_assert_cmpint(read(fds[0], all, (1 << 20) - 1), >, 0);
	log_info(&log, "there");
	g_assert_cmpuint(state.lost, ==, 0);
	memset(all, 0, 1 << 20);
	g_assert_cmpint(read(fds[0], all, (1 << 20) - 1), >, 0);
	g_assert_true(g_str_has_prefix(all, "there\nmessages that could not be written to the log: "));
	close(fds[0]);
	signal(SIGPIPE, SIG_IGN);
	log_info(&log, "lost");
	g_assert_cmpuint(state.lost, ==, 1);
	g_assert_no_errno(dup2(saved, STDERR_FILENO));
	close(saved);
	alarm(0);
}

/* Takes a message each 15 ms: less than anybody would call stalled, and too few. */
struct slow_reader {
	int fd;
	gint n;
	bool stop;
	GThread *thread;
};

static void *read_slowly(void *data)
{
	struct slow_reader *r = data;
	char buf[4 * LOG_TEXT_MAX];

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		if (recv(r->fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			g_atomic_int_inc(&r->n);
		g_usleep(15000);
	}
	return NULL;
}

static void start_reader(struct slow_reader *r, int fd)
{
	*r = (struct slow_reader){ .fd = fd };
	r->thread = g_thread_new("reader", read_slowly, r);
}

static void stop_reader(struct slow_reader *r)
{
	__atomic_store_n(&r->stop, true, __ATOMIC_RELAXED);
	g_thread_join(r->thread);
}

/* Each time there is room for one message, two come. Returns how long that took, us. */
static gint64 log_too_much(const struct log *log, struct slow_reader *r, unsigned int *n)
{
	gint64 waited = 0;

	for (unsigned int i = 0; i < 100; i++) {
		gint last = g_atomic_int_get(&r->n);
		gint64 start;

		while (g_atomic_int_get(&r->n) == last)
			g_usleep(500);
		start = g_get_monotonic_time();
		log_info(log, "%u", ++*n);
		log_info(log, "%u", ++*n);
		waited += g_get_monotonic_time() - start;
	}
	return waited;
}

static unsigned int count_lines(int fd)
{
	unsigned int n = 0;
	char c;

	for (off_t at = 0; pread(fd, &c, 1, at) == 1; at++)
		n += c == '\n';
	return n;
}

static void test_journal_slow(void)
{
	int saved = dup(STDERR_FILENO), file = memfd_create("stderr", MFD_CLOEXEC);
	struct slow_reader reader;
	unsigned int n = 0;
	struct journald j;
	gint64 waited;

	alarm(60);
	journald_new(&j);
	g_assert_no_errno(dup2(file, STDERR_FILENO));
	while (!count_lines(file))
		log_info(&j.log, "%u", ++n);
	start_reader(&reader, j.fd);
	waited = log_too_much(&j.log, &reader, &n);
	stop_reader(&reader);
	g_assert_no_errno(dup2(saved, STDERR_FILENO));
	g_test_message("%u messages, waited %" G_GINT64_FORMAT " us", n, waited);
	g_assert_cmpint(waited, <, 500000);
	/* None is missing. */
	while (journald_read(&j))
		reader.n++;
	g_assert_cmpuint((unsigned int)reader.n + count_lines(file), ==, n);
	g_assert_cmpuint(j.state.lost, ==, 0);
	close(file);
	close(saved);
	journald_free(&j);
	alarm(0);
}

static void test_stderr_slow(void)
{
	struct log_state state = LOG_STATE_INIT;
	const struct log log = { LOG_INFO, log_sink_stderr, &state };
	int fds[2], saved = dup(STDERR_FILENO);
	struct slow_reader reader;
	unsigned int n = 0;
	gint64 waited;

	alarm(60);
	g_assert_no_errno(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
	g_assert_no_errno(dup2(fds[1], STDERR_FILENO));
	while (!state.lost)
		log_info(&log, "%u", ++n);
	start_reader(&reader, fds[0]);
	waited = log_too_much(&log, &reader, &n);
	stop_reader(&reader);
	g_assert_no_errno(dup2(saved, STDERR_FILENO));
	g_test_message("%u messages, waited %" G_GINT64_FORMAT " us", n, waited);
	g_assert_cmpint(waited, <, 500000);
	close(fds[0]);
	close(fds[1]);
	close(saved);
	alarm(0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/log/stderr", test_stderr);
	g_test_add_func("/log/cut", test_cut);
	g_test_add_func("/log/level", test_level);
	g_test_add_func("/log/errno", test_errno);
	g_test_add_func("/log/journal", test_journal);
	g_test_add_func("/log/journal/many-fields", test_journal_many_fields);
	g_test_add_func("/log/journal/fallback", test_journal_fallback);
	g_test_add_func("/log/journal/stalled", test_journal_stalled);
	g_test_add_func("/log/stderr/stalled", test_stderr_stalled);
	g_test_add_func("/log/journal/slow", test_journal_slow);
	g_test_add_func("/log/stderr/slow", test_stderr_slow);
	return g_test_run();
}
