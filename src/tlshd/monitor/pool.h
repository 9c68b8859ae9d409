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

#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "common/handshake.h"
#include "common/log.h"
#include "tlshd/monitor/config.h"
#include "tlshd/monitor/material.h"

struct pool;
struct pair;	/* a worker and its keeper */

struct pool_callbacks {
	/* A worker reports; @result->id is not checked yet. */
	void (*result)(void *ctx, struct pair *pair, const struct hs_result *result);
	/* @pair is gone; what it was given will not be answered. @why: for a person. */
	void (*died)(void *ctx, struct pair *pair, const char *why);
	/* A pair can take a job again. */
	void (*writable)(void *ctx);
	/*
	 * The generation asked for by pool_reload() is in force (@error 0) or
	 * given up (@error negative errno, @reason) with the old one, if any, kept.
	 */
	void (*reloaded)(void *ctx, int error, const char *reason);
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
 * the callback `reloaded', never from within this call. Returns 0 or a
 * negative errno (then @material is freed all the same, and nothing changed).
 */
int pool_reload(struct pool *pool, const struct config *config, struct material *material);

/*
 * Gives @job and a duplicate of @fd to the pair of the present generation with
 * the fewest jobs. Returns 0 with the pair; -EAGAIN when none can take one now
 * (`writable' will be called); -EINVAL or -EMSGSIZE for a job that cannot be sent.
 */
int pool_dispatch(struct pool *pool, const struct hs_job *job, int fd, struct pair **ret);

/* The job @id of @pair has been answered: the pair forgets it. @cancel: tell the worker to stop. */
void pool_forget(struct pool *pool, struct pair *pair, uint64_t id, bool cancel);

/*
 * A job of @pair passed its deadline without a word of the worker, which keeps
 * deadlines itself: when it has been silent for 5 s altogether it is stuck, and
 * the pair is replaced.
 */
void pool_overdue(struct pool *pool, struct pair *pair);

DEFINE_CLEANUP(struct pool, pool_free);

#endif
