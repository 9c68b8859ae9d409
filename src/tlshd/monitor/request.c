// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A request's way: accept_one() makes it, requests_dispatch() gives it to a
 * worker, complete() answers and forgets it. complete() is the only caller of
 * netlink_done() and the only place a request's socket is closed, so that no
 * path can answer twice or not at all.
 *
 * A job's id is its slot in the table with a count above it: a late result for
 * an earlier request in the same slot does not find the present one.
 */
#include "tlshd/monitor/request.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <keyutils.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tlshd/monitor/report.h"

#define SLOT_BITS 16
#define SLOT_MASK ((1u << SLOT_BITS) - 1)
#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)

/* Used when the consumer names no timeout: SunRPC's client waits 10 s, its server 5 s at least. */
#define CLIENT_TIMEOUT_MS 10000
#define SERVER_TIMEOUT_MS 5000
#define TIMEOUT_MAX_MS (600 * 1000)

/* A worker keeps the deadline itself and can say what it waited for; this long after it we do. */
#define BACKSTOP_MS 200

#define NO_MEMORY_RETRY (100 * USEC_PER_MSEC)	/* the next ACCEPT after an allocation failed */
#define FAULTS_MAX 64	/* of ACCEPT in a row; the kernel queues no more than 50 requests */

/*
 * The remote-auth of a verified peer. Consumers only ask whether it is 0; it
 * would be the serial of a key with the peer's certificate, but such keys help
 * nobody and pile up. The kernel never gives out serials below 3.
 */
#define PEER_VERIFIED 1

static_assert(REQUESTS_MAX <= SLOT_MASK, "a slot does not fit its bits");

struct request {
	struct requests *table;
	struct request *next_waiting;	/* not given to a worker yet; oldest first */
	uint64_t id;
	struct netlink_request nl;
	struct pair *pair;		/* who works on it; NULL: waiting, or answered by its worker */
	uint64_t accepted;		/* CLOCK_MONOTONIC, us */
	uint32_t timeout_ms;
	sd_event_source *timer;		/* the deadline; with delay_done the wait before DONE */
	struct hs_result *delayed;	/* the result that waits for delay_done */
	char peer[HS_ADDR_MAX];
};

struct requests {
	sd_event *event;
	const struct log *log;
	struct netlink *netlink;
	struct pool *pool;
	struct request *slots[REQUESTS_MAX];
	struct request *waiting, **waiting_end;
	sd_event_source *resume;	/* ACCEPT again: there was no room or no memory before */
	unsigned int count, max, delay_done;
	unsigned int next_slot;
	uint64_t serial;
	uint64_t n_ok, n_failed;
};

static uint64_t now(const struct requests *t)
{
	uint64_t usec = 0;

	sd_event_now(t->event, CLOCK_MONOTONIC, &usec);
	return usec;
}

static int on_resume(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct requests *t = ctx;

	requests_accept(t);
	return 0;
}

static void resume(struct requests *t, uint64_t after)
{
	sd_event_source_set_time_relative(t->resume, after);
	sd_event_source_set_enabled(t->resume, SD_EVENT_ONESHOT);
}

int requests_new(struct requests **ret, sd_event *event, const struct log *log,
		 struct netlink *netlink)
{
	CLEANUP(requests_freep) struct requests *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->event = sd_event_ref(event);
	t->log = log;
	t->netlink = netlink;
	t->max = REQUESTS_MAX;
	t->waiting_end = &t->waiting;
	r = sd_event_add_time(event, &t->resume, CLOCK_MONOTONIC, 0, 1, on_resume, t);
	if (r >= 0)
		r = sd_event_source_set_enabled(t->resume, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}

void requests_free(struct requests *t)
{
	if (!t)
		return;
	requests_shutdown(t);
	sd_event_source_disable_unref(t->resume);
	sd_event_unref(t->event);
	free(t);
}

void requests_set_pool(struct requests *t, struct pool *pool)
{
	t->pool = pool;
}

void requests_set_limits(struct requests *t, unsigned int max, unsigned int delay_done)
{
	t->max = max < REQUESTS_MAX ? max : REQUESTS_MAX;
	t->delay_done = delay_done;
	/* What was left in the kernel is not announced again. */
	if (t->count < t->max)
		resume(t, 0);
}

unsigned int requests_count(const struct requests *t)
{
	return t->count;
}

void requests_totals(const struct requests *t, uint64_t *ret_ok, uint64_t *ret_failed)
{
	*ret_ok = t->n_ok;
	*ret_failed = t->n_failed;
}

static struct request *find(const struct requests *t, uint64_t id)
{
	unsigned int slot = id & SLOT_MASK;
	struct request *req = slot < REQUESTS_MAX ? t->slots[slot] : NULL;

