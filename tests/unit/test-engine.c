// SPDX-License-Identifier: GPL-2.0-or-later
/* What an engine refuses to start with, and what it says. */
#include <errno.h>
#include <linux/tls.h>

#include "forge.h"
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
	refuse_engine(&s, "crl.pem: holds no list");
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

/* RFC 5280 5.2: a list that is not a whole one says so by a critical extension. */
static void test_crl_extension(void)
{
	static const struct { struct forge_extension e; bool ok; } cases[] = {
#define OID(s) s, sizeof(s) - 1
		/* issuingDistributionPoint: onlyContainsUserCerts */
		{ { OID("\x55\x1d\x1c"), OID("\x30\x03\x81\x01\xff"), true }, false },
		/* deltaCRLIndicator: to number 1 */
		{ { OID("\x55\x1d\x1b"), OID("\x02\x01\x01"), true }, false },
		/* 1.2.3.4 */
		{ { OID("\x2a\x03\x04"), OID("\x05\x00"), true }, false },
		{ { OID("\x2a\x03\x04"), OID("\x05\x00"), false }, true },
#undef OID
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *crl = forge_crl(ca, server_cert, &cases[i].e);
		struct side s = plain_client();
		char reason[512] = "";

		s.crl = crl;
		if (!cases[i].ok) {
			g_assert_cmpint(try_engine(&s, reason, sizeof(reason)), ==, -ENOTSUP);
			g_assert_null(s.engine);
			g_assert_cmpstr(reason, ==, "crl.pem: the list of \"CN=test CA\" is partial, "
					"indirect or a delta (critical extension): only whole lists "
					"can be used");
			continue;
		}
		g_assert_cmpint(try_engine(&s, reason, sizeof(reason)), ==, 0);
		drop_engine(&s);
	}
}

static void keep(void *ctx, int priority, const char *text, const struct log_field *fields,
		 size_t n_fields)
{
	g_string_append_printf(ctx, "<%d>%s\n", priority, text);
}

/* What has ended takes the place of what has ended, or of nothing, but not of what is good. */
static void test_expired_certificate(void)
{
	const struct pki_spec old = { .dns = { "nfs.test" }, .from = -7200, .until = -60 };
	struct pki_cert *expired = pki_issue(&old, ca);
	struct side s = plain_server();
	int64_t now = time(NULL), until;

	make_engine(&s);
	until = engine_dates(s.engine)->certificate[HS_SERVER][HS_IDENTITY_X509];
	g_assert_cmpint(until, ==, gnutls_x509_crt_get_expiration_time(server_cert->crt));
	g_assert_cmpint(until, >, now);
	g_assert_cmpint(engine_dates(s.engine)->certificate[HS_CLIENT][HS_IDENTITY_X509], ==, 0);
	drop_engine(&s);

	s.chain = expired->pem;
	s.key = expired;
	s.in_use.certificate[HS_SERVER][HS_IDENTITY_X509] = until;
	refuse_engine(&s, "cert.pem: \"CN=test\" expired on ");
	refuse_engine(&s, "the one in use has not");
	/* That of the other role, or of another kind, says nothing of this one. */
	s.in_use = (struct hs_dates){
		.certificate = { [HS_CLIENT] = { until, until }, [HS_SERVER] = { now - 5, until } },
		.crl = { until, until },
	};
	make_engine(&s);
	g_assert_cmpint(engine_dates(s.engine)->certificate[HS_SERVER][HS_IDENTITY_X509], <, now);
	drop_engine(&s);
	pki_free(expired);
}

static void assert_until(struct side *s, long from_now)
{
	int64_t until;

	make_engine(s);
	until = engine_dates(s->engine)->crl[HS_CLIENT];
	if (from_now)
		g_assert_cmpint(llabs(until - time(NULL) - from_now), <, 60);
	else
		g_assert_cmpint(until, ==, 0);
	drop_engine(s);
}

