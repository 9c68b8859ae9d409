// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Answers are read without the library: it allocates for each, and a request
 * that the kernel has given out is lost when its answer cannot be read. What a
 * command needs is there before it is sent.
 */
#include "tlshd/monitor/netlink-command.h"

#include <errno.h>
#include <netlink/errno.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"

#define ERRNO_MAX 4095	/* include/linux/err.h: MAX_ERRNO */
#define RECEIVE_TRIES 64

/* What the callbacks of one command leave behind. */
struct answer {
	bool complete;
	int error;		/* negative errno of the kernel */
	unsigned int seq;	/* of the command */
	void (*on_reply)(struct nlmsghdr *hdr, void *ctx);
	void *ctx;
};

void netlink_free_sock(struct nl_sock **sk)
{
	nl_socket_free(*sk);
}

void netlink_free_msg(struct nl_msg **msg)
{
	nlmsg_free(*msg);
}

int netlink_errno(int nle)
{
	switch (-abs(nle)) {
	case 0:
		return 0;
	case -NLE_AGAIN:
		return -EAGAIN;
	case -NLE_INTR:
		return -EINTR;
	case -NLE_NOMEM:
		return -ENOBUFS;
	case -NLE_OBJ_NOTFOUND:
		return -ENOENT;
	case -NLE_PERM:
	case -NLE_NOACCESS:
		return -EPERM;
	case -NLE_AF_NOSUPPORT:
	case -NLE_OPNOTSUPP:
		return -EPROTONOSUPPORT;
	default:
		return -EIO;
	}
}

int netlink_connect(struct nl_sock **ret)
{
	CLEANUP(netlink_free_sock) struct nl_sock *sk = nl_socket_alloc();
	int r;

	if (!sk)
		return -ENOMEM;
	r = nl_connect(sk, NETLINK_GENERIC);
	if (r < 0)
		return netlink_errno(r);
	*ret = TAKE_PTR(sk);
	return 0;
}

int netlink_for_commands(struct nl_sock *sk)
{
	nl_socket_disable_auto_ack(sk);
	return nl_socket_set_nonblocking(sk) < 0 ? -EIO : 0;
}

int netlink_compose(struct nl_msg *msg, int family, uint8_t cmd, uint8_t version, int flags)
{
	/* As it came from the library: what is put next begins where this says it ends. */
	nlmsg_hdr(msg)->nlmsg_len = NLMSG_HDRLEN;
	if (!genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags, cmd, version))
		return -ENOMEM;
	return 0;
}

/* What else the field may hold is no errno: a caller would take it for success, or for one to be printed. */
static int errno_of(int error)
{
	return error <= 0 && error >= -ERRNO_MAX ? error : -EIO;
}

/* The end of a dump; the kernel says there whether it went well. */
static void on_finish(struct nlmsghdr *hdr, struct answer *a)
{
	if (nlmsg_datalen(hdr) >= (int)sizeof(a->error)) {
		memcpy(&a->error, nlmsg_data(hdr), sizeof(a->error));
		a->error = errno_of(a->error);
	}
	a->complete = true;
}

static void on_error(struct nlmsghdr *hdr, struct answer *a)
{
	const struct nlmsgerr *err = nlmsg_data(hdr);

	if (nlmsg_datalen(hdr) < (int)sizeof(*err))
		a->error = -EIO;
	else if (err->msg.nlmsg_seq != a->seq)
		return;
	else
		a->error = errno_of(err->error);
	a->complete = true;
}

/*
 * One message of the answer. That to an earlier command, which was given up,
 * may still come: it is passed over.
 */
static void on_message(struct nlmsghdr *hdr, void *ctx)
{
	struct answer *a = ctx;

	if (hdr->nlmsg_seq != a->seq || a->complete)
		return;
	switch (hdr->nlmsg_type) {
	case NLMSG_ERROR:
		on_error(hdr, a);
		break;
	case NLMSG_DONE:
		on_finish(hdr, a);
		break;
	case NLMSG_NOOP:
		break;
	case NLMSG_OVERRUN:
		a->error = -EIO;
		a->complete = true;
		break;
	default:
		if (!a->on_reply)
			break;
		a->on_reply(hdr, a->ctx);
		a->complete = !(hdr->nlmsg_flags & NLM_F_MULTI);
	}
}

int netlink_receive(struct nl_sock *sk, void (*handler)(struct nlmsghdr *hdr, void *ctx), void *ctx)
{
	union {
		struct nlmsghdr hdr;
		char bytes[NETLINK_DATAGRAM_MAX];
	} buf;
	struct nlmsghdr *hdr = &buf.hdr;
	ssize_t len;
	int left;

	do {
		len = recv(nl_socket_get_fd(sk), &buf, sizeof(buf), MSG_DONTWAIT | MSG_TRUNC);
	} while (len < 0 && errno == EINTR);
	if (len < 0)
		return -errno;
	if (len > (ssize_t)sizeof(buf))
		return -EMSGSIZE;
	for (left = (int)len; nlmsg_ok(hdr, left); hdr = nlmsg_next(hdr, &left))
		handler(hdr, ctx);
	return 0;
}

int netlink_command(struct nl_sock *sk, struct nl_msg *msg,
		    void (*on_reply)(struct nlmsghdr *hdr, void *ctx), void *ctx)
{
	struct answer a = { .on_reply = on_reply, .ctx = ctx };
	unsigned int faults = 0;
	int r;

	nl_complete_msg(sk, msg);
	a.seq = nlmsg_hdr(msg)->nlmsg_seq;
	r = nl_send(sk, msg);
	if (r < 0) {
		r = netlink_errno(r);
		return r == -EAGAIN || r == -ENOBUFS ? -ENOMEM : r;
	}
	while (!a.complete) {
		r = netlink_receive(sk, on_message, &a);
		/* The answer is queued: a read that failed for want of memory has left it there. */
		if ((r == -ENOMEM || r == -ENOBUFS) && ++faults < RECEIVE_TRIES)
			continue;
		/* -EAGAIN would read as "no request": an answer that is missing is a fault. */
		if (r < 0)
			return r == -EAGAIN || r == -ENOMEM ? -ENOBUFS : r == -ENOBUFS ? r : -EIO;
	}
	return a.error;
}
