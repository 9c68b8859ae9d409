// SPDX-License-Identifier: GPL-2.0-or-later
#include "tlshd/monitor/pool.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/wait.h>

#include "common/channel.h"
#include "tlshd/monitor/spawn.h"

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define START_LIMIT (30 * USEC_PER_SEC)		/* for all pairs of a generation to be ready */
#define STABLE_AFTER (10 * USEC_PER_SEC)	/* a life this long clears the restart delay */
#define DELAY_MIN (100 * USEC_PER_MSEC)
#define DELAY_MAX (10 * USEC_PER_SEC)
#define BATCH 64				/* messages read before others get their turn */

struct child {
	struct pair *pair;
	enum child_kind kind;
	pid_t pid;		/* 0: not running */
	int channel;
	bool ready;
	sd_event_source *io, *exit;
};

struct pair {
	struct pair *next;
	struct generation *gen;
	struct child child[N_CHILDREN];
	unsigned int in_flight;
	uint64_t started;	/* CLOCK_MONOTONIC, us */
	bool blocked;		/* the worker's channel is full */
	bool dying;		/* killed; waits to be reaped */
};

enum gen_state {
	GEN_COMING,	/* its pairs are starting */
	GEN_CURRENT,	/* gets the jobs */
	GEN_RETIRED,	/* its pairs finish what they have */
};

struct generation {
	struct generation *next;
	struct pool *pool;
	enum gen_state state;
	struct material *material;
	struct wire_start start;
	unsigned int n_wanted;	/* pairs */
	struct pair *pairs;
	uint64_t delay;		/* before the next replacement, us */
	sd_event_source *timer;	/* coming: its limit; current: the next replacement */
};

struct pool {
	sd_event *event;
	const struct log *log;
	uint32_t ciphers;
	struct spawn_user users[N_CHILDREN];
	const struct pool_callbacks *callbacks;
	void *ctx;
	struct generation *generations;
};

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx);
static int on_exit_of(sd_event_source *source, const siginfo_t *si, void *ctx);
static int on_replace(sd_event_source *source, uint64_t usec, void *ctx);

static uint64_t now(const struct pool *pool)
{
	uint64_t t = 0;

	sd_event_now(pool->event, CLOCK_MONOTONIC, &t);
	return t;
}

static struct generation *find_generation(const struct pool *pool, enum gen_state state)
{
	struct generation *gen;

	for (gen = pool->generations; gen; gen = gen->next) {
		if (gen->state == state)
			return gen;
	}
	return NULL;
}

/* --- a pair's beginning and end --- */

static void child_close(struct child *c)
{
	c->io = sd_event_source_disable_unref(c->io);
	c->channel = fd_close(c->channel);
}

static void pair_free(struct pair *pair)
{
	struct pair **p = &pair->gen->pairs;

	for (unsigned int i = 0; i < N_CHILDREN; i++) {
		child_close(&pair->child[i]);
		sd_event_source_disable_unref(pair->child[i].exit);
	}
	while (*p != pair)
		p = &(*p)->next;
	*p = pair->next;
	free(pair);
}

/* A generation that is out of use goes when its last pair has gone. */
static void generation_reap(struct generation *gen)
{
	struct generation **p = &gen->pool->generations;

	if (gen->pairs || gen->state != GEN_RETIRED)
		return;
	while (*p != gen)
		p = &(*p)->next;
	*p = gen->next;
	sd_event_source_disable_unref(gen->timer);
	material_free(gen->material);
	free(gen);
}

static int arm(struct generation *gen, uint64_t delay, sd_event_time_handler_t handler)
{
	gen->timer = sd_event_source_disable_unref(gen->timer);
	return sd_event_add_time_relative(gen->pool->event, &gen->timer, CLOCK_MONOTONIC, delay,
					  0, handler, gen);
}

static void plan_replacement(struct generation *gen, const struct pair *dead)
{
	uint64_t delay;

	if (now(gen->pool) - dead->started > STABLE_AFTER)
		gen->delay = 0;
	delay = gen->delay;
	gen->delay = delay ? MIN(2 * delay, DELAY_MAX) : DELAY_MIN;
	if (gen->timer && sd_event_source_get_enabled(gen->timer, NULL) > 0)
		return;		/* one is planned; it replaces all that are missing */
	if (arm(gen, delay, on_replace) < 0)
		log_error(gen->pool->log, "cannot plan the replacement of a worker");
}

static void generation_give_up(struct generation *gen, int error, const char *reason);

/*
 * Ends the pair: both processes are killed and reaped later. @why NULL: it
 * ended as it should.
 */
