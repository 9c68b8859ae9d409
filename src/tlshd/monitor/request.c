// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A request's way: accept_one() makes it, requests_dispatch() gives it to a
 * worker, complete() ends it, or refuse() before it has begun; both once. What is
 * over is answered then, or later by its timer: send_done() is the only caller of
 * netlink_done(), and forget(), which follows it, the only place a request's
 * socket is closed. So no path can answer twice or not at all.
 *
 * A job's id is its slot in the table with a random number above it: a late
 * result for an earlier request in the same slot does not find the present one,
 * and no worker can have signed what it has not been given yet.
 */
#include "tlshd/monitor/request.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/event-loop.h"
#include "tlshd/monitor/keyring.h"
#include "tlshd/monitor/keys.h"
#include "tlshd/monitor/report.h"
#include "tlshd/monitor/request-private.h"
#include "tlshd/monitor/reserve.h"

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
#define DONE_RETRY (20 * USEC_PER_MSEC)	/* the next DONE after the kernel had no memory for it */
#define FAULTS_MAX 64	/* of ACCEPT in one turn; the kernel queues no more than 50 requests */
/* Our module for Linux 6.1 puts those behind the others: alone in the queue there is no end of them. */
#define QUOTA_IN_ROW 4	/* ... for want of quota, with no other result between them */
#define QUOTA_RETRY (100 * USEC_PER_MSEC)	/* the next ACCEPT after as many */
#define TURN_MAX 64	/* ACCEPTs before what else there is to do has its turn */

/*
 * The kernel announces a request before it takes its own reference on the
 * socket (Linux 6.12, handshake_req_submit()): were a failure told in between,
 * its consumer could free the socket under it. So none is told before the task
 * that asked has had time to go on. Success is no such case: a peer has answered
 * meanwhile, and the consumer keeps the socket.
 */
#define FAILURE_AFTER (100 * USEC_PER_MSEC)	/* ACCEPT */

/*
 * The remote-auth of a verified peer. Consumers only ask whether it is 0; it
 * would be the serial of a key with the peer's certificate, but such keys help
 * nobody and pile up. The kernel never gives out serials below 3.
 */
#define PEER_VERIFIED 1

static_assert(REQUESTS_MAX <= SLOT_MASK, "a slot does not fit its bits");

static uint64_t now(const struct requests *t)
{
	uint64_t usec = 0;

	sd_event_now(t->event, CLOCK_MONOTONIC, &usec);
	return usec;
}

static int on_resume(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct requests *t = ctx;

	t->paused = false;
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
	t->open = true;
	t->room = REQUESTS_MAX;
	t->waiting_end = &t->waiting;
	t->spare_fd = eventfd(0, EFD_CLOEXEC);
	if (t->spare_fd < 0)
		return -errno;
	r = limits_new(&t->limits, event, log);
	if (r >= 0)
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
	limits_free(t->limits);
	sd_event_source_disable_unref(t->resume);
	sd_event_unref(t->event);
	fd_close(t->spare_fd);
	free(t);
}

void requests_set_pool(struct requests *t, struct pool *pool)
{
	t->pool = pool;
}

void requests_set_keyrings(struct requests *t, const char *const *keyrings)
{
	t->keyrings = keyrings;
}

void requests_set_limits(struct requests *t, const struct requests_limits *limits)
{
	t->room = limits->room < REQUESTS_MAX ? limits->room : REQUESTS_MAX;
	limits_set(t->limits, limits->max, limits->max_per_peer);
	t->delay_done = limits->delay_done;
	/* What was left in the kernel is not announced again. */
	if (t->count < t->room)
		resume(t, 0);
}

