// SPDX-License-Identifier: GPL-2.0
/*
 * Cancels in softirq context against ACCEPT, DONE and the death of agents, many
 * times. Each round has one end: its consumer is told once, or cancels.
 *
 * Consumers aim: each cancels about as late as it is told, whatever the machine
 * and its load, so that either comes first about as often. Told are those of
 * whom an agent knows that its DONE was taken, and not one more, except by an
 * agent that was killed before it could say so.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "upcall.h"

#define CONSUMERS	6
#define AGENTS		3

/* Handshakes of a socket, one after another. */
#define REUSES		16

/* Microseconds: the widest and the narrowest range of cancels, the first one. */
#define AIM_MAX		50000
#define AIM_MIN		32
#define AIM_FIRST	1000

/* Of all rounds these have to be cancelled, and told, at least. */
#define PERCENT		5

/* What all processes count. An agent may die before it has. */
static struct shared {
	_Atomic unsigned int accepted;
	_Atomic unsigned int done;
	_Atomic unsigned int late;
	_Atomic unsigned int faults;
} *shared;

static _Atomic bool over;
static _Atomic unsigned int rounds, told, died, cancelled, finished;
static unsigned int kills;
static uint64_t agent_seed;

/* Their sockets, for another thread to say DONE of. */
static _Atomic int socks[CONSUMERS];

static void fault(const char *what, long got)
{
	if (shared->faults++ < 5)
		note("%s: %ld", what, got);
}

/* ---- consumers ---- */

static bool was_told(const struct hs_consumer_handshake *hs)
{
	return hs->status == 0 || hs->status == -EACCES;
}

/* The end of a round, which is one. */
static void count(const struct call *call)
{
	const struct hs_consumer_handshake *hs = &call->hs;
	bool cancel = hs->flags & HS_CONSUMER_CANCELLED;

	rounds++;
	if (call->error || hs->stray || hs->flags & HS_CONSUMER_WAIT_OVER)
		fault("a consumer's error, or a stray callback", call->error);
	if (!(hs->flags & HS_CONSUMER_SUBMITTED)) {
		fault("a submission", hs->status);
		return;
	}
	if (hs->callbacks + cancel != 1)
		fault("a consumer is told, or cancels, so often", hs->callbacks + cancel);
	else if (cancel)
		cancelled++;
	else if (was_told(hs))
		told++;
	else if (hs->status == -ETIMEDOUT)
		died++;
	else
		fault("a status that no agent said", hs->status);
}

/* Later when it was too early, earlier when it was too late. */
static unsigned int aim_again(unsigned int aim, const struct hs_consumer_handshake *hs)
{
	if (hs->flags & HS_CONSUMER_CANCELLED)
		aim += aim / 16;
	else if (hs->flags & HS_CONSUMER_SUBMITTED && hs->cancel_us)
		aim -= aim / 16;
	if (aim > AIM_MAX)
		return AIM_MAX;
	return aim < AIM_MIN ? AIM_MIN : aim;
}

static void *consumer_thread(void *arg)
{
	_Atomic int *sock = arg;
	unsigned int aim = AIM_FIRST;
	struct call call;
	unsigned int i;

	while (rounds < options.races) {
		call_open(&call);
		*sock = call.sock;
		call.hs.retry_ms = LONG_MS;
		for (i = 0; i < REUSES; i++) {
			/* some are left to agents, dead or alive */
			call.hs.cancel_us = random_below(8) ? 1 + random_below(aim) : 0;
			call_run(&call);
			count(&call);
			aim = aim_again(aim, &call.hs);
		}
		*sock = -1;
		call_close(&call);
	}
	finished++;
	return NULL;
}

/* Says DONE of what others have accepted, or not yet, or no more. */
static void *meddler_thread(void *arg)
{
	struct nl nl;
	int fd, ret;

	if (nl_open(&nl)) {
		fault("no netlink socket", 0);
		return NULL;
	}
	while (!over) {
		fd = socks[random_below(CONSUMERS)];
		ret = fd < 0 ? -EBUSY : done(&nl, fd, 0);
		if (!ret)
			shared->done++;
		else if (ret != -EBUSY && ret != -EBADF && ret != -ENOTSOCK)
			fault("DONE of another's request", ret);
		usleep(random_below(2000));
	}
	nl_close(&nl);
	return NULL;
}

/* ---- agents ---- */

