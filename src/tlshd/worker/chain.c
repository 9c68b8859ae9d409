// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the certificates a peer sent. Anybody may send any: what would be dear to go on with is
 * refused here, before the library looks at it more closely.
 */
#include "tlshd/worker/engine-private.h"

#define RSA_BITS_MAX 8192	/* a key of 16384 bits costs 400 ms in one go */
#define RSA_EXPONENT_MAX 5	/* bytes */
#define DSA_EXPONENTS 512	/* bits of both */
#define COST_TOO_HIGH UINT64_MAX
#define COST_UNKNOWN (UINT64_MAX - 1)	/* no memory to look */
/* Of all keys of a chain: two of the longest modulus with the usual exponent, 65537. */
#define CHAIN_COST_MAX (2ull * RSA_BITS_MAX * RSA_BITS_MAX * 24)
#define CERT_MAX (16u << 10)	/* bytes; with ML-DSA-87 it is 8 KiB */
#define DN_MAX 2048		/* bytes of DER: the library takes quadratic time to print them */
#define EXTENSIONS_MAX 64	/* the library goes through them for each that it looks for */

static bool is_rsa(unsigned int pk)
{
	return pk == GNUTLS_PK_RSA || pk == GNUTLS_PK_RSA_PSS;
}

/*
 * What a signature check with this key costs, in squarings of the modulus times its bits
 * squared; the elliptic curves the library knows are cheap. COST_TOO_HIGH: above a limit, or no
 * key that can be used.
 */
static uint64_t key_cost(gnutls_x509_crt_t cert)
{
	gnutls_datum_t m = { NULL, 0 }, e = { NULL, 0 };
	uint64_t cost = COST_TOO_HIGH;
	unsigned int bits = 0;
	gnutls_pubkey_t key;
	int pk, r;

	pk = gnutls_x509_crt_get_pk_algorithm(cert, &bits);
	if (pk < 0)
		return 0;	/* unknown kinds are refused by the library, cheaply */
	if (bits > RSA_BITS_MAX)
		return is_rsa((unsigned int)pk) || pk == GNUTLS_PK_DSA ? COST_TOO_HIGH : 0;
	if (pk == GNUTLS_PK_DSA)
		return (uint64_t)bits * bits * DSA_EXPONENTS;
	if (!is_rsa((unsigned int)pk))
		return 0;
	if (gnutls_pubkey_init(&key) < 0)
		return COST_UNKNOWN;
	r = gnutls_pubkey_import_x509(key, cert, 0);
	if (r == 0)
		r = gnutls_pubkey_export_rsa_raw2(key, &m, &e, GNUTLS_EXPORT_FLAG_NO_LZ);
	if (r == GNUTLS_E_MEMORY_ERROR)
		cost = COST_UNKNOWN;
	else if (r == 0 && e.size <= RSA_EXPONENT_MAX)
		cost = (uint64_t)bits * bits * 8 * e.size;
	gnutls_free(m.data);
	gnutls_free(e.data);
	gnutls_pubkey_deinit(key);
	return cost;
}

/* Bytes of the longer one of its names, or the library's code. */
static int name_len(gnutls_x509_crt_t cert)
{
	gnutls_datum_t subject = { NULL, 0 }, issuer = { NULL, 0 };
	int r = gnutls_x509_crt_get_raw_dn(cert, &subject);

	if (r == 0)
		r = gnutls_x509_crt_get_raw_issuer_dn(cert, &issuer);
	if (r == 0)
		r = (int)(subject.size > issuer.size ? subject.size : issuer.size);
	gnutls_free(subject.data);
	gnutls_free(issuer.data);
	return r;
}

static bool too_many_extensions(gnutls_x509_crt_t cert)
{
	char oid[1];
	size_t size = sizeof(oid);

	return gnutls_x509_crt_get_extension_info(cert, EXTENSIONS_MAX, oid, &size, NULL) !=
	       GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
}

/* Number @i, by what can be told without the library. @names: of those before it, and then its. */
static void check_bytes(const gnutls_datum_t *der, unsigned int i, const char *word,
			unsigned int *names, struct verdict *v)
{
	if (der->size > CERT_MAX) {
		verdict_set(v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "certificate %u of the %s has %u bytes; at most %u are read", i + 1, word,
			    der->size, CERT_MAX);
		return;
	}
	*names += count_names(der);
	if (*names > NAMES_MAX)
		verdict_set(v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "the certificates of the %s have more than %d names (those of "
			    "directories count by their length)", word, NAMES_MAX);
}

static void import(struct chain *chain, const gnutls_datum_t *der, const char *word,
		   struct verdict *v)
{
	unsigned int i = chain->n;
	int r = gnutls_x509_crt_init(&chain->cert[i]), name = 0;

	if (r < 0) {
		verdict_out_of_memory(v);
		return;
	}
	chain->n = i + 1;
	r = gnutls_x509_crt_import(chain->cert[i], der, GNUTLS_X509_FMT_DER);
	if (r == 0)
		name = name_len(chain->cert[i]);
	if (r == GNUTLS_E_MEMORY_ERROR || name == GNUTLS_E_MEMORY_ERROR) {
		verdict_out_of_memory(v);
	} else if (r < 0) {
		verdict_set(v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "certificate %u of the %s cannot be read: %s", i + 1, word,
			    gnutls_strerror(r));
	} else if (name < 0 || name > DN_MAX) {
		/* Not kept: the result would print the name. */
		chain_clear(chain);
		verdict_set(v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "certificate %u of the %s has a name of more than %d bytes", i + 1, word,
			    DN_MAX);
	} else if (too_many_extensions(chain->cert[i])) {
		verdict_set(v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "certificate %u of the %s has more than %d extensions", i + 1, word,
			    EXTENSIONS_MAX);
	}
}

/* @total: of the keys before the last certificate, and then its. */
static void check_key(const struct chain *chain, const char *word, uint64_t *total,
		      struct verdict *v)
{
	uint64_t cost = key_cost(chain->cert[chain->n - 1]);

	if (cost == COST_UNKNOWN) {
		verdict_out_of_memory(v);
		return;
	}
	if (cost == COST_TOO_HIGH) {
		verdict_set(v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "certificate %u of the %s has a key above the limit (modulus of %d bits, "
			    "exponent of %d bytes)", chain->n, word, RSA_BITS_MAX, RSA_EXPONENT_MAX);
		return;
	}
	*total += cost;
	if (*total > CHAIN_COST_MAX)
		verdict_set(v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "the keys of the first %u certificates of the %s are together too "
			    "long (RSA or DSA): they would hold up others", chain->n, word);
}

void chain_import(struct chain *chain, const gnutls_datum_t *der, unsigned int n,
		  enum hs_role peer, struct verdict *v)
{
	const char *word = hs_role_name(peer);
	unsigned int i, names = 0;
	uint64_t total = 0;

	chain_clear(chain);
	if (n > CHAIN_MAX)
		verdict_set(v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "the %s sent %u certificates; at most %d are read", word, n, CHAIN_MAX);
	for (i = 0; i < n && v->outcome == HS_OK; i++) {
		check_bytes(&der[i], i, word, &names, v);
		if (v->outcome == HS_OK)
			import(chain, &der[i], word, v);
		if (v->outcome == HS_OK)
			check_key(chain, word, &total, v);
	}
}

void chain_clear(struct chain *chain)
{
	unsigned int i;

	for (i = 0; i < chain->n; i++)
		gnutls_x509_crt_deinit(chain->cert[i]);
	chain->n = 0;
}
