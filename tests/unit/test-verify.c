// SPDX-License-Identifier: GPL-2.0-or-later
/* Which certificates are refused, for which reason, and what the other end is told. */
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <unistd.h>

#include "tls-pair.h"

/* A server certificate that must be refused by the client. */
struct refusal {
	const char *name;
	struct pki_spec leaf;
	enum hs_outcome outcome;
	const char *reason;
	const char *alert;	/* as the server is told it */
	const char *peername;	/* NULL: NAME */
};

static const struct refusal refusals[] = {
	{ "expired", { .dns = { NAME }, .from = -7200, .until = -60 }, HS_CERT_EXPIRED,
	  "the server's certificate expired on ", "certificate_expired(45)", NULL },
	{ "not-yet", { .dns = { NAME }, .from = 3600, .until = 7200 }, HS_CERT_NOT_YET_VALID,
	  "the server's certificate is not valid before ", "certificate_expired(45)", NULL },
	{ "weak-key", { .key = PKI_RSA1024, .dns = { NAME } }, HS_CERT_WEAK,
	  "too weak a key: RSA with 1024 bits", "insufficient_security(71)", NULL },
	{ "sha1", { .dns = { NAME }, .sha1 = true }, HS_CERT_WEAK,
	  "an algorithm that is no longer accepted: ECDSA-SHA1", "insufficient_security(71)",
	  NULL },
	{ "name", { .dns = { "a.example", "b.example" } }, HS_CERT_NAME,
	  "the server's certificate is for DNS:a.example, DNS:b.example, not for c.example",
	  "bad_certificate(42)", "c.example" },
	{ "no-names", { .cn = NAME }, HS_CERT_NAME, "has no DNS name or IP address",
	  "bad_certificate(42)", NULL },
	{ "ip-wrong", { .ip = { "192.0.2.1", "2001:db8::1" } }, HS_CERT_NAME,
	  "is for IP:192.0.2.1, IP:2001:db8::1, not for 192.0.2.2", "bad_certificate(42)",
	  "192.0.2.2" },
	{ "ip-as-dns", { .dns = { "192.0.2.1" } }, HS_CERT_NAME, "not for 192.0.2.1",
	  "bad_certificate(42)", "192.0.2.1" },
	{ "purpose", { .dns = { NAME }, .purpose = GNUTLS_KP_TLS_WWW_CLIENT }, HS_CERT_PURPOSE,
	  "the server's certificate is not for a TLS server", "unsupported_certificate(43)", NULL },
	{ "purpose-rpc-client", { .dns = { NAME }, .purpose = PKI_KP_RPC_CLIENT }, HS_CERT_PURPOSE,
	  "is not for a TLS server", "unsupported_certificate(43)", NULL },
	{ "purpose-email", { .dns = { NAME }, .purpose = GNUTLS_KP_EMAIL_PROTECTION },
	  HS_CERT_PURPOSE, "is not for a TLS server", "unsupported_certificate(43)", NULL },
};

static void test_refusal(gconstpointer data)
{
	const struct refusal *t = data;
	struct side client = plain_client(), server = plain_server();
	struct pki_cert *cert = pki_issue(&t->leaf, ca);
	struct pair p;

	server.chain = cert->pem;
	server.key = cert;
	pair_open(&p, &client, &server);
	if (t->peername)
		g_strlcpy(p.job[HS_CLIENT].peername, t->peername, HS_NAME_MAX);
	pair_run(&p);
	assert_outcome(&p, HS_CLIENT, t->outcome);
	assert_reason(&p, HS_CLIENT, t->reason);
	g_assert_false(p.result[HS_CLIENT].peer_verified);
	g_assert_cmpstr(p.result[HS_CLIENT].subject, !=, "");
	g_assert_cmpstr(p.result[HS_CLIENT].matched, ==, "");
	assert_outcome(&p, HS_SERVER, HS_PEER_ALERT);
	assert_reason(&p, HS_SERVER, t->alert);
	assert_no_keys(&p, HS_CLIENT);
	assert_no_keys(&p, HS_SERVER);
	pair_close(&p);
	pki_free(cert);
}

