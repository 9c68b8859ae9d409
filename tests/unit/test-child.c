// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/channel.h"
#include "common/child.h"
#include "common/cleanup.h"
#include "fds.h"

static int send_error;		/* of the next send_faults calls */
static unsigned int send_faults;

ssize_t __real_sendmsg(int fd, const struct msghdr *mh, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *mh, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *mh, int flags)
{
	if (send_faults) {
		send_faults--;
		errno = send_error;
		return -1;
	}
	return __real_sendmsg(fd, mh, flags);
}

struct fixture {
	int monitor, child;	/* the two ends */
	unsigned int n_fds;
	struct child_files files;
};

static void set_up(struct fixture *f, gconstpointer unused)
{
	int ends[2];

	alarm(20);	/* nothing here may wait for long */
	g_assert_cmpint(channel_pair(ends), ==, 0);
	f->monitor = ends[0];
	f->child = ends[1];
	memset(&f->files, 0xa5, sizeof(f->files));
	f->n_fds = count_fds();
}

static void tear_down(struct fixture *f, gconstpointer unused)
{
	g_assert_cmpuint(count_fds(), ==, f->n_fds);
	fd_close(f->monitor);
	fd_close(f->child);
	alarm(0);
}

static void hang_up(struct fixture *f)
{
	f->monitor = fd_close(f->monitor);
	f->n_fds--;
}

/* Sends @content (NULL: no descriptor) as a file for @use. */
static void send_file(struct fixture *f, enum wire_file_use use, const char *label,
		      const char *url, const char *content)
{
	struct wire_message msg = { .type = WIRE_FILE, .file = { .role = HS_SERVER, .use = use } };
	CLEANUP_FD int fd = -1;

	g_strlcpy(msg.file.label, label, sizeof(msg.file.label));
	g_strlcpy(msg.file.url, url, sizeof(msg.file.url));
	if (content) {
		fd = memfd_create("test", MFD_CLOEXEC);
		g_assert_no_errno(fd);
		g_assert_cmpint(write(fd, content, strlen(content)), ==, (gint64)strlen(content));
	}
	g_assert_cmpint(channel_send(f->monitor, &msg, fd), ==, 0);
}

static void send_start(struct fixture *f)
{
	const struct wire_message msg = {
		.type = WIRE_START,
		.start = { .ciphers = 5, .tls_debug = 7, .log_level = LOG_DEBUG },
	};

	g_assert_cmpint(channel_send(f->monitor, &msg, -1), ==, 0);
}

static void test_none(struct fixture *f, gconstpointer unused)
{
	send_start(f);
	g_assert_cmpint(child_receive_files(f->child, &f->files), ==, 0);
	g_assert_cmpuint(f->files.n, ==, 0);
	g_assert_cmpuint(f->files.start.ciphers, ==, 5);
	g_assert_cmpuint(f->files.start.tls_debug, ==, 7);
	g_assert_cmpint(f->files.start.log_level, ==, LOG_DEBUG);
	child_files_free(&f->files);
}

static void test_kinds(struct fixture *f, gconstpointer unused)
{
	const struct child_file *file = f->files.file;
	char buf[8];

	send_file(f, WIRE_FILE_TRUSTSTORE, "/ca (x:1)", "", "certificates");
	send_file(f, WIRE_FILE_CRL, "/crl (x:2)", "", "");
	send_file(f, WIRE_FILE_CERTIFICATE, "/cert (x:3)", "", "cert");
	send_file(f, WIRE_FILE_PRIVATE_KEY, "/key (x:4)", "", "secret");
	send_file(f, WIRE_FILE_PRIVATE_KEY, "pkcs11:a (x:5)", "pkcs11:a", NULL);
	send_start(f);
	g_assert_cmpint(child_receive_files(f->child, &f->files), ==, 0);
	g_assert_cmpuint(f->files.n, ==, 5);

	g_assert_cmpint(file[0].what.use, ==, WIRE_FILE_TRUSTSTORE);
	g_assert_cmpint(file[0].what.role, ==, HS_SERVER);
	g_assert_cmpstr(file[0].what.label, ==, "/ca (x:1)");
	g_assert_cmpint(file[0].fd, >=, 0);
	g_assert_cmpmem(file[0].data, file[0].size, "certificates", 12);
	/* An empty file is there, with nothing in it. */
	g_assert_cmpint(file[1].fd, >=, 0);
	g_assert_null(file[1].data);
	g_assert_cmpuint(file[1].size, ==, 0);
	g_assert_cmpmem(file[2].data, file[2].size, "cert", 4);
	/* A private key is not brought into ordinary memory. */
	g_assert_cmpint(file[3].fd, >=, 0);
	g_assert_null(file[3].data);
	g_assert_cmpint(pread(file[3].fd, buf, sizeof(buf), 0), ==, 6);
	g_assert_cmpmem(buf, 6, "secret", 6);
	g_assert_cmpint(file[4].fd, ==, -1);
	g_assert_null(file[4].data);
	g_assert_cmpstr(file[4].what.url, ==, "pkcs11:a");

	child_files_free(&f->files);
	g_assert_cmpuint(f->files.n, ==, 0);
	child_files_free(&f->files);
}

