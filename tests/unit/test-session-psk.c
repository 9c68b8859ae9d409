// SPDX-License-Identifier: GPL-2.0-or-later
/* Handshakes with pre-shared keys, ours to ours and ours to the library's own ends. */
#include <errno.h>

#include "build-config.h"
#include "tls-pair.h"

#define IDENTITY "NVMe0R01 nqn.2014-08.org.nvmexpress:uuid:host nqn.2014-08.org.nvmexpress:uuid:sub"
#define PSK_PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+ECDHE-PSK:+DHE-PSK:-GROUP-ALL:+GROUP-"
/* To a server of ours: its first share is for no group there, which is HelloRetryRequest. */
#define RETRY_PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+ECDHE-PSK:-GROUP-ALL:+GROUP-FFDHE2048:" \
		       "+GROUP-SECP384R1"

static const uint8_t key_bytes[48] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJK";

/* How each end's keys() answers. */
struct answer {
	enum hs_outcome outcome;	/* HS_OK: with a key */
	enum hs_psk_hash hash;
	const char *identity;		/* client: to offer */
	const uint8_t *key;
	size_t len;
};

static struct answer answers[HS_N_ROLES];
static char asked_for[HS_PSK_IDENTITY_MAX];

static void give_keys(struct pair *p, enum hs_role i)
{
	const struct answer *a = &answers[i];

	if (i == HS_SERVER)
		g_strlcpy(asked_for, session_psk_identity(p->session[i]), sizeof(asked_for));
	else
		g_assert_cmpstr(session_psk_identity(p->session[i]), ==, "");
	if (a->outcome != HS_OK)
		session_refuse(p->session[i], a->outcome, "there is none");
	else
		g_assert_cmpint(session_set_psk(p->session[i], a->hash, a->identity, a->key,
						a->len), ==, 0);
	/* Only once. */
	g_assert_cmpint(session_set_psk(p->session[i], a->hash, "", key_bytes, 32), ==, -EINVAL);
}

static struct side client, server;

static void open_psk(struct pair *p)
{
	unsigned int i;

	client = plain_client();
	server = (struct side){ .role = HS_SERVER, .trust = ca->pem };
	pair_open(p, &client, &server);
	p->keys = give_keys;
	asked_for[0] = '\0';
	for (i = 0; i < HS_N_ROLES; i++) {
		p->job[i].auth = HS_AUTH_PSK;
		p->job[i].peername[0] = '\0';
		answers[i] = (struct answer){ HS_OK, HS_PSK_SHA256, IDENTITY, key_bytes, 32 };
	}
}

static void test_works(void)
{
	struct pair p;
	unsigned int i;

	open_psk(&p);
	pair_run(&p);
	assert_both_ok(&p);
	g_assert_cmpstr(asked_for, ==, IDENTITY);
	for (i = 0; i < HS_N_ROLES; i++) {
		g_assert_cmpuint(p.asked[i], ==, 1);
		g_assert_cmpstr(p.result[i].cipher, ==, "AES-128-GCM");
		g_assert_cmpstr(p.result[i].group, ==, "X25519");
		g_assert_cmpstr(p.result[i].subject, ==, "");
		g_assert_false(p.result[i].peer_verified);
	}
	pair_close(&p);
}

static void test_sha384(void)
{
	struct pair p;
	unsigned int i;

	open_psk(&p);
	for (i = 0; i < HS_N_ROLES; i++) {
		answers[i].hash = HS_PSK_SHA384;
		answers[i].len = 48;
	}
	pair_run(&p);
	if (TLSHD_PSK_SHA384) {
		assert_both_ok(&p);
		g_assert_cmpstr(p.result[HS_CLIENT].cipher, ==, "AES-256-GCM");
	} else {
		assert_outcome(&p, HS_CLIENT, HS_UNSUPPORTED);
		assert_reason(&p, HS_CLIENT, "GnuTLS");
		assert_no_keys(&p, HS_CLIENT);
		assert_no_keys(&p, HS_SERVER);
	}
	pair_close(&p);
}

