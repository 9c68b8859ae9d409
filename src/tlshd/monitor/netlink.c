// SPDX-License-Identifier: GPL-2.0-or-later
#include "tlshd/monitor/netlink.h"

#include <errno.h>
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "uapi/handshake.h"

#define EVENT_BUFFER (1 << 20)	/* bytes; a READY takes about 1 KiB of it */

struct netlink {
	const struct log *log;
	struct nl_sock *events;
	struct nl_sock *commands;
	int family;
	int family_group;	/* nlctrl's "notify" */
	bool watching_families;
};

/* What the callbacks of one command or one read leave behind. */
struct answer {
	bool complete;
	int error;		/* negative errno of the kernel */
	unsigned int seq;	/* of the command */
	struct netlink_request *request;
	struct netlink *nl;
	enum netlink_events events;
};

static void free_sock(struct nl_sock **sk)
{
	nl_socket_free(*sk);
}

static void free_msg(struct nl_msg **msg)
{
	nlmsg_free(*msg);
}

static void free_cb(struct nl_cb **cb)
{
	nl_cb_put(*cb);
}

/* Only what this file meets; libnl folds many errnos into few codes. */
static int nle_errno(int nle)
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

static int connect_socket(struct nl_sock **ret)
{
	CLEANUP(free_sock) struct nl_sock *sk = nl_socket_alloc();
	int r;

	if (!sk)
		return -ENOMEM;
	r = nl_connect(sk, NETLINK_GENERIC);
	if (r < 0)
		return nle_errno(r);
	*ret = TAKE_PTR(sk);
	return 0;
}

void netlink_set_debug(unsigned int level)
{
	nl_debug = (int)level;
}

int netlink_open(struct netlink **ret, const struct log *log)
{
	CLEANUP(netlink_closep) struct netlink *nl = calloc(1, sizeof(*nl));
	int r;

	if (!nl)
		return -ENOMEM;
	nl->log = log;
	nl->family = -1;
	r = connect_socket(&nl->events);
	if (r < 0)
		return r;
	nl_socket_set_buffer_size(nl->events, EVENT_BUFFER, 0);
	r = connect_socket(&nl->commands);
	if (r < 0)
		return r;
	/* ACCEPT has its reply or error for an answer, DONE asks for its ACK itself. */
	nl_socket_disable_auto_ack(nl->commands);
	if (nl_socket_set_nonblocking(nl->events) < 0 ||
	    nl_socket_set_nonblocking(nl->commands) < 0)
		return -EIO;
	*ret = TAKE_PTR(nl);
	return 0;
}

void netlink_close(struct netlink *nl)
{
	if (!nl)
		return;
	nl_socket_free(nl->events);
	nl_socket_free(nl->commands);
	free(nl);
}

static int watch_families(struct netlink *nl, struct nl_sock *resolver)
{
	int r;

	if (nl->watching_families)
		return 0;
	r = genl_ctrl_resolve_grp(resolver, "nlctrl", "notify");
	if (r >= 0)
		r = nl_socket_add_membership(nl->events, r);
	if (r < 0)
		return nle_errno(r);
	nl->watching_families = true;
	return 0;
}

int netlink_join(struct netlink *nl, enum netlink_join *ret)
{
	CLEANUP(free_sock) struct nl_sock *resolver = NULL;
	int family, group, r;

	r = connect_socket(&resolver);
	if (r < 0)
		return r;
	/* Watch first, resolve second: a family that comes in between is not missed. */
	r = watch_families(nl, resolver);
	if (r < 0)
		return r;
	family = genl_ctrl_resolve(resolver, HANDSHAKE_FAMILY_NAME);
	group = family < 0 ? family : genl_ctrl_resolve_grp(resolver, HANDSHAKE_FAMILY_NAME,
							    HANDSHAKE_MCGRP_TLSHD);
	if (group < 0) {
		r = nle_errno(group);
		if (r != -ENOENT)
			return r;
		nl->family = -1;
		*ret = NETLINK_NO_FAMILY;
		return 0;
	}
	r = nl_socket_add_membership(nl->events, group);
	if (r < 0)
		return nle_errno(r);
	nl->family = family;
	*ret = NETLINK_JOINED;
	return 0;
}

int netlink_fd(const struct netlink *nl)
{
	return nl_socket_get_fd(nl->events);
}

static int any_sequence(struct nl_msg *msg, void *arg)
{
	return NL_OK;
}

static int on_event(struct nl_msg *msg, void *arg)
{
	struct answer *a = arg;
	int type = nlmsg_hdr(msg)->nlmsg_type;

	if (type == GENL_ID_CTRL)
		a->events |= NETLINK_FAMILY;
	else if (type == a->nl->family)
		a->events |= NETLINK_READY;
	return NL_OK;
}

