// SPDX-License-Identifier: GPL-2.0-or-later
/* Keys that are dear to check a signature with: what a stranger may spend of our time by them. */
#include "forge-der.h"
#include "forge-key.h"
#include "hostile-world.h"

#define SCHEME_PSS_RSAE 0x0804	/* RFC 8446 4.2.3, all with SHA-256 */
#define SCHEME_PSS_PSS 0x0809
#define SCHEME_P256 0x0403
#define CHAIN_MAX 10
#define RUNS_MAX 40
/*
 * A stranger, whom no certificate that we trust has certified, may cost as much as an ordinary
 * mutual handshake; who is certified a little more.
 */
#define STRANGER_LIMIT 1.0
#define ALLOWED_LIMIT 2.0	/* as above, and not refused before it is looked at */
#define CERTIFIED_LIMIT 5.0
#define NAMESAKE_LIMIT 2.5	/* a check by a key of the store cannot be avoided */
#define BRAINPOOL_512 "\x2b\x24\x03\x03\x02\x08\x01\x01\x0d"

static gint64 usual[HS_N_ROLES];

enum key_kind { RSA, RSA_PSS, DSA, EXPLICIT, BRAINPOOL };

/* Who has signed the certificate: ours, another, another in the name of ours. */
enum certified { OURS, OTHER, NAMESAKE };

struct dear {
	const char *name;
	enum key_kind kind;
	unsigned int bits, exponent;	/* exponent: bytes */
	bool issuer;		/* the key of an intermediate authority, not the peer's own */
	enum certified by;
	const char *reason;
	double limit;
};

#define ABOVE "a key above the limit (modulus of 8192 bits, exponent of 5 bytes)"
static const struct dear dear[] = {
	{ "rsa-16384", RSA, 16384, 2048, false, OURS, ABOVE, STRANGER_LIMIT },
	{ "rsa-pss-16384", RSA_PSS, 16384, 2048, false, OURS, ABOVE, STRANGER_LIMIT },
	{ "rsa-16384-issuer", RSA, 16384, 2048, true, OURS, ABOVE, STRANGER_LIMIT },
	{ "rsa-pss-16384-issuer", RSA_PSS, 16384, 2048, true, OURS, ABOVE, STRANGER_LIMIT },
	{ "rsa-16384-stranger", RSA, 16384, 2048, false, OTHER, ABOVE, STRANGER_LIMIT },
	{ "rsa-16384-f4", RSA, 16384, 3, false, OURS, ABOVE, STRANGER_LIMIT },
	{ "rsa-8192-full", RSA, 8192, 1024, false, OURS, ABOVE, STRANGER_LIMIT },
	{ "rsa-8192-full-issuer", RSA, 8192, 1024, true, OURS, ABOVE, STRANGER_LIMIT },
	{ "rsa-2048-6", RSA, 2048, 6, false, OURS, ABOVE, STRANGER_LIMIT },
	/* Dear and allowed: its key is not used unless it is certified. */
	{ "rsa-8192-stranger", RSA, 8192, 5, false, OTHER, "is not in the trust store",
	  ALLOWED_LIMIT },
	{ "rsa-8192-issuer-stranger", RSA, 8192, 5, true, OTHER, "is not in the trust store",
	  ALLOWED_LIMIT },
	{ "rsa-8192-namesake", RSA, 8192, 5, false, NAMESAKE, "is not signed by the certificate of",
	  NAMESAKE_LIMIT },
	{ "rsa-8192", RSA, 8192, 5, false, OURS, "does not have the key", CERTIFIED_LIMIT },
	{ "dsa-16384", DSA, 16384, 0, false, OURS, ABOVE, STRANGER_LIMIT },
	{ "dsa-16384-issuer", DSA, 16384, 0, true, OURS, ABOVE, STRANGER_LIMIT },
	{ "dsa-8192-issuer", DSA, 8192, 0, true, OURS, "together too long", STRANGER_LIMIT },
	{ "explicit-curve", EXPLICIT, 4096, 0, false, OURS, "", CERTIFIED_LIMIT },
	{ "explicit-curve-issuer", EXPLICIT, 4096, 0, true, OURS, "", CERTIFIED_LIMIT },
	{ "brainpool", BRAINPOOL, 512, 0, false, OURS, "", CERTIFIED_LIMIT },
	{ "brainpool-issuer", BRAINPOOL, 512, 0, true, OURS, "", CERTIFIED_LIMIT },
};

