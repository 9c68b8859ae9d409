// SPDX-License-Identifier: GPL-2.0-or-later
/* The request table: what is refused, what is left in the kernel, what is told later. */
#include <limits.h>
#include <string.h>

#include "request-world.h"

/* Beyond a limit the consumer is told to try again, later; those in flight go on. */
static void test_limit(struct world *w, gconstpointer unused)
{
	struct asked *a[4];

	set_limits(2, 0);
	for (unsigned int i = 0; i < 4; i++)
		a[i] = ask(HS_CLIENT, i % 2 ? HS_AUTH_UNAUTH : HS_AUTH_X509);
	accept_all();
	g_assert_false(a[0]->answered || a[1]->answered);
	g_assert_true(a[2]->refused && a[3]->refused);
	g_assert_cmpuint(requests_count(w->table), ==, 4);
	g_assert_cmpuint(a[2]->n_dispatched + a[3]->n_dispatched, ==, 0);
	/* One line for all of them. */
	g_assert_cmpuint(w->n_other_lines, ==, 1);
	g_assert_nonnull(strstr(w->last_line, "max_handshakes allows"));
	/* Those who are refused are in nobody's way, even before they are told. */
	answer(a[0], HS_OK, true);
	g_assert_false(ask_and_accept()->refused);
	g_assert_true(ask_and_accept()->refused);
	wait_told(a[3]);
	/* A failure of which the kernel is still to be told is in nobody's way either. */
	answer(a[1], HS_CERT_NAME, false);
	g_assert_false(ask_and_accept()->refused);
	/* Lowered: who is in may stay. */
	set_limits(1, 0);
	g_assert_true(ask_and_accept()->refused);
	set_limits(3, 0);
	g_assert_false(ask_and_accept()->refused);
	g_assert_true(ask_and_accept()->refused);
	g_assert_cmpuint(w->n_other_lines, ==, 1);
}

/* What waits for delay_done is still in flight: its consumer waits, and may wait for an hour. */
static void test_limit_delayed(struct world *w, gconstpointer unused)
{
	struct asked *a = ask_and_accept();

	set_limits(1, 1);
	answer(a, HS_OK, true);
	g_assert_true(ask_and_accept()->refused);
	wait_for(a);
	g_assert_false(ask_and_accept()->refused);
}

/* All of the test's sockets have the same peer; test-limits.c has others. */
static void test_limit_per_peer(struct world *w, gconstpointer unused)
{
	w->max = 2;
	requests_set_limits(w->table, &(struct requests_limits){
		.max = 1000, .max_per_peer = 2, .room = 2000 });
	for (unsigned int i = 0; i < 4; i++)
		g_assert_cmpint(ask_and_accept()->refused, ==, i >= 2);
	g_assert_cmpuint(w->n_other_lines, ==, 1);
	g_assert_nonnull(strstr(w->last_line, "max_handshakes_per_peer allows"));
}

/* A successor may answer what comes from now on. */
static void test_close(struct world *w, gconstpointer unused)
{
	struct asked *a = ask_and_accept(), *b;

	requests_close(w->table);
	b = ask(HS_CLIENT, HS_AUTH_X509);
	accept_all();
	answer(a, HS_CERT_NAME, false);
	settle();
	wait_told(a);
	g_assert_false(b->accepted);
}

/* The kernel says READY once for each request: what had no room is asked for when there is some. */
static void test_no_room(struct world *w, gconstpointer unused)
{
	struct requests_limits limits = { .max = 1000, .max_per_peer = 1000, .room = 20 };
	struct asked *last, *more;

	requests_set_limits(w->table, &limits);
	for (unsigned int i = 0; i < 20; i++)
		ask(HS_CLIENT, HS_AUTH_UNAUTH);
	last = ask(HS_CLIENT, HS_AUTH_UNAUTH);
	more = ask(HS_CLIENT, HS_AUTH_UNAUTH);
	accept_all();
	settle();
	g_assert_cmpuint(requests_count(w->table), ==, 20);
	g_assert_false(last->accepted);
	answer(nth(0), HS_OK, false);
	settle();
	g_assert_true(last->accepted);
	/* One that has failed has its place until that is told. */
	answer(nth(1), HS_CERT_NAME, false);
	settle();
	g_assert_false(more->accepted);
	wait_told(nth(1));
	settle();
	g_assert_true(more->accepted);
	more = ask(HS_CLIENT, HS_AUTH_UNAUTH);
	accept_all();
	g_assert_false(more->accepted);
	limits.room = 21;
	requests_set_limits(w->table, &limits);
	settle();
	g_assert_true(more->accepted);
}

/* Consumers that ask as fast as they are answered are in nobody's way. */
static void test_turns(struct world *w, gconstpointer unused)
{
	struct asked *a = ask_and_accept(), *last;

	for (unsigned int i = 0; i < 200; i++)
		last = ask(HS_CLIENT, HS_AUTH_UNAUTH);
	accept_all();
	g_assert_false(last->accepted);
	/* What else there is has its turn before more are taken, however often the kernel tells of them. */
	for (unsigned int i = 0; i < 10; i++)
		accept_all();
	g_assert_false(last->accepted);
	answer(a, HS_OK, true);
	settle();
	g_assert_true(last->accepted);
}

/* A failure that comes at once: the kernel may not have its own reference on the socket yet. */
static void test_failure_at_once(struct world *w, gconstpointer unused)
{
	struct asked *early = ask_and_accept(), *late = ask_and_accept(), *good = ask_and_accept();

	answer(early, HS_CERT_NAME, false);
	/* The line is there, and the worker has heard. */
	g_assert_true(early->answered);
	g_assert_cmpuint(early->n_forgotten, ==, 1);
	g_assert_cmpuint(early->n_done, ==, 0);
	answer(good, HS_OK, true);
	g_assert_cmpuint(good->n_done, ==, 1);
	settle();
	g_assert_cmpuint(early->n_done, ==, 0);
	/* Not sooner, as netlink_done() of this test checks, but then. */
	wait_told(early);
	g_assert_cmpint(g_get_monotonic_time() - (gint64)early->since, <, 1500000);
	g_usleep(50000);
	settle();
	answer(late, HS_CERT_NAME, false);
	g_assert_cmpuint(late->n_done, ==, 1);
	g_assert_cmpuint(w->n_other_lines, ==, 0);
}

#define ADD(name, fn) \
	g_test_add("/request/" name, struct world, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("limit", test_limit);
	ADD("limit/delayed", test_limit_delayed);
	ADD("limit/per-peer", test_limit_per_peer);
	ADD("close", test_close);
	ADD("no-room", test_no_room);
	ADD("turns", test_turns);
	ADD("failure-at-once", test_failure_at_once);
	return g_test_run();
}
