// SPDX-License-Identifier: GPL-2.0
/*
 * Messages that are lost: announcements, and answers to ACCEPT.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "upcall.h"

/* Our module says it again after a second; twice that on a busy machine. */
#define AGAIN_MS	3000

static struct nl nl;

static void announced(void)
{
	struct accepted acc;
	struct call call;

	call_open(&call);
	call_start(&call);
	ok(nl_wait_ready(&nl, 3000), "READY");
	is(accept_wait(&nl, &acc, 3000), 0, "READY: ACCEPT");
	is(call_finish(&call, &nl, &acc), 0, "READY: the end");
	nl_drain(&nl);
	is(nl_wait_ready(&nl, 1500), 0, "no READY when nothing waits");
}

/* The ear of @own hears of the request, sooner or never. */
static void found(struct call *call, struct nl *own, const char *what)
{
	struct accepted acc;
	uint64_t start = now_ms();

	if (ours) {
		ok(nl_wait_ready(own, AGAIN_MS), "%s: READY comes again", what);
		note("after %ld ms", (long)(now_ms() - start));
	} else {
		is(nl_wait_ready(own, AGAIN_MS), 0, "%s: READY does not come again", what);
	}
	is(accept_wait(own, &acc, 3000), 0, "%s: ACCEPT finds the request", what);
	is(call_finish(call, own, &acc), 0, "%s: the end", what);
}

/* Its only agent has no room: the kernel takes it for one that is not there. */
static void only_ear_is_full(bool says_so)
{
	const char *what = says_so ? "an agent with NETLINK_BROADCAST_ERROR without room"
				   : "an agent without room";
	unsigned int before;
	struct call call;
	int yes = says_so;
	struct nl own;

	if (nl_open(&own) || nl_listen(&own))
		bail_out("no netlink socket");
	setsockopt(own.fd, SOL_NETLINK, NETLINK_BROADCAST_ERROR, &yes, sizeof(yes));
	nl_fill(&own);
	before = own.overruns;
	call_open(&call);
	call_start(&call);
	if (!says_so || !ours) {
		is(call_end(&call), says_so ? -ENOBUFS : -ESRCH, "%s: the request fails", what);
		call_close(&call);
		nl_close(&own);
		return;
	}
	ok(!call_over(&call, 100), "%s: the request waits", what);
	is(nl_drain(&own), 0, "%s: it does not hear of it", what);
	ok(own.overruns > before, "%s: it is told that it missed something", what);
	found(&call, &own, what);
	nl_close(&own);
}

static void one_ear_is_full(void)
{
	struct call call;
	struct nl own;

	if (nl_open(&own) || nl_listen(&own))
		bail_out("no netlink socket");
	nl_fill(&own);
	call_open(&call);
	call_start(&call);
	ok(nl_wait_ready(&nl, 3000), "one of two agents without room: the other one hears");
	is(nl_drain(&own), 0, "one of two agents without room: it does not");
	found(&call, &own, "one of two agents without room");
	nl_close(&own);
}

static void late_agent(void)
{
	struct call call;
	struct nl own;

	nl_drain(&nl);
	call_open(&call);
	call_start(&call);
	nl_wait_ready(&nl, 3000);
	if (nl_open(&own) || nl_listen(&own))
		bail_out("no netlink socket");
	found(&call, &own, "an agent that comes late");
	nl_close(&own);
}

static void send_accept(struct nl *own)
{
	struct msg msg;

	msg_init(&msg, own->family, HANDSHAKE_CMD_ACCEPT);
	msg_put_u32(&msg, HANDSHAKE_A_ACCEPT_HANDLER_CLASS, CLASS_TLSHD);
	nl_send(own, &msg, NLM_F_REQUEST | NLM_F_ACK);
}

/* Whether an answer to ACCEPT was among what waits. */
static bool answered(struct nl *own)
{
	struct msg msg, reply;

	/* Messages before it are skipped by nl_talk(). */
	nl_drain(own);
	msg_init(&msg, own->family, HANDSHAKE_CMD_READY);
	return nl_talk(own, &msg, &reply) != -EOPNOTSUPP;
}

static void answer_is_lost(void)
{
	unsigned int fds = count_fds() + 1;
	struct accepted acc;
	struct call call;
	struct nl own;

	if (nl_open(&own))
		bail_out("no netlink socket");
	call_open(&call);
	fds += 2;
	if (!ours)
		call.hs.wait_ms = 1500;
	nl_drain(&nl);
	call_start(&call);
	nl_wait_ready(&nl, 3000);
	nl_fill(&own);
	send_accept(&own);
	if (!ours) {
		is(call_end(&call), -EIO, "no room for an answer: the consumer is told EIO");
		is((long)count_fds(), (long)fds, "no room for an answer: no descriptor is left");
		is(accept_try(&nl, &acc), -EAGAIN, "no room for an answer: it is gone");
		call_close(&call);
		nl_close(&own);
		return;
	}
	is((long)count_fds(), (long)fds, "no room for an answer: no descriptor is left");
	ok(!answered(&own), "no room for an answer: the agent can ask again");
	ok(!call_over(&call, 50), "no room for an answer: the request waits");
	nl_drain(&nl);
	ok(nl_wait_ready(&nl, AGAIN_MS), "no room for an answer: READY comes again");
	is(accept_wait(&own, &acc, 3000), 0, "no room for an answer: ACCEPT again");
	is(call_finish(&call, &own, &acc), 0, "no room for an answer: the end");
	nl_close(&own);
}

void test_ready(void)
{
	if (nl_open(&nl) || nl_listen(&nl))
		bail_out("no netlink socket");
	announced();
	one_ear_is_full();
	late_agent();
	answer_is_lost();
	nl_close(&nl);
	only_ear_is_full(false);
	only_ear_is_full(true);
}
