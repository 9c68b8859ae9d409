// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "common/handshake.h"

static const char *role_name(unsigned int i)
{
	return hs_role_name((enum hs_role)i);
}

static const char *auth_name(unsigned int i)
{
	return hs_auth_name((enum hs_auth)i);
}

static const char *outcome_name(unsigned int i)
{
	return hs_outcome_name((enum hs_outcome)i);
}

/* Each of @n names is there, a word for logs, and no other's. */
static void check_names(const char *(*name)(unsigned int), unsigned int n)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
	unsigned int i;

	for (i = 0; i < n; i++) {
		g_assert_nonnull(name(i));
		g_assert_cmpuint(strlen(name(i)), >=, 2);
		g_assert_cmpuint(strspn(name(i), "abcdefghijklmnopqrstuvwxyz0123456789-"), ==,
				 strlen(name(i)));
		g_assert_cmpstr(name(i), !=, "unknown");
		g_assert_true(g_hash_table_add(seen, (void *)(uintptr_t)name(i)));
	}
	g_assert_cmpstr(name(n), ==, "unknown");
	g_assert_cmpstr(name(UINT_MAX), ==, "unknown");
}

static void test_names(void)
{
	check_names(role_name, HS_N_ROLES);
	check_names(auth_name, HS_N_AUTHS);
	check_names(outcome_name, HS_N_OUTCOMES);
	g_assert_cmpstr(hs_role_name(HS_CLIENT), ==, "client");
	g_assert_cmpstr(hs_role_name(HS_SERVER), ==, "server");
	g_assert_cmpstr(hs_auth_name(HS_AUTH_X509), ==, "x509");
	g_assert_cmpstr(hs_outcome_name(HS_CERT_EXPIRED), ==, "cert-expired");
}

/* Written out again on purpose, without default: so that a new outcome is decided twice. */
static unsigned int expected_errno(enum hs_outcome outcome)
{
	switch (outcome) {
	case HS_OK:
		return 0;
	case HS_TIMEOUT:
	case HS_CLOSED:
	case HS_WORKER_DIED:
	case HS_SHUTDOWN:
	case HS_BUSY:
		return ETIMEDOUT;
	case HS_PEER_ALERT:
	case HS_PROTOCOL:
	case HS_NO_COMMON:
	case HS_CERT_MISSING:
	case HS_CERT_EXPIRED:
	case HS_CERT_NOT_YET_VALID:
	case HS_CERT_UNKNOWN_ISSUER:
	case HS_CERT_REVOKED:
	case HS_CERT_CRL_STALE:
	case HS_CERT_NAME:
	case HS_CERT_PURPOSE:
	case HS_CERT_WEAK:
	case HS_CERT_INVALID:
	case HS_NO_IDENTITY:
	case HS_KEY_FAILED:
	case HS_PSK_MISSING:
	case HS_PSK_UNKNOWN:
	case HS_PSK_MISMATCH:
	case HS_KEY_DENIED:
		return EACCES;
	case HS_KEY_MISSING:
		return ENOKEY;
	case HS_KEY_EXPIRED:
		return EKEYEXPIRED;
	case HS_KEY_REVOKED:
		return EKEYREVOKED;
	case HS_KEY_UNUSABLE:
		return EKEYREJECTED;
	case HS_UNSUPPORTED:
		return EOPNOTSUPP;
	case HS_KTLS:
	case HS_INTERNAL:
	case HS_N_OUTCOMES:
		return EIO;
	}
	g_assert_not_reached();
}

static void test_errnos(void)
{
	unsigned int i;

	for (i = 0; i <= HS_N_OUTCOMES; i++)
		g_assert_cmpuint(hs_outcome_errno((enum hs_outcome)i), ==,
				 expected_errno((enum hs_outcome)i));
	/* From another process, out of range: never 0, which would be success. */
	g_assert_cmpuint(hs_outcome_errno((enum hs_outcome)UINT_MAX), ==, EIO);
}

/* -EAGAIN: secret_new(), of memory that may not be locked. */
static void test_shortages(void)
{
	static const int shortages[] = { ENOMEM, EAGAIN, EMFILE, ENFILE, ENOSPC, ENOBUFS };
	static const int faults[] = { EPERM, EINVAL, EIO, EBADMSG, ECANCELED };

	for (size_t i = 0; i < G_N_ELEMENTS(shortages); i++)
		g_assert_true(hs_is_shortage(-shortages[i]));
	for (size_t i = 0; i < G_N_ELEMENTS(faults); i++)
		g_assert_false(hs_is_shortage(-faults[i]));
	g_assert_false(hs_is_shortage(0));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/handshake/names", test_names);
	g_test_add_func("/handshake/errnos", test_errnos);
	g_test_add_func("/handshake/shortages", test_shortages);
	return g_test_run();
}
