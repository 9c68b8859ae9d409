// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Why a handshake failed: the library's error codes, the state of the socket
 * and the alerts of the peer, turned into an outcome and a sentence.
 *
 * Alerts are named as RFC 8446 B.2 and RFC 6066 write them, which is what
 * people search for, with what a person on this side can do about one that was
 * received.
 */
#include "tlshd/worker/engine-private.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/text.h"

#define RECORDS_MAX 8	/* looked at behind a handshake for the alert that ended it */

static const struct {
	unsigned int alert;
	const char *name;
	const char *hint;
} alerts[] = {
	{ 0, "close_notify", NULL },
	{ 10, "unexpected_message", NULL },
	{ 20, "bad_record_mac", NULL },
	{ 22, "record_overflow", NULL },
	{ 40, "handshake_failure", "it found no algorithm or certificate that both sides can use" },
	{ 42, "bad_certificate", "our certificate is broken or not for the name it asked for" },
	{ 43, "unsupported_certificate", "our certificate is of a kind or for a purpose it does not accept" },
	{ 44, "certificate_revoked", "our certificate was revoked" },
	{ 45, "certificate_expired", "our certificate, or one of its issuers, is out of date, or a clock is wrong" },
	{ 46, "certificate_unknown", "it does not accept our certificate" },
	{ 47, "illegal_parameter", NULL },
	{ 48, "unknown_ca", "it does not trust the issuer of our certificate" },
	{ 49, "access_denied", "our certificate is valid but not allowed there" },
	{ 50, "decode_error", NULL },
	{ 51, "decrypt_error", "a signature or Finished was wrong: does our key belong to our certificate?" },
	{ 70, "protocol_version", "it does not offer TLS 1.3" },
	{ 71, "insufficient_security", "it wants stronger algorithms or keys" },
	{ 80, "internal_error", "the fault is on its side; see its log" },
	{ 86, "inappropriate_fallback", NULL },
	{ 90, "user_canceled", NULL },
	{ 109, "missing_extension", NULL },
	{ 110, "unsupported_extension", NULL },
	{ 112, "unrecognized_name", "it does not serve the name we asked for" },
	{ 113, "bad_certificate_status_response", NULL },
	{ 115, "unknown_psk_identity", NULL },
	{ 116, "certificate_required", "it requires a certificate of ours and got none" },
	{ 120, "no_application_protocol", NULL },
};

/* The same alerts, where there are no certificates. */
static const struct {
	unsigned int alert;
	const char *hint;
} psk_alerts[] = {
	{ 40, "it found no algorithm that both sides can use, or it wants certificates" },
	{ 47, "the key it has under this identity may be another one" },
	{ 51, "the key it has under this identity is another one" },
	{ 80, "the fault is on its side; see its log" },
	{ 115, "it has no key under this identity" },
};

static char *alert_text(unsigned int alert, char *dst)
{
	const char *name = "alert";
	size_t i;

	for (i = 0; i < ARRAY_SIZE(alerts); i++)
		if (alerts[i].alert == alert)
			name = alerts[i].name;
	snprintf(dst, HS_SHORT_MAX, "%s(%u)", name, alert);
	return dst;
}

static const char *alert_hint(const struct session *s, unsigned int alert)
{
	size_t i;

	if (s->job.auth == HS_AUTH_PSK) {
		for (i = 0; i < ARRAY_SIZE(psk_alerts); i++)
			if (psk_alerts[i].alert == alert)
				return psk_alerts[i].hint;
		return NULL;
	}
	for (i = 0; i < ARRAY_SIZE(alerts); i++)
		if (alerts[i].alert == alert)
			return alerts[i].hint;
	return NULL;
}

const char *session_peer_word(const struct session *s)
{
	return s->job.role == HS_CLIENT ? "server" : "client";
}

/* The first bytes of the peer, those included that the library has not read. Returns their number. */
static size_t first_bytes(const struct session *s, uint8_t bytes[FIRST_BYTES])
{
	size_t n = s->bytes_in < FIRST_BYTES ? s->bytes_in : FIRST_BYTES;
	ssize_t more;

	memcpy(bytes, s->first, n);
	more = recv(s->fd, bytes + n, FIRST_BYTES - n, MSG_DONTWAIT | MSG_PEEK);
	return more > 0 ? n + (size_t)more : n;
}