static GByteArray *key_of(const struct dear *t, const struct forged_rsa *rsa)
{
	switch (t->kind) {
	case RSA:
	case RSA_PSS:
		return forged_rsa_spki(rsa, t->kind == RSA_PSS);
	case DSA:
		return forged_dsa_spki(t->bits);
	case EXPLICIT:
		return forged_explicit_curve_spki(t->bits);
	default:
		return forged_curve_spki(BRAINPOOL_512, sizeof(BRAINPOOL_512) - 1,
					 1 + 2 * t->bits / 8);
	}
}

/* The chain in PEM. */
static char *dear_chain(const struct dear *t)
{
	const struct pki_spec mid_spec = { .cn = "dear issuer", .ca = true };
	const struct pki_spec leaf_spec = { .cn = "dear", .dns = { NAME } };
	const struct pki_cert *top = t->by == OTHER ? other_ca : ca;
	const struct pki_cert *signer = t->by == OURS ? ca : other_ca;
	bool rsa_kind = t->kind == RSA || t->kind == RSA_PSS;
	struct forged_rsa *rsa = forged_rsa_new(rsa_kind ? t->bits : 2048,
						rsa_kind ? t->exponent : 3, false);
	struct pki_cert *mid = t->issuer ? pki_issue(&mid_spec, top) : NULL;
	struct pki_cert *leaf = pki_issue(&leaf_spec, mid ? mid : top);
	GByteArray *key = key_of(t, rsa);
	char *chain;

	/* Who has the key is mid or leaf; what mid signs is a number. */
	if (mid) {
		forge_key(mid, key, signer, NULL);
		forge_key(leaf, NULL, NULL, rsa);
	} else {
		forge_key(leaf, key, signer, NULL);
	}
	chain = pki_chain(leaf, mid, NULL);
	g_byte_array_unref(key);
	forged_rsa_free(rsa);
	pki_free(leaf);
	pki_free(mid);
	return chain;
}

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
		/* A server's alert is under keys that the forged peer has not derived. */
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
	g_autofree char *chain = dear_chain(t);
	bool rsa = t->kind == RSA || t->kind == RSA_PSS;
	unsigned int scheme = t->issuer || !rsa ? SCHEME_P256 :
			      t->kind == RSA ? SCHEME_PSS_RSAE : SCHEME_PSS_PSS;
	gint64 cost;

	for (unsigned int ours = 0; ours < HS_N_ROLES; ours++) {
		cost = cost_of(ours, chain, scheme, scheme == SCHEME_P256 ? 70 : t->bits / 8,
			       t->reason, t->limit);
		hostile_at_most(hs_role_name(ours), cost, usual[ours], t->limit);
	}
}

/* A chain that is good, whose keys are all of @bits and have exponents of @exponent bytes. */
static char *good_chain(unsigned int n, unsigned int bits, unsigned int exponent)
{
	struct forged_rsa *rsa = forged_rsa_new(bits, exponent, true);
	GByteArray *key = forged_rsa_spki(rsa, false);
	struct pki_cert *cert[CHAIN_MAX];
	GString *pem = g_string_new(NULL);

	for (unsigned int i = 0; i < n; i++) {
		char cn[32];
		struct pki_spec spec = { .cn = cn, .ca = i + 1 < n };

		g_snprintf(cn, sizeof(cn), "certified %u", i);
		spec.dns[0] = spec.ca ? NULL : NAME;
		cert[i] = pki_issue(&spec, i ? cert[i - 1] : ca);
	}
	for (unsigned int i = 0; i < n; i++) {
		forge_key(cert[i], key, i ? NULL : ca, i ? rsa : NULL);
		g_string_prepend(pem, cert[i]->pem);
		pki_free(cert[i]);
	}
	g_byte_array_unref(key);
	forged_rsa_free(rsa);
	return g_string_free(pem, FALSE);
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
		g_autofree char *chain = good_chain(cases[i].n, cases[i].bits, cases[i].exponent);
		g_autofree char *name = g_strdup_printf("%u x RSA-%u, exponent of %u bytes",
							cases[i].n, cases[i].bits,
							cases[i].exponent);
		gint64 cost = cost_of(HS_SERVER, chain, SCHEME_PSS_RSAE, cases[i].bits / 8,
				      cases[i].reason, cases[i].limit);

		hostile_at_most(name, cost, usual[HS_SERVER], cases[i].limit);
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
	for (size_t i = 0; i < G_N_ELEMENTS(dear); i++) {
		g_snprintf(path, sizeof(path), "/hostile-keys/dear/%s", dear[i].name);
		g_test_add_data_func(path, &dear[i], test_dear);
	}
	g_test_add_func("/hostile-keys/certified", test_certified);
	r = g_test_run();
	pair_pki_free();
	return r;
}
