// SPDX-License-Identifier: GPL-2.0-or-later
#include "tlshd/monitor/pool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "tlshd/monitor/pool-private.h"

#define STABLE_AFTER (10 * USEC_PER_SEC)	/* a life this long clears the restart delay */
#define DELAY_MIN (100 * USEC_PER_MSEC)
#define DELAY_MAX (10 * USEC_PER_SEC)
#define DELAY_ALONE_MAX (1 * USEC_PER_SEC)	/* while there is nobody else to take a job */
#define RETIRED_LIMIT (660 * USEC_PER_SEC)	/* for the last handshake; above the longest timeout */
#define LOOK_AFTER (100 * USEC_PER_MSEC)	/* for the end of a process that is about to */
#define REAP_LIMIT_MS 3000	/* for all there are, once they are killed */
#define DATE_MARGIN 60	/* s: what ends within it is not insisted on */

uint64_t pool_now(const struct pool *pool)
{
	uint64_t t = 0;

	sd_event_now(pool->event, CLOCK_MONOTONIC, &t);
	return t;
}

struct generation *pool_find(const struct pool *pool, enum gen_state state)
{
	struct generation *gen;

	for (gen = pool->generations; gen; gen = gen->next) {
		if (gen->state == state)
			return gen;
	}
	return NULL;
}

/* A generation that is out of use goes when its last pair has gone. */
static void reap_generation(struct generation *gen)
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

static unsigned int count_pairs(const struct generation *gen, bool only_ready)
{
	unsigned int n = 0;

	for (const struct pair *p = gen->pairs; p; p = p->next)
		n += only_ready ? pair_ready(p) : !p->dying;
	return n;
}

void pool_pair_gone(struct generation *gen)
{
	struct pool *pool = gen->pool;

	reap_generation(gen);
	pool->callbacks->gone(pool->ctx);
}