static bool looks_like_tls(const struct session *s)
{
	return s->bytes_in == 0 || (s->first[0] >= 20 && s->first[0] <= 24 &&
				    (s->bytes_in < 2 || s->first[1] == 3));
}

static void refuse_stranger(struct session *s)
{
	char quoted[HS_TEXT_MAX / 2];
	uint8_t bytes[FIRST_BYTES];
	size_t n = first_bytes(s, bytes);

	verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_UNEXPECTED_MESSAGE,
		    "the %s does not speak TLS; it began with \"%s\"", session_peer_word(s),
		    text_quote(quoted, sizeof(quoted), bytes, n));
}

/* A client that gives up before its ClientHello: the library takes no alert as the first record. */
static bool began_with_alert(const struct session *s, unsigned int *ret_alert)
{
	static const uint8_t length[] = { 0, 2 };
	uint8_t bytes[FIRST_BYTES];

	if (s->first[0] != 21 || s->job.role != HS_SERVER || first_bytes(s, bytes) < 7 ||
	    memcmp(bytes + 3, length, sizeof(length)) != 0)
		return false;
	*ret_alert = bytes[6];
	return true;
}

/* RFC 8446 6.1: the peer goes, and nothing was wrong. What level it gives them means nothing (6). */
static bool is_closure(unsigned int alert)
{
	return alert == GNUTLS_A_CLOSE_NOTIFY || alert == GNUTLS_A_USER_CANCELED;
}

/*
 * OpenSSL's client refuses a certificate with an alert that is not encrypted, since it has not
 * sent anything encrypted yet, where the library accepts only encrypted ones by then. Anybody
 * on the way could have sent it; the handshake has failed anyhow, and it tells why.
 */
static bool ended_with_alert(const struct session *s, int code, unsigned int *ret_alert)
{
	static const uint8_t length[] = { 0, 2 };

	if (code != GNUTLS_E_DECRYPTION_FAILED || s->last[0] != 21 || s->last[1] != 3 ||
	    memcmp(s->last + 3, length, sizeof(length)) != 0 ||
	    (s->last[5] != GNUTLS_AL_FATAL && !is_closure(s->last[6])))
		return false;
	*ret_alert = s->last[6];
	return true;
}

static void ended_by_alert(struct session *s, unsigned int alert)
{
	const char *hint = alert_hint(s, alert);
	char text[HS_SHORT_MAX];

	if (is_closure(alert))
		verdict_set(&s->verdict, HS_CLOSED, 0,
			    "the %s closed the connection during the handshake: alert %s",
			    session_peer_word(s), alert_text(alert, text));
	else
		verdict_set(&s->verdict, HS_PEER_ALERT, 0, "the %s refused: alert %s%s%s",
			    session_peer_word(s), alert_text(alert, text), hint ? ": " : "",
			    hint ? hint : "");
}

static void closed_by_peer(struct session *s)
{
	const char *when = s->bytes_in == 0 ? "before it sent anything" : "during the handshake";

	if (s->io_errno)
		verdict_set(&s->verdict, HS_CLOSED, 0, "the connection to the %s broke %s: %s",
			    session_peer_word(s), when, strerror(s->io_errno));
	else
		verdict_set(&s->verdict, HS_CLOSED, 0, "the %s closed the connection %s%s",
			    session_peer_word(s), when,
			    s->bytes_in == 0 && s->job.role == HS_CLIENT ?
			    ": does it expect TLS at this port?" : "");
}

static void nothing_in_common(struct session *s, const char *what)
{
	verdict_set(&s->verdict, HS_NO_COMMON, 0, "the %s %s", session_peer_word(s), what);
}

/* The library's words for a message that is not the certificate that was due. */
static bool is_out_of_turn(const struct session *s, int code)
{
	unsigned int in = gnutls_handshake_get_last_in(s->tls);
	bool due = s->job.role == HS_SERVER ?
		   gnutls_handshake_get_last_out(s->tls) == GNUTLS_HANDSHAKE_FINISHED :
		   in == GNUTLS_HANDSHAKE_ENCRYPTED_EXTENSIONS ||
		   in == GNUTLS_HANDSHAKE_CERTIFICATE_REQUEST;

	return due && s->job.auth != HS_AUTH_PSK && !s->certificate_came &&
	       (code == GNUTLS_E_CERTIFICATE_REQUIRED || code == GNUTLS_E_NO_CERTIFICATE_FOUND);
}

