/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RSA keys of any size, and certificates with them: the library makes and
 * signs with none as large as a stranger may send. Any failure ends the test.
 */
#ifndef TLSHD_TESTS_FORGE_KEY_H
#define TLSHD_TESTS_FORGE_KEY_H

#include <glib.h>

#include "pki.h"

struct forged_rsa;

/*
 * A modulus of @bits, a multiple of 512, and an exponent of @exponent_bytes. @signs: made of
 * small primes, so that it can sign; else the modulus is any number and so are its signatures.
 */
struct forged_rsa *forged_rsa_new(unsigned int bits, unsigned int exponent_bytes, bool signs);
void forged_rsa_free(struct forged_rsa *rsa);

/* SubjectPublicKeyInfo; @pss: of a key for RSA-PSS only (RFC 4055). */
GByteArray *forged_rsa_spki(const struct forged_rsa *rsa, bool pss);
/* DSA (RFC 3279 2.3.2) with p of @bits, and EC with the curve spelled out, @bits of nonsense. */
GByteArray *forged_dsa_spki(unsigned int bits);
GByteArray *forged_explicit_curve_spki(unsigned int bits);
/* EC on the curve whose OID is @oid, without header, with a point of @point_bytes of nonsense. */
GByteArray *forged_curve_spki(const char *oid, size_t oid_len, unsigned int point_bytes);

/*
 * @cert gets the public key @spki (NULL: keeps its own) and is signed anew: by @rsa with
 * PKCS #1 v1.5 and SHA-256, or by @issuer's own P-256 key when @rsa is NULL.
 */
void forge_key(struct pki_cert *cert, const GByteArray *spki, const struct pki_cert *issuer,
	       const struct forged_rsa *rsa);

#endif
