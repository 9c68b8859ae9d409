// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The request table, one thing at a time; test-request-limits.c has
 * what is refused or told later, test-request-random.c everything at once.
 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "fail-malloc.h"
#include "request-world.h"

/* The kernel takes any remote-auth for "authenticated": it is sent in one case only. */
static void test_remote_auth(struct world *w, gconstpointer unused)
{
	unsigned int n_sent = 0;

	for (unsigned int i = 0; i < HS_N_ROLES * HS_N_AUTHS * HS_N_OUTCOMES * 2; i++) {
		enum hs_outcome outcome = i / 2 % HS_N_OUTCOMES;
		struct asked *a = ask(i / 2 / HS_N_OUTCOMES % HS_N_ROLES,
				      i / 2 / HS_N_OUTCOMES / HS_N_ROLES);

		accept_all();
		/* Of those with a PSK some never asked for it: they prove nothing. */
		if (a->nl.auth == HS_AUTH_PSK && i % 2)
			give_keys(a);
		answer(a, outcome, i % 2);
		g_assert_true(a->answered);
		n_sent += a->expect_auth;
	}
	g_assert_cmpuint(n_sent, ==, 2 * HS_N_ROLES);
	check_world();
}

static void test_late_results(struct world *w, gconstpointer unused)
{
	static const uint64_t wrong[] = { 0x10000, 1, 0xffff, UINT64_MAX, (uint64_t)1 << 63 };
	struct asked *first = ask_and_accept(), *second;
	struct pair *other = g_ptr_array_index(w->pool.pairs, 0);

	if (other == first->pair)
		other = g_ptr_array_index(w->pool.pairs, 1);
	/* Not its job; and some that there never were. */
	g_assert_cmpint(answer_as(other, first->id, HS_OK, true), ==, POOL_VIOLATION);
	for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++)
		g_assert_cmpint(answer_as(first->pair, first->id + wrong[i], HS_OK, true), ==,
				POOL_LATE);
	g_assert_cmpint(answer_as(first->pair, 0, HS_OK, true), ==, POOL_LATE);
	g_assert_false(first->answered);
	answer(first, HS_CERT_NAME, false);
	g_assert_true(first->answered);
	g_assert_cmpint(answer_as(first->pair, first->id, HS_OK, true), ==, POOL_LATE);	/* again */
	wait_told(first);

	/* The next one in the same slot, with the same pair. */
	second = ask_and_accept();
	g_assert_cmpuint(second->id & 0xffff, ==, first->id & 0xffff);
	g_assert_cmpint(answer_as(second->pair, first->id, HS_OK, true), ==, POOL_LATE);
	g_assert_false(second->answered);
	answer(second, HS_OK, true);
	g_assert_true(second->answered);
	g_assert_cmpuint(first->n_cancelled + second->n_cancelled, ==, 0);
}

static void test_refusals(struct world *w, gconstpointer unused)
{
	struct asked *a[2];

	a[0] = ask(HS_CLIENT, HS_AUTH_PSK);
	a[0]->nl.n_peer_ids = 0;
	a[1] = ask(HS_SERVER, HS_AUTH_UNAUTH);
	a[1]->nl.refusal = "it is a test";
	for (unsigned int i = 0; i < 2; i++)
		a[i]->expect = HS_UNSUPPORTED;
	accept_all();
	for (unsigned int i = 0; i < 2; i++) {
		g_assert_true(a[i]->answered);
		g_assert_cmpuint(a[i]->n_dispatched, ==, 0);
	}
}

/* What has passed since ACCEPT is taken off: nothing, or little on a busy host. */
static void assert_nearly(uint32_t ms, uint32_t want)
{
	g_assert_cmpuint(ms, <=, want);
	g_assert_cmpuint(ms, >, want - 100);
}

