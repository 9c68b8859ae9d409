// SPDX-License-Identifier: GPL-2.0-or-later
/* The priorities: what of a policy is left, in which order, and when nothing is. */
#include <errno.h>
#include <glib.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <string.h>

#include "common/ktls.h"
#include "tlshd/worker/policy.h"

#define ALL_CIPHERS ((1u << KTLS_N_CIPHERS) - 1)

static char *build(const char *base, uint32_t ciphers)
{
	char reason[256] = "", *text = NULL;

	if (policy_build(base, POLICY_CERTIFICATES, ciphers, &text, reason, sizeof(reason)) < 0)
		g_error("%s: %s", base ? base : "(system)", reason);
	g_test_message("%s", text);
	return text;
}

static void refuse(const char *base, uint32_t ciphers, int error, const char *part)
{
	char reason[256] = "", *text = NULL;

	g_assert_cmpint(policy_build(base, POLICY_CERTIFICATES, ciphers, &text, reason,
				     sizeof(reason)), ==, error);
	g_assert_null(text);
	g_test_message("%s", reason);
	if (!strstr(reason, part))
		g_error("\"%s\" lacks \"%s\"", reason, part);
}

static bool has(const char *text, const char *item)
{
	g_auto(GStrv) items = g_strsplit(text, ":", -1);

	return g_strv_contains((const char *const *)items, item);
}

/* @items in this order, each once, and no other of that @prefix. */
static void assert_sequence(const char *text, const char *prefix, const char *const *items)
{
	g_auto(GStrv) all = g_strsplit(text, ":", -1);
	guint i, n = 0;

	for (i = 0; all[i]; i++) {
		if (!g_str_has_prefix(all[i], prefix))
			continue;
		g_assert_nonnull(items[n]);
		g_assert_cmpstr(all[i], ==, items[n++]);
	}
	g_assert_null(items[n]);
}

/* The library takes it, and means TLS 1.3 only. */
static void assert_usable(const char *text)
{
	const unsigned int *list;
	gnutls_priority_t p;
	int i, n;

	g_assert_cmpint(gnutls_priority_init(&p, text, NULL), ==, 0);
	n = gnutls_priority_protocol_list(p, &list);
	g_assert_cmpint(n, ==, 1);
	g_assert_cmpuint(list[0], ==, GNUTLS_TLS1_3);
	n = gnutls_priority_sign_list(p, &list);
	g_assert_cmpint(n, >, 0);
	for (i = 0; i < n; i++)
		g_assert_cmpint(gnutls_sign_get_hash_algorithm(list[i]), !=, GNUTLS_DIG_SHA1);
	gnutls_priority_deinit(p);
}

static void test_system(void)
{
	g_autofree char *text = build(NULL, ALL_CIPHERS);

	assert_usable(text);
	g_assert_true(g_str_has_prefix(text, "NONE:+VERS-TLS1.3:"));
}

static void test_order(void)
{
	static const char *const ciphers[] = {
		"+AES-128-GCM", "+AES-256-GCM", "+CHACHA20-POLY1305", "+AES-128-CCM", NULL,
	};
	g_autofree char *text = build("NORMAL", ALL_CIPHERS);
	const char *first = strstr(text, "+GROUP-");

	assert_usable(text);
	g_assert_true(g_str_has_prefix(first, "+GROUP-X25519:"));
	g_assert_true(has(text, "+GROUP-SECP256R1"));
	g_assert_cmpstr(strstr(text, "+AES-"), !=, NULL);
	assert_sequence(g_strstr_len(text, first - text, "+AES-"), "+AES", (const char *const[]){
			ciphers[0], ciphers[1], ciphers[3], NULL });
	g_assert_cmpint(strstr(text, ciphers[1]) < strstr(text, ciphers[2]), ==, true);
	g_assert_cmpint(strstr(text, ciphers[2]) < strstr(text, ciphers[3]), ==, true);
}

/* The policy's own order of ciphers does not count, what it leaves out does. */
static void test_policy_filters(void)
{
	static const char *const one_cipher[] = { "+AES-256-GCM", NULL };
	static const char *const two_groups[] = { "+GROUP-SECP521R1", "+GROUP-SECP384R1", NULL };
	static const char *const one_sign[] = { "+SIGN-ECDSA-SECP384R1-SHA384", NULL };
	g_autofree char *text = build("NONE:+VERS-TLS1.3:+VERS-TLS1.2:+AEAD:+AES-256-CBC:+AES-256-GCM:"
				      "+GROUP-SECP521R1:+GROUP-SECP384R1:+SIGN-ECDSA-SHA1:"
				      "+SIGN-ECDSA-SECP384R1-SHA384:+ECDHE-ECDSA", ALL_CIPHERS);

	assert_usable(text);
	assert_sequence(text, "+AES", one_cipher);
	assert_sequence(text, "+GROUP", two_groups);
	assert_sequence(text, "+SIGN", one_sign);
}

