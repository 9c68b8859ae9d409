// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a message of the peer must not be, whatever the library would make of it: looked at
 * before that reads it. Rules of RFC 8446 which the library does not keep, and a limit.
 */
#include "tlshd/worker/engine-private.h"

#include <string.h>

/*
 * Bytes of a hello, or of EncryptedExtensions. Honest ones have up to 5 KiB, with three shares of
 * ML-KEM; a list of 64 KiB is gone through several times.
 */
#define HELLO_MAX (32u << 10)
#define HELLO_RANDOM 2		/* where they are in a ServerHello, RFC 8446 4.1.3 */
#define HELLO_SESSION_ID 34
#define COMPRESSED_CERTIFICATE 25	/* RFC 8879 4 */
#define EXT_SUPPORTED_VERSIONS 43
#define EXT_COOKIE 44
#define EXT_KEY_SHARE 51

/* RFC 8446 4.1.3: SHA-256 of "HelloRetryRequest" */
static const uint8_t retry_random[] = {
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8,
	0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8,
	0x33, 0x9c,
};

bool message_is_retry(const uint8_t *hello, size_t len)
{
	return len > HELLO_SESSION_ID &&
	       memcmp(hello + HELLO_RANDOM, retry_random, sizeof(retry_random)) == 0;
}

static void check_size(struct session *s, unsigned int type, size_t size)
{
	bool bounded = type == GNUTLS_HANDSHAKE_CLIENT_HELLO ||
		       type == GNUTLS_HANDSHAKE_SERVER_HELLO ||
		       type == GNUTLS_HANDSHAKE_HELLO_RETRY_REQUEST ||
		       type == GNUTLS_HANDSHAKE_ENCRYPTED_EXTENSIONS;

	if (bounded && size > HELLO_MAX)
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_DECODE_ERROR,
			    "the %s of the %s has %zu bytes; at most %u are read",
			    gnutls_handshake_description_get_name(type), session_peer_word(s), size,
			    HELLO_MAX);
}

/*
 * Behind these the keys change, so they end a record (5.1). The library would take what follows a
 * hello as if it were encrypted; what follows Finished nobody would ever read.
 */
static void check_record_end(struct session *s, unsigned int type)
{
	const char *name = type == GNUTLS_HANDSHAKE_CLIENT_HELLO ? "ClientHello" :
			   type == GNUTLS_HANDSHAKE_SERVER_HELLO ? "ServerHello" :
			   type == GNUTLS_HANDSHAKE_FINISHED	 ? "Finished" : NULL;

	if (name && gnutls_record_check_pending(s->tls) > 0)
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_UNEXPECTED_MESSAGE,
			    "the %s broke the protocol: more came in the record of its %s, behind "
			    "which the keys change", session_peer_word(s), name);
}

static unsigned int number(const uint8_t *at)
{
	return (unsigned int)at[0] << 8 | at[1];
}

/* Of our own ClientHello: we send one share, for the group we like best. */
static int on_our_extension(void *ctx, unsigned int id, const unsigned char *data,
			    unsigned int size)
{
	struct session *s = ctx;

	if (id == EXT_KEY_SHARE && size >= 4)
		s->share_sent = number(data + 2);
	return 0;
}

static int on_retry_extension(void *ctx, unsigned int id, const unsigned char *data,
			      unsigned int size)
{
	struct session *s = ctx;

	if (id != EXT_SUPPORTED_VERSIONS && id != EXT_COOKIE && id != EXT_KEY_SHARE)
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_UNSUPPORTED_EXTENSION,
			    "the server broke the protocol: its HelloRetryRequest has extension %u",
			    id);
	else if (id == EXT_KEY_SHARE && s->retry_group)
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_ILLEGAL_PARAMETER,
			    "the server broke the protocol: its HelloRetryRequest asks for two key "
			    "shares");
	else if (id == EXT_KEY_SHARE && size == 2 && number(data) == s->share_sent)
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_ILLEGAL_PARAMETER,
			    "the server broke the protocol: its HelloRetryRequest asks for the key "
			    "share that it was sent");
	if (id == EXT_KEY_SHARE && size == 2)
		s->retry_group = number(data);
	return 0;
}

/* Of the ServerHello after a HelloRetryRequest. */
static int on_hello_extension(void *ctx, unsigned int id, const unsigned char *data,
			      unsigned int size)
{
	struct session *s = ctx;

	if (id == EXT_KEY_SHARE && size >= 2 && s->retry_group && number(data) != s->retry_group)
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_ILLEGAL_PARAMETER,
			    "the server broke the protocol: it asked for another key share than the "
			    "one it then used");
	return 0;
}

/* A ServerHello, perhaps one that is a HelloRetryRequest (4.1.4). */
static void check_server_hello(struct session *s, const gnutls_datum_t *msg)
{
	size_t at = HELLO_SESSION_ID;
	gnutls_datum_t extensions;
	unsigned int suite;
	bool retry;

	if (msg->size <= at || msg->size < at + 1u + msg->data[at] + 3u)
		return;		/* too short: the library says so */
	at += 1u + msg->data[at];
	suite = number(msg->data + at);
	retry = message_is_retry(msg->data, msg->size);
	if (s->retry_suite && retry)
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_UNEXPECTED_MESSAGE,
			    "the server broke the protocol: it sent a second HelloRetryRequest");
	else if (s->retry_suite && suite != s->retry_suite)
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_ILLEGAL_PARAMETER,
			    "the server broke the protocol: it chose another cipher suite after its "
			    "HelloRetryRequest");
	at += 3;
	extensions = (gnutls_datum_t){ msg->data + at, msg->size - (unsigned int)at };
	gnutls_ext_raw_parse(s, retry ? on_retry_extension : on_hello_extension, &extensions, 0);
	if (retry)
		s->retry_suite = suite;
}

void message_check(struct session *s, unsigned int type, bool incoming, const gnutls_datum_t *msg)
{
	bool client = s->job.role == HS_CLIENT;

	if (!incoming) {
		if (client && type == GNUTLS_HANDSHAKE_CLIENT_HELLO)
			gnutls_ext_raw_parse(s, on_our_extension, msg,
					     GNUTLS_EXT_RAW_FLAG_TLS_CLIENT_HELLO);
		return;
	}
	check_size(s, type, msg->size);
	check_record_end(s, type);
	/* Never offered; before 3.8 the library takes it, up to 16 MiB of it, all the same. */
	if (type == COMPRESSED_CERTIFICATE)
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_UNEXPECTED_MESSAGE,
			    "the %s broke the protocol: its certificate is compressed, which was not "
			    "offered", session_peer_word(s));
	if (client && (type == GNUTLS_HANDSHAKE_SERVER_HELLO ||
		       type == GNUTLS_HANDSHAKE_HELLO_RETRY_REQUEST))
		check_server_hello(s, msg);
}
