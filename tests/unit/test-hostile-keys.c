// SPDX-License-Identifier: GPL-2.0-or-later
/* Keys that are dear to check a signature with: what a stranger may spend of our time by them. */
#include "hostile-chains.h"
#include "hostile-world.h"

#define SCHEME_PSS_RSAE 0x0804	/* RFC 8446 4.2.3, with SHA-256 */
#define SCHEME_P256 0x0403
#define RUNS_MAX 40

static gint64 usual[HS_N_ROLES];

static void check_refused(const struct hostile *h, const char *reason)
{
	g_assert_cmpint(h->pair.status[h->ours], ==, SESSION_ENDED);
	g_assert_cmpint(h->pair.result[h->ours].outcome, !=, HS_OK);
	g_assert_cmpint(h->pair.result[h->ours].outcome, !=, HS_INTERNAL);
	assert_reason(&h->pair, h->ours, reason);
	assert_no_keys(&h->pair, h->ours);
	g_assert_false(h->pair.result[h->ours].peer_verified);
}

/*
 * The least of several runs against our end @ours. Where it is above @limit, in ordinary
 * handshakes, both are measured again: the machine may have been busier, or less busy, before.
 */
static gint64 cost_of(enum hs_role ours, const char *chain, unsigned int scheme, size_t size,
		      const char *reason, double limit)
{
	gint64 least = G_MAXINT64;

	for (unsigned int i = 0; i < HOSTILE_RUNS ||
	     (i < RUNS_MAX && (double)least > limit * (double)usual[ours]); i++) {
		struct hostile h;

		if (i >= HOSTILE_RUNS && i % HOSTILE_RUNS == 0) {
			usual[ours] = hostile_usual(ours);
			least = G_MAXINT64;
		}
		hostile_open(&h, ours, NULL);
		hostile_greet(&h);
		hostile_authenticate(&h, chain, NULL, scheme, size);
		hostile_settle(&h);
		if (i == 0)
			g_test_message("%s: %s", hs_outcome_name(h.pair.result[ours].outcome),
				       h.pair.result[ours].reason);
		check_refused(&h, reason);
		if (ours == HS_CLIENT)
			g_assert_true(h.peer.closed || h.peer.alert >= 0);
		least = MIN(least, h.spent);
		hostile_close(&h);
	}
	return least;
}

static void test_dear(gconstpointer data)
{
	const struct dear *t = data;
	g_autofree char *chain = dear_chain(t, hostile_pki());
	size_t size;
	unsigned int scheme = dear_scheme(t, &size);
	gint64 cost;

	for (unsigned int ours = 0; ours < HS_N_ROLES; ours++) {
		cost = cost_of(ours, chain, scheme, size, t->reason, t->limit);
		hostile_at_most(hs_role_name(ours), cost, ours, usual[ours], t->limit);
	}
}

/* Every certificate is signed as it should be: only the sum of what that costs is bounded. */
static void test_certified(void)
{
	static const struct {
		unsigned int n, bits, exponent;
		const char *reason;
		double limit;
	} cases[] = {
		{ 1, 8192, 5, "does not have the key", CERTIFIED_LIMIT },
		{ 2, 8192, 3, "does not have the key", CERTIFIED_LIMIT },
		{ 3, 4096, 3, "does not have the key", CERTIFIED_LIMIT },
		{ 8, 4096, 3, "does not have the key", 2 * CERTIFIED_LIMIT },
		{ 2, 8192, 5, "first 2 certificates", STRANGER_LIMIT },
		{ 10, 8192, 5, "together too long", STRANGER_LIMIT },
		{ 10, 8192, 3, "first 3 certificates", STRANGER_LIMIT },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *chain = good_chain(hostile_pki(), cases[i].n, cases[i].bits,
						    cases[i].exponent);
		g_autofree char *name = g_strdup_printf("%u x RSA-%u, exponent of %u bytes",
							cases[i].n, cases[i].bits,
							cases[i].exponent);
		gint64 cost = cost_of(HS_SERVER, chain, SCHEME_PSS_RSAE, cases[i].bits / 8,
				      cases[i].reason, cases[i].limit);

		hostile_at_most(name, cost, HS_SERVER, usual[HS_SERVER], cases[i].limit);
	}
}

/* The forged peer is as good as any when it wants to be: what is refused above has its reason. */
static void test_honest(void)
{
	for (unsigned int ours = 0; ours < HS_N_ROLES; ours++) {
		const struct pki_cert *cert = ours == HS_CLIENT ? server_cert : client_cert;
		struct hostile h;

		hostile_open(&h, ours, NULL);
		hostile_greet(&h);
		hostile_authenticate(&h, cert->pem, cert->key, SCHEME_P256, 0);
		g_assert_true(hostile_settle(&h));
		assert_outcome(&h.pair, ours, HS_OK);
		g_assert_true(h.pair.result[ours].peer_verified);
		hostile_close(&h);

		/* The chain is good, the signature is not: not verified. */
		hostile_open(&h, ours, NULL);
		hostile_greet(&h);
		hostile_authenticate(&h, cert->pem, other_ca->key, SCHEME_P256, 0);
		g_assert_true(hostile_settle(&h));
		assert_outcome(&h.pair, ours, HS_PROTOCOL);
		check_refused(&h, "does not have the key of the certificate");
		hostile_close(&h);
	}
}

int main(int argc, char **argv)
{
	char path[128];
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (unsigned int i = 0; i < HS_N_ROLES; i++)
		usual[i] = hostile_usual(i);
	g_test_add_func("/hostile-keys/honest", test_honest);
	for (size_t i = 0; i < dear_n_chains; i++) {
		g_snprintf(path, sizeof(path), "/hostile-keys/dear/%s", dear_chains[i].name);
		g_test_add_data_func(path, &dear_chains[i], test_dear);
	}
	g_test_add_func("/hostile-keys/certified", test_certified);
	r = g_test_run();
	pair_pki_free();
	return r;
}