/* A server certificate and peer name that must be accepted. */
static const struct refusal acceptances[] = {
	{ "wildcard", { .dns = { "*.example.com" } }, HS_OK, NULL, "DNS:*.example.com", NULL },
	{ "ip4", { .ip = { "192.0.2.1" } }, HS_OK, NULL, "IP:192.0.2.1", "192.0.2.1" },
	{ "ip4-mapped", { .ip = { "192.0.2.1" } }, HS_OK, NULL, "IP:192.0.2.1",
	  "::ffff:192.0.2.1" },
	{ "ip6", { .ip = { "2001:db8::1" } }, HS_OK, NULL, "IP:2001:db8::1", "[2001:DB8:0::1]" },
	{ "ip6-scope", { .ip = { "fe80::1" } }, HS_OK, NULL, "IP:fe80::1", "fe80::1%eth0" },
	{ "second-name", { .dns = { "other.example", NAME } }, HS_OK, NULL, "DNS:" NAME, NULL },
	{ "case-and-dot", { .dns = { "NFS.Example.com" } }, HS_OK, NULL, "DNS:NFS.Example.com",
	  "nfs.EXAMPLE.com." },
	{ "purpose", { .dns = { NAME }, .purpose = GNUTLS_KP_TLS_WWW_SERVER }, HS_OK, NULL,
	  "DNS:" NAME, NULL },
	{ "purpose-rpc", { .dns = { NAME }, .purpose = PKI_KP_RPC_SERVER }, HS_OK, NULL,
	  "DNS:" NAME, NULL },
	{ "purpose-any", { .dns = { NAME }, .purpose = GNUTLS_KP_ANY }, HS_OK, NULL, "DNS:" NAME,
	  NULL },
	{ "socket-address", { .ip = { "127.0.0.1" } }, HS_OK, NULL, "IP:127.0.0.1", "" },
};

static void test_acceptance(gconstpointer data)
{
	const struct refusal *t = data;
	struct side client = plain_client(), server = plain_server();
	struct pki_cert *cert = pki_issue(&t->leaf, ca);
	struct pair p;

	server.chain = cert->pem;
	server.key = cert;
	pair_open(&p, &client, &server);
	if (t->peername)
		g_strlcpy(p.job[HS_CLIENT].peername, t->peername, HS_NAME_MAX);
	pair_run(&p);
	assert_both_ok(&p);
	g_assert_cmpstr(p.result[HS_CLIENT].matched, ==, t->alert);
	pair_close(&p);
	pki_free(cert);
}

static void test_unknown_issuer(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	client.trust = other_ca->pem;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_outcome(&p, HS_CLIENT, HS_CERT_UNKNOWN_ISSUER);
	assert_reason(&p, HS_CLIENT, "the issuer \"CN=test CA\" of the server's certificate is not in "
		      "the trust store trust.pem");
	assert_outcome(&p, HS_SERVER, HS_PEER_ALERT);
	assert_reason(&p, HS_SERVER, "unknown_ca(48): it does not trust the issuer of our certificate");
	pair_close(&p);
}

/* A new CA with the old name: the usual result of making the test CA once more. */
static void test_namesake_ca(void)
{
	struct pki_spec spec = { .cn = "test CA", .ca = true };
	struct side client = plain_client(), server = plain_server();
	struct pki_cert *namesake = pki_issue(&spec, NULL);
	struct pair p;

	client.trust = namesake->pem;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_outcome(&p, HS_CLIENT, HS_CERT_UNKNOWN_ISSUER);
	assert_reason(&p, HS_SERVER, "unknown_ca(48)");
	pair_close(&p);
	pki_free(namesake);
}

static void test_self_signed(void)
{
	struct pki_spec spec = { .cn = "lonely", .dns = { NAME } };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	server.chain = cert->pem;
	server.key = cert;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_outcome(&p, HS_CLIENT, HS_CERT_UNKNOWN_ISSUER);
	assert_reason(&p, HS_CLIENT, "the server's certificate is signed by itself and is not in");
	pair_close(&p);

	/* Once it is in the store, it is trusted. */
	client.trust = cert->pem;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_both_ok(&p);
	pair_close(&p);
	pki_free(cert);
}

