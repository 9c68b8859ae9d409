// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the library sends goes through here record by record. The keys of each
 * direction are known (gnutls_handshake_set_secret_function()), so a record can
 * be opened, changed, and closed again with the same number.
 */
#include "fuzz-peer.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "fixtures.h"
#include "fuzz-memory.h"
#include "fuzz-steady.h"

#define CHANGES_MAX 8
#define HEADER 5		/* of a record */
#define TAG 16
#define APPLICATION_DATA 23	/* the type that encrypted records have */
#define LEVELS 2		/* of encryption: of the handshake, behind it */

struct one_change {
	enum change how;
	unsigned int which, where;
	const uint8_t *bytes;
	size_t len;
};

struct level {
	gnutls_aead_cipher_hd_t cipher;
	uint8_t nonce[12];
	uint64_t next;		/* number of the next record */
};

struct peer {
	gnutls_session_t tls;
	int code;		/* the last one */
	struct one_change changes[CHANGES_MAX];
	unsigned int n_changes;
	unsigned int n_messages, n_records;
	GByteArray *out;	/* what does not make a record yet */
	struct level levels[LEVELS];
	bool closes, ended;
};

struct shared {
	gnutls_certificate_credentials_t good[2], other_key[2], stranger, none;	/* [server] */
	gnutls_psk_client_credentials_t psk_client;
	gnutls_psk_server_credentials_t psk_server;
	gnutls_priority_t priority[4][2][2];	/* [cipher][odd group][psk] */
};

static struct shared shared;

static void check(int r)
{
	if (r < 0)
		g_error("%s", gnutls_strerror(r));
}

static gnutls_certificate_credentials_t certificate(const char *cert, const char *key)
{
	gnutls_datum_t c = { (unsigned char *)(uintptr_t)cert, (unsigned int)strlen(cert) };
	gnutls_datum_t k = { (unsigned char *)(uintptr_t)key, (unsigned int)strlen(key) };
	gnutls_certificate_credentials_t cred;

	check(gnutls_certificate_allocate_credentials(&cred));
	if (*cert)
		check(gnutls_certificate_set_x509_key_mem(cred, &c, &k, GNUTLS_X509_FMT_PEM));
	return cred;
}

static int psk_of(gnutls_session_t tls, const char *name, gnutls_datum_t *key)
{
	key->data = gnutls_malloc(32);
	key->size = 32;
	memcpy(key->data, FUZZ_PSK, 32);
	return 0;
}

static void make_priorities(void)
{
	static const char *const ciphers[4] = {
		"+AES-128-GCM", "+AES-256-GCM", "+CHACHA20-POLY1305", "+AES-128-CCM",
	};
	static const char *const groups[2] = { "+GROUP-X25519:+GROUP-SECP256R1",
					       "+GROUP-FFDHE2048:+GROUP-SECP256R1" };

	for (unsigned int i = 0; i < 4; i++) {
		for (unsigned int odd = 0; odd < 2; odd++) {
			for (unsigned int psk = 0; psk < 2; psk++) {
				g_autofree char *text = g_strdup_printf(
					"NONE:+VERS-TLS1.3:%s:+AEAD:+SIGN-ALL:%s%s", ciphers[i],
					groups[odd], psk ? ":+ECDHE-PSK:+DHE-PSK" : "");

				check(gnutls_priority_init(&shared.priority[i][odd][psk], text,
							   NULL));
			}
		}
	}
}

static void make_shared(void)
{
	gnutls_datum_t key = { (unsigned char *)(uintptr_t)FUZZ_PSK, 32 };

	if (shared.none)
		return;
	shared.none = certificate("", "");
	shared.good[1] = certificate(PEM_SERVER_CRT, PEM_SERVER_KEY);
	shared.good[0] = certificate(PEM_CLIENT_CRT, PEM_CLIENT_KEY);
	shared.other_key[1] = certificate(PEM_SERVER_ED_CRT, PEM_SERVER_ED_KEY);
	shared.other_key[0] = certificate(PEM_CLIENT_RSA_CRT, PEM_CLIENT_RSA_KEY);
	shared.stranger = certificate(PEM_STRANGER_CRT, PEM_STRANGER_KEY);
	check(gnutls_psk_allocate_client_credentials(&shared.psk_client));
	check(gnutls_psk_set_client_credentials(shared.psk_client, FUZZ_PSK_IDENTITY, &key,
						GNUTLS_PSK_KEY_RAW));
	check(gnutls_psk_allocate_server_credentials(&shared.psk_server));
	gnutls_psk_set_server_credentials_function(shared.psk_server, psk_of);
	make_priorities();
}

