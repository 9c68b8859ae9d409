/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What engine.c, certs.c, credentials.c, psk.c, trust.c, crl.c, serials.c, namesakes.c,
 * count-names.c, chain.c, path.c, verify.c, transcript.c, messages.c, session.c, handover.c and
 * failure.c share: the implementation of session.h by TLS 1.3 and GnuTLS. Nobody else includes it.
 */
#ifndef TLSHD_WORKER_ENGINE_PRIVATE_H
#define TLSHD_WORKER_ENGINE_PRIVATE_H

#include <glib.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <time.h>

#include "common/secret.h"
#include "tlshd/worker/peername.h"
#include "tlshd/worker/policy.h"
#include "tlshd/worker/session.h"

#define CHAIN_MAX 10		/* certificates we read from a peer or send */
#define TRANSCRIPT_HASH_MAX 48	/* SHA-384 */
#define ALERT_RECORD_BYTES 7	/* of an alert that is not encrypted, header and all */
#define FIRST_BYTES 32		/* of what a peer sent, kept to be shown */
#define SIGNED_CONTENT_MAX 160	/* RFC 8446 4.4.3: 64 + 33 + 1 + 48 */

/* How it ended, before it becomes a struct hs_result. */
struct verdict {
	enum hs_outcome outcome;
	gnutls_alert_description_t alert;	/* for the peer */
	char reason[HS_TEXT_MAX];		/* text from outside is quoted already */
};

