// SPDX-License-Identifier: GPL-2.0
/*
 * DONE, cancel and the end of agents against each other, at random times. Each
 * consumer hears of an end, or cancels, and never both.
 */
#include <signal.h>
#include <unistd.h>

#include "upcall.h"

#define CONSUMERS	8
#define AGENTS		3
#define STORM_MS	10000
#define WAIT_MAX_MS	40

static _Atomic bool over;
static uint64_t agent_seed;
static _Atomic unsigned int faults, told, cancelled, timed_out, refused;

/*
 * Consumers whose patience is about as long as agents are slow. Where a socket
 * may have several handshakes it has.
 */
static void count(const struct call *call)
{
	const struct hs_consumer_handshake *hs = &call->hs;

	if (call->error || hs->stray)
		faults++;
	else if (!(hs->flags & HS_CONSUMER_SUBMITTED))
		refused++;
	else if (hs->flags & HS_CONSUMER_CANCELLED)
		cancelled++;
	else if (hs->callbacks == 1 && hs->status == -ETIMEDOUT)
		timed_out++;
	else if (hs->callbacks == 1)
		told++;
	if (hs->callbacks + !!(hs->flags & HS_CONSUMER_CANCELLED) !=
	    !!(hs->flags & HS_CONSUMER_SUBMITTED))
		faults++;
}

static void *consumer_thread(void *arg)
{
	struct call call;
	unsigned int n;

	while (!over) {
		call_open(&call);
		for (n = 1 + random_below(4); n; n--) {
			call.hs.wait_ms = 1 + random_below(WAIT_MAX_MS);
			call.hs.retry_ms = 100;
			call_run(&call);
			count(&call);
			if (!ours)
				break;
		}
		call_close(&call);
	}
	return NULL;
}

/* Some end in the middle; else what they are asked for is done, late or twice. */
static void agent(struct child *child)
{
	struct accepted acc;
	struct nl nl;

	random_restart(agent_seed);
	if (nl_open(&nl) || nl_listen(&nl))
		return;
	for (;;) {
		if (accept_try(&nl, &acc)) {
			nl_wait_ready(&nl, 20);
			continue;
		}
		if (!random_below(8))
			_exit(0);
		pause_ms(random_below(WAIT_MAX_MS));
		done(&nl, acc.fd, random_below(2) * EACCES);
		if (!random_below(4))
			done(&nl, acc.fd, 0);
		close(acc.fd);
	}
}

/* No two have the same random numbers. */
static void next_agent(struct child *child)
{
	agent_seed++;
	child_start(child, agent);
}

/* Killed after a while, and another one takes its place. */
static void agents_come_and_go(struct nl *ear)
{
	struct child agents[AGENTS];
	uint64_t end = now_ms() + STORM_MS;
	unsigned int i, deaths = 0;

	agent_seed = options.seed;
	for (i = 0; i < AGENTS; i++)
		next_agent(&agents[i]);
	while (now_ms() < end) {
		pause_ms(20 + random_below(100));
		nl_drain(ear);
		i = random_below(AGENTS);
		child_end(&agents[i], SIGKILL);
		next_agent(&agents[i]);
		deaths++;
	}
	over = true;
	for (i = 0; i < AGENTS; i++)
		child_end(&agents[i], SIGKILL);
	note("%u agents died", deaths);
}

void test_storm(void)
{
	long sockets = count_sockets();
	pthread_t consumers[CONSUMERS];
	struct accepted acc;
	struct nl nl;
	unsigned int i;

	/* One listener that does nothing: requests are taken when all agents are dead. */
	if (nl_open(&nl) || nl_listen(&nl))
		bail_out("no netlink socket");
	over = false;
	for (i = 0; i < CONSUMERS; i++)
		pthread_create(&consumers[i], NULL, consumer_thread, NULL);
	agents_come_and_go(&nl);
	for (i = 0; i < CONSUMERS; i++)
		pthread_join(consumers[i], NULL);
	is((long)faults, 0, "each consumer either hears once, or cancels");
	ok(told && cancelled, "there were some of both");
	note("%u told, %u of them that time was over, %u cancelled, %u refused",
	     told + timed_out, timed_out, cancelled, refused);
	nl_drain(&nl);
	is(accept_try(&nl, &acc), -EAGAIN, "nothing is left in the queue");
	nl_close(&nl);
	no_more_sockets(sockets);
}
