// SPDX-License-Identifier: GPL-2.0-or-later
#include "forge-key.h"

#include <gmp.h>
#include <gnutls/crypto.h>
#include <string.h>

#include "forge-der.h"

#define PRIME_BITS 256
#define PRIME_BITS_MIN 64
#define ALGORITHM_FIELD 2
#define KEY_FIELD 6

/* RFC 8017 A.2: rsaEncryption, and sha256WithRSAEncryption with its NULL. RFC 4055 1.2: PSS. */
#define OID_RSA "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
#define OID_PSS "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"
#define OID_DSA "\x2a\x86\x48\xce\x38\x04\x01"
#define OID_EC "\x2a\x86\x48\xce\x3d\x02\x01"
#define OID_PRIME_FIELD "\x2a\x86\x48\xce\x3d\x01\x01"
static const uint8_t rsa_sha256[] = {
	0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00,
};
/* RFC 8017 9.2: DigestInfo of SHA-256 */
static const uint8_t digest_info[] = {
	0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
	0x05, 0x00, 0x04, 0x20,
};

struct forged_rsa {
	mpz_t n, e, d;
	unsigned int bits;
	bool signs;
};

static void random_number(mpz_t ret, unsigned int bits)
{
	g_autofree uint8_t *bytes = g_malloc(bits / 8);

	g_assert_cmpint(gnutls_rnd(GNUTLS_RND_NONCE, bytes, bits / 8), ==, 0);
	bytes[0] |= 0xc0;
	bytes[bits / 8 - 1] |= 1;
	mpz_import(ret, bits / 8, 1, 1, 0, 0, bytes);
}

/* The product of many primes: as good a modulus for who verifies, and soon found. */
static void make_modulus(struct forged_rsa *rsa)
{
	unsigned int bits = rsa->bits, left;
	mpz_t phi, p;

	mpz_inits(phi, p, NULL);
	do {
		mpz_set_ui(rsa->n, 1);
		mpz_set_ui(phi, 1);
		while ((left = bits - (unsigned int)mpz_sizeinbase(rsa->n, 2)) >= PRIME_BITS_MIN) {
			random_number(p, MIN(left, PRIME_BITS) / 8 * 8);
			mpz_nextprime(p, p);
			mpz_mul(rsa->n, rsa->n, p);
			mpz_sub_ui(p, p, 1);
			mpz_mul(phi, phi, p);
		}
		rsa->bits = (unsigned int)(mpz_sizeinbase(rsa->n, 2) + 7) / 8 * 8;
	} while (mpz_invert(rsa->d, rsa->e, phi) == 0);
	mpz_clears(phi, p, NULL);
}

struct forged_rsa *forged_rsa_new(unsigned int bits, unsigned int exponent_bytes, bool signs)
{
	struct forged_rsa *rsa = g_new0(struct forged_rsa, 1);

	mpz_inits(rsa->n, rsa->e, rsa->d, NULL);
	rsa->bits = bits;
	rsa->signs = signs;
	random_number(rsa->e, 8 * exponent_bytes);
	if (signs) {
		/* Any other would share a factor with one of the primes less one. */
		mpz_nextprime(rsa->e, rsa->e);
		make_modulus(rsa);
	} else {
		random_number(rsa->n, bits);
	}
	return rsa;
}

void forged_rsa_free(struct forged_rsa *rsa)
{
	if (!rsa)
		return;
	mpz_clears(rsa->n, rsa->e, rsa->d, NULL);
	g_free(rsa);
}

static void put_number(GByteArray *out, const mpz_t number)
{
	size_t size = (mpz_sizeinbase(number, 2) + 7) / 8;
	g_autofree uint8_t *bytes = g_malloc0(size + 1);

	mpz_export(bytes + 1, NULL, 1, 1, 0, 0, number);
	der_put(out, DER_INTEGER, bytes[1] & 0x80 ? bytes : bytes + 1, size + (bytes[1] >> 7));
}

static void put_random(GByteArray *out, unsigned int bits)
{
	mpz_t number;

	mpz_init(number);
	random_number(number, bits);
	put_number(out, number);
	mpz_clear(number);
}

/* @algorithm and @key, both freed, as SubjectPublicKeyInfo. */
static GByteArray *spki(GByteArray *algorithm, GByteArray *key)
{
	GByteArray *bits = g_byte_array_new();

	g_byte_array_append(bits, (const uint8_t *)"", 1);	/* no unused bits */
	der_append(bits, key);
	algorithm = der_wrap(DER_SEQUENCE, algorithm);
	der_append(algorithm, der_wrap(DER_BIT_STRING, bits));
	return der_wrap(DER_SEQUENCE, algorithm);
}

GByteArray *forged_rsa_spki(const struct forged_rsa *rsa, bool pss)
{
	GByteArray *algorithm = g_byte_array_new(), *key = g_byte_array_new();

	der_put(algorithm, DER_OID, pss ? OID_PSS : OID_RSA, sizeof(OID_RSA) - 1);
	if (!pss)
		der_put(algorithm, DER_NULL + 1, NULL, 0);
	put_number(key, rsa->n);
	put_number(key, rsa->e);
	return spki(algorithm, der_wrap(DER_SEQUENCE, key));
}