void requests_close(struct requests *t)
{
	t->open = false;
	t->delay_done = 0;
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

struct request *request_find(const struct requests *t, uint64_t id)
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
 * ACCEPT links the keyring of an authenticated request into our process
 * keyring, and before Linux 6.17 does not tell which. So all links go when no
 * such request is left; until then each keyring has one link at most.
 */
static bool may_link(const struct request *req)
{
	return req->nl.auth != HS_AUTH_UNAUTH;
}

/* Returns false when it is to be tried again: memory is short, and the consumer waits for this answer. */
static bool send_done(struct request *req)
{
	struct requests *t = req->table;
	int r = -EINTR;

	for (unsigned int i = 0; (r == -ENOBUFS || r == -ENOMEM || r == -EINTR) && i < 4; i++)
		r = netlink_done(t->netlink, req->nl.fd, req->status, req->remote_auth);
	if (r == -ENOBUFS || r == -ENOMEM)
		return false;
	/* Some kernels forget a request when its consumer cancels it. */
	if (r == -EBUSY)
		log_debug(t->log, "the consumer has given up the handshake with %s", req->peer);
	else if (r < 0)
		log_error(t->log, "the kernel did not take the answer for %s: %s", req->peer,
			  strerror(-r));
	return true;
}

/* It has been there since before the request was taken: this needs no memory. */
static void set_timer(struct request *req, uint64_t usec)
{
	sd_event_source_set_time(req->timer, clock_now() + usec);
	sd_event_source_set_enabled(req->timer, SD_EVENT_ONESHOT);
}

static void forget(struct request *req)
{
	struct requests *t = req->table;

	sd_event_source_disable_unref(req->timer);
	fd_close(req->nl.fd);
	t->slots[req->id & SLOT_MASK] = NULL;
	if (t->count-- == t->room)
		resume(t, 0);
	if (may_link(req) && --t->n_linked == 0)
		keyring_drop_links();
	free(req->delayed);
	free(req);
}

/* @pair, which had it, forgets the job. */
static void give_back(struct request *req, struct pair *pair, bool cancel)
{
	bool granted = hs_may_sign(req->nl.role, req->nl.auth) && !keys_needed(&req->nl);

	/* A keeper forgets a grant or key once it has signed, but there may have been no signature. */
	pool_forget(req->table->pool, pair, req->id, cancel, granted || req->certificate_fd >= 0);
}

/* Who the peer is, for the consumer: the key that proved it, or just that it was proved. */
static uint32_t remote_auth(const struct request *req, const struct hs_result *result)
{
	if (result->outcome != HS_OK)
		return 0;
	if (req->nl.auth == HS_AUTH_PSK)
		return (uint32_t)req->key;
	return req->nl.auth == HS_AUTH_X509 && result->peer_verified ? PEER_VERIFIED : 0;
}

/* How long its failure must wait until it may be told, us. */
static uint64_t too_soon(const struct request *req)
{
	uint64_t age = clock_now() - req->taken;

	return req->status && age < FAILURE_AFTER ? FAILURE_AFTER - age : 0;
}

/*
 * What is over gets its answer. Returns false when that is tried again later: it
 * is too soon, or the kernel has no memory.
 */
static bool answer(struct request *req)
{
	uint64_t wait = too_soon(req);

	if (!wait && send_done(req))
		return true;
	if (!wait) {
		requests_complain(req->table, SHORT_OF_KERNEL_MEMORY);
		wait = DONE_RETRY;
	}
	set_timer(req, wait);
	return false;
}

/* The one end of every request, but for those that a limit refuses. @result's id is not looked at. */
static void complete(struct request *req, const struct hs_result *result)
{
	struct requests *t = req->table;
	struct pair *pair = req->pair;
	struct report report = {
		.role = req->nl.role, .auth = req->nl.auth, .peer = req->peer,
		.peername = req->nl.peername, .status = hs_outcome_errno(result->outcome),
		.result = result, .psk_identity = req->identity, .key = req->key,
	};

	req->over = true;
	req->status = report.status;
	req->remote_auth = remote_auth(req, result);
	limits_give_back(t->limits, &req->limits);
	req->unanswered = !answer(req);
	report.duration_us = now(t) - req->accepted;
	report_handshake(t->log, &report);
	if (result->outcome == HS_OK)
		t->n_ok++;
	else
		t->n_failed++;

	/* Not ours any more: telling it may end it, which ends what it has. */
	req->pair = NULL;
	if (pair)
		give_back(req, pair, result->id != req->id);
	else
		unlink_waiting(req);
	request_free_keys(req);
	if (!req->unanswered)
		forget(req);
}

/* By a limit, which has been said: without a line of its own, for there may be thousands. */
static void refuse(struct request *req)
{
	req->over = true;
	req->status = hs_outcome_errno(HS_BUSY);
	req->table->n_failed++;
	req->unanswered = !answer(req);
	if (!req->unanswered)
		forget(req);
}

void request_fail(struct request *req, enum hs_outcome outcome, const char *fmt, ...)
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

	if (req->unanswered) {
		if (answer(req))
			forget(req);
	} else if (req->delayed) {
		complete_delayed(req);
	} else if (pair) {
		request_fail(req, HS_TIMEOUT, "no answer from the worker within %u ms", req->timeout_ms);
		pool_overdue(pool, pair);
	} else {
		request_fail(req, HS_TIMEOUT, "no worker was free within %u ms", req->timeout_ms);
	}
	return 0;
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

/* What cannot be served, whatever is configured; NULL: nothing. */
static const char *refusal(const struct netlink_request *nl)
{
	if (nl->refusal)
		return nl->refusal;
	if (nl->auth == HS_AUTH_PSK && nl->role == HS_CLIENT && !nl->n_peer_ids)
		return "the kernel's request names no pre-shared key";
	return NULL;
}

static void admit(struct requests *t, struct request *req)
{
	unsigned int slot = free_slot(t);

	req->table = t;
	req->id = (req->id & ~(uint64_t)SLOT_MASK) | slot;
	req->accepted = now(t);
	req->taken = clock_now();
	req->timeout_ms = choose_timeout(&req->nl);
	req->certificate_fd = -1;
	report_peer(req->nl.fd, req->peer, sizeof(req->peer));
	t->n_linked += may_link(req);
	t->slots[slot] = req;
	t->count++;
	if (!limits_take(t->limits, &req->limits, req->nl.fd, req->peer)) {
		refuse(req);
		return;
	}
	*t->waiting_end = req;
	t->waiting_end = &req->next_waiting;
	if (refusal(&req->nl))
		request_fail(req, HS_UNSUPPORTED, "%s", refusal(&req->nl));
	else
		set_timer(req, (req->timeout_ms + BACKSTOP_MS) * USEC_PER_MSEC);
}

static void free_unused(struct request **req)
{
	if (*req)
		sd_event_source_disable_unref((*req)->timer);
	free(*req);
}

/*
 * Takes one request. All that it needs until its answer is there before it is
 * taken. Returns netlink_accept()'s errors, or -ENOMEM with nothing taken.
 */
static int accept_one(struct requests *t)
{
	CLEANUP(free_unused) struct request *req = calloc(1, sizeof(*req));
	int r;

	if (!req || sd_event_add_time(t->event, &req->timer, CLOCK_MONOTONIC, 0, 1, on_deadline,
				      req) < 0) {
		requests_complain(t, SHORT_OF_MEMORY);
		return -ENOMEM;
	}
	sd_event_source_set_enabled(req->timer, SD_EVENT_OFF);
	/* ACCEPT without one would use a request up: the kernel answers it with EIO. */
	if (!reserve_descriptors(t->spare_fd)) {
		requests_complain(t, SHORT_OF_DESCRIPTORS);
		return -ENOMEM;
	}
	if (!reserve_number(&req->id))
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
	unsigned int faults = 0, in_row = 0, n;
	int fault = 0, r = 0;

	/* Each used up a request or put it behind the others; a kernel that only fails must not hold us. */
	for (n = 0; t->open && !t->paused && t->count < t->room && faults < FAULTS_MAX; n++) {
		if (n == TURN_MAX) {
			t->paused = true;
			resume(t, 0);
			break;
		}
		r = accept_one(t);
		if (r == -EAGAIN || r == -EPERM || r == -ENOMEM)
			break;
		in_row = r == -EDQUOT ? in_row + 1 : 0;
		if (in_row)
			requests_complain(t, SHORT_OF_QUOTA);
		if (in_row == QUOTA_IN_ROW) {
			resume(t, QUOTA_RETRY);
			break;
		}
		if (!in_row && r < 0)
			fault = r;
		faults += r < 0;
	}
	if (fault)
		log_warn(t->log, "requests that could not be accepted: %u; the last: %s", faults,
			 strerror(-fault));
	/* Better left in the kernel's queue than taken without the means to answer. */
	if (r == -ENOMEM)
		resume(t, NO_MEMORY_RETRY);
	return r == -EPERM ? r : 0;
}

void requests_dispatch(struct requests *t)
{
	requests_answer_keys(t);
	while (t->waiting) {
		struct request *req = t->waiting;
		uint64_t spent = (clock_now() - req->taken) / USEC_PER_MSEC;
		struct hs_job job = {
			.id = req->id, .role = req->nl.role, .auth = req->nl.auth,
			.own_identity = req->nl.auth == HS_AUTH_X509 && keys_needed(&req->nl),
		};
		struct pair *pair;
		int r;

		if (spent >= req->timeout_ms) {
			request_fail(req, HS_TIMEOUT, "no worker was free within %u ms", req->timeout_ms);
			continue;
		}
		job.timeout_ms = req->timeout_ms - spent;
		memcpy(job.peername, req->nl.peername, sizeof(job.peername));
		r = pool_dispatch(t->pool, &job, req->nl.fd, &pair);
		if (r == -EAGAIN)
			return;
		if (r < 0) {
			request_fail(req, HS_INTERNAL, "the job could not be handed over: %s", strerror(-r));
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
	struct pair *pair;

	req->delayed = malloc(sizeof(*result));
	if (!req->delayed)
		return false;
	set_timer(req, t->delay_done * USEC_PER_SEC);
	*req->delayed = *result;
	pair = req->pair;
	req->pair = NULL;
	give_back(req, pair, false);
	return true;
}

enum pool_verdict requests_result(struct requests *t, struct pair *pair,
				  const struct hs_result *result)
{
	struct request *req = request_find(t, result->id);
	enum pool_verdict verdict = POOL_FINE;

	/* Answered before, by deadline, if only just; or there never was one. */
	if (!req || req->delayed || req->over)
		return POOL_LATE;
	/* Another worker's, or success without the key that it takes: a lie. */
	if (req->pair != pair || (result->outcome == HS_OK && !request_has_keys(req)))
		return POOL_VIOLATION;
	/* What was short was short here, or in the keyrings of the kernel. (A keeper is its own.) */
	if (req->denied)
		verdict = POOL_EXCUSED;
	if (!t->delay_done || !delay(req, result))
		complete(req, result);
	return verdict;
}

void requests_pair_died(struct requests *t, struct pair *pair, const char *why)
{
	for (unsigned int i = 0; i < REQUESTS_MAX; i++) {
		if (t->slots[i] && t->slots[i]->pair == pair)
			request_fail(t->slots[i], HS_WORKER_DIED, "%s", why);
	}
}

/* There will be no other try. */
static void answer_now(struct request *req)
{
	if (!send_done(req))
		log_error(req->table->log, "the kernel had no memory for the answer for %s", req->peer);
	forget(req);
}

void requests_shutdown(struct requests *t)
{
	uint64_t wait = 0;

	for (unsigned int i = 0; i < REQUESTS_MAX; i++) {
		if (t->slots[i] && t->slots[i]->delayed && !t->slots[i]->unanswered)
			complete_delayed(t->slots[i]);
		else if (t->slots[i] && !t->slots[i]->unanswered)
			request_fail(t->slots[i], HS_SHUTDOWN, "the daemon stops");
		if (t->slots[i] && too_soon(t->slots[i]) > wait)
			wait = too_soon(t->slots[i]);
	}
	if (wait)
		usleep((useconds_t)wait);
	for (unsigned int i = 0; i < REQUESTS_MAX && t->count; i++) {
		if (t->slots[i])
			answer_now(t->slots[i]);
	}
}
