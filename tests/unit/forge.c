// SPDX-License-Identifier: GPL-2.0-or-later
#include "forge.h"

#include <string.h>

#include "forge-der.h"

#define PADDING_OID "1.3.6.1.4.1.55555.1"
#define PART 12			/* bytes of a relative name "CN=x" */
#define SUBJECT_FIELD 5		/* version, serial, algorithm, issuer, validity, subject */
#define CRL_EXTENSIONS 0xa0

static void check(int r, const char *what)
{
	if (r < 0)
		g_error("%s: %s", what, gnutls_strerror(r));
}

static GByteArray *long_name(size_t bytes)
{
	size_t rest = bytes - (bytes - 4 > 0xffff ? 5 : 4);
	GByteArray *parts = g_byte_array_new();

	for (; rest > 0; rest -= MIN(rest, PART + rest % PART)) {
		size_t text = 1 + rest % PART;	/* only the first has more than one */
		uint8_t part[2 * PART] = {
			DER_SET, (uint8_t)(9 + text), DER_SEQUENCE, (uint8_t)(7 + text),
			DER_OID, 3, 0x55, 4, 3, DER_UTF8, (uint8_t)text,
		};

		memset(part + 11, 'x', text);
		g_byte_array_append(parts, part, (guint)(11 + text));
	}
	return der_wrap(DER_SEQUENCE, parts);
}

struct pki_cert *forge_subject(const struct pki_spec *spec, const struct pki_cert *issuer,
			       size_t bytes)
{
	struct pki_cert *cert = pki_issue(spec, issuer);
	GByteArray *name = long_name(bytes), *tbs;
	uint8_t *der;
	size_t size;

	g_assert_cmpuint(name->len, ==, bytes);
	der = pki_der(cert, &size);
	tbs = der_tbs_replace(der, der_tbs_field(der, SUBJECT_FIELD), name);
	forge_become(cert, der_sign(tbs, der_next(der_content(der)), issuer->key));
	g_free(der);
	return cert;
}

struct pki_cert *forge_size(const struct pki_spec *spec, const struct pki_cert *issuer,
			    size_t bytes)
{
	struct pki_cert *cert = pki_issue(spec, issuer);
	g_autofree uint8_t *padding = g_malloc0(bytes);
	size_t size, len = bytes / 2;
	uint8_t *der;

	/* Signatures differ in length, so it takes a few. */
	for (;;) {
		check(gnutls_x509_crt_set_extension_by_oid(cert->crt, PADDING_OID, padding, len,
							   0), "padding");
		check(gnutls_x509_crt_sign2(cert->crt, issuer->crt, issuer->key,
					    GNUTLS_DIG_SHA256, 0), "signature");
		der = pki_der(cert, &size);
		if (size == bytes)
			break;
		g_free(der);
		len = len + bytes - size;
	}
	forge_become(cert, g_byte_array_new_take(der, size));
	return cert;
}

static GByteArray *extension_der(const struct forge_extension *e)
{
	GByteArray *fields = g_byte_array_new();

	der_put(fields, DER_OID, e->oid, e->oid_len);
	if (e->critical)
		g_byte_array_append(fields, (const uint8_t *)"\x01\x01\xff", 3);
	der_put(fields, DER_OCTET_STRING, e->value, e->value_len);
	return der_wrap(DER_SEQUENCE, fields);
}

char *forge_crl(const struct pki_cert *issuer, const struct pki_cert *revoked,
		const struct forge_extension *extension)
{
	g_autofree char *plain = pki_crl(issuer, revoked, -60, 3600);
	gnutls_datum_t pem = { (unsigned char *)plain, (unsigned int)strlen(plain) }, der, text;
	GByteArray *list = g_byte_array_new(), *more = extension_der(extension), *out;
	const uint8_t *field, *old;
	char *crl;

	check(gnutls_pem_base64_decode2("X509 CRL", &pem, &der), "list");
	for (field = der_tbs_field(der.data, 0); *field != CRL_EXTENSIONS; )
		field = der_next(field);
	old = der_content(field);
	g_byte_array_append(list, der_content(old), (guint)(der_next(old) - der_content(old)));
	g_byte_array_append(list, more->data, more->len);
	g_byte_array_unref(more);
	out = der_tbs_replace(der.data, field,
			      der_wrap(CRL_EXTENSIONS, der_wrap(DER_SEQUENCE, list)));
	out = der_sign(out, der_next(der_content(der.data)), issuer->key);
	gnutls_free(der.data);
	check(gnutls_pem_base64_encode2("X509 CRL", &(gnutls_datum_t){ out->data, out->len }, &text),
	      "list");
	g_byte_array_unref(out);
	crl = g_strndup((char *)text.data, text.size);
	gnutls_free(text.data);
	return crl;
}
