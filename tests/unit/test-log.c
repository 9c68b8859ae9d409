// SPDX-License-Identifier: GPL-2.0-or-later
/* Linked with --wrap=sd_journal_sendv: what would go to the journal is looked at here. */
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/cleanup.h"
#include "common/log.h"

static GPtrArray *journal;
static int journal_result;

int __wrap_sd_journal_sendv(const struct iovec *iov, int n);
int __wrap_sd_journal_sendv(const struct iovec *iov, int n)
{
	int i;

	g_ptr_array_set_size(journal, 0);
	for (i = 0; i < n; i++)
		g_ptr_array_add(journal, g_strndup(iov[i].iov_base, iov[i].iov_len));
	return journal_result;
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

static bool journal_has(const char *field)
{
	return g_ptr_array_find_with_equal_func(journal, field, g_str_equal, NULL);
}

static void test_journal(void)
{
	const struct log log = { LOG_INFO, log_sink_journal, NULL };
	const struct log_field fields[] = {
		{ "TLSHD_PEER", "[2001:db8::1]:2049" },
		{ "TLSHD_SUBJECT", NULL },
		{ "TLSHD_REASON", "" },
	};

	journal_result = 0;
	log_fields(&log, LOG_WARNING, fields, ARRAY_SIZE(fields), "one %s", "line\n");
	g_assert_true(journal_has("MESSAGE=one line\\x0a"));
	g_assert_true(journal_has("PRIORITY=4"));
	g_assert_true(journal_has("SYSLOG_IDENTIFIER=tlshd"));
	g_assert_true(journal_has("SYSLOG_FACILITY=3"));
	g_assert_true(journal_has("TLSHD_PEER=[2001:db8::1]:2049"));
	g_assert_true(journal_has("TLSHD_REASON="));
	g_assert_cmpuint(journal->len, ==, 6);
}

static void test_journal_many_fields(void)
{
	const struct log log = { LOG_INFO, log_sink_journal, NULL };
	struct log_field fields[100];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fields); i++)
		fields[i] = (struct log_field){ "TLSHD_PEER", "x" };
	journal_result = 0;
	log_fields(&log, LOG_INFO, fields, ARRAY_SIZE(fields), "text");
	g_assert_true(journal_has("MESSAGE=text"));
	g_assert_cmpuint(journal->len, <, ARRAY_SIZE(fields));
}

static void test_journal_fallback(void)
{
	const struct log log = { LOG_INFO, log_sink_journal, NULL };
	struct captured c;

	capture(&c);
	journal_result = -ECONNREFUSED;
	log_info(&log, "not lost");
	assert_write(&c, "not lost\n");
	journal_result = 0;
	log_info(&log, "there");
	assert_write(&c, NULL);
	release(&c);
}

int main(int argc, char **argv)
{
	int r;

	g_test_init(&argc, &argv, NULL);
	journal = g_ptr_array_new_with_free_func(g_free);
	g_test_add_func("/log/stderr", test_stderr);
	g_test_add_func("/log/cut", test_cut);
	g_test_add_func("/log/level", test_level);
	g_test_add_func("/log/errno", test_errno);
	g_test_add_func("/log/journal", test_journal);
	g_test_add_func("/log/journal/many-fields", test_journal_many_fields);
	g_test_add_func("/log/journal/fallback", test_journal_fallback);
	r = g_test_run();
	g_ptr_array_unref(journal);
	return r;
}
