// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ClientHellos that are too much of something, and data sent with them before the handshake
 * (0-RTT): taken where that is right, else refused, and cheap in both cases.
 */
#include <gnutls/crypto.h>
#include <malloc.h>

#include "hostile-world.h"

#define SUITE 0x1301
#define X25519 29
#define UNKNOWN 0x4000		/* suites, groups, schemes and extensions from here on are unknown */
#define COST_LIMIT 6.0		/* ordinary mutual handshakes */
#define HEAP_LIMIT (2 << 20)	/* bytes more than before, with the session still there */
#define IDENTITY "a client"
#define BINDERS (2 + 1 + FP_HASH)	/* bytes of one, with its lengths */
#define EARLY "the client sent early data (0-RTT)"

static gint64 usual;
static const uint8_t psk_key[32] = "0123456789abcdef0123456789abcde";

/* Of each so many more than there need be, before those that we know. */
struct hello {
	const char *name;
	enum hs_outcome outcome;
	const char *reason;
	unsigned int suites, groups, schemes;
	unsigned int shares, share_len, share_group;	/* group 0: unknown ones */
	unsigned int extensions, extension_len;
	unsigned int twice;		/* this extension comes two times */
	unsigned int names;		/* in server_name */
	unsigned int protocols;		/* in ALPN */
	unsigned int identities;	/* of pre-shared keys, with as many binders */
	size_t record_max;		/* bytes; 0: as usual */
};

static void put_numbers(GByteArray *m, unsigned int n, unsigned int first)
{
	for (unsigned int i = 0; i < n; i++)
		fp_number(m, 2, first + i % 0x3000);
}

/* An extension that is one vector of two bytes' length. */
static void put_list(GByteArray *m, unsigned int type, unsigned int more, const uint16_t *known,
		     size_t n_known)
{
	unsigned int at, inner;

	fp_number(m, 2, type);
	at = fp_begin(m, 2);
	inner = fp_begin(m, 2);
	put_numbers(m, more, UNKNOWN);
	for (size_t i = 0; i < n_known; i++)
		fp_number(m, 2, known[i]);
	fp_end(m, 2, inner);
	fp_end(m, 2, at);
}

static void put_shares(GByteArray *m, const struct hello *t, const struct forged_peer *p)
{
	unsigned int at, inner, one;

	fp_number(m, 2, 51);
	at = fp_begin(m, 2);
	inner = fp_begin(m, 2);
	for (unsigned int i = 0; i < t->shares; i++) {
		fp_number(m, 2, t->share_group ? t->share_group : UNKNOWN + i % 0x3000);
		one = fp_begin(m, 2);
		fp_fill(m, 9, t->share_len);
		fp_end(m, 2, one);
	}
	fp_put_share(m, p);
	fp_end(m, 2, inner);
	fp_end(m, 2, at);
}

/* server_name, ALPN: vectors of names. */
static void put_names(GByteArray *m, unsigned int type, unsigned int n)
{
	unsigned int at, inner;

	if (n == 0)
		return;
	fp_number(m, 2, type);
	at = fp_begin(m, 2);
	inner = fp_begin(m, 2);
	for (unsigned int i = 0; i < n; i++)
		fp_put(m, type ? "\2ab" : "\0\0\2ab", type ? 3 : 5);
	fp_end(m, 2, inner);
	fp_end(m, 2, at);
}

/* RFC 8446 4.2.11, behind all others; what they are does not matter. */
static void put_identities(GByteArray *m, unsigned int n)
{
	unsigned int at, inner;

	if (n == 0)
		return;
	fp_put(m, "\0\x2d\0\2\1\1", 6);	/* psk_dhe_ke */
	fp_number(m, 2, 41);
	at = fp_begin(m, 2);
	inner = fp_begin(m, 2);
	for (unsigned int i = 0; i < n; i++)
		fp_put(m, "\0\1x\1\1\1\1", 7);	/* the age of a ticket */
	fp_end(m, 2, inner);
	inner = fp_begin(m, 2);
	for (unsigned int i = 0; i < n; i++) {
		fp_number(m, 1, 32);
		fp_fill(m, 0, 32);
	}
	fp_end(m, 2, inner);
	fp_end(m, 2, at);
}

