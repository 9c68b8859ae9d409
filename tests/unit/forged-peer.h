/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer of TLS 1.3 that no library restrains: it derives the keys of the
 * handshake (X25519, TLS_AES_128_GCM_SHA256) and sends whatever it is told to,
 * in clear or encrypted, in records of any length. Any failure of its own ends
 * the test.
 */
#ifndef TLSHD_TESTS_FORGED_PEER_H
#define TLSHD_TESTS_FORGED_PEER_H

#include <glib.h>
#include <gnutls/abstract.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/handshake.h"

/* RFC 8446 5.1 and 4 */
enum { FP_CCS = 20, FP_ALERT, FP_HANDSHAKE, FP_DATA };
enum {
	FP_HELLO_REQUEST, FP_CLIENT_HELLO, FP_SERVER_HELLO, FP_TICKET = 4, FP_END_OF_EARLY_DATA,
	FP_ENCRYPTED_EXTENSIONS = 8, FP_CERTIFICATE = 11, FP_CERTIFICATE_REQUEST = 13,
	FP_CERTIFICATE_VERIFY = 15, FP_FINISHED = 20, FP_KEY_UPDATE = 24,
	FP_COMPRESSED_CERTIFICATE = 25,
};

/* RFC 8446 4.1.3: the random of a ServerHello that is a HelloRetryRequest. */
extern const uint8_t fp_retry_random[32];

#define FP_HASH 32
#define FP_RECORD_MAX 16384
#define FP_WAIT_MS 20000

struct forged_keys {
	uint8_t secret[FP_HASH], key[16], iv[12];
	uint64_t seq;
	bool on;
};

struct forged_peer {
	int fd;			/* borrowed; made non-blocking by nobody */
	enum hs_role role;	/* what it plays */
	uint8_t private_key[32];
	const uint8_t *psk;	/* borrowed; mixed into the keys when psk_len is not 0 */
	size_t psk_len;
	uint8_t secret[FP_HASH];	/* of the handshake, RFC 8446 7.1 */
	GByteArray *transcript;	/* the messages so far, headers included */
	GByteArray *in;		/* records that are not complete yet */
	GByteArray *messages;	/* handshake messages received that are not looked at yet */
	bool seen[256];		/* types of messages received */
	GByteArray *data;	/* application data received */
	int alert;		/* received: its description; -1: none */
	bool closed;		/* the other end has */
	bool waits;		/* for room in the socket, up to FP_WAIT_MS for each record */
	GByteArray *held;	/* records that are not sent yet; NULL: each is sent at once */
	struct forged_keys mine, theirs;
	struct forged_keys data_mine, data_theirs;	/* of the data, once they are derived */
	GByteArray *hello;	/* the ClientHello received, header included; NULL: none */
	size_t record_max;	/* plaintext of the records sent; 0: FP_RECORD_MAX */
};

void forged_open(struct forged_peer *p, int fd, enum hs_role role);
void forged_close(struct forged_peer *p);

/* Bytes, big-endian numbers and vectors, appended. @width: bytes of the number, or of a length. */
void fp_put(GByteArray *out, const void *bytes, size_t len);
void fp_fill(GByteArray *out, uint8_t byte, size_t len);
void fp_number(GByteArray *out, unsigned int width, uint64_t value);
/* Begins a vector; returns what fp_end() needs to write its length. */
unsigned int fp_begin(GByteArray *out, unsigned int width);
void fp_end(GByteArray *out, unsigned int width, unsigned int at);

/* A message begins with type and length; the length is written by fp_end(m, 3, 1). */
GByteArray *fp_message(unsigned int type);
/* A share for X25519, RFC 8446 4.2.8. */
void fp_put_share(GByteArray *m, const struct forged_peer *p);
/* A ClientHello that is welcome, with @more (may be NULL) as extensions behind its own. */
GByteArray *fp_client_hello(const struct forged_peer *p, const GByteArray *more);
/* An answer to the hello received; fp_* below as server need the keys it leads to. */
GByteArray *fp_server_hello(const struct forged_peer *p, const GByteArray *more);
GByteArray *fp_encrypted_extensions(const GByteArray *extensions);
GByteArray *fp_certificate_request(void);
/* @der of @n certificates, each with @extensions (NULL: none). */
GByteArray *fp_certificate(const gnutls_datum_t *der, unsigned int n,
			   const GByteArray *extensions);
/* Of the transcript as it is, by @key; NULL: @size bytes of nothing, called @scheme. */
GByteArray *fp_certificate_verify(const struct forged_peer *p, gnutls_x509_privkey_t key,
				  unsigned int scheme, size_t size);
GByteArray *fp_finished(const struct forged_peer *p);

/* @r is what the library returned for @what: a failure of it ends the test. */
void fp_check(int r, const char *what);
/* Of the messages so far. */
void fp_transcript_hash(const struct forged_peer *p, uint8_t hash[FP_HASH]);
/* RFC 8446 7.1: HKDF-Expand-Label, and the Early Secret. */
void fp_expand(const uint8_t secret[FP_HASH], const char *label, const void *context,
	       size_t context_len, uint8_t *out, size_t len);
void fp_early_secret(const struct forged_peer *p, uint8_t early[FP_HASH]);
/*
 * Finished, with @more (may be NULL; freed) behind it in the same record, and on to the keys of
 * the data. Those of the other end follow when its Finished comes.
 */
void forged_finish(struct forged_peer *p, GByteArray *more);
/* On to the keys that follow these, as after a KeyUpdate. */
void forged_update(struct forged_keys *k);
/* What is sent from now on is collected, and goes out by forged_release() in one piece. */
void forged_hold(struct forged_peer *p);
bool forged_release(struct forged_peer *p);

/* One record as it is, whatever the keys. Returns false when the socket takes no more. */
bool forged_raw(struct forged_peer *p, const void *bytes, size_t len);
/* Records of @type with @bytes in them, encrypted once the keys are there. */
bool forged_send(struct forged_peer *p, unsigned int type, const void *bytes, size_t len);
/* A handshake message, and frees it: into the transcript, and to the other end. */
bool forged_message(struct forged_peer *p, GByteArray *message);
/* Takes what has come; the keys follow the hellos. */
void forged_receive(struct forged_peer *p);
/* Derives the keys; the client does by itself when it receives the ServerHello. */
void forged_derive(struct forged_peer *p, const uint8_t their_share[32]);
/* Goes on with the keys of the data: the transcript ends with the server's Finished. */
void forged_application_keys(struct forged_peer *p);
/* Both hellos: after that everything is encrypted. A server's: the ClientHello has been received. */
void forged_answer_hello(struct forged_peer *p);

#endif
