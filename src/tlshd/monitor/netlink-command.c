// SPDX-License-Identifier: GPL-2.0-or-later
#include "tlshd/monitor/netlink-command.h"

#include <errno.h>
#include <netlink/errno.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

#define ERRNO_MAX 4095	/* include/linux/err.h: MAX_ERRNO */

/* What the callbacks of one command leave behind. */
struct answer {
	bool complete;
	int error;		/* negative errno of the kernel */
	unsigned int seq;	/* of the command */
	void (*on_reply)(struct nl_msg *msg, void *ctx);
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

void netlink_free_cb(struct nl_cb **cb)
{
	nl_cb_put(*cb);
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

int netlink_new_message(int family, uint8_t cmd, uint8_t version, int flags, struct nl_msg **ret)
{
	CLEANUP(netlink_free_msg) struct nl_msg *msg = nlmsg_alloc();

	if (!msg || !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags, cmd, version))
		return -ENOMEM;
	*ret = TAKE_PTR(msg);
	return 0;
}

/*
 * The answer to an earlier command, lost then for want of memory, may still
 * come: it is passed over.
 */
static int on_sequence(struct nl_msg *msg, void *arg)
{
	const struct answer *a = arg;

	return nlmsg_hdr(msg)->nlmsg_seq == a->seq ? NL_OK : NL_SKIP;
}

static int on_valid(struct nl_msg *msg, void *arg)
{
	struct answer *a = arg;

	if (!a->on_reply)
		return NL_OK;
	a->on_reply(msg, a->ctx);
	if (nlmsg_hdr(msg)->nlmsg_flags & NLM_F_MULTI)
		return NL_OK;
	a->complete = true;
	return NL_STOP;
}

static int on_ack(struct nl_msg *msg, void *arg)
{
	struct answer *a = arg;

	a->complete = true;
	return NL_STOP;
}

/* What else the field may hold is no errno: a caller would take it for success, or for one to be printed. */
static int errno_of(int error)
{
	return error <= 0 && error >= -ERRNO_MAX ? error : -EIO;
}

/* The end of a dump; the kernel says there whether it went well. */
static int on_finish(struct nl_msg *msg, void *arg)
{
	struct answer *a = arg;

	if (nlmsg_datalen(nlmsg_hdr(msg)) >= (int)sizeof(a->error)) {
		memcpy(&a->error, nlmsg_data(nlmsg_hdr(msg)), sizeof(a->error));
		a->error = errno_of(a->error);
	}
	a->complete = true;
	return NL_STOP;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *err, void *arg)
{
	struct answer *a = arg;

	if (err->msg.nlmsg_seq != a->seq)
		return NL_SKIP;
	a->error = errno_of(err->error);
	a->complete = true;
	return NL_STOP;
}

int netlink_command(struct nl_sock *sk, struct nl_msg *msg,
		    void (*on_reply)(struct nl_msg *msg, void *ctx), void *ctx)
{
	struct answer a = { .on_reply = on_reply, .ctx = ctx };
	CLEANUP(netlink_free_cb) struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int r;

	if (!cb)
		return -ENOMEM;
	nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, on_sequence, &a);
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, &a);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_ack, &a);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, &a);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, &a);

	nl_complete_msg(sk, msg);
	a.seq = nlmsg_hdr(msg)->nlmsg_seq;
	r = nl_send(sk, msg);
	if (r < 0)
		return netlink_errno(r) == -EAGAIN ? -ENOBUFS : netlink_errno(r);
	while (!a.complete) {
		r = nl_recvmsgs(sk, cb);
		if (a.complete || r == -NLE_INTR)
			continue;
		/* -EAGAIN would read as "no request": an answer that is missing is a fault. */
		if (r < 0)
			return netlink_errno(r) == -EAGAIN ? -ENOBUFS : netlink_errno(r);
	}
	return a.error;
}
