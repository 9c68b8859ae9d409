// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One TLS 1.3 handshake, client or server.
 *
 * The library reads exactly the records it needs: what follows the peer's
 * Finished stays in the socket for the kernel. The socket's file flags belong
 * to others as well, so nothing is set there; each read and write says itself
 * that it does not wait.
 *
 * What goes wrong first is the outcome: our own checks note it in
 * session->verdict while they are called back by the library, and then its
 * error code does not matter any more; otherwise the code is translated.
 *
 * A client ends before the server has verified the client's certificate: in
 * TLS 1.3 that refusal arrives as an alert over the finished connection, and it is
 * the consumer in the kernel who reads it.
 */
#include "tlshd/worker/engine-private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/text.h"

#define INPUT_MAX (256u << 10)	/* bytes of a whole handshake; else a peer could hold the loop */
#define RECORDS_MAX 512		/* each costs us, even one that is empty; the smallest honest have 512 bytes */
#define RECORD_HEADER 5
#define WARNINGS_MAX 4
#define EXT_MAX_FRAGMENT_LENGTH 1	/* RFC 6066 4 */
#define EXT_RECORD_SIZE_LIMIT 28	/* RFC 8449 */
#define EXT_EARLY_DATA 42	/* RFC 8446 */
#define EXT_SUPPORTED_VERSIONS 43

void session_sign_failed(struct session *s, int error)
{
	verdict_set(&s->verdict, hs_is_shortage(error) ? HS_BUSY : HS_KEY_FAILED,
		    GNUTLS_A_INTERNAL_ERROR,
		    "our private key could not be used: %s", strerror(-error));
}

static ssize_t io_result(struct session *s, ssize_t n)
{
	int error = errno;

	if (n >= 0)
		return n;
	if (error != EAGAIN && error != EINTR)
		s->io_errno = error;
	gnutls_transport_set_errno(s->tls, error);
	return -1;
}

static void keep_last(struct session *s, const uint8_t *buf, size_t n)
{
	size_t old = n < sizeof(s->last) ? sizeof(s->last) - n : 0;

	memmove(s->last, s->last + sizeof(s->last) - old, old);
	memcpy(s->last + old, buf + n - (sizeof(s->last) - old), sizeof(s->last) - old);
}

/* Bytes of the socket that a first look at the ClientHello took (psk.c), to be read once more. */
static size_t replay_left(const struct session *s)
{
	return s->replay && s->keys == KEYS_HERE ? s->replay->len - s->replayed : 0;
}

static size_t replay(struct session *s, void *buf, size_t len)
{
	size_t left = replay_left(s);

	len = len < left ? len : left;
	if (len > 0)
		memcpy(buf, s->replay->data + s->replayed, len);
	s->replayed += (unsigned int)len;
	if (left > 0 && len == left) {
		g_byte_array_free(s->replay, TRUE);
		s->replay = NULL;
	}
	return len;
}

/* Follows the records (RFC 8446 5.1) in what came, whatever is in them. */
static void count_records(struct session *s, const uint8_t *buf, size_t n)
{
	size_t len;

	while (n > 0) {
		if (s->record_left > 0) {
			len = n < s->record_left ? n : s->record_left;
			s->record_left -= (unsigned int)len;
			buf += len;
			n -= len;
			continue;
		}
		s->header[s->header_len++] = *buf++;
		n--;
		if (s->header_len < RECORD_HEADER)
			continue;
		s->header_len = 0;
		s->record_left = (unsigned int)s->header[3] << 8 | s->header[4];
		s->records++;
	}
}

static void keep_bytes(struct session *s, const uint8_t *buf, size_t n)
{
	size_t keep;

	if (s->bytes_in < FIRST_BYTES) {
		keep = FIRST_BYTES - s->bytes_in;
		memcpy(s->first + s->bytes_in, buf, n < keep ? n : keep);
	}
	s->bytes_in += n;
	keep_last(s, buf, n);
	count_records(s, buf, n);
	if (s->replay && s->keys == KEYS_NOT_ASKED_FOR)
		g_byte_array_append(s->replay, buf, (guint)n);
}

