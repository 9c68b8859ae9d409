// SPDX-License-Identifier: GPL-2.0
/*
 * Network namespaces: requests and announcements stay in the one of the
 * socket, and none outlives its requests.
 */
#include <fcntl.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "upcall.h"

static int home = -1;

static int loopback_up(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;

	ret = ioctl(sock, SIOCSIFFLAGS, &lo) ? -errno : 0;
	close(sock);
	return ret;
}

/* For this thread; sockets stay where they were made. */
static int enter_new(void)
{
	return unshare(CLONE_NEWNET) ? -errno : loopback_up();
}

static void go_home(void)
{
	if (setns(home, CLONE_NEWNET))
		bail_out("no way back: %s", strerror(errno));
}

/* Route netlink; returns the acknowledgment, or the first other message's 0. */
static int route(uint16_t type, uint16_t attr, int value, int *ret_id)
{
	struct {
		struct nlmsghdr nl;
		struct rtgenmsg gen;
		struct nlattr fd __attribute__((aligned(4)));
		int32_t fd_value;
		struct nlattr id;
		int32_t id_value;
	} ask = {
		.nl = { .nlmsg_len = sizeof(ask), .nlmsg_type = type,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.fd = { .nla_len = 8, .nla_type = attr }, .fd_value = value,
		.id = { .nla_len = 8, .nla_type = NETNSA_NSID }, .id_value = -1,
	};
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), ret = -EIO;
	int32_t answer[64] = { 0 };

	if (type == RTM_GETNSID)
		ask.nl.nlmsg_len -= 8;
	if (send(sock, &ask, ask.nl.nlmsg_len, 0) > 0 &&
	    recv(sock, answer, sizeof(answer), 0) > 0)
		ret = (answer[1] & 0xffff) == NLMSG_ERROR ? answer[4] : 0;
	/* after a header of 16 and a family of 4 bytes: attribute NSID */
	if (!ret && ret_id)
		*ret_id = answer[6];
	close(sock);
	return ret;
}

/* Gives the namespace of @fd a number at home, which goes when it does. */
static int number_namespace(int fd)
{
	int id = -1;

	if (route(RTM_NEWNSID, NETNSA_FD, fd, NULL) ||
	    route(RTM_GETNSID, NETNSA_FD, fd, &id))
		return -1;
	return id;
}

/*
 * Whether the one with this number is still there: its number at home, asked
 * for from home, is -1 when nobody has it.
 */
