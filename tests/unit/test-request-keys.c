// SPDX-License-Identifier: GPL-2.0-or-later
/* Handshakes that ask for their keys. */
#include <errno.h>
#include <string.h>

#include "request-world.h"

static struct asked *asked_with_serials(void)
{
	struct asked *a = ask(HS_CLIENT, HS_AUTH_X509);

	a->nl.certificate = 17;
	a->nl.private_key = 18;
	accept_all();
	g_assert_cmpuint(a->n_dispatched, ==, 1);
	return a;
}

static struct asked *asked_with_psk(enum hs_role role)
{
	struct asked *a = ask(role, HS_AUTH_PSK);

	accept_all();
	g_assert_cmpuint(a->n_dispatched, ==, 1);
	return a;
}

static void test_psk(struct world *w, gconstpointer unused)
{
	for (unsigned int role = 0; role < HS_N_ROLES; role++) {
		struct asked *a = asked_with_psk(role);

		g_assert_true(ask_keys(a));
		g_assert_cmpuint(a->n_told[WIRE_PSK], ==, 1);
		g_assert_false(ask_keys(a));	/* once */
		g_assert_false(keeper_says(a, true));
		answer(a, HS_OK, false);
		g_assert_true(a->expect_auth);
		g_assert_true(ask_keys(a));	/* late, of no concern */
		g_assert_cmpuint(a->n_read, ==, 1);
		g_assert_cmpuint(a->n_told[WIRE_CANCEL], ==, 0);
	}
}

static void test_psk_refused(struct world *w, gconstpointer unused)
{
	struct asked *a = asked_with_psk(HS_SERVER);

	a->give = WIRE_REFUSED;
	g_assert_true(ask_keys(a));
	g_assert_cmpuint(a->n_told[WIRE_REFUSED], ==, 1);
	answer(a, HS_KEY_EXPIRED, false);
	/* A worker that says OK all the same, or without having asked, has proved nothing by a key. */
	for (unsigned int role = 0; role < HS_N_ROLES; role++) {
		for (unsigned int asks = 0; asks < 2; asks++) {
			a = asked_with_psk(role);
			a->give = WIRE_REFUSED;
			if (asks)
				g_assert_true(ask_keys(a));
			lie(a, true);
			g_assert_cmpint(a->expect, ==, HS_WORKER_DIED);
		}
	}
}

static void test_serials(struct world *w, gconstpointer unused)
{
	struct asked *a = asked_with_serials();

	g_assert_false(keeper_says(a, true));	/* before it was asked */
	g_assert_true(ask_keys(a));
	g_assert_cmpuint(a->n_told[WIRE_KEY], ==, 1);
	g_assert_cmpuint(a->n_told[WIRE_CERTIFICATE], ==, 0);
	g_assert_true(keeper_says(a, true));
	g_assert_cmpuint(a->n_told[WIRE_CERTIFICATE], ==, 1);
	g_assert_false(keeper_says(a, true));
	answer(a, HS_OK, true);
	g_assert_cmpuint(a->n_told[WIRE_CANCEL], ==, 1);

	a = asked_with_serials();
	g_assert_true(ask_keys(a));
	g_assert_true(keeper_says(a, false));
	g_assert_cmpuint(a->n_told[WIRE_REFUSED], ==, 1);
	g_assert_cmpuint(a->n_told[WIRE_CERTIFICATE], ==, 0);
	answer(a, HS_KEY_UNUSABLE, false);
	g_assert_cmpuint(a->n_told[WIRE_CANCEL], ==, 1);

	a = asked_with_serials();
	a->give = WIRE_REFUSED;
	g_assert_true(ask_keys(a));
	g_assert_cmpuint(a->n_told[WIRE_REFUSED], ==, 1);
	answer(a, HS_KEY_EXPIRED, false);
	g_assert_cmpuint(a->n_told[WIRE_CANCEL], ==, 0);
}

/* Another's job, one that needs no keys, an identity where none can be. */
static void test_violations(struct world *w, gconstpointer unused)
{
	struct asked *psk = asked_with_psk(HS_SERVER), *plain = ask_and_accept();
	struct asked *client = asked_with_psk(HS_CLIENT);
	struct wire_message msg = { .type = WIRE_ASK };
	struct pair *other = g_ptr_array_index(w->pool.pairs, 0);

	if (other == psk->pair)
		other = g_ptr_array_index(w->pool.pairs, 1);
	g_assert_false(ask_keys(plain));
	msg.ask.job = psk->id;
	g_assert_cmpint(requests_keys(w->table, psk->pair, &msg), ==, POOL_VIOLATION);	/* no identity */
	strcpy(msg.ask.identity, "x");
	g_assert_cmpint(requests_keys(w->table, other, &msg), ==, POOL_VIOLATION);
	msg.ask.job = client->id;
	g_assert_cmpint(requests_keys(w->table, client->pair, &msg), ==, POOL_VIOLATION);
	g_assert_cmpuint(psk->n_read + plain->n_read + client->n_read, ==, 0);
	msg.ask.job = psk->id + 0x10000;
	/* One that is no more. */
	g_assert_cmpint(requests_keys(w->table, psk->pair, &msg), ==, POOL_LATE);
	g_assert_true(ask_keys(psk) && ask_keys(client));
}