static ssize_t pull(gnutls_transport_ptr_t ctx, void *buf, size_t len)
{
	struct session *s = ctx;
	size_t again = replay(s, buf, len);
	ssize_t n;

	if (again > 0)
		return (ssize_t)again;

	if (s->bytes_in > INPUT_MAX || s->records > RECORDS_MAX) {
		bool many = s->records > RECORDS_MAX;

		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_UNEXPECTED_MESSAGE,
			    "the %s sent more than %u %s without an end of the handshake",
			    session_peer_word(s), many ? RECORDS_MAX : INPUT_MAX,
			    many ? "records" : "bytes");
		errno = EOVERFLOW;
		return io_result(s, -1);
	}
	n = recv(s->fd, buf, len, MSG_DONTWAIT);
	if (n == 0)
		s->eof = true;
	if (n > 0)
		keep_bytes(s, buf, (size_t)n);
	return io_result(s, n);
}

static ssize_t push(gnutls_transport_ptr_t ctx, const giovec_t *iov, int n)
{
	struct session *s = ctx;
	struct msghdr msg = {
		.msg_iov = (struct iovec *)(uintptr_t)iov,
		.msg_iovlen = (size_t)n,
	};

	return io_result(s, sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL));
}

/* RFC 8449 4: the limit counts the byte of the content type. */
static unsigned int plaintext_limit(unsigned int record_size_limit)
{
	return record_size_limit > KTLS_RECORD_MAX ? KTLS_RECORD_MAX : record_size_limit - 1;
}

static bool has_tls13(const uint8_t *versions, unsigned int size)
{
	unsigned int i;

	for (i = 1; i + 1 < size; i += 2)	/* RFC 8446 4.2.1: behind a byte of length */
		if (versions[i] == 3 && versions[i + 1] == 4)
			return true;
	return false;
}

/* In ClientHello it is a wish that counts once it is answered, in EncryptedExtensions the answer. */
static int on_extension(void *ctx, unsigned int id, const unsigned char *data,
			unsigned int size)
{
	struct session *s = ctx;
	unsigned int value;

	psk_on_extension(s, id, data, size);
	if (id == EXT_SUPPORTED_VERSIONS)
		s->offers_tls13 = has_tls13(data, size);
	if (id == EXT_EARLY_DATA)
		s->early_data = true;
	if (id != EXT_RECORD_SIZE_LIMIT || size != 2)
		return 0;
	value = (unsigned int)data[0] << 8 | data[1];
	if (value < 64)	/* forbidden; the library ends the handshake */
		return 0;
	if (s->job.role == HS_CLIENT)
		s->record_limit = plaintext_limit(value);
	else
		s->offered_limit = plaintext_limit(value);
	return 0;
}

static int on_answer(void *ctx, unsigned int id, const unsigned char *data, unsigned int size)
{
	struct session *s = ctx;

	if (id == EXT_RECORD_SIZE_LIMIT && s->offered_limit > 0)
		s->record_limit = s->offered_limit;
	else if (id == EXT_MAX_FRAGMENT_LENGTH && size == 1 && data[0] >= 1 && data[0] <= 4)
		s->record_limit = 256u << data[0];
	return 0;
}

/*
 * How much the peer takes in a record: the library knows, but up to 3.8.10 has
 * no function that tells (gnutls_record_get_max_size() is our own limit).
 */
static void read_extensions(struct session *s, unsigned int type, bool incoming,
			    const gnutls_datum_t *msg)
{
	int r;

	if (type == GNUTLS_HANDSHAKE_CLIENT_HELLO && incoming) {
		r = gnutls_ext_raw_parse(s, on_extension, msg,
					 GNUTLS_EXT_RAW_FLAG_TLS_CLIENT_HELLO);
		/* The library would say that no cipher is in common. */
		if (!s->offers_tls13 && (r >= 0 || r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE))
			verdict_set(&s->verdict, HS_NO_COMMON, GNUTLS_A_PROTOCOL_VERSION,
				    "the client does not offer TLS 1.3");
		psk_on_client_hello(s);
	} else if (type == GNUTLS_HANDSHAKE_ENCRYPTED_EXTENSIONS) {
		gnutls_ext_raw_parse(s, incoming ? on_extension : on_answer, msg, 0);
	}
}

/*
 * Before the library checks the CertificateVerify: anybody can send a certificate
 * with a dear key, so no key of a chain is used that no trusted one has certified.
 */
static void check_chain(struct session *s)
{
	enum hs_role peer = s->job.role == HS_CLIENT ? HS_SERVER : HS_CLIENT;
	const gnutls_datum_t *der;
	unsigned int n = 0;

	der = gnutls_certificate_get_peers(s->tls, &n);
	if (!der)
		return;
	chain_import(&s->chain, der, n, peer, &s->verdict);
	if (s->verdict.outcome == HS_OK && s->chain.n > 0)
		chain_verify(&s->chain, peer, s->engine->trust[s->job.role],
			     s->job.role == HS_CLIENT ? &s->want : NULL, s->matched, &s->verdict);
}

