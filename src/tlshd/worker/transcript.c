// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Why this exists: the keeper of the private keys signs nothing but the
 * content of a TLS 1.3 CertificateVerify, so that a worker in a stranger's
 * hands cannot have anything else signed. The library however hands an
 * external RSA or ECDSA key only the digest of that content, in which nobody
 * can see what it is. The content has no secret in it - blanks, a fixed text,
 * and the hash of the messages so far - so we follow the messages by the
 * library's hook and write it ourselves; the caller then compares its digest
 * with the one the library asked for, and a difference is an error.
 *
 * Which hash it is stands in ServerHello; until then both are computed, over
 * the ClientHello only.
 */
#include "tlshd/worker/engine-private.h"

#include <errno.h>
#include <string.h>

#define MESSAGE_HASH 254	/* RFC 8446 4.4.1 */
#define SUITE_AES_256_GCM_SHA384 0x1302
#define HELLO_SESSION_ID 34	/* offset in ServerHello, RFC 8446 4.1.3 */

struct transcript {
	gnutls_hash_hd_t sha256;	/* NULL once it is known not to be needed, as the other */
	gnutls_hash_hd_t sha384;
};

static void drop(gnutls_hash_hd_t *hash)
{
	if (*hash)
		gnutls_hash_deinit(*hash, NULL);
	*hash = NULL;
}

int transcript_new(struct transcript **ret)
{
	struct transcript *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	if (gnutls_hash_init(&t->sha256, GNUTLS_DIG_SHA256) < 0 ||
	    gnutls_hash_init(&t->sha384, GNUTLS_DIG_SHA384) < 0) {
		transcript_free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void transcript_free(struct transcript *t)
{
	if (!t)
		return;
	drop(&t->sha256);
	drop(&t->sha384);
	free(t);
}

static int add_bytes(struct transcript *t, const void *data, size_t len)
{
	if ((t->sha256 && gnutls_hash(t->sha256, data, len) < 0) ||
	    (t->sha384 && gnutls_hash(t->sha384, data, len) < 0))
		return -EIO;
	return 0;
}

static int add_message(struct transcript *t, unsigned int type, const void *body, size_t len)
{
	const uint8_t header[4] = {
		(uint8_t)type, (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,
	};
	int r = add_bytes(t, header, sizeof(header));

	return r < 0 ? r : add_bytes(t, body, len);
}

/* The peer, or we, chose a cipher suite: keep its hash only. */
static int choose_hash(struct transcript *t, const uint8_t *hello, size_t len)
{
	bool sha384;
	size_t at;

	if (len <= HELLO_SESSION_ID)
		return -EBADMSG;
	at = HELLO_SESSION_ID + 1u + hello[HELLO_SESSION_ID];
	if (len < at + 2)
		return -EBADMSG;
	sha384 = (hello[at] << 8 | hello[at + 1]) == SUITE_AES_256_GCM_SHA384;
	/* Not the suite of the HelloRetryRequest before it (RFC 8446 4.1.4). */
	if (!(sha384 ? t->sha384 : t->sha256))
		return -EBADMSG;
	if (sha384)
		drop(&t->sha256);
	else
		drop(&t->sha384);
	return 0;
}

/* A second ClientHello will follow: the first is replaced by its hash. */
static int start_again(struct transcript *t)
{
	uint8_t digest[TRANSCRIPT_HASH_MAX];
	size_t len = t->sha384 ? 48 : 32;

	/* This also resets the hash. */
	gnutls_hash_output(t->sha384 ? t->sha384 : t->sha256, digest);
	return add_message(t, MESSAGE_HASH, digest, len);
}

int transcript_add(struct transcript *t, unsigned int type, const void *body, size_t len)
{
	const uint8_t *hello = body;
	int r;

	switch (type) {
	case GNUTLS_HANDSHAKE_HELLO_RETRY_REQUEST:
	case GNUTLS_HANDSHAKE_SERVER_HELLO:
		r = choose_hash(t, hello, len);
		if (r < 0)
			return r;
		if (message_is_retry(hello, len)) {
			r = start_again(t);
			if (r < 0)
				return r;
		}
		return add_message(t, GNUTLS_HANDSHAKE_SERVER_HELLO, body, len);
	case GNUTLS_HANDSHAKE_HELLO_REQUEST:
	case GNUTLS_HANDSHAKE_NEW_SESSION_TICKET:
	case GNUTLS_HANDSHAKE_KEY_UPDATE:
	case GNUTLS_HANDSHAKE_CHANGE_CIPHER_SPEC:
		return 0;
	default:
		return add_message(t, type, body, len);
	}
}

int transcript_signed_content(const struct transcript *t, enum hs_role role, uint8_t *content)
{
	const char *context = role == HS_SERVER ? "TLS 1.3, server CertificateVerify"
						: "TLS 1.3, client CertificateVerify";
	size_t context_len = strlen(context) + 1, hash_len = t->sha384 ? 48 : 32;
	gnutls_hash_hd_t copy;

	if (t->sha256 && t->sha384)
		return -EPROTO;
	copy = gnutls_hash_copy(t->sha384 ? t->sha384 : t->sha256);
	if (!copy)
		return -ENOMEM;
	memset(content, ' ', 64);
	memcpy(content + 64, context, context_len);
	gnutls_hash_deinit(copy, content + 64 + context_len);
	return (int)(64 + context_len + hash_len);
}