static void pair_end(struct pair *pair, const char *why)
{
	struct generation *gen = pair->gen;
	struct pool *pool = gen->pool;
	bool reported = why && (gen->state != GEN_COMING);

	if (pair->dying)
		return;
	pair->dying = true;
	for (unsigned int i = 0; i < N_CHILDREN; i++) {
		child_close(&pair->child[i]);
		if (pair->child[i].pid)
			kill(pair->child[i].pid, SIGKILL);
	}
	if (reported && pair->in_flight)
		log_error(pool->log, "%s; handshakes that end with it: %u", why, pair->in_flight);
	else if (reported)
		log_error(pool->log, "%s", why);
	if (pair->in_flight)
		pool->callbacks->died(pool->ctx, pair, why ? why : "the worker ended");
	if (gen->state == GEN_CURRENT)
		plan_replacement(gen, pair);
	else if (gen->state == GEN_COMING)
		generation_give_up(gen, -ECHILD, why ? why : "a worker ended early");
}

static int start_child(struct pair *pair, enum child_kind kind, int peer_fd)
{
	struct generation *gen = pair->gen;
	struct pool *pool = gen->pool;
	struct child *c = &pair->child[kind];
	struct wire_message start = { .type = WIRE_START, .start = gen->start };
	CLEANUP_FD int theirs = -1;
	int fds[2], r;

	r = channel_pair(fds);
	if (r < 0)
		return r;
	c->channel = fds[0];
	theirs = fds[1];
	r = material_send(gen->material,
			  kind == CHILD_WORKER ? MATERIAL_WORKER : MATERIAL_KEEPER, c->channel);
	if (!r)
		r = channel_send(c->channel, &start, -1);
	if (r < 0)
		return r;
	r = spawn_child(kind, &pool->users[kind], theirs, peer_fd);
	if (r < 0)
		return r;
	c->pid = r;
	r = sd_event_add_child(pool->event, &c->exit, c->pid, WEXITED, on_exit_of, c);
	if (r < 0) {
		/* Nobody will tell us of its end: end it here. */
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
		c->pid = 0;
		return r;
	}
	return sd_event_add_io(pool->event, &c->io, c->channel, EPOLLIN, on_io, c);
}

static int pair_start(struct generation *gen)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	CLEANUP_FD int worker_end = -1, keeper_end = -1;
	int fds[2], r;

	if (!pair)
		return -ENOMEM;
	pair->gen = gen;
	pair->started = now(gen->pool);
	pair->next = gen->pairs;
	gen->pairs = pair;
	for (unsigned int i = 0; i < N_CHILDREN; i++)
		pair->child[i] = (struct child){ .pair = pair, .kind = i, .channel = -1 };
	r = channel_pair(fds);
	if (!r) {
		worker_end = fds[0];
		keeper_end = fds[1];
		r = start_child(pair, CHILD_KEEPER, keeper_end);
	}
	if (!r)
		r = start_child(pair, CHILD_WORKER, worker_end);
	if (!r)
		return 0;
	/* What did start is reaped as usual. */
	pair->dying = true;
	for (unsigned int i = 0; i < N_CHILDREN; i++) {
		child_close(&pair->child[i]);
		if (pair->child[i].pid)
			kill(pair->child[i].pid, SIGKILL);
	}
	if (!pair->child[CHILD_WORKER].pid && !pair->child[CHILD_KEEPER].pid)
		pair_free(pair);
	return r;
}

static bool pair_ready(const struct pair *pair)
{
	return !pair->dying && pair->child[CHILD_WORKER].ready && pair->child[CHILD_KEEPER].ready;
}

/* --- generations --- */

static unsigned int count_pairs(const struct generation *gen, bool only_ready)
{
	unsigned int n = 0;

	for (const struct pair *p = gen->pairs; p; p = p->next)
		n += only_ready ? pair_ready(p) : !p->dying;
	return n;
}

static int on_replace(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct generation *gen = ctx;

	while (count_pairs(gen, false) < gen->n_wanted) {
		int r = pair_start(gen);

		if (r < 0) {
			log_error(gen->pool->log, "cannot start a worker: %s; trying again in 1 s",
				  strerror(-r));
			return arm(gen, USEC_PER_SEC, on_replace);
		}
	}
	return 0;
}

/* Tells idle and busy workers alike to end when they have nothing left. */
static void generation_retire(struct generation *gen)
{
	struct wire_message drain = { .type = WIRE_DRAIN };

	gen->state = GEN_RETIRED;
	gen->timer = sd_event_source_disable_unref(gen->timer);
	for (struct pair *p = gen->pairs; p; p = p->next) {
		if (!p->dying && channel_send(p->child[CHILD_WORKER].channel, &drain, -1) < 0)
			pair_end(p, p->in_flight ? "a worker of the former configuration does not listen" : NULL);
	}
	generation_reap(gen);
}

