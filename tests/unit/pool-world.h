/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the pool lives in: an event loop, a caller that keeps the rules of the
 * request table, a log, and instead of spawn.c children that are forks of the
 * test. They start as planned and then do what the peer name of a job says.
 *
 * Needs -Wl,--wrap=sd_event_now,--wrap=sd_event_add_time_relative,--wrap=channel_send,
 * --wrap=sd_event_source_set_time_relative.
 */
#ifndef TLSHD_TESTS_POOL_WORLD_H
#define TLSHD_TESTS_POOL_WORLD_H

#include <glib.h>
#include <stdbool.h>

#include "tlshd/monitor/pool.h"
#include "tlshd/monitor/spawn.h"

#define SECOND G_GUINT64_CONSTANT(1000000)	/* us */
#define LATE_MS 300
#define ASKS 260	/* fit the channel */

/* How a child starts. */
enum start {
	START_READY,	/* as it should; what is not planned does */
	START_LATE,	/* after LATE_MS */
	START_FAILED,	/* WIRE_FAILED "it is a test" */
	START_SHORT,	/* the same, of what is short */
	START_EXIT,	/* status 3 */
	START_CRASH,	/* SIGABRT */
	START_GROAN,	/* status 127, with a word on standard error */
	START_NEVER,	/* neither READY nor an end */
	START_GARBAGE,	/* bytes that are no message */
	START_RESULT,	/* a result before READY */
	START_TWICE,	/* READY, READY */
	START_REGRET,	/* READY, FAILED */
	START_READY_RESULT,	/* READY, a result of a job it does not have */
	START_ASK,	/* ASK, KEY_LOADED or REFUSED before READY */
	START_LOADED,
	START_REFUSED,
	START_BUSY,	/* READY; it answers each job at once with HS_BUSY */
	N_STARTS,
};

/*
 * What a worker does with a job of this peer name:
 *   ok, busy     a result at once, HS_OK or HS_BUSY
 *   hold         says so by the log, answers when told to drain
 *   answer-exit  answers it and all it holds, exits with 0
 *   slow         reads nothing for LATE_MS, then answers
 *   stop         SIGSTOP
 *   crash, exit  SIGABRT; status 7
 *   linger       closes all it has and ends LATE_MS later, with status 7
 *   garbage, stray, ready, failed, sign, long, loaded, refused   breaks the protocol
 *   made-up, twice, another's   a result of no job, of its job again, of the job before it
 *   wonder N     reads nothing for LATE_MS, then asks N times for keys of no job, and never answers
 *   chat N       N log messages, then a result
 *   urgent       a log message of the priority LOG_EMERG, then a result
 *   flood        leaves a process behind that fills the channel for ever, exits
 *   ask ...      asks for keys, with this name as the identity, and answers when it gets them
 *   ask ..., many  asks ASKS times
 *   ask ..., quit  asks, exits with status 7
 *
 * Where the name has "psk", pre-shared keys are the answer; else a key goes to
 * the keeper, with the name as its label. Where that has
 *   refuse       it is refused (HS_KEY_UNUSABLE; with "busy" HS_BUSY)
 *   crash, exit  SIGABRT; status 7
 *   garbage, stray, result, ask-back   the keeper breaks the protocol
 * and else it is good.
 */
struct task {
	uint64_t id;
	struct pair *pair;	/* NULL: not with a worker, or no more */
	pid_t pid;		/* of the worker, as soon as it said something */
	unsigned int n_results, n_deaths, n_cancels;
	enum hs_outcome outcome;

	const char *peername;
	enum wire_type due;	/* what is to be told next: PSK, KEY, CERTIFICATE or REFUSED; or 0 */
	enum hs_outcome refusal;
	bool with_keeper;	/* got its key */
	bool denied;		/* its worker was told that it gets none */
};

struct world {
	sd_event *event;
	struct log log;
	struct pool *pool;
	unsigned int n_workers;	/* of the next reload */
	char *config;		/* text of the next reload besides */
	GPtrArray *tasks;	/* struct task */
	GString *text;		/* of the log: "<PRIORITY>TEXT\n" */
	GArray *pids[N_CHILDREN];	/* of all there were; a pair has the same index in both */
	GQueue *plans[N_CHILDREN];
	bool hasty_keepers;	/* they end at once when their worker has */
	bool answers;		/* what is due is told at once, or when there is room */
	bool forbids;		/* the callback `keys' returns false */
	bool repeats;		/* the same job may ask again, and is told again */
	unsigned int depth, deepest;	/* of such calls within each other */
	int certificate;	/* a descriptor; its first byte is 'c' */
	unsigned int n_fds;

	bool no_worse;		/* of the next reload */
	struct hs_dates dates;	/* its workers tell when they are ready */
	unsigned int n_reloaded, n_writable, n_died, n_keys, n_gone;
	int error;		/* of the last `reloaded' */
	char *reason, *why;	/* of the last `reloaded' and `died' */

	uint64_t later;		/* us the clock of the program under test is ahead */
	unsigned int speed;	/* a wait takes this part of its time ... */
	uint64_t fast_from;	/* ... when it is not shorter than this, us */
	GArray *delays;		/* uint64_t, us: what it waited for */
	int send_error, spawn_error;	/* of the next channel_send(), spawn_child() */
	unsigned int send_faults, spawn_after, spawn_faults;
	void (*before_drain)(void);	/* called once, before the next WIRE_DRAIN is sent */
};

extern struct world *world;

/* For g_test_add(). set_up() makes no generation. */
void set_up(struct world *w, gconstpointer unused);
void tear_down(struct world *w, gconstpointer unused);

void plan(enum child_kind kind, enum start start);
/* pool_reload() with the material of w->config and w->n_workers. Returns as it does. */
int reload(void);
/* reload() that works, and the wait until it is in force. */
void start(unsigned int n_workers);

/*
 * Runs the event loop until @condition, for 20 s at most. A turn may find nothing to do: without
 * pidfd_open(2) a child that stops or goes on ends its wait.
 */
#define WAIT(condition)								\
	do {									\
		gint64 wait_end = g_get_monotonic_time() + 20 * SECOND;		\
										\
		while (!(condition)) {						\
			g_assert_cmpint(sd_event_run(world->event, 20 * SECOND), >=, 0); \
			g_assert_cmpint(g_get_monotonic_time(), <, wait_end);	\
		}								\
	} while (0)
/* Runs it for so long. */
void run_for(unsigned int ms);

/* pool_dispatch(). Returns NULL when nobody takes it. */
struct task *give(const char *peername);
struct task *give_for_sure(const char *peername);
/* As the request table does it when its deadline has passed. */
void forget(struct task *task);
/* pool_tell() of what is due. Returns as it does. */
int tell(struct task *task);
/* A worker that holds this one alone stops for now. Returns its task. */
struct task *give_and_stop(void);
/* Dispatches "hold" until a worker cannot be written to any more; they go to all others, too. */
void fill(const struct task *stopped);

bool done(const struct task *task);
bool all_done(void);
/* Of the pair of the worker @pid. */
pid_t keeper_of(pid_t pid);
/* Stops it for now. */
void stop(pid_t pid);
/* It has ended, and nobody has been told. */
void wait_for_end(pid_t pid);
/* Processes that have not been reaped. */
unsigned int n_alive(void);
bool logged(const char *text);
/* Nobody may say this again. */
void clear_log(void);

#endif
