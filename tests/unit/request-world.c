// SPDX-License-Identifier: GPL-2.0-or-later
#include "request-world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fail-malloc.h"
#include "fds.h"
#include "tlshd/monitor/keyring.h"
#include "tlshd/monitor/keys.h"

#define SERIAL(a) (1000 + atoi((a)->nl.peername + 1))
#define FAILURE_AFTER 100000	/* its ACCEPT, us */
#define IDENTITY "the client's identity"

struct world *world;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	if (world && world->callocs_fail) {
		world->callocs_fail--;
		world->starved = g_get_monotonic_time();
		return NULL;
	}
	return __real_calloc(n, size);
}

struct asked *nth(unsigned int n)
{
	return g_ptr_array_index(world->all, n);
}

bool live(const struct asked *a)
{
	return a->accepted && !a->answered;
}

static struct asked *find_fd(int fd)
{
	for (unsigned int i = 0; i < world->all->len; i++) {
		/* The line comes before the DONE that the kernel had no memory for. */
		if (nth(i)->accepted && (live(nth(i)) || !nth(i)->n_done) && nth(i)->nl.fd == fd)
			return nth(i);
	}
	g_assert_not_reached();
}

/* --- the kernel --- */

static unsigned int count_live(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < world->all->len; i++)
		n += live(nth(i));
	return n;
}

int netlink_accept(struct netlink *nl, struct netlink_request *ret)
{
	struct asked *a;
	int ends[2];

	nl->n_accept_calls++;
	if (!g_queue_is_empty(nl->accept_errors))
		return GPOINTER_TO_INT(g_queue_pop_head(nl->accept_errors));
	a = g_queue_pop_head(nl->queued);
	if (!a)
		return -EAGAIN;
	g_assert_no_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
	a->nl.fd = ends[0];
	a->far = ends[1];
	a->answered = a->refused = count_live() >= world->max;
	a->expect = a->refused ? HS_BUSY : a->expect;
	a->accepted = true;
	g_assert_cmpint(sd_event_now(world->event, CLOCK_MONOTONIC, &a->since), >=, 0);
	*ret = a->nl;
	return 0;
}

/* It has ended. If nobody said how, then by its deadline. */
static void ended(struct asked *a)
{
	if (a->expect != NONE)
		return;
	g_assert_cmpuint(a->nl.timeout_ms, !=, 0);
	g_assert_cmpint(g_get_monotonic_time(), >=, (gint64)a->since + a->nl.timeout_ms * 1000);
	a->expect = HS_TIMEOUT;
	a->overdue = a->n_dispatched;
}

int netlink_done(struct netlink *nl, int fd, unsigned int status, uint32_t remote_auth)
{
	struct asked *a = find_fd(fd);

	nl->n_done_calls++;
	g_assert_cmpint(fcntl(fd, F_GETFD), >=, 0);
	g_assert_cmpuint(a->n_done, ==, 0);
	ended(a);
	if (status)	/* the kernel may be about to take its own reference on the socket */
		g_assert_cmpint(g_get_monotonic_time(), >=, (gint64)a->since + FAILURE_AFTER);
	g_assert_cmpuint(status, ==, hs_outcome_errno(a->expect));
	g_assert_cmpuint(remote_auth, ==, !a->expect_auth ? 0 :
			 a->nl.auth == HS_AUTH_PSK ? (unsigned int)SERIAL(a) : 1);
	if (nl->done_faults && nl->done_faults--)
		return nl->done_error;
	a->n_done++;
	return 0;
}

/* --- the keys --- */

void keyring_drop_links(void)
{
	for (unsigned int i = 0; i < world->all->len; i++)
		g_assert_true(!live(nth(i)) || nth(i)->nl.auth == HS_AUTH_UNAUTH);
	world->n_drops++;
}

