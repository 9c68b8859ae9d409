// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * TLS 1.3 with an external pre-shared key (RFC 8446 2.2, 4.2.11), psk_dhe_ke
 * only.
 *
 * Which key a server needs stands in the ClientHello, and the library wants it
 * at the moment it reads that: its callback cannot say "later". But keys are
 * with the monitor, and a worker that waited for an answer would keep all its
 * other handshakes waiting. So the ClientHello is looked at first by a session
 * that is thrown away, while what it read from the socket is kept; when the key
 * is there, a new session reads the same bytes again.
 *
 * The library offers, and as a server looks at, one external identity: the
 * first whose ticket age is 0, which is the one that is asked for here.
 */
#include "tlshd/worker/engine-private.h"

#include <errno.h>
#include <string.h>

#include "build-config.h"
#include "common/text.h"

#define EXT_PRE_SHARED_KEY 41
#define EXT_PSK_KEY_EXCHANGE_MODES 45
#define MODE_PSK_DHE_KE 1

static const gnutls_mac_algorithm_t macs[HS_N_PSK_HASHES] = {
	[HS_PSK_SHA256] = GNUTLS_MAC_SHA256,
	[HS_PSK_SHA384] = GNUTLS_MAC_SHA384,
};

static const enum policy_keys policies[HS_N_PSK_HASHES] = {
	[HS_PSK_SHA256] = POLICY_PSK_SHA256,
	[HS_PSK_SHA384] = POLICY_PSK_SHA384,
};

/* RFC 8446 4.2.9: a byte of length, then modes. */
static bool has_dhe_mode(const uint8_t *data, size_t size)
{
	return size > 1 && memchr(data + 1, MODE_PSK_DHE_KE, size - 1);
}

/*
 * RFC 8446 4.2.11: u16 length, then for each identity u16 length, its bytes and
 * u32 ticket age. Returns the first one with age 0, which is no ticket's; NULL: none.
 */
static const uint8_t *first_external(const uint8_t *data, size_t size, size_t *ret_len)
{
	size_t at = 2, end, len;

	if (size < 2)
		return NULL;
	end = 2 + ((size_t)data[0] << 8 | data[1]);
	if (end > size)
		return NULL;
	while (at + 2 <= end) {
		static const uint8_t no_age[4] = { 0 };

		len = (size_t)data[at] << 8 | data[at + 1];
		at += 2;
		if (len == 0 || at + len + 4 > end)
			return NULL;
		if (memcmp(data + at + len, no_age, 4) == 0) {
			*ret_len = len;
			return data + at;
		}
		at += len + 4;
	}
	return NULL;
}

static void note_identity(struct session *s, const uint8_t *data, size_t size)
{
	char quoted[HS_TEXT_MAX / 2];
	const uint8_t *identity;
	size_t len = 0;

	identity = first_external(data, size, &len);
	if (!identity)
		return;
	s->offers_psk = true;
	/* The description of a key is a text: such an identity cannot be one. */
	if (len >= sizeof(s->psk.identity) || memchr(identity, 0, len)) {
		verdict_set(&s->verdict, HS_PSK_UNKNOWN, GNUTLS_A_UNKNOWN_PSK_IDENTITY,
			    "the client offers the PSK identity \"%s\" of %zu bytes, which cannot be "
			    "the name of a key", text_quote(quoted, sizeof(quoted), identity, len), len);
		return;
	}
	memcpy(s->psk.identity, identity, len);
	s->psk.identity[len] = '\0';
}

void psk_on_extension(struct session *s, unsigned int id, const uint8_t *data, size_t size)
{
	/* Once the key is here, it is for the identity it was asked for by. */
	if (s->job.auth != HS_AUTH_PSK || s->keys != KEYS_NOT_ASKED_FOR)
		return;
	if (id == EXT_PSK_KEY_EXCHANGE_MODES)
		s->offers_psk_ke_only = !has_dhe_mode(data, size);
	else if (id == EXT_PRE_SHARED_KEY)
		note_identity(s, data, size);
}

void psk_on_client_hello(struct session *s)
{
	if (s->job.auth != HS_AUTH_PSK || s->keys != KEYS_NOT_ASKED_FOR)
		return;
	if (!s->offers_psk)
		verdict_set(&s->verdict, HS_PSK_MISSING, GNUTLS_A_UNKNOWN_PSK_IDENTITY,
			    "the client offers no pre-shared key");
	else if (s->offers_psk_ke_only)
		verdict_set(&s->verdict, HS_NO_COMMON, GNUTLS_A_HANDSHAKE_FAILURE,
			    "the client offers its pre-shared key without a key exchange (psk_ke); "
			    "it must offer psk_dhe_ke");
	s->keys = KEYS_DUE;
}

