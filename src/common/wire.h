/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The messages between monitor, worker and keeper (docs/PROTOCOL.md): pure
 * functions between structures and bytes, nothing else. One message is one
 * SOCK_SEQPACKET datagram: a little-endian u16 type, then the fields in the
 * order of the structure; text and bytes as u16 length + content, text
 * without its NUL. A descriptor, where a message carries one, travels beside it.
 *
 * Decoding trusts nothing: a wrong length, an enum out of range, a text with
 * a NUL inside or too long for its field, or a byte left over is -EBADMSG.
 */
#ifndef TLSHD_COMMON_WIRE_H
#define TLSHD_COMMON_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/handshake.h"
#include "common/log.h"

#define WIRE_MAX 24576		/* bytes of the longest message */
#define WIRE_PATH_MAX 1024	/* a path or URL, NUL included */
#define WIRE_LABEL_MAX 2048	/* NUL included */
#define WIRE_ALGORITHM_MAX 64
#define WIRE_SIGN_DATA_MAX 512	/* bytes to be signed: TLS 1.3 needs 146 at most (RFC 8446 4.4.3) */
#define WIRE_SIGNATURE_MAX 5120	/* bytes; ML-DSA-87 has 4627 */
#define WIRE_KEY_MAX 16384	/* bytes of a private key; RSA of 16384 bits in PEM has 12.7 KB */

enum wire_type {
	WIRE_FILE = 1,	/* monitor -> worker, keeper: a file to load, with a descriptor */
	WIRE_START,	/* monitor -> worker, keeper: all files sent; load, then answer READY or FAILED */
	WIRE_READY,	/* worker, keeper -> monitor */
	WIRE_FAILED,	/* worker, keeper -> monitor: cannot start, why, and whether that passes */
	WIRE_JOB,	/* monitor -> worker, with the socket */
	WIRE_CANCEL,	/* monitor -> worker, keeper: the request was answered; forget the job */
	WIRE_DRAIN,	/* monitor -> worker: finish what you have, then end */
	WIRE_RESULT,	/* worker -> monitor */
	WIRE_LOG,	/* worker, keeper -> monitor */
	WIRE_SIGN,	/* worker -> keeper */
	WIRE_SIGNED,	/* keeper -> worker */
	WIRE_ASK,	/* worker -> monitor: the keys a job needs; answered by one of the next three */
	WIRE_PSK,	/* monitor -> worker */
	WIRE_CERTIFICATE, /* monitor -> worker, with a descriptor of the certificates */
	WIRE_REFUSED,	/* monitor -> worker, keeper -> monitor: there are none, and why */
	WIRE_KEY,	/* monitor -> keeper: a job's private key, with a descriptor of its certificates */
	WIRE_KEY_LOADED, /* keeper -> monitor; or WIRE_REFUSED */
	WIRE_GRANT,	/* monitor -> keeper: a handshake that may sign, with a configured key */
	WIRE_N_TYPES,
};

/* What a WIRE_FILE is for. */
enum wire_file_use {
	WIRE_FILE_TRUSTSTORE,
	WIRE_FILE_CRL,
	WIRE_FILE_CERTIFICATE,
	WIRE_FILE_PRIVATE_KEY,	/* to the keeper only; without a descriptor when it is a URL */
	WIRE_N_FILE_USES,
};

struct wire_file {
	enum hs_role role;
	enum wire_file_use use;
	enum hs_identity identity;	/* for certificate and private key, else HS_IDENTITY_X509 */
	char label[WIRE_LABEL_MAX];	/* for messages: "/etc/x.pem (/etc/tlshd.conf:12)" */
	char url[WIRE_PATH_MAX];	/* of a private key that is not a file (RFC 7512); else "" */
};

struct wire_start {
	uint32_t ciphers;	/* bit mask, 1 << enum ktls_cipher: what the kernel can do */
	uint32_t tls_debug;	/* the library's own debug level, 0 = quiet */
	int32_t log_level;	/* syslog priority */
	struct hs_dates in_use;	/* what has ended is not loaded where this has not; 0: a warning does */
};

struct wire_failed {
	bool passing;		/* something is short; else what is to be loaded is wrong */
	char reason[LOG_TEXT_MAX];	/* for a person */
};

struct wire_text {
	int32_t priority;	/* syslog priority */
	char text[LOG_TEXT_MAX];
};

struct wire_sign {
	uint64_t job;		/* the handshake it is for */
	enum hs_role role;
	enum hs_identity identity;
	char algorithm[WIRE_ALGORITHM_MAX];	/* the TLS library's name of a signature scheme */
	uint16_t len;
	uint8_t data[WIRE_SIGN_DATA_MAX];
};

#define WIRE_ERRNO_MAX 4095	/* as the kernel has it, MAX_ERRNO */

struct wire_signed {
	uint64_t job;
	uint32_t error;		/* 0 or a positive errno, up to WIRE_ERRNO_MAX */
	uint16_t len;		/* 0 on error */
	uint8_t signature[WIRE_SIGNATURE_MAX];
};

struct wire_ask {
	uint64_t job;
	char identity[HS_PSK_IDENTITY_MAX];	/* server: the PSK the client offers; else "" */
};

struct wire_psk {
	uint64_t job;
	enum hs_psk_hash hash;
	char identity[HS_PSK_IDENTITY_MAX];
	uint16_t len;
	uint8_t key[HS_PSK_MAX];
};

struct wire_certificate {
	uint64_t job;
	char label[WIRE_LABEL_MAX];	/* for messages: "certificate 0x1a2b3c4d" */
};

struct wire_refused {
	uint64_t job;
	enum hs_outcome outcome;	/* never HS_OK */
	char reason[HS_TEXT_MAX];	/* for a person; quoted */
};

struct wire_key {
	uint64_t job;
	enum hs_role role;
	char label[WIRE_LABEL_MAX];	/* for messages: "private key 0x1a2b3c4d" */
	char certificate_label[WIRE_LABEL_MAX];
	uint16_t len;
	uint8_t data[WIRE_KEY_MAX];	/* PEM or DER */
};

struct wire_grant {
	uint64_t job;
	enum hs_role role;
};

struct wire_message {
	enum wire_type type;
	union {
		struct wire_file file;
		struct wire_start start;
		struct hs_job job;
		struct hs_dates ready;	/* of what was loaded; a keeper's are 0 */
		uint64_t cancel;	/* the job's id */
		struct hs_result result;
		struct wire_failed failed;
		struct wire_text text;	/* WIRE_LOG */
		struct wire_sign sign;
		struct wire_signed signed_;
		struct wire_ask ask;
		struct wire_psk psk;
		struct wire_certificate certificate;
		struct wire_refused refused;
		struct wire_key key;
		uint64_t key_loaded;	/* the job's id */
		struct wire_grant grant;
	};
};

/*
 * Encodes @msg into @buf (WIRE_MAX bytes). Returns the number of bytes, or
 * -EINVAL when a field is out of range.
 */
int wire_encode(const struct wire_message *msg, uint8_t *buf);

/*
 * Decodes @len bytes into @ret, which is written whatever the return: 0, or
 * -EBADMSG. WIRE_RESULT and WIRE_LOG texts are checked for length and NUL
 * only; whoever prints them quotes them.
 */
int wire_decode(const uint8_t *buf, size_t len, struct wire_message *ret);

/* "JOB", for messages. Never NULL. */
const char *wire_type_name(enum wire_type type);

#endif