/*
 * Records for which nobody here has a key, behind a ClientHello that announced them: the library
 * takes at most 0 bytes of those.
 */
static bool is_early_data(const struct session *s, int code)
{
	return s->job.role == HS_SERVER && s->early_data &&
	       (code == GNUTLS_E_UNEXPECTED_PACKET || code == GNUTLS_E_DECRYPTION_FAILED);
}

/* The library's code as an outcome; the alert is the library's choice. */
static void translate(struct session *s, int code)
{
	const char *peer = session_peer_word(s);

	switch (code) {
	case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
		nothing_in_common(s, "does not offer TLS 1.3");
		break;
	case GNUTLS_E_NO_CIPHER_SUITES:
	case GNUTLS_E_UNKNOWN_CIPHER_SUITE:
		nothing_in_common(s, "offers no cipher that is allowed here");
		break;
	case GNUTLS_E_NO_COMMON_KEY_SHARE:
	case GNUTLS_E_ECC_NO_SUPPORTED_CURVES:
	case GNUTLS_E_ECC_UNSUPPORTED_CURVE:
		nothing_in_common(s, "offers no key exchange group that is allowed here");
		break;
	case GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM:
	case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
	case GNUTLS_E_INCOMPATIBLE_SIG_WITH_KEY:
		nothing_in_common(s, "and we have no signature algorithm in common for the "
				     "certificate in use");
		break;
	case GNUTLS_E_NO_CERTIFICATE_FOUND:
	case GNUTLS_E_CERTIFICATE_REQUIRED:
		verdict_set(&s->verdict, HS_CERT_MISSING, 0, "the %s sent no certificate", peer);
		break;
	case GNUTLS_E_KEY_USAGE_VIOLATION:
		verdict_set(&s->verdict, HS_CERT_PURPOSE, 0,
			    "the %s's certificate is not for signatures: its key usage says other things", peer);
		break;
	case GNUTLS_E_UNKNOWN_PK_ALGORITHM:
	case GNUTLS_E_UNSUPPORTED_CERTIFICATE_TYPE:
	case GNUTLS_E_CERTIFICATE_ERROR:
	case GNUTLS_E_ASN1_DER_ERROR:
	case GNUTLS_E_ASN1_TAG_ERROR:
	case GNUTLS_E_ASN1_DER_OVERFLOW:
		verdict_set(&s->verdict, HS_CERT_INVALID, 0,
			    "the %s's certificate cannot be used: %s", peer, gnutls_strerror(code));
		break;
	case GNUTLS_E_PK_SIG_VERIFY_FAILED:
		verdict_set(&s->verdict, HS_PROTOCOL, 0,
			    "the %s does not have the key of the certificate it sent", peer);
		break;
	case GNUTLS_E_CONSTRAINT_ERROR:
		verdict_set(&s->verdict, HS_PROTOCOL, 0,
			    "the %s broke the protocol: it signed with an algorithm that the key of its "
			    "certificate is not for", peer);
		break;
	case GNUTLS_E_INTERNAL_ERROR:
	case GNUTLS_E_RANDOM_FAILED:
		verdict_set(&s->verdict, HS_INTERNAL, 0, "a fault of our own: %s",
			    gnutls_strerror(code));
		break;
	default:
		verdict_set(&s->verdict, HS_PROTOCOL, 0, "the %s broke the protocol: %s", peer,
			    gnutls_strerror(code));
	}
}