/*
 * Certificates in the store that are no authorities: a server's former and present one. They need
 * no issuer there, as long as the issuer's does not come with them.
 */
static void test_pinned(void)
{
	const struct pki_spec spec = { .cn = "the server", .dns = { NAME } };
	const struct pki_spec old_spec = { .cn = "old", .dns = { NAME }, .from = -7200, .until = -60 };
	struct pki_cert *mid = pki_issue(&(struct pki_spec){ .cn = "mid", .ca = true }, ca);
	struct pki_cert *a = pki_issue(&spec, mid), *b = pki_issue(&spec, mid);
	struct pki_cert *old = pki_issue(&old_spec, mid), *other = pki_issue(&spec, mid);
	g_autofree char *store = pki_chain(a, b, old, NULL), *with_mid = pki_chain(a, mid, NULL);
	const struct {
		const struct pki_cert *key;
		const char *sent;
		enum hs_outcome outcome;
		const char *reason;
	} cases[] = {
		{ a, a->pem, HS_OK, "" },
		{ b, b->pem, HS_OK, "" },
		{ old, old->pem, HS_CERT_EXPIRED, "the server's certificate expired on " },
		{ other, other->pem, HS_CERT_UNKNOWN_ISSUER, "the issuer \"CN=mid\" of the server's" },
		{ a, with_mid, HS_CERT_UNKNOWN_ISSUER, "the issuer \"CN=test CA\" of the certificate "
		  "\"CN=mid\" in the server's chain is not in" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct side client = plain_client(), server = plain_server();
		struct pair p;

		client.trust = store;
		server.chain = cases[i].sent;
		server.key = cases[i].key;
		pair_open(&p, &client, &server);
		pair_run(&p);
		assert_outcome(&p, HS_CLIENT, cases[i].outcome);
		assert_reason(&p, HS_CLIENT, cases[i].reason);
		pair_close(&p);
	}
	pki_free(a);
	pki_free(b);
	pki_free(old);
	pki_free(other);
	pki_free(mid);
}

/* A leaf that issues certificates; an expired and a purpose-bound intermediate. */
static void test_bad_intermediate(void)
{
	struct pki_spec no_ca = { .cn = "no ca", .usage = GNUTLS_KEY_KEY_CERT_SIGN };
	struct pki_spec old = { .cn = "old mid", .ca = true, .from = -7200, .until = -60 };
	struct pki_spec bound = { .cn = "bound mid", .ca = true,
				  .purpose = GNUTLS_KP_EMAIL_PROTECTION };
	struct pki_spec leaf_spec = { .cn = "leaf", .dns = { NAME } };
	const struct {
		struct pki_spec *mid;
		enum hs_outcome outcome;
		const char *reason;
	} cases[] = {
		{ &no_ca, HS_CERT_INVALID, "is not a certificate authority" },
		{ &old, HS_CERT_EXPIRED, "the certificate \"CN=old mid\" in the server's chain expired" },
		{ &bound, HS_CERT_PURPOSE, "the certificate \"CN=bound mid\" in the server's chain is not" },
	};
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct side client = plain_client(), server = plain_server();
		struct pki_cert *mid = pki_issue(cases[i].mid, ca);
		struct pki_cert *leaf = pki_issue(&leaf_spec, mid);
		char *chain = pki_chain(leaf, mid, NULL);
		struct pair p;

		server.chain = chain;
		server.key = leaf;
		pair_open(&p, &client, &server);
		pair_run(&p);
		assert_outcome(&p, HS_CLIENT, cases[i].outcome);
		assert_reason(&p, HS_CLIENT, cases[i].reason);
		assert_outcome(&p, HS_SERVER, HS_PEER_ALERT);
		pair_close(&p);
		g_free(chain);
		pki_free(leaf);
		pki_free(mid);
	}
}

