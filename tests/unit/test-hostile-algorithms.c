// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the keys that are allowed cost: every kind the library makes, as the peer's own and in a
 * chain of ten, all of it good, so that nothing is saved; and RSA-PSS with parameters that
 * nobody uses. In ordinary mutual handshakes, which have P-256.
 */
#include <string.h>

#include "chain-meet.h"
#include "forge-der.h"
#include "forge-key.h"

#define CHAIN_MAX 10
#define OWN_LIMIT 4.0
#define CHAIN_LIMIT 20.0	/* who has ten is certified ten times */

static gint64 usual[HS_N_ROLES];

static struct side with(enum hs_role role, const char *chain, const struct pki_cert *key)
{
	struct side side = role == HS_CLIENT ? plain_client() : plain_server();

	if (role == HS_CLIENT) {
		side.chain = client_cert->pem;
		side.key = client_cert;
	}
	if (chain) {
		side.chain = chain;
		side.key = key;
	}
	return side;
}

/* Our end @ours against one of ours that has @chain: us of CPU. The least of several. */
static gint64 cost(enum hs_role ours, const char *chain, const struct pki_cert *key)
{
	enum hs_role theirs = ours == HS_CLIENT ? HS_SERVER : HS_CLIENT;
	gint64 least = G_MAXINT64;

	for (unsigned int i = 0; i < HOSTILE_RUNS; i++) {
		struct side side[HS_N_ROLES];
		struct pair p;
		gint64 spent;

		side[ours] = with(ours, NULL, NULL);
		side[theirs] = with(theirs, chain, key);
		pair_open(&p, &side[HS_CLIENT], &side[HS_SERVER]);
		spent = run_timed(&p, ours);
		least = MIN(least, spent);
		assert_outcome(&p, ours, HS_OK);
		g_assert_true(p.result[ours].peer_verified);
		pair_close(&p);
	}
	return least;
}

static void measure(const char *name, const char *chain, const struct pki_cert *key, double limit)
{
	for (unsigned int ours = 0; ours < HS_N_ROLES; ours++) {
		g_autofree char *text = g_strdup_printf("%s, to our %s", name, hs_role_name(ours));
		gint64 spent = cost(ours, chain, key);

		if ((double)spent > limit * (double)usual[ours]) {
			usual[ours] = hostile_usual(ours);	/* the machine may be busier now */
			spent = cost(ours, chain, key);
		}
		hostile_at_most(text, spent, ours, usual[ours], limit);
	}
}

static void test_kind(gconstpointer data)
{
	enum pki_key_type kind = (enum pki_key_type)GPOINTER_TO_INT(data);
	struct pki_cert *own = pki_issue(&(struct pki_spec){ .dns = { NAME }, .key = kind }, ca);
	struct pki_cert *cert[CHAIN_MAX];
	GString *pem = g_string_new(NULL);

	measure("its own", own->pem, own, OWN_LIMIT);
	for (unsigned int i = 0; i < CHAIN_MAX; i++) {
		g_autofree char *cn = g_strdup_printf("number %u", i);
		struct pki_spec spec = { .cn = cn, .key = kind, .ca = i + 1 < CHAIN_MAX };

		spec.dns[0] = spec.ca ? NULL : NAME;
		cert[i] = pki_issue(&spec, i ? cert[i - 1] : ca);
		g_string_prepend(pem, cert[i]->pem);
	}
	measure("ten", pem->str, cert[CHAIN_MAX - 1], CHAIN_LIMIT);
	for (unsigned int i = 0; i < CHAIN_MAX; i++)
		pki_free(cert[i]);
	pki_free(own);
	g_string_free(pem, TRUE);
}

/* Not measured where it is not there; the limit of size of a certificate leaves room for it. */
static void test_ml_dsa(void)
{
	const gnutls_pk_algorithm_t *pk;

	for (pk = gnutls_pk_list(); *pk != GNUTLS_PK_UNKNOWN; pk++)
		if (strncmp(gnutls_pk_get_name(*pk), "ML-DSA", 6) == 0)
			break;
	if (*pk == GNUTLS_PK_UNKNOWN)
		g_test_skip("this build of GnuTLS has no ML-DSA");
	else
		g_test_incomplete("GnuTLS has ML-DSA: what it costs is to be measured");
}

/* --- RSA-PSS (RFC 4055 3.1) --- */

/* AlgorithmIdentifiers of hashes, with their tags [0] and, in MGF1, [1]. */
#define OID_PSS "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"
#define SHA1 "\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00"
#define MD5 "\x30\x0c\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x05\x05\x00"
#define SHA256 "\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00"
#define SHA512 "\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00"
#define MGF1 "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08"
#define HASH256 "\xa0\x0f" SHA256
#define MASK256 "\xa1\x1c\x30\x1a" MGF1 SHA256