static void test_identities(void)
{
	static const char *const odd[] = { "x", "\xff\xfe \"quoted\"\n", "" };
	char longest[HS_PSK_IDENTITY_MAX];
	struct pair p;
	size_t i;

	memset(longest, 'i', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	for (i = 0; i < G_N_ELEMENTS(odd); i++) {
		const char *identity = odd[i][0] ? odd[i] : longest;

		open_psk(&p);
		answers[HS_CLIENT].identity = identity;
		pair_run(&p);
		assert_both_ok(&p);
		g_assert_cmpstr(asked_for, ==, identity);
		pair_close(&p);
	}
}

static void test_unknown(void)
{
	struct pair p;

	open_psk(&p);
	answers[HS_SERVER].outcome = HS_PSK_UNKNOWN;
	pair_run(&p);
	assert_outcome(&p, HS_SERVER, HS_PSK_UNKNOWN);
	assert_reason(&p, HS_SERVER, "there is none");
	assert_outcome(&p, HS_CLIENT, HS_PEER_ALERT);
	assert_reason(&p, HS_CLIENT, "unknown_psk_identity(115)");
	assert_no_keys(&p, HS_CLIENT);
	assert_no_keys(&p, HS_SERVER);
	pair_close(&p);
}

static void test_client_has_none(void)
{
	struct pair p;

	open_psk(&p);
	answers[HS_CLIENT].outcome = HS_KEY_EXPIRED;
	pair_run(&p);
	assert_outcome(&p, HS_CLIENT, HS_KEY_EXPIRED);
	assert_outcome(&p, HS_SERVER, HS_PEER_ALERT);
	assert_reason(&p, HS_SERVER, "see its log");
	g_assert_cmpuint(p.asked[HS_SERVER], ==, 0);
	pair_close(&p);
}

static void test_other_key(void)
{
	struct pair p;

	open_psk(&p);
	answers[HS_SERVER].key = key_bytes + 1;
	pair_run(&p);
	assert_outcome(&p, HS_SERVER, HS_PSK_MISMATCH);
	assert_outcome(&p, HS_CLIENT, HS_PEER_ALERT);
	assert_reason(&p, HS_CLIENT, "decrypt_error(51)");
	assert_no_keys(&p, HS_CLIENT);
	assert_no_keys(&p, HS_SERVER);
	pair_close(&p);
}

/* --- the library's own ends --- */

static int stranger_key(gnutls_session_t tls, const char *identity, gnutls_datum_t *key)
{
	key->data = gnutls_malloc(32);
	memcpy(key->data, key_bytes, 32);
	key->size = 32;
	return 0;
}

static void client_against(struct pair *p, const char *priority, bool psk, int *ret)
{
	gnutls_psk_server_credentials_t cred;
	struct stranger s;

	open_psk(p);
	stranger_open(&s, p->fd[HS_SERVER], true, priority);
	gnutls_psk_allocate_server_credentials(&cred);
	gnutls_psk_set_server_credentials_function(cred, stranger_key);
	if (psk)
		gnutls_credentials_set(s.tls, GNUTLS_CRD_PSK, cred);
	*ret = run_stranger(p, HS_CLIENT, &s);
	stranger_close(&s);
	gnutls_psk_free_server_credentials(cred);
}

/* @piece: as stranger_split(); 0: as the library does. */
static void server_against_pieces(struct pair *p, const char *priority, bool psk, size_t piece,
				  int *ret)
{
	const gnutls_datum_t key = { (unsigned char *)(uintptr_t)key_bytes, 32 };
	gnutls_psk_client_credentials_t cred;
	struct stranger s;

	open_psk(p);
	stranger_open(&s, p->fd[HS_CLIENT], false, priority);
	if (piece)
		stranger_split(&s, piece);
	gnutls_psk_allocate_client_credentials(&cred);
	gnutls_psk_set_client_credentials(cred, IDENTITY, &key, GNUTLS_PSK_KEY_RAW);
	if (psk)
		gnutls_credentials_set(s.tls, GNUTLS_CRD_PSK, cred);
	*ret = run_stranger(p, HS_SERVER, &s);
	stranger_close(&s);
	gnutls_psk_free_client_credentials(cred);
}

static void server_against(struct pair *p, const char *priority, bool psk, int *ret)
{
	server_against_pieces(p, priority, psk, 0, ret);
}

static void test_stranger_server(void)
{
	struct pair p;
	int r;

	client_against(&p, PSK_PRIORITY "X25519", true, &r);
	assert_outcome(&p, HS_CLIENT, HS_OK);
	g_assert_cmpint(r, ==, 0);
	pair_close(&p);
	/* HelloRetryRequest: a second ClientHello with the same identity */
	client_against(&p, PSK_PRIORITY "SECP384R1", true, &r);
	assert_outcome(&p, HS_CLIENT, HS_OK);
	g_assert_cmpstr(p.result[HS_CLIENT].group, ==, "SECP384R1");
	pair_close(&p);
	/* It has a certificate and no key. */
	client_against(&p, PSK_PRIORITY "X25519", false, &r);
	assert_outcome(&p, HS_CLIENT, HS_PSK_MISMATCH);
	assert_reason(&p, HS_CLIENT, "certificates");
	assert_no_keys(&p, HS_CLIENT);
	pair_close(&p);
}

static void test_stranger_client(void)
{
	struct pair p;
	int r;

	server_against(&p, PSK_PRIORITY "X25519", true, &r);
	assert_outcome(&p, HS_SERVER, HS_OK);
	g_assert_cmpint(r, ==, 0);
	pair_close(&p);
	server_against(&p, RETRY_PRIORITY, true, &r);
	assert_outcome(&p, HS_SERVER, HS_OK);
	g_assert_cmpstr(p.result[HS_SERVER].group, ==, "SECP384R1");
	g_assert_cmpuint(p.asked[HS_SERVER], ==, 1);
	pair_close(&p);
	server_against(&p, PSK_PRIORITY "X25519", false, &r);
	assert_outcome(&p, HS_SERVER, HS_PSK_MISSING);
	g_assert_cmpuint(p.asked[HS_SERVER], ==, 0);
	pair_close(&p);
	/* psk_ke only */
	server_against(&p, "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+PSK", true, &r);
	assert_outcome(&p, HS_SERVER, HS_NO_COMMON);
	assert_reason(&p, HS_SERVER, "psk_dhe_ke");
	g_assert_cmpuint(p.asked[HS_SERVER], ==, 0);
	pair_close(&p);
}

/*
 * RFC 8446 5.1: a ClientHello may come in several records. All of them have left the socket when
 * it is read again, so nothing there says that there is more.
 */
static void test_split_hello(void)
{
	static const size_t pieces[] = { 1, 4, 5, 200 };
	struct pair p;
	int r;

	for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++) {
		server_against_pieces(&p, PSK_PRIORITY "X25519", true, pieces[i], &r);
		g_assert_cmpint(p.status[HS_SERVER], ==, SESSION_ENDED);
		assert_outcome(&p, HS_SERVER, HS_OK);
		g_assert_cmpint(r, ==, 0);
		g_assert_cmpstr(asked_for, ==, IDENTITY);
		g_assert_cmpuint(p.asked[HS_SERVER], ==, 1);
		pair_close(&p);
	}
	/* The second hello after a HelloRetryRequest, too. */
	server_against_pieces(&p, RETRY_PRIORITY, true, 200, &r);
	g_assert_cmpint(p.status[HS_SERVER], ==, SESSION_ENDED);
	assert_outcome(&p, HS_SERVER, HS_OK);
	g_assert_cmpstr(p.result[HS_SERVER].group, ==, "SECP384R1");
	pair_close(&p);
}