/* Called before a message is processed (incoming) or sent. */
static int on_message(gnutls_session_t tls, unsigned int type, unsigned int when,
		      unsigned int incoming, const gnutls_datum_t *msg)
{
	struct session *s = gnutls_session_get_ptr(tls);

	message_check(s, type, incoming, msg);
	if (s->transcript && transcript_add(s->transcript, type, msg->data, msg->size) < 0)
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_DECODE_ERROR,
			    "a message of the handshake is broken");
	if (incoming && type == GNUTLS_HANDSHAKE_CERTIFICATE_PKT)
		s->certificate_came = true;
	/* What has been refused is not looked at: the size may be why. */
	if (s->verdict.outcome == HS_OK)
		read_extensions(s, type, incoming, msg);
	psk_on_message(s, type, incoming);
	/* The chain is known, and no signature by its keys was looked at yet. */
	if (type == GNUTLS_HANDSHAKE_CERTIFICATE_VERIFY && incoming && s->verdict.outcome == HS_OK)
		check_chain(s);
	return s->verdict.outcome == HS_OK && s->keys != KEYS_DUE ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

/* After CertificateVerify; also called when a client sent no certificate. */
static int on_certificates(gnutls_session_t tls)
{
	struct session *s = gnutls_session_get_ptr(tls);
	bool client = s->job.role == HS_CLIENT;

	if (s->chain.n == 0) {
		if (!client)
			return 0;
		verdict_set(&s->verdict, HS_CERT_MISSING, GNUTLS_A_CERTIFICATE_REQUIRED,
			    "the server sent no certificate");
		return -1;
	}
	s->verified = s->verdict.outcome == HS_OK;	/* check_chain() has been there */
	return s->verified ? 0 : -1;
}

static void no_address(struct session *s, int error)
{
	if (error == -ENOTCONN)
		verdict_set(&s->verdict, HS_CLOSED, 0,
			    "the server closed the connection before the handshake");
	else
		verdict_set(&s->verdict, hs_is_shortage(error) ? HS_BUSY : HS_UNSUPPORTED,
			    GNUTLS_A_INTERNAL_ERROR,
			    "the request names no server and the socket has no IP address: %s",
			    strerror(-error));
}

static void find_peername(struct session *s)
{
	char quoted[HS_NAME_MAX];
	int r;

	if (s->job.peername[0] == '\0') {
		r = peername_from_socket(s->fd, &s->want);
		if (r < 0)
			no_address(s, r);
	} else if (peername_parse(s->job.peername, &s->want) < 0) {
		verdict_set(&s->verdict, HS_UNSUPPORTED, GNUTLS_A_INTERNAL_ERROR,
			    "the request is for \"%s\", which is neither a DNS name nor an IP "
			    "address", text_quote(quoted, sizeof(quoted), s->job.peername,
						  strlen(s->job.peername)));
	}
}

/* Can this request be served at all? */
static void admit(struct session *s)
{
	bool needs_identity = s->job.auth == HS_AUTH_X509 || s->job.role == HS_SERVER;

	/* The key names the peer. */
	if (s->job.auth == HS_AUTH_PSK)
		return;
	if (needs_identity && !s->job.own_identity && !s->engine->has_identity[s->job.role])
		verdict_set(&s->verdict, HS_NO_IDENTITY, GNUTLS_A_HANDSHAKE_FAILURE,
			    "no certificate of ours is configured: set x509.certificate and "
			    "x509.private_key in [authenticate.%s]", hs_role_name(s->job.role));
	if (s->job.role == HS_CLIENT)
		find_peername(s);
}

static gnutls_certificate_credentials_t certificate_credentials(const struct session *s)
{
	if (s->own_credentials)
		return s->own_credentials;
	return s->job.auth == HS_AUTH_X509 || s->job.role == HS_SERVER ?
	       s->engine->credentials[s->job.role] : s->engine->anonymous;
}

static int set_up_client(struct session *s)
{
	int r;

	r = gnutls_credentials_set(s->tls, GNUTLS_CRD_CERTIFICATE, certificate_credentials(s));
	if (r < 0 || s->want.is_address || s->want.name[0] == '\0')
		return r;
	return gnutls_server_name_set(s->tls, GNUTLS_NAME_DNS, s->want.name,
				      strlen(s->want.name));
}