/* Suites with the key's hash and nothing else, and never a key without (EC)DHE. */
static void test_psk(void)
{
	static const char *const sha384[] = { "+AES-256-GCM", NULL };
	static const char *const sha256[] = { "+AES-128-GCM", "+AES-128-CCM", NULL };
	char reason[256] = "", *none = NULL;
	unsigned int i;

	for (i = POLICY_PSK_SHA256; i <= POLICY_PSK_SHA384; i++) {
		g_autofree char *text = NULL;

		g_assert_cmpint(policy_build("NORMAL", i, ALL_CIPHERS, &text, reason,
					     sizeof(reason)), ==, 0);
		assert_usable(text);
		assert_sequence(text, "+AES", i == POLICY_PSK_SHA256 ? sha256 : sha384);
		g_assert_true(has(text, "+CHACHA20-POLY1305") == (i == POLICY_PSK_SHA256));
		g_assert_true(has(text, "+ECDHE-PSK"));
		g_assert_false(has(text, "+PSK"));
	}
	g_assert_cmpint(policy_build("NORMAL:-AES-256-GCM", POLICY_PSK_SHA384, ALL_CIPHERS, &none,
				     reason, sizeof(reason)), ==, -ENOTSUP);
	g_assert_null(none);
}

/* X25519 moves to the front; the others keep the policy's order. */
static void test_x25519_first(void)
{
	static const char *const groups[] = {
		"+GROUP-X25519", "+GROUP-SECP384R1", "+GROUP-SECP256R1", NULL,
	};
	g_autofree char *text = build("NORMAL:-GROUP-ALL:+GROUP-SECP384R1:+GROUP-X25519:"
				      "+GROUP-SECP256R1", ALL_CIPHERS);

	assert_sequence(text, "+GROUP", groups);
}

/* Finite-field groups only where there is nothing else. */
static void test_ffdhe(void)
{
	static const char *const groups[] = { "+GROUP-FFDHE3072", "+GROUP-FFDHE2048", NULL };
	g_autofree char *normal = build("NORMAL", ALL_CIPHERS);
	g_autofree char *only = build("NORMAL:-GROUP-ALL:+GROUP-FFDHE3072:+GROUP-FFDHE2048",
				      ALL_CIPHERS);

	g_assert_null(strstr(normal, "FFDHE"));
	assert_sequence(only, "+GROUP", groups);
	assert_usable(only);
}

/* Where the library has hybrid groups, they follow X25519, unless the policy chose its groups. */
static void test_hybrid(void)
{
	g_autofree char *normal = build("NORMAL", ALL_CIPHERS);
	g_autofree char *chosen = build("NORMAL:-GROUP-X448", ALL_CIPHERS);

	g_assert_null(strstr(chosen, "MLKEM"));
	if (gnutls_group_get_id("X25519-MLKEM768") == GNUTLS_GROUP_INVALID)
		g_assert_null(strstr(normal, "MLKEM"));
	else
		g_assert_nonnull(strstr(normal, "+GROUP-X25519:+GROUP-X25519-MLKEM768:"));
}

static void test_kernel_mask(void)
{
	static const char *const wanted[KTLS_N_CIPHERS] = {
		[KTLS_AES_128_GCM] = "+AES-128-GCM",
		[KTLS_AES_256_GCM] = "+AES-256-GCM",
		[KTLS_AES_128_CCM] = "+AES-128-CCM",
		[KTLS_CHACHA20_POLY1305] = "+CHACHA20-POLY1305",
	};
	unsigned int i, j;

	for (i = 0; i < KTLS_N_CIPHERS; i++) {
		g_autofree char *text = build("NORMAL", 1u << i);

		assert_usable(text);
		for (j = 0; j < KTLS_N_CIPHERS; j++)
			g_assert_cmpint(has(text, wanted[j]), ==, i == j);
	}
}

static void test_nothing_left(void)
{
	refuse("NORMAL", 0, -ENOTSUP, "no cipher is both allowed");
	refuse("NORMAL:-CIPHER-ALL:+AES-256-GCM", 1u << KTLS_AES_128_GCM, -ENOTSUP,
	       "no cipher is both allowed");
	refuse("NORMAL:-VERS-TLS1.3", ALL_CIPHERS, -ENOTSUP, "does not allow TLS 1.3");
	refuse("NORMAL:-SIGN-ALL:+SIGN-RSA-SHA1:+SIGN-ECDSA-SHA1", ALL_CIPHERS, -ENOTSUP,
	       "no signature algorithm");
	refuse("NONSENSE", ALL_CIPHERS, -EINVAL, "cannot be used");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/policy/system", test_system);
	g_test_add_func("/policy/order", test_order);
	g_test_add_func("/policy/filters", test_policy_filters);
	g_test_add_func("/policy/psk", test_psk);
	g_test_add_func("/policy/x25519-first", test_x25519_first);
	g_test_add_func("/policy/ffdhe", test_ffdhe);
	g_test_add_func("/policy/hybrid", test_hybrid);
	g_test_add_func("/policy/kernel-mask", test_kernel_mask);
	g_test_add_func("/policy/nothing-left", test_nothing_left);
	return g_test_run();
}
