/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What pool.c (generations: which pairs there are), pool-tell.c (what they are told),
 * pair.c (one pair: its processes and what they say) and child-log.c (what they have
 * logged) know of each other.
 * Nobody else includes it.
 */
#ifndef TLSHD_MONITOR_POOL_PRIVATE_H
#define TLSHD_MONITOR_POOL_PRIVATE_H

#include <stdbool.h>
#include <sys/param.h>

#include "common/wire.h"
#include "tlshd/monitor/pool.h"
#include "tlshd/monitor/spawn.h"

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)

#define STDERR_LINE 200	/* bytes of a line of standard error, what is longer becomes several */

struct child {
	struct pair *pair;
	enum child_kind kind;
	pid_t pid;		/* 0: not running */
	int channel;
	bool ready;
	sd_event_source *io, *exit;
	uint64_t hung_up;	/* when it closed its channel, us; 0: it has not */
	sd_event_source *full;	/* while its channel is: the limit of that */
	uint64_t heard;		/* when it last answered, or got the first thing to do, us */
	sd_event_source *silence;	/* since a deadline passed without its word; the limit of that */
	bool owing;		/* it got something to do and has not answered since */
	unsigned int n_owed;	/* keeper: keys it has not spoken about */
	uint64_t log_since;	/* of the minute whose messages are counted, us; 0: none came */
	unsigned int n_log;	/* messages in it */
	int err;		/* the end of the pipe that is its standard error, -1: none */
	sd_event_source *err_io;
	char line[STDERR_LINE];	/* of it, as far as it has come */
	size_t n_line;
};

struct pair {
	struct pair *next;
	struct generation *gen;
	struct child child[N_CHILDREN];
	unsigned int in_flight;
	uint64_t turn;		/* of its last job, counted by the pool; 0: it had none */
	uint64_t avoid;		/* for how long after the last failure that counted, us */
	uint64_t avoid_until;	/* CLOCK_MONOTONIC, us; 0: it has not failed */
	uint64_t started;	/* CLOCK_MONOTONIC, us */
	sd_event_source *limit;	/* until it is ready */
	uint64_t *unsaid;	/* jobs whose end the keeper is still to be told */
	unsigned int n_unsaid, unsaid_room;
	unsigned int n_late;	/* jobs that were answered otherwise: the worker may still speak of them */
	unsigned int n_late_asks;	/* how many of those it has asked about, at most */
	bool blocked;		/* a channel is full */
	bool starved;		/* no memory for a message; pool->retry clears it */
	bool ended;		/* one of the two has: what they said before is read, no more said */
	bool drain;		/* the worker is still to be told to drain */
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
	struct hs_dates dates;	/* as its workers have told them */
	unsigned int n_wanted;	/* pairs */
	struct pair *pairs;
	uint64_t delay;		/* before the next replacement, us */
	bool complained;	/* that no process can be started */
	sd_event_source *timer;	/* current: the next replacement; retired: its end */
	uint64_t due;		/* of the timer, us */
};

struct pool {
	sd_event *event;
	const struct log *log;
	uint32_t ciphers;
	struct spawn_user users[N_CHILDREN];
	const struct pool_callbacks *callbacks;
	void *ctx;
	struct generation *generations;
	uint64_t turn;		/* jobs given so far */
	sd_event_source *retry;
	sd_event_source *look;	/* while an end is waited for: pool_look() */
};

/* CLOCK_MONOTONIC of this turn of the event loop, us. */
uint64_t pool_now(const struct pool *pool);

/* pair.c; pool-tell.c: pair_tell_unsaid(), pair_note_outcome() */

/* Starts a pair and adds it to @gen. Returns 0 or a negative errno, with nothing added but what is dying. */
int pair_start(struct generation *gen);
/* Both its processes have loaded what they were sent; they may have ended since. */
bool pair_was_ready(const struct pair *pair);
/* Can it take jobs? */
bool pair_ready(const struct pair *pair);
/* Both processes end now and are reaped later. */
void pair_kill(struct pair *pair);
/* pool_end_pair() with a reason that names the child: "worker[123] broke the protocol". */
void pair_end_by(struct child *child, const char *what);
/* The same for one that cannot be written to: it has ended, or must. */
void pair_end_unreachable(struct child *child);
/* Tells the worker to end when it has nothing left; again later when its channel is full. */
void pair_drain(struct pair *pair);
/* Tells the keeper of the ends that there was no room for. */
void pair_tell_unsaid(struct pair *pair);
/*
 * Its worker has ended a job so: by that it is judged whether it can be given others. @excused: it
 * was told to fail, and did.
 */
void pair_note_outcome(struct pair *pair, enum hs_outcome outcome, bool excused);
/* What its processes wrote before their end may still be in their channels: results count. */
void pair_read_last_words(struct pair *pair);
/* Looks for the end of those that are about to. Returns true while there is something to wait for. */
bool pair_look(struct pair *pair);
/* Takes it out of its generation. Its processes must have been reaped. */
void pair_free(struct pair *pair);

/* child-log.c */

/* Logs a message of a process, unless it has written too many. May end the pair. */
void child_log(struct child *child, const struct wire_text *msg);
/* Makes what it writes to standard error such messages. *@ret_theirs: its end, the caller's. Returns 0 or a negative errno. */
int child_open_stderr(struct child *child, int *ret_theirs);
/* Logs what is there. May end the pair. */
void child_read_stderr(struct child *child);
/* Logs the rest, and says what was left out; no more is read. */
void child_end_log(struct child *child);

/* pool-tell.c */

/* What its pairs failed at before tells nothing about them now. */
void pool_avoid_none(struct generation *gen);
/* Of pool->retry, after a shortage. */
int pool_on_retry(sd_event_source *source, uint64_t usec, void *ctx);

/* pool.c */

/* Starts a timer that was made when there was memory for it. @delay in us. */
void pool_arm(sd_event_source *timer, uint64_t delay);
/* In a moment all pairs are looked at: pair_look(). */
void pool_look(struct pool *pool);
/* NULL: there is none in this state. */
struct generation *pool_find(const struct pool *pool, enum gen_state state);

/*
 * Ends the pair. @why NULL: it ended as it should. @error: for whoever waits
 * for its generation, -EINVAL when it would fail in the same way again.
 */
void pool_end_pair(struct pair *pair, int error, const char *why);
/* @child has loaded what it was sent. */
void pool_child_ready(struct child *child);
/* A pair of @gen has been freed. @gen may go with it. */
void pool_pair_gone(struct generation *gen);

#endif
