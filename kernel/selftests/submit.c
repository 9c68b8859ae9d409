// SPDX-License-Identifier: GPL-2.0
/*
 * What a consumer is told when it asks for a handshake.
 */
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "upcall.h"

#define MOST_QUEUED	50

static struct nl nl;

static int submit_alone(struct call *call)
{
	int ret;

	call_open(call);
	call_start(call);
	ret = call_end(call);
	return call->hs.flags & HS_CONSUMER_SUBMITTED ? -EALREADY : ret;
}

static void nobody_listens(void)
{
	struct call call;
	struct nl own;

	is(submit_alone(&call), -ESRCH, "nobody listens");
	call_close(&call);
	if (nl_open(&own))
		bail_out("no netlink socket");
	is(submit_alone(&call), -ESRCH, "a socket that does not listen");
	call_close(&call);
	nl_close(&own);
}

static unsigned long long memory_mib(void)
{
	struct sysinfo info;

	sysinfo(&info);
	return (unsigned long long)info.totalram * info.mem_unit >> 20;
}

/* One for each 400 MiB of memory, 3 to 50. */
static unsigned int limit(void)
{
	unsigned long long mib = memory_mib();

	if (mib / 400 < 3)
		return 3;
	return mib / 400 > MOST_QUEUED ? MOST_QUEUED : (unsigned int)(mib / 400);
}

/*
 * Submits until one is not taken; returns how many were. Of those that should
 * be READY is heard; the others come to an end.
 */
static unsigned int fill_queue(struct call *calls)
{
	unsigned int n;
	bool taken;

	for (n = 0; n <= MOST_QUEUED; n++) {
		call_open(&calls[n]);
		if (n < limit()) {
			taken = call_queue(&calls[n], &nl) && !calls[n].over;
		} else {
			call_start(&calls[n]);
			taken = !call_over(&calls[n], 3000);
		}
		if (!taken)
			break;
	}
	return n;
}

static void queue_is_full(void)
{
	static struct call calls[MOST_QUEUED + 1];
	struct accepted acc;
	unsigned int i, n;
	int failed = 0;

	n = fill_queue(calls);
	is(n, limit(), "so many requests can wait");
	if (n > MOST_QUEUED)
		bail_out("there is no limit");
	is(call_end(&calls[n]), -EAGAIN, "the next is not taken");
	call_close(&calls[n]);

	is(accept_wait(&nl, &acc, 3000), 0, "a full queue: one is accepted");
	is(call_finish(&calls[0], &nl, &acc), 0, "a full queue: it was the oldest");
	call_open(&calls[n]);
	call_start(&calls[n]);
	ok(!call_over(&calls[n], 150), "a full queue: then there is room for one");
	for (i = 1; i <= n; i++) {
		if (accept_wait(&nl, &acc, 3000) || call_finish(&calls[i], &nl, &acc))
			failed++;
	}
	is(failed, 0, "a full queue: all are served in their order");
}

/*
 * Accepted requests are limited, too: one for each MiB of memory, at least 64. A
 * kernel that has no module for them counts the MiB before the end of its boot,
 * which gives some back.
 */
static void all_are_accepted(void)
{
	unsigned int most = (unsigned int)memory_mib(), least, n, failed = 0, readies;
	struct accepted *accs;
	struct call *calls;

	if (!ours || most > 4096) {
		skip(ours ? "too much memory" : "they are not limited", "accepted requests");
		return;
	}
	least = most - most / 16;
	most = most < 64 ? 64 : most;
	least = least < 64 ? 64 : least;
	accs = calloc(most + 1, sizeof(*accs));
	calls = calloc(most + 1, sizeof(*calls));
	if (!accs || !calls)
		bail_out("no memory");
	for (n = 0; n <= most; n++) {
		call_open(&calls[n]);
		calls[n].hs.wait_ms = 120000;
		call_start(&calls[n]);
		if (accept_wait(&nl, &accs[n], n < least ? 3000 : 500))
			break;
	}
	ok(n >= least && n <= most, "%u requests can be accepted, of %u to %u", n, least, most);
	if (n <= most) {
		ok(!call_over(&calls[n], 50), "one more waits");
		nl_drain(&nl);
		readies = nl.readies;
		n--;
		failed += !!call_finish(&calls[n], &nl, &accs[n]);
		ok(nl.readies > readies || nl_wait_ready(&nl, 500),
		   "one more: READY when there is room for it");
		is(accept_wait(&nl, &accs[n], 3000), 0, "one more: it is accepted");
		failed += !!call_finish(&calls[n + 1], &nl, &accs[n]);
	}
	while (n--)
		failed += !!call_finish(&calls[n], &nl, &accs[n]);
	is(failed, 0, "all of them end well");
	free(accs);
	free(calls);
}

static void one_at_a_time(void)
{
	struct call first, second;
	struct accepted acc;

	call_begin(&first, &nl, &acc);
	call_open(&second);
	second.hs.sockfd = first.sock;
	call_start(&second);
	is(call_end(&second), -EBUSY, "a second request while one is accepted");
	call_close(&second);
	is(call_finish(&first, &nl, &acc), 0, "a second request: the first goes on");

	call_open(&first);
	ok(call_queue(&first, &nl), "a socket's request is queued");
	call_open(&second);
	second.hs.sockfd = first.sock;
	call_start(&second);
	is(call_end(&second), -EBUSY, "a second request while one is queued");
	call_close(&second);
	is(accept_wait(&nl, &acc, 3000), 0, "a second request: the first can be accepted");
	is(call_finish(&first, &nl, &acc), 0, "a second request: the first ends well");
}

static int again(struct call *call)
{
	struct accepted acc;
	int ret;

	call_start(call);
	if (ours || !call_over(call, 100)) {
		ret = accept_wait(&nl, &acc, 3000);
		if (ret)
			return ret;
		done(&nl, acc.fd, 0);
		close(acc.fd);
	}
	return call_end(call);
}

static void one_after_another(void)
{
	struct accepted acc;
	struct call call;
	int i, ret = 0;

	call_begin(&call, &nl, &acc);
	is(done(&nl, acc.fd, 0), 0, "a socket's first handshake");
	close(acc.fd);
	is(call_end(&call), 0, "a socket's first handshake: the end");
	if (!ours) {
		is(again(&call), -EBUSY, "a socket's second handshake");
		call_close(&call);
		return;
	}
	for (i = 0; i < 20 && !ret; i++)
		ret = again(&call);
	is(ret, 0, "a socket's second handshake, and 19 more");

	call.hs.wait_ms = 50;
	call_start(&call);
	is(call_end(&call), -ETIMEDOUT, "a socket's next handshake is cancelled");
	call.hs.wait_ms = LONG_MS;
	is(again(&call), 0, "a socket's handshake after that");
	call_close(&call);
}

void test_submit(void)
{
	nobody_listens();
	if (nl_open(&nl) || nl_listen(&nl))
		bail_out("no netlink socket");
	queue_is_full();
	all_are_accepted();
	one_at_a_time();
	one_after_another();
	nl_close(&nl);
}