void keys_answer(struct keys_answer *ret, const struct netlink_request *nl, uint64_t job,
		 const char *identity, const char *const *keyrings, const struct log *log)
{
	struct asked *a = nth((unsigned int)atoi(nl->peername + 1));

	g_assert_true(live(a));
	g_assert_cmpuint(job, ==, a->id);
	g_assert_cmpstr(identity, ==, nl->auth == HS_AUTH_PSK && nl->role == HS_SERVER ? IDENTITY : "");
	memset(ret, 0, sizeof(*ret));
	ret->fd = -1;
	ret->msg.type = a->give;
	if (a->give == WIRE_PSK) {
		ret->msg.psk.job = job;
		ret->serial = SERIAL(a);
		g_strlcpy(ret->msg.psk.identity, IDENTITY, sizeof(ret->msg.psk.identity));
	} else if (a->give == WIRE_KEY) {
		ret->msg.key.job = job;
		ret->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		g_assert_cmpint(ret->fd, >=, 0);
	} else {
		ret->msg.refused = (struct wire_refused){ job, HS_KEY_EXPIRED, "it has expired" };
	}
	a->n_read++;
}

void keys_clear(struct keys_answer *answer)
{
	explicit_bzero(&answer->msg, sizeof(answer->msg));
	answer->fd = fd_close(answer->fd);
}

bool ask_keys(struct asked *a)
{
	struct wire_message msg = { .type = WIRE_ASK, .ask.job = a->id };

	if (a->nl.auth == HS_AUTH_PSK && a->nl.role == HS_SERVER)
		g_strlcpy(msg.ask.identity, IDENTITY, sizeof(msg.ask.identity));
	return requests_keys(world->table, a->pair, &msg) != POOL_VIOLATION;
}

bool keeper_says(struct asked *a, bool loaded)
{
	struct wire_message msg = { .type = loaded ? WIRE_KEY_LOADED : WIRE_REFUSED };

	if (loaded)
		msg.key_loaded = a->id;
	else
		msg.refused = (struct wire_refused){ a->id, HS_KEY_UNUSABLE, "it is none" };
	return requests_keys(world->table, a->pair, &msg) != POOL_VIOLATION;
}

void give_keys(struct asked *a)
{
	g_assert_true(ask_keys(a));
	if (a->give == WIRE_KEY)
		g_assert_true(keeper_says(a, true));
}

/* --- the pool --- */

void pair_new(void)
{
	struct pair *pair = g_new0(struct pair, 1);

	pair->jobs = g_hash_table_new(NULL, NULL);
	g_ptr_array_add(world->pool.pairs, pair);
}

void pair_kill(struct pair *pair)
{
	GHashTableIter iter;
	gpointer job;

	g_hash_table_iter_init(&iter, pair->jobs);
	while (g_hash_table_iter_next(&iter, &job, NULL))
		((struct asked *)job)->expect = HS_WORKER_DIED;
	pair->dying = true;
	if (g_hash_table_size(pair->jobs))
		requests_pair_died(world->table, pair, "it was killed");
	g_assert_cmpuint(g_hash_table_size(pair->jobs), ==, 0);
	g_ptr_array_remove(world->pool.pairs, pair);
	g_hash_table_unref(pair->jobs);
	memset(pair, 0xa5, sizeof(*pair));
	g_free(pair);
}

void there_is_room(void)
{
	world->pool.full_for_keys = false;
	for (unsigned int i = 0; i < world->pool.pairs->len; i++)
		((struct pair *)world->pool.pairs->pdata[i])->full = false;
	requests_dispatch(world->table);
}

struct pair *any_pair(void)
{
	GPtrArray *pairs = world->pool.pairs;
	gint32 n = (gint32)pairs->len;

	return n ? pairs->pdata[g_rand_int_range(world->rng, 0, n)] : NULL;
}

int pool_dispatch(struct pool *pool, const struct hs_job *job, int fd, struct pair **ret)
{
	struct asked *a = find_fd(fd);
	struct pair *pair;
	int r = pool->refuse;

	g_assert_cmpuint(a->n_dispatched, ==, 0);
	g_assert_cmpint(job->role, ==, a->nl.role);
	g_assert_cmpint(job->auth, ==, a->nl.auth);
	g_assert_cmpstr(job->peername, ==, a->nl.peername);
	g_assert_cmpint(job->own_identity, ==,
			a->nl.auth == HS_AUTH_X509 && (a->nl.certificate || a->nl.private_key));
	g_assert_cmpuint(job->timeout_ms, >, 0);
	g_assert_cmpuint(job->id, !=, 0);
	if (pool->kill_other && pool->pairs->len > 1) {
		pool->kill_other = false;
		pair_kill(any_pair());
	}
	pair = any_pair();
	if (pool->full || !pair)
		return -EAGAIN;
	pool->refuse = 0;
	if (r < 0) {
		a->expect = HS_INTERNAL;
		return r;
	}
	pool->timeout_ms = job->timeout_ms;
	a->id = job->id;
	a->pair = *ret = pair;
	a->n_dispatched++;
	fail_malloc_pause();
	g_assert_true(g_hash_table_add(world->ids, (void *)(uintptr_t)job->id));
	g_hash_table_add(pair->jobs, a);
	fail_malloc_go_on();
	return 0;
}