static void generation_give_up(struct generation *gen, int error, const char *reason)
{
	struct pool *pool = gen->pool;
	char text[LOG_TEXT_MAX];

	snprintf(text, sizeof(text), "%s", reason);
	gen->state = GEN_RETIRED;
	gen->timer = sd_event_source_disable_unref(gen->timer);
	for (struct pair *p = gen->pairs; p; p = p->next)
		pair_end(p, NULL);
	/* Its pairs are still to be reaped, so @gen stays for now. */
	pool->callbacks->reloaded(pool->ctx, error, text);
}

static int on_start_limit(sd_event_source *source, uint64_t usec, void *ctx)
{
	generation_give_up(ctx, -ETIMEDOUT, "the workers were not ready within 30 s");
	return 0;
}

static void child_ready(struct child *c)
{
	struct generation *gen = c->pair->gen, *old;
	struct pool *pool = gen->pool;

	c->ready = true;
	if (!pair_ready(c->pair))
		return;
	if (gen->state == GEN_CURRENT)
		pool->callbacks->writable(pool->ctx);
	if (gen->state != GEN_COMING || count_pairs(gen, true) < gen->n_wanted)
		return;
	old = find_generation(pool, GEN_CURRENT);
	gen->timer = sd_event_source_disable_unref(gen->timer);
	gen->state = GEN_CURRENT;
	if (old)
		generation_retire(old);
	pool->callbacks->reloaded(pool->ctx, 0, "");
	pool->callbacks->writable(pool->ctx);
}

/* --- what children say and how they end --- */

/* Returns false when the message is one this child may not send now. */
static bool handle(struct child *c, const struct wire_message *msg)
{
	struct pool *pool = c->pair->gen->pool;
	char why[LOG_TEXT_MAX];

	switch (msg->type) {
	case WIRE_READY:
		if (c->ready)
			return false;
		child_ready(c);
		return true;
	case WIRE_FAILED:
		if (c->ready)
			return false;
		/* The reason is for whoever started this generation: no need to name the process. */
		snprintf(why, sizeof(why), "%s", msg->text.text);
		pair_end(c->pair, why);
		return true;
	case WIRE_LOG:
		log_msg(pool->log, msg->text.priority, "%s[%d]: %s", spawn_kind_name(c->kind),
			c->pid, msg->text.text);
		return true;
	case WIRE_RESULT:
		if (c->kind != CHILD_WORKER || !c->ready)
			return false;
		pool->callbacks->result(pool->ctx, c->pair, &msg->result);
		return true;
	default:
		return false;
	}
}

static void end_by(struct child *c, const char *what)
{
	char why[LOG_TEXT_MAX];

	snprintf(why, sizeof(why), "%s[%d] %s", spawn_kind_name(c->kind), c->pid, what);
	pair_end(c->pair, why);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct child *c = ctx;
	struct pair *pair = c->pair;
	struct pool *pool = pair->gen->pool;
	struct wire_message msg;

	if (revents & EPOLLOUT) {
		sd_event_source_set_io_events(source, EPOLLIN);
		pair->blocked = false;
		pool->callbacks->writable(pool->ctx);
	}
	for (unsigned int i = 0; i < BATCH && !pair->dying; i++) {
		CLEANUP_FD int stray = -1;
		int r = channel_recv(c->channel, &msg, &stray);

		if (r == -EAGAIN)
			break;
		if (r == -EPIPE || r == -ECONNRESET) {
			/* Its exit status, soon to come, says more. */
			c->io = sd_event_source_disable_unref(c->io);
			break;
		}
		if (r < 0 || stray >= 0 || !handle(c, &msg))
			end_by(c, "broke the protocol");
	}
	explicit_bzero(&msg, sizeof(msg));
	return 0;
}

static void describe_exit(const siginfo_t *si, char *buf, size_t size)
{
	if (si->si_code == CLD_EXITED)
		snprintf(buf, size, "ended with status %d", si->si_status);
	else
		snprintf(buf, size, "was killed by signal %d (SIG%s)", si->si_status,
			 sigabbrev_np(si->si_status) ? sigabbrev_np(si->si_status) : "?");
}

/* The results of a worker that ended in good order may still be in its channel. */
static void read_last_words(struct child *c)
{
	struct wire_message msg;

	while (!c->pair->dying && c->channel >= 0) {
		CLEANUP_FD int stray = -1;

		if (channel_recv(c->channel, &msg, &stray) < 0 || !handle(c, &msg))
			break;
	}
	explicit_bzero(&msg, sizeof(msg));
}