enum netlink_events netlink_events(struct netlink *nl)
{
	struct answer a = { .nl = nl };
	CLEANUP(free_cb) struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int r;

	if (!cb)
		return NETLINK_READY;
	nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, any_sequence, NULL);
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_event, &a);
	do {
		r = nl_recvmsgs(nl->events, cb);
	} while (r == 0 || r == -NLE_INTR);
	if (r != -NLE_AGAIN) {
		log_debug(nl->log, "netlink: notifications lost: %s", nl_geterror(r));
		a.events |= NETLINK_READY;
	}
	return a.events;
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

static int on_ack(struct nl_msg *msg, void *arg)
{
	struct answer *a = arg;

	a->complete = true;
	return NL_STOP;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *err, void *arg)
{
	struct answer *a = arg;

	if (err->msg.nlmsg_seq != a->seq)
		return NL_SKIP;
	a->error = err->error;
	a->complete = true;
	return NL_STOP;
}

/* The two serials of one certificate attribute; the first such attribute counts. */
static void parse_certificate(struct nlattr *nest, struct netlink_request *req)
{
	static const struct nla_policy policy_of[HANDSHAKE_A_X509_MAX + 1] = {
		[HANDSHAKE_A_X509_CERT] = { .type = NLA_U32 },
		[HANDSHAKE_A_X509_PRIVKEY] = { .type = NLA_U32 },
	};
	struct nla_policy policy[HANDSHAKE_A_X509_MAX + 1];
	struct nlattr *tb[HANDSHAKE_A_X509_MAX + 1];

	if (req->certificate || req->private_key)
		return;
	memcpy(policy, policy_of, sizeof(policy));
	if (nla_parse_nested(tb, HANDSHAKE_A_X509_MAX, nest, policy) < 0) {
		req->refusal = "the kernel's certificate attribute is malformed";
		return;
	}
	if (tb[HANDSHAKE_A_X509_CERT])
		req->certificate = nla_get_s32(tb[HANDSHAKE_A_X509_CERT]);
	if (tb[HANDSHAKE_A_X509_PRIVKEY])
		req->private_key = nla_get_s32(tb[HANDSHAKE_A_X509_PRIVKEY]);
}

/* A cut name would be verified as another name: too long is a refusal. */
static void parse_peername(struct nlattr *attr, struct netlink_request *req)
{
	size_t len = strnlen(nla_data(attr), nla_len(attr));

	if (len >= sizeof(req->peername)) {
		req->refusal = "the peer name is longer than 255 bytes";
		return;
	}
	memcpy(req->peername, nla_data(attr), len);
	req->peername[len] = 0;
}

static void parse_message_type(uint32_t type, struct netlink_request *req)
{
	if (type == HANDSHAKE_MSG_TYPE_CLIENTHELLO)
		req->role = HS_CLIENT;
	else if (type == HANDSHAKE_MSG_TYPE_SERVERHELLO)
		req->role = HS_SERVER;
	else
		req->refusal = "the kernel asks for a message type this version does not know";
}

static void parse_auth_mode(uint32_t mode, struct netlink_request *req)
{
	if (mode == HANDSHAKE_AUTH_UNAUTH)
		req->auth = HS_AUTH_UNAUTH;
	else if (mode == HANDSHAKE_AUTH_PSK)
		req->auth = HS_AUTH_PSK;
	else if (mode == HANDSHAKE_AUTH_X509)
		req->auth = HS_AUTH_X509;
	else
		req->refusal = "the kernel asks for an authentication mode this version does not know";
}

static void parse_attribute(struct nlattr *attr, struct netlink_request *req)
{
	int type = nla_type(attr);

	if (type != HANDSHAKE_A_ACCEPT_CERTIFICATE && type != HANDSHAKE_A_ACCEPT_PEERNAME &&
	    nla_len(attr) < (int)sizeof(uint32_t)) {
		req->refusal = "an attribute of the kernel's request is too short";
		return;
	}

	switch (type) {
	case HANDSHAKE_A_ACCEPT_SOCKFD:
		req->fd = nla_get_s32(attr);
		break;
	case HANDSHAKE_A_ACCEPT_MESSAGE_TYPE:
		parse_message_type(nla_get_u32(attr), req);
		break;
	case HANDSHAKE_A_ACCEPT_TIMEOUT:
		req->timeout_ms = nla_get_u32(attr);
		break;
	case HANDSHAKE_A_ACCEPT_AUTH_MODE:
		parse_auth_mode(nla_get_u32(attr), req);
		break;
	case HANDSHAKE_A_ACCEPT_PEER_IDENTITY:
		if (req->n_peer_ids < HS_PEERIDS_MAX)
			req->peer_ids[req->n_peer_ids++] = nla_get_s32(attr);
		break;
	case HANDSHAKE_A_ACCEPT_CERTIFICATE:
		parse_certificate(attr, req);
		break;
	case HANDSHAKE_A_ACCEPT_PEERNAME:
		parse_peername(attr, req);
		break;
	case HANDSHAKE_A_ACCEPT_KEYRING:
		req->keyring = nla_get_s32(attr);
		break;
	}
}