static void test_full(struct world *w, gconstpointer unused)
{
	struct asked *psk = asked_with_psk(HS_SERVER), *own = asked_with_serials();
	struct asked *bad = asked_with_serials();

	w->pool.full_for_keys = true;
	g_assert_true(ask_keys(psk) && ask_keys(own) && ask_keys(bad));
	for (unsigned int i = 0; i < 10; i++)
		requests_dispatch(w->table);
	g_assert_cmpuint(psk->n_told[WIRE_PSK] + own->n_told[WIRE_KEY], ==, 0);
	there_is_room();
	g_assert_cmpuint(psk->n_told[WIRE_PSK] + own->n_told[WIRE_KEY], ==, 2);
	/* Read anew, for it was not kept; but not as long as there is no room. */
	g_assert_cmpuint(psk->n_read, ==, 2);
	w->pool.full_for_keys = true;
	g_assert_true(keeper_says(own, true) && keeper_says(bad, false));
	g_assert_cmpuint(own->n_told[WIRE_CERTIFICATE] + bad->n_told[WIRE_REFUSED], ==, 0);
	there_is_room();
	g_assert_cmpuint(own->n_told[WIRE_CERTIFICATE] + bad->n_told[WIRE_REFUSED], ==, 2);
	answer(psk, HS_OK, false);
	g_assert_true(psk->expect_auth);
	answer(own, HS_OK, false);
	/* One is answered while its keys still wait. */
	psk = asked_with_psk(HS_CLIENT);
	w->pool.full_for_keys = true;
	g_assert_true(ask_keys(psk));
	answer(psk, HS_TIMEOUT, false);
	there_is_room();
	g_assert_cmpuint(psk->n_read, ==, 1);
}

/* The keeper has heard that there is no use for the key before it says that it has it. */
static void test_key_too_late(struct world *w, gconstpointer unused)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct wire_message msg = { .type = WIRE_KEY_LOADED };
		struct asked *a;

		set_limits(1000, i);
		a = asked_with_serials();
		g_assert_true(ask_keys(a));
		answer(a, HS_TIMEOUT, false);
		g_assert_cmpuint(a->n_told[WIRE_CANCEL], ==, 1);
		msg.key_loaded = a->id;
		g_assert_cmpint(requests_keys(w->table, a->pair, &msg), ==, POOL_LATE);
		g_assert_cmpuint(a->n_told[WIRE_CERTIFICATE], ==, 0);
		wait_for(a);
	}
}

/* Its worker gave up before there was room for the keys, and the answer to the kernel waits. */
static void test_full_and_delayed(struct world *w, gconstpointer unused)
{
	struct asked *a;

	set_limits(1000, 1);
	a = asked_with_psk(HS_SERVER);
	w->pool.full_for_keys = true;
	g_assert_true(ask_keys(a));
	answer(a, HS_TIMEOUT, false);
	there_is_room();
	g_assert_cmpuint(a->n_told[WIRE_PSK], ==, 0);
	wait_for(a);
}

/* Whoever is told dies of it, and everything it had is answered from within. */
static void test_death(struct world *w, gconstpointer unused)
{
	for (unsigned int i = 0; i < 4; i++) {
		struct asked *a = i < 2 ? asked_with_psk(i) : asked_with_serials();

		if (i == 3)
			g_assert_true(ask_keys(a));
		w->pool.kill_told = true;
		if (i == 3)
			g_assert_true(keeper_says(a, true));
		else
			g_assert_true(ask_keys(a));
		g_assert_true(a->answered);
		g_assert_cmpint(a->expect, ==, HS_WORKER_DIED);
		pair_new();
	}
	for (unsigned int i = 0; i < 2; i++) {	/* by the last message, after the answer */
		struct asked *a = asked_with_serials();

		give_keys(a);
		w->pool.kill_told = true;
		answer(a, HS_OK, i);
		pair_new();
	}
}

#define ADD(name, fn) g_test_add("/request-keys/" name, struct world, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("psk", test_psk);
	ADD("psk-refused", test_psk_refused);
	ADD("serials", test_serials);
	ADD("violations", test_violations);
	ADD("full", test_full);
	ADD("key-too-late", test_key_too_late);
	ADD("full-and-delayed", test_full_and_delayed);
	ADD("death", test_death);
	return g_test_run();
}
