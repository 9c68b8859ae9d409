// SPDX-License-Identifier: GPL-2.0-or-later
#include "hostile-chains.h"

#include "forge-der.h"
#include "forge-key.h"

#define SCHEME_PSS_RSAE 0x0804	/* RFC 8446 4.2.3, all with SHA-256 */
#define SCHEME_PSS_PSS 0x0809
#define SCHEME_P256 0x0403
#define CHAIN_MAX 10
#define BRAINPOOL_512 "\x2b\x24\x03\x03\x02\x08\x01\x01\x0d"

#define ABOVE "a key above the limit (modulus of 8192 bits, exponent of 5 bytes)"
#define PARAMETERS "has a key whose parameters are not accepted"
/* What its issuer in the store did not sign, not what the key that came with it did not. */
#define FROM_THE_TOP "that is in the trust store"
const struct dear dear_chains[] = {
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
	{ "rsa-8192-issuer-namesake", RSA, 8192, 5, true, NAMESAKE, FROM_THE_TOP,
	  NAMESAKE_LIMIT },
	{ "rsa-8192", RSA, 8192, 5, false, OURS, "does not have the key", CERTIFIED_LIMIT },
	{ "dsa-16384", DSA, 16384, 0, false, OURS, ABOVE, STRANGER_LIMIT },
	{ "dsa-16384-issuer", DSA, 16384, 0, true, OURS, ABOVE, STRANGER_LIMIT },
	{ "dsa-8192-issuer", DSA, 8192, 0, true, OURS, "together too long", STRANGER_LIMIT },
	{ "explicit-curve", EXPLICIT, 4096, 0, false, OURS, PARAMETERS, CERTIFIED_LIMIT },
	{ "explicit-curve-issuer", EXPLICIT, 4096, 0, true, OURS, PARAMETERS, CERTIFIED_LIMIT },
	{ "brainpool", BRAINPOOL, 512, 0, false, OURS, PARAMETERS, CERTIFIED_LIMIT },
	{ "brainpool-issuer", BRAINPOOL, 512, 0, true, OURS, PARAMETERS, CERTIFIED_LIMIT },
};
const size_t dear_n_chains = G_N_ELEMENTS(dear_chains);

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

char *dear_chain(const struct dear *t, const struct hostile_pki *pki)
{
	const struct pki_spec mid_spec = { .cn = "dear issuer", .ca = true };
	const struct pki_spec leaf_spec = { .cn = "dear", .dns = { pki->name } };
	const struct pki_cert *top = t->by == OTHER ? pki->other_ca : pki->ca;
	const struct pki_cert *signer = t->by == OURS ? pki->ca : pki->other_ca;
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

unsigned int dear_scheme(const struct dear *t, size_t *ret_size)
{
	bool rsa = t->kind == RSA || t->kind == RSA_PSS;

	*ret_size = t->issuer || !rsa ? 70 : t->bits / 8;
	return t->issuer || !rsa ? SCHEME_P256 : t->kind == RSA ? SCHEME_PSS_RSAE : SCHEME_PSS_PSS;
}

char *good_chain(const struct hostile_pki *pki, unsigned int n, unsigned int bits,
		 unsigned int exponent)
{
	struct forged_rsa *rsa = forged_rsa_new(bits, exponent, true);
	GByteArray *key = forged_rsa_spki(rsa, false);
	struct pki_cert *cert[CHAIN_MAX];
	GString *pem = g_string_new(NULL);

	for (unsigned int i = 0; i < n; i++) {
		char cn[32];
		struct pki_spec spec = { .cn = cn, .ca = i + 1 < n };

		g_snprintf(cn, sizeof(cn), "certified %u", i);
		spec.dns[0] = spec.ca ? NULL : pki->name;
		cert[i] = pki_issue(&spec, i ? cert[i - 1] : pki->ca);
	}
	for (unsigned int i = 0; i < n; i++) {
		forge_key(cert[i], key, i ? NULL : pki->ca, i ? rsa : NULL);
		g_string_prepend(pem, cert[i]->pem);
		pki_free(cert[i]);
	}
	g_byte_array_unref(key);
	forged_rsa_free(rsa);
	return g_string_free(pem, FALSE);
}
