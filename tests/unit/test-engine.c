// SPDX-License-Identifier: GPL-2.0-or-later
/* What an engine refuses to start with. */
#include <errno.h>

#include "tls-pair.h"

static void test_long_chain(void)
{
	struct side client = plain_client();
	GString *chain = g_string_new(client_cert->pem);
	char reason[512] = "";
	int i;

	for (i = 0; i < 10; i++)
		g_string_append(chain, ca->pem);
	client.chain = chain->str;
	g_assert_cmpint(try_engine(&client, reason, sizeof(reason)), ==, -E2BIG);
	g_assert_nonnull(strstr(reason, "cert.pem holds 11 certificates; at most 10"));
	g_string_free(chain, TRUE);
}

static void refuse_engine(struct side *side, const char *part)
{
	char reason[512] = "";

	g_assert_cmpint(try_engine(side, reason, sizeof(reason)), <, 0);
	g_test_message("%s", reason);
	if (!strstr(reason, part))
		g_error("reason \"%s\" lacks \"%s\"", reason, part);
	g_assert_null(side->engine);
}

static void test_engine_refuses(void)
{
	struct side s = plain_server();
	char *forged, *broken;

	s.trust = "";
	refuse_engine(&s, "trust.pem is empty");
	s.trust = "# nothing here\n";
	refuse_engine(&s, "trust.pem");
	s.trust = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
	refuse_engine(&s, "trust.pem holds no certificate");
	/* One good certificate does not excuse a broken one. */
	broken = g_strconcat(ca->pem, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
			     NULL);
	s.trust = broken;
	refuse_engine(&s, "trust.pem: a certificate in it cannot be read");
	s.trust = ca->pem;
	s.crl = "";
	refuse_engine(&s, "crl.pem: holds no list");
	s.crl = "nonsense";
	refuse_engine(&s, "crl.pem: ");
	s.crl = ca->pem;
	refuse_engine(&s, "crl.pem: ");
	{
		struct pki_spec spec = { .cn = "test CA", .ca = true };
		struct pki_cert *namesake = pki_issue(&spec, NULL);

		forged = pki_crl(namesake, NULL, -60, 3600);
		pki_free(namesake);
	}
	s.crl = forged;
	refuse_engine(&s, "crl.pem: the list of \"CN=test CA\" is not signed by");
	s.crl = NULL;
	s.chain = "nonsense";
	refuse_engine(&s, "cert.pem");
	s.chain = server_cert->pem;
	s.ciphers = 1u << 20;
	refuse_engine(&s, "no cipher is both allowed");
	g_free(forged);
	g_free(broken);
}

/* Without a file it is the system's store, which may be empty: then nobody is trusted. */
static void test_system_store(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	client.trust = NULL;
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_outcome(&p, HS_CLIENT, HS_CERT_UNKNOWN_ISSUER);
	assert_reason(&p, HS_CLIENT, "is not in the system's trust store");
	pair_close(&p);
}

/* A key of a kind the library does not know: fatal, except for the post-quantum identity. */
static void test_unknown_key_kind(void)
{
	static const unsigned char oid[] = { 0x06, 0x03, 0x2b, 0x65, 0x70 };	/* Ed25519 */
	struct pki_spec spec = { .key = PKI_ED25519 };
	struct pki_cert *cert = pki_issue(&spec, ca);
	struct engine_config config = {
		.ciphers = ALL_CIPHERS, .log = &test_log, .sign = side_sign,
	};
	struct engine *engine = NULL;
	char reason[512] = "";
	unsigned char *der, *at;
	size_t size;

	der = pki_der(cert, &size);
	at = memmem(der, size, oid, sizeof(oid));
	g_assert_nonnull(at);
	at[4] = 0x7e;	/* the next free one of that arc, used by nobody */
	config.role[HS_CLIENT].truststore = file_of(ca->pem, "trust.pem");
	config.role[HS_SERVER].truststore = file_of(ca->pem, "trust.pem");
	config.role[HS_SERVER].certificate[HS_IDENTITY_X509_PQ] =
		(struct engine_file){ der, size, "pq.der" };
	g_assert_cmpint(engine_new(&engine, &config, reason, sizeof(reason)), ==, 0);
	engine_free(engine);
	config.role[HS_SERVER].certificate[HS_IDENTITY_X509] =
		(struct engine_file){ der, size, "cert.der" };
	g_assert_cmpint(engine_new(&engine, &config, reason, sizeof(reason)), <, 0);
	g_assert_nonnull(strstr(reason, "cert.der: the kind of key in it cannot be used"));
	g_free(der);
	pki_free(cert);
}

/* A DER certificate of ours, and the library's debug output through our log. */
static void test_der_and_debug(void)
{
	struct side client = plain_client(), server = plain_server();
	struct engine_config config = {
		.ciphers = ALL_CIPHERS, .log = &test_log, .sign = side_sign, .sign_ctx = &server,
		.setsockopt_fn = fake_setsockopt, .debug = 1,
	};
	char reason[512] = "";
	struct pair p;
	size_t size;
	void *der = pki_der(server_cert, &size);

	config.role[HS_CLIENT].truststore = file_of(ca->pem, "trust.pem");
	config.role[HS_SERVER].truststore = file_of(ca->pem, "trust.pem");
	config.role[HS_SERVER].certificate[HS_IDENTITY_X509] =
		(struct engine_file){ der, size, "cert.der" };
	g_assert_cmpint(load_key(&server.loaded, server_cert->key_pem), ==, 0);
	g_assert_cmpint(engine_new(&server.engine, &config, reason, sizeof(reason)), ==, 0);
	g_free(der);
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_both_ok(&p);
	pair_close(&p);
}

int main(int argc, char **argv)
{
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	g_test_add_func("/engine/long-chain", test_long_chain);
	g_test_add_func("/engine/refuses", test_engine_refuses);
	g_test_add_func("/engine/unknown-key-kind", test_unknown_key_kind);
	g_test_add_func("/engine/der-and-debug", test_der_and_debug);
	g_test_add_func("/engine/system-store", test_system_store);
	r = g_test_run();
	pair_pki_free();
	return r;
}
