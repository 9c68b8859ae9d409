// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the pairs are told: who gets a job, its keys, and the news of its end.
 *
 * A keeper signs for the handshakes it was told of: it is told before the worker
 * gets the job, so that it knows when that asks. It also has to hear of each end,
 * or the grant would be there for another use: what its channel has no room for
 * is told before anything else. While there is something of that, and while any
 * channel is full, the pair gets no jobs, so that this list has an end.
 *
 * A worker that fails all it is given, at once, for want of memory or by a fault of its own, has
 * the fewest jobs of all. Until it does better than that it gets one now and then; it is not
 * replaced, for what it lacks may be what the whole machine lacks. When all of them fail that is
 * so, and none is avoided: with the first success all begin anew, or the one that had it would get
 * everything until the others' time is over.
 */
#include <errno.h>
#include <stdlib.h>

#include "common/channel.h"
#include "tlshd/monitor/pool-private.h"

#define SILENCE_LIMIT (5 * USEC_PER_SEC)	/* of one that should have answered */
#define FULL_LIMIT (10 * USEC_PER_SEC)		/* for a channel to have room again */
#define AVOID_MIN (100 * USEC_PER_MSEC)	/* after a failure of its own, a pair gets what others cannot take */
#define AVOID_MAX (60 * USEC_PER_SEC)	/* ... after as many, each when it was tried again */
#define SHORTAGE_RETRY (20 * USEC_PER_MSEC)	/* after the kernel had no memory for a job */

/* Is @a to get a job rather than @b? */
static bool is_before(const struct pair *a, const struct pair *b, uint64_t now)
{
	bool avoid_a = now < a->avoid_until, avoid_b = now < b->avoid_until;

	if (avoid_a != avoid_b)
		return avoid_b;
	if (a->in_flight != b->in_flight)
		return a->in_flight < b->in_flight;
	return a->turn < b->turn;
}

/* Has none of those that can take jobs done better since its last failure? */
static bool all_fail(const struct generation *gen)
{
	for (const struct pair *p = gen->pairs; p; p = p->next) {
		if (pair_ready(p) && !p->avoid)
			return false;
	}
	return true;
}

static struct pair *least_busy(const struct generation *gen)
{
	uint64_t now = all_fail(gen) ? UINT64_MAX : pool_now(gen->pool);
	struct pair *best = NULL;

	for (struct pair *p = gen->pairs; p; p = p->next) {
		if (!pair_ready(p) || p->blocked || p->starved)
			continue;
		if (!best || is_before(p, best, now))
			best = p;
	}
	return best;
}

void pool_avoid_none(struct generation *gen)
{
	for (struct pair *p = gen->pairs; p; p = p->next)
		p->avoid = p->avoid_until = 0;
}

void pair_note_outcome(struct pair *pair, enum hs_outcome outcome, bool excused)
{
	uint64_t now = pool_now(pair->gen->pool);

	if (outcome != HS_BUSY && outcome != HS_INTERNAL) {
		if (all_fail(pair->gen))
			pool_avoid_none(pair->gen);
		pair->avoid = pair->avoid_until = 0;
		return;
	}
	/* It had this job before, as a rule: the moment is the one of the failure that is known. */
	if (excused || now < pair->avoid_until)
		return;
	pair->avoid = pair->avoid ? MIN(2 * pair->avoid, AVOID_MAX) : AVOID_MIN;
	pair->avoid_until = now + pair->avoid;
}

/* Tells a keeper of the ends it has not heard of. Returns 0 or why it cannot be told now. */
static int tell_ends(struct pair *pair)
{
	struct wire_message msg = { .type = WIRE_CANCEL };

	while (pair->n_unsaid) {
		int r;

		msg.cancel = pair->unsaid[pair->n_unsaid - 1];
		r = channel_send(pair->child[CHILD_KEEPER].channel, &msg, -1);
		if (r < 0)
			return r;
		pair->n_unsaid--;
	}
	return 0;
}

int pool_on_retry(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct pool *pool = ctx;

	for (struct generation *gen = pool->generations; gen; gen = gen->next) {
		for (struct pair *p = gen->pairs; p; p = p->next) {
			p->starved = false;
			pair_tell_unsaid(p);
		}
	}
	pool->callbacks->writable(pool->ctx);
	return 0;
}

/* A worker may be busy with what it has, and then it speaks; a keeper has nothing else to do. */
static int on_full_limit(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct child *c = ctx;

	if (c->kind == CHILD_WORKER && pool_now(c->pair->gen->pool) - c->heard < FULL_LIMIT) {
		sd_event_source_set_time_relative(source, FULL_LIMIT);
		return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	}
	pair_end_by(c, "does not read what it is told");
	return 0;
}

static void wait_for_room(struct child *c)
{
	struct pool *pool = c->pair->gen->pool;

	c->pair->blocked = true;
	sd_event_source_set_io_events(c->io, EPOLLIN | EPOLLOUT);
	if (!c->full &&
	    sd_event_add_time_relative(pool->event, &c->full, CLOCK_MONOTONIC, FULL_LIMIT, 1,
				       on_full_limit, c) < 0)
		log_error(pool->log, "cannot limit the wait for a process that does not read");
}

