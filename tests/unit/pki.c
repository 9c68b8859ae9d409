// SPDX-License-Identifier: GPL-2.0-or-later
#include "pki.h"

#include <arpa/inet.h>
#include <glib.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define CHECK(expr) pki_check((expr), #expr)

static void pki_check(int r, const char *what)
{
	if (r < 0)
		g_error("%s: %s", what, gnutls_strerror(r));
}

static const struct {
	const char *name;
	gnutls_pk_algorithm_t pk;
	unsigned int bits;
	gnutls_digest_algorithm_t hash;
} key_types[PKI_N_KEY_TYPES] = {
	[PKI_P256] = { "p256", GNUTLS_PK_ECDSA,
		       GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), GNUTLS_DIG_SHA256 },
	[PKI_P384] = { "p384", GNUTLS_PK_ECDSA,
		       GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1), GNUTLS_DIG_SHA384 },
	[PKI_P521] = { "p521", GNUTLS_PK_ECDSA,
		       GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP521R1), GNUTLS_DIG_SHA512 },
	[PKI_ED25519] = { "ed25519", GNUTLS_PK_EDDSA_ED25519, 256, GNUTLS_DIG_SHA512 },
	[PKI_ED448] = { "ed448", GNUTLS_PK_EDDSA_ED448, 456, GNUTLS_DIG_SHAKE_256 },
	[PKI_RSA2048] = { "rsa2048", GNUTLS_PK_RSA, 2048, GNUTLS_DIG_SHA256 },
	[PKI_RSA_PSS] = { "rsa-pss", GNUTLS_PK_RSA_PSS, 2048, GNUTLS_DIG_SHA256 },
	[PKI_RSA1024] = { "rsa1024", GNUTLS_PK_RSA, 1024, GNUTLS_DIG_SHA256 },
};

const char *pki_key_name(enum pki_key_type type)
{
	return key_types[type].name;
}

static void set_ip(gnutls_x509_crt_t crt, const char *text)
{
	unsigned char addr[16];

	if (inet_pton(AF_INET, text, addr) == 1)
		CHECK(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, addr, 4,
							   GNUTLS_FSAN_APPEND));
	else if (inet_pton(AF_INET6, text, addr) == 1)
		CHECK(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, addr, 16,
							   GNUTLS_FSAN_APPEND));
	else
		g_error("%s is no address", text);
}

static void set_names(gnutls_x509_crt_t crt, const struct pki_spec *spec)
{
	const char *cn = spec->cn ? spec->cn : "test";
	size_t i;

	CHECK(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, cn,
					    (unsigned int)strlen(cn)));
	for (i = 0; i < G_N_ELEMENTS(spec->dns) && spec->dns[i]; i++)
		CHECK(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, spec->dns[i],
							   (unsigned int)strlen(spec->dns[i]),
							   GNUTLS_FSAN_APPEND));
	for (i = 0; i < G_N_ELEMENTS(spec->ip) && spec->ip[i]; i++)
		set_ip(crt, spec->ip[i]);
}

static void set_only_dns(gnutls_x509_crt_t crt, const char *domain)
{
	g_autofree char *copy = g_strdup(domain);
	const gnutls_datum_t name = { (void *)copy, (unsigned int)strlen(copy) };
	gnutls_x509_name_constraints_t only;

	CHECK(gnutls_x509_name_constraints_init(&only));
	CHECK(gnutls_x509_name_constraints_add_permitted(only, GNUTLS_SAN_DNSNAME, &name));
	CHECK(gnutls_x509_crt_set_name_constraints(crt, only, 1));
	gnutls_x509_name_constraints_deinit(only);
}

static void set_use(gnutls_x509_crt_t crt, const struct pki_spec *spec)
{
	unsigned int usage = spec->usage;

	if (usage == 0)
		usage = spec->ca ? GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN
				 : GNUTLS_KEY_DIGITAL_SIGNATURE;
	CHECK(gnutls_x509_crt_set_basic_constraints(crt, spec->ca, spec->no_ca_below ? 0 : -1));
	CHECK(gnutls_x509_crt_set_key_usage(crt, usage));
	if (spec->purpose)
		CHECK(gnutls_x509_crt_set_key_purpose_oid(crt, spec->purpose, 0));
	if (spec->only_dns)
		set_only_dns(crt, spec->only_dns);
}

/* @issuer NULL: it is left open. */
static void set_ids(gnutls_x509_crt_t crt, gnutls_x509_crt_t issuer)
{
	unsigned char serial[16], id[20];
	size_t size = sizeof(id);

	CHECK(gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial)));
	serial[0] = (serial[0] & 0x3f) | 0x40;
	CHECK(gnutls_x509_crt_set_serial(crt, serial, sizeof(serial)));
	CHECK(gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA1, id, &size));
	CHECK(gnutls_x509_crt_set_subject_key_id(crt, id, size));
	if (!issuer)
		return;
	size = sizeof(id);
	/* What it says itself: others' tools make another one of the same key. */
	CHECK(gnutls_x509_crt_get_subject_key_id(issuer, id, &size, NULL));
	CHECK(gnutls_x509_crt_set_authority_key_id(crt, id, size));
}

static gnutls_x509_privkey_t make_key(const struct pki_spec *spec)
{
	gnutls_x509_privkey_t key;

	CHECK(gnutls_x509_privkey_init(&key));
	if (spec->same_key)
		CHECK(gnutls_x509_privkey_cpy(key, spec->same_key->key));
	else
		CHECK(gnutls_x509_privkey_generate(key, key_types[spec->key].pk,
						   key_types[spec->key].bits, 0));
	return key;
}

