/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel and a pool for the request table, both of the test's own: each
 * checks every call it gets. check_world() holds what must be true of every
 * request whatever happened: one DONE, one line in the log, its socket closed,
 * its job forgotten once, its worker reported overdue when it was.
 *
 * Needs -Wl,--wrap=calloc.
 */
#ifndef TLSHD_TESTS_REQUEST_WORLD_H
#define TLSHD_TESTS_REQUEST_WORLD_H

#include <glib.h>
#include <stdbool.h>

#include "tlshd/monitor/request.h"

#define SEED 20240229u
#define NONE HS_N_OUTCOMES

struct pair {
	GHashTable *jobs;	/* struct asked */
	bool dying;
	bool full;		/* it could not be told something; until there_is_room() */
};

/* One request, from the kernel's side. */
struct asked {
	struct netlink_request nl;
	int far;		/* the other end of its socket */
	enum hs_outcome expect;	/* NONE: it may only time out */
	bool expect_auth, accepted, answered;
	bool refused;		/* by a limit: answered without a line */
	bool told;		/* its worker has answered; with delay_done that comes first */
	bool overdue;		/* our own deadline ended it while a worker had it */
	uint64_t since;		/* by the event loop's clock, us */
	uint64_t id;
	struct pair *pair;
	unsigned int n_done, n_lines, n_dispatched, n_forgotten, n_cancelled;
	enum wire_type give;	/* what keys_answer() makes for it: WIRE_PSK, WIRE_KEY, WIRE_REFUSED */
	unsigned int n_read;	/* times its keys were read */
	unsigned int n_told[WIRE_N_TYPES];	/* messages about it, by type */
};

struct netlink {
	GQueue *queued, *accept_errors;
	int done_error;		/* for the next done_faults calls */
	unsigned int done_faults, n_done_calls, n_accept_calls;
};

struct pool {
	GPtrArray *pairs;
	bool full, kill_other;
	bool kill_overdue;	/* what is overdue has been silent for long */
	int refuse;		/* the next job, with this error */
	bool full_for_keys;	/* no message but a job can be sent */
	bool kill_told;		/* the next one that is told something dies of it */
	uint32_t timeout_ms;	/* of the last job */
	unsigned int n_overdue;
};

struct world {
	sd_event *event;
	struct log log;
	struct netlink nl;
	struct pool pool;
	struct requests *table;
	GPtrArray *all;		/* struct asked */
	GHashTable *ids;	/* every id there was */
	unsigned int n_drops;	/* of all links to keyrings */
	unsigned int n_fds, n_other_lines;
	unsigned int max;	/* as set_limits() set it */
	unsigned int callocs_fail;	/* the next ones of the program under test */
	gint64 starved;		/* when the last of them failed, us */
	char *last_line;	/* of the log, that is not about one request */
	GRand *rng;
};

/* The present one. */
extern struct world *world;

/* For g_test_add(). */
void set_up(struct world *w, gconstpointer unused);
void tear_down(struct world *w, gconstpointer unused);

/* Queues a request in the kernel. */
struct asked *ask(enum hs_role role, enum hs_auth auth);
void accept_all(void);
struct asked *ask_and_accept(void);
struct asked *nth(unsigned int n);
/* Accepted and not answered. */
bool live(const struct asked *a);

/* A result by @pair, whoever has the job. */
enum pool_verdict answer_as(struct pair *pair, uint64_t id, enum hs_outcome outcome, bool verified);
/* By the worker that has it; lie() when that is what it would be. */
void answer(struct asked *a, enum hs_outcome outcome, bool verified);
/* Success by the worker that has it, without the keys that it takes: ends the pair, another starts. */
void lie(struct asked *a, bool verified);

void pair_new(void);
/* Ends full_for_keys. */
void there_is_room(void);
/* As the real pool does it: what it had is answered from within, then it is no more. */
void pair_kill(struct pair *pair);
struct pair *any_pair(void);

/* Its worker asks for its keys. Returns whether it may. */
bool ask_keys(struct asked *a);
/* The keeper of @a's worker has loaded its private key, or not. Returns whether it may. */
bool keeper_says(struct asked *a, bool loaded);
/* A handshake that needs keys: asked for and given. */
void give_keys(struct asked *a);

/* Lets the event loop do all it has to do now. */
void settle(void);
void wait_for(struct asked *a);
/* Until the kernel has its answer, too: a failure that comes early is told later. */
void wait_told(struct asked *a);
void set_limits(unsigned int max, unsigned int delay_done);
void check_world(void);
/* What is live now will be answered by a shutdown. */
void expect_shutdown(void);

#endif
