// SPDX-License-Identifier: GPL-2.0-or-later
#include "forged-peer.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <nettle/curve25519.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define EXT_SHARES 51
#define TAG 16

void forged_open(struct forged_peer *p, int fd, enum hs_role role)
{
	memset(p, 0, sizeof(*p));
	p->fd = fd;
	p->role = role;
	p->alert = -1;
	p->transcript = g_byte_array_new();
	p->in = g_byte_array_new();
	p->messages = g_byte_array_new();
	p->data = g_byte_array_new();
	fp_check(gnutls_rnd(GNUTLS_RND_NONCE, p->private_key, sizeof(p->private_key)), "random");
}

void forged_close(struct forged_peer *p)
{
	g_byte_array_unref(p->transcript);
	g_byte_array_unref(p->in);
	g_byte_array_unref(p->messages);
	g_byte_array_unref(p->data);
	if (p->held)
		g_byte_array_unref(p->held);
	if (p->hello)
		g_byte_array_unref(p->hello);
}

static void set_keys(struct forged_keys *k)
{
	fp_expand(k->secret, "key", NULL, 0, k->key, sizeof(k->key));
	fp_expand(k->secret, "iv", NULL, 0, k->iv, sizeof(k->iv));
	k->seq = 0;
	k->on = true;
}

void fp_early_secret(const struct forged_peer *p, uint8_t early[FP_HASH])
{
	uint8_t zero[FP_HASH] = { 0 };
	gnutls_datum_t ikm = { zero, sizeof(zero) }, no_salt = { zero, 0 };

	if (p->psk_len > 0)
		ikm = (gnutls_datum_t){ (void *)(uintptr_t)p->psk, (unsigned int)p->psk_len };
	fp_check(gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &ikm, &no_salt, early), "extract");
}

/* One step down the schedule of RFC 8446 7.1. */
static void next_secret(const uint8_t secret[FP_HASH], const uint8_t input[FP_HASH],
			uint8_t ret[FP_HASH])
{
	uint8_t empty[FP_HASH], derived[FP_HASH];
	gnutls_datum_t salt = { derived, sizeof(derived) };
	gnutls_datum_t ikm = { (void *)(uintptr_t)input, FP_HASH };

	fp_check(gnutls_hash_fast(GNUTLS_DIG_SHA256, "", 0, empty), "hash");
	fp_expand(secret, "derived", empty, sizeof(empty), derived, sizeof(derived));
	fp_check(gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &ikm, &salt, ret), "extract");
}

/* Of the transcript as it is. */
static void set_traffic_keys(struct forged_peer *p, const uint8_t secret[FP_HASH],
			     const char *of_client, const char *of_server)
{
	bool client = p->role == HS_CLIENT;
	uint8_t hash[FP_HASH];

	fp_transcript_hash(p, hash);
	fp_expand(secret, client ? of_client : of_server, hash, sizeof(hash), p->mine.secret,
		  FP_HASH);
	fp_expand(secret, client ? of_server : of_client, hash, sizeof(hash), p->theirs.secret,
		  FP_HASH);
	set_keys(&p->mine);
	set_keys(&p->theirs);
}

void forged_derive(struct forged_peer *p, const uint8_t their_share[32])
{
	uint8_t shared[32], early[FP_HASH];

	fp_early_secret(p, early);
	curve25519_mul(shared, p->private_key, their_share);
	next_secret(early, shared, p->secret);
	set_traffic_keys(p, p->secret, "c hs traffic", "s hs traffic");
}

/* The transcript ends with the server's Finished. */
static void derive_data(struct forged_peer *p)
{
	static const uint8_t zero[FP_HASH];
	struct forged_keys mine = p->mine, theirs = p->theirs;
	uint8_t master[FP_HASH];

	next_secret(p->secret, zero, master);
	set_traffic_keys(p, master, "c ap traffic", "s ap traffic");
	p->data_mine = p->mine;
	p->data_theirs = p->theirs;
	p->mine = mine;
	p->theirs = theirs;
}

void forged_application_keys(struct forged_peer *p)
{
	derive_data(p);
	p->mine = p->data_mine;
	p->theirs = p->data_theirs;
}

