// SPDX-License-Identifier: GPL-2.0
/*
 * Consumers that cancel a handshake because they do not wait any longer.
 */
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "upcall.h"

static struct nl nl;

static void check_cancelled(struct call *call, const char *when)
{
	is(call_end(call), -ETIMEDOUT, "cancel %s: the consumer sees its own timeout", when);
	ok(call->hs.flags & HS_CONSUMER_CANCELLED, "cancel %s: it is successful", when);
	is((long)call->hs.callbacks, 0, "cancel %s: there is no callback", when);
}

static void before_accept(void)
{
	struct accepted acc;
	struct call call;

	call_open(&call);
	call.hs.wait_ms = 200;
	call_start(&call);
	check_cancelled(&call, "before ACCEPT");
	is(accept_try(&nl, &acc), -EAGAIN, "cancel before ACCEPT: nothing is queued");
	call_close(&call);
}

static void after_accept(void)
{
	const int late = ours ? -EBUSY : 0;
	struct accepted acc;
	struct call call;
	char byte = 'x';

	call_open(&call);
	call.hs.wait_ms = PATIENCE_MS;
	call_start(&call);
	is(accept_wait(&nl, &acc, 3000), 0, "cancel after ACCEPT");
	check_cancelled(&call, "after ACCEPT");
	is(done(&nl, acc.fd, 0), late, "cancel after ACCEPT: a late DONE");
	is(done(&nl, acc.fd, EACCES), late, "cancel after ACCEPT: another one");
	/* The agent's descriptor keeps the socket, whatever the consumer does. */
	close(call.sock);
	ok(send(acc.fd, &byte, 1, MSG_NOSIGNAL) == 1 && recv(call.peer, &byte, 1, 0) == 1,
	   "cancel after ACCEPT: the agent's descriptor is still a connection");
	is(done(&nl, acc.fd, 0), late, "cancel after ACCEPT: DONE when the consumer has closed it");
	close(acc.fd);
	call.sock = -1;
	call_close(&call);
}

static void nothing(int sig)
{
}

static void by_signal(void)
{
	struct sigaction action = { .sa_handler = nothing };
	struct accepted acc;
	struct call call;

	sigaction(SIGUSR1, &action, NULL);
	call_begin(&call, &nl, &acc);
	pthread_kill(call.thread, SIGUSR1);
	is(call_end(&call), -EINTR, "cancel by a signal: the consumer is interrupted");
	is((long)call.hs.callbacks, 0, "cancel by a signal: there is no callback");
	is(done(&nl, acc.fd, 0), ours ? -EBUSY : 0, "cancel by a signal: a late DONE");
	close(acc.fd);
	call_close(&call);
	signal(SIGUSR1, SIG_DFL);
}

/* Of three in the queue the one in the middle goes. */
static void in_the_queue(void)
{
	struct accepted acc;
	struct call calls[3];
	unsigned int i, queued = 0;

	for (i = 0; i < 3; i++) {
		call_open(&calls[i]);
		calls[i].hs.timeout_ms = i + 1;
		calls[i].hs.wait_ms = i == 1 ? PATIENCE_MS : LONG_MS;
		queued += call_queue(&calls[i], &nl);
	}
	is(queued, 3, "cancel amidst the queue: three are in it");
	check_cancelled(&calls[1], "amidst the queue");
	call_close(&calls[1]);
	for (i = 0; i < 3; i += 2) {
		is(accept_wait(&nl, &acc, 3000), 0, "cancel amidst the queue: another one");
		is((long)acc.timeout, i + 1, "cancel amidst the queue: in its order");
		is(call_finish(&calls[i], &nl, &acc), 0, "cancel amidst the queue: it is served");
	}
	is(accept_try(&nl, &acc), -EAGAIN, "cancel amidst the queue: no more");
}

/*
 * A socket that has a second handshake: a late DONE of the first one means
 * nothing while the second waits for an agent.
 */
static void late_and_again(void)
{
	struct accepted first, second;
	struct call call;

	if (!ours)
		return;
	call_open(&call);
	call.hs.wait_ms = PATIENCE_MS;
	call_start(&call);
	is(accept_wait(&nl, &first, 3000), 0, "cancel and again: the first is accepted");
	check_cancelled(&call, "and again");
	call.hs.wait_ms = LONG_MS;
	ok(call_queue(&call, &nl), "cancel and again: the second is queued");
	is(done(&nl, first.fd, 0), -EBUSY, "cancel and again: a late DONE of the first");
	ok(!call_over(&call, 50), "cancel and again: the second waits on");
	is(accept_wait(&nl, &second, 3000), 0, "cancel and again: the second is accepted");
	close(first.fd);
	is(call_finish(&call, &nl, &second), 0, "cancel and again: the second ends well");
}

void test_cancel(void)
{
	if (nl_open(&nl) || nl_listen(&nl))
		bail_out("no netlink socket");
	before_accept();
	after_accept();
	by_signal();
	in_the_queue();
	late_and_again();
	nl_close(&nl);
}
