// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "common/channel.h"
#include "common/cleanup.h"
#include "fds.h"

struct fixture {
	int ends[2];
	int file;	/* a memfd to be sent */
	unsigned int n_fds;
};

static void set_up(struct fixture *f, gconstpointer unused)
{
	alarm(20);	/* nothing here may wait */
	g_assert_cmpint(channel_pair(f->ends), ==, 0);
	f->file = memfd_create("test", MFD_CLOEXEC);
	g_assert_no_errno(f->file);
	f->n_fds = count_fds();
}

static void tear_down(struct fixture *f, gconstpointer unused)
{
	g_assert_cmpuint(count_fds(), ==, f->n_fds);
	fd_close(f->ends[0]);
	fd_close(f->ends[1]);
	fd_close(f->file);
	alarm(0);
}

static const struct wire_message cancel = { .type = WIRE_CANCEL, .cancel = 42 };

/* Receives and finds -EBADMSG, with no descriptor written. */
static void assert_bad(struct fixture *f)
{
	struct wire_message msg;
	int fd = -7;

	g_assert_cmpint(channel_recv(f->ends[1], &msg, &fd), ==, -EBADMSG);
	g_assert_cmpint(fd, ==, -7);
	g_assert_cmpuint(count_fds(), ==, f->n_fds);
}

/* What channel_send() would not do: any bytes, @n_fds duplicates of one descriptor. */
static void send_raw(int channel, const void *data, size_t len, int fd, size_t n_fds)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(200 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c = &control.hdr;

	g_assert_cmpuint(n_fds, <=, 200);
	if (n_fds) {
		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		for (size_t i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(int));
	}
	g_assert_cmpint(sendmsg(channel, &mh, MSG_NOSIGNAL), ==, (gint64)len);
}

