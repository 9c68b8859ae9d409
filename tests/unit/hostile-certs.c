// SPDX-License-Identifier: GPL-2.0-or-later
#include "hostile-certs.h"

#include <string.h>

#include "forge-der.h"

#define TAG_DNS 0x82	/* RFC 5280 4.2.1.6 */
#define TAG_EXTENSIONS 0xa3	/* RFC 5280 4.1 */

void forge_add(struct pki_cert *cert, const struct pki_cert *issuer, const char *oid,
	       const GByteArray *value, bool critical)
{
	gnutls_datum_t pem;

	g_assert_cmpint(gnutls_x509_crt_set_extension_by_oid(cert->crt, oid, value->data,
							     value->len, critical), ==, 0);
	g_assert_cmpint(gnutls_x509_crt_sign2(cert->crt, issuer->crt, issuer->key,
					      GNUTLS_DIG_SHA256, 0), ==, 0);
	/* The library might not read it again. */
	g_assert_cmpint(gnutls_x509_crt_export2(cert->crt, GNUTLS_X509_FMT_PEM, &pem), ==, 0);
	g_free(cert->pem);
	cert->pem = g_strndup((char *)pem.data, pem.size);
	gnutls_free(pem.data);
}

void forge_add_unknown(struct pki_cert *cert, const struct pki_cert *issuer, unsigned int n)
{
	GByteArray *list = g_byte_array_new(), *tbs;
	const uint8_t *field, *old;
	size_t size;
	g_autofree uint8_t *der = pki_der(cert, &size);

	for (field = der_tbs_field(der, 0); *field != TAG_EXTENSIONS; )
		field = der_next(field);
	old = der_content(field);
	g_byte_array_append(list, der_content(old), (guint)(der_next(old) - der_content(old)));
	for (unsigned int i = 0; i < n; i++) {
		const uint8_t one[] = { 0x30, 10, 6, 4, 0x2a, 3, (uint8_t)(0x81 + (i >> 7)),
					(uint8_t)(i & 0x7f), 4, 2, 5, 0 };

		g_byte_array_append(list, one, sizeof(one));
	}
	tbs = der_tbs_replace(der, field, der_wrap(TAG_EXTENSIONS, der_wrap(DER_SEQUENCE, list)));
	forge_become(cert, der_sign(tbs, der_next(der_content(der)), issuer->key));
}

GByteArray *der_names(uint8_t tag, const void *content, size_t len, unsigned int count)
{
	GByteArray *list = g_byte_array_new();

	while (count-- > 0)
		der_put(list, tag, content, len);
	return der_wrap(DER_SEQUENCE, list);
}

GByteArray *der_constraints(uint8_t which, const char *name, unsigned int count)
{
	GByteArray *trees = g_byte_array_new();

	while (count-- > 0)
		der_append(trees, der_names(TAG_DNS, name, strlen(name), 1));
	return der_wrap(DER_SEQUENCE, der_wrap((uint8_t)(0xa0 | which), trees));
}

static GByteArray *own_name(const struct hostile_pki *pki, unsigned int count)
{
	return der_names(TAG_DNS, pki->name, strlen(pki->name), count);
}

/* A leaf of @by with @san (freed; NULL: the right name), and @value (freed; or NULL) as @oid. */
static struct pki_cert *leaf_with(const struct hostile_pki *pki, const struct pki_cert *by,
				  GByteArray *san, const char *oid, GByteArray *value)
{
	struct pki_cert *leaf = pki_issue(&(struct pki_spec){ .cn = "leaf" }, by);

	if (!san)
		san = own_name(pki, 1);
	forge_add(leaf, by, OID_SAN, san, false);
	g_byte_array_unref(san);
	if (value) {
		forge_add(leaf, by, oid, value, true);
		g_byte_array_unref(value);
	}
	return leaf;
}

static struct pki_cert *nul_in_name(const struct hostile_pki *pki, struct pki_cert **ret_mid)
{
	g_autofree char *name = g_strdup_printf("%s.evil.example", pki->name);

	(void)ret_mid;
	name[strlen(pki->name)] = '\0';
	return leaf_with(pki, pki->ca, der_names(TAG_DNS, name, strlen(pki->name) + 13, 1), NULL,
			 NULL);
}

