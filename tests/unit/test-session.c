// SPDX-License-Identifier: GPL-2.0-or-later
/* Whole handshakes between two of our engines: what both ends say in the end. */
#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "tls-pair.h"

/* Each cipher; also what the result says. */
static void test_cipher(gconstpointer data)
{
	enum ktls_cipher cipher = GPOINTER_TO_UINT(data);
	struct side client = plain_client(), server = plain_server();
	const struct hs_result *r;
	struct pair p;

	server.ciphers = 1u << cipher;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_both_ok(&p);
	r = &p.result[HS_CLIENT];
	g_assert_cmpuint(r->id, ==, 100);
	g_assert_cmpstr(r->cipher, ==, ktls_cipher_name(cipher));
	g_assert_cmpstr(r->protocol, ==, "TLS 1.3");
	g_assert_cmpstr(r->group, ==, "X25519");
	g_assert_cmpstr(r->subject, ==, "CN=the server");
	g_assert_cmpstr(r->matched, ==, "DNS:" NAME);
	g_assert_true(r->peer_verified);
	g_assert_false(p.result[HS_SERVER].peer_verified);
	g_assert_cmpstr(p.result[HS_SERVER].subject, ==, "");
	g_assert_cmpuint(server.signatures, ==, 1);
	g_assert_cmpuint(server.signed_job, ==, 101);
	pair_close(&p);
}

/* Each kind of key, on both ends. */
static void test_key_type(gconstpointer data)
{
	static const char *const algorithms[PKI_N_KEY_TYPES] = {
		[PKI_P256] = "ECDSA-SECP256R1-SHA256",
		[PKI_P384] = "ECDSA-SECP384R1-SHA384",
		[PKI_P521] = "ECDSA-SECP521R1-SHA512",
		[PKI_ED25519] = "EdDSA-Ed25519",
		[PKI_ED448] = "EdDSA-Ed448",
		[PKI_RSA2048] = "RSA-PSS-RSAE-SHA256",
		[PKI_RSA_PSS] = "RSA-PSS-SHA256",
	};
	struct pki_spec spec = { .key = GPOINTER_TO_UINT(data), .dns = { NAME } };
	struct side client = plain_client(), server = plain_server();
	struct pki_cert *cert = pki_issue(&spec, ca);
	struct pair p;

	client.chain = server.chain = cert->pem;
	client.key = server.key = cert;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_both_ok(&p);
	g_assert_true(p.result[HS_SERVER].peer_verified);
	g_assert_cmpstr(server.signed_algorithm, ==, algorithms[spec.key]);
	g_assert_cmpstr(client.signed_algorithm, ==, algorithms[spec.key]);
	g_assert_cmpuint(client.signatures, ==, 1);
	g_assert_cmpuint(client.signed_job, ==, 100);
	pair_close(&p);
	pki_free(cert);
}

/* SHA-384 suite: the transcript, which we follow ourselves, has another hash. */
static void test_mutual_sha384(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	client.chain = client_cert->pem;
	client.key = client_cert;
	client.ciphers = 1u << KTLS_AES_256_GCM;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_both_ok(&p);
	g_assert_true(p.result[HS_SERVER].peer_verified);
	g_assert_cmpstr(p.result[HS_SERVER].subject, ==, "CN=the client");
	pair_close(&p);
}

/* A client with a certificate that the server does not ask for. */
static void test_server_asks_for_none(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	client.chain = client_cert->pem;
	client.key = client_cert;
	pair_open(&p, &client, &server);
	p.job[HS_SERVER].auth = HS_AUTH_UNAUTH;
	pair_run(&p);
	assert_both_ok(&p);
	g_assert_false(p.result[HS_SERVER].peer_verified);
	g_assert_cmpuint(client.signatures, ==, 0);
	pair_close(&p);
}

/* An unauthenticated client does not show the certificate it has. */
static void test_client_unauth_shows_none(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	client.chain = client_cert->pem;
	client.key = client_cert;
	pair_open(&p, &client, &server);
	p.job[HS_CLIENT].auth = HS_AUTH_UNAUTH;
	pair_run(&p);
	assert_both_ok(&p);
	g_assert_false(p.result[HS_SERVER].peer_verified);
	g_assert_cmpstr(p.result[HS_SERVER].subject, ==, "");
	g_assert_cmpuint(client.signatures, ==, 0);
	pair_close(&p);
}

