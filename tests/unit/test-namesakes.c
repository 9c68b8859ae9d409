// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Several authorities of one name in the trust store, as after a roll-over. A certificate need not
 * say which of them issued it, and whoever has the key of one decides whether it does. What is
 * said of an authority must be said of that whose key signed, in whatever order they stand.
 */
#include <string.h>

#include "hostile-world.h"

#define MANY 8		/* of one name in the store */
#define COST_LIMIT 6.0	/* ordinary mutual handshakes, for as many signature checks in vain */

#define SPEC(...) (&(struct pki_spec){ __VA_ARGS__ })
#define REVOKED HS_CERT_REVOKED, "the trusted issuer \"CN=inter\" of the server's certificate is revoked"
#define EXPIRED HS_CERT_EXPIRED, "the trusted issuer \"CN=inter\" of the server's certificate expired"
#define LATE HS_CERT_CRL_STALE, "is out of date since"
#define UNKNOWN HS_CERT_UNKNOWN_ISSUER, "is not signed by the certificate of its issuer"

/* Our client, which has @trust and @crl, against a server with @chain and the key of @leaf. */
static void check(const char *trust, const char *crl, const char *chain,
		  const struct pki_cert *leaf, enum hs_outcome outcome, const char *reason)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	client.trust = trust;
	client.crl = crl;
	server.chain = chain;
	server.key = leaf;
	pair_open(&p, &client, &server);
	pair_run(&p);
	g_test_message("%s: %s", hs_outcome_name(p.result[HS_CLIENT].outcome),
		       p.result[HS_CLIENT].reason);
	assert_outcome(&p, HS_CLIENT, outcome);
	assert_reason(&p, HS_CLIENT, reason);
	g_assert_cmpint(p.result[HS_CLIENT].peer_verified, ==, outcome == HS_OK);
	pair_close(&p);
}

/* @chain, with both orders of @a and @b in the store, another authority before them. */
static void check_chain(const struct pki_cert *a, const struct pki_cert *b, const char *crl,
			const char *chain, const struct pki_cert *leaf, enum hs_outcome outcome,
			const char *reason)
{
	g_autofree char *ab = pki_chain(ca, a, b, NULL), *ba = pki_chain(ca, b, a, NULL);

	check(ba, crl, chain, leaf, outcome, reason);
	check(ab, crl, chain, leaf, outcome, reason);
}

static void check_orders(const struct pki_cert *a, const struct pki_cert *b, const char *crl,
			 const struct pki_cert *leaf, enum hs_outcome outcome, const char *reason)
{
	check_chain(a, b, crl, leaf->pem, leaf, outcome, reason);
}

static struct pki_cert *leaf_of(const struct pki_cert *issuer, bool no_authority)
{
	return pki_issue(SPEC(.dns = { NAME }, .no_authority = no_authority), issuer);
}

static void test_revoked(void)
{
	struct pki_cert *old = pki_issue(SPEC(.cn = "inter", .ca = true), ca);
	struct pki_cert *fresh = pki_issue(SPEC(.cn = "inter", .ca = true), ca);
	g_autofree char *crl = pki_crl(ca, old, -60, 3600);

	for (unsigned int no_authority = 0; no_authority < 2; no_authority++) {
		struct pki_cert *of_old = leaf_of(old, no_authority);
		struct pki_cert *of_fresh = leaf_of(fresh, no_authority);

		check_orders(old, fresh, crl, of_old, REVOKED);
		check_orders(old, fresh, crl, of_fresh, HS_OK, "");
		check_orders(old, fresh, NULL, of_old, HS_OK, "");
		check_orders(old, fresh, NULL, of_fresh, HS_OK, "");
		pki_free(of_old);
		pki_free(of_fresh);
	}
	pki_free(old);
	pki_free(fresh);
}

/* Signed by themselves, and the new one's list says that the old one is no more. */
static void test_roots(void)
{
	struct pki_cert *old = pki_issue(SPEC(.cn = "inter", .ca = true), NULL);
	struct pki_cert *fresh = pki_issue(SPEC(.cn = "inter", .ca = true), NULL);
	struct pki_cert *of_old = leaf_of(old, true), *of_fresh = leaf_of(fresh, true);
	g_autofree char *crl = pki_crl(fresh, old, -60, 3600);

	check_orders(old, fresh, crl, of_old, REVOKED);
	check_orders(old, fresh, crl, of_fresh, HS_OK, "");
	pki_free(of_old);
	pki_free(of_fresh);
	pki_free(old);
	pki_free(fresh);
}