GByteArray *forged_dsa_spki(unsigned int bits)
{
	GByteArray *algorithm = g_byte_array_new(), *parts = g_byte_array_new();
	GByteArray *key = g_byte_array_new();

	der_put(algorithm, DER_OID, OID_DSA, sizeof(OID_DSA) - 1);
	put_random(parts, bits);
	put_random(parts, 256);
	put_random(parts, bits - 8);
	der_append(algorithm, der_wrap(DER_SEQUENCE, parts));
	put_random(key, bits - 8);
	return spki(algorithm, key);
}

GByteArray *forged_explicit_curve_spki(unsigned int bits)
{
	GByteArray *algorithm = g_byte_array_new(), *domain = g_byte_array_new();
	GByteArray *field = g_byte_array_new(), *curve = g_byte_array_new();
	GByteArray *key = g_byte_array_new();
	g_autofree uint8_t *nonsense = g_malloc0(bits / 8);

	memset(nonsense, 4, bits / 8);
	der_put(algorithm, DER_OID, OID_EC, sizeof(OID_EC) - 1);
	der_put(domain, DER_INTEGER, "\1", 1);
	der_put(field, DER_OID, OID_PRIME_FIELD, sizeof(OID_PRIME_FIELD) - 1);
	put_random(field, bits);
	der_append(domain, der_wrap(DER_SEQUENCE, field));
	der_put(curve, DER_OCTET_STRING, nonsense, bits / 8);
	der_put(curve, DER_OCTET_STRING, nonsense, bits / 8);
	der_append(domain, der_wrap(DER_SEQUENCE, curve));
	der_put(domain, DER_OCTET_STRING, nonsense, bits / 8);
	put_random(domain, bits);
	der_append(algorithm, der_wrap(DER_SEQUENCE, domain));
	g_byte_array_append(key, nonsense, bits / 8);
	return spki(algorithm, key);
}

GByteArray *forged_curve_spki(const char *oid, size_t oid_len, unsigned int point_bytes)
{
	GByteArray *algorithm = g_byte_array_new(), *key = g_byte_array_new();

	der_put(algorithm, DER_OID, OID_EC, sizeof(OID_EC) - 1);
	der_put(algorithm, DER_OID, oid, oid_len);
	g_byte_array_set_size(key, point_bytes);
	memset(key->data, 4, point_bytes);
	return spki(algorithm, key);
}

/* RFC 8017 8.2.1, of SHA-256; @tbs (freed) becomes the whole certificate. */
static GByteArray *sign_rsa(GByteArray *tbs, const struct forged_rsa *rsa)
{
	size_t size = rsa->bits / 8, digest_at = size - 32;
	g_autofree uint8_t *block = g_malloc(size);
	GByteArray *bits = g_byte_array_new();
	size_t used;
	mpz_t m;

	memset(block, 0xff, size);
	block[0] = 0;
	block[1] = 1;
	block[digest_at - sizeof(digest_info) - 1] = 0;
	memcpy(block + digest_at - sizeof(digest_info), digest_info, sizeof(digest_info));
	gnutls_hash_fast(GNUTLS_DIG_SHA256, tbs->data, tbs->len, block + digest_at);
	mpz_init(m);
	mpz_import(m, size, 1, 1, 0, 0, block);
	if (rsa->signs)
		mpz_powm(m, m, rsa->d, rsa->n);
	memset(block, 0, size);
	used = (mpz_sizeinbase(m, 2) + 7) / 8;
	mpz_export(block + size - used, NULL, 1, 1, 0, 0, m);
	mpz_clear(m);
	g_byte_array_append(bits, (const uint8_t *)"", 1);
	g_byte_array_append(bits, block, (guint)size);
	g_byte_array_append(tbs, rsa_sha256, sizeof(rsa_sha256));
	der_append(tbs, der_wrap(DER_BIT_STRING, bits));
	return der_wrap(DER_SEQUENCE, tbs);
}

/* The certificate of @der (freed) with @tbs (freed) in place of its own, not signed yet. */
static uint8_t *with_tbs(uint8_t *der, GByteArray *tbs)
{
	const uint8_t *rest = der_next(der_content(der));

	g_byte_array_append(tbs, rest, (guint)(der_next(der) - rest));
	g_free(der);
	return g_byte_array_free(der_wrap(DER_SEQUENCE, tbs), FALSE);
}

void forge_key(struct pki_cert *cert, const GByteArray *key, const struct pki_cert *issuer,
	       const struct forged_rsa *rsa)
{
	GByteArray *part = g_byte_array_new(), *tbs = g_byte_array_new();
	const uint8_t *algorithm, *start;
	size_t size;
	uint8_t *der = pki_der(cert, &size);

	if (key) {
		g_byte_array_append(part, key->data, key->len);
		der = with_tbs(der, der_tbs_replace(der, der_tbs_field(der, KEY_FIELD), part));
		part = g_byte_array_new();
	}
	if (rsa) {
		g_byte_array_append(part, rsa_sha256, sizeof(rsa_sha256));
		part = der_tbs_replace(der, der_tbs_field(der, ALGORITHM_FIELD), part);
		der = with_tbs(der, part);
	} else {
		g_byte_array_unref(part);
	}
	start = der_content(der);
	algorithm = der_next(start);
	g_byte_array_append(tbs, start, (guint)(algorithm - start));
	forge_become(cert, rsa ? sign_rsa(tbs, rsa) : der_sign(tbs, algorithm, issuer->key));
	g_free(der);
}