static void test_intermediate(void)
{
	struct pki_spec mid_spec = { .cn = "mid", .ca = true };
	struct pki_spec leaf_spec = { .cn = "leaf", .dns = { NAME } };
	struct pki_cert *mid = pki_issue(&mid_spec, ca), *leaf = pki_issue(&leaf_spec, mid);
	char *chain = pki_chain(leaf, mid, NULL);
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	server.chain = chain;
	server.key = leaf;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_both_ok(&p);
	pair_close(&p);

	/* Without the intermediate. */
	server.chain = leaf->pem;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_outcome(&p, HS_CLIENT, HS_CERT_UNKNOWN_ISSUER);
	assert_reason(&p, HS_CLIENT, "the issuer \"CN=mid\" of the server's certificate is not in the "
		      "trust store trust.pem");
	pair_close(&p);
	g_free(chain);
	pki_free(leaf);
	pki_free(mid);
}

static void test_no_identity(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	pair_open(&p, &client, &server);
	p.job[HS_CLIENT].auth = HS_AUTH_X509;
	pair_run(&p);
	assert_outcome(&p, HS_CLIENT, HS_NO_IDENTITY);
	assert_reason(&p, HS_CLIENT, "[authenticate.client]");
	assert_outcome(&p, HS_SERVER, HS_PEER_ALERT);
	pair_close(&p);

	server.chain = NULL;
	server.key = NULL;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_outcome(&p, HS_SERVER, HS_NO_IDENTITY);
	assert_reason(&p, HS_SERVER, "[authenticate.server]");
	assert_outcome(&p, HS_CLIENT, HS_PEER_ALERT);
	pair_close(&p);
}

static void test_unsupported(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	pair_open(&p, &client, &server);
	g_strlcpy(p.job[HS_CLIENT].peername, "no name\n", HS_NAME_MAX);
	pair_run(&p);
	assert_outcome(&p, HS_CLIENT, HS_UNSUPPORTED);
	assert_reason(&p, HS_CLIENT, "\"no name\\x0");
	pair_close(&p);
}

static void test_sign_failure(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	server.sign_error = ETIMEDOUT;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_outcome(&p, HS_SERVER, HS_KEY_FAILED);
	assert_reason(&p, HS_SERVER, "our private key could not be used: Connection timed out");
	assert_outcome(&p, HS_CLIENT, HS_PEER_ALERT);
	assert_reason(&p, HS_CLIENT, "internal_error(80)");
	pair_close(&p);
}

/* The key that signs is not the certificate's. */
static void test_wrong_key(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	server.key = client_cert;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_outcome(&p, HS_CLIENT, HS_PROTOCOL);
	assert_reason(&p, HS_CLIENT, "does not have the key of the certificate");
	assert_outcome(&p, HS_SERVER, HS_PEER_ALERT);
	assert_reason(&p, HS_SERVER, "decrypt_error(51)");
	pair_close(&p);
}

static void test_no_common_cipher(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	client.ciphers = 1u << KTLS_AES_128_GCM;
	server.ciphers = 1u << KTLS_CHACHA20_POLY1305;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_outcome(&p, HS_SERVER, HS_NO_COMMON);
	assert_reason(&p, HS_SERVER, "the client offers no cipher that is allowed here");
	assert_outcome(&p, HS_CLIENT, HS_PEER_ALERT);
	assert_reason(&p, HS_CLIENT, "handshake_failure(40)");
	pair_close(&p);
}

static void test_ktls_refused(void)
{
	static const struct {
		int name, error;
		const char *reason;
		enum hs_outcome want;
	} cases[] = {
		{ TCP_ULP, ENOENT, "the kernel has no kTLS", HS_KTLS },
		{ TLS_TX, EINVAL, "AES-128-GCM", HS_KTLS },
		{ TLS_RX, EIO, "TLS_RX", HS_KTLS },
		{ TCP_ULP, ENOMEM, "TCP_ULP", HS_BUSY },
		{ TLS_TX, ENOBUFS, "TLS_TX", HS_BUSY },
		{ TLS_RX, ENOMEM, "TLS_RX", HS_BUSY },
	};
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct side client = plain_client(), server = plain_server();
		struct pair p;

		pair_open(&p, &client, &server);
		kernels[p.fd[HS_SERVER]].fail_name = cases[i].name;
		kernels[p.fd[HS_SERVER]].fail_errno = cases[i].error;
		pair_run(&p);
		assert_outcome(&p, HS_SERVER, cases[i].want);
		assert_reason(&p, HS_SERVER, cases[i].reason);
		assert_outcome(&p, HS_CLIENT, HS_OK);
		pair_close(&p);
	}
}

