// SPDX-License-Identifier: GPL-2.0-or-later
/* The request table, everything at once: random events, and check_world() after each. */
#include <errno.h>
#include <string.h>

#include "request-world.h"

static unsigned int below(unsigned int end)
{
	return (unsigned int)g_rand_int_range(world->rng, 0, (gint32)end);
}

static struct asked *any_asked(bool alive)
{
	for (unsigned int i = 0; world->all->len && i < 30; i++) {
		struct asked *a = nth(below(world->all->len));

		if (a->n_dispatched && live(a) == alive)
			return a;
	}
	return NULL;
}

static void random_asks(bool short_timeouts)
{
	for (unsigned int n = 1 + below(6); n; n--) {
		enum hs_auth auth = below(8) ? HS_AUTH_X509 : below(HS_N_AUTHS);
		struct asked *a = ask(below(HS_N_ROLES), auth);

		if (below(20) == 0)
			a->nl.refusal = "it is a test";
		if (a->nl.auth == HS_AUTH_X509 && below(3) == 0)
			a->nl.certificate = a->nl.private_key = 17;
		if (below(4) == 0)
			a->give = WIRE_REFUSED;
		if (a->nl.refusal)
			a->expect = HS_UNSUPPORTED;
		else if (short_timeouts && below(4) == 0)
			a->nl.timeout_ms = 1 + below(30);
		a->nl.keyring = (int32_t)below(3);
	}
	accept_all();
}

static void random_result(void)
{
	struct asked *a = any_asked(true);

	if (a)
		answer(a, below(2) ? HS_OK : below(HS_N_OUTCOMES), below(2));
}

/* A worker may ask once, and its keeper say something once; else it may not. */
static void random_keys(void)
{
	struct asked *a = any_asked(true);

	if (a && below(2))
		ask_keys(a);
	else if (a)
		keeper_says(a, below(3));
}

static void random_wrong_result(void)
{
	struct asked *a = any_asked(below(2)), *other = any_asked(true);
	struct pair *pair = any_pair();

	if (a && pair && (!live(a) || a->pair != pair))
		answer_as(pair, a->id, HS_OK, true);
	if (other && pair)
		answer_as(pair, other->id + ((uint64_t)1 + below(9)) * 0x10000, HS_OK, true);
}

static void random_pool_event(void)
{
	switch (below(8)) {
	case 6:
		if (below(2))
			world->pool.full_for_keys = true;
		else
			there_is_room();
		break;
	case 7:
		world->pool.kill_told = below(2);
		break;
	case 0:
		if (any_pair())
			pair_kill(any_pair());
		break;
	case 1:
		world->pool.kill_other = true;
		break;
	case 2:
		world->pool.refuse = -EINVAL;
		break;
	case 3:
		world->pool.full = true;
		break;
	case 4:
		world->pool.kill_overdue = below(2);
		break;
	default:
		world->pool.full = false;
		while (world->pool.pairs->len < 3)
			pair_new();
		requests_dispatch(world->table);
	}
}

static void random_kernel_event(void)
{
	switch (below(4)) {
	case 0:
		g_queue_push_tail(world->nl.accept_errors, GINT_TO_POINTER(-EMFILE));
		break;
	case 1:
		world->nl.done_error = -ENOBUFS;
		world->nl.done_faults = 1 + below(3);
		break;
	case 2:
		world->callocs_fail = 1;
		random_asks(false);
		break;
	default:
		set_limits(below(3) ? 1 + below(40) : 0, 0);
		accept_all();
	}
}

static void random_event(bool short_timeouts)
{
	gint64 before;

	switch (below(15)) {
	case 0 ... 3:
		random_asks(short_timeouts);
		break;
	case 4 ... 6:
		random_result();
		break;
	case 7:
		random_wrong_result();
		break;
	case 8:
		random_pool_event();
		break;
	case 9:
		random_kernel_event();
		break;
	case 10 ... 12:
		random_keys();
		break;
	default:
		before = g_get_monotonic_time();
		settle();
		/* What waits in the kernel waits for memory. */
		if (!g_queue_is_empty(world->nl.queued) && before > world->starved + 100000)
			g_assert_not_reached();
	}
}

/* All that can be served is, and then nothing waits anywhere. */
static void finish_all(void)
{
	world->pool.full = false;
	while (world->pool.pairs->len < 2)
		pair_new();
	world->callocs_fail = 0;
	set_limits(1000, 0);
	accept_all();
	requests_dispatch(world->table);
	for (unsigned int i = 0; i < world->all->len; i++) {
		if (live(nth(i)) && (nth(i)->nl.timeout_ms == 0 || nth(i)->nl.timeout_ms > 1000))
			answer(nth(i), HS_OK, true);
		else if (live(nth(i)))
			wait_for(nth(i));
	}
	for (unsigned int i = 0; i < world->all->len; i++)
		wait_told(nth(i));
	g_assert_cmpuint(requests_count(world->table), ==, 0);
	g_assert_true(g_queue_is_empty(world->nl.queued));
}

static void test_random(struct world *w, gconstpointer short_timeouts)
{
	unsigned int n_sequences = short_timeouts ? 8 : 60;

	for (unsigned int i = 0; i < n_sequences; i++) {
		if (i)
			set_up(w, NULL);
		g_rand_set_seed(w->rng, SEED + i);
		g_test_message("seed %u", SEED + i);
		for (unsigned int n = 50 + below(200); n; n--) {
			random_event(short_timeouts);
			check_world();
		}
		if (below(3))
			finish_all();
		if (i + 1 < n_sequences) {
			tear_down(w, NULL);
			memset(w, 0, sizeof(*w));
		}
	}
}

#define ADD(name, data, fn) \
	g_test_add("/request/" name, struct world, data, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("random", NULL, test_random);
	ADD("random/deadlines", GINT_TO_POINTER(1), test_random);
	return g_test_run();
}
