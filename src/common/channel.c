// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"

int channel_pair(int ret_fds[2])
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	ret_fds[0] = fds[0];
	ret_fds[1] = fds[1];
	return 0;
}

int channel_send(int channel, const struct wire_message *msg, int fd)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	uint8_t buf[WIRE_MAX];
	struct iovec iov = { .iov_base = buf };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	int len, r;

	len = wire_encode(msg, buf);
	if (len < 0)
		return len;
	iov.iov_len = len;
	if (fd >= 0) {
		mh.msg_control = control.buf;
		mh.msg_controllen = sizeof(control.buf);
		control.hdr.cmsg_level = SOL_SOCKET;
		control.hdr.cmsg_type = SCM_RIGHTS;
		control.hdr.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.hdr), &fd, sizeof(int));
	}
	do {
		r = sendmsg(channel, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
	} while (r == -EINTR);
	explicit_bzero(buf, len);	/* a key's URL may hold a PIN */
	return r;
}

/*
 * Takes the one descriptor out of @mh; any others, or a cut list, are a
 * violation. A list that is cut though there was room for it, and nothing in
 * it: this process has no number left for a descriptor.
 */
static int take_fd(struct msghdr *mh, int *ret_fd)
{
	bool bad = mh->msg_flags & MSG_TRUNC, cut = mh->msg_flags & MSG_CTRUNC;
	CLEANUP_FD int first = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
			bad = true;
			continue;
		}
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (first >= 0) {
				fd_close(fd);
				bad = true;
			} else {
				first = fd;
			}
		}
	}
	if (bad || (cut && first >= 0))
		return -EBADMSG;
	*ret_fd = TAKE_FD(first);
	return cut ? -EMFILE : 0;
}

int channel_recv(int channel, struct wire_message *ret, int *ret_fd)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(4 * sizeof(int))];
	} control;
	uint8_t buf[WIRE_MAX + 1];	/* so that an oversized message shows */
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.buf, .msg_controllen = sizeof(control.buf),
	};
	CLEANUP_FD int fd = -1;
	ssize_t len;
	int r, decoded;

	/* A peer that ended with our messages unread: told once, before its own last ones. */
	do {
		len = recvmsg(channel, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (len < 0 && (errno == EINTR || errno == ECONNRESET));
	if (len < 0)
		return errno == ENOMEM || errno == ENOBUFS ? -EAGAIN : -errno;
	r = take_fd(&mh, &fd);
	if (!r || r == -EMFILE) {
		decoded = len ? wire_decode(buf, len, ret) : -EPIPE;
		r = decoded < 0 ? decoded : r;
	}
	explicit_bzero(buf, len);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int channel_wait(int channel, int timeout_ms)
{
	struct pollfd p = { .fd = channel, .events = POLLIN };
	int r;

	do {
		r = poll(&p, 1, timeout_ms);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r ? 0 : -ETIMEDOUT;
}