/* The first verdict stays: does nothing unless @v is HS_OK. */
void verdict_set(struct verdict *v, enum hs_outcome outcome, gnutls_alert_description_t alert,
		 const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* HS_BUSY: the consumer may try again. */
void verdict_out_of_memory(struct verdict *v);

/* certs.c: certificates of files, and texts for people. */

/* Certificates from PEM (any number) or DER (one). *@ret_certs is gnutls_malloc()ed. */
int certs_import(const struct engine_file *file, gnutls_x509_crt_t **ret_certs,
		 unsigned int *ret_n, char *reason, size_t reason_size);
void certs_free(gnutls_x509_crt_t *certs, unsigned int n);

/* RFC 4514 text of the subject, or the issuer, quoted and cut. Returns @dst. */
char *cert_subject(gnutls_x509_crt_t cert, char *dst, size_t size);
char *cert_issuer(gnutls_x509_crt_t cert, char *dst, size_t size);
/* "2026-01-02 03:04:05 UTC". Returns @dst. */
char *time_text(time_t t, char *dst, size_t size);

/* The text of a name that a function of the library gave (@r: what it returned); frees @dn's. Returns @dst. */
char *cert_name_text(int r, gnutls_datum_t *dn, char *dst, size_t size);
bool cert_is_pem(const struct engine_file *file);
/* Borrowed. */
gnutls_datum_t cert_datum(const struct engine_file *file);

/* count-names.c */

#define NAMES_MAX 500	/* subject alternative names in all certificates of a peer together */

/*
 * Of a certificate in DER, and of its authority; those of directories count by their length. More
 * than NAMES_MAX when it cannot be told.
 */
unsigned int count_names(const gnutls_datum_t *der);

/* serials.c: numbers of certificates */

struct serials;

struct serials *serials_new(void);
void serials_free(struct serials *serials);
/* @len: at most 255 bytes, big-endian. */
void serials_add(struct serials *serials, const uint8_t *serial, size_t len);
/* Once all of them have been added. */
void serials_sort(struct serials *serials);
/* Into memory that has become free since: what is behind it can be given back. */
void serials_move(struct serials *serials);
unsigned int serials_count(const struct serials *serials);
/* After serials_sort(). Zeros in front do not matter. */
bool serials_contain(const struct serials *serials, const uint8_t *serial, size_t len);

/* namesakes.c: certificates of a trust store that have the same subject */

struct namesakes;

/* Copies what it needs of @list. Returns 0 or -ENOMEM. */
int namesakes_new(struct namesakes **ret, gnutls_x509_trust_list_t list);
void namesakes_free(struct namesakes *namesakes);
/*
 * Number @i, from 0 on and in the store's order, of those with the subject @subject, DER. Borrowed;
 * NULL: there are no more, or only one has that subject.
 */
gnutls_x509_crt_t namesakes_get(const struct namesakes *namesakes, const gnutls_datum_t *subject,
				unsigned int i);

/* trust.c: the certificates we believe, and the lists of those we do not. */

struct trust;

/*
 * @system: where the system's store is kept once it is loaded, so that roles
 * can share it; the engine's, it outlives the trust. @in_use: until when the
 * lists that serve now are good, 0: no matter. Returns as engine_new().
 */
int trust_new(struct trust **ret, const struct engine_role *config,
	      gnutls_x509_trust_list_t *system, int64_t in_use, const struct log *log,
	      char *reason, size_t reason_size);
void trust_free(struct trust *trust);

gnutls_x509_trust_list_t trust_list(const struct trust *trust);
/* Of that list. */
const struct namesakes *trust_namesakes(const struct trust *trust);
/* When the first of its issuers has no list that is current, as in struct hs_dates. */
int64_t trust_until(const struct trust *trust);
/* "the trust store FILE", "the system's trust store" */
const char *trust_name(const struct trust *trust);

/*
 * Is @cert, issued by @issuer (NULL: not known), on a list? Sets @v when it is,
 * or when that cannot be told; @who names the certificate, for the reason.
 */
void trust_check_revocation(struct trust *trust, gnutls_x509_crt_t cert,
			    gnutls_x509_crt_t issuer, time_t now, const char *who,
			    struct verdict *v);

/* crl.c: the lists of a trust store */

struct crls;

/* @trust is borrowed, and holds its certificates already. Else as trust_new(). */
int crls_new(struct crls **ret, const struct engine_file *file, const struct trust *trust,
	     int64_t in_use, const struct log *log, char *reason, size_t reason_size);
void crls_free(struct crls *crls);
/* As trust_until() and trust_check_revocation(). */
int64_t crls_until(const struct crls *crls);
void crls_check(struct crls *crls, gnutls_x509_crt_t cert, gnutls_x509_crt_t issuer, time_t now,
		const char *who, struct verdict *v);

/* chain.c: a peer's certificates, read. */

struct chain {
	gnutls_x509_crt_t cert[CHAIN_MAX];	/* leaf first */
	unsigned int n;
};

/*
 * Reads what the peer sent and refuses what would be dear to go on with:
 * called before a signature by any of these keys is checked.
 */
void chain_import(struct chain *chain, const gnutls_datum_t *der, unsigned int n,
		  enum hs_role peer, struct verdict *v);
void chain_clear(struct chain *chain);

/* path.c: from a peer's certificate to somebody we trust */

#define VERIFY_FLAGS (GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM) | \
		      GNUTLS_VERIFY_DISABLE_CRL_CHECKS)

struct path {
	gnutls_x509_crt_t cert[CHAIN_MAX];	/* leaf first; all of it is borrowed */
	unsigned int n;
	gnutls_x509_crt_t anchor;	/* the issuer of the last, of the store; NULL: none found */
	bool pinned;			/* the leaf is in the store itself */
	bool has_issuer;		/* ... and has been issued by the next one, which holds, too */
	bool has_namesakes;		/* the anchor has, in the store; then, under this one: */
	int code;			/* what path_verify() returns */
	unsigned int status;		/* ... and says */
};

/* Borrows of @chain and @trust. Sets @v when memory is short. */
void path_build(struct path *path, const struct chain *chain, struct trust *trust, time_t now,
		struct verdict *v);
