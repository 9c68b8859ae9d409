// SPDX-License-Identifier: GPL-2.0
/*
 * The agent's end of the generic netlink family "handshake".
 *
 * Nothing here allocates memory or takes a lock: a child of a process with
 * threads may use it all.
 */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "upcall.h"

#define REPLY_S	10

static const struct nlattr *first_attr(const struct msg *msg)
{
	return (const struct nlattr *)(msg->bytes + NLMSG_HDRLEN + GENL_HDRLEN);
}

static bool attr_ok(const struct nlattr *attr, const char *end)
{
	return (const char *)attr + NLA_HDRLEN <= end && attr->nla_len >= NLA_HDRLEN &&
	       (const char *)attr + attr->nla_len <= end;
}

static const struct nlattr *next_attr(const struct nlattr *attr)
{
	return (const struct nlattr *)((const char *)attr + NLA_ALIGN(attr->nla_len));
}

static const void *attr_data(const struct nlattr *attr)
{
	return (const char *)attr + NLA_HDRLEN;
}

static uint32_t attr_u32(const struct nlattr *attr)
{
	uint32_t value = 0;

	if (attr->nla_len >= NLA_HDRLEN + sizeof(value))
		memcpy(&value, attr_data(attr), sizeof(value));
	return value;
}

#define for_each_attr(attr, from, end) \
	for (attr = (from); attr_ok(attr, end); attr = next_attr(attr))

void msg_init(struct msg *msg, uint16_t family, uint8_t cmd)
{
	struct genlmsghdr genl = { .cmd = cmd, .version = HANDSHAKE_FAMILY_VERSION };

	memset(msg, 0, sizeof(*msg));
	msg->nl.nlmsg_type = family;
	msg->nl.nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN;
	memcpy(msg->bytes + NLMSG_HDRLEN, &genl, sizeof(genl));
}

void msg_put(struct msg *msg, uint16_t type, const void *data, size_t len)
{
	struct nlattr attr = { .nla_type = type, .nla_len = (uint16_t)(NLA_HDRLEN + len) };
	char *at = msg->bytes + NLMSG_ALIGN(msg->nl.nlmsg_len);

	if (at + NLA_HDRLEN + len > msg->bytes + sizeof(msg->bytes))
		return;
	memcpy(at, &attr, sizeof(attr));
	memcpy(at + NLA_HDRLEN, data, len);
	msg->nl.nlmsg_len = NLMSG_ALIGN(msg->nl.nlmsg_len) + NLA_ALIGN(attr.nla_len);
}

void msg_put_u32(struct msg *msg, uint16_t type, uint32_t value)
{
	msg_put(msg, type, &value, sizeof(value));
}

int nl_send(struct nl *nl, struct msg *msg, uint16_t flags)
{
	msg->nl.nlmsg_flags = flags;
	msg->nl.nlmsg_seq = ++nl->seq;
	return send(nl->fd, msg, msg->nl.nlmsg_len, 0) < 0 ? -errno : 0;
}

static bool is_ready(const struct nl *nl, const struct msg *msg)
{
	return msg->nl.nlmsg_type == nl->family && msg->nl.nlmsg_seq == 0 &&
	       msg->bytes[NLMSG_HDRLEN] == HANDSHAKE_CMD_READY;
}

/* One message; the kernel sends no two in a datagram to us. */
static int receive(struct nl *nl, struct msg *msg, int flags)
{
	ssize_t got;

	for (;;) {
		memset(msg, 0, sizeof(*msg));
		got = recv(nl->fd, msg, sizeof(*msg), flags);
		if (got < 0 && errno == ENOBUFS)
			nl->overruns++;
		else if (got < 0)
			return -errno;
		else if (is_ready(nl, msg))
			nl->readies++;
		if (got >= 0)
			return 0;
	}
}

/*
 * Waits for the acknowledgment of the last request, which is returned, or
 * -ETIME when there is none. The answer before it, if any, is put into @reply.
 */
int nl_answer(struct nl *nl, struct msg *reply)
{
	struct msg in;
	int ret, error;

	if (reply)
		memset(reply, 0, sizeof(*reply));
	for (;;) {
		ret = receive(nl, &in, 0);
		if (ret)
			return ret == -EAGAIN ? -ETIME : ret;
		if (in.nl.nlmsg_seq != nl->seq)
			continue;
		if (in.nl.nlmsg_type == NLMSG_ERROR) {
			memcpy(&error, in.bytes + NLMSG_HDRLEN, sizeof(error));
			return error;
		}
		if (reply)
			*reply = in;
	}
}