static void put_more(GByteArray *m, const struct hello *t)
{
	for (unsigned int i = 0; i < t->extensions; i++) {
		fp_number(m, 2, UNKNOWN + i);
		fp_number(m, 2, t->extension_len);
		fp_fill(m, 0, t->extension_len);
	}
	put_names(m, 0, t->names);
	put_names(m, 16, t->protocols);
	for (unsigned int i = 0; t->twice && i < 2; i++) {
		fp_number(m, 2, t->twice);
		fp_number(m, 2, 0);
	}
	put_identities(m, t->identities);
}

static GByteArray *make(const struct hello *t, const struct forged_peer *p)
{
	static const uint16_t groups[] = { X25519 }, schemes[] = { 0x0403, 0x0804 };
	GByteArray *m = fp_message(FP_CLIENT_HELLO);
	unsigned int at;

	fp_number(m, 2, 0x0303);
	fp_fill(m, 0x55, 32);
	fp_number(m, 1, 32);
	fp_fill(m, 0x66, 32);
	at = fp_begin(m, 2);
	put_numbers(m, t->suites, UNKNOWN);
	fp_number(m, 2, SUITE);
	fp_end(m, 2, at);
	fp_number(m, 2, 0x0100);
	at = fp_begin(m, 2);
	put_list(m, 10, t->groups, groups, G_N_ELEMENTS(groups));
	put_list(m, 13, t->schemes, schemes, G_N_ELEMENTS(schemes));
	fp_put(m, "\0\x2b\0\x03\x02\x03\x04", 7);
	put_shares(m, t, p);
	put_more(m, t);
	fp_end(m, 2, at);
	fp_end(m, 3, 1);
	return m;
}

static void check(const struct hostile *h, const char *name, enum hs_outcome outcome,
		  const char *reason, size_t before)
{
	size_t now = mallinfo2().uordblks, grown = now > before ? now - before : 0;

	g_assert_cmpint(h->pair.status[HS_SERVER], ==, SESSION_ENDED);
	g_test_message("%s: %s: %s; alert %d; %zu KiB of heap, limit %d", name,
		       hs_outcome_name(h->pair.result[HS_SERVER].outcome),
		       h->pair.result[HS_SERVER].reason, h->peer.alert, grown >> 10,
		       HEAP_LIMIT >> 10);
	assert_outcome(&h->pair, HS_SERVER, outcome);
	assert_reason(&h->pair, HS_SERVER, reason);
	if (outcome != HS_OK)
		assert_no_keys(&h->pair, HS_SERVER);
	g_assert_cmpuint(grown, <, HEAP_LIMIT);
}

static void finish(struct hostile *h)
{
	if (hostile_settle(h))
		return;
	hostile_authenticate(h, client_cert->pem, client_cert->key, 0x0403, 0);
	hostile_settle(h);
}

#define BIG HS_PROTOCOL, "at most 32768 are read"
#define ILLEGAL HS_PROTOCOL, "An illegal TLS extension was received"
static const struct hello hellos[] = {
	{ "plain", HS_OK, "" },
	{ "suites-16000", HS_OK, "", .suites = 16000 },
	{ "suites-32000", BIG, .suites = 32000 },
	{ "groups-16000", HS_OK, "", .groups = 16000 },
	{ "groups-30000", BIG, .groups = 30000 },
	{ "schemes-16000", HS_OK, "", .schemes = 16000 },
	{ "schemes-30000", BIG, .schemes = 30000 },
	{ "all-lists", HS_OK, "", .suites = 8000, .groups = 2000, .schemes = 4000, .shares = 1000 },
	{ "all-long-lists", BIG, .suites = 32000, .groups = 10000, .schemes = 10000, .shares = 1000 },
	{ "shares-8000", HS_OK, "", .shares = 8000 },
	{ "shares-15000", BIG, .shares = 15000 },
	{ "shares-900-of-32", HS_OK, "", .shares = 900, .share_len = 32 },
	{ "share-of-32000", HS_OK, "", .shares = 1, .share_len = 32000 },
	{ "share-not-offered", HS_OK, "", .shares = 1, .share_len = 65, .share_group = 23 },
	/* The first one counts (4.2.8: may be checked): it is another's. */
	{ "shares-of-one-group", HS_PROTOCOL, "Decryption has failed", .shares = 900, .share_len = 32,
	  .share_group = X25519 },
	{ "share-of-31", HS_PROTOCOL, "An illegal parameter", .shares = 1, .share_len = 31,
	  .share_group = X25519 },
	{ "share-of-0", HS_PROTOCOL, "An illegal parameter", .shares = 1, .share_group = X25519 },
	{ "extensions-8000", HS_OK, "", .extensions = 8000 },
	{ "extensions-16000", BIG, .extensions = 16000 },
	{ "extensions-500-of-60", HS_OK, "", .extensions = 500, .extension_len = 60 },
	{ "extension-of-32000", HS_OK, "", .extensions = 1, .extension_len = 32000 },
	{ "extension-of-65000", BIG, .extensions = 1, .extension_len = 65000 },
	{ "in-records-of-200", HS_OK, "", .extensions = 1, .extension_len = 32000, .record_max = 200 },
	{ "65000-in-records-of-200", BIG, .extensions = 1, .extension_len = 65000, .record_max = 200 },
	{ "65000-in-records-of-100", HS_PROTOCOL, "more than 512 records", .extensions = 1,
	  .extension_len = 65000, .record_max = 100 },
	/* What nobody knows nobody reads. */
	{ "unknown-twice", HS_OK, "", .twice = UNKNOWN },
	{ "groups-twice", ILLEGAL, .twice = 10 },
	{ "schemes-twice", ILLEGAL, .twice = 13 },
	{ "versions-twice", HS_NO_COMMON, "does not offer TLS 1.3", .twice = 43 },
	{ "shares-twice", ILLEGAL, .twice = 51 },
	{ "master-secret-twice", ILLEGAL, .twice = 23 },
	{ "names-6000", HS_OK, "", .names = 6000 },
	{ "protocols-10000", HS_OK, "", .protocols = 10000 },
	{ "identities-800", HS_OK, "", .identities = 800 },
};