/* The library's word on the path, revocation left aside. Returns its code; *@status: why not, 0: good. */
int path_verify(struct path *path, const struct trust *trust, unsigned int *status);
/* Who has issued number @i, @n being the anchor; NULL: that is not certain. */
gnutls_x509_crt_t path_issuer(const struct path *path, unsigned int i);

/* verify.c */

/*
 * Verifies @chain, of a peer that is @peer. @want: the name it must have; NULL:
 * any. @matched gets the name that matched. @v is HS_OK or the best reason.
 */
void chain_verify(const struct chain *chain, enum hs_role peer, struct trust *trust,
		  const struct peername *want, char matched[HS_NAME_MAX], struct verdict *v);

/* transcript.c: the hash of the handshake so far (RFC 8446 4.4.1). */

struct transcript;

int transcript_new(struct transcript **ret);
void transcript_free(struct transcript *t);
/* One handshake message, its header not included. */
int transcript_add(struct transcript *t, unsigned int type, const void *body, size_t len);
/*
 * Writes what a CertificateVerify of ours, now, has to sign (RFC 8446 4.4.3).
 * @content has SIGNED_CONTENT_MAX bytes. Returns their number or a negative errno.
 */
int transcript_signed_content(const struct transcript *t, enum hs_role role, uint8_t *content);

/* engine.c */

/* A certificate of ours; the library's key for it only calls engine->sign. */
struct identity {
	struct engine *engine;
	enum hs_role role;
	enum hs_identity id;
	gnutls_pk_algorithm_t pk;
	unsigned int bits;
	gnutls_digest_algorithm_t pss_hash;	/* the only one an RSA-PSS key may use, or UNKNOWN */
};

struct engine {
	const struct log *log;
	engine_sign_fn sign;
	void *sign_ctx;
	ktls_setsockopt_fn setsockopt_fn;
	gnutls_priority_t priority[N_POLICY_KEYS];	/* NULL: nothing is left of the policy */
	gnutls_certificate_credentials_t anonymous;	/* for a client without certificate */
	gnutls_certificate_credentials_t credentials[HS_N_ROLES];
	struct identity identity[HS_N_ROLES][HS_N_IDENTITIES];
	bool has_identity[HS_N_ROLES];
	gnutls_x509_trust_list_t system_list;
	struct trust *trust[HS_N_ROLES];
	struct hs_dates in_use;		/* by another engine, as configured */
	struct hs_dates dates;		/* of what this one has loaded */
	/*
	 * The session inside gnutls_handshake() now: the library's callback for
	 * signatures knows the key only. One thread, so there is at most one.
	 */
	struct session *current;
};

/* credentials.c */

/* Empty, for credentials_add(). Returns 0 or -ENOMEM. */
int credentials_new(gnutls_certificate_credentials_t *ret);

/*
 * Adds the certificates of @file. @identity has its engine, role and id set,
 * gets the rest, and stays as long as the credentials. Returns 1; 0 when they
 * cannot be used but are not needed (post-quantum), with a warning; or a
 * negative errno with a sentence in @reason.
 */
int credentials_add(gnutls_certificate_credentials_t credentials, struct identity *identity,
		    const struct engine_file *file, char *reason, size_t reason_size);

/* messages.c */

/*
 * A message before it is processed (@incoming) or sent: sets the verdict on what no honest peer
 * sends.
 */
void message_check(struct session *session, unsigned int type, bool incoming,
		   const gnutls_datum_t *msg);
/* Is this ServerHello, its header not included, a HelloRetryRequest (RFC 8446 4.1.3)? */
bool message_is_retry(const uint8_t *hello, size_t len);

/* session.c */

/* Where a session is with the keys that it has to ask for. */
enum keys_state {
	KEYS_NOT_ASKED_FOR,	/* none are, or not yet */
	KEYS_DUE,		/* they are to be asked for now */
	KEYS_HERE,
};