static void test_expired_ca(void)
{
	struct pki_spec spec = { .cn = "old CA", .ca = true, .from = -7200, .until = -60 };
	struct pki_spec leaf_spec = { .dns = { NAME } };
	struct pki_cert *old = pki_issue(&spec, NULL), *leaf = pki_issue(&leaf_spec, old);
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	client.trust = old->pem;
	server.chain = leaf->pem;
	server.key = leaf;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_outcome(&p, HS_CLIENT, HS_CERT_EXPIRED);
	assert_reason(&p, HS_CLIENT, "the trusted issuer \"CN=old CA\" of the server's certificate expired");
	pair_close(&p);
	pki_free(leaf);
	pki_free(old);
}

static void run_crl(const char *crl, enum hs_outcome outcome, const char *reason,
		    const char *alert)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	client.crl = crl;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_outcome(&p, HS_CLIENT, outcome);
	if (outcome == HS_OK) {
		assert_both_ok(&p);
	} else {
		assert_reason(&p, HS_CLIENT, reason);
		assert_outcome(&p, HS_SERVER, HS_PEER_ALERT);
		assert_reason(&p, HS_SERVER, alert);
	}
	pair_close(&p);
}

static void test_crl(void)
{
	char *revoked = pki_crl(ca, server_cert, -60, 3600);
	char *clean = pki_crl(ca, client_cert, -60, 3600);
	char *stale = pki_crl(ca, NULL, -7200, -60);
	char *stale_revoked = pki_crl(ca, server_cert, -7200, -60);
	char *future = pki_crl(ca, NULL, 3600, 7200);
	char *unrelated = pki_crl(other_ca, NULL, -7200, -60);
	char *both = g_strconcat(stale, clean, NULL);

	run_crl(revoked, HS_CERT_REVOKED, "the server's certificate is revoked according to crl.pem",
		"certificate_revoked(44)");
	run_crl(clean, HS_OK, NULL, NULL);
	run_crl(stale, HS_CERT_CRL_STALE, "the list in crl.pem is out of date since",
		"certificate_unknown(46)");
	run_crl(stale_revoked, HS_CERT_REVOKED, "is revoked", "certificate_revoked(44)");
	run_crl(future, HS_CERT_CRL_STALE, "is the clock right?", "certificate_unknown(46)");
	run_crl(unrelated, HS_OK, NULL, NULL);
	run_crl(both, HS_OK, NULL, NULL);
	g_free(revoked);
	g_free(clean);
	g_free(stale);
	g_free(stale_revoked);
	g_free(future);
	g_free(unrelated);
	g_free(both);
}

/* A list by an intermediate authority that only the peer's chain shows. */
static void test_crl_intermediate(void)
{
	struct pki_spec mid_spec = { .cn = "mid", .ca = true };
	struct pki_spec leaf_spec = { .cn = "leaf", .dns = { NAME } };
	struct pki_cert *mid = pki_issue(&mid_spec, ca), *leaf = pki_issue(&leaf_spec, mid);
	struct pki_cert *forger = pki_issue(&mid_spec, other_ca);
	char *chain = pki_chain(leaf, mid, NULL);
	char *leaf_gone = pki_crl(mid, leaf, -60, 3600), *mid_gone = pki_crl(ca, mid, -60, 3600);
	char *forged = pki_crl(forger, NULL, -60, 3600), *clean = pki_crl(mid, NULL, -60, 3600);
	const struct { const char *crl; enum hs_outcome outcome; const char *reason; } cases[] = {
		{ leaf_gone, HS_CERT_REVOKED, "the server's certificate is revoked" },
		{ mid_gone, HS_CERT_REVOKED, "the certificate \"CN=mid\" in the server's chain is revoked" },
		{ forged, HS_CERT_CRL_STALE, "is not signed by its issuer" },
		{ clean, HS_OK, "" },
	};
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct side client = plain_client(), server = plain_server();
		struct pair p;

		client.crl = cases[i].crl;
		server.chain = chain;
		server.key = leaf;
		pair_open(&p, &client, &server);
		pair_run(&p);
		assert_outcome(&p, HS_CLIENT, cases[i].outcome);
		assert_reason(&p, HS_CLIENT, cases[i].reason);
		pair_close(&p);
	}
	g_free(chain);
	g_free(leaf_gone);
	g_free(mid_gone);
	g_free(forged);
	g_free(clean);
	pki_free(leaf);
	pki_free(mid);
	pki_free(forger);
}