static void send_hello(const struct hello *t, struct hostile *h)
{
	hostile_open(h, HS_SERVER, NULL);
	h->peer.record_max = t->record_max;
	forged_message(&h->peer, make(t, &h->peer));
	h->peer.record_max = 0;
	finish(h);
}

/* The least of several when the first is above the limit: the machine may have been busy. */
static void test_hello(gconstpointer data)
{
	const struct hello *t = data;
	gint64 least = G_MAXINT64;

	for (unsigned int i = 0; i < HOSTILE_RUNS &&
	     (double)least > COST_LIMIT * (double)usual; i++) {
		size_t before = mallinfo2().uordblks;
		struct hostile h;

		send_hello(t, &h);
		check(&h, t->name, t->outcome, t->reason, before);
		least = MIN(least, h.spent);
		hostile_close(&h);
	}
	hostile_at_most(t->name, least, HS_SERVER, usual, COST_LIMIT);
}

/* --- early data --- */

/* A ClientHello that says data comes at once; without a key of ours nobody can read it. */
static void early_hello(struct hostile *h, unsigned int identities)
{
	GByteArray *more = g_byte_array_new();

	fp_put(more, "\0\x2a\0\0", 4);
	put_identities(more, identities);
	forged_message(&h->peer, fp_client_hello(&h->peer, more));
	g_byte_array_unref(more);
}

static void send_early(struct hostile *h, size_t len, size_t record)
{
	g_autofree uint8_t *bytes = g_malloc(5 + record);
	bool on = h->peer.mine.on;

	h->peer.mine.on = false;
	memset(bytes, 0x5e, 5 + record);
	for (size_t sent = 0; sent < len && h->pair.status[HS_SERVER] != SESSION_ENDED;
	     sent += record) {
		size_t n = MIN(record, len - sent);

		forged_send(&h->peer, FP_DATA, bytes, n);
		if (sent % (100 * record) == 0)
			hostile_settle(h);
	}
	h->peer.mine.on = on;
}

static const struct early {
	const char *name;
	unsigned int identities;
	size_t len, record;
	enum hs_outcome outcome;
	const char *reason;
} earlies[] = {
	{ "announced", 1, 0, 1, HS_OK, "" },
	{ "announced-alone", 0, 0, 1, HS_OK, "" },
	{ "some", 1, 5000, 1000, HS_PROTOCOL, EARLY },
	{ "one-byte", 1, 1, 1, HS_PROTOCOL, EARLY },
	{ "little-records", 1, 50000, 17, HS_PROTOCOL, EARLY },
	{ "without-end", 1, 16 << 20, 16384, HS_PROTOCOL, EARLY },
	{ "without-identity", 0, 5000, 1000, HS_PROTOCOL, EARLY },
};

static void test_early(gconstpointer data)
{
	const struct early *t = data;
	size_t before = mallinfo2().uordblks;
	struct hostile h;

	hostile_open(&h, HS_SERVER, NULL);
	early_hello(&h, t->identities);
	send_early(&h, t->len, t->record);
	finish(&h);
	check(&h, t->name, t->outcome, t->reason, before);
	hostile_at_most(t->name, h.spent, HS_SERVER, usual, COST_LIMIT);
	hostile_close(&h);
}