/* The hash that fits the key which signs. */
static gnutls_digest_algorithm_t hash_for(gnutls_x509_privkey_t key, bool sha1)
{
	unsigned int bits;
	int pk = gnutls_x509_privkey_get_pk_algorithm2(key, &bits);
	size_t i;

	if (sha1)
		return GNUTLS_DIG_SHA1;
	if (pk == GNUTLS_PK_ECDSA)
		return bits > 384 ? GNUTLS_DIG_SHA512 : bits > 256 ? GNUTLS_DIG_SHA384
								   : GNUTLS_DIG_SHA256;
	for (i = 0; i < PKI_N_KEY_TYPES; i++)
		if ((int)key_types[i].pk == pk)
			return key_types[i].hash;
	g_error("unknown key");
}

static char *datum_text(gnutls_datum_t *d)
{
	char *text = g_strndup((const char *)d->data, d->size);

	gnutls_free(d->data);
	return text;
}

struct pki_cert *pki_issue(const struct pki_spec *spec, const struct pki_cert *issuer)
{
	struct pki_cert *cert = g_new0(struct pki_cert, 1);
	bool dated = spec->from != 0 || spec->until != 0;
	gnutls_x509_privkey_t signer;
	time_t now = time(NULL);
	gnutls_datum_t out;

	cert->key = make_key(spec);
	signer = issuer ? issuer->key : cert->key;
	CHECK(gnutls_x509_crt_init(&cert->crt));
	CHECK(gnutls_x509_crt_set_version(cert->crt, 3));
	CHECK(gnutls_x509_crt_set_key(cert->crt, cert->key));
	CHECK(gnutls_x509_crt_set_activation_time(cert->crt, now + (dated ? spec->from : -3600)));
	CHECK(gnutls_x509_crt_set_expiration_time(cert->crt, now + (dated ? spec->until : 86400)));
	set_names(cert->crt, spec);
	set_use(cert->crt, spec);
	set_ids(cert->crt, spec->no_authority ? NULL : issuer ? issuer->crt : cert->crt);
	CHECK(gnutls_x509_crt_sign2(cert->crt, issuer ? issuer->crt : cert->crt, signer,
				    hash_for(signer, spec->sha1), 0));
	CHECK(gnutls_x509_crt_export2(cert->crt, GNUTLS_X509_FMT_PEM, &out));
	cert->pem = datum_text(&out);
	CHECK(gnutls_x509_privkey_export2_pkcs8(cert->key, GNUTLS_X509_FMT_PEM, NULL,
						GNUTLS_PKCS_PLAIN, &out));
	cert->key_pem = datum_text(&out);
	return cert;
}

void pki_free(struct pki_cert *cert)
{
	if (!cert)
		return;
	gnutls_x509_crt_deinit(cert->crt);
	gnutls_x509_privkey_deinit(cert->key);
	g_free(cert->pem);
	g_free(cert->key_pem);
	g_free(cert);
}

char *pki_chain(const struct pki_cert *first, ...)
{
	GString *pem = g_string_new(NULL);
	const struct pki_cert *cert;
	va_list ap;

	va_start(ap, first);
	for (cert = first; cert; cert = va_arg(ap, const struct pki_cert *))
		g_string_append(pem, cert->pem);
	va_end(ap);
	return g_string_free(pem, FALSE);
}

char *pki_crl(const struct pki_cert *issuer, const struct pki_cert *revoked, long from,
	      long until)
{
	const unsigned char number[] = { 1 };
	time_t now = time(NULL);
	gnutls_x509_crl_t crl;
	gnutls_datum_t out;

	CHECK(gnutls_x509_crl_init(&crl));
	CHECK(gnutls_x509_crl_set_version(crl, 2));
	CHECK(gnutls_x509_crl_set_this_update(crl, now + from));
	CHECK(gnutls_x509_crl_set_next_update(crl, now + until));
	CHECK(gnutls_x509_crl_set_number(crl, number, sizeof(number)));
	if (revoked)
		CHECK(gnutls_x509_crl_set_crt(crl, revoked->crt, now - 60));
	CHECK(gnutls_x509_crl_sign2(crl, issuer->crt, issuer->key, hash_for(issuer->key, false),
				    0));
	CHECK(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &out));
	gnutls_x509_crl_deinit(crl);
	return datum_text(&out);
}

static void *datum_bytes(gnutls_datum_t *d, size_t *ret_size)
{
	void *bytes = g_memdup2(d->data, d->size);

	*ret_size = d->size;
	gnutls_free(d->data);
	return bytes;
}

void *pki_der(const struct pki_cert *cert, size_t *ret_size)
{
	gnutls_datum_t out;

	CHECK(gnutls_x509_crt_export2(cert->crt, GNUTLS_X509_FMT_DER, &out));
	return datum_bytes(&out, ret_size);
}

void *pki_key_der(const struct pki_cert *cert, size_t *ret_size)
{
	gnutls_datum_t out;

	CHECK(gnutls_x509_privkey_export2_pkcs8(cert->key, GNUTLS_X509_FMT_DER, NULL,
						GNUTLS_PKCS_PLAIN, &out));
	return datum_bytes(&out, ret_size);
}

char *pki_write(const char *dir, const char *name, const char *text, unsigned int mode)
{
	char *path = g_build_filename(dir, name, NULL);

	if (!g_file_set_contents(path, text, -1, NULL) || chmod(path, mode) < 0)
		g_error("%s cannot be written", path);
	return path;
}
