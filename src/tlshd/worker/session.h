/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A handshake protocol, as the worker sees it: an engine holds what all
 * handshakes share (trust, identities, policy), a session is one handshake on
 * one socket, client or server. Nothing outside this header knows that the
 * protocol is TLS or that the library is GnuTLS; another handler class would
 * be another implementation of it.
 */
#ifndef TLSHD_WORKER_SESSION_H
#define TLSHD_WORKER_SESSION_H

#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/handshake.h"
#include "common/ktls.h"
#include "common/log.h"

/* A file's content in memory that stays valid until engine_new() returns. */
struct engine_file {
	const void *data;	/* NULL: not configured */
	size_t size;
	const char *label;	/* for messages: path, and where it was configured */
};

/* What one role needs. */
struct engine_role {
	struct engine_file truststore;	/* PEM; NULL data: the system's */
	struct engine_file crl;		/* PEM; NULL data: no check */
	struct engine_file certificate[HS_N_IDENTITIES];	/* PEM or DER, leaf first */
};

/*
 * Makes a signature with a private key that is elsewhere. Writes at most
 * @size bytes to @signature. Returns their number or a negative errno. May
 * block for as long as one signature takes.
 */
typedef int (*engine_sign_fn)(void *ctx, uint64_t job, enum hs_role role,
			      enum hs_identity identity, const char *algorithm,
			      const void *data, size_t len, void *signature, size_t size);

struct engine_config {
	struct engine_role role[HS_N_ROLES];
	uint32_t ciphers;		/* mask of 1 << enum ktls_cipher; never 0 */
	/*
	 * What serves now. A certificate or list that has ended is refused in the
	 * place of one that has not; where this is 0 it is only warned of.
	 */
	struct hs_dates in_use;
	unsigned int debug;		/* the library's own debug level, 0 = quiet */
	const struct log *log;		/* borrowed for the engine's life */
	engine_sign_fn sign;
	void *sign_ctx;			/* borrowed for the engine's life */
	ktls_setsockopt_fn setsockopt_fn;	/* NULL: setsockopt(2); for tests */
};

struct engine;
struct session;

/*
 * Loads everything. May open files (the system's trust store and crypto
 * policy); no other function here does. Returns 0, or a negative errno with a
 * sentence in @reason that names the file and the fault: a named
 * store that cannot be parsed or is empty, a certificate that does not parse,
 * what has ended in the place of what has not (-EKEYEXPIRED), no cipher left
 * after the system's policy. A system store that is empty is
 * only warned of: a server that asks for no certificates needs none.
 */
int engine_new(struct engine **ret, const struct engine_config *config,
	       char *reason, size_t reason_size);
/* Of what was loaded. */
const struct hs_dates *engine_dates(const struct engine *engine);
/* All sessions must have been freed. NULL is fine. */
void engine_free(struct engine *engine);

enum session_status {
	/* Readiness has to be level-triggered: a step may leave bytes that were there. */
	SESSION_WANT_READ,	/* call session_step() again when the socket is readable */
	SESSION_WANT_WRITE,	/* ... when it is writable */
	/*
	 * It needs keys that somebody else has: answer with session_set_psk(),
	 * session_set_certificate() or session_refuse() and step again, whatever
	 * the socket does meanwhile. At most once a session.
	 */
	SESSION_WANT_KEYS,
	SESSION_ENDED,		/* the result is written; free the session */
};

/*
 * A new handshake on @fd, a connected stream socket that stays the caller's
 * and outlives the session. Its flags and options are left as found. @job is
 * copied. Returns 0 or a negative errno (-ENOMEM). What cannot be done with
 * the request itself (no certificate configured, unsupported mode) is the
 * outcome of the first session_step().
 */
int session_new(struct session **ret, struct engine *engine, const struct hs_job *job, int fd);

/*
 * Goes on until the socket would block or the handshake ends. On
 * SESSION_ENDED @ret_result is complete: with HS_OK the kernel has the keys
 * and no byte behind the handshake was read; with another outcome the peer
 * was sent the alert that fits, where it can still be told.
 */
enum session_status session_step(struct session *session, struct hs_result *ret_result);

/*
 * After SESSION_WANT_KEYS of a server with HS_AUTH_PSK: the identity of the
 * key the client offers, bytes without a NUL as it sent them. "" otherwise.
 */
const char *session_psk_identity(const struct session *session);

/*
 * The key of an HS_AUTH_PSK job; @identity matters for a client only. Both are
 * copied, the key to locked memory. Returns 0, -EINVAL when no key was asked
 * for, or -ENOMEM, -EPERM or -EAGAIN for want of (locked) memory.
 */
int session_set_psk(struct session *session, enum hs_psk_hash hash, const char *identity,
		    const void *key, size_t len);

/*
 * Our certificates for a job with own_identity; signatures are asked for as
 * HS_IDENTITY_JOB. @file need not stay. What is wrong with them is the outcome
 * of the next step. Returns 0, -EINVAL when none were asked for, or -ENOMEM.
 */
int session_set_certificate(struct session *session, const struct engine_file *file);

/* There are no such keys: @outcome, not HS_OK, and @reason are those of the next step. */
void session_refuse(struct session *session, enum hs_outcome outcome, const char *reason);

/*
 * Gives up at the deadline: @ret_result is HS_TIMEOUT and says what was being
 * waited for.
 */
void session_timeout(struct session *session, struct hs_result *ret_result);

/* Frees; wipes keys; does not close the socket. NULL is fine. */
void session_free(struct session *session);

DEFINE_CLEANUP(struct engine, engine_free);
DEFINE_CLEANUP(struct session, session_free);

#endif