static gnutls_certificate_credentials_t credentials(const struct peer_config *config)
{
	switch (config->shown) {
	case SHOWN_GOOD:
		return shared.good[config->server];
	case SHOWN_OTHER_KEY:
		return shared.other_key[config->server];
	case SHOWN_STRANGER:
		return shared.stranger;
	default:
		return config->server ? shared.good[1] : shared.none;
	}
}

/* --- before it is hashed --- */

static int on_message(gnutls_session_t tls, unsigned int type, unsigned int when,
		      unsigned int incoming, const gnutls_datum_t *msg)
{
	struct peer *p = gnutls_session_get_ptr(tls);

	if (incoming || !msg->size)
		return 0;
	for (unsigned int i = 0; i < p->n_changes; i++) {
		const struct one_change *c = &p->changes[i];

		if (c->how > CHANGE_MESSAGE_XOR || c->which != p->n_messages)
			continue;
		/* The library's own buffer, which it hashes and sends next. */
		for (size_t j = 0; j < c->len; j++) {
			uint8_t *at = &msg->data[(c->where + j) % msg->size];

			*at = c->how == CHANGE_MESSAGE ? c->bytes[j] : *at ^ c->bytes[j];
		}
	}
	p->n_messages++;
	return 0;
}

/* --- records --- */

/* RFC 8446 7.1, of an empty context */
static void expand(gnutls_mac_algorithm_t mac, const gnutls_datum_t *secret, const char *label,
		   void *out, size_t len)
{
	uint8_t info[64];
	size_t n = strlen(label);
	gnutls_datum_t whole = { info, (unsigned int)(10 + n) };

	info[0] = 0;
	info[1] = (uint8_t)len;
	info[2] = (uint8_t)(6 + n);
	memcpy(info + 3, "tls13 ", 6);
	memcpy(info + 9, label, n);
	info[9 + n] = 0;
	check(gnutls_hkdf_expand(mac, secret, &whole, out, len));
}

static int on_secret(gnutls_session_t tls, gnutls_record_encryption_level_t level,
		     const void *receive, const void *send, size_t size)
{
	struct peer *p = gnutls_session_get_ptr(tls);
	gnutls_cipher_algorithm_t cipher = gnutls_cipher_get(tls);
	gnutls_mac_algorithm_t mac = (gnutls_mac_algorithm_t)gnutls_prf_hash_get(tls);
	struct level *l = &p->levels[level == GNUTLS_ENCRYPTION_LEVEL_APPLICATION];
	gnutls_datum_t secret = { (unsigned char *)(uintptr_t)send, (unsigned int)size };
	gnutls_datum_t key;
	uint8_t bytes[32];

	if (!send || l->cipher || level == GNUTLS_ENCRYPTION_LEVEL_EARLY)
		return 0;
	key = (gnutls_datum_t){ bytes, (unsigned int)gnutls_cipher_get_key_size(cipher) };
	expand(mac, &secret, "key", bytes, key.size);
	expand(mac, &secret, "iv", l->nonce, sizeof(l->nonce));
	check(gnutls_aead_cipher_init(&l->cipher, cipher, &key));
	return 0;
}

static void nonce_of(const struct level *l, uint8_t nonce[12])
{
	memcpy(nonce, l->nonce, 12);
	for (unsigned int i = 0; i < 8; i++)
		nonce[11 - i] ^= (uint8_t)(l->next >> (8 * i));
}

/* Opens @record, header and all, to @plain. Returns which level it is of; NULL: of none. */
static struct level *open_record(struct peer *p, const uint8_t *record, size_t len,
				 uint8_t *plain, size_t *ret_len)
{
	if (record[0] != APPLICATION_DATA)
		return NULL;
	for (unsigned int i = 0; i < LEVELS; i++) {
		struct level *l = &p->levels[i];
		uint8_t nonce[12];

		*ret_len = len;
		nonce_of(l, nonce);
		if (l->cipher &&
		    gnutls_aead_cipher_decrypt(l->cipher, nonce, 12, record, HEADER, TAG,
					       record + HEADER, len - HEADER, plain, ret_len) == 0)
			return l;
	}
	return NULL;
}

