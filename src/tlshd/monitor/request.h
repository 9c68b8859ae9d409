/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The requests taken from the kernel and not yet answered. Each one ends in
 * exactly one DONE and one log line, by whatever comes first: the worker's
 * result, its death, the deadline, a refusal, or the daemon's stop. Only those
 * beyond a limit have no line each (limits.h).
 */
#ifndef TLSHD_MONITOR_REQUEST_H
#define TLSHD_MONITOR_REQUEST_H

#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "common/handshake.h"
#include "common/log.h"
#include "tlshd/monitor/netlink.h"
#include "tlshd/monitor/pool.h"

#define REQUESTS_MAX 32768	/* at once; more than config.h max_handshakes, for those refused */

struct requests;

/* All pointers are borrowed for the life of the table. Returns 0 or a negative errno. */
int requests_new(struct requests **ret, sd_event *event, const struct log *log,
		 struct netlink *netlink);
/* The table must be empty or its requests are answered with HS_SHUTDOWN. NULL is fine. */
void requests_free(struct requests *requests);

/* The pool comes after the table, for its callbacks lead here. */
void requests_set_pool(struct requests *requests, struct pool *pool);

struct requests_limits {
	/* Handshakes in flight at once, in all and with one address: more are refused with HS_BUSY. */
	unsigned int max, max_per_peer;
	/*
	 * Requests taken and not yet answered, in flight or not: more stay queued in the
	 * kernel. Leaves some room beyond @max, or nothing is refused.
	 */
	unsigned int room;
	unsigned int delay_done;	/* s between a result and its DONE, for tests of consumers */
};

/* Without this call there are no limits but REQUESTS_MAX. */
void requests_set_limits(struct requests *requests, const struct requests_limits *limits);

/* From now on requests stay queued in the kernel, for a successor. */
void requests_close(struct requests *requests);

/* Names of keyrings where keys are looked for, NULL-terminated; borrowed until the next call. */
void requests_set_keyrings(struct requests *requests, const char *const *keyrings);

/*
 * ACCEPTs until nothing is queued or the table is full. Returns 0, or -EPERM
 * when this process may not ACCEPT at all. Any other fault is logged and the
 * next request tried.
 */
int requests_accept(struct requests *requests);

/* Of struct pool_callbacks. */
enum pool_verdict requests_result(struct requests *requests, struct pair *pair,
				  const struct hs_result *result);
enum pool_verdict requests_keys(struct requests *requests, struct pair *pair,
				const struct wire_message *msg);
void requests_pair_died(struct requests *requests, struct pair *pair, const char *why);
void requests_dispatch(struct requests *requests);

/* Answers all that is left: with HS_SHUTDOWN, or the result that waits. */
void requests_shutdown(struct requests *requests);

/* Taken and not yet answered. */
unsigned int requests_count(const struct requests *requests);
/* Answered since the start: with success, and otherwise. */
void requests_totals(const struct requests *requests, uint64_t *ret_ok, uint64_t *ret_failed);

DEFINE_CLEANUP(struct requests, requests_free);

#endif