static void test_most(struct fixture *f, gconstpointer unused)
{
	for (unsigned int i = 0; i < CHILD_FILES_MAX; i++)
		send_file(f, WIRE_FILE_CERTIFICATE, "/cert", "", "cert");
	send_start(f);
	g_assert_cmpint(child_receive_files(f->child, &f->files), ==, 0);
	g_assert_cmpuint(f->files.n, ==, CHILD_FILES_MAX);
	child_files_free(&f->files);
}

static void test_too_many(struct fixture *f, gconstpointer unused)
{
	for (unsigned int i = 0; i <= CHILD_FILES_MAX; i++)
		send_file(f, WIRE_FILE_CERTIFICATE, "/cert", "", "cert");
	send_start(f);
	g_assert_cmpint(child_receive_files(f->child, &f->files), ==, -EBADMSG);
	g_assert_cmpuint(f->files.n, ==, 0);
}

static void test_wrong_message(struct fixture *f, gconstpointer unused)
{
	for (enum wire_type type = WIRE_FILE; type < WIRE_N_TYPES; type++) {
		struct wire_message msg = { .type = type };

		if (type == WIRE_REFUSED)
			msg.refused.outcome = HS_INTERNAL;
		if (type == WIRE_FILE || type == WIRE_START)
			continue;
		send_file(f, WIRE_FILE_CERTIFICATE, "/cert", "", "cert");
		g_assert_cmpint(channel_send(f->monitor, &msg, f->monitor), ==, 0);
		g_assert_cmpint(child_receive_files(f->child, &f->files), ==, -EBADMSG);
		g_assert_cmpuint(f->files.n, ==, 0);
		g_assert_cmpuint(count_fds(), ==, f->n_fds);
	}
}

static void test_not_a_message(struct fixture *f, gconstpointer unused)
{
	send_file(f, WIRE_FILE_CERTIFICATE, "/cert", "", "cert");
	g_assert_cmpint(write(f->monitor, "?", 1), ==, 1);
	g_assert_cmpint(child_receive_files(f->child, &f->files), ==, -EBADMSG);
	g_assert_cmpuint(f->files.n, ==, 0);
}

static void test_cannot_map(struct fixture *f, gconstpointer unused)
{
	const struct wire_message msg = { .type = WIRE_FILE };
	CLEANUP_FD int memfd = memfd_create("test", MFD_CLOEXEC), write_only = -1;
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", memfd);

	g_assert_cmpint(write(memfd, "x", 1), ==, 1);
	write_only = open(path, O_WRONLY | O_CLOEXEC);
	g_assert_no_errno(write_only);
	send_file(f, WIRE_FILE_TRUSTSTORE, "/ca", "", "certificates");
	g_assert_cmpint(channel_send(f->monitor, &msg, write_only), ==, 0);
	g_assert_cmpint(child_receive_files(f->child, &f->files), ==, -EACCES);
	g_assert_cmpuint(f->files.n, ==, 0);
}