/* @child got no message, for the reason @r: sees to it that another try is made, or that it ends. */
static void not_sent(struct child *child, int r)
{
	struct pair *pair = child->pair;
	struct pool *pool = pair->gen->pool;

	if (pair->dying)
		return;
	switch (r) {
	case -EAGAIN:
		wait_for_room(child);
		break;
	case -ENOMEM:
	case -ENOBUFS:
	case -ETOOMANYREFS:
		/* The channel is writable all the same: waiting for that would not wait. */
		pair->starved = true;
		pool_arm(pool->retry, SHORTAGE_RETRY);
		break;
	default:
		/* It died and we have not been told yet: another takes the job. */
		pair_read_last_words(pair);
		pair_end_unreachable(child);
	}
}

void pair_tell_unsaid(struct pair *pair)
{
	int r = pair->dying || pair->ended ? 0 : tell_ends(pair);

	if (r < 0)
		not_sent(&pair->child[CHILD_KEEPER], r);
}

/* The keeper is to forget @id: now, or as soon as it can be told. */
static void tell_end(struct pair *pair, uint64_t id)
{
	if (pair->dying || pair->ended)
		return;
	if (pair->n_unsaid == pair->unsaid_room) {
		unsigned int room = pair->unsaid_room ? 2 * pair->unsaid_room : 16;
		uint64_t *grown = reallocarray(pair->unsaid, room, sizeof(*grown));

		if (!grown) {
			pair_end_by(&pair->child[CHILD_KEEPER], "cannot be told of an end: out of memory");
			return;
		}
		pair->unsaid = grown;
		pair->unsaid_room = room;
	}
	pair->unsaid[pair->n_unsaid++] = id;
	pair_tell_unsaid(pair);
}

static int tell(struct child *child, const struct wire_message *msg, int fd)
{
	int r = child->kind == CHILD_KEEPER ? tell_ends(child->pair) : 0;

	if (!r)
		r = channel_send(child->channel, msg, fd);
	if (r || (msg->type != WIRE_JOB && msg->type != WIRE_KEY))
		return r;
	child->n_owed += msg->type == WIRE_KEY;
	if (!child->owing)
		child->heard = pool_now(child->pair->gen->pool);
	child->owing = true;
	return 0;
}

static bool wants_grant(const struct hs_job *job)
{
	/* With a key of its own the key is the grant. */
	return hs_may_sign(job->role, job->auth) && !job->own_identity;
}

/* Returns 0 or a negative errno, with who could not be told in *@ret. */
static int hand_over(struct pair *pair, const struct hs_job *job, int fd, struct child **ret)
{
	const struct wire_message grant = {
		.type = WIRE_GRANT, .grant = { .job = job->id, .role = job->role },
	};
	const struct wire_message msg = { .type = WIRE_JOB, .job = *job };
	int r = 0;

	*ret = &pair->child[CHILD_KEEPER];
	if (wants_grant(job))
		r = tell(*ret, &grant, -1);
	if (r < 0)
		return r;
	*ret = &pair->child[CHILD_WORKER];
	r = tell(*ret, &msg, fd);
	if (r < 0 && wants_grant(job))
		tell_end(pair, job->id);
	return r;
}

int pool_dispatch(struct pool *pool, const struct hs_job *job, int fd, struct pair **ret)
{
	struct generation *gen = pool_find(pool, GEN_CURRENT);
	struct pair *pair;

	while (gen && (pair = least_busy(gen))) {
		struct child *child;
		int r = hand_over(pair, job, fd, &child);

		if (!r) {
			pair->in_flight++;
			pair->turn = ++pool->turn;
			*ret = pair;
			return 0;
		}
		if (r == -EINVAL || r == -EMSGSIZE)
			return r;
		not_sent(child, r);
		if (!pair->dying && !pair->blocked && !pair->starved)
			return -EAGAIN;
	}
	return -EAGAIN;
}

bool pool_can_tell(const struct pair *pair)
{
	return !pair->blocked && !pair->starved;
}

int pool_tell(struct pool *pool, struct pair *pair, enum pool_receiver who,
	      const struct wire_message *msg, int fd)
{
	struct child *child = &pair->child[who == POOL_WORKER ? CHILD_WORKER : CHILD_KEEPER];
	int r;

	if (pair->dying || pair->ended)
		return -EPIPE;
	r = tell(child, msg, fd);
	if (r == 0 || r == -EINVAL || r == -EMSGSIZE)
		return r;
	not_sent(child, r);
	return pair->dying ? -EPIPE : -EAGAIN;
}

void pool_forget(struct pool *pool, struct pair *pair, uint64_t id, bool cancel, bool keeper)
{
	struct wire_message msg = { .type = WIRE_CANCEL, .cancel = id };

	pair->in_flight--;
	if (cancel)
		pair->n_late++;
	/* Lost when the channel is full: then the worker's own deadline ends the job. */
	if (cancel && !pair->dying)
		channel_send(pair->child[CHILD_WORKER].channel, &msg, -1);
	if (keeper)
		tell_end(pair, id);
}

static int on_silence_limit(sd_event_source *source, uint64_t usec, void *ctx)
{
	pair_end_by(ctx, "does not answer");
	return 0;
}

void pool_overdue(struct pool *pool, struct pair *pair)
{
	/*
	 * It was told that the job has ended, and says so once it has the processor. How long it
	 * was silent before tells nothing: its peers may all have been.
	 */
	for (unsigned int i = 0; i < N_CHILDREN; i++) {
		struct child *c = &pair->child[i];

		if ((!c->owing && c->kind != CHILD_WORKER) || pair->dying || c->silence)
			continue;
		if (sd_event_add_time_relative(pool->event, &c->silence, CLOCK_MONOTONIC,
					       SILENCE_LIMIT, 1, on_silence_limit, c) < 0)
			log_error(pool->log, "cannot limit the silence of a process");
	}
}
