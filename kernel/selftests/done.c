// SPDX-License-Identifier: GPL-2.0
/*
 * DONE: what is refused, and what the consumer is told.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "upcall.h"

static struct nl nl;

static void refused_without_request(void)
{
	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct call call;
	struct msg msg;

	msg_init(&msg, nl.family, HANDSHAKE_CMD_DONE);
	is(nl_talk(&nl, &msg, NULL), -EINVAL, "DONE: empty");
	msg_put_u32(&msg, HANDSHAKE_A_DONE_STATUS, 0);
	is(nl_talk(&nl, &msg, NULL), -EINVAL, "DONE: without a descriptor");
	is(done(&nl, -1, 0), -EBADF, "DONE: no descriptor");
	is(done(&nl, 1 << 20, 0), -EBADF, "DONE: not an open one");
	is(done(&nl, file, 0), -ENOTSOCK, "DONE: not of a socket");
	is(done(&nl, sock, 0), -EBUSY, "DONE: a socket without a request");
	is(done(&nl, nl.fd, 0), -EBUSY, "DONE: a socket that cannot have one");
	is(done(&nl, -1, 4095), -EBADF, "DONE: the greatest errno");
	is(done(&nl, -1, 4096), -ERANGE, "DONE: a greater one");
	is(done(&nl, -1, (uint32_t)-EACCES), -ERANGE, "DONE: a negative one");

	call_open(&call);
	is(done(&nl, call.sock, 0), -EBUSY, "DONE: a connection without a request");
	call_close(&call);
	close(sock);
	close(file);
}

/* A request that goes on after a DONE that is refused. */
static void unharmed(struct call *call, struct accepted *acc, const char *what)
{
	ok(!call_over(call, 50), "%s: the request goes on", what);
	is(call_finish(call, &nl, acc), 0, "%s: and ends well", what);
}

static void refused_with_request(void)
{
	const uint32_t auth[6] = { 11, 12, 13, 14, 15, 16 };
	struct accepted acc;
	struct call call;
	struct msg msg;

	call_begin(&call, &nl, &acc);
	msg_init(&msg, nl.family, HANDSHAKE_CMD_DONE);
	msg_put_u32(&msg, HANDSHAKE_A_DONE_SOCKFD, (uint32_t)acc.fd);
	msg_put_u32(&msg, HANDSHAKE_A_DONE_STATUS, 0);
	msg_put_u32(&msg, HANDSHAKE_A_DONE_MAX + 1, 0);
	is(nl_talk(&nl, &msg, NULL), -EINVAL, "DONE: an unknown attribute");
	unharmed(&call, &acc, "an unknown attribute");

	call_begin(&call, &nl, &acc);
	is(done(&nl, acc.fd, 4096), -ERANGE, "DONE: status that is no errno");
	unharmed(&call, &acc, "status that is no errno");

	call_begin(&call, &nl, &acc);
	if (ours) {
		is(done_auth(&nl, acc.fd, 6, auth), -EINVAL, "DONE: six remote-auth");
		unharmed(&call, &acc, "six remote-auth");
		return;
	}
	is(done_auth(&nl, acc.fd, 6, auth), 0, "DONE: six remote-auth");
	is(call_end(&call), 0, "six remote-auth: the request ends");
	is(call.hs.remote_peerid, 11, "six remote-auth: the first counts");
	close(acc.fd);
	call_close(&call);
}

static void queued(void)
{
	struct accepted acc;
	struct call call;

	/*
	 * Upstream's is ended, but stays in the queue: when its socket is
	 * closed the next ACCEPT is given freed memory, and 6.12 panics.
	 */
	if (!ours) {
		skip("the kernel would not live on", "DONE: a request nobody has accepted");
		return;
	}
	call_open(&call);
	call_start(&call);
	pause_ms(100);
	is(done(&nl, call.sock, 0), -EBUSY, "DONE: a request nobody has accepted");
	ok(!call_over(&call, 50), "a request nobody has accepted: it stays");
	is(accept_wait(&nl, &acc, 3000), 0, "a request nobody has accepted: it can be");
	is(call_finish(&call, &nl, &acc), 0, "a request nobody has accepted: the end");
}

static void told(uint32_t status, int wanted)
{
	struct accepted acc;
	struct call call;

	call_begin(&call, &nl, &acc);
	is(done(&nl, acc.fd, status), 0, "DONE with status %u", status);
	is(call_end(&call), wanted, "status %u: the consumer is told", status);
	is((long)call.hs.callbacks, 1, "status %u: once", status);
	is(call.hs.remote_peerid, 0, "status %u: of no peer identity", status);
	close(acc.fd);
	call_close(&call);
}

static void no_status(void)
{
	struct accepted acc;
	struct call call;
	struct msg msg;

	call_begin(&call, &nl, &acc);
	msg_init(&msg, nl.family, HANDSHAKE_CMD_DONE);
	msg_put_u32(&msg, HANDSHAKE_A_DONE_SOCKFD, (uint32_t)acc.fd);
	is(nl_talk(&nl, &msg, NULL), 0, "DONE without a status");
	is(call_end(&call), -EIO, "no status: the consumer is told EIO");
	close(acc.fd);
	call_close(&call);
}

static void identities(unsigned int n)
{
	const uint32_t auth[5] = { 0x7fffffff, 2, 3, 4, 5 };
	struct accepted acc;
	struct call call;

	call_begin(&call, &nl, &acc);
	is(done_auth(&nl, acc.fd, n, auth), 0, "DONE with %u remote-auth", n);
	is(call_end(&call), 0, "%u remote-auth: success", n);
	is(call.hs.remote_peerid, 0x7fffffff, "%u remote-auth: the first arrives", n);
	close(acc.fd);
	call_close(&call);
}

/* The end of a request counts once: what comes later is refused, or ignored. */
static void twice(void)
{
	const int late = ours ? -EBUSY : 0;
	struct accepted acc;
	struct call call;

	call_begin(&call, &nl, &acc);
	is(done(&nl, acc.fd, EACCES), 0, "DONE");
	is(done(&nl, acc.fd, 0), late, "DONE again");
	is(call_end(&call), -EACCES, "DONE again: the first counts");
	is((long)call.hs.callbacks, 1, "DONE again: the consumer is told once");
	is(done(&nl, acc.fd, 0), late, "DONE when the consumer has gone on");
	close(acc.fd);
	is(done(&nl, call.sock, 0), late, "DONE by another descriptor");
	call_close(&call);
}

void test_done(void)
{
	if (nl_open(&nl) || nl_listen(&nl))
		bail_out("no netlink socket");
	refused_without_request();
	refused_with_request();
	queued();
	told(0, 0);
	told(EACCES, -EACCES);
	told(4095, -4095);
	no_status();
	identities(1);
	identities(5);
	twice();
	nl_close(&nl);
}