void pool_arm(sd_event_source *timer, uint64_t delay)
{
	sd_event_source_set_time_relative(timer, delay);
	sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

/* For pool_arm(). Returns 0 or a negative errno. */
static int new_timer(struct pool *pool, sd_event_source **ret, sd_event_time_handler_t handler,
		     void *ctx)
{
	int r = sd_event_add_time(pool->event, ret, CLOCK_MONOTONIC, 0, 1, handler, ctx);

	return r < 0 ? r : sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
}

void pool_look(struct pool *pool)
{
	if (sd_event_source_get_enabled(pool->look, NULL) == 0)
		pool_arm(pool->look, LOOK_AFTER);
}

static int on_look(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct pool *pool = ctx;

	for (struct generation *gen = pool->generations; gen; gen = gen->next) {
		for (struct pair *p = gen->pairs; p; p = p->next) {
			if (pair_look(p))
				pool_look(pool);
		}
	}
	return 0;
}

static void arm(struct generation *gen, uint64_t delay)
{
	gen->due = pool_now(gen->pool) + delay;
	pool_arm(gen->timer, delay);
}

static void plan_replacement(struct generation *gen, const struct pair *dead)
{
	uint64_t now = pool_now(gen->pool), delay;

	if (now - dead->started > STABLE_AFTER)
		gen->delay = 0;
	delay = gen->delay;
	gen->delay = delay ? MIN(2 * delay, DELAY_MAX) : DELAY_MIN;
	/*
	 * Requests now wait in the monitor, and their consumers not for ever: who makes workers
	 * die one after the other must not gain more than that. Those that do not even start
	 * would be no help.
	 */
	if (pair_was_ready(dead) && !count_pairs(gen, false))
		delay = MIN(delay, DELAY_ALONE_MAX);
	if (sd_event_source_get_enabled(gen->timer, NULL) > 0 && gen->due <= now + delay)
		return;		/* one is planned; it replaces all that are missing */
	arm(gen, delay);
}

static void generation_give_up(struct generation *gen, int error, const char *reason)
{
	struct pool *pool = gen->pool;
	char text[LOG_TEXT_MAX];

	snprintf(text, sizeof(text), "%s", reason);
	gen->state = GEN_RETIRED;
	for (struct pair *p = gen->pairs; p; p = p->next)
		pool_end_pair(p, 0, NULL);
	/* Its pairs are still to be reaped, so @gen stays for now. */
	pool->callbacks->reloaded(pool->ctx, error, text);
}

void pool_end_pair(struct pair *pair, int error, const char *why)
{
	struct generation *gen = pair->gen;
	struct pool *pool = gen->pool;
	bool reported = why && (gen->state != GEN_COMING);

	if (pair->dying)
		return;
	pair_kill(pair);
	if (reported && pair->in_flight)
		log_error(pool->log, "%s; handshakes that end with it: %u", why, pair->in_flight);
	else if (reported)
		log_error(pool->log, "%s", why);
	if (pair->in_flight)
		pool->callbacks->died(pool->ctx, pair, why ? why : "the worker ended");
	if (gen->state == GEN_CURRENT)
		plan_replacement(gen, pair);
	else if (gen->state == GEN_COMING)
		generation_give_up(gen, error, why ? why : "a worker ended early");
}

static void replace(struct generation *gen)
{
	const struct log *log = gen->pool->log;

	while (count_pairs(gen, false) < gen->n_wanted) {
		int r = pair_start(gen);

		if (r < 0) {
			/* Once: it may stay so for long. */
			log_msg(log, gen->complained ? LOG_DEBUG : LOG_ERR,
				"cannot start a worker: %s; trying again each second%s", strerror(-r),
				r == -EAGAIN ? " (processes: TasksMax= of the unit, or kernel.pid_max)" :
				r == -EMFILE ? " (descriptors: LimitNOFILE= of the unit)" : "");
			gen->complained = true;
			arm(gen, USEC_PER_SEC);
			return;
		}
	}
	if (gen->complained)
		log_notice(log, "workers can be started again");
	gen->complained = false;
}

static void end_former(struct generation *gen)
{
	for (struct pair *p = gen->pairs; p; p = p->next)
		pool_end_pair(p, -ETIMEDOUT, "a worker of a former configuration did not end");
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct generation *gen = ctx;

	if (gen->state == GEN_CURRENT)
		replace(gen);
	else if (gen->state == GEN_RETIRED)
		end_former(gen);
	return 0;
}

static void generation_retire(struct generation *gen)
{
	gen->state = GEN_RETIRED;
	arm(gen, RETIRED_LIMIT);
	for (struct pair *p = gen->pairs; p; p = p->next)
		pair_drain(p);
	reap_generation(gen);
}

void pool_child_ready(struct child *c)
{
	struct generation *gen = c->pair->gen, *old;
	struct pool *pool = gen->pool;

	c->ready = true;
	if (!pair_ready(c->pair))
		return;
	c->pair->limit = sd_event_source_disable_unref(c->pair->limit);
	if (gen->state == GEN_CURRENT) {
		/* A newcomer has no failures because it had no jobs: it is not to get them all for that. */
		pool_avoid_none(gen);
		pool->callbacks->writable(pool->ctx);
	}
	if (gen->state != GEN_COMING || count_pairs(gen, true) < gen->n_wanted)
		return;
	old = pool_find(pool, GEN_CURRENT);
	gen->state = GEN_CURRENT;
	/* A pair that takes another's place later, when they have ended, is to load all the same. */
	gen->start.in_use = (struct hs_dates){ 0 };
	if (old)
		generation_retire(old);
	pool->callbacks->reloaded(pool->ctx, 0, "");
	pool->callbacks->writable(pool->ctx);
}

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
	if (new_timer(pool, &pool->retry, pool_on_retry, pool) < 0 ||
	    new_timer(pool, &pool->look, on_look, pool) < 0) {
		snprintf(reason, reason_size, "out of memory");
		return -ENOMEM;
	}
	*ret = TAKE_PTR(pool);
	return 0;
}

