// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Both a certificate and a list are SEQUENCE { tbs, algorithm, BIT STRING }.
 * What is made here starts as one of the library's; a field of tbs is replaced
 * and all of it signed once more.
 */
#include "forge-der.h"

#include <gnutls/abstract.h>

static void check(int r, const char *what)
{
	if (r < 0)
		g_error("%s: %s", what, gnutls_strerror(r));
}

static void put_header(GByteArray *out, uint8_t tag, size_t len)
{
	uint8_t octets[] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };
	size_t n = len > 0xffff ? 3 : len > 0xff ? 2 : 1;
	uint8_t form = (uint8_t)(0x80 | n);

	g_byte_array_append(out, &tag, 1);
	if (len > 0x7f)
		g_byte_array_append(out, &form, 1);
	g_byte_array_append(out, octets + sizeof(octets) - n, (guint)n);
}

void der_put(GByteArray *out, uint8_t tag, const void *content, size_t len)
{
	put_header(out, tag, len);
	if (len > 0)
		g_byte_array_append(out, content, (guint)len);
}

GByteArray *der_wrap(uint8_t tag, GByteArray *content)
{
	GByteArray *out = g_byte_array_new();

	der_put(out, tag, content->data, content->len);
	g_byte_array_unref(content);
	return out;
}

void der_append(GByteArray *out, GByteArray *more)
{
	g_byte_array_append(out, more->data, more->len);
	g_byte_array_unref(more);
}

/* Length of the header of the element at @at; *@ret_len: of its content. */
static size_t header_of(const uint8_t *at, size_t *ret_len)
{
	size_t n = at[1] & 0x80 ? at[1] & 0x7f : 0, i;

	*ret_len = n ? 0 : at[1];
	for (i = 0; i < n; i++)
		*ret_len = *ret_len << 8 | at[2 + i];
	return 2 + n;
}

const uint8_t *der_content(const uint8_t *at)
{
	size_t len;

	return at + header_of(at, &len);
}

const uint8_t *der_next(const uint8_t *at)
{
	size_t len, header = header_of(at, &len);

	return at + header + len;
}

const uint8_t *der_tbs_field(const uint8_t *der, unsigned int n)
{
	const uint8_t *field = der_content(der_content(der));

	while (n-- > 0)
		field = der_next(field);
	return field;
}

GByteArray *der_sign(GByteArray *tbs, const uint8_t *algorithm, gnutls_x509_privkey_t key)
{
	gnutls_datum_t data = { tbs->data, tbs->len }, signature;
	GByteArray *bits = g_byte_array_new();
	gnutls_privkey_t signer;
	const uint8_t unused = 0;

	check(gnutls_privkey_init(&signer), "key");
	check(gnutls_privkey_import_x509(signer, key, 0), "key");
	check(gnutls_privkey_sign_data2(signer, GNUTLS_SIGN_ECDSA_SHA256, 0, &data, &signature),
	      "signature");
	gnutls_privkey_deinit(signer);
	g_byte_array_append(bits, &unused, 1);
	g_byte_array_append(bits, signature.data, signature.size);
	gnutls_free(signature.data);
	g_byte_array_append(tbs, algorithm, (guint)(der_next(algorithm) - algorithm));
	der_append(tbs, der_wrap(DER_BIT_STRING, bits));
	return der_wrap(DER_SEQUENCE, tbs);
}

GByteArray *der_tbs_replace(const uint8_t *der, const uint8_t *field, GByteArray *by)
{
	const uint8_t *tbs = der_content(der), *first = der_content(tbs), *end = der_next(tbs);
	GByteArray *fields = g_byte_array_new();

	g_byte_array_append(fields, first, (guint)(field - first));
	g_byte_array_append(fields, by->data, by->len);
	g_byte_array_append(fields, der_next(field), (guint)(end - der_next(field)));
	g_byte_array_unref(by);
	return der_wrap(DER_SEQUENCE, fields);
}

void forge_become(struct pki_cert *cert, GByteArray *der)
{
	gnutls_datum_t in = { der->data, der->len }, out;

	gnutls_x509_crt_deinit(cert->crt);
	check(gnutls_x509_crt_init(&cert->crt), "certificate");
	check(gnutls_x509_crt_import(cert->crt, &in, GNUTLS_X509_FMT_DER), "certificate");
	check(gnutls_pem_base64_encode2("CERTIFICATE", &in, &out), "certificate");
	g_free(cert->pem);
	cert->pem = g_strndup((char *)out.data, out.size);
	gnutls_free(out.data);
	g_byte_array_unref(der);
}
