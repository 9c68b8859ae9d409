// SPDX-License-Identifier: GPL-2.0-or-later
#include "chain-meet.h"

#include "forge-der.h"

#define SIGNATURE_SIZE 256	/* bytes, where there is no key */

static void check_line(const char *text)
{
	for (const char *c = text; *c; c++)
		g_assert_cmpint((unsigned char)*c, >=, ' ');
	g_assert_true(g_utf8_validate(text, -1, NULL));
	g_assert_null(strstr(text, "\xe2\x80\xae"));	/* turns the text around */
	g_assert_null(strchr(text, 0x7f));
}

void chain_meet(const char *name, enum hs_role ours, const char *chain,
		gnutls_x509_privkey_t key, unsigned int scheme, const struct expected *expected,
		gint64 usual, double limit)
{
	const struct hs_result *result;
	struct hostile h;

	hostile_open(&h, ours, NULL);
	hostile_greet(&h);
	hostile_authenticate(&h, chain, key, scheme, SIGNATURE_SIZE);
	g_assert_true(hostile_settle(&h));
	result = &h.pair.result[ours];
	g_test_message("%s: %s: %s: %s", name, hs_role_name(ours), hs_outcome_name(result->outcome),
		       result->reason);
	assert_outcome(&h.pair, ours, expected->outcome);
	assert_reason(&h.pair, ours, expected->reason);
	check_line(result->reason);
	check_line(result->subject);
	check_line(result->matched);
	g_assert_cmpint(result->peer_verified, ==, expected->outcome == HS_OK);
	if (expected->outcome != HS_OK)
		assert_no_keys(&h.pair, ours);
	hostile_at_most(name, h.spent, ours, usual, limit);
	hostile_close(&h);
}

void chain_present(const char *name, const struct pki_cert *leaf, const struct pki_cert *mid,
		   const struct pki_cert *top, const struct expected expected[HS_N_ROLES],
		   const gint64 usual[HS_N_ROLES], double limit)
{
	g_autofree char *chain = pki_chain(leaf, mid, mid ? top : NULL, NULL);

	for (unsigned int ours = 0; ours < HS_N_ROLES; ours++)
		chain_meet(name, ours, chain, leaf->key, 0x0403, &expected[ours], usual[ours],
			   limit);
}