static bool namespace_exists(int id)
{
	struct {
		struct nlmsghdr nl;
		struct rtgenmsg gen;
	} ask = {
		.nl = { .nlmsg_len = sizeof(ask), .nlmsg_type = RTM_GETNSID,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
	};
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	char answer[4096] __attribute__((aligned(4)));
	const struct nlmsghdr *nl = (const void *)answer;
	bool found = false;
	ssize_t len;
	int32_t got;

	send(sock, &ask, ask.nl.nlmsg_len, 0);
	len = recv(sock, answer, sizeof(answer), 0);
	for (; len > 0 && NLMSG_OK(nl, (size_t)len) && nl->nlmsg_type == RTM_NEWNSID;
	     nl = (const void *)((const char *)nl + NLMSG_ALIGN(nl->nlmsg_len))) {
		memcpy(&got, (const char *)nl + 24, sizeof(got));
		found |= got == id;
		len -= (ssize_t)NLMSG_ALIGN(nl->nlmsg_len);
	}
	close(sock);
	return found;
}

static bool namespace_goes(int id, unsigned int ms)
{
	uint64_t end = now_ms() + ms;

	while (namespace_exists(id) && now_ms() < end)
		pause_ms(20);
	return !namespace_exists(id);
}

static void listen_here(struct nl *nl)
{
	if (nl_open(nl) || nl_listen(nl))
		bail_out("no netlink socket");
}

static void do_not_cross(void)
{
	struct nl here, there;
	struct accepted acc;
	struct call call;

	listen_here(&here);
	is(enter_new(), 0, "another namespace");
	call_open(&call);
	call_start(&call);
	is(call_end(&call), -ESRCH, "who listens here is nobody there");
	call_close(&call);

	listen_here(&there);
	call_open(&call);
	call_start(&call);
	ok(nl_wait_ready(&there, 3000), "READY there");
	is(nl_wait_ready(&here, 300), 0, "no READY here");
	is(accept_try(&here, &acc), -EAGAIN, "ACCEPT here: nothing is queued");
	go_home();
	is(accept_try(&there, &acc), 0, "ACCEPT there: it is");
	is(done(&here, acc.fd, 0), 0, "DONE here: the descriptor counts");
	is(call_end(&call), 0, "the request ends well");
	close(acc.fd);
	call_close(&call);
	nl_close(&there);
	nl_close(&here);
}

/* The queue of one does not fill that of another. */
static void limits_are_apart(void)
{
	struct call calls[51], here;
	struct nl nl, there;
	struct accepted acc;
	unsigned int n;

	listen_here(&nl);
	enter_new();
	listen_here(&there);
	for (n = 0; n < ARRAY_SIZE(calls); n++) {
		call_open(&calls[n]);
		calls[n].hs.wait_ms = 3000;
		call_start(&calls[n]);
		if (call_over(&calls[n], 50))
			break;
	}
	go_home();
	ok(n < ARRAY_SIZE(calls) && call_end(&calls[n]) == -EAGAIN, "a full queue there");
	call_begin(&here, &nl, &acc);
	is(call_finish(&here, &nl, &acc), 0, "a full queue there: a request here is served");
	nl_close(&there);
	do
		call_close(&calls[n]);
	while (n--);
	nl_close(&nl);
}

/* A whole world that dies: agent, consumer, and all sockets. */
static void in_new_namespace(struct child *child, bool accepted)
{
	struct accepted acc;
	struct call call;
	struct nl nl;
	int fd, id;
	bool good;

	child->shared->ret = -1;
	if (enter_new())
		return;
	listen_here(&nl);
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	setns(home, CLONE_NEWNET);
	id = number_namespace(fd);
	setns(fd, CLONE_NEWNET);
	close(fd);
	call_open(&call);
	call_start(&call);
	if (accepted)
		good = !accept_wait(&nl, &acc, 3000);
	else
		good = nl_wait_ready(&nl, 3000);
	/* its number stands for all that went well */
	if (good)
		child->shared->ret = id;
	child_stage(child, 1);
	pause_ms(60000);
}

static void queued_in_namespace(struct child *child)
{
	in_new_namespace(child, false);
}

static void accepted_in_namespace(struct child *child)
{
	in_new_namespace(child, true);
}

static void exits(bool accepted, const char *what)
{
	struct child child;
	int id;

	child_start(&child, accepted ? accepted_in_namespace : queued_in_namespace);
	ok(child_wait_stage(&child, 1, 5000), "%s", what);
	id = child.shared->ret;
	ok(id >= 0 && namespace_exists(id), "%s: it is there", what);
	child_end(&child, SIGKILL);
	ok(namespace_goes(id, 10000), "%s: it goes", what);
}

/* Only the consumer's own file, and the agent's, are left of the namespace. */
static void held_by_a_request(bool accepted, const char *what)
{
	struct accepted acc = { .fd = -1 };
	struct call call;
	struct nl nl;
	int fd, id;

	is(enter_new(), 0, "%s: another namespace", what);
	listen_here(&nl);
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	call_open(&call);
	call.hs.wait_ms = PATIENCE_MS;
	go_home();
	id = number_namespace(fd);
	close(fd);
	call_start(&call);
	if (accepted)
		is(accept_wait(&nl, &acc, 3000), 0, "%s: ACCEPT", what);
	else
		ok(nl_wait_ready(&nl, 3000), "%s: READY", what);
	nl_close(&nl);
	if (acc.fd >= 0)
		close(acc.fd);
	close(call.sock);
	close(call.peer);
	call.sock = -1;
	call.peer = -1;
	ok(id >= 0 && !namespace_goes(id, 200), "%s: it stays", what);
	is(call_end(&call), -ETIMEDOUT, "%s: the end", what);
	ok(namespace_goes(id, 10000), "%s: then it goes", what);
}

void test_netns(void)
{
	home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	do_not_cross();
	limits_are_apart();
	exits(false, "a namespace with a queued request is left");
	exits(true, "a namespace with an accepted request is left");
	held_by_a_request(false, "a namespace of nothing but a queued request");
	held_by_a_request(true, "a namespace of nothing but an accepted request");
	close(home);
}