static void test_timeouts(struct world *w, gconstpointer unused)
{
	static const struct {
		enum hs_role role;
		uint32_t asked, want;
	} cases[] = {
		{ HS_CLIENT, 0, 10000 }, { HS_SERVER, 0, 5000 }, { HS_SERVER, 1000, 1000 },
		{ HS_CLIENT, 600000, 600000 }, { HS_CLIENT, 600001, 600000 },
		{ HS_CLIENT, UINT32_MAX, 600000 },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		ask(cases[i].role, HS_AUTH_X509)->nl.timeout_ms = cases[i].asked;
		accept_all();
		assert_nearly(w->pool.timeout_ms, cases[i].want);
	}
}

static void test_deadline(struct world *w, gconstpointer unused)
{
	struct asked *given = ask(HS_CLIENT, HS_AUTH_X509), *waiting, *later;

	given->nl.timeout_ms = 20;
	accept_all();
	g_assert_nonnull(given->pair);
	w->pool.full = true;
	waiting = ask(HS_SERVER, HS_AUTH_X509);
	waiting->nl.timeout_ms = 1;
	later = ask(HS_SERVER, HS_AUTH_X509);
	later->nl.timeout_ms = 500;
	accept_all();
	wait_for(waiting);
	wait_for(given);
	g_assert_cmpuint(given->n_cancelled, ==, 1);
	g_assert_cmpint(answer_as(given->pair, given->id, HS_OK, true), ==, POOL_LATE);
	g_assert_false(later->answered);
	w->pool.full = false;
	requests_dispatch(w->table);
	/* What it waited for a worker is taken from what the worker has. */
	g_assert_cmpuint(w->pool.timeout_ms, <, 500 - 20);
	answer(later, HS_OK, false);
}

/* It counts from ACCEPT, however long ago this turn of the event loop began. */
static void test_deadline_late_turn(struct world *w, gconstpointer unused)
{
	struct asked *a = ask(HS_CLIENT, HS_AUTH_X509);
	gint64 from;

	a->nl.timeout_ms = 200;
	settle();
	g_usleep(400000);
	from = g_get_monotonic_time();
	accept_all();
	assert_nearly(w->pool.timeout_ms, 200);
	wait_for(a);
	g_assert_cmpint(g_get_monotonic_time() - from, >=, 200000);
}

/* A worker is free again, but too late: it is not bothered. */
static void test_deadline_in_queue(struct world *w, gconstpointer unused)
{
	struct asked *a = ask(HS_CLIENT, HS_AUTH_X509);

	a->nl.timeout_ms = 5;
	w->pool.full = true;
	accept_all();
	g_usleep(10000);
	settle();
	w->pool.full = false;
	requests_dispatch(w->table);
	g_assert_true(a->answered);
	g_assert_cmpuint(a->n_dispatched, ==, 0);
}

/* A worker that lets a job pass its deadline is told of once for each such job, and for no other. */
static void test_overdue(struct world *w, gconstpointer unused)
{
	struct asked *late[2], *good, *waiting, *refused;

	for (unsigned int i = 0; i < 2; i++) {
		late[i] = ask(HS_CLIENT, HS_AUTH_X509);
		late[i]->nl.timeout_ms = 10;
	}
	good = ask(HS_CLIENT, HS_AUTH_X509);
	good->nl.timeout_ms = 10;
	refused = ask(HS_CLIENT, HS_AUTH_X509);
	refused->nl.refusal = "it is a test";
	refused->expect = HS_UNSUPPORTED;
	accept_all();
	answer(good, HS_TIMEOUT, false);	/* the worker's own deadline */
	w->pool.full = true;
	waiting = ask(HS_CLIENT, HS_AUTH_X509);
	waiting->nl.timeout_ms = 10;
	accept_all();
	g_assert_cmpuint(w->pool.n_overdue, ==, 0);
	wait_for(late[0]);
	wait_for(late[1]);
	wait_for(waiting);
	g_assert_cmpuint(w->pool.n_overdue, ==, 2);
	g_assert_true(late[0]->overdue && late[1]->overdue);
}