/* The certificate that leaves its issuer open is an intermediate authority's. */
static void test_intermediate(void)
{
	struct pki_cert *old = pki_issue(SPEC(.cn = "inter", .ca = true), ca);
	struct pki_cert *fresh = pki_issue(SPEC(.cn = "inter", .ca = true), ca);
	g_autofree char *crl = pki_crl(ca, old, -60, 3600);
	g_autofree char *old_first = pki_chain(ca, old, fresh, NULL);
	g_autofree char *fresh_first = pki_chain(ca, fresh, old, NULL);
	const struct {
		const struct pki_cert *by;
		enum hs_outcome outcome;
		const char *reason;
	} cases[] = {
		{ old, REVOKED },
		{ fresh, HS_OK, "" },
	};

	for (unsigned int i = 0; i < G_N_ELEMENTS(cases); i++) {
		const struct pki_spec spec = { .cn = "mid", .ca = true, .no_authority = true };
		struct pki_cert *mid = pki_issue(&spec, cases[i].by), *leaf = leaf_of(mid, false);
		g_autofree char *chain = pki_chain(leaf, mid, NULL);

		check(old_first, crl, chain, leaf, cases[i].outcome, cases[i].reason);
		check(fresh_first, crl, chain, leaf, cases[i].outcome, cases[i].reason);
		pki_free(leaf);
		pki_free(mid);
	}
	pki_free(old);
	pki_free(fresh);
}

static void test_expired(void)
{
	struct pki_cert *old = pki_issue(SPEC(.cn = "inter", .ca = true, .from = -7200, .until = -60),
					 ca);
	struct pki_cert *fresh = pki_issue(SPEC(.cn = "inter", .ca = true, .key = PKI_RSA2048), ca);
	struct pki_cert *of_old = leaf_of(old, true), *of_fresh = leaf_of(fresh, true);

	check_orders(old, fresh, NULL, of_old, EXPIRED);
	check_orders(old, fresh, NULL, of_fresh, HS_OK, "");
	pki_free(of_old);
	pki_free(of_fresh);
	pki_free(old);
	pki_free(fresh);
}

/* A key that was certified again signed in the name of both: one that is good is enough. */
static void test_same_key(void)
{
	struct pki_cert *old = pki_issue(SPEC(.cn = "inter", .ca = true, .from = -7200, .until = -60),
					 ca);
	struct pki_cert *again = pki_issue(SPEC(.cn = "inter", .ca = true, .same_key = old), ca);
	struct pki_cert *third = pki_issue(SPEC(.cn = "inter", .ca = true, .same_key = old), ca);
	struct pki_cert *leaf = leaf_of(old, true);
	g_autofree char *no_old = pki_crl(ca, old, -60, 3600);
	g_autofree char *no_again = pki_crl(ca, again, -60, 3600);

	check_orders(old, again, NULL, leaf, HS_OK, "");
	check_orders(old, again, no_old, leaf, HS_OK, "");
	check_orders(third, again, no_again, leaf, HS_OK, "");
	check_orders(old, again, no_again, leaf, REVOKED);	/* and the other has expired */
	pki_free(leaf);
	pki_free(third);
	pki_free(again);
	pki_free(old);
}

/* What an authority was not allowed to shows further down only: of one key one that may is enough. */
static void test_allowed(void)
{
	struct pki_cert *may = pki_issue(SPEC(.cn = "inter", .ca = true), ca);
	struct pki_cert *old = pki_issue(SPEC(.cn = "inter", .ca = true, .same_key = may,
					      .from = -7200, .until = -60), ca);
	struct pki_cert *flat = pki_issue(SPEC(.cn = "inter", .ca = true, .same_key = may,
					       .no_ca_below = true), ca);
	struct pki_cert *here = pki_issue(SPEC(.cn = "inter", .ca = true, .same_key = may,
					       .only_dns = NAME), ca);
	struct pki_cert *there = pki_issue(SPEC(.cn = "inter", .ca = true, .same_key = may,
						.only_dns = "elsewhere.example"), ca);
	struct pki_cert *mid = pki_issue(SPEC(.cn = "Issuing CA 1", .ca = true), may);
	struct pki_cert *leaf = leaf_of(mid, false);
	g_autofree char *chain = pki_chain(leaf, mid, NULL);

	check_chain(flat, may, NULL, chain, leaf, HS_OK, "");
	check_chain(there, may, NULL, chain, leaf, HS_OK, "");
	check_chain(there, here, NULL, chain, leaf, HS_OK, "");
	check_chain(old, here, NULL, chain, leaf, HS_OK, "");
	check_chain(old, flat, NULL, chain, leaf, HS_CERT_EXPIRED, "");
	check_chain(there, flat, NULL, chain, leaf, HS_CERT_INVALID, "was not allowed to issue");
	pki_free(leaf);
	pki_free(mid);
	pki_free(there);
	pki_free(here);
	pki_free(flat);
	pki_free(old);
	pki_free(may);
}

