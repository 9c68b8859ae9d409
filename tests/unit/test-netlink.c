// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The commands and notifications, with a kernel of the test's own: the sockets
 * are of the protocol by which programs talk to each other, and nl_send() hands
 * the message to fake_kernel(), whose answers are queued when it returns, as the
 * real one's are. test-netlink-parse.c has what is in a request, test-netlink-policy.c what
 * DONE may carry.
 */
#include <glib.h>
#include <sys/socket.h>

#include <netlink/netlink.h>

static int fake_connect(struct nl_sock *sk, int protocol);
static int fake_send(struct nl_sock *sk, struct nl_msg *msg);

static ssize_t fake_recv(int fd, void *buf, size_t size, int flags);

/* The family is another where one is needed that this host's kernel has. */
#include "uapi/handshake.h"
#undef HANDSHAKE_FAMILY_NAME
#undef HANDSHAKE_MCGRP_TLSHD
#define HANDSHAKE_FAMILY_NAME family_name
#define HANDSHAKE_MCGRP_TLSHD group_name
static const char *family_name = "handshake", *group_name = "tlshd";

#define recv fake_recv
#define nl_connect fake_connect
#define nl_send fake_send
#include "tlshd/monitor/netlink-command.c"
#include "tlshd/monitor/netlink.c"
#undef nl_connect
#undef nl_send
#undef recv

#include "fail-malloc.h"
#include "netlink-kernel.h"

#define FAMILY 27

/* Which answers the kernel has for the next commands. */
enum reply {
	REPLY_NONE,
	REPLY_REQUEST,		/* of ACCEPT */
	REPLY_NO_SOCKET,	/* a request without a descriptor */
	REPLY_ERROR,
	REPLY_ACK,
	REPLY_STALE,		/* answers to an earlier command, then REPLY_REQUEST or ACK */
};

struct world {
	struct log log;
	struct netlink *nl;
	enum reply reply;
	int error, send_error;
	int recv_error;		/* positive; of the next recv_faults */
	unsigned int recv_faults;
	struct nl_msg *last;	/* command */
};

static struct world *world;
static bool real_kernel;

static int fake_connect(struct nl_sock *sk, int protocol)
{
	g_assert_cmpint(protocol, ==, NETLINK_GENERIC);
	return nl_connect(sk, real_kernel ? NETLINK_GENERIC : NETLINK_USERSOCK);
}

static ssize_t fake_recv(int fd, void *buf, size_t size, int flags)
{
	if (world && world->recv_faults) {
		world->recv_faults--;
		errno = world->recv_error;
		return -1;
	}
	return recv(fd, buf, size, flags);
}

static struct nl_msg *new_reply(uint32_t seq)
{
	struct nl_msg *msg = nlmsg_alloc_size(16384);

	g_assert_nonnull(genlmsg_put(msg, 0, seq, FAMILY, 0, 0, HANDSHAKE_CMD_ACCEPT, 1));
	return msg;
}

static struct nl_msg *request_reply(uint32_t seq, bool with_socket)
{
	struct nl_msg *msg = new_reply(seq);

	if (with_socket)
		nla_put_s32(msg, HANDSHAKE_A_ACCEPT_SOCKFD, 99);
	nla_put_u32(msg, HANDSHAKE_A_ACCEPT_MESSAGE_TYPE, HANDSHAKE_MSG_TYPE_SERVERHELLO);
	nla_put_u32(msg, HANDSHAKE_A_ACCEPT_AUTH_MODE, HANDSHAKE_AUTH_X509);
	return msg;
}

static void fake_kernel(struct nl_sock *sk, uint32_t seq)
{
	switch (world->reply) {
	case REPLY_NONE:
		break;
	case REPLY_STALE:
		kernel_sends(sk, request_reply(seq - 1, true));
		kernel_sends(sk, error_reply(seq - 1, -EMFILE));
		kernel_sends(sk, error_reply(seq - 1, 0));
		kernel_sends(sk, world->error ? error_reply(seq, world->error) :
						request_reply(seq, true));
		break;
	case REPLY_REQUEST:
	case REPLY_NO_SOCKET:
		kernel_sends(sk, request_reply(seq, world->reply == REPLY_REQUEST));
		break;
	case REPLY_ERROR:
		kernel_sends(sk, error_reply(seq, world->error));
		break;
	case REPLY_ACK:
		kernel_sends(sk, error_reply(seq, 0));
		break;
	}
}