static int set_up_server(struct session *s)
{
	gnutls_certificate_server_set_request(s->tls, s->job.auth == HS_AUTH_X509 ?
					      GNUTLS_CERT_REQUEST : GNUTLS_CERT_IGNORE);
	/* 1 means: do not name the authorities we trust (15 KB with the system's store). */
	gnutls_certificate_send_x509_rdn_sequence(s->tls, 1);
	return gnutls_credentials_set(s->tls, GNUTLS_CRD_CERTIFICATE, certificate_credentials(s));
}

static int set_up(struct session *s)
{
	unsigned int flags = GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS |
			     GNUTLS_NO_AUTO_SEND_TICKET;
	int r;

#if GNUTLS_VERSION_NUMBER >= 0x030800
	flags |= GNUTLS_NO_STATUS_REQUEST;
#endif
	if (s->job.role == HS_CLIENT)
		flags |= GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT | GNUTLS_KEY_SHARE_TOP;
	else
		flags |= GNUTLS_SERVER;
	r = gnutls_init(&s->tls, flags);
	if (r < 0)
		return r;
	gnutls_session_set_ptr(s->tls, s);
	gnutls_transport_set_ptr(s->tls, s);
	gnutls_transport_set_pull_function(s->tls, pull);
	gnutls_transport_set_vec_push_function(s->tls, push);
	gnutls_handshake_set_hook_function(s->tls, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE,
					   on_message);
	gnutls_session_set_verify_function(s->tls, on_certificates);
	gnutls_handshake_set_timeout(s->tls, 0);	/* the worker holds the timer */
	if (s->job.auth == HS_AUTH_PSK)
		return psk_set_up(s);
	r = gnutls_priority_set(s->tls, s->engine->priority[POLICY_CERTIFICATES]);
	if (r < 0)
		return r;
	return s->job.role == HS_CLIENT ? set_up_client(s) : set_up_server(s);
}

