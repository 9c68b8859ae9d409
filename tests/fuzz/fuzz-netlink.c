// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the kernel's netlink sockets deliver. An input is a sequence of calls: a
 * byte (bits 0-1: ACCEPT, notifications, join with the policy of DONE, DONE;
 * bits 2-4: how many datagrams the kernel has; bit 5, of a join: the first of them is
 * about the family), then its datagrams: a byte (bit 0: they are answers, so the number of
 * the command is put into each message) and u16 length and bytes. Without a datagram there is
 * nothing to be read.
 *
 * Needs -Wl,--wrap= of nl_connect, nl_send, recv, nl_socket_add_membership,
 * nl_socket_set_nonblocking, setsockopt.
 */
#include <errno.h>
#include <linux/genetlink.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <sys/socket.h>

#include "fuzz.h"
#include "tlshd/monitor/netlink-policy.h"
#include "tlshd/monitor/netlink.h"

#define FAMILY 27
#define GROUP 5
#define CALLS_MAX 16

/* What the kernel has queued for the socket that is read next. */
struct queue {
	struct input in;
	unsigned int n;
	uint32_t seq;	/* of the last command */
	bool sincere;	/* the kernel says the truth about families */
	bool family;	/* it is asked for that now */
};

static struct queue queue;

int __wrap_nl_connect(struct nl_sock *sk, int protocol);
int __wrap_nl_send(struct nl_sock *sk, struct nl_msg *msg);
ssize_t __wrap_recv(int fd, void *buf, size_t size, int flags);
int __wrap_nl_socket_add_membership(struct nl_sock *sk, int group);
int __wrap_nl_socket_set_nonblocking(const struct nl_sock *sk);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size);

int __wrap_nl_connect(struct nl_sock *sk, int protocol)
{
	return 0;
}

int __wrap_nl_send(struct nl_sock *sk, struct nl_msg *msg)
{
	const struct nlmsghdr *hdr = nlmsg_hdr(msg);

	queue.seq = hdr->nlmsg_seq;
	queue.family = queue.sincere && hdr->nlmsg_type == GENL_ID_CTRL &&
		       genlmsg_hdr(nlmsg_hdr(msg))->cmd == CTRL_CMD_GETFAMILY;
	return (int)nlmsg_hdr(msg)->nlmsg_len;
}

int __wrap_nl_socket_add_membership(struct nl_sock *sk, int group)
{
	if (queue.sincere)
		g_assert_cmpint(group, ==, GROUP);
	return 0;
}

int __wrap_nl_socket_set_nonblocking(const struct nl_sock *sk)
{
	return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	return 0;
}

/* Each message of the datagram becomes an answer to the last command, as does what an error quotes. */
static void number(unsigned char *buf, size_t len)
{
	struct nlmsghdr *hdr = (struct nlmsghdr *)buf;
	int left = (int)len;

	for (; nlmsg_ok(hdr, left); hdr = nlmsg_next(hdr, &left)) {
		struct nlmsgerr *error = nlmsg_data(hdr);

		hdr->nlmsg_seq = queue.seq;
		if (hdr->nlmsg_type == NLMSG_ERROR && nlmsg_datalen(hdr) >= (int)sizeof(*error))
			error->msg.nlmsg_seq = queue.seq;
	}
}

static void add_group(struct nl_msg *msg, int index, const char *name)
{
	struct nlattr *group = nla_nest_start(msg, index);

	nla_put_u32(msg, CTRL_ATTR_MCAST_GRP_ID, GROUP);
	nla_put_string(msg, CTRL_ATTR_MCAST_GRP_NAME, name);
	nla_nest_end(msg, group);
}

/* Of whatever family: it has the groups that are looked for. */
static ssize_t tell_family(void *buf, size_t size)
{
	struct nl_msg *msg = nlmsg_alloc();
	struct nlattr *groups;
	size_t len;

	genlmsg_put(msg, 0, queue.seq, GENL_ID_CTRL, 0, 0, CTRL_CMD_NEWFAMILY, 2);
	nla_put_u16(msg, CTRL_ATTR_FAMILY_ID, FAMILY);
	groups = nla_nest_start(msg, CTRL_ATTR_MCAST_GROUPS);
	add_group(msg, 1, "notify");
	add_group(msg, 2, "tlshd");
	nla_nest_end(msg, groups);
	len = nlmsg_hdr(msg)->nlmsg_len;
	g_assert_cmpuint(len, <=, size);
	memcpy(buf, nlmsg_hdr(msg), len);
	nlmsg_free(msg);
	return (ssize_t)len;
}

/* As recv(2) with MSG_TRUNC: what does not fit is lost, its length is not. */
ssize_t __wrap_recv(int fd, void *buf, size_t size, int flags)
{
	const uint8_t *bytes;
	bool answer;
	size_t len;

	g_assert_cmpint(flags, ==, MSG_DONTWAIT | MSG_TRUNC);
	if (queue.family) {
		queue.family = false;
		return tell_family(buf, size);
	}
	if (!queue.n || !queue.in.left) {
		errno = EAGAIN;
		return -1;
	}
	queue.n--;
	answer = take_u8(&queue.in) & 1;
	bytes = take_bytes(&queue.in, take_u16(&queue.in), &len);
	memcpy(buf, bytes, MIN(len, size));
	if (answer)
		number(buf, MIN(len, size));
	return (ssize_t)len;
}

static void check_request(const struct netlink_request *req)
{
	g_assert_cmpint(req->fd, >=, 0);
	g_assert_cmpuint(req->role, <, HS_N_ROLES);
	g_assert_cmpuint(req->auth, <, HS_N_AUTHS);
	g_assert_cmpuint(req->n_peer_ids, <=, HS_PEERIDS_MAX);
	g_assert_nonnull(memchr(req->peername, 0, sizeof(req->peername)));
	if (req->refusal)
		check_line(req->refusal, LOG_TEXT_MAX);
}

static void accept_one(struct netlink *nl)
{
	struct netlink_request req = { .fd = -12345 };
	int r = netlink_accept(nl, &req);

	if (r == 0)
		check_request(&req);
	else
		g_assert_cmpint(req.fd, ==, -12345);
	g_assert_cmpint(r, <=, 0);
	/* "None is queued" is what the kernel says, never silence. */
	g_assert_true(r != -EAGAIN || queue.seq);
}

static void join(struct netlink *nl, bool insincere)
{
	enum netlink_join joined = NETLINK_NO_FAMILY;
	int r;

	queue.sincere = !insincere;
	r = netlink_join(nl, &joined);
	g_assert_cmpint(r, <=, 0);
	if (!insincere) {
		g_assert_cmpint(r, ==, 0);
		g_assert_cmpint(joined, ==, NETLINK_JOINED);
	}
	queue.sincere = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(netlink_closep) struct netlink *nl = NULL;

	queue = (struct queue){ .in = { data, size }, .sincere = true };
	g_assert_cmpint(netlink_open(&nl, &fuzz_log), ==, 0);
	join(nl, false);
	for (unsigned int i = 0; i < CALLS_MAX && queue.in.left; i++) {
		uint8_t call = take_u8(&queue.in);

		queue.n = call >> 2 & 7;
		switch (call & 3) {
		case 0:
			accept_one(nl);
			break;
		case 1:
			g_assert_cmpuint(netlink_events(nl), <=, NETLINK_READY | NETLINK_FAMILY);
			break;
		case 2:
			join(nl, call >> 5 & 1);
			break;
		default:
			g_assert_cmpint(netlink_done(nl, 5, call >> 5, call >> 7), <=, 0);
		}
	}
	return 0;
}