static int fake_send(struct nl_sock *sk, struct nl_msg *msg)
{
	if (real_kernel)
		return nl_send(sk, msg);
	g_assert_true(sk == world->nl->commands);
	if (world->send_error)
		return world->send_error;
	fail_malloc_pause();
	nlmsg_free(world->last);
	world->last = nlmsg_convert(nlmsg_hdr(msg));
	fake_kernel(sk, nlmsg_hdr(msg)->nlmsg_seq);
	fail_malloc_go_on();
	return 1;
}

static void sink(void *ctx, int priority, const char *text, const struct log_field *fields,
		 size_t n_fields)
{
}

static void set_up(struct world *w, gconstpointer unused)
{
	alarm(60);
	world = w;
	real_kernel = false;
	w->log = (struct log){ LOG_DEBUG, sink, NULL };
	g_assert_cmpint(netlink_open(&w->nl, &w->log), ==, 0);
	w->nl->family = FAMILY;
}

static void tear_down(struct world *w, gconstpointer unused)
{
	netlink_close(w->nl);
	nlmsg_free(w->last);
	world = NULL;
	alarm(0);
}

static void test_errnos(void)
{
	static const struct {
		int nle, want;
	} cases[] = {
		{ 0, 0 }, { NLE_AGAIN, -EAGAIN }, { NLE_INTR, -EINTR }, { NLE_NOMEM, -ENOBUFS },
		{ NLE_OBJ_NOTFOUND, -ENOENT }, { NLE_PERM, -EPERM }, { NLE_NOACCESS, -EPERM },
		{ NLE_AF_NOSUPPORT, -EPROTONOSUPPORT }, { NLE_OPNOTSUPP, -EPROTONOSUPPORT },
		{ NLE_FAILURE, -EIO }, { NLE_MAX, -EIO }, { 12345, -EIO },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_assert_cmpint(netlink_errno(cases[i].nle), ==, cases[i].want);
		g_assert_cmpint(netlink_errno(-cases[i].nle), ==, cases[i].want);
	}
}

/* --- commands --- */

static void test_accept(struct world *w, gconstpointer unused)
{
	struct netlink_request req = { .fd = -5 };
	struct nlattr *attr;

	w->reply = REPLY_REQUEST;
	g_assert_cmpint(netlink_accept(w->nl, &req), ==, 0);
	g_assert_cmpint(req.fd, ==, 99);
	g_assert_cmpint(req.role, ==, HS_SERVER);
	/* The kernel takes no other attribute in an ACCEPT. */
	g_assert_cmpint(nlmsg_hdr(w->last)->nlmsg_type, ==, FAMILY);
	g_assert_cmpint(genlmsg_hdr(nlmsg_hdr(w->last))->cmd, ==, HANDSHAKE_CMD_ACCEPT);
	g_assert_cmpint(nlmsg_attrlen(nlmsg_hdr(w->last), GENL_HDRLEN), ==, 8);
	attr = nlmsg_find_attr(nlmsg_hdr(w->last), GENL_HDRLEN, HANDSHAKE_A_ACCEPT_HANDLER_CLASS);
	g_assert_cmpuint(nla_get_u32(attr), ==, HANDSHAKE_HANDLER_CLASS_TLSHD);

	w->reply = REPLY_NO_SOCKET;
	req.fd = -5;
	g_assert_cmpint(netlink_accept(w->nl, &req), ==, -EPROTO);
	g_assert_cmpint(req.fd, ==, -5);
}

/* The kernel's errno comes through as it is, not as the library would fold it. */
static void test_accept_errors(struct world *w, gconstpointer unused)
{
	static const int errors[] = {
		EAGAIN, EPERM, EINVAL, EOPNOTSUPP, EMFILE, EACCES, ENOKEY, EKEYEXPIRED, ENOMEM,
	};
	struct netlink_request req;

	w->reply = REPLY_ERROR;
	for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
		w->error = -errors[i];
		g_assert_cmpint(netlink_accept(w->nl, &req), ==, -errors[i]);
	}
}