static struct pki_cert *many_names(const struct hostile_pki *pki, struct pki_cert **ret_mid)
{
	(void)ret_mid;
	return leaf_with(pki, pki->ca, own_name(pki, 501), NULL, NULL);
}

/*
 * Whose only extension has the identifier @oid, all of its DER, and @value (freed). The library is
 * not asked what it thinks of it: with a million names that takes it minutes.
 */
static struct pki_cert *leaf_of_one(const struct hostile_pki *pki, const void *oid, guint oid_len,
				    GByteArray *value)
{
	struct pki_cert *leaf = leaf_with(pki, pki->ca, NULL, NULL, NULL);
	GByteArray *one = g_byte_array_new(), *der, *tbs;
	gnutls_datum_t text;
	const uint8_t *field;
	size_t size;
	uint8_t *old = pki_der(leaf, &size);

	g_byte_array_append(one, oid, oid_len);
	der_append(one, der_wrap(DER_OCTET_STRING, value));
	for (field = der_tbs_field(old, 0); *field != TAG_EXTENSIONS; )
		field = der_next(field);
	tbs = der_wrap(TAG_EXTENSIONS, der_wrap(DER_SEQUENCE, der_wrap(DER_SEQUENCE, one)));
	der = der_sign(der_tbs_replace(old, field, tbs), der_next(der_content(old)), pki->ca->key);
	g_assert_cmpint(gnutls_pem_base64_encode2("CERTIFICATE", &(gnutls_datum_t){
						  der->data, der->len }, &text), ==, 0);
	g_free(leaf->pem);
	leaf->pem = g_strndup((char *)text.data, text.size);
	gnutls_free(text.data);
	g_byte_array_unref(der);
	g_free(old);
	return leaf;
}

static struct pki_cert *million_names(const struct hostile_pki *pki, struct pki_cert **ret_mid)
{
	(void)ret_mid;
	return leaf_of_one(pki, "\6\3\x55\x1d\x11", 5, der_names(TAG_DNS, "aa", 2, 1000000));
}

/* BER, which the library takes. */
static struct pki_cert *longer_oid(const struct hostile_pki *pki, struct pki_cert **ret_mid)
{
	(void)ret_mid;
	return leaf_of_one(pki, "\6\x81\3\x55\x1d\x11", 6, own_name(pki, 1));
}

static struct pki_cert *longest_oid(const struct hostile_pki *pki, struct pki_cert **ret_mid)
{
	(void)ret_mid;
	return leaf_of_one(pki, "\6\x83\0\0\3\x55\x1d\x23", 8, own_name(pki, 1));
}

static struct pki_cert *critical(const struct hostile_pki *pki, struct pki_cert **ret_mid)
{
	(void)ret_mid;
	return leaf_with(pki, pki->ca, NULL, OID_UNKNOWN, der_names(0x04, "x", 1, 1));
}

/* Of an intermediate authority that is not for this name. */
static struct pki_cert *excluded(const struct hostile_pki *pki, struct pki_cert **ret_mid)
{
	struct pki_cert *mid = pki_issue(&(struct pki_spec){ .cn = "mid", .ca = true }, pki->ca);
	GByteArray *tree = der_constraints(1, pki->name, 700);

	forge_add(mid, pki->ca, OID_NAME_CONSTRAINTS, tree, true);
	g_byte_array_unref(tree);
	*ret_mid = mid;
	return leaf_with(pki, mid, own_name(pki, 500), NULL, NULL);
}

const struct bad_cert bad_certs[] = {
	{ "a NUL in the name", nul_in_name, HS_CLIENT, HS_CERT_NAME, "\\x00" },
	{ "501 names", many_names, HS_SERVER, HS_CERT_INVALID, "more than 500 names" },
	{ "names behind a longer OID", longer_oid, HS_SERVER, HS_CERT_INVALID,
	  "more than 500 names" },
	{ "an authority behind the longest OID", longest_oid, HS_SERVER, HS_CERT_INVALID,
	  "more than 500 names" },
	{ "a million names", million_names, HS_SERVER, HS_PROTOCOL, "more than 262144 bytes" },
	{ "an unknown critical extension", critical, HS_SERVER, HS_CERT_INVALID,
	  "critical extension" },
	{ "700 name constraints, 500 names", excluded, HS_SERVER, HS_CERT_INVALID,
	  "was not allowed to issue it" },
};
const size_t n_bad_certs = G_N_ELEMENTS(bad_certs);
