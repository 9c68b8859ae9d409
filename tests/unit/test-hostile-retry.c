// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HelloRetryRequest (RFC 8446 4.1.4): a server asks for another ClientHello once, for a share it
 * was not sent or with a cookie. One that asks again, for nothing, or for what it has, could keep
 * a client busy; so could a client that answers a retry with the same again.
 */
#include <gnutls/crypto.h>

#include "hostile-world.h"

#define SUITE 0x1301
#define P256 23
#define P384 24
#define X25519 29
#define X448 30
#define FFDHE2048 256
#define COST_LIMIT 6.0	/* ordinary mutual handshakes */
#define ROUNDS 50

static gint64 usual[HS_N_ROLES];

struct retry {
	unsigned int suite;	/* 0: SUITE */
	unsigned int group;	/* 0: no key_share */
	size_t cookie;		/* bytes; 0: none */
	unsigned int version;	/* 0: TLS 1.3 */
	unsigned int twice;	/* this extension comes two times */
	unsigned int unknown;	/* an extension that was not offered */
};

static void put_extension(GByteArray *m, unsigned int type, const void *bytes, size_t len)
{
	fp_number(m, 2, type);
	fp_number(m, 2, len);
	if (len > 0)
		fp_put(m, bytes, len);
}

static void put_extensions(GByteArray *m, const struct retry *t)
{
	unsigned int version = t->version ? t->version : 0x0304;
	const uint8_t v[2] = { (uint8_t)(version >> 8), (uint8_t)version };
	const uint8_t group[2] = { (uint8_t)(t->group >> 8), (uint8_t)t->group };
	unsigned int at, inner;

	put_extension(m, 43, v, sizeof(v));
	for (unsigned int i = 0; t->group && i < 1 + (t->twice == 51); i++)
		put_extension(m, 51, group, sizeof(group));
	if (t->unknown)
		put_extension(m, t->unknown, "\0\0", 2);
	if (t->cookie == 0)
		return;
	fp_number(m, 2, 44);
	at = fp_begin(m, 2);
	inner = fp_begin(m, 2);
	fp_fill(m, 'c', t->cookie);
	fp_end(m, 2, inner);
	fp_end(m, 2, at);
}

static GByteArray *retry_message(const struct forged_peer *p, const struct retry *t)
{
	const uint8_t *session_id = p->hello->data + 4 + 2 + 32;
	GByteArray *m = fp_message(FP_SERVER_HELLO);
	unsigned int at;

	fp_number(m, 2, 0x0303);
	fp_put(m, fp_retry_random, sizeof(fp_retry_random));
	fp_put(m, session_id, 1u + session_id[0]);
	fp_number(m, 2, t->suite ? t->suite : SUITE);
	fp_number(m, 1, 0);
	at = fp_begin(m, 2);
	put_extensions(m, t);
	fp_end(m, 2, at);
	fp_end(m, 3, 1);
	return m;
}

/* RFC 8446 4.4.1: the first hello becomes its hash. */
static void fold_transcript(struct forged_peer *p)
{
	uint8_t head[4] = { 254, 0, 0, FP_HASH }, hash[FP_HASH];

	g_assert_cmpint(gnutls_hash_fast(GNUTLS_DIG_SHA256, p->transcript->data, p->transcript->len,
					 hash), ==, 0);
	g_byte_array_set_size(p->transcript, 0);
	fp_put(p->transcript, head, sizeof(head));
	fp_put(p->transcript, hash, sizeof(hash));
}

/* Our client and what it sends first. */
static void open_client(struct hostile *h, bool x509)
{
	hostile_open(h, HS_CLIENT, NULL);
	if (!x509) {
		session_free(h->pair.session[HS_CLIENT]);
		h->pair.job[HS_CLIENT].auth = HS_AUTH_UNAUTH;
		g_assert_cmpint(session_new(&h->pair.session[HS_CLIENT], h->client.engine,
					    &h->pair.job[HS_CLIENT], h->pair.fd[HS_CLIENT]), ==, 0);
	}
	g_assert_false(hostile_settle(h));
	g_assert_nonnull(h->peer.hello);
}

/* Returns whether our client has sent another hello. */
static bool ask(struct hostile *h, const struct retry *t)
{
	GByteArray *old = h->peer.hello, *m = retry_message(&h->peer, t);

	fold_transcript(&h->peer);
	h->peer.hello = NULL;
	forged_message(&h->peer, m);
	hostile_settle(h);
	if (h->peer.hello) {
		g_byte_array_unref(old);
		return true;
	}
	h->peer.hello = old;
	return false;
}

static void check(const struct hostile *h, const char *name, enum hs_outcome outcome,
		  const char *reason)
{
	enum hs_role ours = h->ours;

	g_assert_cmpint(h->pair.status[ours], ==, SESSION_ENDED);
	g_test_message("%s: %s: %s: %s; alert %d", name, hs_role_name(ours),
		       hs_outcome_name(h->pair.result[ours].outcome), h->pair.result[ours].reason,
		       h->peer.alert);
	assert_outcome(&h->pair, ours, outcome);
	assert_reason(&h->pair, ours, reason);
	if (outcome != HS_OK)
		assert_no_keys(&h->pair, ours);
	hostile_at_most(name, h->spent, ours, usual[ours], COST_LIMIT);
}