/*
 * An authority that has changed its key keeps a list for each. What one of them says of a serial
 * holds, for they share their serials; whether the word is up to date is the right key's matter.
 */
static void test_lists(void)
{
	struct pki_cert *old = pki_issue(SPEC(.cn = "inter", .ca = true), NULL);
	struct pki_cert *fresh = pki_issue(SPEC(.cn = "inter", .ca = true), NULL);
	struct pki_cert *of_old = leaf_of(old, true), *of_fresh = leaf_of(fresh, true);
	g_autofree char *by_old = pki_crl(old, NULL, -60, 3600);
	g_autofree char *by_fresh = pki_crl(fresh, NULL, -60, 3600);
	g_autofree char *late = pki_crl(fresh, NULL, -7200, -60);
	g_autofree char *revokes = pki_crl(old, of_fresh, -60, 3600);
	g_autofree char *one_late = g_strconcat(by_old, late, NULL);
	g_autofree char *late_first = g_strconcat(late, by_old, NULL);
	g_autofree char *renewed = g_strconcat(late, by_old, by_fresh, NULL);
	g_autofree char *of_other = g_strconcat(by_fresh, revokes, NULL);

	check_orders(old, fresh, one_late, of_old, HS_OK, "");
	check_orders(old, fresh, one_late, of_fresh, LATE);
	check_orders(old, fresh, late_first, of_old, HS_OK, "");
	check_orders(old, fresh, late_first, of_fresh, LATE);
	check_orders(old, fresh, renewed, of_fresh, HS_OK, "");
	check_orders(old, fresh, by_old, of_fresh, HS_OK, "");
	check_orders(old, fresh, late, of_old, LATE);
	check_orders(old, fresh, of_other, of_fresh, HS_CERT_REVOKED, "the server's certificate is revoked");
	pki_free(of_old);
	pki_free(of_fresh);
	pki_free(old);
	pki_free(fresh);
}

/* By a third of that name, whom we do not know. */
static void test_stranger(void)
{
	struct pki_cert *a = pki_issue(SPEC(.cn = "inter", .ca = true), ca);
	struct pki_cert *b = pki_issue(SPEC(.cn = "inter", .ca = true), ca);
	struct pki_cert *foreign = pki_issue(SPEC(.cn = "inter", .ca = true), other_ca);
	struct pki_cert *leaf = leaf_of(foreign, true);

	check_orders(a, b, NULL, leaf, UNKNOWN);
	pki_free(leaf);
	pki_free(foreign);
	pki_free(b);
	pki_free(a);
}

/* What is in the store itself needs no issuer there that is good. */
static void test_pinned(void)
{
	struct pki_cert *old = pki_issue(SPEC(.cn = "inter", .ca = true, .from = -7200, .until = -60),
					 NULL);
	struct pki_cert *fresh = pki_issue(SPEC(.cn = "inter", .ca = true), NULL);
	struct pki_cert *leaf = leaf_of(old, false);
	struct pki_cert *former = pki_issue(SPEC(.cn = "self", .dns = { NAME }, .no_authority = true),
					    NULL);
	struct pki_cert *self = pki_issue(SPEC(.cn = "self", .dns = { NAME }, .no_authority = true),
					  NULL);
	g_autofree char *store = pki_chain(old, fresh, leaf, NULL);

	check_orders(old, fresh, NULL, leaf, EXPIRED);
	check(store, NULL, leaf->pem, leaf, HS_OK, "");
	check_orders(former, self, NULL, former, HS_OK, "");
	check_orders(former, self, NULL, self, HS_OK, "");
	pki_free(leaf);
	pki_free(former);
	pki_free(self);
	pki_free(old);
	pki_free(fresh);
}

/*
 * A certificate in the store is accepted whatever the peer sends behind it. So that may not say
 * either whose list counts: here it is the genuine certificate of another key of the issuer's name.
 */
