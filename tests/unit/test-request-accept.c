// SPDX-License-Identifier: GPL-2.0-or-later
/* The request table: what it takes of the kernel's queue, and under which numbers. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "request-world.h"

#define SLOT_BITS 16
#define SLOT_MASK ((1u << SLOT_BITS) - 1)
#define N_IDS 256

static unsigned int n_getrandom, getrandom_fails;

ssize_t __real_getrandom(void *buf, size_t size, unsigned int flags);
ssize_t __wrap_getrandom(void *buf, size_t size, unsigned int flags);
ssize_t __wrap_getrandom(void *buf, size_t size, unsigned int flags)
{
	/* It must not wait: there is one thread. */
	g_assert_cmphex(flags, ==, GRND_NONBLOCK);
	n_getrandom++;
	if (!getrandom_fails)
		return __real_getrandom(buf, size, flags);
	getrandom_fails--;
	errno = EAGAIN;
	return -1;
}

/* A worker that knows some of them cannot tell the next: it could have signed for it ahead. */
static void test_ids(struct world *w, gconstpointer unused)
{
	g_autoptr(GHashTable) numbers = g_hash_table_new(NULL, NULL);
	g_autoptr(GHashTable) steps = g_hash_table_new(NULL, NULL);
	uint64_t last = 0, ones = 0, zeroes = 0;

	for (unsigned int i = 0; i < N_IDS; i++) {
		struct asked *a = ask_and_accept();
		uint64_t number = a->id >> SLOT_BITS;

		/* The slot is told as ever: the next free one. */
		g_assert_cmpuint(a->id & SLOT_MASK, ==, (i + 1) / 2);
		g_assert_true(g_hash_table_add(numbers, GSIZE_TO_POINTER(number)));
		g_assert_true(g_hash_table_add(steps, GSIZE_TO_POINTER(number - last)));
		last = number;
		ones |= number;
		zeroes |= ~number;
		if (i % 2) {
			answer(nth(i - 1), HS_OK, true);
			answer(a, HS_OK, true);
		}
	}
	/* Each of the 48 bits is now this, now that: one in 2^207 times this fails by chance. */
	g_assert_cmphex(ones, ==, UINT64_MAX >> SLOT_BITS);
	g_assert_cmphex(zeroes << SLOT_BITS, ==, UINT64_MAX << SLOT_BITS);
	g_assert_cmpuint(n_getrandom, >=, N_IDS);
	check_world();
}

/* Without a number nothing is taken; it is tried again. */
static void test_no_number(struct world *w, gconstpointer unused)
{
	struct asked *a = ask(HS_CLIENT, HS_AUTH_X509);

	getrandom_fails = 2;
	accept_all();
	g_assert_cmpuint(w->nl.n_accept_calls, ==, 0);
	while (!a->accepted)
		g_assert_cmpint(sd_event_run(w->event, 3000000), >, 0);
	g_assert_cmpuint(getrandom_fails, ==, 0);
	answer(a, HS_OK, true);
	check_world();
}

/* --- requests for whose keyring there is no quota --- */

/* As our module for Linux 6.1: they are put behind the others, and the others can be reached. */
static void queue_round(struct world *w, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		g_queue_push_tail(w->nl.accept_errors, GINT_TO_POINTER(-EDQUOT));
}

/* Runs the event loop for @usec. */
static void run_for(struct world *w, gint64 usec)
{
	gint64 end = g_get_monotonic_time() + usec, left;

	while ((left = end - g_get_monotonic_time()) > 0)
		g_assert_cmpint(sd_event_run(w->event, (uint64_t)left), >=, 0);
}

/* Nothing but those: each notification of the kernel must not have us try all of them again. */
static void test_only_without_quota(struct world *w, gconstpointer unused)
{
	unsigned int n;

	queue_round(w, 100000);
	for (unsigned int i = 0; i < 100; i++)
		accept_all();
	g_test_message("ACCEPTs for 100 notifications: %u", w->nl.n_accept_calls);
	g_assert_cmpuint(w->nl.n_accept_calls, ==, 100 * 4);
	g_assert_cmpuint(w->n_other_lines, ==, 1);
	n = w->nl.n_accept_calls;
	run_for(w, 1100000);
	n = w->nl.n_accept_calls - n;
	g_test_message("and in 1.1 s without: %u", n);
	g_assert_cmpuint(n, >=, 4);
	g_assert_cmpuint(n, <=, 12 * 4);
}

/* Another behind one of them is reached at once, and behind a full queue of them soon. */
static void test_behind_those_without_quota(struct world *w, gconstpointer unused)
{
	struct asked *a = ask(HS_CLIENT, HS_AUTH_X509), *b;
	gint64 begin;

	queue_round(w, 1);
	accept_all();
	g_assert_true(a->accepted);
	b = ask(HS_CLIENT, HS_AUTH_X509);
	queue_round(w, 50);
	begin = g_get_monotonic_time();
	accept_all();
	while (!b->accepted)
		g_assert_cmpint(sd_event_run(w->event, 3000000), >, 0);
	g_test_message("the second after %" G_GINT64_FORMAT " ms",
		       (g_get_monotonic_time() - begin) / 1000);
	g_assert_cmpint(g_get_monotonic_time() - begin, <, 10 * G_USEC_PER_SEC);
	/* Without them nothing waits. */
	run_for(w, 300000);
	for (unsigned int i = 0; i < 100; i++)
		g_assert_true(ask_and_accept()->accepted);
}

#define ADD(name, fn) \
	g_test_add("/request-accept/" name, struct world, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("ids", test_ids);
	ADD("no-number", test_no_number);
	ADD("no-quota", test_only_without_quota);
	ADD("no-quota/others", test_behind_those_without_quota);
	return g_test_run();
}