/* --- early data, by a client that has a key of ours and could have agreed on it --- */

static void give_key(struct pair *p, enum hs_role i)
{
	g_assert_cmpstr(session_psk_identity(p->session[i]), ==, IDENTITY);
	g_assert_cmpint(session_set_psk(p->session[i], HS_PSK_SHA256, "", psk_key,
					sizeof(psk_key)), ==, 0);
}

static void open_psk(struct hostile *h)
{
	hostile_open(h, HS_SERVER, NULL);
	session_free(h->pair.session[HS_SERVER]);
	h->pair.job[HS_SERVER].auth = HS_AUTH_PSK;
	h->pair.keys = give_key;
	g_assert_cmpint(session_new(&h->pair.session[HS_SERVER], h->server.engine,
				    &h->pair.job[HS_SERVER], h->pair.fd[HS_SERVER]), ==, 0);
	h->peer.psk = psk_key;
	h->peer.psk_len = sizeof(psk_key);
}

/* RFC 8446 4.2.11.2: of the hello without the binders, which end it. */
static void put_binder(const struct forged_peer *p, GByteArray *hello)
{
	uint8_t early[FP_HASH], empty[FP_HASH], binder[FP_HASH], key[FP_HASH], hash[FP_HASH];

	fp_early_secret(p, early);
	gnutls_hash_fast(GNUTLS_DIG_SHA256, "", 0, empty);
	fp_expand(early, "ext binder", empty, sizeof(empty), binder, sizeof(binder));
	fp_expand(binder, "finished", NULL, 0, key, sizeof(key));
	gnutls_hash_fast(GNUTLS_DIG_SHA256, hello->data, hello->len - BINDERS, hash);
	gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, sizeof(key), hash, sizeof(hash),
			 hello->data + hello->len - FP_HASH);
}

static void psk_hello(struct hostile *h)
{
	GByteArray *more = g_byte_array_new(), *hello;

	fp_put(more, "\0\x2a\0\0\0\x2d\0\2\1\1", 10);
	fp_number(more, 2, 41);
	fp_number(more, 2, 2 + 2 + strlen(IDENTITY) + 4 + BINDERS);
	fp_number(more, 2, 2 + strlen(IDENTITY) + 4);
	fp_number(more, 2, strlen(IDENTITY));
	fp_put(more, IDENTITY, strlen(IDENTITY));
	fp_number(more, 4, 0);
	fp_number(more, 2, BINDERS - 2);
	fp_number(more, 1, FP_HASH);
	fp_fill(more, 0, FP_HASH);
	hello = fp_client_hello(&h->peer, more);
	put_binder(&h->peer, hello);
	forged_message(&h->peer, hello);
	g_byte_array_unref(more);
}

/* Not taken, whoever sends it: what a kernel's consumer gets is never 0-RTT. */
static void test_early_psk(void)
{
	static const size_t lens[] = { 0, 100, 20000 };

	for (size_t i = 0; i < G_N_ELEMENTS(lens); i++) {
		size_t before = mallinfo2().uordblks;
		struct hostile h;

		open_psk(&h);
		psk_hello(&h);
		send_early(&h, lens[i], 1000);
		if (!hostile_settle(&h)) {
			g_assert_true(h.peer.seen[FP_FINISHED]);
			forged_message(&h.peer, fp_finished(&h.peer));
			hostile_settle(&h);
		}
		check(&h, "psk", lens[i] ? HS_PROTOCOL : HS_OK, lens[i] ? EARLY : "", before);
		hostile_close(&h);
	}
}

int main(int argc, char **argv)
{
	char path[128];
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	usual = hostile_usual(HS_SERVER);
	for (size_t i = 0; i < G_N_ELEMENTS(hellos); i++) {
		g_snprintf(path, sizeof(path), "/hostile-hello/%s", hellos[i].name);
		g_test_add_data_func(path, &hellos[i], test_hello);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(earlies); i++) {
		g_snprintf(path, sizeof(path), "/hostile-hello/early/%s", earlies[i].name);
		g_test_add_data_func(path, &earlies[i], test_early);
	}
	g_test_add_func("/hostile-hello/early/psk", test_early_psk);
	r = g_test_run();
	pair_pki_free();
	return r;
}