int session_new(struct session **ret, struct engine *engine, const struct hs_job *job, int fd)
{
	CLEANUP(session_freep) struct session *s = calloc(1, sizeof(*s));
	bool psk = job->auth == HS_AUTH_PSK;

	if (!s)
		return -ENOMEM;
	s->engine = engine;
	s->job = *job;
	s->fd = fd;
	s->record_limit = KTLS_RECORD_MAX;
	if (job->own_identity || (psk && job->role == HS_CLIENT))
		s->keys = KEYS_DUE;
	if (psk && job->role == HS_SERVER)
		s->replay = g_byte_array_new();
	admit(s);
	if (hs_may_sign(job->role, job->auth) && transcript_new(&s->transcript) < 0)
		return -ENOMEM;
	/* With valid arguments nothing but memory can be missing. */
	if (set_up(s) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(s);
	return 0;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	if (s->tls)
		gnutls_deinit(s->tls);
	if (s->own_credentials)
		gnutls_certificate_free_credentials(s->own_credentials);
	psk_free(s);
	if (s->replay)
		g_byte_array_free(s->replay, TRUE);
	chain_clear(&s->chain);
	transcript_free(s->transcript);
	free(s);
}

const char *session_psk_identity(const struct session *s)
{
	return s->psk.identity;
}

/* The session that looked at the ClientHello is done; one with the keys takes its place. */
static int start_again(struct session *s)
{
	s->keys = KEYS_HERE;
	gnutls_deinit(s->tls);
	s->tls = NULL;
	return set_up(s);
}

int session_set_psk(struct session *s, enum hs_psk_hash hash, const char *identity,
		    const void *key, size_t len)
{
	int r;

	if (s->keys != KEYS_DUE || s->job.auth != HS_AUTH_PSK || len == 0)
		return -EINVAL;
	/* A server's stays the one that was offered. */
	if (s->job.role == HS_CLIENT)
		text_copy(s->psk.identity, sizeof(s->psk.identity), identity);
	s->psk.hash = hash;
	r = secret_new(&s->psk.key, len);
	if (r < 0)
		return r;
	memcpy(s->psk.key->data, key, len);
	s->psk.key->len = len;
	r = start_again(s);
	if (r == GNUTLS_E_UNIMPLEMENTED_FEATURE)
		verdict_set(&s->verdict, HS_UNSUPPORTED, GNUTLS_A_INTERNAL_ERROR,
			    "the system's crypto policy, the kernel or this build of GnuTLS (%s) has "
			    "no cipher suite for the hash of this pre-shared key",
			    gnutls_check_version(NULL));
	else if (r < 0)
		return -ENOMEM;
	return 0;
}

int session_set_certificate(struct session *s, const struct engine_file *file)
{
	char reason[HS_TEXT_MAX];
	int r;

	if (s->keys != KEYS_DUE || !s->job.own_identity)
		return -EINVAL;
	s->own = (struct identity){
		.engine = s->engine, .role = s->job.role, .id = HS_IDENTITY_JOB,
	};
	r = credentials_new(&s->own_credentials);
	if (r < 0)
		return r;
	r = credentials_add(s->own_credentials, &s->own, file, reason, sizeof(reason));
	if (hs_is_shortage(r))
		return r;
	if (r < 0)
		verdict_set(&s->verdict, HS_KEY_UNUSABLE, GNUTLS_A_INTERNAL_ERROR, "%s", reason);
	return start_again(s) < 0 ? -ENOMEM : 0;
}

void session_refuse(struct session *s, enum hs_outcome outcome, const char *reason)
{
	bool by_identity = s->job.auth == HS_AUTH_PSK && s->job.role == HS_SERVER;

	s->keys = KEYS_HERE;
	verdict_set(&s->verdict, outcome,
		    by_identity ? GNUTLS_A_UNKNOWN_PSK_IDENTITY : GNUTLS_A_INTERNAL_ERROR,
		    "%s", reason);
}

static void complete(struct session *s, struct hs_result *result)
{
	const char *group = gnutls_group_get_name(gnutls_group_get(s->tls));
	bool authentic = s->job.auth == HS_AUTH_PSK ? psk_was_used(s) :
			 s->verified || s->job.role == HS_SERVER;

	text_copy(result->protocol, sizeof(result->protocol), "TLS 1.3");
	text_copy(result->group, sizeof(result->group), group ? group : "");
	if (gnutls_protocol_get_version(s->tls) != GNUTLS_TLS1_3 ||
	    gnutls_record_check_pending(s->tls) != 0 || !authentic) {
		verdict_set(&s->verdict, HS_INTERNAL, GNUTLS_A_INTERNAL_ERROR,
			    "the handshake ended in a state that must not be");
		gnutls_alert_send(s->tls, GNUTLS_AL_FATAL, s->verdict.alert);
		return;
	}
	session_hand_over(s, result);
}

void session_end(struct session *s, struct hs_result *result)
{
	bool ok = s->verdict.outcome == HS_OK;

	result->id = s->job.id;
	result->outcome = s->verdict.outcome;
	result->peer_verified = ok && s->verified;
	if (s->chain.n > 0)
		cert_subject(s->chain.cert[0], result->subject, sizeof(result->subject));
	text_copy(result->matched, sizeof(result->matched), s->matched);
	text_line(result->reason, sizeof(result->reason), s->verdict.reason,
		  strlen(s->verdict.reason));
}

/* Returns 0, GNUTLS_E_AGAIN, or the error that ends it. */
static int handshake(struct session *s)
{
	int r;

	do {
		s->engine->current = s;
		r = gnutls_handshake(s->tls);
		s->engine->current = NULL;
		if (r == GNUTLS_E_WARNING_ALERT_RECEIVED) {
			r = GNUTLS_E_INTERRUPTED;
			if (++s->warnings > WARNINGS_MAX)
				verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_UNEXPECTED_MESSAGE,
					    "the %s sent more than %d warnings",
					    session_peer_word(s), WARNINGS_MAX);
		}
		/* After each record of a message; what is read again makes no socket readable. */
		if (r == GNUTLS_E_AGAIN && replay_left(s) > 0 &&
		    gnutls_record_get_direction(s->tls) == 0)
			r = GNUTLS_E_INTERRUPTED;
	} while (r == GNUTLS_E_INTERRUPTED && s->verdict.outcome == HS_OK);
	return r;
}

enum session_status session_step(struct session *s, struct hs_result *ret_result)
{
	struct hs_result result = { .outcome = HS_INTERNAL };
	int r = GNUTLS_E_INVALID_REQUEST;

	if (s->verdict.outcome == HS_OK) {
		r = s->keys == KEYS_DUE ? r : handshake(s);
		if (s->verdict.outcome == HS_OK && s->keys == KEYS_DUE)
			return SESSION_WANT_KEYS;
		if (r == GNUTLS_E_AGAIN)
			return gnutls_record_get_direction(s->tls) ? SESSION_WANT_WRITE
								   : SESSION_WANT_READ;
	}
	if (r < 0)
		session_fail(s, r);
	else
		complete(s, &result);
	session_end(s, &result);
	*ret_result = result;
	return SESSION_ENDED;
}