static uint64_t job_of(const struct wire_message *msg)
{
	switch (msg->type) {
	case WIRE_PSK:
		return msg->psk.job;
	case WIRE_KEY:
		return msg->key.job;
	case WIRE_CERTIFICATE:
		return msg->certificate.job;
	case WIRE_REFUSED:
		return msg->refused.job;
	default:
		g_assert_not_reached();
	}
}

int pool_tell(struct pool *pool, struct pair *pair, enum pool_receiver who,
	      const struct wire_message *msg, int fd)
{
	bool key = msg->type == WIRE_KEY || msg->type == WIRE_CERTIFICATE;
	struct asked *a = NULL;

	g_assert_true(g_ptr_array_find(pool->pairs, pair, NULL));
	for (unsigned int i = 0; i < world->all->len && !a; i++) {
		if (nth(i)->accepted && nth(i)->id == job_of(msg))
			a = nth(i);
	}
	g_assert_nonnull(a);
	g_assert_true(a->pair == pair);
	g_assert_cmpint(who, ==, msg->type == WIRE_KEY ? POOL_KEEPER : POOL_WORKER);
	g_assert_true(key ? fcntl(fd, F_GETFD) >= 0 : fd == -1);
	if (pair->dying)
		return -EPIPE;
	g_assert_false(pair->full);	/* nobody asked whether it can be told */
	pair->full = pool->full_for_keys;
	if (pair->full)
		return -EAGAIN;
	if (pool->kill_told) {
		pool->kill_told = false;
		pair_kill(pair);
		return -EPIPE;
	}
	a->n_told[msg->type]++;
	return 0;
}

bool pool_can_tell(const struct pair *pair)
{
	g_assert_true(g_ptr_array_find(world->pool.pairs, pair, NULL));
	return !pair->full;
}

/* A keeper knows of it by a key, or because the pool had told it of a job that may sign. */
static bool keeper_knows(const struct asked *a)
{
	return a->n_told[WIRE_KEY] || (a->nl.auth == HS_AUTH_UNAUTH && a->nl.role == HS_SERVER) ||
	       (a->nl.auth == HS_AUTH_X509 && !a->nl.certificate && !a->nl.private_key);
}

void pool_forget(struct pool *pool, struct pair *pair, uint64_t id, bool cancel, bool keeper)
{
	GHashTableIter iter;
	gpointer job;

	g_assert_true(g_ptr_array_find(pool->pairs, pair, NULL));
	g_hash_table_iter_init(&iter, pair->jobs);
	while (g_hash_table_iter_next(&iter, &job, NULL)) {
		struct asked *a = job;

		if (a->id != id)
			continue;
		a->n_forgotten++;
		if (cancel && ++a->n_cancelled)	/* its result was under way, and is read in here */
			g_assert_cmpint(answer_as(pair, id, HS_TIMEOUT, false), ==, POOL_LATE);
		g_hash_table_iter_remove(&iter);
		g_assert_true(keeper == keeper_knows(a));
		a->n_told[WIRE_CANCEL] += keeper && !pair->dying;
		if (keeper && pool->kill_told && !pair->dying) {
			pool->kill_told = false;
			pair_kill(pair);
		}
		return;
	}
	g_assert_not_reached();
}

void pool_overdue(struct pool *pool, struct pair *pair)
{
	unsigned int n = 0, n_overdue = 0;

	/* After the answer, once for each, and while the pair is there. */
	g_assert_true(g_ptr_array_find(pool->pairs, pair, NULL));
	for (unsigned int i = 0; i < world->all->len; i++) {
		n += nth(i)->overdue && nth(i)->pair == pair && nth(i)->answered;
		n_overdue += nth(i)->overdue;
	}
	g_assert_cmpuint(n, >, 0);
	g_assert_cmpuint(++pool->n_overdue, ==, n_overdue);
	if (pool->kill_overdue)
		pair_kill(pair);
}