static int on_exit_of(sd_event_source *source, const siginfo_t *si, void *ctx)
{
	struct child *c = ctx;
	struct pair *pair = c->pair;
	struct generation *gen = pair->gen;
	char how[64];
	bool drained;

	read_last_words(c);
	drained = gen->state == GEN_RETIRED && pair->in_flight == 0;
	describe_exit(si, how, sizeof(how));
	if (drained)
		pair_end(pair, NULL);
	else
		end_by(c, how);
	c->pid = 0;
	c->exit = sd_event_source_disable_unref(c->exit);
	if (!pair->child[CHILD_WORKER].pid && !pair->child[CHILD_KEEPER].pid) {
		pair_free(pair);
		generation_reap(gen);
	}
	return 0;
}

/* --- the interface --- */

int pool_new(struct pool **ret, sd_event *event, const struct log *log, uint32_t ciphers,
	     const struct pool_callbacks *callbacks, void *ctx, char *reason, size_t reason_size)
{
	CLEANUP(pool_freep) struct pool *pool = calloc(1, sizeof(*pool));

	if (!pool) {
		snprintf(reason, reason_size, "out of memory");
		return -ENOMEM;
	}
	pool->event = sd_event_ref(event);
	pool->log = log;
	pool->ciphers = ciphers;
	pool->callbacks = callbacks;
	pool->ctx = ctx;
	for (unsigned int i = 0; i < N_CHILDREN; i++) {
		int r = spawn_find_user(i, &pool->users[i], reason, reason_size);

		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(pool);
	return 0;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	while (pool->generations) {
		struct generation *gen = pool->generations;

		gen->state = GEN_RETIRED;
		while (gen->pairs) {
			struct pair *pair = gen->pairs;

			for (unsigned int i = 0; i < N_CHILDREN; i++) {
				if (!pair->child[i].pid)
					continue;
				kill(pair->child[i].pid, SIGKILL);
				pair->child[i].exit =
					sd_event_source_disable_unref(pair->child[i].exit);
				waitpid(pair->child[i].pid, NULL, 0);
			}
			pair_free(pair);
		}
		generation_reap(gen);
	}
	sd_event_unref(pool->event);
	free(pool);
}

int pool_reload(struct pool *pool, const struct config *config, struct material *material)
{
	struct generation *former = find_generation(pool, GEN_COMING);
	struct generation *gen = calloc(1, sizeof(*gen));
	int r;

	if (!gen) {
		material_free(material);
		return -ENOMEM;
	}
	gen->pool = pool;
	gen->material = material;
	gen->state = GEN_RETIRED;	/* until all its pairs have been started */
	gen->n_wanted = config->workers;
	gen->start = (struct wire_start){
		.ciphers = pool->ciphers,
		.tls_debug = config->tls_debug,
		.log_level = config->log_level,
	};
	gen->next = pool->generations;
	pool->generations = gen;
	r = arm(gen, START_LIMIT, on_start_limit);
	for (unsigned int i = 0; r >= 0 && i < gen->n_wanted; i++)
		r = pair_start(gen);
	if (former || r < 0) {
		struct generation *loser = r < 0 ? gen : former;

		loser->state = GEN_RETIRED;
		loser->timer = sd_event_source_disable_unref(loser->timer);
		for (struct pair *p = loser->pairs; p; p = p->next)
			pair_end(p, NULL);
		if (!loser->pairs)
			generation_reap(loser);
	}
	if (r < 0)
		return r;
	gen->state = GEN_COMING;
	return 0;
}

static struct pair *least_busy(const struct generation *gen)
{
	struct pair *best = NULL;

	for (struct pair *p = gen->pairs; p; p = p->next) {
		if (pair_ready(p) && !p->blocked && (!best || p->in_flight < best->in_flight))
			best = p;
	}
	return best;
}

int pool_dispatch(struct pool *pool, const struct hs_job *job, int fd, struct pair **ret)
{
	struct generation *gen = find_generation(pool, GEN_CURRENT);
	struct wire_message msg = { .type = WIRE_JOB, .job = *job };
	struct pair *pair;

	while (gen && (pair = least_busy(gen))) {
		struct child *worker = &pair->child[CHILD_WORKER];
		int r = channel_send(worker->channel, &msg, fd);

		if (!r) {
			pair->in_flight++;
			*ret = pair;
			return 0;
		}
		if (r == -EINVAL || r == -EMSGSIZE)
			return r;
		if (r == -EAGAIN || r == -ENOBUFS || r == -ETOOMANYREFS) {
			pair->blocked = true;
			sd_event_source_set_io_events(worker->io, EPOLLIN | EPOLLOUT);
		} else {
			/* It died and we have not been told yet: another takes the job. */
			end_by(worker, "does not take its work");
		}
	}
	return -EAGAIN;
}

void pool_forget(struct pool *pool, struct pair *pair, uint64_t id, bool cancel)
{
	struct wire_message msg = { .type = WIRE_CANCEL, .cancel = id };

	pair->in_flight--;
	if (cancel && !pair->dying)
		channel_send(pair->child[CHILD_WORKER].channel, &msg, -1);
}