static void test_stale_crl(void)
{
	g_autofree char *stale = pki_crl(ca, NULL, -7200, -3600);
	g_autofree char *good = pki_crl(ca, NULL, -60, 7200);
	g_autofree char *foreign = pki_crl(other_ca, NULL, -7200, -5400);
	g_autofree char *beside = g_strconcat(stale, good, NULL);
	g_autofree char *mixed = g_strconcat(good, foreign, NULL);
	struct side s = plain_client();

	assert_until(&s, 0);
	s.crl = good;
	assert_until(&s, 7200);
	s.crl = beside;
	assert_until(&s, 7200);
	s.crl = mixed;
	assert_until(&s, -5400);
	s.crl = stale;
	assert_until(&s, -3600);

	s.in_use.crl[HS_SERVER] = time(NULL) + 3600;
	make_engine(&s);
	drop_engine(&s);
	s.in_use.crl[HS_CLIENT] = time(NULL) - 5;
	make_engine(&s);
	drop_engine(&s);
	s.in_use.crl[HS_CLIENT] = time(NULL) + 3600;
	refuse_engine(&s, "crl.pem: the list of \"CN=test CA\" is out of date since ");
	refuse_engine(&s, "; the one in use is not");
	s.crl = mixed;
	refuse_engine(&s, "crl.pem: the list of \"CN=other CA\" is out of date since ");
	s.crl = beside;
	make_engine(&s);
	drop_engine(&s);
}

/* What engine_new() says of @crl, which it takes in the place of one that is good until @in_use. */
static GString *log_of_crl(const char *crl, int64_t in_use)
{
	struct log before = test_log;
	GString *said = g_string_new(NULL);
	struct side s = plain_client();

	s.crl = crl;
	s.in_use.crl[HS_CLIENT] = in_use;
	test_log.sink = keep;
	test_log.ctx = said;
	make_engine(&s);
	drop_engine(&s);
	test_log = before;
	return said;
}

/* A list that may count for nobody is no error, but somebody should know. */
static void test_crl_nobody(void)
{
	char *foreign = pki_crl(other_ca, NULL, -60, 3600), *ours = pki_crl(ca, NULL, -60, 3600);
	GString *said = log_of_crl(foreign, 0);

	g_assert_nonnull(strstr(said->str, "<4>crl.pem: the issuer of the list, \"CN=other CA\", is "
				"not in the trust store trust.pem"));
	g_string_free(said, TRUE);
	said = log_of_crl(ours, 0);
	g_assert_null(strstr(said->str, "<4>"));
	g_string_free(said, TRUE);
	g_free(foreign);
	g_free(ours);
}

/* An old list is said to matter where it is the best there is of its issuer, and only there. */
static void test_crl_stale_said(void)
{
	g_autofree char *older = pki_crl(ca, NULL, -9000, -7200);
	g_autofree char *old = pki_crl(ca, NULL, -7200, -3600);
	g_autofree char *good = pki_crl(ca, NULL, -60, 7200);
	g_autofree char *future = pki_crl(ca, NULL, 3600, 7200);
	g_autofree char *beside = g_strconcat(old, good, NULL);
	g_autofree char *too_early = g_strconcat(old, future, NULL);
	g_autofree char *behind = g_strconcat(good, old, NULL);
	g_autofree char *both_old = g_strconcat(older, old, NULL);
	const struct { const char *crl; unsigned int warnings; } cases[] = {
		{ good, 0 }, { beside, 0 }, { behind, 0 }, { old, 1 }, { both_old, 2 },
		{ too_early, 1 },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		GString *said = log_of_crl(cases[i].crl, 0);
		unsigned int n = 0;

		for (const char *at = said->str; (at = strstr(at, "are refused until")); at++)
			n++;
		g_assert_cmpuint(n, ==, cases[i].warnings);
		g_string_free(said, TRUE);
	}
}

/* What is dated ahead, by an authority whose clock is, is taken and told of. */
static void test_coming_said(void)
{
	const struct pki_spec spec = { .dns = { "nfs.test" }, .from = 600, .until = 7200 };
	g_autofree char *stale = pki_crl(ca, NULL, -7200, -3600);
	g_autofree char *coming = pki_crl(ca, NULL, 600, 864000);
	g_autofree char *after_stale = g_strconcat(stale, coming, NULL);
	g_autofree char *before_stale = g_strconcat(coming, stale, NULL);
	g_autofree char *foreign = pki_crl(other_ca, NULL, -60, 7200);
	g_autofree char *mixed = g_strconcat(foreign, coming, NULL);
	const char *const crls[] = { coming, after_stale, before_stale, mixed };
	struct pki_cert *cert = pki_issue(&spec, ca);
	struct side s = plain_server();
	struct log before = test_log;
	GString *said;

	for (size_t i = 0; i < G_N_ELEMENTS(crls); i++) {
		said = log_of_crl(crls[i], time(NULL) + 3600);
		g_assert_nonnull(strstr(said->str, "<4>crl.pem: the list of \"CN=test CA\" counts "
					"from "));
		g_assert_null(strstr(said->str, "out of date"));
		g_string_free(said, TRUE);
	}
	s.chain = cert->pem;
	s.key = cert;
	s.in_use.certificate[HS_SERVER][HS_IDENTITY_X509] = time(NULL) + 3600;
	said = g_string_new(NULL);
	test_log.sink = keep;
	test_log.ctx = said;
	make_engine(&s);
	drop_engine(&s);
	test_log = before;
	g_assert_nonnull(strstr(said->str, "<4>cert.pem: \"CN=test\" is not valid before "));
	g_string_free(said, TRUE);
	pki_free(cert);
}