/* The pool may end the pair from within: the rest of its jobs are answered for that. */
static void test_overdue_ends_pair(struct world *w, gconstpointer unused)
{
	struct asked *late, *others[20];
	unsigned int n = 0;

	w->pool.kill_overdue = true;
	for (unsigned int i = 0; i < 20; i++)
		others[i] = ask_and_accept();
	late = ask(HS_CLIENT, HS_AUTH_X509);
	late->nl.timeout_ms = 10;
	accept_all();
	wait_for(late);
	for (unsigned int i = 0; i < 20; i++) {
		g_assert_true(others[i]->answered == (others[i]->pair == late->pair));
		n += others[i]->answered;
	}
	g_assert_cmpuint(n, >, 0);
	g_assert_cmpuint(w->pool.n_overdue, ==, 1);
}

static void test_queue(struct world *w, gconstpointer unused)
{
	struct asked *a[5];

	w->pool.full = true;
	for (unsigned int i = 0; i < 5; i++)
		a[i] = ask_and_accept();
	requests_dispatch(w->table);
	g_assert_cmpuint(requests_count(w->table), ==, 5);
	w->pool.full = false;
	requests_dispatch(w->table);
	for (unsigned int i = 0; i < 5; i++) {
		g_assert_cmpuint(a[i]->id & 0xffff, ==, i);	/* each in the slot it was accepted to */
		answer(a[i], HS_OK, false);
	}
	w->pool.refuse = -EINVAL;
	g_assert_true(ask_and_accept()->answered);
}

static void test_pair_death(struct world *w, gconstpointer unused)
{
	struct asked *a[20];
	struct pair *victim;

	for (unsigned int i = 0; i < 20; i++)
		a[i] = ask_and_accept();
	victim = a[0]->pair;
	pair_kill(victim);
	for (unsigned int i = 0; i < 20; i++)
		g_assert_true(a[i]->answered == (a[i]->pair == victim));
	check_world();
	/* The last one goes while a job is on its way to it. */
	pair_new();
	w->pool.kill_other = true;
	ask_and_accept();
	check_world();
}

/* One line, however many there are: a kernel that only fails must not fill the log. */
static void test_accept_errors(struct world *w, gconstpointer unused)
{
	static const int errors[] = { -EMFILE, -EACCES, -ENOKEY, -EKEYEXPIRED, -ENOBUFS };
	struct asked *a = ask(HS_CLIENT, HS_AUTH_X509);

	for (size_t i = 0; i < G_N_ELEMENTS(errors); i++)
		g_queue_push_tail(w->nl.accept_errors, GINT_TO_POINTER(errors[i]));
	accept_all();
	g_assert_true(a->accepted);
	g_assert_cmpuint(w->n_other_lines, ==, 1);
	g_assert_nonnull(strstr(w->last_line, ": 5;"));
	g_assert_nonnull(strstr(w->last_line, strerror(ENOBUFS)));
	a = ask(HS_CLIENT, HS_AUTH_X509);
	g_queue_push_tail(w->nl.accept_errors, GINT_TO_POINTER(-EPERM));
	g_assert_cmpint(requests_accept(w->table), ==, -EPERM);
	g_assert_false(a->accepted);
	g_assert_cmpuint(w->n_other_lines, ==, 1);
	accept_all();
	g_assert_true(a->accepted);
}

/* Some kernels keep that request, behind the others, and say so again each second. */
static void test_accept_no_quota(struct world *w, gconstpointer unused)
{
	struct asked *a = ask(HS_CLIENT, HS_AUTH_X509);

	for (unsigned int i = 0; i < 3; i++)
		g_queue_push_tail(w->nl.accept_errors, GINT_TO_POINTER(-EDQUOT));
	accept_all();
	g_assert_true(a->accepted);
	g_assert_cmpuint(w->n_other_lines, ==, 1);
	g_assert_nonnull(strstr(w->last_line, "root_maxbytes"));
	g_queue_push_tail(w->nl.accept_errors, GINT_TO_POINTER(-EDQUOT));
	accept_all();
	g_assert_cmpuint(w->n_other_lines, ==, 1);
}