/* --- the log --- */

static const char *field(const struct log_field *fields, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(fields[i].name, name))
			return fields[i].value;
	}
	return NULL;
}

static void sink(void *ctx, int priority, const char *text, const struct log_field *fields,
		 size_t n_fields)
{
	const char *name = field(fields, n_fields, "TLSHD_PEERNAME");
	struct asked *a;

	if (!name) {
		world->n_other_lines++;
		fail_malloc_pause();
		g_free(world->last_line);
		world->last_line = g_strdup(text);
		fail_malloc_go_on();
		return;
	}
	a = nth((unsigned int)atoi(name + 1));
	a->n_lines++;
	ended(a);
	a->answered = true;	/* before the socket is closed */
	g_assert_cmpstr(field(fields, n_fields, "TLSHD_OUTCOME"), ==, hs_outcome_name(a->expect));
}

/* --- the world --- */

void set_up(struct world *w, gconstpointer unused)
{
	alarm(60);
	world = w;
	w->n_fds = count_fds();
	w->max = G_MAXUINT;
	w->starved = -1000000;
	w->rng = g_rand_new_with_seed(SEED);
	w->log = (struct log){ LOG_DEBUG, sink, NULL };
	w->nl.queued = g_queue_new();
	w->nl.accept_errors = g_queue_new();
	w->pool.pairs = g_ptr_array_new();
	w->all = g_ptr_array_new_with_free_func(g_free);
	w->ids = g_hash_table_new(NULL, NULL);
	g_assert_cmpint(sd_event_new(&w->event), >=, 0);
	g_assert_cmpint(requests_new(&w->table, w->event, &w->log, &w->nl), ==, 0);
	requests_set_pool(w->table, &w->pool);
	pair_new();
	pair_new();
}

struct asked *ask(enum hs_role role, enum hs_auth auth)
{
	struct asked *a = g_new0(struct asked, 1);

	a->nl.fd = a->far = -1;
	a->nl.role = role;
	a->nl.auth = auth;
	a->expect = NONE;
	a->give = auth == HS_AUTH_PSK ? WIRE_PSK : WIRE_KEY;
	a->nl.n_peer_ids = auth == HS_AUTH_PSK && role == HS_CLIENT;
	g_snprintf(a->nl.peername, sizeof(a->nl.peername), "r%u", world->all->len);
	g_ptr_array_add(world->all, a);
	g_queue_push_tail(world->nl.queued, a);
	return a;
}

void accept_all(void)
{
	g_assert_cmpint(requests_accept(world->table), ==, 0);
}

struct asked *ask_and_accept(void)
{
	struct asked *a = ask(HS_CLIENT, HS_AUTH_X509);

	accept_all();
	g_assert_true(a->accepted);
	return a;
}

enum pool_verdict answer_as(struct pair *pair, uint64_t id, enum hs_outcome outcome, bool verified)
{
	const struct hs_result result = {
		.id = id, .outcome = outcome, .peer_verified = verified, .reason = "why",
	};

	return requests_result(world->table, pair, &result);
}

static bool has_keys(const struct asked *a)
{
	return a->nl.auth == HS_AUTH_PSK ? a->n_told[WIRE_PSK] > 0 :
	       a->nl.auth == HS_AUTH_UNAUTH || !(a->nl.certificate || a->nl.private_key) ||
	       a->n_told[WIRE_CERTIFICATE];
}

void answer(struct asked *a, enum hs_outcome outcome, bool verified)
{
	if (outcome == HS_OK && !has_keys(a)) {
		lie(a, verified);
		return;
	}
	a->expect = outcome;
	a->expect_auth = a->expect == HS_OK && (a->nl.auth == HS_AUTH_PSK ||
						(verified && a->nl.auth == HS_AUTH_X509));
	a->told = true;
	g_assert_cmpint(answer_as(a->pair, a->id, outcome, verified), ==,
			a->n_told[WIRE_REFUSED] > a->n_told[WIRE_KEY] ? POOL_EXCUSED : POOL_FINE);
}

void lie(struct asked *a, bool verified)
{
	g_assert_cmpint(answer_as(a->pair, a->id, HS_OK, verified), ==, POOL_VIOLATION);
	g_assert_false(a->answered);
	pair_kill(a->pair);
	g_assert_true(a->answered);
	pair_new();
}