/* An intermediate authority in the store is no root: the list of the authority above it counts. */
static void test_crl_anchor(void)
{
	struct pki_spec mid_spec = { .cn = "mid", .ca = true };
	struct pki_spec leaf_spec = { .cn = "leaf", .dns = { NAME } };
	struct pki_cert *mid = pki_issue(&mid_spec, ca), *leaf = pki_issue(&leaf_spec, mid);
	char *store = pki_chain(ca, mid, NULL), *chain = pki_chain(leaf, mid, NULL);
	char *gone = pki_crl(ca, mid, -60, 3600), *clean = pki_crl(ca, client_cert, -60, 3600);
	char *stale = pki_crl(ca, NULL, -7200, -60);
	const struct {
		const char *trust, *crl;
		enum hs_outcome outcome;
		const char *reason;
	} cases[] = {
		{ store, gone, HS_CERT_REVOKED, "the trusted issuer \"CN=mid\" of the server's "
		  "certificate is revoked according to crl.pem" },
		{ store, clean, HS_OK, "" },
		{ store, stale, HS_CERT_CRL_STALE, "\"CN=mid\" of the server's certificate cannot be "
		  "checked: the list in crl.pem is out of date" },
		/* Whether the list is the authority's cannot be told without its certificate. */
		{ mid->pem, gone, HS_CERT_CRL_STALE, "is not signed by anybody we know" },
		{ mid->pem, NULL, HS_OK, "" },
	};
	const char *sent[] = { leaf->pem, chain };

	for (size_t i = 0; i < G_N_ELEMENTS(cases) * G_N_ELEMENTS(sent); i++) {
		struct side client = plain_client(), server = plain_server();
		struct pair p;

		client.trust = cases[i / 2].trust;
		client.crl = cases[i / 2].crl;
		server.chain = sent[i % 2];
		server.key = leaf;
		pair_open(&p, &client, &server);
		pair_run(&p);
		assert_outcome(&p, HS_CLIENT, cases[i / 2].outcome);
		assert_reason(&p, HS_CLIENT, cases[i / 2].reason);
		pair_close(&p);
	}
	g_free(store);
	g_free(chain);
	g_free(gone);
	g_free(clean);
	g_free(stale);
	pki_free(leaf);
	pki_free(mid);
}

/*
 * The server refuses the client's certificate. The client has ended well by
 * then (TLS 1.3); the alert waits in its socket for the kernel.
 */
static void test_client_refused(void)
{
	struct pki_spec old = { .cn = "old client", .from = -7200, .until = -60 };
	struct pki_spec wrong = { .cn = "a server", .purpose = GNUTLS_KP_TLS_WWW_SERVER };
	const struct { struct pki_spec *spec; bool foreign; enum hs_outcome outcome; } cases[] = {
		{ &old, false, HS_CERT_EXPIRED },
		{ &wrong, false, HS_CERT_PURPOSE },
		{ &old, true, HS_CERT_UNKNOWN_ISSUER },
	};
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct side client = plain_client(), server = plain_server();
		struct pki_cert *cert = pki_issue(cases[i].spec, cases[i].foreign ? other_ca : ca);
		unsigned char record[64];
		struct pair p;

		client.chain = cert->pem;
		client.key = cert;
		pair_open(&p, &client, &server);
		pair_run(&p);
		assert_outcome(&p, HS_SERVER, cases[i].outcome);
		assert_reason(&p, HS_SERVER, "client");
		g_assert_false(p.result[HS_SERVER].peer_verified);
		assert_no_keys(&p, HS_SERVER);
		assert_outcome(&p, HS_CLIENT, HS_OK);
		/* One encrypted record of 2 bytes, their type and the tag. */
		g_assert_cmpint(recv(p.fd[HS_CLIENT], record, sizeof(record), 0), ==, 5 + 3 + 16);
		g_assert_cmpint(record[0], ==, 23);
		pair_close(&p);
		pki_free(cert);
	}
}

