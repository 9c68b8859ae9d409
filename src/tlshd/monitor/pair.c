// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A pair is freed only when both its processes have been reaped; until then it
 * is `dying', gets no work and says nothing. So a callback may end a pair while
 * its caller still looks at it.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "common/channel.h"
#include "tlshd/monitor/pool-private.h"

#define START_LIMIT (30 * USEC_PER_SEC)	/* for a pair to be ready */
#define EXIT_LIMIT_MS 50		/* between the end of a channel and that of its process */
#define HUNG_UP_LIMIT (100 * USEC_PER_MSEC)	/* the same, when nobody waits for it */
#define END_UNKNOWN 0	/* as si_code: it has closed its channel, and is not yet to be reaped */
#define BATCH 64			/* messages read before others get their turn */

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx);
static int on_exit_of(sd_event_source *source, const siginfo_t *si, void *ctx);

static void child_close(struct child *c)
{
	child_end_log(c);
	c->full = sd_event_source_disable_unref(c->full);
	c->silence = sd_event_source_disable_unref(c->silence);
	c->io = sd_event_source_disable_unref(c->io);
	c->channel = fd_close(c->channel);
}

void pair_free(struct pair *pair)
{
	struct pair **p = &pair->gen->pairs;

	for (unsigned int i = 0; i < N_CHILDREN; i++) {
		child_close(&pair->child[i]);
		sd_event_source_disable_unref(pair->child[i].exit);
	}
	sd_event_source_disable_unref(pair->limit);
	while (*p != pair)
		p = &(*p)->next;
	*p = pair->next;
	free(pair->unsaid);
	free(pair);
}

void pair_kill(struct pair *pair)
{
	pair->dying = true;
	pair->limit = sd_event_source_disable_unref(pair->limit);
	for (unsigned int i = 0; i < N_CHILDREN; i++) {
		child_close(&pair->child[i]);
		if (pair->child[i].pid)
			kill(pair->child[i].pid, SIGKILL);
	}
	pool_look(pair->gen->pool);
}

bool pair_was_ready(const struct pair *pair)
{
	return pair->child[CHILD_WORKER].ready && pair->child[CHILD_KEEPER].ready;
}

bool pair_ready(const struct pair *pair)
{
	return !pair->dying && pair_was_ready(pair);
}

static int on_start_limit(sd_event_source *source, uint64_t usec, void *ctx)
{
	pool_end_pair(ctx, -ETIMEDOUT, "a worker and its keeper were not ready within 30 s");
	return 0;
}

static int start_child(struct pair *pair, enum child_kind kind, int peer_fd)
{
	struct generation *gen = pair->gen;
	struct pool *pool = gen->pool;
	struct child *c = &pair->child[kind];
	struct wire_message start = { .type = WIRE_START, .start = gen->start };
	CLEANUP_FD int theirs = -1, their_stderr = -1;
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
	r = child_open_stderr(c, &their_stderr);
	if (r < 0)
		return r;
	r = spawn_child(kind, &pool->users[kind], theirs, peer_fd, their_stderr);
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

int pair_start(struct generation *gen)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	CLEANUP_FD int worker_end = -1, keeper_end = -1;
	int fds[2], r;

	if (!pair)
		return -ENOMEM;
	pair->gen = gen;
	pair->started = pool_now(gen->pool);
	pair->next = gen->pairs;
	gen->pairs = pair;
	for (unsigned int i = 0; i < N_CHILDREN; i++)
		pair->child[i] = (struct child){
			.pair = pair, .kind = i, .channel = -1, .err = -1,
		};
	r = channel_pair(fds);
	if (!r) {
		worker_end = fds[0];
		keeper_end = fds[1];
		r = start_child(pair, CHILD_KEEPER, keeper_end);
	}
	if (!r)
		r = start_child(pair, CHILD_WORKER, worker_end);
	if (r >= 0)
		r = sd_event_add_time_relative(gen->pool->event, &pair->limit, CLOCK_MONOTONIC,
					       START_LIMIT, 1, on_start_limit, pair);
	if (r >= 0)
		return 0;
	/* What did start is reaped as usual. */
	pair_kill(pair);
	if (!pair->child[CHILD_WORKER].pid && !pair->child[CHILD_KEEPER].pid)
		pair_free(pair);
	return r;
}

void pair_drain(struct pair *pair)
{
	struct wire_message drain = { .type = WIRE_DRAIN };
	struct child *worker = &pair->child[CHILD_WORKER];
	int r;

	if (pair->dying)
		return;
	r = channel_send(worker->channel, &drain, -1);
	pair->drain = r == -EAGAIN || r == -ENOMEM || r == -ENOBUFS;
	if (pair->drain)
		sd_event_source_set_io_events(worker->io, EPOLLIN | EPOLLOUT);
	if (r >= 0 || pair->drain)
		return;
	/* It has ended, perhaps a moment ago, and with the answers that were to be its last. */
	pair_read_last_words(pair);
	pair_end_unreachable(worker);
}

void pair_end_by(struct child *c, const char *what)
{
	char why[LOG_TEXT_MAX];

	snprintf(why, sizeof(why), "%s[%d] %s", spawn_kind_name(c->kind), c->pid, what);
	pool_end_pair(c->pair, -ECHILD, why);
}

/* It has done something for what it was given: it is not stuck. */
static void note_answer(struct child *c)
{
	c->heard = pool_now(c->pair->gen->pool);
	c->silence = sd_event_source_disable_unref(c->silence);
}

/*
 * Of a job that it does not have. It may be one that was answered otherwise: of each of those it
 * asks once at most, before it has read of the end, and reports once. Returns false when none is
 * left.
 */
static bool take_late_word(struct pair *pair, enum wire_type type)
{
	if (type == WIRE_ASK)
		return pair->n_late_asks++ < pair->n_late;
	if (!pair->n_late)
		return false;
	pair->n_late--;
	/* Perhaps not this one's, but then another's, which is still to be reported. */
	if (pair->n_late_asks)
		pair->n_late_asks--;
	return true;
}

/* A worker speaks of a job. Returns false when it may not. */
static bool take_word(struct child *c, const struct wire_message *msg)
{
	struct pair *pair = c->pair;
	struct pool *pool = pair->gen->pool;
	enum pool_verdict verdict;

	if (c->kind != CHILD_WORKER || !c->ready)
		return false;
	if (msg->type == WIRE_ASK)
		verdict = pool->callbacks->keys(pool->ctx, pair, msg);
	else
		verdict = pool->callbacks->result(pool->ctx, pair, &msg->result);
	/* To ask about what is over is no answer to anything. */
	if (msg->type == WIRE_RESULT || verdict == POOL_FINE) {
		note_answer(c);
		c->owing = false;
	}
	if (msg->type == WIRE_RESULT && (verdict == POOL_FINE || verdict == POOL_EXCUSED))
		pair_note_outcome(pair, msg->result.outcome, verdict == POOL_EXCUSED);
	if (verdict == POOL_LATE)
		return take_late_word(pair, msg->type);
	return verdict == POOL_FINE || verdict == POOL_EXCUSED;
}

/* A keeper speaks of a key. Its job may have ended, but each key is answered once. */
static bool take_key_answer(struct child *c, const struct wire_message *msg)
{
	struct pool *pool = c->pair->gen->pool;

	if (c->kind != CHILD_KEEPER || !c->n_owed)
		return false;
	c->n_owed--;
	c->owing = c->n_owed;
	note_answer(c);
	return pool->callbacks->keys(pool->ctx, c->pair, msg) != POOL_VIOLATION;
}

/* Returns false when the message is one this child may not send now. */
static bool handle(struct child *c, const struct wire_message *msg)
{
	char why[LOG_TEXT_MAX];

	switch (msg->type) {
	case WIRE_READY:
		if (c->ready)
			return false;
		if (c->kind == CHILD_WORKER)
			c->pair->gen->dates = msg->ready;
		pool_child_ready(c);
		return true;
	case WIRE_FAILED:
		if (c->ready)
			return false;
		/* The reason is for whoever started this generation: no need to name the process. */
		snprintf(why, sizeof(why), "%s", msg->failed.reason);
		pool_end_pair(c->pair, msg->failed.passing ? -EAGAIN : -EINVAL, why);
		return true;
	case WIRE_LOG:
		child_log(c, &msg->text);
		return true;
	case WIRE_RESULT:
	case WIRE_ASK:
		return take_word(c, msg);
	case WIRE_KEY_LOADED:
	case WIRE_REFUSED:
		return take_key_answer(c, msg);
	default:
		return false;
	}
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct child *c = ctx;
	struct pair *pair = c->pair;
	struct pool *pool = pair->gen->pool;
	struct wire_message msg;

	if (revents & EPOLLOUT) {
		sd_event_source_set_io_events(source, EPOLLIN);
		c->full = sd_event_source_disable_unref(c->full);
		pair->blocked = false;
		pair_tell_unsaid(pair);
		if (pair->drain)
			pair_drain(pair);
		pool->callbacks->writable(pool->ctx);
	}
	for (unsigned int i = 0; i < BATCH && !pair->dying; i++) {
		CLEANUP_FD int stray = -1;
		int r = channel_recv(c->channel, &msg, &stray);

		if (r == -EAGAIN)
			break;
		if (r == -EPIPE) {
			/* Its exit status, soon to come, says more. */
			c->io = sd_event_source_disable_unref(c->io);
			c->hung_up = pool_now(pool);
			pool_look(pool);
			break;
		}
		if (r < 0 || stray >= 0 || !handle(c, &msg))
			pair_end_by(c, "broke the protocol");
	}
	explicit_bzero(&msg, sizeof(msg));
	return 0;
}

static void describe_exit(const siginfo_t *si, char *buf, size_t size)
{
	if (si->si_code == END_UNKNOWN)
		snprintf(buf, size, "has ended");
	else if (si->si_code == CLD_EXITED)
		snprintf(buf, size, "ended with status %d", si->si_status);
	else if (si->si_status == SIGSYS)
		snprintf(buf, size, "was killed by signal %d (SIGSYS): it made a system call that its "
			 "sandbox forbids; please report this", SIGSYS);
	else
		snprintf(buf, size, "was killed by signal %d (SIG%s)", si->si_status,
			 sigabbrev_np(si->si_status) ? sigabbrev_np(si->si_status) : "?");
}

static void read_last_words(struct child *c)
{
	struct wire_message msg;

	/* Nothing is added while we read: a process it left behind could go on for ever. */
	if (c->channel >= 0)
		shutdown(c->channel, SHUT_RD);
	while (!c->pair->dying && c->channel >= 0) {
		CLEANUP_FD int stray = -1;

		if (channel_recv(c->channel, &msg, &stray) < 0 || !handle(c, &msg))
			break;
	}
	explicit_bzero(&msg, sizeof(msg));
	child_read_stderr(c);
}

/* How much an end tells: those who see the other go end with EX_OK or EX_IOERR. */
static int weight(const siginfo_t *si)
{
	if (si->si_code == END_UNKNOWN)
		return 2;
	if (si->si_code != CLD_EXITED)
		return 4;
	if (si->si_status != EX_OK && si->si_status != EX_IOERR)
		return 3;
	return si->si_status == EX_IOERR;
}

/*
 * Has @c ended, and how? It is only looked at here, not reaped. One that has closed its channel is
 * about to end: what it is about to say of itself is waited for, but not for long. (One that only
 * closed it must end as well.) @wait: ms, for the channel.
 */
static bool how_it_ends(const struct child *c, int wait, siginfo_t *ret)
{
	struct pollfd p = { .fd = c->channel };

	if (!c->pid)
		return false;
	if (c->channel < 0 || poll(&p, 1, wait) <= 0 || !(p.revents & POLLHUP)) {
		ret->si_pid = 0;
		return waitid(P_PID, c->pid, ret, WEXITED | WNOHANG | WNOWAIT) == 0 && ret->si_pid;
	}
	kill(c->pid, SIGKILL);
	for (unsigned int ms = 0; ms < EXIT_LIMIT_MS; ms++) {
		ret->si_pid = 0;
		if (waitid(P_PID, c->pid, ret, WEXITED | WNOHANG | WNOWAIT) < 0 || ret->si_pid)
			break;
		poll(NULL, 0, 1);
	}
	/* On a busy host it has had no turn to end yet, but it will. */
	if (!ret->si_pid)
		ret->si_code = END_UNKNOWN;
	return true;
}

/*
 * One that sees the other go ends, too, and may be reaped first: then the
 * other's end is the one to tell of. The kernel closes its channels a moment
 * before it can be reaped, and in between them it may do something else: who
 * ends like one that has seen something is reason to wait for the other's.
 */
static struct child *first_to_fall(struct child *c, siginfo_t *si)
{
	struct child *other = &c->pair->child[c->kind == CHILD_WORKER ? CHILD_KEEPER :
								      CHILD_WORKER];
	siginfo_t theirs = { 0 };
	int wait = weight(si) < 2 ? EXIT_LIMIT_MS : 0;

	if (weight(si) > 3 || !how_it_ends(other, wait, &theirs) || weight(&theirs) <= weight(si))
		return c;
	*si = theirs;
	return other;
}

void pair_read_last_words(struct pair *pair)
{
	/* An answer would find the end again, and read on from within, a level for each question. */
	pair->ended = true;
	for (unsigned int i = 0; i < N_CHILDREN; i++)
		read_last_words(&pair->child[i]);
}

/* @c has ended, as @end says. */
static void end_with(struct child *c, siginfo_t *end)
{
	struct pair *pair = c->pair;
	char how[128];

	if (pair->gen->state == GEN_RETIRED && pair->in_flight == 0) {
		pool_end_pair(pair, 0, NULL);
		return;
	}
	c = first_to_fall(c, end);
	describe_exit(end, how, sizeof(how));
	pair_end_by(c, how);
}

void pair_end_unreachable(struct child *c)
{
	siginfo_t end = { 0 };

	if (how_it_ends(c, 0, &end))
		end_with(c, &end);
	else
		pair_end_by(c, "does not take its work");
}

/*
 * The end of one that is traced (strace, gdb) is its tracer's to see first. Until then there is
 * nothing to reap, but the event source has seen the end, and would not look again by itself.
 */
bool pair_look(struct pair *pair)
{
	uint64_t now = pool_now(pair->gen->pool);
	bool waits = false;

	for (unsigned int i = 0; i < N_CHILDREN; i++) {
		struct child *c = &pair->child[i];

		if (!pair->dying && c->hung_up && now - c->hung_up >= HUNG_UP_LIMIT) {
			pair_read_last_words(pair);
			pair_end_unreachable(c);
		}
		if (!c->exit || !(pair->dying || c->hung_up))
			continue;
		waits = true;
		if (sd_event_source_get_pending(c->exit) > 0)
			continue;
		sd_event_source_set_enabled(c->exit, SD_EVENT_OFF);
		sd_event_source_set_enabled(c->exit, SD_EVENT_ONESHOT);
	}
	return waits;
}

static int on_exit_of(sd_event_source *source, const siginfo_t *si, void *ctx)
{
	struct child *c = ctx;
	struct pair *pair = c->pair;
	struct generation *gen = pair->gen;
	siginfo_t end = *si;

	pair_read_last_words(pair);
	end_with(c, &end);
	c->pid = 0;
	c->exit = sd_event_source_disable_unref(c->exit);
	if (!pair->child[CHILD_WORKER].pid && !pair->child[CHILD_KEEPER].pid) {
		pair_free(pair);
		pool_pair_gone(gen);
	}
	return 0;
}