/* @ms: waited for others so far */
static void reap_within(struct child *c, unsigned int *ms)
{
	c->exit = sd_event_source_disable_unref(c->exit);
	while (c->pid && waitpid(c->pid, NULL, WNOHANG) == 0 && *ms < REAP_LIMIT_MS) {
		poll(NULL, 0, 1);
		(*ms)++;
	}
}

/* One that somebody traces cannot be reaped before its tracer lets go: init does it then. */
static void end_children(struct pool *pool)
{
	unsigned int ms = 0;

	for (struct generation *gen = pool->generations; gen; gen = gen->next) {
		for (struct pair *pair = gen->pairs; pair; pair = pair->next) {
			for (unsigned int i = 0; i < N_CHILDREN; i++) {
				if (pair->child[i].pid)
					kill(pair->child[i].pid, SIGKILL);
			}
		}
	}
	for (struct generation *gen = pool->generations; gen; gen = gen->next) {
		for (struct pair *pair = gen->pairs; pair; pair = pair->next) {
			for (unsigned int i = 0; i < N_CHILDREN; i++)
				reap_within(&pair->child[i], &ms);
		}
	}
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	end_children(pool);
	while (pool->generations) {
		struct generation *gen = pool->generations;

		gen->state = GEN_RETIRED;
		while (gen->pairs)
			pair_free(gen->pairs);
		reap_generation(gen);
	}
	sd_event_source_disable_unref(pool->retry);
	sd_event_source_disable_unref(pool->look);
	sd_event_unref(pool->event);
	free(pool);
}

static int64_t insist(int64_t date)
{
	return date > time(NULL) + DATE_MARGIN ? date : 0;
}

/* What the present generation has that is good for some time yet. */
static struct hs_dates dates_in_use(const struct pool *pool)
{
	const struct generation *gen = pool_find(pool, GEN_CURRENT);
	struct hs_dates dates = { 0 };

	for (unsigned int role = 0; gen && role < HS_N_ROLES; role++) {
		for (unsigned int i = 0; i < HS_N_IDENTITIES; i++)
			dates.certificate[role][i] = insist(gen->dates.certificate[role][i]);
		dates.crl[role] = insist(gen->dates.crl[role]);
	}
	return dates;
}

bool pool_crowded(const struct pool *pool)
{
	unsigned int n = 0;

	for (const struct generation *gen = pool->generations; gen; gen = gen->next)
		n += gen->state == GEN_RETIRED && count_pairs(gen, false) > 0;
	return n >= POOL_FORMER_MAX;
}

int pool_reload(struct pool *pool, const struct config *config, struct material *material,
		bool no_worse)
{
	struct generation *former = pool_find(pool, GEN_COMING);
	struct generation *gen = calloc(1, sizeof(*gen));
	int r;

	r = gen ? new_timer(pool, &gen->timer, on_timer, gen) : -ENOMEM;
	if (r < 0) {
		if (gen)
			sd_event_source_disable_unref(gen->timer);
		free(gen);
		material_free(material);
		return r;
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
	if (no_worse)
		gen->start.in_use = dates_in_use(pool);
	gen->next = pool->generations;
	pool->generations = gen;
	r = 0;
	for (unsigned int i = 0; r >= 0 && i < gen->n_wanted; i++)
		r = pair_start(gen);
	if (former || r < 0) {
		struct generation *loser = r < 0 ? gen : former;

		loser->state = GEN_RETIRED;
		sd_event_source_set_enabled(loser->timer, SD_EVENT_OFF);
		for (struct pair *p = loser->pairs; p; p = p->next)
			pool_end_pair(p, 0, NULL);
		if (!loser->pairs)
			reap_generation(loser);
	}
	if (r < 0)
		return r;
	gen->state = GEN_COMING;
	return 0;
}

bool pool_has_process(const struct pool *pool, pid_t pid)
{
	for (const struct generation *gen = pool->generations; gen; gen = gen->next) {
		for (const struct pair *p = gen->pairs; p; p = p->next) {
			if (p->child[CHILD_WORKER].pid == pid || p->child[CHILD_KEEPER].pid == pid)
				return true;
		}
	}
	return false;
}
