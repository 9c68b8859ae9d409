// SPDX-License-Identifier: GPL-2.0-or-later
/* Bytes that no honest peer sends, in clear and encrypted: each is refused, says why, and is cheap. */
#include <malloc.h>

#include "hostile-world.h"

#define COST_LIMIT 15.0	/* ordinary mutual handshakes; without a limit of records it is 165 */
#define HEAP_LIMIT (4 << 20)	/* bytes more than before, with the session still there */

static gint64 usual[HS_N_ROLES];

static void attack(const struct attack *t, enum hs_role ours)
{
	size_t before = mallinfo2().uordblks, grown;
	struct hostile h;
	struct flight f;

	hostile_open(&h, ours, NULL);
	f = hostile_flight(&h);
	if (t->encrypted)
		hostile_greet(&h);
	else if (ours == HS_CLIENT)
		flight_wait(&f, FP_CLIENT_HELLO);
	t->attack(&f);
	hostile_settle(&h);
	g_assert_cmpint(h.pair.status[ours], ==, SESSION_ENDED);
	grown = mallinfo2().uordblks - before;
	g_test_message("%s: %s: %s; alert %d; %zu KiB of heap, limit %d", hs_role_name(ours),
		       hs_outcome_name(h.pair.result[ours].outcome), h.pair.result[ours].reason,
		       h.peer.alert, grown >> 10, HEAP_LIMIT >> 10);
	hostile_at_most(t->name, h.spent, ours, usual[ours], COST_LIMIT);
	assert_outcome(&h.pair, ours, t->outcome);
	assert_reason(&h.pair, ours, t->reason);
	if (t->outcome != HS_OK)
		assert_no_keys(&h.pair, ours);
	if (t->alert >= 0)
		g_assert_cmpint(h.peer.alert, ==, t->alert);
	g_assert_cmpuint(grown, <, HEAP_LIMIT);
	hostile_close(&h);
}

static void test_attack(gconstpointer data)
{
	const struct attack *t = data;

	for (unsigned int ours = t->first; ours <= t->last; ours++)
		attack(t, ours);
}

int main(int argc, char **argv)
{
	char path[128];
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (unsigned int i = 0; i < HS_N_ROLES; i++)
		usual[i] = hostile_usual(i);
	for (size_t i = 0; i < hostile_n_attacks; i++) {
		g_snprintf(path, sizeof(path), "/hostile-flight/%s", hostile_attacks[i].name);
		g_test_add_data_func(path, &hostile_attacks[i], test_attack);
	}
	r = g_test_run();
	pair_pki_free();
	return r;
}