static void test_pinned_list(void)
{
	/* By its name: the library looks for the leaf where it keeps who is named like the last's issuer. */
	struct pki_cert *top = pki_issue(SPEC(.cn = "Authority 104", .ca = true), NULL);
	struct pki_cert *root = pki_issue(SPEC(.cn = "afar", .ca = true), NULL);
	struct pki_cert *forged = pki_issue(SPEC(.cn = "afar", .ca = true, .same_key = root), top);
	struct pki_cert *old = pki_issue(SPEC(.cn = "inter", .ca = true), root);
	struct pki_cert *fresh = pki_issue(SPEC(.cn = "inter", .ca = true), root);
	struct pki_cert *leaf = leaf_of(old, true);
	g_autofree char *by_old = pki_crl(old, leaf, -60, 3600);
	g_autofree char *by_fresh = pki_crl(fresh, NULL, -60, 3600);
	g_autofree char *both = g_strconcat(by_old, by_fresh, NULL);
	struct pki_cert *of_fresh = leaf_of(fresh, false);
	g_autofree char *gone = pki_crl(fresh, of_fresh, -60, 3600);
	g_autofree char *store = pki_chain(ca, leaf, NULL);
	g_autofree char *with_root = pki_chain(ca, root, leaf, of_fresh, NULL);
	g_autofree char *leads = pki_chain(of_fresh, fresh, NULL);
	struct pki_cert *other = pki_issue(SPEC(.cn = "inter", .ca = true), top);
	g_autofree char *with_top = pki_chain(ca, top, leaf, NULL);
	g_autofree char *by_other = pki_crl(other, NULL, -60, 3600);
	g_autofree char *astray = pki_chain(leaf, other, NULL);
	g_autofree char *chain = pki_chain(leaf, fresh, forged, NULL);

	check(store, NULL, leaf->pem, leaf, HS_OK, "");
	check(store, both, leaf->pem, leaf, HS_CERT_CRL_STALE, "is not signed by anybody we know");
	check(store, both, chain, leaf, HS_CERT_CRL_STALE, "is not signed by anybody we know");
	/* Where it leads to somebody we trust it may. */
	check(with_root, by_fresh, leads, of_fresh, HS_OK, "");
	check(with_root, both, leads, of_fresh, HS_OK, "");
	check(with_root, gone, leads, of_fresh, HS_CERT_REVOKED, "the server's certificate is revoked");
	/* It must be what leads there that has issued it. */
	check(with_top, by_other, astray, leaf, HS_CERT_CRL_STALE, "is not signed by anybody we know");
	pki_free(other);
	pki_free(of_fresh);
	pki_free(forged);
	pki_free(top);
	pki_free(leaf);
	pki_free(fresh);
	pki_free(old);
	pki_free(root);
}

/* A stranger has a signature checked by each of them, and no more. */
static void test_cost(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pki_cert *foreign = pki_issue(SPEC(.cn = "inter", .ca = true), other_ca);
	struct pki_cert *leaf = leaf_of(foreign, true);
	GString *store = g_string_new(ca->pem);
	gint64 least = G_MAXINT64;

	for (unsigned int i = 0; i < MANY; i++) {
		struct pki_cert *one = pki_issue(SPEC(.cn = "inter", .ca = true), ca);

		g_string_append(store, one->pem);
		pki_free(one);
	}
	client.trust = store->str;
	server.chain = leaf->pem;
	server.key = leaf;
	for (unsigned int i = 0; i < HOSTILE_RUNS; i++) {
		struct side us = client, them = server;
		struct pair p;
		gint64 cost;

		pair_open(&p, &us, &them);
		cost = run_timed(&p, HS_CLIENT);
		least = MIN(least, cost);
		assert_outcome(&p, HS_CLIENT, HS_CERT_UNKNOWN_ISSUER);
		pair_close(&p);
	}
	hostile_at_most("a stranger", least, HS_CLIENT, hostile_usual(HS_CLIENT), COST_LIMIT);
	g_string_free(store, TRUE);
	pki_free(leaf);
	pki_free(foreign);
}

int main(int argc, char **argv)
{
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	g_test_add_func("/namesakes/revoked", test_revoked);
	g_test_add_func("/namesakes/roots", test_roots);
	g_test_add_func("/namesakes/intermediate", test_intermediate);
	g_test_add_func("/namesakes/expired", test_expired);
	g_test_add_func("/namesakes/same-key", test_same_key);
	g_test_add_func("/namesakes/allowed", test_allowed);
	g_test_add_func("/namesakes/lists", test_lists);
	g_test_add_func("/namesakes/stranger", test_stranger);
	g_test_add_func("/namesakes/pinned", test_pinned);
	g_test_add_func("/namesakes/pinned-list", test_pinned_list);
	g_test_add_func("/namesakes/cost", test_cost);
	r = g_test_run();
	pair_pki_free();
	return r;
}