void session_fail(struct session *s, int code)
{
	unsigned int alert;

	if (s->verdict.outcome != HS_OK) {
		gnutls_alert_send(s->tls, GNUTLS_AL_FATAL, s->verdict.alert);
	} else if (code == GNUTLS_E_FATAL_ALERT_RECEIVED) {
		ended_by_alert(s, gnutls_alert_get(s->tls));
	} else if (code == GNUTLS_E_SESSION_EOF) {
		ended_by_alert(s, GNUTLS_A_CLOSE_NOTIFY);
	} else if (s->io_errno || s->eof) {
		closed_by_peer(s);
	} else if (began_with_alert(s, &alert) || ended_with_alert(s, code, &alert)) {
		ended_by_alert(s, alert);
	} else if (psk_is_mismatch(s, code)) {
		verdict_set(&s->verdict, HS_PSK_MISMATCH, GNUTLS_A_DECRYPT_ERROR,
			    "the client does not have the same key as we under this identity");
		gnutls_alert_send(s->tls, GNUTLS_AL_FATAL, s->verdict.alert);
	} else if (is_out_of_turn(s, code)) {
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_UNEXPECTED_MESSAGE,
			    "the %s broke the protocol: another message came where its certificate "
			    "was due", session_peer_word(s));
		gnutls_alert_send(s->tls, GNUTLS_AL_FATAL, s->verdict.alert);
	} else if (is_early_data(s, code)) {
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_UNEXPECTED_MESSAGE,
			    "the client sent early data (0-RTT), which is not agreed with anybody here");
		gnutls_alert_send(s->tls, GNUTLS_AL_FATAL, s->verdict.alert);
	} else if (code == GNUTLS_E_TOO_MANY_EMPTY_PACKETS) {
		/* The library would tell the peer that the fault is our own. */
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_UNEXPECTED_MESSAGE,
			    "the %s sent too many records with nothing in them",
			    session_peer_word(s));
		gnutls_alert_send(s->tls, GNUTLS_AL_FATAL, s->verdict.alert);
	} else if (!looks_like_tls(s)) {
		refuse_stranger(s);
		gnutls_alert_send(s->tls, GNUTLS_AL_FATAL, s->verdict.alert);
	} else {
		if (code == GNUTLS_E_MEMORY_ERROR)
			verdict_out_of_memory(&s->verdict);
		else
			translate(s, code);
		gnutls_alert_send_appropriate(s->tls, code);
	}
}

/*
 * A peer that verifies after us may have refused and closed by the time we
 * install the keys. The kernel cannot take the connection any more, so what is
 * left in it is ours to read.
 */
void session_peer_gone(struct session *s)
{
	uint8_t byte;
	ssize_t r;

	/* Tickets may come first; each read takes one record in. */
	for (unsigned int i = 0; i < RECORDS_MAX; i++) {
		r = gnutls_record_recv(s->tls, &byte, sizeof(byte));
		if (r == GNUTLS_E_FATAL_ALERT_RECEIVED) {
			ended_by_alert(s, gnutls_alert_get(s->tls));
			return;
		}
		if (r != GNUTLS_E_AGAIN && r != GNUTLS_E_INTERRUPTED)
			break;
	}
	closed_by_peer(s);
}

static const char *message_name(unsigned int type)
{
	const char *name = gnutls_handshake_description_get_name(type);

	return name ? name : "nothing";
}

void session_timeout(struct session *s, struct hs_result *ret_result)
{
	unsigned int in = gnutls_handshake_get_last_in(s->tls);
	unsigned int out = gnutls_handshake_get_last_out(s->tls);
	const unsigned int none = (unsigned int)-1;
	struct hs_result result = { .outcome = HS_TIMEOUT };
	const char *peer = session_peer_word(s);
	struct verdict *v = &s->verdict;

	if (s->keys == KEYS_DUE)
		verdict_set(v, HS_TIMEOUT, 0, "the keys for it did not come in time");
	else if (s->bytes_in > 0 && in == none)
		verdict_set(v, HS_TIMEOUT, 0, "the %s sent only the beginning of a message", peer);
	else if (in == none && s->job.role == HS_SERVER)
		verdict_set(v, HS_TIMEOUT, 0, "the client sent nothing");
	else if (gnutls_record_get_direction(s->tls) == 1)
		verdict_set(v, HS_TIMEOUT, 0, "the %s does not take our %s", peer,
			    out == none ? "first message" : message_name(out));
	else if (in == none)
		verdict_set(v, HS_TIMEOUT, 0, "no answer to our ClientHello");
	else
		verdict_set(v, HS_TIMEOUT, 0, "the %s fell silent: its last message was %s, ours %s",
			    peer, message_name(in), out == none ? "none" : message_name(out));
	session_end(s, &result);
	*ret_result = result;
}