/* An answer that does not come is a fault, not "nothing queued"; it is not waited for. */
static void test_no_answer(struct world *w, gconstpointer unused)
{
	struct netlink_request req;

	w->reply = REPLY_NONE;
	g_assert_cmpint(netlink_accept(w->nl, &req), ==, -ENOBUFS);
	g_assert_cmpint(netlink_done(w->nl, 0, 0, 0), ==, -ENOBUFS);
	/* Not even asked: no request is used up. */
	w->send_error = -NLE_AGAIN;
	g_assert_cmpint(netlink_accept(w->nl, &req), ==, -ENOMEM);
	w->send_error = -NLE_NOMEM;
	g_assert_cmpint(netlink_accept(w->nl, &req), ==, -ENOMEM);
	w->send_error = 0;
	/* The answers of others than this command are passed over. */
	w->reply = REPLY_STALE;
	req.fd = -5;
	g_assert_cmpint(netlink_accept(w->nl, &req), ==, 0);
	g_assert_cmpint(req.fd, ==, 99);
	w->error = -EAGAIN;
	g_assert_cmpint(netlink_accept(w->nl, &req), ==, -EAGAIN);
	w->error = -EBUSY;
	g_assert_cmpint(netlink_done(w->nl, 0, 0, 0), ==, -EBUSY);
}

static void test_done(struct world *w, gconstpointer unused)
{
	const struct nlmsghdr *hdr;

	w->reply = REPLY_ACK;
	g_assert_cmpint(netlink_done(w->nl, 5, EACCES, 0), ==, 0);
	hdr = nlmsg_hdr(w->last);
	g_assert_cmpint(genlmsg_hdr(nlmsg_hdr(w->last))->cmd, ==, HANDSHAKE_CMD_DONE);
	g_assert_true(hdr->nlmsg_flags & NLM_F_ACK);
	g_assert_cmpint(nlmsg_attrlen(hdr, GENL_HDRLEN), ==, 16);
	g_assert_cmpuint(nla_get_u32(nlmsg_find_attr(nlmsg_hdr(w->last), GENL_HDRLEN,
						     HANDSHAKE_A_DONE_STATUS)), ==, EACCES);
	g_assert_cmpint(nla_get_s32(nlmsg_find_attr(nlmsg_hdr(w->last), GENL_HDRLEN,
						    HANDSHAKE_A_DONE_SOCKFD)), ==, 5);
	g_assert_cmpint(netlink_done(w->nl, 5, 0, 1), ==, 0);
	hdr = nlmsg_hdr(w->last);
	g_assert_cmpint(nlmsg_attrlen(hdr, GENL_HDRLEN), ==, 24);
	g_assert_cmpuint(nla_get_u32(nlmsg_find_attr(nlmsg_hdr(w->last), GENL_HDRLEN,
						     HANDSHAKE_A_DONE_REMOTE_AUTH)), ==, 1);
	w->reply = REPLY_ERROR;
	w->error = -EBUSY;
	g_assert_cmpint(netlink_done(w->nl, 5, 0, 0), ==, -EBUSY);
}

/* An error that is none: neither success nor a number to be printed as an errno. */
static void test_no_errno(struct world *w, gconstpointer unused)
{
	static const int errors[] = { 1, EBUSY, G_MAXINT, -4096, G_MININT };
	struct netlink_request req = { .fd = -5 };

	w->reply = REPLY_ERROR;
	for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
		w->error = errors[i];
		g_assert_cmpint(netlink_done(w->nl, 5, 0, 0), ==, -EIO);
		g_assert_cmpint(netlink_accept(w->nl, &req), ==, -EIO);
	}
	w->error = -4095;
	g_assert_cmpint(netlink_done(w->nl, 5, 0, 0), ==, -4095);
	g_assert_cmpint(req.fd, ==, -5);
}

static struct nl_msg *notification(int type)
{
	struct nl_msg *msg = nlmsg_alloc();

	g_assert_nonnull(genlmsg_put(msg, 0, 0, type, 0, 0, HANDSHAKE_CMD_READY, 1));
	return msg;
}

