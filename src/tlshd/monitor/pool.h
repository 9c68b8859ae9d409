/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The workers and their keepers: pairs that are started, watched, replaced and
 * ended together, in generations of one configuration each.
 *
 * A pair is one unit of failure. When either of its two processes ends, the
 * other is killed, the pair's requests are answered by the callback, and a new
 * pair takes its place: at once the first time, later with a growing delay.
 */
#ifndef TLSHD_MONITOR_POOL_H
#define TLSHD_MONITOR_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "common/handshake.h"
#include "common/log.h"
#include "common/wire.h"
#include "tlshd/monitor/config.h"
#include "tlshd/monitor/material.h"

struct pool;
struct pair;	/* a worker and its keeper */

/* What is to be thought of a message about a job. */
enum pool_verdict {
	POOL_FINE,
	POOL_EXCUSED,		/* a result, fine; a failure is not the worker's: it got no keys */
	/*
	 * There is no such job. Fine when the pair had one that was taken from it
	 * (pool_forget() with @cancel) and has not reported it, nor, with WIRE_ASK, asked
	 * about it; else a violation.
	 */
	POOL_LATE,
	POOL_VIOLATION,		/* ends the pair */
};

struct pool_callbacks {
	/* A worker reports; @result->id is not checked yet. */
	enum pool_verdict (*result)(void *ctx, struct pair *pair, const struct hs_result *result);
	/*
	 * A worker asks for keys (WIRE_ASK), or a keeper has loaded those of a job
	 * or not (WIRE_KEY_LOADED, WIRE_REFUSED). Its job is not checked yet.
	 */
	enum pool_verdict (*keys)(void *ctx, struct pair *pair, const struct wire_message *msg);
	/* @pair is gone; what it was given will not be answered. @why: for a person. */
	void (*died)(void *ctx, struct pair *pair, const char *why);
	/* A pair can take a job again. */
	void (*writable)(void *ctx);
	/*
	 * The generation asked for by pool_reload() is in force (@error 0) or
	 * given up (@error negative errno, @reason) with the old one, if any, kept.
	 * -EINVAL: the files are wrong, and the same would come of them next time.
	 */
	void (*reloaded)(void *ctx, int error, const char *reason);
	/* A pair has gone for good: pool_crowded() may have become false. */
	void (*gone)(void *ctx);
};

/*
 * @ciphers: what the kernel can do, mask of enum ktls_cipher. All pointers are
 * borrowed for the pool's life. Looks the two users up. Returns 0, or a
 * negative errno with a sentence in @reason.
 */
int pool_new(struct pool **ret, sd_event *event, const struct log *log, uint32_t ciphers,
	     const struct pool_callbacks *callbacks, void *ctx, char *reason, size_t reason_size);

/* Kills every process that is left and waits for them. NULL is fine. */
void pool_free(struct pool *pool);

/*
 * Starts a generation with @config, whose @material becomes the pool's. When
 * all its pairs are ready it takes over and the former one finishes what it
 * has. A reload while one is under way replaces that one. The outcome comes by
 * the callback `reloaded', never from within this call. @no_worse: refuse a
 * certificate or a revocation list that has ended in the place of one that has
 * not; it is only warned of otherwise. Returns 0 or a negative errno (then
 * @material is freed all the same, and nothing changed).
 */
int pool_reload(struct pool *pool, const struct config *config, struct material *material,
		bool no_worse);

/*
 * Are there so many former generations with handshakes (POOL_FORMER_MAX) that
 * another one had better wait? Each keeps its processes until the last of its
 * handshakes has ended, and a peer can draw that out.
 */
#define POOL_FORMER_MAX 4
bool pool_crowded(const struct pool *pool);

/*
 * Gives @job and a duplicate of @fd to the pair of the present generation with
 * the fewest jobs, and one signature to its keeper to make for it where it may
 * need one of a configured key. Those with as many take turns; one that fails what it
 * is given, by itself, while others do not, gets only what no other can take, and one
 * now and then. Returns
 * 0 with the pair; -EAGAIN when none can take one now (`writable' will be called);
 * -EINVAL or -EMSGSIZE for a job that cannot be sent.
 */
int pool_dispatch(struct pool *pool, const struct hs_job *job, int fd, struct pair **ret);

/*
 * The job @id of @pair has been answered: the pair forgets it. @cancel: not by the
 * worker, which is told to stop. @keeper: its keeper knows of it (hs_may_sign(), or
 * a WIRE_KEY), and is told in any case, if need be later.
 */
void pool_forget(struct pool *pool, struct pair *pair, uint64_t id, bool cancel, bool keeper);

enum pool_receiver {
	POOL_WORKER,
	POOL_KEEPER,
};

/*
 * Sends @msg, and a duplicate of @fd (-1: none), about a job of @pair. Returns 0;
 * -EAGAIN when that process cannot take it now (`writable' will be called);
 * another negative errno when the pair has ended, or is about to: `died' has been
 * called or will be.
 */
int pool_tell(struct pool *pool, struct pair *pair, enum pool_receiver who,
	      const struct wire_message *msg, int fd);

/* Is there a point in pool_tell() now? False until `writable' is called. */
bool pool_can_tell(const struct pair *pair);

/*
 * A job of @pair passed its deadline without an answer of the worker, which keeps
 * deadlines itself: without one to anything for another 5 s it is stuck, and the
 * pair is replaced. So it is when the keeper does not answer a key.
 */
void pool_overdue(struct pool *pool, struct pair *pair);

/* Is @pid one of its processes, running or not yet reaped? */
bool pool_has_process(const struct pool *pool, pid_t pid);

DEFINE_CLEANUP(struct pool, pool_free);

#endif
