/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hands the record layer of a finished TLS 1.3 handshake to the kernel
 * (Documentation/networking/tls.rst, include/uapi/linux/tls.h).
 */
#ifndef TLSHD_COMMON_KTLS_H
#define TLSHD_COMMON_KTLS_H

#include <stdint.h>
#include <sys/socket.h>

enum ktls_cipher {
	KTLS_AES_128_GCM,
	KTLS_AES_256_GCM,
	KTLS_AES_128_CCM,
	KTLS_CHACHA20_POLY1305,
	KTLS_N_CIPHERS,
};

#define KTLS_KEY_MAX 32
#define KTLS_NONCE_LEN 12	/* RFC 8446 5.3: the static IV of each of our ciphers */
#ifndef TLS_TX_MAX_PAYLOAD_LEN
#define TLS_TX_MAX_PAYLOAD_LEN 5	/* linux/tls.h, u16; Linux 6.19 */
#endif
#define KTLS_RECORD_MAX 16384	/* RFC 8446 5.1: bytes of plaintext in a record */

/* One direction of traffic. A secret: the owner wipes it. */
struct ktls_keys {
	uint8_t key[KTLS_KEY_MAX];	/* ktls_key_len() bytes of it */
	uint8_t nonce[KTLS_NONCE_LEN];	/* {client,server}_write_iv */
	uint64_t seq;			/* of the next record */
};

struct ktls_session {
	enum ktls_cipher cipher;
	unsigned int record_limit;	/* bytes of plaintext the peer takes in a record, at most KTLS_RECORD_MAX */
	struct ktls_keys tx, rx;
};

/* setsockopt(2), or a test's stand-in. */
typedef int (*ktls_setsockopt_fn)(int fd, int level, int name, const void *val, socklen_t len);

enum ktls_result {
	KTLS_OK,
	KTLS_NO_ULP,		/* this kernel or socket has no "tls" upper layer protocol */
	KTLS_NO_RECORD_LIMIT,	/* the peer wants shorter records than this kernel can promise */
	KTLS_NO_CIPHER,		/* this kernel does not have the cipher */
};

/*
 * Installs @session on @fd: TCP_ULP, TLS_TX_MAX_PAYLOAD_LEN where the limit
 * is below KTLS_RECORD_MAX, TLS_TX, TLS_RX. @set is setsockopt. Copies of the
 * keys made on the way are wiped. Returns 0 with *@ret_result, or a negative
 * errno with *@ret_step naming the option that failed (static text).
 */
int ktls_install(int fd, const struct ktls_session *session, ktls_setsockopt_fn set,
		 enum ktls_result *ret_result, const char **ret_step);

/*
 * Finds out which ciphers this kernel can do, as a mask of 1 << enum
 * ktls_cipher, by installing made-up keys on a loopback connection. This also
 * makes the kernel load its modules: "tls" needs CAP_NET_ADMIN for that, and
 * the ciphers would otherwise be loaded inside the first handshake, which
 * then takes most of a second. Returns 0, or a negative errno when the probe
 * itself could not be made: a shortage, no loopback, or -ETIMEDOUT when none of
 * our own connections was established in 1.5 s. Then nothing is known.
 */
int ktls_probe(uint32_t *ret_mask);

/* Bytes of the key: 16 or 32. */
unsigned int ktls_key_len(enum ktls_cipher cipher);

/* "AES-128-GCM". Never NULL. */
const char *ktls_cipher_name(enum ktls_cipher cipher);

#endif