static void close_record(struct level *l, const GByteArray *plain)
{
	size_t len = plain->len + TAG;
	uint8_t header[HEADER] = { APPLICATION_DATA, 3, 3, (uint8_t)(len >> 8), (uint8_t)len };
	g_autofree uint8_t *out = g_malloc(len + TAG);
	uint8_t nonce[12];

	nonce_of(l, nonce);
	len += TAG;
	check(gnutls_aead_cipher_encrypt(l->cipher, nonce, 12, header, HEADER, TAG, plain->data,
					 plain->len, out, &len));
	g_byte_array_append(memory.to_us, header, HEADER);
	g_byte_array_append(memory.to_us, out, (guint)len);
}

static void overwrite(GByteArray *bytes, const struct one_change *c)
{
	for (size_t i = 0; bytes->len && i < c->len; i++)
		bytes->data[(c->where + i) % bytes->len] = c->bytes[i];
}

static void insert(GByteArray *bytes, const struct one_change *c)
{
	size_t at = c->where % (bytes->len + 1), tail = bytes->len - at;

	g_byte_array_set_size(bytes, bytes->len + (guint)c->len);
	memmove(bytes->data + at + c->len, bytes->data + at, tail);
	if (c->len)
		memcpy(bytes->data + at, c->bytes, c->len);
}

static void change_inside(struct peer *p, GByteArray *plain)
{
	for (unsigned int i = 0; i < p->n_changes; i++) {
		const struct one_change *c = &p->changes[i];
		guint at = plain->len ? c->where % plain->len : 0;

		if (c->which != p->n_records)
			continue;
		if (c->how == CHANGE_INSIDE)
			overwrite(plain, c);
		else if (c->how == CHANGE_INSERT)
			insert(plain, c);
		else if (c->how == CHANGE_DELETE && plain->len)
			g_byte_array_remove_range(plain, at, MIN((guint)c->len, plain->len - at));
	}
}

/* Of the record that begins at @at of what we get. */
static void change_outside(struct peer *p, guint at)
{
	for (unsigned int i = 0; i < p->n_changes; i++) {
		const struct one_change *c = &p->changes[i];
		guint len = memory.to_us->len - at;

		if (c->which != p->n_records)
			continue;
		for (size_t j = 0; c->how == CHANGE_OUTSIDE && len && j < c->len; j++)
			memory.to_us->data[at + (c->where + j) % len] = c->bytes[j];
		if (c->how != CHANGE_END)
			continue;
		g_byte_array_set_size(memory.to_us, at + c->where % (len + 1));
		memory.closed = p->ended = true;
		return;
	}
}

static void put_before(struct peer *p)
{
	for (unsigned int i = 0; i < p->n_changes; i++) {
		if (p->changes[i].how == CHANGE_BEFORE && p->changes[i].which == p->n_records)
			g_byte_array_append(memory.to_us, p->changes[i].bytes,
					    (guint)p->changes[i].len);
	}
}

static void forward(struct peer *p, const uint8_t *record, size_t len)
{
	g_autofree uint8_t *bytes = g_malloc(len);
	g_autoptr(GByteArray) plain = g_byte_array_new();
	size_t plain_len = 0;
	struct level *l = open_record(p, record, len, bytes, &plain_len);
	guint at;

	put_before(p);
	at = memory.to_us->len;
	g_byte_array_append(plain, l ? bytes : record + HEADER,
			    (guint)(l ? plain_len : len - HEADER));
	change_inside(p, plain);
	if (l) {
		close_record(l, plain);
		l->next++;
	} else {
		uint8_t header[HEADER] = { record[0], record[1], record[2],
					   (uint8_t)(plain->len >> 8), (uint8_t)plain->len };

		g_byte_array_append(memory.to_us, header, HEADER);
		g_byte_array_append(memory.to_us, plain->data, plain->len);
	}
	change_outside(p, at);
	p->n_records++;
}

