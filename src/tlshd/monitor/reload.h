/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which configuration is in force. Looks at the configuration and its files
 * when somebody asks and when they change, tries what is new, and keeps what
 * was when that is no good.
 *
 * Changes that are noticed are taken with more care than what is asked for,
 * since nobody may be there: files that are replaced one after the other do not
 * fit meanwhile, so a fault counts only after a while; it is said once; and what
 * has ended does not take the place of what has not.
 */
#ifndef TLSHD_MONITOR_RELOAD_H
#define TLSHD_MONITOR_RELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "tlshd/monitor/config.h"
#include "tlshd/monitor/material.h"

#define RELOAD_GRACE UINT64_C(3000000)	/* us that a fault lasts before it is said */
#define RELOAD_GRACE_LONGEST UINT64_C(15000000)	/* us, however often it becomes another */

struct reload;

enum reload_report {
	RELOAD_TAKEN,	/* what the files say is in force */
	RELOAD_REFUSED,	/* the former stays in force; has been logged */
	RELOAD_WAITS,	/* for room */
};

struct reload_callbacks {
	/* Is it no time for a trial? reload_room() says when it may be again. */
	bool (*crowded)(void *ctx);
	/*
	 * Tries @config with @material, which it takes. @no_worse: see
	 * pool_reload(). Returns 0, and the outcome comes by reload_tried(), or a
	 * negative errno.
	 */
	int (*begin)(void *ctx, const struct config *config, struct material *material,
		     bool no_worse);
	/* @config is in force; it stays valid until the next call. */
	void (*adopt)(void *ctx, const struct config *config);
	/* Not of the first one. */
	void (*report)(void *ctx, enum reload_report report);
};

/*
 * @path: of the configuration, or NULL, see config_load(). @watch false: never
 * looks by itself, whatever the configuration says. All pointers are borrowed.
 * Returns 0 or -ENOMEM.
 */
int reload_new(struct reload **ret, sd_event *event, const struct log *log, const char *path,
	       bool watch, const struct reload_callbacks *callbacks, void *ctx);
/* NULL is fine. */
void reload_free(struct reload *reload);

/*
 * Reads the first configuration and what it names. Returns 0 with the
 * configuration, or a negative errno (is_passing() or not) with a sentence in @reason.
 */
int reload_read_first(struct reload *reload, const struct config **ret, char *reason,
		      size_t reason_size);
/* Then tries it. Returns as @begin does. Until it is in force there are no reloads. */
int reload_begin_first(struct reload *reload);

/* Somebody wants it read again. The outcome is logged and reported. */
void reload_ask(struct reload *reload);
/*
 * The outcome of a trial: @error 0, or a negative errno (-EINVAL: would be the
 * same next time) with @reason. When it was the first and failed, the caller
 * has to end.
 */
void reload_tried(struct reload *reload, int error, const char *reason);
/* There may be room for a trial again. */
void reload_room(struct reload *reload);
/* No more looks. */
void reload_stop(struct reload *reload);

/* In force; NULL: none yet. */
const struct config *reload_config(const struct reload *reload);
/* Is an answer to reload_ask() outstanding? */
bool reload_is_asked(const struct reload *reload);

DEFINE_CLEANUP(struct reload, reload_free);

#endif