/* Sooner or later, and some not at all. */
static void serve(struct nl *nl, int fd)
{
	int ret;

	shared->accepted++;
	if (!random_below(64))
		_exit(0);
	if (!random_below(4))
		usleep(random_below(500));
	ret = done(nl, fd, random_below(2) * EACCES);
	if (!ret)
		shared->done++;
	else if (ret == -EBUSY)
		shared->late++;
	else
		fault("DONE", ret);
	close(fd);
}

/* The lowest descriptor that is free. */
static int next_fd(void)
{
	int fd = dup(STDOUT_FILENO);

	close(fd);
	return fd;
}

static void agent(struct child *child)
{
	struct accepted acc;
	int ret, before;
	struct nl nl;

	random_restart(agent_seed);
	/* the consumers' sockets are not to live by their agents */
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
	if (nl_open(&nl) || nl_listen(&nl)) {
		fault("no netlink socket", 0);
		return;
	}
	before = next_fd();
	for (;;) {
		ret = accept_try(&nl, &acc);
		if (ret == -EAGAIN) {
			nl_wait_ready(&nl, 20);
			continue;
		}
		if (ret || acc.fd < 0)
			fault("ACCEPT", ret);
		else
			serve(&nl, acc.fd);
		if (next_fd() != before)
			fault("a descriptor of an agent is left", before);
	}
}

static void next_agent(struct child *child)
{
	agent_seed++;
	child_start(child, agent);
}

/* Agents are killed, and others take their places, until consumers have enough. */
static void agents_come_and_go(struct nl *ear)
{
	struct child agents[AGENTS];
	unsigned int i;

	agent_seed = options.seed;
	for (i = 0; i < AGENTS; i++)
		next_agent(&agents[i]);
	while (finished < CONSUMERS) {
		pause_ms(5 + random_below(50));
		nl_drain(ear);
		i = random_below(AGENTS);
		child_end(&agents[i], SIGKILL);
		next_agent(&agents[i]);
		kills++;
	}
	for (i = 0; i < AGENTS; i++)
		child_end(&agents[i], SIGKILL);
	kills += AGENTS;
}

/* ---- the section ---- */

/* A listener that does nothing: requests are taken when all agents are dead. */
static void listen_only(struct nl *nl)
{
	const int room = 4 << 20;

	if (nl_open(nl) || nl_listen(nl))
		bail_out("no netlink socket");
	setsockopt(nl->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
}

static void run(struct nl *ear)
{
	pthread_t consumers[CONSUMERS], meddler;
	unsigned int i;

	over = false;
	finished = 0;
	for (i = 0; i < CONSUMERS; i++) {
		socks[i] = -1;
		pthread_create(&consumers[i], NULL, consumer_thread, &socks[i]);
	}
	pthread_create(&meddler, NULL, meddler_thread, NULL);
	agents_come_and_go(ear);
	for (i = 0; i < CONSUMERS; i++)
		pthread_join(consumers[i], NULL);
	over = true;
	pthread_join(meddler, NULL);
}

static void enough(unsigned int n, const char *what)
{
	ok(n * 100ULL >= rounds * (unsigned long long)PERCENT, "%u of %u were %s (%d %% at least)",
	   n, (unsigned int)rounds, what, PERCENT);
}

static void check(void)
{
	unsigned int done = shared->done;

	ok(rounds >= options.races, "%u rounds, %u at least", (unsigned int)rounds,
	   options.races);
	is((long)shared->faults, 0, "each had one end");
	enough(told, "told");
	enough(cancelled, "cancelled");
	ok(died, "%u were told that their agent had died", (unsigned int)died);
	ok(told >= done && told - done <= kills,
	   "%u are told by %u DONE, and by some of %u agents that were killed",
	   (unsigned int)told, done, kills);
	ok(shared->late, "%u DONE came too late, of %u ACCEPT", (unsigned int)shared->late,
	   (unsigned int)shared->accepted);
}

void test_races(void)
{
	long sockets = count_sockets();
	uint64_t start = now_ms();
	struct accepted acc;
	struct nl ear;

	if (!ours) {
		skip("upstream takes its lock with softirqs enabled", "cancels in softirq context");
		return;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED)
		bail_out("no memory");
	listen_only(&ear);
	run(&ear);
	check();
	nl_drain(&ear);
	is(accept_try(&ear, &acc), -EAGAIN, "nothing is left in the queue");
	nl_close(&ear);
	munmap(shared, sizeof(*shared));
	no_more_sockets(sockets);
	note("%lu ms", (unsigned long)(now_ms() - start));
}
