// SPDX-License-Identifier: GPL-2.0-or-later
/* The messages that a forged peer sends: RFC 8446 4. */
#include "forged-peer.h"

#include <gnutls/crypto.h>
#include <nettle/curve25519.h>
#include <string.h>

#define SUITE 0x1301		/* TLS_AES_128_GCM_SHA256 */
#define GROUP_X25519 29
#define EXT_GROUPS 10
#define EXT_SIGNATURES 13
#define EXT_SHARES 51

const uint8_t fp_retry_random[32] = {
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8,
	0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8,
	0x33, 0x9c,
};

void fp_check(int r, const char *what)
{
	if (r < 0)
		g_error("%s: %s", what, gnutls_strerror(r));
}

void fp_put(GByteArray *out, const void *bytes, size_t len)
{
	g_byte_array_append(out, bytes, (guint)len);
}

void fp_fill(GByteArray *out, uint8_t byte, size_t len)
{
	guint at = out->len;

	g_byte_array_set_size(out, at + (guint)len);
	if (len > 0)
		memset(out->data + at, byte, len);
}

void fp_number(GByteArray *out, unsigned int width, uint64_t value)
{
	while (width-- > 0) {
		uint8_t octet = (uint8_t)(value >> 8 * width);

		fp_put(out, &octet, 1);
	}
}

unsigned int fp_begin(GByteArray *out, unsigned int width)
{
	unsigned int at = out->len;

	fp_number(out, width, 0);
	return at;
}

void fp_end(GByteArray *out, unsigned int width, unsigned int at)
{
	uint64_t len = out->len - at - width;

	g_assert_cmpuint(len, <, UINT64_C(1) << 8 * width);
	for (unsigned int i = 0; i < width; i++)
		out->data[at + i] = (uint8_t)(len >> 8 * (width - 1 - i));
}

GByteArray *fp_message(unsigned int type)
{
	GByteArray *m = g_byte_array_new();

	fp_number(m, 1, type);
	fp_number(m, 3, 0);
	return m;
}

void fp_put_share(GByteArray *m, const struct forged_peer *p)
{
	uint8_t share[32];
	unsigned int at;

	curve25519_mul_g(share, p->private_key);
	fp_number(m, 2, GROUP_X25519);
	at = fp_begin(m, 2);
	fp_put(m, share, sizeof(share));
	fp_end(m, 2, at);
}

/* An extension whose content is one vector of two bytes' length with @n numbers in it. */
static void put_list(GByteArray *m, unsigned int type, const uint16_t *list, size_t n)
{
	unsigned int at, inner;

	fp_number(m, 2, type);
	at = fp_begin(m, 2);
	inner = fp_begin(m, 2);
	for (size_t i = 0; i < n; i++)
		fp_number(m, 2, list[i]);
	fp_end(m, 2, inner);
	fp_end(m, 2, at);
}

static const uint16_t groups[] = { GROUP_X25519 };
static const uint16_t schemes[] = {
	0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0809, 0x080a, 0x080b, 0x0804, 0x0805, 0x0806,
	0x0401, 0x0501, 0x0601,
};

GByteArray *fp_client_hello(const struct forged_peer *p, const GByteArray *more)
{
	GByteArray *m = fp_message(FP_CLIENT_HELLO);
	unsigned int all, at, inner;

	fp_number(m, 2, 0x0303);
	fp_fill(m, 0x55, 32);
	fp_number(m, 1, 32);
	fp_fill(m, 0x66, 32);		/* session ID */
	fp_number(m, 2, 2);
	fp_number(m, 2, SUITE);
	fp_number(m, 2, 0x0100);	/* no compression */
	all = fp_begin(m, 2);
	put_list(m, EXT_GROUPS, groups, G_N_ELEMENTS(groups));
	put_list(m, EXT_SIGNATURES, schemes, G_N_ELEMENTS(schemes));
	fp_put(m, "\0\x2b\0\x03\x02\x03\x04", 7);
	fp_number(m, 2, EXT_SHARES);
	at = fp_begin(m, 2);
	inner = fp_begin(m, 2);
	fp_put_share(m, p);
	fp_end(m, 2, inner);
	fp_end(m, 2, at);
	if (more)
		fp_put(m, more->data, more->len);
	fp_end(m, 2, all);
	fp_end(m, 3, 1);
	return m;
}

GByteArray *fp_server_hello(const struct forged_peer *p, const GByteArray *more)
{
	const uint8_t *session_id = p->hello->data + 4 + 2 + 32;
	GByteArray *m = fp_message(FP_SERVER_HELLO);
	unsigned int all, at;

	fp_number(m, 2, 0x0303);
	fp_fill(m, 0x77, 32);
	fp_put(m, session_id, 1u + session_id[0]);
	fp_number(m, 2, SUITE);
	fp_number(m, 1, 0);
	all = fp_begin(m, 2);
	fp_put(m, "\0\x2b\0\x02\x03\x04", 6);
	fp_number(m, 2, EXT_SHARES);
	at = fp_begin(m, 2);
	fp_put_share(m, p);
	fp_end(m, 2, at);
	if (more)
		fp_put(m, more->data, more->len);
	fp_end(m, 2, all);
	fp_end(m, 3, 1);
	return m;
}

