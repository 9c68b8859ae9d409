// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The library's default priorities are the system's crypto policy
 * (@SYSTEM, /etc/gnutls/config). We read the lists it allows, keep of them what
 * we and the kernel can do, and write them down as an explicit string, so that
 * nothing the library adds to a default later can slip in.
 *
 * The policy filters; the order is ours where it is worth something.
 * Ciphers: AES-128-GCM first (the fastest in the kernel, and SHA-256 for the
 * handshake), CCM last. Groups: X25519 first, the only one the client sends a
 * share for (5.24 against 6.16 million instructions for a handshake with
 * P-256 and two shares); then the hybrids with ML-KEM; then the policy's
 * order. SHA-1 and MD5 signatures are left out whatever the policy says.
 *
 * Finite-field groups are left out while any other is allowed: a stranger's one
 * ClientHello for FFDHE8192 costs the server 424 ms in one piece (FFDHE2048:
 * 12 ms), in which the event loop serves nobody else; X25519 takes 0.5 ms.
 *
 * %SERVER_PRECEDENCE is not used: the library would then answer a client that
 * sent a share for P-256 and merely knows X25519 with a HelloRetryRequest, one round
 * trip for nothing. Two of our own ends have the same order anyway.
 *
 * The library leaves the hybrid groups out of its own defaults. Where the
 * policy is just that default, they are added by name; a policy that differs
 * has named its groups on purpose and is only filtered.
 *
 * Not taken over: a %PROFILE_ in the policy's priority string, for which the
 * library has no function. Certificates are verified with MEDIUM; a policy
 * asks for more by min-verification-profile= in its [overrides], which the
 * library applies by itself.
 */
#include "tlshd/worker/policy.h"

#include <errno.h>
#include <glib.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/ktls.h"

static const struct {
	enum ktls_cipher ktls;
	gnutls_cipher_algorithm_t gnutls;
} cipher_order[] = {
	{ KTLS_AES_128_GCM, GNUTLS_CIPHER_AES_128_GCM },
	{ KTLS_AES_256_GCM, GNUTLS_CIPHER_AES_256_GCM },
	{ KTLS_CHACHA20_POLY1305, GNUTLS_CIPHER_CHACHA20_POLY1305 },
	{ KTLS_AES_128_CCM, GNUTLS_CIPHER_AES_128_CCM },
};

static const char *const hybrid_groups[] = {
	"X25519-MLKEM768", "SECP256R1-MLKEM768", "SECP384R1-MLKEM1024",
};

static bool contains(const unsigned int *list, int n, unsigned int id)
{
	int i;

	for (i = 0; i < n; i++)
		if (list[i] == id)
			return true;
	return false;
}

/* Are the groups of @policy exactly the library's own default? */
static bool has_default_groups(gnutls_priority_t policy)
{
	const unsigned int *ours, *theirs;
	gnutls_priority_t normal;
	int n_ours, n_theirs;
	bool equal;

	if (gnutls_priority_init(&normal, "NORMAL", NULL) < 0)
		return false;
	n_ours = gnutls_priority_group_list(policy, &ours);
	n_theirs = gnutls_priority_group_list(normal, &theirs);
	equal = n_ours > 0 && n_ours == n_theirs &&
		memcmp(ours, theirs, (size_t)n_ours * sizeof(*ours)) == 0;
	gnutls_priority_deinit(normal);
	return equal;
}

static unsigned int add_ciphers(GString *out, gnutls_priority_t policy, uint32_t mask)
{
	const unsigned int *list;
	int n = gnutls_priority_cipher_list(policy, &list);
	unsigned int count = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cipher_order); i++) {
		if (!(mask & (1u << cipher_order[i].ktls)) ||
		    !contains(list, n, cipher_order[i].gnutls))
			continue;
		g_string_append_printf(out, ":+%s", gnutls_cipher_get_name(cipher_order[i].gnutls));
		count++;
	}
	return count;
}

static bool is_hybrid(unsigned int id)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(hybrid_groups); i++)
		if (gnutls_group_get_id(hybrid_groups[i]) == id)
			return true;
	return false;
}

static bool is_ffdhe(unsigned int id)
{
	const char *name = gnutls_group_get_name(id);

	return name && strncmp(name, "FFDHE", 5) == 0;
}

/* The groups that have no place of their own, in the policy's order. */
static unsigned int add_other_groups(GString *out, const unsigned int *list, int n, bool ffdhe)
{
	unsigned int count = 0;
	int i;

	for (i = 0; i < n; i++) {
		if (list[i] == GNUTLS_GROUP_X25519 || is_hybrid(list[i]) ||
		    is_ffdhe(list[i]) != ffdhe)
			continue;
		g_string_append_printf(out, ":+GROUP-%s", gnutls_group_get_name(list[i]));
		count++;
	}
	return count;
}