/* Sends a request and waits for its acknowledgment, see nl_answer(). */
int nl_talk(struct nl *nl, struct msg *msg, struct msg *reply)
{
	int ret = nl_send(nl, msg, NLM_F_REQUEST | NLM_F_ACK);

	if (ret && reply)
		memset(reply, 0, sizeof(*reply));
	return ret ? ret : nl_answer(nl, reply);
}

/* Throws away what waits. Returns how many READY there were. */
unsigned int nl_drain(struct nl *nl)
{
	unsigned int before = nl->readies;
	struct msg in;

	while (!receive(nl, &in, MSG_DONTWAIT))
		;
	return nl->readies - before;
}

/* Waits for the first READY. Returns how many came, 0 when the time is over. */
unsigned int nl_wait_ready(struct nl *nl, unsigned int ms)
{
	struct pollfd poller = { .fd = nl->fd, .events = POLLIN };
	uint64_t end = now_ms() + ms;
	unsigned int n = nl_drain(nl);

	while (!n && now_ms() < end) {
		poll(&poller, 1, 20);
		n = nl_drain(nl);
	}
	return n;
}

/* Until the kernel has no room for an answer. */
void nl_fill(struct nl *nl)
{
	struct msg msg;
	int i, size = 1;

	setsockopt(nl->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	for (i = 0; i < 100; i++) {
		msg_init(&msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
		msg_put(&msg, CTRL_ATTR_FAMILY_NAME, HANDSHAKE_FAMILY_NAME,
			sizeof(HANDSHAKE_FAMILY_NAME));
		nl_send(nl, &msg, NLM_F_REQUEST);
	}
}

static void read_group(struct nl *nl, const struct nlattr *group)
{
	const char *end = (const char *)group + group->nla_len;
	const struct nlattr *attr;
	bool wanted = false;
	uint32_t id = 0;

	for_each_attr(attr, attr_data(group), end) {
		if (attr->nla_type == CTRL_ATTR_MCAST_GRP_ID)
			id = attr_u32(attr);
		else if (attr->nla_type == CTRL_ATTR_MCAST_GRP_NAME)
			wanted = !strcmp(attr_data(attr), HANDSHAKE_MCGRP_TLSHD);
	}
	if (wanted)
		nl->group = id;
}

static int resolve(struct nl *nl)
{
	const struct nlattr *attr, *group;
	struct msg msg, reply;
	const char *end;
	int ret;

	msg_init(&msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	msg_put(&msg, CTRL_ATTR_FAMILY_NAME, HANDSHAKE_FAMILY_NAME, sizeof(HANDSHAKE_FAMILY_NAME));
	ret = nl_talk(nl, &msg, &reply);
	if (ret)
		return ret;
	end = reply.bytes + reply.nl.nlmsg_len;
	for_each_attr(attr, first_attr(&reply), end) {
		if (attr->nla_type == CTRL_ATTR_FAMILY_ID)
			memcpy(&nl->family, attr_data(attr), sizeof(nl->family));
		if (attr->nla_type != CTRL_ATTR_MCAST_GROUPS)
			continue;
		for_each_attr(group, attr_data(attr), (const char *)attr + attr->nla_len)
			read_group(nl, group);
	}
	return nl->family && nl->group ? 0 : -ENOENT;
}

/* Returns -ENOENT when the kernel has no such family. */
int nl_open(struct nl *nl)
{
	const struct timeval limit = { .tv_sec = REPLY_S };
	int ret;

	memset(nl, 0, sizeof(*nl));
	nl->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (nl->fd < 0)
		return -errno;
	setsockopt(nl->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	ret = resolve(nl);
	if (ret)
		nl_close(nl);
	return ret;
}

int nl_listen(struct nl *nl)
{
	return setsockopt(nl->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &nl->group,
			  sizeof(nl->group)) ? -errno : 0;
}

void nl_close(struct nl *nl)
{
	if (nl->fd >= 0)
		close(nl->fd);
	nl->fd = -1;
}

static void parse_certificate(const struct nlattr *nest, struct accepted *acc)
{
	const char *end = (const char *)nest + nest->nla_len;
	const struct nlattr *attr;

	acc->n_certs++;
	for_each_attr(attr, attr_data(nest), end) {
		if (attr->nla_type == HANDSHAKE_A_X509_CERT)
			acc->cert = (int32_t)attr_u32(attr);
		else if (attr->nla_type == HANDSHAKE_A_X509_PRIVKEY)
			acc->privkey = (int32_t)attr_u32(attr);
	}
}

static void parse_attr(const struct nlattr *attr, uint16_t type, struct accepted *acc)
{
	size_t len = attr->nla_len - (size_t)NLA_HDRLEN;

	switch (type) {
	case HANDSHAKE_A_ACCEPT_SOCKFD:
		acc->fd = (int)attr_u32(attr);
		break;
	case HANDSHAKE_A_ACCEPT_MESSAGE_TYPE:
		acc->type = attr_u32(attr);
		break;
	case HANDSHAKE_A_ACCEPT_TIMEOUT:
		acc->timeout = attr_u32(attr);
		break;
	case HANDSHAKE_A_ACCEPT_AUTH_MODE:
		acc->auth = attr_u32(attr);
		break;
	case HANDSHAKE_A_ACCEPT_PEER_IDENTITY:
		if (acc->n_peerids < ARRAY_SIZE(acc->peerids))
			acc->peerids[acc->n_peerids++] = attr_u32(attr);
		break;
	case HANDSHAKE_A_ACCEPT_CERTIFICATE:
		parse_certificate(attr, acc);
		break;
	case HANDSHAKE_A_ACCEPT_PEERNAME:
		if (len <= sizeof(acc->peername))
			memcpy(acc->peername, attr_data(attr), len);
		acc->peername[sizeof(acc->peername) - 1] = 0;
		break;
	case HANDSHAKE_A_ACCEPT_KEYRING:
		acc->keyring = attr_u32(attr);
		break;
	}
}

void msg_parse_accept(const struct msg *msg, struct accepted *acc)
{
	const char *end = msg->bytes + msg->nl.nlmsg_len;
	const struct nlattr *attr;
	uint16_t type;

	memset(acc, 0, sizeof(*acc));
	acc->fd = -1;
	if (msg->nl.nlmsg_len < NLMSG_HDRLEN + GENL_HDRLEN || msg->nl.nlmsg_len > sizeof(*msg) ||
	    msg->bytes[NLMSG_HDRLEN] != HANDSHAKE_CMD_ACCEPT)
		return;
	for_each_attr(attr, first_attr(msg), end) {
		type = attr->nla_type & NLA_TYPE_MASK;
		if (type < 32) {
			acc->twice |= acc->has & 1U << type;
			acc->has |= 1U << type;
		}
		parse_attr(attr, type, acc);
	}
}

/* Returns -EAGAIN when nothing is queued. */
int accept_try(struct nl *nl, struct accepted *acc)
{
	struct msg msg, reply;
	int ret;

	msg_init(&msg, nl->family, HANDSHAKE_CMD_ACCEPT);
	msg_put_u32(&msg, HANDSHAKE_A_ACCEPT_HANDLER_CLASS, CLASS_TLSHD);
	ret = nl_talk(nl, &msg, &reply);
	msg_parse_accept(&reply, acc);
	return ret;
}

/* The same until something is. */
int accept_wait(struct nl *nl, struct accepted *acc, unsigned int ms)
{
	uint64_t end = now_ms() + ms;
	int ret;

	for (;;) {
		ret = accept_try(nl, acc);
		if (ret != -EAGAIN || now_ms() >= end)
			return ret;
		pause_ms(2);
	}
}

int done(struct nl *nl, int fd, uint32_t status)
{
	struct msg msg;

	msg_init(&msg, nl->family, HANDSHAKE_CMD_DONE);
	msg_put_u32(&msg, HANDSHAKE_A_DONE_STATUS, status);
	msg_put_u32(&msg, HANDSHAKE_A_DONE_SOCKFD, (uint32_t)fd);
	return nl_talk(nl, &msg, NULL);
}

/* Success, with so many serials of keys. */
int done_auth(struct nl *nl, int fd, unsigned int n, const uint32_t *auth)
{
	struct msg msg;
	unsigned int i;

	msg_init(&msg, nl->family, HANDSHAKE_CMD_DONE);
	msg_put_u32(&msg, HANDSHAKE_A_DONE_SOCKFD, (uint32_t)fd);
	msg_put_u32(&msg, HANDSHAKE_A_DONE_STATUS, 0);
	for (i = 0; i < n; i++)
		msg_put_u32(&msg, HANDSHAKE_A_DONE_REMOTE_AUTH, auth[i]);
	return nl_talk(nl, &msg, NULL);
}