/* --- one retry, refused or answered --- */

static const struct one {
	const char *name;
	struct retry retry;
	enum hs_outcome outcome;	/* HS_OK: answered with another hello */
	const char *reason;
} ones[] = {
	{ "p256", { .group = P256 }, HS_OK, NULL },
	{ "p384-and-cookie", { .group = P384, .cookie = 32 }, HS_OK, NULL },
	{ "x448-and-long-cookie", { .group = X448, .cookie = 30000 }, HS_OK, NULL },
	/* Allowed, but the library wants a new share. */
	{ "cookie", { .cookie = 32 }, HS_PROTOCOL, "An illegal parameter" },
	{ "offered-share", { .group = X25519 }, HS_PROTOCOL, "asks for the key share that it was sent" },
	{ "offered-share-and-cookie", { .group = X25519, .cookie = 32 }, HS_PROTOCOL,
	  "asks for the key share that it was sent" },
	{ "nothing", { 0 }, HS_PROTOCOL, "An illegal parameter" },
	{ "unknown-group", { .group = 0x9999 }, HS_PROTOCOL, "An illegal parameter" },
	{ "group-not-offered", { .group = FFDHE2048 }, HS_NO_COMMON, "no key exchange group" },
	{ "unknown-suite", { .group = P256, .suite = 0x13ff }, HS_NO_COMMON, "no cipher" },
	{ "tls12", { .group = P256, .version = 0x0303 }, HS_PROTOCOL, "An illegal parameter" },
	{ "tls14", { .group = P256, .version = 0x0305 }, HS_NO_COMMON, "does not offer TLS 1.3" },
	{ "two-shares", { .group = P256, .twice = 51 }, HS_PROTOCOL, "asks for two key shares" },
	{ "unknown-extension", { .group = P256, .unknown = 0x7777 }, HS_PROTOCOL,
	  "has extension 30583" },
	{ "server-name", { .group = P256, .unknown = 0 + 16 }, HS_PROTOCOL, "has extension 16" },
	{ "cookie-of-60000", { .group = P256, .cookie = 60000 }, HS_PROTOCOL,
	  "has 60090 bytes; at most 32768 are read" },
};

static void test_one(gconstpointer data)
{
	const struct one *t = data;

	for (unsigned int x509 = 0; x509 < 2; x509++) {
		struct hostile h;
		bool again;

		open_client(&h, x509);
		again = ask(&h, &t->retry);
		if (t->outcome == HS_OK) {
			g_assert_true(again);
			g_assert_cmpint(h.pair.status[HS_CLIENT], !=, SESSION_ENDED);
			hostile_at_most(t->name, h.spent, HS_CLIENT, usual[HS_CLIENT], COST_LIMIT);
		} else {
			check(&h, t->name, t->outcome, t->reason);
			g_assert_false(again);
		}
		hostile_close(&h);
	}
}

/* --- one after the other --- */

static void test_loop(void)
{
	static const struct { struct retry first, then; } loops[] = {
		{ { .group = P256 }, { .group = P256 } },
		{ { .group = P256 }, { .group = P384 } },
		{ { .group = P256 }, { .group = X25519 } },
		{ { .group = P256, .cookie = 8 }, { .group = P256, .cookie = 8 } },
		{ { .group = P256 }, { .cookie = 9 } },
		{ { .group = P256 }, { .group = P384, .suite = 0x1302 } },
	};

	for (size_t i = 0; i < 2 * G_N_ELEMENTS(loops); i++) {
		const struct retry *first = &loops[i / 2].first, *then = &loops[i / 2].then;
		unsigned int hellos = 1;
		struct hostile h;

		open_client(&h, i % 2);
		while (hellos < ROUNDS && ask(&h, hellos % 2 ? first : then))
			hellos++;
		g_test_message("%u hellos", hellos);
		check(&h, "loop", HS_PROTOCOL, "a second HelloRetryRequest");
		g_assert_cmpuint(hellos, ==, 2);
		hostile_close(&h);
	}
}

/* --- what follows --- */