static void test_gone(struct fixture *f, gconstpointer unused)
{
	send_file(f, WIRE_FILE_TRUSTSTORE, "/ca", "", "certificates");
	hang_up(f);
	g_assert_cmpint(child_receive_files(f->child, &f->files), ==, -EPIPE);
	g_assert_cmpuint(f->files.n, ==, 0);
}

static void assert_message(struct fixture *f, enum wire_type type, int priority, const char *text)
{
	struct wire_message msg;
	int fd;

	g_assert_cmpint(channel_recv(f->monitor, &msg, &fd), ==, 0);
	g_assert_cmpint(fd, ==, -1);
	g_assert_cmpint(msg.type, ==, type);
	if (!text)
		return;
	g_assert_cmpint(msg.text.priority, ==, priority);
	g_assert_cmpstr(msg.text.text, ==, text);
}

static void assert_failed(struct fixture *f, bool passing, const char *reason)
{
	struct wire_message msg;
	int fd;

	g_assert_cmpint(channel_recv(f->monitor, &msg, &fd), ==, 0);
	g_assert_cmpint(fd, ==, -1);
	g_assert_cmpint(msg.type, ==, WIRE_FAILED);
	g_assert_cmpint(msg.failed.passing, ==, passing);
	g_assert_cmpstr(msg.failed.reason, ==, reason);
}

static void test_report_start(struct fixture *f, gconstpointer unused)
{
	g_autofree char *longest = g_strnfill(LOG_TEXT_MAX - 1, 'a');
	g_autofree char *longer = g_strnfill(LOG_TEXT_MAX + 100, 'a');

	g_assert_cmpint(child_report_start(f->child, 0, NULL), ==, 0);
	assert_message(f, WIRE_READY, 0, NULL);
	g_assert_cmpint(child_report_start(f->child, -ENOENT, "no such file"), ==, 0);
	assert_failed(f, false, "no such file");
	g_assert_cmpint(child_report_start(f->child, -EBADMSG, longer), ==, 0);
	assert_failed(f, false, longest);
	g_assert_cmpint(child_report_start(f->child, -EINVAL, ""), ==, 0);
	assert_failed(f, false, "");
	hang_up(f);
	g_assert_cmpint(child_report_start(f->child, 0, NULL), ==, -EPIPE);
}

/* What is short is told from what is wrong. */
static void test_report_shortage(struct fixture *f, gconstpointer unused)
{
	static const int passing[] = { ENOMEM, EMFILE, ENFILE, EAGAIN, EINTR, EIO };
	static const int lasting[] = { EINVAL, ENOENT, EPERM, ENOSYS, EKEYREJECTED, EKEYEXPIRED };

	for (size_t i = 0; i < ARRAY_SIZE(passing); i++) {
		g_assert_cmpint(child_report_start(f->child, -passing[i], "short"), ==, 0);
		assert_failed(f, true, "short");
	}
	for (size_t i = 0; i < ARRAY_SIZE(lasting); i++) {
		g_assert_cmpint(child_report_start(f->child, -lasting[i], "wrong"), ==, 0);
		assert_failed(f, false, "wrong");
	}
}

static void test_log_sink(struct fixture *f, gconstpointer unused)
{
	const struct log log = { LOG_INFO, log_sink_channel, &f->child };
	const struct log_field field = { "TLSHD_PEER", "x" };
	g_autofree char *longer = g_strnfill(5 * LOG_TEXT_MAX, 'b');
	struct wire_message msg;
	int fd;

	log_info(&log, "hello %d", 1);
	assert_message(f, WIRE_LOG, LOG_INFO, "hello 1");
	log_debug(&log, "too low");
	log_fields(&log, LOG_ERR, &field, 1, "two\nlines \xff");
	assert_message(f, WIRE_LOG, LOG_ERR, "two\\x0alines \\xff");
	log_warn(&log, "%s", longer);
	g_assert_cmpint(channel_recv(f->monitor, &msg, &fd), ==, 0);
	g_assert_cmpuint(strlen(msg.text.text), ==, LOG_TEXT_MAX - 1);
	g_assert_true(g_str_has_suffix(msg.text.text, "bbb..."));
	g_assert_cmpint(channel_recv(f->monitor, &msg, &fd), ==, -EAGAIN);
	/* To nobody: no signal, no wait. */
	hang_up(f);
	log_info(&log, "lost");
}