GByteArray *fp_encrypted_extensions(const GByteArray *extensions)
{
	GByteArray *m = fp_message(FP_ENCRYPTED_EXTENSIONS);
	unsigned int at = fp_begin(m, 2);

	if (extensions)
		fp_put(m, extensions->data, extensions->len);
	fp_end(m, 2, at);
	fp_end(m, 3, 1);
	return m;
}

GByteArray *fp_certificate_request(void)
{
	GByteArray *m = fp_message(FP_CERTIFICATE_REQUEST);
	unsigned int at;

	fp_number(m, 1, 0);
	at = fp_begin(m, 2);
	put_list(m, EXT_SIGNATURES, schemes, G_N_ELEMENTS(schemes));
	fp_end(m, 2, at);
	fp_end(m, 3, 1);
	return m;
}

GByteArray *fp_certificate(const gnutls_datum_t *der, unsigned int n,
			   const GByteArray *extensions)
{
	GByteArray *m = fp_message(FP_CERTIFICATE);
	unsigned int all, at;

	fp_number(m, 1, 0);
	all = fp_begin(m, 3);
	for (unsigned int i = 0; i < n; i++) {
		at = fp_begin(m, 3);
		fp_put(m, der[i].data, der[i].size);
		fp_end(m, 3, at);
		at = fp_begin(m, 2);
		if (extensions)
			fp_put(m, extensions->data, extensions->len);
		fp_end(m, 2, at);
	}
	fp_end(m, 3, all);
	fp_end(m, 3, 1);
	return m;
}

void fp_transcript_hash(const struct forged_peer *p, uint8_t hash[FP_HASH])
{
	fp_check(gnutls_hash_fast(GNUTLS_DIG_SHA256, p->transcript->data, p->transcript->len, hash),
	      "hash");
}

GByteArray *fp_certificate_verify(const struct forged_peer *p, gnutls_x509_privkey_t key,
				  unsigned int scheme, size_t size)
{
	const char *context = p->role == HS_SERVER ? "TLS 1.3, server CertificateVerify"
						   : "TLS 1.3, client CertificateVerify";
	GByteArray *m = fp_message(FP_CERTIFICATE_VERIFY), *content = g_byte_array_new();
	gnutls_datum_t data, signature;
	uint8_t hash[FP_HASH];
	gnutls_privkey_t signer;
	unsigned int at;

	fp_number(m, 2, scheme);
	at = fp_begin(m, 2);
	if (key) {
		fp_transcript_hash(p, hash);
		fp_fill(content, ' ', 64);
		fp_put(content, context, strlen(context) + 1);
		fp_put(content, hash, sizeof(hash));
		data = (gnutls_datum_t){ content->data, content->len };
		fp_check(gnutls_privkey_init(&signer), "key");
		fp_check(gnutls_privkey_import_x509(signer, key, 0), "key");
		fp_check(gnutls_privkey_sign_data2(signer, GNUTLS_SIGN_ECDSA_SECP256R1_SHA256, 0,
						&data, &signature), "signature");
		gnutls_privkey_deinit(signer);
		fp_put(m, signature.data, signature.size);
		gnutls_free(signature.data);
	} else {
		fp_fill(m, 0x5a, size);
	}
	g_byte_array_unref(content);
	fp_end(m, 2, at);
	fp_end(m, 3, 1);
	return m;
}

void fp_expand(const uint8_t secret[FP_HASH], const char *label, const void *context,
	       size_t context_len, uint8_t *out, size_t len)
{
	gnutls_datum_t key = { (void *)(uintptr_t)secret, FP_HASH }, info;
	GByteArray *l = g_byte_array_new();

	fp_number(l, 2, len);
	fp_number(l, 1, strlen(label) + 6);
	fp_put(l, "tls13 ", 6);
	fp_put(l, label, strlen(label));
	fp_number(l, 1, context_len);
	if (context_len > 0)
		fp_put(l, context, context_len);
	info = (gnutls_datum_t){ l->data, l->len };
	fp_check(gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &key, &info, out, len), "expand");
	g_byte_array_unref(l);
}

GByteArray *fp_finished(const struct forged_peer *p)
{
	GByteArray *m = fp_message(FP_FINISHED);
	uint8_t key[FP_HASH], hash[FP_HASH], mac[FP_HASH];

	fp_expand(p->mine.secret, "finished", NULL, 0, key, sizeof(key));
	fp_transcript_hash(p, hash);
	fp_check(gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, sizeof(key), hash, sizeof(hash), mac),
		 "MAC");
	fp_put(m, mac, sizeof(mac));
	fp_end(m, 3, 1);
	return m;
}