static unsigned int add_groups(GString *out, gnutls_priority_t policy)
{
	const unsigned int *list;
	int n = gnutls_priority_group_list(policy, &list);
	bool defaults = has_default_groups(policy);
	unsigned int id, count = 0;
	size_t h;

	if (contains(list, n, GNUTLS_GROUP_X25519)) {
		g_string_append(out, ":+GROUP-X25519");
		count++;
	}
	for (h = 0; h < ARRAY_SIZE(hybrid_groups); h++) {
		id = gnutls_group_get_id(hybrid_groups[h]);
		if (id == GNUTLS_GROUP_INVALID || (!defaults && !contains(list, n, id)))
			continue;
		g_string_append_printf(out, ":+GROUP-%s", hybrid_groups[h]);
		count++;
	}
	count += add_other_groups(out, list, n, false);
	if (count == 0)
		count = add_other_groups(out, list, n, true);
	return count;
}

static unsigned int add_signatures(GString *out, gnutls_priority_t policy)
{
	gnutls_digest_algorithm_t hash;
	const unsigned int *list;
	int i, n = gnutls_priority_sign_list(policy, &list);
	unsigned int count = 0;
	const char *name;

	for (i = 0; i < n; i++) {
		/* The library's idea of "secure" can be changed by its configuration; ours cannot. */
		name = gnutls_sign_get_name(list[i]);
		hash = gnutls_sign_get_hash_algorithm(list[i]);
		if (!name || hash == GNUTLS_DIG_SHA1 || hash == GNUTLS_DIG_MD5 ||
		    !gnutls_sign_is_secure2(list[i], GNUTLS_SIGN_FLAG_SECURE_FOR_CERTS))
			continue;
		g_string_append_printf(out, ":+SIGN-%s", name);
		count++;
	}
	return count;
}

static bool allows_tls13(gnutls_priority_t policy)
{
	const unsigned int *list;
	int n = gnutls_priority_protocol_list(policy, &list);

	return contains(list, n, GNUTLS_TLS1_3);
}

/* RFC 8446 B.4: of our ciphers only AES-256-GCM comes with SHA-384. */
static uint32_t ciphers_for(enum policy_keys keys, uint32_t ciphers)
{
	const uint32_t sha384 = 1u << KTLS_AES_256_GCM;

	switch (keys) {
	case POLICY_PSK_SHA256:
		return ciphers & ~sha384;
	case POLICY_PSK_SHA384:
		return ciphers & sha384;
	default:
		return ciphers;
	}
}

/* Returns NULL, or what is missing. */
static const char *write_priority(GString *out, gnutls_priority_t policy, enum policy_keys keys,
				  uint32_t ciphers)
{
	if (!allows_tls13(policy))
		return "the system's crypto policy does not allow TLS 1.3";
	g_string_append(out, "NONE:+VERS-TLS1.3:+AEAD");
	if (add_ciphers(out, policy, ciphers_for(keys, ciphers)) == 0)
		return "no cipher is both allowed by the system's crypto policy and known to the kernel's kTLS";
	if (add_groups(out, policy) == 0)
		return "the system's crypto policy allows no key exchange group of TLS 1.3";
	if (add_signatures(out, policy) == 0)
		return "the system's crypto policy allows no signature algorithm that is not SHA-1";
	g_string_append(out, ":+CTYPE-X509:%PROFILE_MEDIUM");
	/* Both stand for psk_dhe_ke. The library wants signatures all the same. */
	if (keys != POLICY_CERTIFICATES)
		g_string_append(out, ":+ECDHE-PSK:+DHE-PSK");
	return NULL;
}

int policy_build(const char *base, enum policy_keys keys, uint32_t ciphers, char **ret,
		 char *reason, size_t reason_size)
{
	gnutls_priority_t policy;
	const char *missing;
	GString *out;
	int r;

	r = gnutls_priority_init(&policy, base, NULL);
	if (r == GNUTLS_E_MEMORY_ERROR)
		return -ENOMEM;
	if (r < 0) {
		snprintf(reason, reason_size, "the system's crypto policy cannot be used: %s",
			 gnutls_strerror(r));
		return -EINVAL;
	}
	out = g_string_new(NULL);
	missing = write_priority(out, policy, keys, ciphers);
	gnutls_priority_deinit(policy);
	if (missing) {
		snprintf(reason, reason_size, "%s", missing);
		g_string_free(out, TRUE);
		return -ENOTSUP;
	}
	*ret = g_string_free(out, FALSE);
	return 0;
}