/* A reader that comes late. */
static gpointer read_all(gpointer ctx)
{
	int channel = *(int *)ctx;
	struct wire_message msg;
	unsigned int n = 0;
	int fd, r;

	g_usleep(50000);
	while ((r = channel_wait(channel, 10000)) == 0) {
		r = channel_recv(channel, &msg, &fd);
		if (r == -EAGAIN)
			continue;
		if (r < 0)
			break;
		g_assert_cmpuint(msg.cancel, ==, n);
		n++;
	}
	g_assert_cmpint(r, ==, -EPIPE);
	return GUINT_TO_POINTER(n);
}

/* Many more than the channel holds: none is lost, and their order stays. */
static void test_send_waits(struct fixture *f, gconstpointer unused)
{
	struct wire_message msg = { .type = WIRE_CANCEL };
	GThread *reader = g_thread_new("reader", read_all, &f->monitor);

	for (msg.cancel = 0; msg.cancel < 5000; msg.cancel++)
		g_assert_cmpint(child_send(f->child, &msg), ==, 0);
	f->child = fd_close(f->child);
	f->n_fds--;
	g_assert_cmpuint(GPOINTER_TO_UINT(g_thread_join(reader)), ==, 5000);
}

static gpointer hang_up_later(gpointer ctx)
{
	g_usleep(50000);
	hang_up(ctx);
	return NULL;
}

static void test_send_to_the_dead(struct fixture *f, gconstpointer unused)
{
	const struct wire_message msg = { .type = WIRE_CANCEL }, bad = { .type = WIRE_N_TYPES };
	GThread *closer;
	int r;

	g_assert_cmpint(child_send(f->child, &bad), ==, -EINVAL);
	while (channel_send(f->child, &msg, -1) == 0)
		;
	closer = g_thread_new("closer", hang_up_later, f);
	r = child_send(f->child, &msg);
	g_thread_join(closer);
	/* The kernel's choice: our unread messages went with it. */
	g_assert_true(r == -EPIPE || r == -ECONNRESET);
}

/* A result is not lost because the kernel has no memory for it now. */
static void test_send_shortage(struct fixture *f, gconstpointer unused)
{
	static const int errors[] = { ENOMEM, ENOBUFS };
	const struct wire_message sent = { .type = WIRE_CANCEL, .cancel = 42 };
	struct wire_message msg;
	int fd;

	for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
		gint64 start = g_get_monotonic_time();

		send_error = errors[i];
		send_faults = 5;
		g_assert_cmpint(child_send(f->child, &sent), ==, 0);
		g_assert_cmpuint(send_faults, ==, 0);
		/* Not in a busy loop. */
		g_assert_cmpint(g_get_monotonic_time() - start, >=, 5 * 10000);
		g_assert_cmpint(channel_recv(f->monitor, &msg, &fd), ==, 0);
		g_assert_cmpint((int)msg.cancel, ==, 42);
		g_assert_cmpint(channel_recv(f->monitor, &msg, &fd), ==, -EAGAIN);
	}
	send_error = EPIPE;
	send_faults = 1;
	g_assert_cmpint(child_send(f->child, &sent), ==, -EPIPE);
}

#define ADD(name, fn) g_test_add("/child/" name, struct fixture, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("files/none", test_none);
	ADD("files/kinds", test_kinds);
	ADD("files/most", test_most);
	ADD("files/too-many", test_too_many);
	ADD("files/wrong-message", test_wrong_message);
	ADD("files/not-a-message", test_not_a_message);
	ADD("files/cannot-map", test_cannot_map);
	ADD("files/gone", test_gone);
	ADD("report-start", test_report_start);
	ADD("report-shortage", test_report_shortage);
	ADD("log-sink", test_log_sink);
	ADD("send/waits", test_send_waits);
	ADD("send/to-the-dead", test_send_to_the_dead);
	ADD("send/shortage", test_send_shortage);
	return g_test_run();
}