void settle(void)
{
	while (sd_event_run(world->event, 0) > 0)
		;
}

void wait_for(struct asked *a)
{
	while (!a->answered)
		g_assert_cmpint(sd_event_run(world->event, 3000000), >, 0);
}

void wait_told(struct asked *a)
{
	while (!a->n_done)
		g_assert_cmpint(sd_event_run(world->event, 3000000), >, 0);
}

void set_limits(unsigned int max, unsigned int delay_done)
{
	struct requests_limits limits = { world->max = max, G_MAXUINT, G_MAXUINT, delay_done };

	requests_set_limits(world->table, &limits);
}

void expect_shutdown(void)
{
	for (unsigned int i = 0; i < world->all->len; i++) {
		if (live(nth(i)) && !nth(i)->told) {
			nth(i)->expect = HS_SHUTDOWN;
			nth(i)->expect_auth = false;
		}
	}
}

static void check_one(const struct asked *a)
{
	char byte;

	if (!a->accepted)
		return;
	g_assert_cmpuint(a->n_dispatched, <=, 1);
	g_assert_cmpuint(a->n_forgotten, <=, a->n_dispatched);
	g_assert_cmpuint(a->n_cancelled, <=, a->n_forgotten);
	for (unsigned int i = 0; i < WIRE_N_TYPES; i++)
		g_assert_cmpuint(a->n_told[i], <=, 1);
	g_assert_cmpuint(a->n_told[WIRE_PSK] + a->n_told[WIRE_REFUSED] +
			 a->n_told[WIRE_CERTIFICATE], <=, 1);
	g_assert_cmpuint(a->n_told[WIRE_CERTIFICATE], <=, a->n_told[WIRE_KEY]);
	if (!a->answered) {
		g_assert_cmpuint(a->n_done + a->n_lines, ==, 0);
		g_assert_cmpint(recv(a->far, &byte, 1, MSG_DONTWAIT), ==, -1);
		return;
	}
	g_assert_cmpuint(a->n_lines, ==, !a->refused);
	g_assert_cmpuint(a->n_forgotten, ==, a->n_dispatched);
	if (!a->n_done) {
		/* It is too soon to tell. */
		g_assert_cmpint(a->expect, !=, HS_OK);
		g_assert_cmpint(recv(a->far, &byte, 1, MSG_DONTWAIT), ==, -1);
		return;
	}
	/* Nobody holds the socket any more. */
	g_assert_cmpint(recv(a->far, &byte, 1, MSG_DONTWAIT), ==, 0);
}

void check_world(void)
{
	uint64_t ok, failed, want_ok = 0, want_failed = 0;
	unsigned int n_left = 0, n_overdue = 0;

	for (unsigned int i = 0; i < world->all->len; i++) {
		struct asked *a = nth(i);

		check_one(a);
		n_left += a->accepted && !a->n_done;
		n_overdue += a->overdue;
		want_ok += a->answered && a->expect == HS_OK;
		want_failed += a->answered && a->expect != HS_OK;
	}
	g_assert_cmpuint(requests_count(world->table), ==, n_left);
	g_assert_cmpuint(world->pool.n_overdue, ==, n_overdue);
	requests_totals(world->table, &ok, &failed);
	g_assert_cmpuint(ok, ==, want_ok);
	g_assert_cmpuint(failed, ==, want_failed);
}

void tear_down(struct world *w, gconstpointer unused)
{
	check_world();
	expect_shutdown();
	requests_shutdown(w->table);
	check_world();
	g_assert_cmpuint(requests_count(w->table), ==, 0);
	requests_free(w->table);
	sd_event_unref(w->event);
	for (unsigned int i = 0; i < w->all->len; i++)
		fd_close(nth(i)->far);
	g_assert_cmpuint(count_fds(), ==, w->n_fds);
	while (w->pool.pairs->len)
		pair_kill(any_pair());
	g_ptr_array_unref(w->pool.pairs);
	g_ptr_array_unref(w->all);
	g_hash_table_unref(w->ids);
	g_free(w->last_line);
	g_queue_free(w->nl.queued);
	g_queue_free(w->nl.accept_errors);
	g_rand_free(w->rng);
	world = NULL;
	alarm(0);
}