void psk_on_message(struct session *s, unsigned int type, bool incoming)
{
	if (s->job.auth != HS_AUTH_PSK)
		return;
	if (incoming && s->job.role == HS_CLIENT &&
	    (type == GNUTLS_HANDSHAKE_CERTIFICATE_PKT ||
	     type == GNUTLS_HANDSHAKE_CERTIFICATE_REQUEST))
		verdict_set(&s->verdict, HS_PSK_MISMATCH, GNUTLS_A_HANDSHAKE_FAILURE,
			    "the server did not take our pre-shared key but wants to use certificates: "
			    "does it know the identity?");
}

/* For a callback, of whose failure the library makes a fault of the keys. */
static int out_of_memory(struct session *s)
{
	verdict_out_of_memory(&s->verdict);
	return -1;
}

static int copy_key(struct session *s, gnutls_datum_t *ret)
{
	ret->data = gnutls_malloc(s->psk.key->len);
	if (!ret->data)
		return out_of_memory(s);
	memcpy(ret->data, s->psk.key->data, s->psk.key->len);
	ret->size = (unsigned int)s->psk.key->len;
	s->psk.lent = true;
	return 0;
}

/* The library asks for the key of @identity; the copy becomes its own. */
static int on_server_key(gnutls_session_t tls, const gnutls_datum_t *identity, gnutls_datum_t *key)
{
	struct session *s = gnutls_session_get_ptr(tls);

	if (!s->psk.key || identity->size != strlen(s->psk.identity) ||
	    memcmp(identity->data, s->psk.identity, identity->size) != 0) {
		verdict_set(&s->verdict, HS_PROTOCOL, GNUTLS_A_ILLEGAL_PARAMETER,
			    "the client changed its PSK identity during the handshake");
		return -1;
	}
	return copy_key(s, key);
}

static int on_client_key(gnutls_session_t tls, gnutls_datum_t *identity, gnutls_datum_t *key)
{
	struct session *s = gnutls_session_get_ptr(tls);

	identity->size = (unsigned int)strlen(s->psk.identity);
	identity->data = gnutls_malloc(identity->size);
	if (!identity->data)
		return out_of_memory(s);
	memcpy(identity->data, s->psk.identity, identity->size);
	if (copy_key(s, key) == 0)
		return 0;
	gnutls_free(identity->data);
	return -1;
}

static int allocate(struct session *s)
{
	bool client = s->job.role == HS_CLIENT;

#if TLSHD_PSK_SHA384
	return client ? gnutls_psk_allocate_client_credentials2(&s->psk_client, macs[s->psk.hash])
		      : gnutls_psk_allocate_server_credentials2(&s->psk_server, macs[s->psk.hash]);
#else
	if (macs[s->psk.hash] != GNUTLS_MAC_SHA256)
		return GNUTLS_E_UNIMPLEMENTED_FEATURE;
	return client ? gnutls_psk_allocate_client_credentials(&s->psk_client)
		      : gnutls_psk_allocate_server_credentials(&s->psk_server);
#endif
}

static int set_credentials(struct session *s)
{
	int r = allocate(s);

	if (r < 0)
		return r;
	if (s->job.role == HS_CLIENT) {
		gnutls_psk_set_client_credentials_function2(s->psk_client, on_client_key);
		return gnutls_credentials_set(s->tls, GNUTLS_CRD_PSK, s->psk_client);
	}
	gnutls_psk_set_server_credentials_function2(s->psk_server, on_server_key);
	return gnutls_credentials_set(s->tls, GNUTLS_CRD_PSK, s->psk_server);
}

int psk_set_up(struct session *s)
{
	const enum policy_keys keys = policies[s->psk.hash];
	int r;

	/* Without the key this session only reads a ClientHello: any priorities will do. */
	if (!s->psk.key)
		return gnutls_priority_set(s->tls, s->engine->priority[POLICY_CERTIFICATES]);
	if (!s->engine->priority[keys])
		return GNUTLS_E_UNIMPLEMENTED_FEATURE;
	r = gnutls_priority_set(s->tls, s->engine->priority[keys]);
	return r < 0 ? r : set_credentials(s);
}

bool psk_was_used(const struct session *s)
{
	gnutls_kx_algorithm_t kx = gnutls_kx_get(s->tls);

	return s->psk.key && (kx == GNUTLS_KX_ECDHE_PSK || kx == GNUTLS_KX_DHE_PSK);
}

bool psk_is_mismatch(const struct session *s, int code)
{
	return s->job.auth == HS_AUTH_PSK && s->job.role == HS_SERVER && s->psk.lent &&
	       code == GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER &&
	       gnutls_handshake_get_last_out(s->tls) == (gnutls_handshake_description_t)-1;
}

void psk_free(struct session *s)
{
	if (s->psk_client)
		gnutls_psk_free_client_credentials(s->psk_client);
	if (s->psk_server)
		gnutls_psk_free_server_credentials(s->psk_server);
	if (s->psk.key)
		secret_burn_stack();
	secret_free(s->psk.key);
}