/* A request that was given out is not lost, an answer not withheld, for want of our memory. */
static void test_no_memory(struct world *w, gconstpointer unused)
{
	static const struct {
		enum reply reply;
		bool done;
	} cases[] = { { REPLY_REQUEST, false }, { REPLY_ACK, true }, { REPLY_STALE, false } };
	struct netlink_request req;

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		int r;

		w->reply = cases[i].reply;
		req.fd = -5;
		fail_malloc_begin(1, FAIL_FROM);
		r = cases[i].done ? netlink_done(w->nl, 5, 0, 1) : netlink_accept(w->nl, &req);
		fail_malloc_end();
		g_assert_cmpuint(fail_malloc_calls(), ==, 0);
		g_assert_cmpint(r, ==, 0);
		g_assert_cmpint(req.fd, ==, cases[i].done ? -5 : 99);
	}
	kernel_sends(w->nl->events, notification(GENL_ID_CTRL));
	kernel_sends(w->nl->events, notification(FAMILY));
	fail_malloc_begin(1, FAIL_FROM);
	g_assert_cmpint(netlink_events(w->nl), ==, NETLINK_READY | NETLINK_FAMILY);
	fail_malloc_end();
	g_assert_cmpuint(fail_malloc_calls(), ==, 0);
}

/* The kernel has no memory to give us the answer: it is still there when it has. */
static void test_read_again(struct world *w, gconstpointer unused)
{
	static const int errors[] = { ENOMEM, ENOBUFS, EINTR };
	struct netlink_request req;

	w->reply = REPLY_REQUEST;
	for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
		req.fd = -5;
		w->recv_error = errors[i];
		w->recv_faults = 3;
		g_assert_cmpint(netlink_accept(w->nl, &req), ==, 0);
		g_assert_cmpuint(w->recv_faults, ==, 0);
		g_assert_cmpint(req.fd, ==, 99);
	}
	/* Not for ever. */
	w->recv_error = ENOMEM;
	w->recv_faults = 100000;
	g_assert_cmpint(netlink_accept(w->nl, &req), ==, -ENOBUFS);
	w->recv_faults = 0;
}

static void test_no_family(struct world *w, gconstpointer unused)
{
	struct netlink_request req;

	w->nl->family = -1;
	g_assert_cmpint(netlink_accept(w->nl, &req), ==, -EAGAIN);
	g_assert_cmpint(netlink_done(w->nl, 5, 0, 0), ==, -ENOENT);
	g_assert_null(w->last);
}

/* --- notifications --- */

static void test_events(struct world *w, gconstpointer unused)
{
	int on = 0;
	socklen_t size = sizeof(on);

	g_assert_no_errno(getsockopt(nl_socket_get_fd(w->nl->events), SOL_NETLINK,
				     NETLINK_BROADCAST_ERROR, &on, &size));
	g_assert_cmpint(on, ==, 1);
	struct nl_msg *msg;

	g_assert_cmpint(netlink_events(w->nl), ==, 0);
	for (unsigned int i = 0; i < 20; i++)
		kernel_sends(w->nl->events, notification(FAMILY));
	g_assert_cmpint(netlink_events(w->nl), ==, NETLINK_READY);
	g_assert_cmpint(netlink_events(w->nl), ==, 0);
	kernel_sends(w->nl->events, notification(GENL_ID_CTRL));
	g_assert_cmpint(netlink_events(w->nl), ==, NETLINK_FAMILY);
	kernel_sends(w->nl->events, notification(GENL_ID_CTRL));
	kernel_sends(w->nl->events, notification(FAMILY));
	g_assert_cmpint(netlink_events(w->nl), ==, NETLINK_READY | NETLINK_FAMILY);
	kernel_sends(w->nl->events, notification(FAMILY + 1));
	g_assert_cmpint(netlink_events(w->nl), ==, 0);

	/* What is nonsense may have been a READY; the socket goes on. */
	kernel_sends(w->nl->events, error_reply(3, -EINVAL));
	g_assert_cmpint(netlink_events(w->nl), ==, NETLINK_READY);
	msg = notification(FAMILY);
	nlmsg_hdr(msg)->nlmsg_type = NLMSG_OVERRUN;
	kernel_sends(w->nl->events, msg);
	g_assert_cmpint(netlink_events(w->nl), ==, NETLINK_READY);
	kernel_sends(w->nl->events, notification(GENL_ID_CTRL));
	g_assert_cmpint(netlink_events(w->nl), ==, NETLINK_FAMILY);
}