static void test_pair(struct fixture *f, gconstpointer unused)
{
	for (unsigned int i = 0; i < 2; i++) {
		g_assert_cmpint(fcntl(f->ends[i], F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
		g_assert_cmpint(fcntl(f->ends[i], F_GETFL) & O_NONBLOCK, ==, O_NONBLOCK);
	}
}

static void test_plain(struct fixture *f, gconstpointer unused)
{
	struct wire_message msg;

	for (unsigned int i = 0; i < 2; i++) {
		int fd = -7;

		g_assert_cmpint(channel_send(f->ends[i], &cancel, -1), ==, 0);
		g_assert_cmpint(channel_recv(f->ends[!i], &msg, &fd), ==, 0);
		g_assert_cmpint(msg.type, ==, WIRE_CANCEL);
		g_assert_cmpuint(msg.cancel, ==, 42);
		g_assert_cmpint(fd, ==, -1);
		g_assert_cmpint(channel_recv(f->ends[!i], &msg, &fd), ==, -EAGAIN);
		g_assert_cmpint(fd, ==, -1);
	}
}

static void test_blocking_end(struct fixture *f, gconstpointer unused)
{
	struct wire_message msg;
	int fd;

	/* Children get their end by dup2(); whatever its flags, nothing waits. */
	g_assert_no_errno(fcntl(f->ends[1], F_SETFL, 0));
	g_assert_cmpint(channel_recv(f->ends[1], &msg, &fd), ==, -EAGAIN);
	while (channel_send(f->ends[1], &cancel, -1) == 0)
		;
	g_assert_cmpint(channel_send(f->ends[1], &cancel, -1), ==, -EAGAIN);
}

static void test_descriptor(struct fixture *f, gconstpointer unused)
{
	struct wire_message msg;
	char buf[4];
	int fd = -1;

	g_assert_cmpint(channel_send(f->ends[0], &cancel, f->file), ==, 0);
	g_assert_cmpint(channel_recv(f->ends[1], &msg, &fd), ==, 0);
	g_assert_cmpuint(msg.cancel, ==, 42);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(fd, !=, f->file);
	g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
	/* The same open file: even the position is shared. */
	g_assert_cmpint(write(f->file, "abcd", 4), ==, 4);
	g_assert_cmpint(lseek(fd, 0, SEEK_CUR), ==, 4);
	g_assert_cmpint(pread(fd, buf, sizeof(buf), 0), ==, 4);
	g_assert_cmpmem(buf, 4, "abcd", 4);
	close(fd);
	/* The sender keeps its own. */
	g_assert_cmpint(fcntl(f->file, F_GETFD), >=, 0);
}

static void test_descriptor_bad(struct fixture *f, gconstpointer unused)
{
	struct wire_message msg;
	int fd, closed = dup(f->file);

	close(closed);
	g_assert_cmpint(channel_send(f->ends[0], &cancel, closed), ==, -EBADF);
	g_assert_cmpint(channel_recv(f->ends[1], &msg, &fd), ==, -EAGAIN);
}

static void test_unencodable(struct fixture *f, gconstpointer unused)
{
	const struct wire_message bad = { .type = WIRE_JOB, .job.role = HS_N_ROLES };
	struct wire_message msg;
	int fd;

	g_assert_cmpint(channel_send(f->ends[0], &bad, f->file), ==, -EINVAL);
	g_assert_cmpint(channel_recv(f->ends[1], &msg, &fd), ==, -EAGAIN);
}

static void test_many_descriptors(struct fixture *f, gconstpointer unused)
{
	static const size_t counts[] = { 2, 3, 4, 5, 6, 64, 200 };
	uint8_t buf[WIRE_MAX];
	int len = wire_encode(&cancel, buf);

	for (size_t i = 0; i < G_N_ELEMENTS(counts); i++) {
		send_raw(f->ends[0], buf, (size_t)len, f->file, counts[i]);
		assert_bad(f);
	}
}

static void test_oversized(struct fixture *f, gconstpointer unused)
{
	/* A good message in front: were the rest cut off unseen, it would decode. */
	struct wire_message msg = { .type = WIRE_LOG };
	uint8_t buf[4 * WIRE_MAX] = { 0 };
	int len;

	memset(msg.text.text, 'x', sizeof(msg.text.text) - 1);
	len = wire_encode(&msg, buf);
	g_assert_cmpint(len, >, 0);
	for (unsigned int with_fd = 0; with_fd < 2; with_fd++) {
		send_raw(f->ends[0], buf, (size_t)len + 1, f->file, with_fd);
		assert_bad(f);
		send_raw(f->ends[0], buf, WIRE_MAX, f->file, with_fd);
		assert_bad(f);
		send_raw(f->ends[0], buf, WIRE_MAX + 1, f->file, with_fd);
		assert_bad(f);
		send_raw(f->ends[0], buf, sizeof(buf), f->file, with_fd);
		assert_bad(f);
	}
}

static void test_undecodable(struct fixture *f, gconstpointer unused)
{
	static const uint8_t bad[] = { 0xff, 0xff, 1, 2, 3 };
	struct wire_message msg;
	int fd;

	for (unsigned int with_fd = 0; with_fd < 2; with_fd++) {
		for (size_t len = 1; len <= sizeof(bad); len++) {
			send_raw(f->ends[0], bad, len, f->file, with_fd);
			assert_bad(f);
		}
	}
	/* The next good message is not the worse for it. */
	g_assert_cmpint(channel_send(f->ends[0], &cancel, -1), ==, 0);
	g_assert_cmpint(channel_recv(f->ends[1], &msg, &fd), ==, 0);
}

static void test_end(struct fixture *f, gconstpointer unused)
{
	struct wire_message msg;
	int fd = -7;

	g_assert_cmpint(channel_send(f->ends[0], &cancel, -1), ==, 0);
	f->ends[0] = fd_close(f->ends[0]);
	f->n_fds--;
	/* First what was said before the end. */
	g_assert_cmpint(channel_recv(f->ends[1], &msg, &fd), ==, 0);
	for (unsigned int i = 0; i < 3; i++) {
		fd = -7;
		g_assert_cmpint(channel_recv(f->ends[1], &msg, &fd), ==, -EPIPE);
		g_assert_cmpint(fd, ==, -7);
	}
	g_assert_cmpint(channel_wait(f->ends[1], 10000), ==, 0);
	g_assert_cmpint(channel_send(f->ends[1], &cancel, -1), ==, -EPIPE);
	g_assert_cmpint(channel_send(f->ends[1], &cancel, f->file), ==, -EPIPE);
}

/* The kernel tells once that our message was not read, before the peer's own last messages. */
static void test_end_unread(struct fixture *f, gconstpointer unused)
{
	struct wire_message msg;
	int fd;

	g_assert_cmpint(channel_send(f->ends[0], &cancel, -1), ==, 0);
	g_assert_cmpint(channel_send(f->ends[1], &cancel, f->file), ==, 0);
	f->ends[0] = fd_close(f->ends[0]);
	f->n_fds--;
	g_assert_cmpint(channel_recv(f->ends[1], &msg, &fd), ==, 0);
	g_assert_cmpuint(msg.cancel, ==, 42);
	g_assert_cmpint(channel_recv(f->ends[1], &msg, &fd), ==, -EPIPE);
}

static unsigned int fill(struct fixture *f, const struct wire_message *msg, int fd)
{
	unsigned int n = 0;
	int r;

	while ((r = channel_send(f->ends[0], msg, fd)) == 0)
		n++;
	g_assert_cmpint(r, ==, -EAGAIN);
	g_assert_cmpint(channel_send(f->ends[0], msg, fd), ==, -EAGAIN);
	return n;
}

static unsigned int drain(struct fixture *f)
{
	struct wire_message msg;
	unsigned int n = 0;
	int r, fd = -1;

	while ((r = channel_recv(f->ends[1], &msg, &fd)) == 0) {
		fd_close(fd);
		n++;
	}
	g_assert_cmpint(r, ==, -EAGAIN);
	return n;
}

static void test_full(struct fixture *f, gconstpointer unused)
{
	unsigned int n;

	for (unsigned int with_fd = 0; with_fd < 2; with_fd++) {
		n = fill(f, &cancel, with_fd ? f->file : -1);
		g_assert_cmpuint(n, >=, 32);
		g_assert_cmpuint(drain(f), ==, n);
	}
	g_assert_cmpint(channel_send(f->ends[0], &cancel, -1), ==, 0);
	g_assert_cmpuint(drain(f), ==, 1);
}

/* All the files of a configuration are sent before the child that reads them is started. */
static void test_room_for_files(struct fixture *f, gconstpointer unused)
{
	struct wire_message msg = { .type = WIRE_FILE };

	memset(msg.file.label, 'x', sizeof(msg.file.label) - 1);
	memset(msg.file.url, 'x', sizeof(msg.file.url) - 1);
	g_assert_cmpuint(fill(f, &msg, f->file), >, 16);
	drain(f);
}

static void test_wait(struct fixture *f, gconstpointer unused)
{
	gint64 before = g_get_monotonic_time();

	g_assert_cmpint(channel_wait(f->ends[1], 0), ==, -ETIMEDOUT);
	g_assert_cmpint(channel_wait(f->ends[1], 30), ==, -ETIMEDOUT);
	g_assert_cmpint(g_get_monotonic_time() - before, >=, 30000);
	g_assert_cmpint(channel_send(f->ends[0], &cancel, -1), ==, 0);
	g_assert_cmpint(channel_wait(f->ends[1], 0), ==, 0);
	g_assert_cmpint(channel_wait(f->ends[1], 10000), ==, 0);
	g_assert_cmpint(channel_wait(f->ends[1], -1), ==, 0);
	g_assert_cmpuint(drain(f), ==, 1);
	g_assert_cmpint(channel_wait(f->ends[1], 0), ==, -ETIMEDOUT);
}

/* No number is left for the descriptor: the message tells what it was for. */
static void test_no_room(struct fixture *f, gconstpointer unused)
{
	const struct wire_message log = { .type = WIRE_LOG, .text.text = "next" };
	struct wire_message msg = { .type = WIRE_READY };
	struct rlimit was, tiny;
	int fd = -7, r;

	g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &was));
	tiny = was;
	tiny.rlim_cur = 3;
	g_assert_cmpint(channel_send(f->ends[0], &cancel, f->file), ==, 0);
	g_assert_cmpint(channel_send(f->ends[0], &log, -1), ==, 0);
	g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &tiny));
	r = channel_recv(f->ends[1], &msg, &fd);
	g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &was));
	g_assert_cmpint(r, ==, -EMFILE);
	g_assert_cmpint(msg.type, ==, WIRE_CANCEL);
	g_assert_cmpint((int)msg.cancel, ==, 42);
	g_assert_cmpint(fd, ==, -7);
	g_assert_cmpint(channel_recv(f->ends[1], &msg, &fd), ==, 0);
	g_assert_cmpstr(msg.text.text, ==, "next");
	/* What does not decode is wrong whether there is room or not. */
	send_raw(f->ends[0], "x", 1, f->file, 1);
	g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &tiny));
	r = channel_recv(f->ends[1], &msg, &fd);
	g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &was));
	g_assert_cmpint(r, ==, -EBADMSG);
}

#define ADD(name, fn) g_test_add("/channel/" name, struct fixture, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("pair", test_pair);
	ADD("plain", test_plain);
	ADD("blocking-end", test_blocking_end);
	ADD("descriptor", test_descriptor);
	ADD("descriptor/bad", test_descriptor_bad);
	ADD("descriptor/many", test_many_descriptors);
	ADD("unencodable", test_unencodable);
	ADD("oversized", test_oversized);
	ADD("undecodable", test_undecodable);
	ADD("end", test_end);
	ADD("end/unread", test_end_unread);
	ADD("full", test_full);
	ADD("room-for-files", test_room_for_files);
	ADD("wait", test_wait);
	ADD("no-room", test_no_room);
	return g_test_run();
}
