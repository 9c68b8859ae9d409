// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The certificates a peer sends. An input is a byte (bits 0: the peer is a client,
 * 1: there is a list of revoked certificates, 2: there is no name to be matched)
 * and then certificates: u16 length and DER, or a length above 0xff00, whose low
 * byte names one of ours.
 *
 * Nobody can sign but who has the keys of fixtures.h: so whatever is found good
 * has the key of one of the certificates made there, and is good for that.
 */
#include "fixtures.h"
#include "fuzz-steady.h"
#include "fuzz.h"
#include "tlshd/worker/engine-private.h"

#define INPUT_CERTS 12	/* more than CHAIN_MAX */

static const struct {
	const char *pem;
	bool client, server;	/* is good as such */
	bool revoked;
} ours[] = {
	{ PEM_SERVER_CRT, false, true, false },
	{ PEM_SERVER_ED_CRT, true, true, false },
	{ PEM_CLIENT_CRT, true, false, false },
	{ PEM_MIDDLE_CRT, true, false, false },	/* no purpose: any */
	{ PEM_CLIENT_RSA_CRT, true, false, true },
	{ PEM_STRANGER_CRT, false, false, false },
	{ PEM_CA_CRT, true, false, false },
	{ PEM_OTHER_CRT, false, false, false },
};

struct known {
	gnutls_datum_t der;
	uint8_t id[32];
};

static struct known known[G_N_ELEMENTS(ours)];
static struct trust *trusts[2];
static struct peername want;

static void key_id(gnutls_x509_crt_t cert, uint8_t id[32])
{
	size_t size = 32;

	g_assert_cmpint(gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, id, &size), ==,
			0);
}

static void learn(size_t i)
{
	gnutls_datum_t pem = { (unsigned char *)(uintptr_t)ours[i].pem,
			       (unsigned int)strlen(ours[i].pem) };
	gnutls_x509_crt_t cert;

	g_assert_cmpint(gnutls_x509_crt_init(&cert), ==, 0);
	g_assert_cmpint(gnutls_x509_crt_import(cert, &pem, GNUTLS_X509_FMT_PEM), ==, 0);
	g_assert_cmpint(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_DER, &known[i].der), ==, 0);
	key_id(cert, known[i].id);
	gnutls_x509_crt_deinit(cert);
}

static void load_trust(struct trust **ret, const struct engine_role *role)
{
	gnutls_x509_trust_list_t system = NULL;
	char reason[HS_TEXT_MAX];

	if (trust_new(ret, role, &system, 0, &fuzz_log, reason, sizeof(reason)) < 0)
		g_error("%s", reason);
}

static void set_up(void)
{
	struct engine_role role = { .truststore = { PEM_CA_CRT, sizeof(PEM_CA_CRT) - 1, "ca.pem" } };

	if (trusts[0])
		return;
	for (size_t i = 0; i < G_N_ELEMENTS(ours); i++)
		learn(i);
	load_trust(&trusts[0], &role);
	role.crl = (struct engine_file){ PEM_GOOD_CRL, sizeof(PEM_GOOD_CRL) - 1, "crl.pem" };
	load_trust(&trusts[1], &role);
	g_assert_cmpint(peername_parse("nfs.example.com", &want), ==, 0);
}

static void check_good(const struct chain *chain, bool client, bool list, const char *matched)
{
	uint8_t id[32];

	g_assert_cmpuint(chain->n, >, 0);
	key_id(chain->cert[0], id);
	for (size_t i = 0; i < G_N_ELEMENTS(ours); i++) {
		if (memcmp(id, known[i].id, sizeof(id)) != 0)
			continue;
		g_assert_true(client ? ours[i].client : ours[i].server || !matched);
		g_assert_false(list && ours[i].revoked);
		g_assert_true(!matched || strcmp(matched, "DNS:nfs.example.com") == 0);
		return;
	}
	g_assert_not_reached();
}

static unsigned int read_certs(struct input *in, gnutls_datum_t der[INPUT_CERTS])
{
	unsigned int n = 0;

	while (in->left && n < INPUT_CERTS) {
		size_t len = take_u16(in), got;
		const uint8_t *bytes;

		if (len > 0xff00) {
			der[n++] = known[(len & 0xff) % G_N_ELEMENTS(known)].der;
			continue;
		}
		bytes = take_bytes(in, len, &got);
		der[n++] = (gnutls_datum_t){ (unsigned char *)(uintptr_t)bytes, (unsigned int)got };
	}
	return n;
}

static void verify(const struct chain *chain, uint8_t flags)
{
	bool client = flags & 1, list = flags & 2, named = !client && !(flags & 4);
	char matched[HS_NAME_MAX] = "", subject[HS_TEXT_MAX];
	struct verdict v = { .outcome = HS_OK };

	cert_subject(chain->cert[0], subject, sizeof(subject));
	check_line(subject, sizeof(subject));
	chain_verify(chain, client ? HS_CLIENT : HS_SERVER, trusts[list], named ? &want : NULL,
		     matched, &v);
	if (v.outcome == HS_OK) {
		check_good(chain, client, list, named ? matched : NULL);
		return;
	}
	g_assert_cmpuint(strnlen(v.reason, sizeof(v.reason)), >, 0);
	g_assert_cmpuint(v.outcome, <, HS_N_OUTCOMES);
	/* It goes to a log line of its own. */
	log_info(&fuzz_log, "%s", v.reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t flags = take_u8(&in);
	gnutls_datum_t der[INPUT_CERTS];
	struct verdict v = { .outcome = HS_OK };
	struct chain chain = { .n = 0 };
	unsigned int n;

	steady_reset();
	set_up();
	n = read_certs(&in, der);
	chain_import(&chain, der, n, flags & 1 ? HS_CLIENT : HS_SERVER, &v);
	g_assert_cmpuint(chain.n, <=, CHAIN_MAX);
	g_assert_true(v.outcome != HS_OK || chain.n == n);
	if (v.outcome == HS_OK && chain.n > 0)
		verify(&chain, flags);
	chain_clear(&chain);
	return 0;
}