/* The kernel queues no more than 50: more faults than that in a row are not about requests. */
static void test_accept_faults_only(struct world *w, gconstpointer unused)
{
	struct asked *a = ask(HS_CLIENT, HS_AUTH_X509);

	for (unsigned int i = 0; i < 100; i++)
		g_queue_push_tail(w->nl.accept_errors, GINT_TO_POINTER(-EMFILE));
	accept_all();
	g_assert_cmpuint(w->nl.n_accept_calls, >=, 50);
	g_assert_cmpuint(w->nl.n_accept_calls, <, 100);
	g_assert_cmpuint(w->n_other_lines, ==, 1);
	g_assert_false(a->accepted);
	/* The next READY goes on. */
	accept_all();
	g_assert_true(a->accepted);
	g_assert_cmpuint(w->n_other_lines, ==, 2);
}

/* Memory first, ACCEPT second: what cannot be answered stays in the kernel's queue. */
static void test_no_memory(struct world *w, gconstpointer unused)
{
	struct asked *a = ask(HS_CLIENT, HS_AUTH_X509), *b = ask(HS_SERVER, HS_AUTH_X509);
	gint64 before = g_get_monotonic_time();

	w->callocs_fail = 2;
	accept_all();
	settle();
	g_assert_cmpuint(w->nl.n_accept_calls, ==, 0);
	g_assert_cmpuint(requests_count(w->table), ==, 0);
	while (!b->accepted)
		g_assert_cmpint(sd_event_run(w->event, 3000000), >, 0);
	g_assert_true(a->accepted);
	g_assert_cmpuint(w->callocs_fail, ==, 0);
	/* Twice 100 ms: no busy loop, and no long wait of a consumer either. */
	g_assert_cmpint(g_get_monotonic_time() - before, >=, 200000);
	g_assert_cmpint(g_get_monotonic_time() - before, <, 1500000);
}

/* The lowest limit of descriptors with which three can be opened, less one. */
static rlim_t limit_for_two(void)
{
	int fd[3];

	for (unsigned int i = 0; i < 3; i++)
		g_assert_no_errno(fd[i] = dup(STDERR_FILENO));
	for (unsigned int i = 0; i < 3; i++)
		close(fd[i]);
	return (rlim_t)fd[2];
}

/*
 * An ACCEPT with no descriptor left would use a request up, and with two its
 * keys might not be found: it is not made.
 */
static void test_no_descriptor(struct world *w, gconstpointer unused)
{
	struct asked *a = ask(HS_CLIENT, HS_AUTH_X509), *b = ask(HS_SERVER, HS_AUTH_X509);
	const rlim_t left[] = { limit_for_two(), 3 };
	struct rlimit was, tiny;

	/* What is short besides does not keep us from saying it. */
	w->callocs_fail = 1;
	accept_all();
	g_assert_cmpuint(w->n_other_lines, ==, 1);
	g_assert_nonnull(strstr(w->last_line, "no memory is left"));
	g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &was));
	tiny = was;
	for (unsigned int i = 0; i < 10; i++) {
		tiny.rlim_cur = left[i / 5];
		g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &tiny));
		accept_all();
	}
	g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &was));
	g_assert_cmpuint(w->nl.n_accept_calls, ==, 0);
	g_assert_cmpuint(w->n_other_lines, ==, 2);
	g_assert_nonnull(strstr(w->last_line, "no descriptor is left"));
	/* It comes back to them by itself. */
	while (!b->accepted)
		g_assert_cmpint(sd_event_run(w->event, 3000000), >, 0);
	g_assert_true(a->accepted);
	g_assert_cmpuint(w->n_other_lines, ==, 2);
}