	return req && req->id == id ? req : NULL;
}

static void unlink_waiting(struct request *req)
{
	struct request **p = &req->table->waiting;

	while (*p && *p != req)
		p = &(*p)->next_waiting;
	if (!*p)
		return;
	*p = req->next_waiting;
	if (!*p)
		req->table->waiting_end = p;
}

/*
 * ACCEPT linked the request's keyring into our process keyring. Another
 * request may use the same one: the last takes the link away.
 */
static void unlink_keyring(struct requests *t, int32_t keyring)
{
	if (!keyring)
		return;
	for (unsigned int i = 0; i < REQUESTS_MAX; i++) {
		if (t->slots[i] && t->slots[i]->nl.keyring == keyring)
			return;
	}
	if (keyctl_unlink(keyring, KEY_SPEC_PROCESS_KEYRING) < 0 && errno != ENOENT)
		log_debug(t->log, "keyring %d: cannot be unlinked: %s", keyring, strerror(errno));
}

static void send_done(struct request *req, unsigned int status, uint32_t remote_auth)
{
	struct requests *t = req->table;
	int r = netlink_done(t->netlink, req->nl.fd, status, remote_auth);

	/* Memory may be short for a moment; the consumer waits for this answer. */
	for (unsigned int i = 0; (r == -ENOBUFS || r == -ENOMEM || r == -EINTR) && i < 3; i++)
		r = netlink_done(t->netlink, req->nl.fd, status, remote_auth);
	if (r < 0)
		log_error(t->log, "the kernel did not take the answer for %s: %s", req->peer,
			  strerror(-r));
}

/* The one end of every request. @result's id is not looked at. */
static void complete(struct request *req, const struct hs_result *result)
{
	struct requests *t = req->table;
	unsigned int status = hs_outcome_errno(result->outcome);
	bool verified = result->outcome == HS_OK && result->peer_verified &&
			req->nl.auth == HS_AUTH_X509;
	struct report report = {
		.role = req->nl.role, .auth = req->nl.auth, .peer = req->peer,
		.peername = req->nl.peername, .status = status, .result = result,
	};

	send_done(req, status, verified ? PEER_VERIFIED : 0);
	report.duration_us = now(t) - req->accepted;
	report_handshake(t->log, &report);
	if (result->outcome == HS_OK)
		t->n_ok++;
	else
		t->n_failed++;

	if (req->pair)
		pool_forget(t->pool, req->pair, req->id, result->id != req->id);
	else
		unlink_waiting(req);
	sd_event_source_disable_unref(req->timer);
	fd_close(req->nl.fd);
	t->slots[req->id & SLOT_MASK] = NULL;
	if (t->count-- == t->max)
		resume(t, 0);
	unlink_keyring(t, req->nl.keyring);
	free(req->delayed);
	free(req);
}

/* Ends a request for a reason of ours. */
__attribute__((format(printf, 3, 4)))
static void fail(struct request *req, enum hs_outcome outcome, const char *fmt, ...)
{
	struct hs_result result = { .outcome = outcome };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(result.reason, sizeof(result.reason), fmt, ap);
	va_end(ap);
	complete(req, &result);
}

/* The answer that waited for delay_done. */
static void complete_delayed(struct request *req)
{
	struct hs_result result = *req->delayed;

	complete(req, &result);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct request *req = ctx;
	struct pool *pool = req->table->pool;
	struct pair *pair = req->pair;

	if (req->delayed) {
		complete_delayed(req);
	} else if (pair) {
		fail(req, HS_TIMEOUT, "no answer from the worker within %u ms", req->timeout_ms);
		pool_overdue(pool, pair);
	} else {
		fail(req, HS_TIMEOUT, "no worker was free within %u ms", req->timeout_ms);
	}
	return 0;
}

static int set_timer(struct request *req, uint64_t usec)
{
	req->timer = sd_event_source_disable_unref(req->timer);
	return sd_event_add_time_relative(req->table->event, &req->timer, CLOCK_MONOTONIC, usec, 1,
					  on_deadline, req);
}

static uint32_t choose_timeout(const struct netlink_request *nl)
{
	if (!nl->timeout_ms)
		return nl->role == HS_CLIENT ? CLIENT_TIMEOUT_MS : SERVER_TIMEOUT_MS;
	return nl->timeout_ms < TIMEOUT_MAX_MS ? nl->timeout_ms : TIMEOUT_MAX_MS;
}

static unsigned int free_slot(struct requests *t)
{
	while (t->slots[t->next_slot])
		t->next_slot = (t->next_slot + 1) % REQUESTS_MAX;
	return t->next_slot;
}

/* What this version cannot do, whatever is configured; NULL: nothing. */
static const char *refusal(const struct netlink_request *nl)
{
	if (nl->refusal)
		return nl->refusal;
	if (nl->auth == HS_AUTH_PSK)
		return "pre-shared keys are not supported by this version";
	/* Another identity in place of the one that was named would be a wrong one. */
	if (nl->certificate || nl->private_key)
		return "certificates from a keyring are not supported by this version; mount without cert_serial= and privkey_serial= to use the configured one";
	return NULL;
}

static void admit(struct requests *t, struct request *req)
{
	unsigned int slot = free_slot(t);

	req->table = t;
	req->id = ++t->serial << SLOT_BITS | slot;
	req->accepted = now(t);
	req->timeout_ms = choose_timeout(&req->nl);
	report_peer(req->nl.fd, req->peer, sizeof(req->peer));
	t->slots[slot] = req;
	t->count++;
	*t->waiting_end = req;
	t->waiting_end = &req->next_waiting;

	if (refusal(&req->nl))
		fail(req, HS_UNSUPPORTED, "%s", refusal(&req->nl));
	else if (set_timer(req, (req->timeout_ms + BACKSTOP_MS) * USEC_PER_MSEC) < 0)
		fail(req, HS_BUSY, "out of memory");
}

/* Takes one request. Returns netlink_accept()'s errors, or -ENOMEM with nothing taken. */
static int accept_one(struct requests *t)
{
	CLEANUP_FREE struct request *req = calloc(1, sizeof(*req));
	int r;

	if (!req)
		return -ENOMEM;
	r = netlink_accept(t->netlink, &req->nl);
	if (r < 0)
		return r;
	admit(t, TAKE_PTR(req));
	requests_dispatch(t);
	return 0;
}

int requests_accept(struct requests *t)
{
	unsigned int faults = 0;
	int fault = 0, r = 0;

	/* Each fault used up a request; a kernel that only fails must not hold us. */
	while (t->count < t->max && faults < FAULTS_MAX) {
		r = accept_one(t);
		if (r == -EAGAIN || r == -EPERM || r == -ENOMEM)
			break;
		if (r < 0) {
			fault = r;
			faults++;
		}
	}
	if (faults)
		log_warn(t->log, "requests that could not be accepted: %u; the last: %s", faults,
			 strerror(-fault));
	/* Better left in the kernel's queue than taken without the means to answer. */
	if (r == -ENOMEM)
		resume(t, NO_MEMORY_RETRY);
	return r == -EPERM ? r : 0;
}

void requests_dispatch(struct requests *t)
{
	while (t->waiting) {
		struct request *req = t->waiting;
		uint64_t spent = (now(t) - req->accepted) / USEC_PER_MSEC;
		struct hs_job job = {
			.id = req->id, .role = req->nl.role, .auth = req->nl.auth,
		};
		struct pair *pair;
		int r;

		if (spent >= req->timeout_ms) {
			fail(req, HS_TIMEOUT, "no worker was free within %u ms", req->timeout_ms);
			continue;
		}
		job.timeout_ms = req->timeout_ms - spent;
		memcpy(job.peername, req->nl.peername, sizeof(job.peername));
		r = pool_dispatch(t->pool, &job, req->nl.fd, &pair);
		if (r == -EAGAIN)
			return;
		if (r < 0) {
			fail(req, HS_INTERNAL, "the job could not be handed over: %s", strerror(-r));
			continue;
		}
		unlink_waiting(req);
		req->pair = pair;
	}
}

/* The worker is through with @req; its answer waits. Returns false when it cannot. */
static bool delay(struct request *req, const struct hs_result *result)
{
	struct requests *t = req->table;

	req->delayed = malloc(sizeof(*result));
	if (!req->delayed || set_timer(req, t->delay_done * USEC_PER_SEC) < 0)
		return false;
	*req->delayed = *result;
	pool_forget(t->pool, req->pair, req->id, false);
	req->pair = NULL;
	return true;
}

void requests_result(struct requests *t, struct pair *pair, const struct hs_result *result)
{
	struct request *req = find(t, result->id);

	/* Answered before by deadline, or never this worker's: nothing to say. */
	if (!req || req->pair != pair || req->delayed)
		return;
	if (t->delay_done && delay(req, result))
		return;
	complete(req, result);
}

void requests_pair_died(struct requests *t, struct pair *pair, const char *why)
{
	for (unsigned int i = 0; i < REQUESTS_MAX; i++) {
		if (t->slots[i] && t->slots[i]->pair == pair)
			fail(t->slots[i], HS_WORKER_DIED, "%s", why);
	}
}

void requests_shutdown(struct requests *t)
{
	for (unsigned int i = 0; i < REQUESTS_MAX && t->count; i++) {
		if (t->slots[i] && t->slots[i]->delayed)
			complete_delayed(t->slots[i]);
		else if (t->slots[i])
			fail(t->slots[i], HS_SHUTDOWN, "the daemon stops");
	}
}