/* A connection that was reset before we look at it has no address of a peer any more. */
static void test_reset(void)
{
	static const struct linger at_once = { .l_onoff = 1 };
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	pair_open(&p, &client, &server);
	p.job[HS_CLIENT].peername[0] = '\0';
	g_assert_no_errno(setsockopt(p.fd[HS_SERVER], SOL_SOCKET, SO_LINGER, &at_once,
				     sizeof(at_once)));
	close(p.fd[HS_SERVER]);
	p.fd[HS_SERVER] = -1;
	g_assert_cmpint(session_new(&p.session[HS_CLIENT], client.engine, &p.job[HS_CLIENT],
				    p.fd[HS_CLIENT]), ==, 0);
	while (p.status[HS_CLIENT] != SESSION_ENDED)
		pair_step(&p, HS_CLIENT);
	assert_outcome(&p, HS_CLIENT, HS_CLOSED);
	assert_reason(&p, HS_CLIENT, "before the handshake");
	pair_close(&p);
}

/* Many at once in one engine, interleaved: the signature's job is always the right one. */
static void test_interleaved(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p[16];
	unsigned int i, running = G_N_ELEMENTS(p), rounds;

	for (i = 0; i < G_N_ELEMENTS(p); i++) {
		pair_open(&p[i], &client, &server);
		p[i].job[HS_SERVER].id = 1000 + i;
		pair_start(&p[i]);
	}
	for (rounds = 0; rounds < 1000 && running > 0; rounds++) {
		running = 0;
		for (i = 0; i < G_N_ELEMENTS(p); i++) {
			unsigned int before = server.signatures;

			pair_step(&p[i], HS_SERVER);
			if (server.signatures != before)
				g_assert_cmpuint(server.signed_job, ==, 1000 + i);
			pair_step(&p[i], HS_CLIENT);
			running += p[i].status[HS_CLIENT] != SESSION_ENDED ||
				   p[i].status[HS_SERVER] != SESSION_ENDED;
		}
	}
	for (i = 0; i < G_N_ELEMENTS(p); i++) {
		assert_both_ok(&p[i]);
		session_free(p[i].session[HS_CLIENT]);
		session_free(p[i].session[HS_SERVER]);
		close(p[i].fd[HS_CLIENT]);
		close(p[i].fd[HS_SERVER]);
	}
	drop_engine(&client);
	drop_engine(&server);
}

int main(int argc, char **argv)
{
	char path[128];
	unsigned int i;
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (i = 0; i < KTLS_N_CIPHERS; i++) {
		g_snprintf(path, sizeof(path), "/session/cipher/%s", ktls_cipher_name(i));
		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_cipher);
	}
	for (i = 0; i < PKI_RSA1024; i++) {
		g_snprintf(path, sizeof(path), "/session/key/%s", pki_key_name(i));
		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_key_type);
	}
	g_test_add_func("/session/mutual-sha384", test_mutual_sha384);
	g_test_add_func("/session/server-asks-for-none", test_server_asks_for_none);
	g_test_add_func("/session/client-unauth-shows-none", test_client_unauth_shows_none);
	g_test_add_func("/session/intermediate", test_intermediate);
	g_test_add_func("/session/no-identity", test_no_identity);
	g_test_add_func("/session/unsupported", test_unsupported);
	g_test_add_func("/session/sign-failure", test_sign_failure);
	g_test_add_func("/session/wrong-key", test_wrong_key);
	g_test_add_func("/session/no-common-cipher", test_no_common_cipher);
	g_test_add_func("/session/ktls-refused", test_ktls_refused);
	g_test_add_func("/session/reset", test_reset);
	g_test_add_func("/session/interleaved", test_interleaved);
	r = g_test_run();
	pair_pki_free();
	return r;
}