void forged_update(struct forged_keys *k)
{
	uint8_t next[FP_HASH];

	fp_expand(k->secret, "traffic upd", NULL, 0, next, sizeof(next));
	memcpy(k->secret, next, sizeof(next));
	set_keys(k);
}

void forged_hold(struct forged_peer *p)
{
	p->held = g_byte_array_new();
}

bool forged_release(struct forged_peer *p)
{
	GByteArray *all = p->held;
	bool taken;

	p->held = NULL;
	taken = forged_raw(p, all->data, all->len);
	g_byte_array_unref(all);
	return taken;
}

bool forged_raw(struct forged_peer *p, const void *bytes, size_t len)
{
	struct pollfd room = { .fd = p->fd, .events = POLLOUT | POLLRDHUP };
	size_t done = 0;
	ssize_t n;

	if (p->held) {
		fp_put(p->held, bytes, len);
		return true;
	}
	do {
		n = send(p->fd, (const uint8_t *)bytes + done, len - done,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EAGAIN || !p->waits ||
			 poll(&room, 1, FP_WAIT_MS) <= 0 || !(room.revents & POLLOUT))
			break;	/* also when the other end has ended, and reads no more */
	} while (done < len && p->waits);
	return done == len;
}

static gnutls_aead_cipher_hd_t cipher(const struct forged_keys *k, uint8_t nonce[12])
{
	gnutls_datum_t key = { (void *)(uintptr_t)k->key, sizeof(k->key) };
	gnutls_aead_cipher_hd_t handle;

	memcpy(nonce, k->iv, sizeof(k->iv));
	for (unsigned int i = 0; i < 8; i++)
		nonce[4 + i] ^= (uint8_t)(k->seq >> 8 * (7 - i));
	fp_check(gnutls_aead_cipher_init(&handle, GNUTLS_CIPHER_AES_128_GCM, &key), "cipher");
	return handle;
}

static bool send_record(struct forged_peer *p, unsigned int type, const uint8_t *bytes, size_t len)
{
	GByteArray *record = g_byte_array_new();
	bool taken;

	fp_number(record, 1, p->mine.on ? FP_DATA : type);
	fp_number(record, 2, 0x0303);
	fp_number(record, 2, p->mine.on ? len + 1 + TAG : len);
	if (p->mine.on) {
		g_autofree uint8_t *plain = g_malloc(len + 1), *out = g_malloc(len + 1 + TAG);
		size_t out_len = len + 1 + TAG;
		gnutls_aead_cipher_hd_t handle;
		uint8_t nonce[12];

		if (len > 0)
			memcpy(plain, bytes, len);
		plain[len] = (uint8_t)type;
		handle = cipher(&p->mine, nonce);
		fp_check(gnutls_aead_cipher_encrypt(handle, nonce, sizeof(nonce), record->data, 5,
						    TAG, plain, len + 1, out, &out_len), "encrypt");
		gnutls_aead_cipher_deinit(handle);
		p->mine.seq++;
		fp_put(record, out, out_len);
	} else if (len > 0) {
		fp_put(record, bytes, len);
	}
	taken = forged_raw(p, record->data, record->len);
	g_byte_array_unref(record);
	return taken;
}

bool forged_send(struct forged_peer *p, unsigned int type, const void *bytes, size_t len)
{
	size_t max = p->record_max ? p->record_max : FP_RECORD_MAX, at = 0, n;

	do {
		n = MIN(max, len - at);
		if (!send_record(p, type, len ? (const uint8_t *)bytes + at : NULL, n))
			return false;
		at += n;
	} while (at < len);
	return true;
}

bool forged_message(struct forged_peer *p, GByteArray *message)
{
	bool taken;

	fp_put(p->transcript, message->data, message->len);
	taken = forged_send(p, FP_HANDSHAKE, message->data, message->len);
	g_byte_array_unref(message);
	return taken;
}

void forged_finish(struct forged_peer *p, GByteArray *more)
{
	GByteArray *m = fp_finished(p);

	fp_put(p->transcript, m->data, m->len);
	if (more) {
		fp_put(m, more->data, more->len);
		g_byte_array_unref(more);
	}
	forged_send(p, FP_HANDSHAKE, m->data, m->len);
	g_byte_array_unref(m);
	if (p->role == HS_SERVER)
		derive_data(p);
	p->mine = p->data_mine;
}