struct session_psk {
	enum hs_psk_hash hash;
	char identity[HS_PSK_IDENTITY_MAX];	/* server: what the client offers, asked for by that */
	struct secret *key;
	bool lent;	/* the library has asked for the key */
};

struct session {
	struct engine *engine;
	struct hs_job job;
	int fd;
	gnutls_session_t tls;
	enum keys_state keys;
	struct session_psk psk;			/* of a job with HS_AUTH_PSK */
	gnutls_psk_client_credentials_t psk_client;
	gnutls_psk_server_credentials_t psk_server;
	struct identity own;		/* of a job with own_identity */
	gnutls_certificate_credentials_t own_credentials;
	GByteArray *replay;		/* what was read of a ClientHello that was looked at first */
	unsigned int replayed;		/* bytes of it */
	struct transcript *transcript;	/* NULL when we will sign nothing */
	struct chain chain;		/* the peer's */
	struct peername want;		/* client: who the server must be */
	char matched[HS_NAME_MAX];
	bool verified;			/* the peer's certificates and name are good */
	struct verdict verdict;
	int io_errno;			/* of the socket, 0: none */
	bool eof;
	bool offers_tls13;		/* the client does, as below */
	bool offers_psk;
	bool offers_psk_ke_only;	/* without (EC)DHE: not for us */
	unsigned int record_limit;	/* bytes of plaintext the peer takes */
	unsigned int offered_limit;	/* the same, by a client that has no answer yet */
	bool early_data;		/* the client says that it sends some (0-RTT) */
	unsigned int share_sent;	/* client: the group of our key share */
	unsigned int retry_suite;	/* of a HelloRetryRequest that came, 0: none */
	unsigned int retry_group;	/* ... of the key share it asks for, 0: for none */
	bool certificate_came;		/* the peer's message, perhaps empty */
	unsigned int warnings;
	unsigned int records;		/* that have begun */
	unsigned int record_left;	/* bytes of the present one */
	uint8_t header[5];		/* header_len bytes of the next one's */
	unsigned int header_len;
	size_t bytes_in;
	uint8_t last[ALERT_RECORD_BYTES];	/* the last of them; 0 where there were less */
	uint8_t first[FIRST_BYTES];	/* the first bytes_in of them, or all */
};

/* The keeper's errno (negative): becomes HS_KEY_FAILED, or HS_BUSY when something was short. */
void session_sign_failed(struct session *session, int error);
/* Completes @result from what the session knows. */
void session_end(struct session *session, struct hs_result *result);

/* handover.c */

/*
 * Gives the kernel the keys of a finished handshake, and wipes our copy. Sets
 * the verdict when it does not take them; @result gets the cipher.
 */
void session_hand_over(struct session *session, struct hs_result *result);

/* psk.c */

/* Of a ClientHello: extensions that tell of pre-shared keys. */
void psk_on_extension(struct session *session, unsigned int id, const uint8_t *data, size_t size);
/* All of them have been seen: sets KEYS_DUE, or the verdict. */
void psk_on_client_hello(struct session *session);
/* A message other than ClientHello, before it is processed or sent. */
void psk_on_message(struct session *session, unsigned int type, bool incoming);
/* Priorities and credentials of session->tls. Returns the library's code. */
int psk_set_up(struct session *session);
/* Is it the pre-shared key by which the finished handshake authenticated both sides? */
bool psk_was_used(const struct session *session);
/* Was the handshake ended by @code because the client's binder is not made with our key? */
bool psk_is_mismatch(const struct session *session, int code);
void psk_free(struct session *session);

/* failure.c */

/* "server" or "client" */
const char *session_peer_word(const struct session *session);
/* Finds the verdict on a handshake that ended with @code and tells the peer, where it listens. */
void session_fail(struct session *session, int code);

/*
 * The handshake is done but the connection has ended: sets the verdict by what
 * the peer still sent, HS_PEER_ALERT or HS_CLOSED.
 */
void session_peer_gone(struct session *session);

#endif