/* The client prefers a suite whose hash is not the key's: ours is chosen, not the key dropped. */
static void test_suite(void)
{
	struct pair p;
	int r;

	server_against(&p, "NONE:+VERS-TLS1.3:+AEAD:+AES-256-GCM:+AES-128-GCM:+ECDHE-PSK:"
		       "+GROUP-X25519:+SIGN-ALL", true, &r);
	assert_outcome(&p, HS_SERVER, HS_OK);
	g_assert_cmpstr(p.result[HS_SERVER].cipher, ==, "AES-128-GCM");
	pair_close(&p);
	client_against(&p, "NONE:+VERS-TLS1.3:+AEAD:+AES-256-GCM:+AES-128-GCM:+ECDHE-PSK:"
		       "+GROUP-X25519:+SIGN-ALL:%SERVER_PRECEDENCE", true, &r);
	assert_outcome(&p, HS_CLIENT, HS_OK);
	g_assert_cmpstr(p.result[HS_CLIENT].cipher, ==, "AES-128-GCM");
	pair_close(&p);
}

/* The answer never comes. */
static void no_keys(struct pair *p, enum hs_role i)
{
	session_timeout(p->session[i], &p->result[i]);
	p->status[i] = SESSION_ENDED;
}

static void test_no_answer(void)
{
	struct pair p;

	open_psk(&p);
	p.keys = no_keys;
	pair_start(&p);
	pair_step(&p, HS_CLIENT);
	assert_outcome(&p, HS_CLIENT, HS_TIMEOUT);
	assert_reason(&p, HS_CLIENT, "keys");
	pair_close(&p);
}

int main(int argc, char **argv)
{
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	g_test_add_func("/session-psk/works", test_works);
	g_test_add_func("/session-psk/sha384", test_sha384);
	g_test_add_func("/session-psk/identities", test_identities);
	g_test_add_func("/session-psk/unknown", test_unknown);
	g_test_add_func("/session-psk/client-has-none", test_client_has_none);
	g_test_add_func("/session-psk/other-key", test_other_key);
	g_test_add_func("/session-psk/stranger-server", test_stranger_server);
	g_test_add_func("/session-psk/stranger-client", test_stranger_client);
	g_test_add_func("/session-psk/split-hello", test_split_hello);
	g_test_add_func("/session-psk/suite", test_suite);
	g_test_add_func("/session-psk/no-answer", test_no_answer);
	r = g_test_run();
	pair_pki_free();
	return r;
}
