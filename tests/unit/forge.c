// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Both a certificate and a list are SEQUENCE { tbs, algorithm, BIT STRING }.
 * What is made here starts as one of the library's; a field of tbs is replaced
 * and all of it signed once more. Only the forms occur that DER allows.
 */
#include "forge.h"

#include <glib.h>
#include <gnutls/abstract.h>
#include <stdint.h>
#include <string.h>

#define PADDING_OID "1.3.6.1.4.1.55555.1"
#define PART 12			/* bytes of a relative name "CN=x" */
#define SUBJECT_FIELD 5		/* version, serial, algorithm, issuer, validity, subject */
#define CRL_EXTENSIONS 0xa0

enum { BIT_STRING = 0x03, OCTET_STRING, OID = 0x06, UTF8 = 0x0c, SEQUENCE = 0x30, SET };

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

static void put(GByteArray *out, uint8_t tag, const void *content, size_t len)
{
	put_header(out, tag, len);
	g_byte_array_append(out, content, (guint)len);
}

/* @content, which is freed, as one element. */
static GByteArray *wrap(uint8_t tag, GByteArray *content)
{
	GByteArray *out = g_byte_array_new();

	put(out, tag, content->data, content->len);
	g_byte_array_unref(content);
	return out;
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

static const uint8_t *content_of(const uint8_t *at)
{
	size_t len;

	return at + header_of(at, &len);
}

static const uint8_t *next(const uint8_t *at)
{
	size_t len, header = header_of(at, &len);

	return at + header + len;
}

static GByteArray *sign(GByteArray *tbs, const uint8_t *algorithm, gnutls_x509_privkey_t key)
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
	g_byte_array_append(tbs, algorithm, (guint)(next(algorithm) - algorithm));
	put(tbs, BIT_STRING, bits->data, bits->len);
	g_byte_array_unref(bits);
	return wrap(SEQUENCE, tbs);
}

/* @der with @by (which is freed) in place of the field at @field of its tbs. */
static GByteArray *replace(const uint8_t *der, const uint8_t *field, GByteArray *by,
			   gnutls_x509_privkey_t key)
{
	const uint8_t *tbs = content_of(der), *first = content_of(tbs), *end = next(tbs);
	GByteArray *fields = g_byte_array_new();

	g_byte_array_append(fields, first, (guint)(field - first));
	g_byte_array_append(fields, by->data, by->len);
	g_byte_array_append(fields, next(field), (guint)(end - next(field)));
	g_byte_array_unref(by);
	return sign(wrap(SEQUENCE, fields), end, key);
}

/* @cert becomes what @der says. */
static void become(struct pki_cert *cert, const GByteArray *der)
{
	gnutls_datum_t in = { der->data, der->len }, out;

	gnutls_x509_crt_deinit(cert->crt);
	check(gnutls_x509_crt_init(&cert->crt), "certificate");
	check(gnutls_x509_crt_import(cert->crt, &in, GNUTLS_X509_FMT_DER), "certificate");
	check(gnutls_pem_base64_encode2("CERTIFICATE", &in, &out), "certificate");
	g_free(cert->pem);
	cert->pem = g_strndup((char *)out.data, out.size);
	gnutls_free(out.data);
}

static GByteArray *long_name(size_t bytes)
{
	size_t rest = bytes - (bytes - 4 > 0xffff ? 5 : 4);
	GByteArray *parts = g_byte_array_new();

	for (; rest > 0; rest -= MIN(rest, PART + rest % PART)) {
		size_t text = 1 + rest % PART;	/* only the first has more than one */
		uint8_t part[2 * PART] = {
			SET, (uint8_t)(9 + text), SEQUENCE, (uint8_t)(7 + text),
			OID, 3, 0x55, 4, 3, UTF8, (uint8_t)text,
		};

		memset(part + 11, 'x', text);
		g_byte_array_append(parts, part, (guint)(11 + text));
	}
	return wrap(SEQUENCE, parts);
}

struct pki_cert *forge_subject(const struct pki_spec *spec, const struct pki_cert *issuer,
			       size_t bytes)
{
	struct pki_cert *cert = pki_issue(spec, issuer);
	GByteArray *name = long_name(bytes), *out;
	const uint8_t *field;
	uint8_t *der;
	size_t size, i;

	g_assert_cmpuint(name->len, ==, bytes);
	der = pki_der(cert, &size);
	field = content_of(content_of(der));
	for (i = 0; i < SUBJECT_FIELD; i++)
		field = next(field);
	out = replace(der, field, name, issuer->key);
	become(cert, out);
	g_byte_array_unref(out);
	g_free(der);
	return cert;
}

struct pki_cert *forge_size(const struct pki_spec *spec, const struct pki_cert *issuer,
			    size_t bytes)
{
	struct pki_cert *cert = pki_issue(spec, issuer);
	g_autofree uint8_t *padding = g_malloc0(bytes);
	size_t size, len = bytes / 2;
	GByteArray *out;
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
	out = g_byte_array_new_take(der, size);
	become(cert, out);
	g_byte_array_unref(out);
	return cert;
}

static GByteArray *extension_der(const struct forge_extension *e)
{
	GByteArray *fields = g_byte_array_new();

	put(fields, OID, e->oid, e->oid_len);
	if (e->critical)
		g_byte_array_append(fields, (const uint8_t *)"\x01\x01\xff", 3);
	put(fields, OCTET_STRING, e->value, e->value_len);
	return wrap(SEQUENCE, fields);
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
	for (field = content_of(content_of(der.data)); *field != CRL_EXTENSIONS; )
		field = next(field);
	old = content_of(field);
	g_byte_array_append(list, content_of(old), (guint)(next(old) - content_of(old)));
	g_byte_array_append(list, more->data, more->len);
	g_byte_array_unref(more);
	out = replace(der.data, field, wrap(CRL_EXTENSIONS, wrap(SEQUENCE, list)), issuer->key);
	gnutls_free(der.data);
	check(gnutls_pem_base64_encode2("X509 CRL", &(gnutls_datum_t){ out->data, out->len }, &text),
	      "list");
	g_byte_array_unref(out);
	crl = g_strndup((char *)text.data, text.size);
	gnutls_free(text.data);
	return crl;
}