/* The key in what TLS_TX or TLS_RX was given (linux/tls.h), in the library's hexadecimal. */
static char *key_text(const unsigned char *info)
{
	const union {
		struct tls_crypto_info info;
		struct tls12_crypto_info_aes_gcm_128 gcm128;
		struct tls12_crypto_info_aes_gcm_256 gcm256;
		struct tls12_crypto_info_aes_ccm_128 ccm128;
		struct tls12_crypto_info_chacha20_poly1305 chacha;
	} *u = (const void *)info;
	const unsigned char *key;
	GString *text = g_string_new(NULL);
	size_t len = 16, i;

	switch (u->info.cipher_type) {
	case TLS_CIPHER_AES_GCM_128:
		key = u->gcm128.key;
		break;
	case TLS_CIPHER_AES_CCM_128:
		key = u->ccm128.key;
		break;
	case TLS_CIPHER_AES_GCM_256:
		key = u->gcm256.key;
		len = sizeof(u->gcm256.key);
		break;
	default:
		g_assert_cmpint(u->info.cipher_type, ==, TLS_CIPHER_CHACHA20_POLY1305);
		key = u->chacha.key;
		len = sizeof(u->chacha.key);
	}
	for (i = 0; i < len; i++)
		g_string_append_printf(text, "%02x", key[i]);
	return g_string_free(text, FALSE);
}

/*
 * A handshake at debug level 9, which @clamped is as the engine sets it, or as the library has
 * it. Returns how many of the traffic keys are in the log.
 */
static unsigned int keys_in_log(enum ktls_cipher cipher, bool clamped)
{
	GString *said = g_string_new(NULL);
	struct log log = { .level = LOG_DEBUG, .sink = keep, .ctx = said };
	struct side client = plain_client(), server = plain_server();
	struct engine_config config = {
		.ciphers = 1u << cipher, .log = &log, .sign = side_sign, .sign_ctx = &client,
		.setsockopt_fn = fake_setsockopt, .debug = 9,
	};
	char reason[512] = "";
	unsigned int found = 0;
	struct pair p;

	config.role[HS_CLIENT].truststore = file_of(ca->pem, "trust.pem");
	config.role[HS_SERVER].truststore = file_of(ca->pem, "trust.pem");
	g_assert_cmpint(engine_new(&client.engine, &config, reason, sizeof(reason)), ==, 0);
	if (!clamped)
		gnutls_global_set_log_level(9);
	pair_open(&p, &client, &server);
	pair_run(&p);
	assert_both_ok(&p);
	g_assert_cmpstr(p.result[HS_CLIENT].cipher, ==, ktls_cipher_name(cipher));
	for (unsigned int i = 0; i < 2; i++) {
		const struct kernel *k = &kernels[p.fd[HS_CLIENT]];
		g_autofree char *key = key_text(i ? k->rx : k->tx);

		found += strstr(said->str, key) != NULL;
	}
	/* The library did speak. */
	g_assert_nonnull(strstr(said->str, "gnutls 4: "));
	pair_close(&p);
	g_string_free(said, TRUE);
	return found;
}

static void test_debug_keys(void)
{
	for (unsigned int i = 0; i < KTLS_N_CIPHERS; i++) {
		g_assert_cmpuint(keys_in_log(i, true), ==, 0);
		/* Else this test would look for them in a form they do not have. */
		g_assert_cmpuint(keys_in_log(i, false), ==, 2);
	}
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
	g_test_add_func("/engine/crl-extension", test_crl_extension);
	g_test_add_func("/engine/expired-certificate", test_expired_certificate);
	g_test_add_func("/engine/stale-crl", test_stale_crl);
	g_test_add_func("/engine/coming", test_coming_said);
	g_test_add_func("/engine/crl-nobody", test_crl_nobody);
	g_test_add_func("/engine/crl-stale-said", test_crl_stale_said);
	g_test_add_func("/engine/debug-keys", test_debug_keys);
	g_test_add_func("/engine/system-store", test_system_store);
	r = g_test_run();
	pair_pki_free();
	return r;
}