static const struct pss {
	const char *name, *parameters;	/* content of the SEQUENCE; NULL: no SEQUENCE at all */
	size_t len;
	enum hs_outcome outcome;	/* HS_PROTOCOL: the key would be used; it is no real one */
	const char *reason;
} psses[] = {
#define BYTES(s) s, sizeof(s) - 1
#define REFUSED HS_CERT_INVALID, "a key whose parameters are not accepted"
#define OTHER HS_PROTOCOL, "that the key of its certificate is not for"
#define USED HS_PROTOCOL, "does not have the key of the certificate"
	{ "none", NULL, 0, USED },
	{ "usual", BYTES(HASH256 MASK256 "\xa2\3\2\1\x20"), USED },
	{ "salt-0", BYTES(HASH256 MASK256 "\xa2\3\2\1\0"), USED },
	{ "salt-2g", BYTES(HASH256 MASK256 "\xa2\6\2\4\x7f\xff\xff\xff"), REFUSED },
	{ "salt-4g", BYTES(HASH256 MASK256 "\xa2\7\2\5\0\xff\xff\xff\xff"), REFUSED },
	{ "salt-negative", BYTES(HASH256 MASK256 "\xa2\3\2\1\xff"), REFUSED },
	{ "salt-of-256-bits", BYTES(HASH256 MASK256 "\xa2\x22\2\x20"
				    "12345678901234567890123456789012"), REFUSED },
	{ "trailer-2", BYTES(HASH256 MASK256 "\xa2\3\2\1\x20\xa3\3\2\1\2"), REFUSED },
	{ "sha1", BYTES(""), OTHER },
	{ "md5", BYTES("\xa0\x0e" MD5 "\xa2\3\2\1\x10"), OTHER },
	{ "other-mask", BYTES(HASH256 "\xa1\x1c\x30\x1a" MGF1 SHA512 "\xa2\3\2\1\x20"),
	  REFUSED },
	{ "sha512", BYTES("\xa0\x0f" SHA512 "\xa1\x1c\x30\x1a" MGF1 SHA512 "\xa2\3\2\1\x40"),
	  OTHER },
	{ "malformed", BYTES("\xa0\x20\x30\x80"), REFUSED },
};

static GByteArray *pss_algorithm(const struct pss *t)
{
	GByteArray *fields = g_byte_array_new();

	g_byte_array_append(fields, (const uint8_t *)OID_PSS, sizeof(OID_PSS) - 1);
	if (t->parameters)
		der_put(fields, DER_SEQUENCE, t->parameters, t->len);
	return der_wrap(DER_SEQUENCE, fields);
}

/* The key of @rsa with the parameters of @t. */
static GByteArray *pss_key(const struct pss *t, const struct forged_rsa *rsa)
{
	GByteArray *spki = forged_rsa_spki(rsa, true), *fields = pss_algorithm(t);
	const uint8_t *key = der_next(der_content(spki->data));

	g_byte_array_append(fields, key, (guint)(der_next(key) - key));
	g_byte_array_unref(spki);
	return der_wrap(DER_SEQUENCE, fields);
}

static void test_pss(gconstpointer data)
{
	const struct pss *t = data;
	const struct expected expected = { t->outcome, t->reason };
	struct forged_rsa *rsa = forged_rsa_new(2048, 3, false);
	struct pki_cert *leaf = pki_issue(&(struct pki_spec){ .dns = { NAME } }, ca);
	GByteArray *key = pss_key(t, rsa);

	forge_key(leaf, key, ca, NULL);
	for (unsigned int ours = 0; ours < HS_N_ROLES; ours++)
		chain_meet(t->name, ours, leaf->pem, NULL, 0x0809, &expected, usual[ours],
			   OWN_LIMIT);
	g_byte_array_unref(key);
	forged_rsa_free(rsa);
	pki_free(leaf);
}

int main(int argc, char **argv)
{
	char path[128];
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (unsigned int i = 0; i < HS_N_ROLES; i++)
		usual[i] = hostile_usual(i);
	for (unsigned int kind = 0; kind < PKI_RSA1024; kind++) {
		g_snprintf(path, sizeof(path), "/hostile-algorithms/kind/%s", pki_key_name(kind));
		g_test_add_data_func(path, GINT_TO_POINTER(kind), test_kind);
	}
	g_test_add_func("/hostile-algorithms/kind/ml-dsa", test_ml_dsa);
	for (size_t i = 0; i < G_N_ELEMENTS(psses); i++) {
		g_snprintf(path, sizeof(path), "/hostile-algorithms/pss/%s", psses[i].name);
		g_test_add_data_func(path, &psses[i], test_pss);
	}
	r = g_test_run();
	pair_pki_free();
	return r;
}