static int on_accept(struct nl_msg *msg, void *arg)
{
	struct answer *a = arg;
	struct genlmsghdr *head = nlmsg_data(nlmsg_hdr(msg));
	struct nlattr *attr;
	bool typed = false, moded = false;
	int left;

	nla_for_each_attr(attr, genlmsg_attrdata(head, 0), genlmsg_attrlen(head, 0), left) {
		parse_attribute(attr, a->request);
		typed |= nla_type(attr) == HANDSHAKE_A_ACCEPT_MESSAGE_TYPE;
		moded |= nla_type(attr) == HANDSHAKE_A_ACCEPT_AUTH_MODE;
	}
	/* Nothing is assumed that was not asked for. */
	if (!typed || !moded)
		a->request->refusal = "the kernel's request names no message type or no authentication mode";
	a->complete = true;
	return NL_STOP;
}

static int new_command(struct netlink *nl, uint8_t cmd, int flags, struct nl_msg **ret)
{
	CLEANUP(free_msg) struct nl_msg *msg = nlmsg_alloc();

	if (nl->family < 0)
		return -EAGAIN;	/* no family: no request of it either */
	if (!msg || !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, nl->family, 0, flags, cmd,
				 HANDSHAKE_FAMILY_VERSION))
		return -ENOMEM;
	*ret = TAKE_PTR(msg);
	return 0;
}

/* Sends @msg and reads until its answer has come. Returns the kernel's errno. */
static int command(struct netlink *nl, struct nl_msg *msg, struct netlink_request *request)
{
	struct answer a = { .nl = nl, .request = request };
	CLEANUP(free_cb) struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int r;

	if (!cb)
		return -ENOMEM;
	nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, on_sequence, &a);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_ack, &a);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, &a);
	if (request)
		nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_accept, &a);

	nl_complete_msg(nl->commands, msg);
	a.seq = nlmsg_hdr(msg)->nlmsg_seq;
	r = nl_send(nl->commands, msg);
	if (r < 0)
		return nle_errno(r) == -EAGAIN ? -ENOBUFS : nle_errno(r);
	while (!a.complete) {
		r = nl_recvmsgs(nl->commands, cb);
		if (a.complete || r == -NLE_INTR)
			continue;
		/* -EAGAIN would read as "no request": an answer that is missing is a fault. */
		if (r < 0)
			return nle_errno(r) == -EAGAIN ? -ENOBUFS : nle_errno(r);
	}
	return a.error;
}

int netlink_accept(struct netlink *nl, struct netlink_request *ret)
{
	struct netlink_request req = { .fd = -1 };
	CLEANUP(free_msg) struct nl_msg *msg = NULL;
	int r;

	r = new_command(nl, HANDSHAKE_CMD_ACCEPT, 0, &msg);
	if (r < 0)
		return r;
	if (nla_put_u32(msg, HANDSHAKE_A_ACCEPT_HANDLER_CLASS, HANDSHAKE_HANDLER_CLASS_TLSHD) < 0)
		return -ENOMEM;
	r = command(nl, msg, &req);
	if (r < 0)
		return r;
	if (req.fd < 0)
		return -EPROTO;
	*ret = req;
	return 0;
}

int netlink_done(struct netlink *nl, int fd, unsigned int status, uint32_t remote_auth)
{
	CLEANUP(free_msg) struct nl_msg *msg = NULL;
	int r;

	r = new_command(nl, HANDSHAKE_CMD_DONE, NLM_F_ACK, &msg);
	if (r < 0)
		return r == -EAGAIN ? -ENOENT : r;
	if (nla_put_u32(msg, HANDSHAKE_A_DONE_STATUS, status) < 0 ||
	    nla_put_s32(msg, HANDSHAKE_A_DONE_SOCKFD, fd) < 0)
		return -ENOMEM;
	if (remote_auth && nla_put_u32(msg, HANDSHAKE_A_DONE_REMOTE_AUTH, remote_auth) < 0)
		return -ENOMEM;
	return command(nl, msg, NULL);
}
