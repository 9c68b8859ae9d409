// SPDX-License-Identifier: GPL-2.0-or-later
/* Handshakes with certificates that came with the request, as from a keyring. */
#include <errno.h>

#include "tls-pair.h"

static struct side client, server;
static const char *chains[HS_N_ROLES];	/* what keys() answers; NULL: refuses */
static size_t chain_len[HS_N_ROLES];	/* 0: to its NUL */

static void give_chain(struct pair *p, enum hs_role i)
{
	struct engine_file file;

	g_assert_cmpstr(session_psk_identity(p->session[i]), ==, "");
	g_assert_cmpint(session_set_psk(p->session[i], HS_PSK_SHA256, "x", "0123456789abcdef", 16),
			==, -EINVAL);
	if (!chains[i]) {
		session_refuse(p->session[i], HS_KEY_REVOKED, "it was revoked");
		return;
	}
	/* It need not stay. */
	file.size = chain_len[i] ? chain_len[i] : strlen(chains[i]);
	file.data = g_memdup2(chains[i], file.size + !chain_len[i]);
	file.label = "certificate 0x1";
	g_assert_cmpint(session_set_certificate(p->session[i], &file), ==, 0);
	g_assert_cmpint(session_set_certificate(p->session[i], &file), ==, -EINVAL);
	memset((char *)(uintptr_t)file.data, 'x', file.size);
	g_free((char *)(uintptr_t)file.data);
}

/* Both ends get theirs by request; @configured: and have others in the configuration. */
static void open_own(struct pair *p, bool configured)
{
	unsigned int i;

	client = plain_client();
	client.key = client_cert;
	client.chain = configured ? server_cert->pem : NULL;
	server = plain_server();
	server.chain = configured ? client_cert->pem : NULL;
	client.signs_as = server.signs_as = HS_IDENTITY_JOB;
	pair_open(p, &client, &server);
	p->keys = give_chain;
	for (i = 0; i < HS_N_ROLES; i++) {
		p->job[i].auth = HS_AUTH_X509;
		p->job[i].own_identity = true;
	}
	chain_len[HS_CLIENT] = chain_len[HS_SERVER] = 0;
	chains[HS_CLIENT] = client_cert->pem;
	chains[HS_SERVER] = server_cert->pem;
}

static void test_works(void)
{
	struct pair p;
	unsigned int i, configured;

	for (configured = 0; configured < 2; configured++) {
		open_own(&p, configured);
		pair_run(&p);
		assert_both_ok(&p);
		for (i = 0; i < HS_N_ROLES; i++) {
			g_assert_cmpuint(p.asked[i], ==, 1);
			g_assert_true(p.result[i].peer_verified);
			g_assert_cmpuint(p.side[i]->signatures, ==, 1);
			g_assert_cmpuint(p.side[i]->signed_job, ==, p.job[i].id);
		}
		g_assert_cmpstr(p.result[HS_SERVER].subject, ==, "CN=the client");
		g_assert_cmpstr(p.result[HS_CLIENT].subject, ==, "CN=the server");
		pair_close(&p);
	}
}

static void append_der(GByteArray *out, const char *pem)
{
	const gnutls_datum_t text = { (unsigned char *)(uintptr_t)pem, (unsigned int)strlen(pem) };
	gnutls_datum_t der;

	g_assert_cmpint(gnutls_pem_base64_decode2("CERTIFICATE", &text, &der), ==, 0);
	g_byte_array_append(out, der.data, der.size);
	gnutls_free(der.data);
}

/* A leaf of an intermediate that the other side does not have: PEM, and DER one behind the other. */
static void test_chains(void)
{
	static const struct pki_spec middle_spec = { .cn = "an intermediate", .ca = true };
	static const struct pki_spec leaf_spec = { .cn = "the leaf" };
	struct pki_cert *middle = pki_issue(&middle_spec, ca);
	struct pki_cert *leaf = pki_issue(&leaf_spec, middle);
	g_autoptr(GByteArray) der = g_byte_array_new();
	g_autofree char *pem = g_strconcat(leaf->pem, middle->pem, NULL);
	struct pair p;
	unsigned int i;

	append_der(der, leaf->pem);
	append_der(der, middle->pem);
	for (i = 0; i < 3; i++) {
		open_own(&p, false);
		drop_engine(&client);
		client.key = leaf;
		make_engine(&client);
		chains[HS_CLIENT] = i ? (const char *)der->data : pem;
		chain_len[HS_CLIENT] = i == 0 ? 0 : i == 1 ? der->len : der->len - 1;
		pair_run(&p);
		if (i < 2)
			assert_both_ok(&p);
		else
			assert_outcome(&p, HS_CLIENT, HS_KEY_UNUSABLE);
		if (i < 2)
			g_assert_cmpstr(p.result[HS_SERVER].subject, ==, "CN=the leaf");
		pair_close(&p);
	}
	pki_free(middle);
	pki_free(leaf);
}

/* Nothing else takes the place of what was named. */
static void test_fails_closed(void)
{
	static const char *const bad[] = {
		NULL, "", "no certificate",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	};
	unsigned int i, role;
	struct pair p;

	for (i = 0; i < G_N_ELEMENTS(bad); i++) {
		for (role = 0; role < HS_N_ROLES; role++) {
			enum hs_role other = role == HS_CLIENT ? HS_SERVER : HS_CLIENT;

			open_own(&p, true);
			chains[role] = bad[i];
			pair_run(&p);
			assert_outcome(&p, role, bad[i] ? HS_KEY_UNUSABLE : HS_KEY_REVOKED);
			assert_reason(&p, role, bad[i] ? "certificate 0x1" : "it was revoked");
			assert_outcome(&p, other, HS_PEER_ALERT);
			assert_no_keys(&p, HS_CLIENT);
			assert_no_keys(&p, HS_SERVER);
			g_assert_cmpuint(p.side[role]->signatures, ==, 0);
			pair_close(&p);
		}
	}
}

int main(int argc, char **argv)
{
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	g_test_add_func("/session-own/works", test_works);
	g_test_add_func("/session-own/chains", test_chains);
	g_test_add_func("/session-own/fails-closed", test_fails_closed);
	r = g_test_run();
	pair_pki_free();
	return r;
}