/* A certificate with an RSA key that would take half a second to check a signature with. */
static void test_dear_key(void)
{
	static unsigned char modulus[2048], exponent[64];
	struct pki_spec spec = { .cn = "monster", .key = PKI_RSA2048, .dns = { NAME } };
	struct pki_cert *cert = pki_issue(&spec, ca);
	gnutls_datum_t m = { modulus, sizeof(modulus) }, e = { exponent, sizeof(exponent) };
	struct side client = plain_client(), server = plain_server();
	gnutls_x509_crt_t crt = cert->crt;
	gnutls_pubkey_t key;
	gnutls_datum_t out;
	struct pair p;
	gint64 start;

	g_assert_cmpint(gnutls_rnd(GNUTLS_RND_NONCE, modulus, sizeof(modulus)), ==, 0);
	g_assert_cmpint(gnutls_rnd(GNUTLS_RND_NONCE, exponent, sizeof(exponent)), ==, 0);
	modulus[0] |= 0x80;
	modulus[sizeof(modulus) - 1] |= 1;
	exponent[0] = 0x7f;
	exponent[sizeof(exponent) - 1] |= 1;
	gnutls_pubkey_init(&key);
	g_assert_cmpint(gnutls_pubkey_import_rsa_raw(key, &m, &e), ==, 0);
	g_assert_cmpint(gnutls_x509_crt_set_pubkey(crt, key), ==, 0);
	g_assert_cmpint(gnutls_x509_crt_sign2(crt, ca->crt, ca->key, GNUTLS_DIG_SHA256, 0), ==, 0);
	g_assert_cmpint(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &out), ==, 0);
	g_free(cert->pem);
	cert->pem = g_strndup((char *)out.data, out.size);
	gnutls_free(out.data);
	gnutls_pubkey_deinit(key);

	client.chain = cert->pem;	/* what the key signs does not matter */
	client.key = cert;
	pair_open(&p, &client, &server);
	start = g_get_monotonic_time();
	pair_run(&p);
	g_test_message("%" G_GINT64_FORMAT " us", g_get_monotonic_time() - start);
	assert_outcome(&p, HS_SERVER, HS_CERT_INVALID);
	assert_reason(&p, HS_SERVER, "certificate 1 of the client has a key above the limit");
	pair_close(&p);
	pki_free(cert);
}

int main(int argc, char **argv)
{
	char path[128];
	unsigned int i;
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (i = 0; i < G_N_ELEMENTS(refusals); i++) {
		g_snprintf(path, sizeof(path), "/verify/refuse/%s", refusals[i].name);
		g_test_add_data_func(path, &refusals[i], test_refusal);
	}
	for (i = 0; i < G_N_ELEMENTS(acceptances); i++) {
		g_snprintf(path, sizeof(path), "/verify/accept/%s", acceptances[i].name);
		g_test_add_data_func(path, &acceptances[i], test_acceptance);
	}
	g_test_add_func("/verify/unknown-issuer", test_unknown_issuer);
	g_test_add_func("/verify/namesake-ca", test_namesake_ca);
	g_test_add_func("/verify/self-signed", test_self_signed);
	g_test_add_func("/verify/pinned", test_pinned);
	g_test_add_func("/verify/bad-intermediate", test_bad_intermediate);
	g_test_add_func("/verify/expired-ca", test_expired_ca);
	g_test_add_func("/verify/crl", test_crl);
	g_test_add_func("/verify/crl-intermediate", test_crl_intermediate);
	g_test_add_func("/verify/crl-anchor", test_crl_anchor);
	g_test_add_func("/verify/client-refused", test_client_refused);
	g_test_add_func("/verify/dear-key", test_dear_key);
	r = g_test_run();
	pair_pki_free();
	return r;
}
