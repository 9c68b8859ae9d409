// SPDX-License-Identifier: GPL-2.0
/*
 * Many handshakes at a time, by agents that race for them: each request goes to
 * one agent, and each consumer hears of its own, once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "upcall.h"

#define AGENTS		4
#define CONSUMERS	12

static _Atomic bool over;
static _Atomic unsigned int next_number, empty, faults;
static unsigned char *seen;

/* Some of them are shown. */
static void fault(const char *what, int ret)
{
	if (faults++ < 5)
		note("%s: %d (%s)", what, ret, strerror(-ret));
}

/* The number of a request is its peer name; it comes back as remote-auth. */
static void serve(struct nl *nl, const struct accepted *acc)
{
	uint32_t number = (uint32_t)strtoul(acc->peername, NULL, 10);

	int ret;

	if (number >= options.count || __atomic_fetch_add(&seen[number], 1, __ATOMIC_RELAXED))
		fault("a request is accepted again", 0);
	number++;
	ret = done_auth(nl, acc->fd, 1, &number);
	if (ret)
		fault("DONE", ret);
	close(acc->fd);
}

/*
 * It listens by one socket and talks by another: what it is told must have room,
 * however many READYs there are.
 */
static void *agent_thread(void *arg)
{
	struct accepted acc;
	struct nl nl, ear;
	int ret;

	if (nl_open(&nl) || nl_open(&ear) || nl_listen(&ear)) {
		fault("an agent cannot listen", 0);
		return NULL;
	}
	while (!over) {
		/* one with no room for READY does not count as an agent */
		nl_drain(&ear);
		ret = accept_try(&nl, &acc);
		if (!ret) {
			serve(&nl, &acc);
		} else if (ret == -EAGAIN) {
			empty++;
			nl_wait_ready(&ear, 50);
		} else {
			fault("ACCEPT", ret);
		}
	}
	nl_close(&ear);
	nl_close(&nl);
	return NULL;
}

/* Its own thread is the consumer: nothing else goes on in it. */
static void handshake(unsigned int number)
{
	struct call call;
	int ret;

	call_open(&call);
	call.hs.retry_ms = LONG_MS;
	snprintf(call.hs.peername, sizeof(call.hs.peername), "%u", number);
	call_run(&call);
	ret = call_end(&call);
	if (ret || call.hs.callbacks != 1 || call.hs.remote_peerid != (int32_t)number + 1)
		fault("a consumer", ret);
	call_close(&call);
}

static void *consumer_thread(void *arg)
{
	unsigned int number;

	while ((number = next_number++) < options.count)
		handshake(number);
	return NULL;
}

static void run(void)
{
	pthread_t agents[AGENTS], consumers[CONSUMERS];
	int i;

	for (i = 0; i < AGENTS; i++)
		pthread_create(&agents[i], NULL, agent_thread, NULL);
	pause_ms(100);
	for (i = 0; i < CONSUMERS; i++)
		pthread_create(&consumers[i], NULL, consumer_thread, NULL);
	for (i = 0; i < CONSUMERS; i++)
		pthread_join(consumers[i], NULL);
	over = true;
	for (i = 0; i < AGENTS; i++)
		pthread_join(agents[i], NULL);
}

void test_load(void)
{
	long sockets = count_sockets();
	unsigned int i, once = 0;
	uint64_t start = now_ms();

	over = false;
	next_number = 0;
	seen = calloc(options.count, sizeof(*seen));
	if (!seen)
		bail_out("no memory");
	run();
	for (i = 0; i < options.count; i++)
		once += seen[i] == 1;
	free(seen);
	is(once, options.count, "each request is accepted once");
	is((long)faults, 0, "each consumer hears of its own handshake, once");
	no_more_sockets(sockets);
	note("%u handshakes of %d consumers by %d agents in %lu ms, %u times nothing was left",
	     options.count, CONSUMERS, AGENTS, (unsigned long)(now_ms() - start), empty);
}