/* Whichever allocation fails: a request stays in the kernel's queue or gets its one answer. */
static void test_each_allocation(struct world *w, gconstpointer unused)
{
	bool failed = true;
	unsigned long n;

	for (n = 1; failed; n++) {
		struct asked *a = ask(HS_CLIENT, HS_AUTH_X509);

		fail_malloc_begin(n, FAIL_FROM);
		accept_all();
		failed = fail_malloc_end();
		g_assert_true(failed || a->accepted);
		while (!a->accepted)
			g_assert_cmpint(sd_event_run(w->event, 3000000), >, 0);
		if (live(a)) {
			/* From here on nothing is needed but the kernel's ear. */
			fail_malloc_begin(1, FAIL_FROM);
			answer(a, HS_OK, true);
			fail_malloc_end();
			g_assert_cmpuint(fail_malloc_calls(), ==, 0);
		}
		check_world();
	}
	g_test_message("%lu allocations failed, each in turn", n - 2);
	g_assert_cmpuint(n, >, 2);
}

static void test_done_errors(struct world *w, gconstpointer unused)
{
	static const int transient[] = { -ENOBUFS, -ENOMEM, -EINTR };
	struct asked *a, *b;

	for (size_t i = 0; i < G_N_ELEMENTS(transient); i++) {
		a = ask_and_accept();
		w->nl.done_error = transient[i];
		w->nl.done_faults = 3;
		answer(a, HS_OK, true);
	}
	g_assert_cmpuint(w->n_other_lines, ==, 0);
	/* Memory stays short: the answers are tried until they are taken, and it is said once. */
	w->nl.done_error = -ENOBUFS;
	w->nl.done_faults = 42;
	a = ask_and_accept();
	b = ask_and_accept();
	answer(a, HS_OK, true);
	answer(b, HS_CERT_NAME, false);
	pair_kill(any_pair());
	g_assert_cmpuint(a->n_done + b->n_done, ==, 0);
	g_assert_cmpuint(requests_count(w->table), ==, 2);
	while (requests_count(w->table))
		g_assert_cmpint(sd_event_run(w->event, 3000000), >, 0);
	g_assert_cmpuint(w->nl.done_faults, ==, 0);
	g_assert_cmpuint(w->n_other_lines, ==, 1);
	check_world();
	/* The daemon stops meanwhile: one more try, and the request is gone all the same. */
	a = ask_and_accept();
	w->nl.done_faults = 4;
	answer(a, HS_OK, true);
	g_assert_cmpuint(a->n_done, ==, 0);
	requests_shutdown(w->table);
	g_assert_cmpuint(a->n_done, ==, 1);
	check_world();
	a = ask_and_accept();
	w->nl.done_faults = 1000;
	answer(a, HS_OK, true);
	w->n_other_lines = 0;
	requests_shutdown(w->table);
	g_assert_cmpuint(a->n_done, ==, 0);
	g_assert_cmpuint(w->n_other_lines, ==, 1);
	a->n_done = 1;
	check_world();
	/* Another error is final. */
	w->nl.done_error = -EBUSY;
	w->nl.n_done_calls = 0;
	a = ask_and_accept();
	answer(a, HS_OK, true);
	g_assert_cmpuint(w->nl.n_done_calls, ==, 1);
	g_assert_cmpuint(w->n_other_lines, ==, 2);
	a->n_done = 1;
	w->nl.done_faults = 0;
	check_world();
}

static void test_keyring(struct world *w, gconstpointer unused)
{
	struct asked *a[4];

	for (unsigned int i = 0; i < 3; i++)
		a[i] = ask(i ? HS_CLIENT : HS_SERVER, i < 2 ? HS_AUTH_X509 : HS_AUTH_PSK);
	a[3] = ask(HS_CLIENT, HS_AUTH_UNAUTH);
	accept_all();
	answer(a[2], HS_TIMEOUT, false);
	wait_told(a[2]);
	answer(a[0], HS_OK, true);
	g_assert_cmpuint(w->n_drops, ==, 0);
	answer(a[1], HS_OK, true);	/* the last that may have linked one */
	g_assert_cmpuint(w->n_drops, ==, 1);
	answer(a[3], HS_OK, true);
	g_assert_cmpuint(w->n_drops, ==, 1);
}