/* A ServerHello with a share for P-256 that is nobody's: the generator of the group. */
static GByteArray *server_hello(const struct forged_peer *p, unsigned int suite, unsigned int group)
{
	static const uint8_t generator[] = {
		4,
		0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5,
		0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0,
		0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2,
		0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16,
		0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68,
		0x37, 0xbf, 0x51, 0xf5,
	};
	const uint8_t *session_id = p->hello->data + 4 + 2 + 32;
	GByteArray *m = fp_message(FP_SERVER_HELLO);
	unsigned int all, at, inner;

	fp_number(m, 2, 0x0303);
	fp_fill(m, 0x77, 32);
	fp_put(m, session_id, 1u + session_id[0]);
	fp_number(m, 2, suite);
	fp_number(m, 1, 0);
	all = fp_begin(m, 2);
	put_extension(m, 43, "\3\4", 2);
	fp_number(m, 2, 51);
	at = fp_begin(m, 2);
	if (group == P256) {
		fp_number(m, 2, P256);
		inner = fp_begin(m, 2);
		fp_put(m, generator, sizeof(generator));
		fp_end(m, 2, inner);
	} else {
		fp_put_share(m, p);
	}
	fp_end(m, 2, at);
	fp_end(m, 2, all);
	fp_end(m, 3, 1);
	return m;
}

/* The ServerHello must be the one that was announced. */
static void test_announced(void)
{
	static const struct {
		unsigned int suite, then, group;
		enum hs_outcome outcome;
		const char *reason;
	} cases[] = {
		{ 0x1301, 0x1301, P256, HS_OK, "" },
		{ 0x1301, 0x1303, P256, HS_PROTOCOL, "chose another cipher suite" },
		{ 0x1301, 0x1302, P256, HS_PROTOCOL, "chose another cipher suite" },
		{ 0x1305, 0x1301, P256, HS_PROTOCOL, "chose another cipher suite" },
		{ 0x1305, 0x1305, P256, HS_NO_COMMON, "no cipher" },
		{ 0x1301, 0x1301, X25519, HS_PROTOCOL, "asked for another key share" },
	};

	for (size_t i = 0; i < 2 * G_N_ELEMENTS(cases); i++) {
		unsigned int suite = cases[i / 2].suite;
		struct hostile h;

		open_client(&h, i % 2);
		g_assert_true(ask(&h, &(struct retry){ .group = P256, .suite = suite }));
		forged_message(&h.peer, server_hello(&h.peer, cases[i / 2].then,
						     cases[i / 2].group));
		hostile_settle(&h);
		if (cases[i / 2].outcome == HS_OK)	/* waits for what is encrypted */
			g_assert_cmpint(h.pair.status[HS_CLIENT], ==, SESSION_WANT_READ);
		else
			check(&h, "announced", cases[i / 2].outcome, cases[i / 2].reason);
		hostile_close(&h);
	}
}

/* --- a client that does not do what it is asked for --- */

/* A ClientHello that knows X25519 and @group, and has a share for @share, 0: none. */
static GByteArray *client_hello(const struct forged_peer *p, unsigned int share)
{
	GByteArray *m = fp_message(FP_CLIENT_HELLO);
	unsigned int all, at, inner;

	fp_number(m, 2, 0x0303);
	fp_fill(m, 0x55, 32);
	fp_number(m, 1, 0);
	fp_put(m, "\0\2\x13\1\1", 5);
	fp_number(m, 1, 0);
	all = fp_begin(m, 2);
	put_extension(m, 10, "\0\4\0\x1d\x99\x99", 6);
	put_extension(m, 13, "\0\2\4\3", 4);
	put_extension(m, 43, "\2\3\4", 3);
	fp_number(m, 2, 51);
	at = fp_begin(m, 2);
	inner = fp_begin(m, 2);
	if (share == X25519)
		fp_put_share(m, p);
	else if (share)
		fp_put(m, "\x99\x99\0\1a", 5);
	fp_end(m, 2, inner);
	fp_end(m, 2, at);
	fp_end(m, 2, all);
	fp_end(m, 3, 1);
	return m;
}

static void test_client(void)
{
	static const unsigned int shares[][2] = { { 0, 0 }, { 0x9999, 0 }, { 0x9999, 0x9999 } };

	for (size_t i = 0; i < G_N_ELEMENTS(shares); i++) {
		unsigned int hellos = 0;
		struct hostile h;

		hostile_open(&h, HS_SERVER, NULL);
		while (hellos < ROUNDS && h.pair.status[HS_SERVER] != SESSION_ENDED) {
			forged_message(&h.peer, client_hello(&h.peer, shares[i][hellos > 0]));
			hellos++;
			hostile_settle(&h);
		}
		g_test_message("%u hellos", hellos);
		check(&h, "client", HS_NO_COMMON, "no key exchange group");
		g_assert_cmpuint(hellos, ==, 2);
		hostile_close(&h);
	}
}

int main(int argc, char **argv)
{
	char path[128];
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (unsigned int i = 0; i < HS_N_ROLES; i++)
		usual[i] = hostile_usual(i);
	for (size_t i = 0; i < G_N_ELEMENTS(ones); i++) {
		g_snprintf(path, sizeof(path), "/hostile-retry/one/%s", ones[i].name);
		g_test_add_data_func(path, &ones[i], test_one);
	}
	g_test_add_func("/hostile-retry/loop", test_loop);
	g_test_add_func("/hostile-retry/announced", test_announced);
	g_test_add_func("/hostile-retry/client", test_client);
	r = g_test_run();
	pair_pki_free();
	return r;
}