/* ENOBUFS: requests may wait that nobody will tell of; the family may have come, too. */
static void test_overrun(struct world *w, gconstpointer unused)
{
	struct sockaddr_nl group = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	CLEANUP_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_USERSOCK);
	struct nl_msg *msg = notification(FAMILY + 1);
	unsigned int n = 0;

	if (nl_socket_add_membership(w->nl->events, 1) < 0) {
		nlmsg_free(msg);
		g_test_skip("to join a multicast group takes CAP_NET_ADMIN here");
		return;
	}
	/* More than any buffer holds; none of them is a READY. */
	for (unsigned int i = 0; i < 40000; i++)
		sendto(fd, nlmsg_hdr(msg), nlmsg_hdr(msg)->nlmsg_len, 0, (struct sockaddr *)&group,
		       sizeof(group));
	w->nl->family = -1;
	g_assert_cmpint(netlink_events(w->nl), ==, NETLINK_READY | NETLINK_FAMILY);
	w->nl->family = FAMILY;
	while (netlink_events(w->nl) && n++ < 100)
		;
	g_assert_cmpuint(n, <, 100);
	nlmsg_hdr(msg)->nlmsg_type = FAMILY;
	kernel_sends(w->nl->events, msg);
	g_assert_cmpint(netlink_events(w->nl), ==, NETLINK_READY);
}

/* --- this host's kernel --- */

static void test_join(void)
{
	const struct log log = { LOG_DEBUG, sink, NULL };
	CLEANUP(netlink_closep) struct netlink *nl = NULL;
	enum netlink_join joined = NETLINK_JOINED;

	real_kernel = true;
	g_assert_cmpint(netlink_open(&nl, &log), ==, 0);
	for (unsigned int i = 0; i < 3; i++) {
		g_assert_cmpint(netlink_join(nl, &joined), ==, 0);
		if (joined == NETLINK_JOINED) {
			g_test_skip("this kernel has the handshake family");
			return;
		}
		g_assert_cmpint(joined, ==, NETLINK_NO_FAMILY);
		g_assert_true(nl->watching_families);
		g_assert_cmpint(nl->family, <, 0);
		g_assert_cmpint(netlink_events(nl) & NETLINK_READY, ==, 0);
	}
}

/*
 * nlctrl is a family, too. While our memory is short it stays what it is: what was taken from it
 * must be answered.
 */
static void test_join_no_memory(void)
{
	const struct log log = { LOG_DEBUG, sink, NULL };
	CLEANUP(netlink_closep) struct netlink *nl = NULL;
	enum netlink_join joined = NETLINK_NO_FAMILY;
	unsigned long n = 0;
	int r = -1;

	real_kernel = true;
	family_name = "nlctrl";
	group_name = "notify";
	g_assert_cmpint(netlink_open(&nl, &log), ==, 0);
	g_assert_cmpint(netlink_join(nl, &joined), ==, 0);
	g_assert_cmpint(joined, ==, NETLINK_JOINED);
	g_assert_cmpint(nl->family, ==, GENL_ID_CTRL);
	for (enum fail_malloc how = FAIL_ONCE; how <= FAIL_FROM; how++) {
		bool failed = true;

		for (n = 1; failed; n++) {
			fail_malloc_begin(n, how);
			r = netlink_join(nl, &joined);
			failed = fail_malloc_end();
			g_assert_cmpint(nl->family, ==, GENL_ID_CTRL);
			g_assert_cmpint(joined, ==, NETLINK_JOINED);
		}
		g_assert_cmpint(r, ==, 0);
	}
	g_assert_cmpuint(n, >, 1);
	/* One that is not there is known not to be, and one without the group is not ours. */
	family_name = "nobody's";
	g_assert_cmpint(netlink_join(nl, &joined), ==, 0);
	g_assert_cmpint(joined, ==, NETLINK_NO_FAMILY);
	g_assert_cmpint(nl->family, <, 0);
	family_name = "nlctrl";
	group_name = "nobody's";
	g_assert_cmpint(netlink_join(nl, &joined), ==, 0);
	g_assert_cmpint(joined, ==, NETLINK_NO_FAMILY);
	family_name = "handshake";
	group_name = "tlshd";
}

#define ADD(name, fn) \
	g_test_add("/netlink/" name, struct world, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/netlink/errnos", test_errnos);
	ADD("accept", test_accept);
	ADD("accept/errors", test_accept_errors);
	ADD("no-answer", test_no_answer);
	ADD("done", test_done);
	ADD("no-errno", test_no_errno);
	ADD("no-memory", test_no_memory);
	ADD("read-again", test_read_again);
	ADD("no-family", test_no_family);
	ADD("events", test_events);
	ADD("events/overrun", test_overrun);
	g_test_add_func("/netlink/join", test_join);
	g_test_add_func("/netlink/join/no-memory", test_join_no_memory);
	return g_test_run();
}