static ssize_t push(gnutls_transport_ptr_t ctx, const void *data, size_t len)
{
	struct peer *p = ctx;
	size_t at = 0, size;

	g_byte_array_append(p->out, data, (guint)len);
	while (!p->ended && p->out->len - at >= HEADER) {
		size = HEADER + ((size_t)p->out->data[at + 3] << 8 | p->out->data[at + 4]);
		if (p->out->len - at < size)
			break;
		forward(p, p->out->data + at, size);
		at += size;
	}
	g_byte_array_remove_range(p->out, 0, (guint)at);
	return (ssize_t)len;
}

static ssize_t pull(gnutls_transport_ptr_t ctx, void *buf, size_t len)
{
	struct peer *p = ctx;
	size_t left = memory.from_us->len - memory.peer_read;

	len = MIN(len, left);
	if (!len) {
		gnutls_transport_set_errno(p->tls, EAGAIN);
		return -1;
	}
	memcpy(buf, memory.from_us->data + memory.peer_read, len);
	memory.peer_read += len;
	return (ssize_t)len;
}

/* --- the session --- */

static void read_changes(struct peer *p, struct input *in)
{
	while (in->left && p->n_changes < CHANGES_MAX) {
		struct one_change *c = &p->changes[p->n_changes++];

		c->how = take_u8(in) % N_CHANGES;
		c->which = take_u8(in);
		c->where = take_u16(in);
		c->bytes = take_bytes(in, take_u8(in), &c->len);
	}
}

static void set_up(struct peer *p, const struct peer_config *config)
{
	gnutls_session_set_ptr(p->tls, p);
	gnutls_transport_set_ptr(p->tls, p);
	gnutls_transport_set_push_function(p->tls, push);
	gnutls_transport_set_pull_function(p->tls, pull);
	gnutls_handshake_set_hook_function(p->tls, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE,
					   on_message);
	gnutls_handshake_set_secret_function(p->tls, on_secret);
	gnutls_handshake_set_timeout(p->tls, 0);
	check(gnutls_priority_set(p->tls, shared.priority[config->cipher][config->odd_group]
							 [config->psk]));
	if (config->psk && config->server)
		check(gnutls_credentials_set(p->tls, GNUTLS_CRD_PSK, shared.psk_server));
	else if (config->psk)
		check(gnutls_credentials_set(p->tls, GNUTLS_CRD_PSK, shared.psk_client));
	if (!config->psk || config->shown == SHOWN_OTHER_KEY)
		check(gnutls_credentials_set(p->tls, GNUTLS_CRD_CERTIFICATE, credentials(config)));
	if (config->server)
		gnutls_certificate_server_set_request(p->tls, GNUTLS_CERT_REQUEST);
}

struct peer *peer_new(const struct peer_config *config, struct input *in)
{
	struct peer *p = g_new0(struct peer, 1);

	make_shared();
	p->out = g_byte_array_new();
	p->closes = config->closes;
	p->code = GNUTLS_E_AGAIN;
	read_changes(p, in);
	steady_use(STEADY_PEER);
	check(gnutls_init(&p->tls, GNUTLS_NONBLOCK | (config->server ? GNUTLS_SERVER :
			  GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT | GNUTLS_KEY_SHARE_TOP)));
	set_up(p, config);
	steady_use(STEADY_OURS);
	return p;
}

bool peer_step(struct peer *p)
{
	size_t in = memory.peer_read;
	guint out = memory.to_us->len;

	if (p->ended || (p->code < 0 && gnutls_error_is_fatal(p->code)) || p->code == 0)
		return false;
	steady_use(STEADY_PEER);
	p->code = gnutls_handshake(p->tls);
	if (p->code < 0 && gnutls_error_is_fatal(p->code))
		gnutls_alert_send_appropriate(p->tls, p->code);
	steady_use(STEADY_OURS);
	if (p->code != GNUTLS_E_AGAIN && p->closes)
		memory.closed = true;
	return memory.peer_read != in || memory.to_us->len != out;
}

void peer_free(struct peer *p)
{
	if (!p)
		return;
	gnutls_deinit(p->tls);
	for (unsigned int i = 0; i < LEVELS; i++)
		if (p->levels[i].cipher)
			gnutls_aead_cipher_deinit(p->levels[i].cipher);
	g_byte_array_free(p->out, TRUE);
	g_free(p);
}