/* The X25519 share in the ServerHello at @m, which is one of ours: its place is known. */
static const uint8_t *find_share(const uint8_t *m, size_t len)
{
	static const uint8_t head[] = { 0, EXT_SHARES };
	const uint8_t *at = m, *end = m + len;

	/* "Type 51, some lengths, group 29, 32 bytes": in a ClientHello of one share and in a ServerHello. */
	while ((at = memmem(at, (size_t)(end - at), head, sizeof(head)))) {
		for (size_t skip = 4; skip <= 6; skip += 2)
			if (end - at >= (ssize_t)(skip + 36) &&
			    memcmp(at + skip, "\0\x1d\0\x20", 4) == 0)
				return at + skip + 4;
		at += sizeof(head);
	}
	g_error("no share for X25519");
}

static void on_message(struct forged_peer *p, const uint8_t *m, size_t len)
{
	p->seen[m[0]] = true;
	fp_put(p->transcript, m, len);
	if (m[0] == FP_CLIENT_HELLO) {
		p->hello = g_byte_array_new();
		fp_put(p->hello, m, len);
	} else if (m[0] == FP_SERVER_HELLO && p->role == HS_CLIENT &&
		   memcmp(m + 6, fp_retry_random, sizeof(fp_retry_random)) != 0) {
		forged_derive(p, find_share(m, len));
	} else if (m[0] == FP_FINISHED) {
		if (p->role == HS_CLIENT)
			derive_data(p);
		if (p->data_theirs.on)
			p->theirs = p->data_theirs;
	}
}

static void split_messages(struct forged_peer *p)
{
	while (p->messages->len >= 4) {
		const uint8_t *m = p->messages->data;
		guint len = 4 + ((guint)m[1] << 16 | (guint)m[2] << 8 | m[3]);

		if (p->messages->len < len)
			return;
		on_message(p, m, len);
		g_byte_array_remove_range(p->messages, 0, len);
	}
}

static void on_plain(struct forged_peer *p, unsigned int type, const uint8_t *bytes, size_t len)
{
	if (type == FP_ALERT && len == 2) {
		p->alert = bytes[1];
	} else if (type == FP_HANDSHAKE) {
		fp_put(p->messages, bytes, len);
		split_messages(p);
	} else if (type == FP_DATA) {
		fp_put(p->data, bytes, len);
	}
}

static void on_encrypted(struct forged_peer *p, const uint8_t *record, size_t len)
{
	g_autofree uint8_t *plain = g_malloc(len);
	size_t plain_len = len - 5;
	gnutls_aead_cipher_hd_t handle;
	uint8_t nonce[12];
	int r;

	handle = cipher(&p->theirs, nonce);
	r = gnutls_aead_cipher_decrypt(handle, nonce, sizeof(nonce), record, 5, TAG, record + 5,
				       len - 5, plain, &plain_len);
	gnutls_aead_cipher_deinit(handle);
	/* Encrypted with what is not derived: it stays unread. */
	if (r < 0)
		return;
	p->theirs.seq++;
	while (plain_len > 0 && plain[plain_len - 1] == 0)
		plain_len--;
	if (plain_len > 0)
		on_plain(p, plain[plain_len - 1], plain, plain_len - 1);
}

void forged_receive(struct forged_peer *p)
{
	uint8_t buf[4096];
	ssize_t n;

	while ((n = recv(p->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		fp_put(p->in, buf, (size_t)n);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		p->closed = true;
	while (p->in->len >= 5) {
		const uint8_t *r = p->in->data;
		guint len = 5 + ((guint)r[3] << 8 | r[4]);

		if (p->in->len < len)
			return;
		if (r[0] == FP_DATA && p->theirs.on)
			on_encrypted(p, r, len);
		else
			on_plain(p, r[0], r + 5, len - 5);
		g_byte_array_remove_range(p->in, 0, len);
	}
}

void forged_answer_hello(struct forged_peer *p)
{
	GByteArray *hello;

	g_assert_nonnull(p->hello);
	hello = fp_server_hello(p, NULL);
	forged_message(p, hello);
	forged_derive(p, find_share(p->hello->data, p->hello->len));
}