static void test_delay_done(struct world *w, gconstpointer unused)
{
	struct asked *good = ask_and_accept(), *bad = ask_and_accept(), *stopped = ask_and_accept();
	gint64 before;

	set_limits(100, 1);
	settle();
	before = g_get_monotonic_time();
	answer(good, HS_OK, true);
	answer(bad, HS_CERT_NAME, false);
	g_assert_false(good->answered || bad->answered);
	/* The worker is through with it: told at once, and not to stop. */
	g_assert_cmpuint(good->n_forgotten, ==, 1);
	g_assert_cmpuint(good->n_cancelled, ==, 0);
	g_assert_cmpint(answer_as(good->pair, good->id, HS_INTERNAL, false), ==, POOL_LATE);
	pair_kill(good->pair);
	g_assert_false(good->answered);
	wait_for(good);
	wait_for(bad);
	g_assert_cmpint(g_get_monotonic_time() - before, >=, 1000000);
	if (!stopped->answered)	/* by the death of the pair */
		answer(stopped, HS_CLOSED, false);
	check_world();
}

/* The handshake is over and the kernel has the keys: "the daemon stops" would be a lie. */
static void test_delay_done_shutdown(struct world *w, gconstpointer unused)
{
	struct asked *good = ask_and_accept(), *bad = ask_and_accept(), *open = ask_and_accept();

	set_limits(100, 3600);
	answer(good, HS_OK, true);
	answer(bad, HS_CERT_NAME, false);
	settle();
	g_assert_false(good->answered || bad->answered);
	open->expect = HS_SHUTDOWN;
	requests_shutdown(w->table);
	g_assert_true(good->answered && bad->answered && open->answered);
	g_assert_cmpuint(good->n_cancelled + bad->n_cancelled, ==, 0);
	g_assert_cmpuint(open->n_cancelled, ==, 1);
	g_assert_cmpuint(w->pool.n_overdue, ==, 0);
	/* Nothing is left of the timers. */
	settle();
}

/* The worker has answered: no deadline of its request is anybody's fault any more. */
static void test_delay_done_beyond_deadline(struct world *w, gconstpointer unused)
{
	struct asked *a = ask(HS_CLIENT, HS_AUTH_X509);

	a->nl.timeout_ms = 100;
	set_limits(100, 1);
	accept_all();
	answer(a, HS_OK, true);
	wait_for(a);
	g_assert_cmpuint(w->pool.n_overdue, ==, 0);
}

#define ADD(name, fn) \
	g_test_add("/request/" name, struct world, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("remote-auth", test_remote_auth);
	ADD("late-results", test_late_results);
	ADD("refusals", test_refusals);
	ADD("timeouts", test_timeouts);
	ADD("deadline", test_deadline);
	ADD("deadline/in-queue", test_deadline_in_queue);
	ADD("deadline/late-turn", test_deadline_late_turn);
	ADD("overdue", test_overdue);
	ADD("overdue/ends-pair", test_overdue_ends_pair);
	ADD("queue", test_queue);
	ADD("pair-death", test_pair_death);
	ADD("accept-errors", test_accept_errors);
	ADD("accept-errors/only", test_accept_faults_only);
	ADD("accept-errors/no-quota", test_accept_no_quota);
	ADD("no-memory", test_no_memory);
	ADD("no-descriptor", test_no_descriptor);
	ADD("each-allocation", test_each_allocation);
	ADD("done-errors", test_done_errors);
	ADD("keyring", test_keyring);
	ADD("delay-done", test_delay_done);
	ADD("delay-done/shutdown", test_delay_done_shutdown);
	ADD("delay-done/beyond-deadline", test_delay_done_beyond_deadline);
	return g_test_run();
}
