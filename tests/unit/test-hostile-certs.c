// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificates of a signer we trust, whose content is made to deceive or to take long. */
#include <string.h>

#include "forge-der.h"
#include "hostile-world.h"

#define SAN "2.5.29.17"
#define NAME_CONSTRAINTS "2.5.29.30"
#define UNKNOWN "1.3.6.1.4.1.55555.2"
#define ANY_COST 40.0	/* ordinary mutual handshakes, for who has been certified by us */

static gint64 usual;

/* @cert with an extension more, signed by the CA again. */
static void add(struct pki_cert *cert, const struct pki_cert *issuer, const char *oid,
		const GByteArray *value, bool critical)
{
	gnutls_datum_t der;

	g_assert_cmpint(gnutls_x509_crt_set_extension_by_oid(cert->crt, oid, value->data,
							     value->len, critical), ==, 0);
	g_assert_cmpint(gnutls_x509_crt_sign2(cert->crt, issuer->crt, issuer->key,
					      GNUTLS_DIG_SHA256, 0), ==, 0);
	g_assert_cmpint(gnutls_x509_crt_export2(cert->crt, GNUTLS_X509_FMT_DER, &der), ==, 0);
	forge_become(cert, g_byte_array_new_take(g_memdup2(der.data, der.size), der.size));
	gnutls_free(der.data);
}

/* subjectAltName of @count names of kind @tag with @content. */
static GByteArray *names(uint8_t tag, const void *content, size_t len, unsigned int count)
{
	GByteArray *list = g_byte_array_new();

	while (count-- > 0)
		der_put(list, tag, content, len);
	return der_wrap(DER_SEQUENCE, list);
}

/* Our client against a server with @leaf and @mid. Returns its cost; prints it by @name. */
static void present(const char *name, const struct pki_cert *leaf, const struct pki_cert *mid,
		    enum hs_outcome outcome, const char *reason, double limit)
{
	g_autofree char *chain = pki_chain(leaf, mid, NULL);
	struct hostile h;

	hostile_open(&h, HS_CLIENT, NULL);
	hostile_greet(&h);
	hostile_authenticate(&h, chain, leaf->key, 0x0403, 0);
	g_assert_true(hostile_settle(&h));
	g_test_message("%s: %s: %s", name, hs_outcome_name(h.pair.result[HS_CLIENT].outcome),
		       h.pair.result[HS_CLIENT].reason);
	assert_outcome(&h.pair, HS_CLIENT, outcome);
	assert_reason(&h.pair, HS_CLIENT, reason);
	/* What comes into the log is one printable line. */
	for (const char *c = h.pair.result[HS_CLIENT].reason; *c; c++)
		g_assert_cmpint((unsigned char)*c, >=, ' ');
	g_assert_null(strstr(h.pair.result[HS_CLIENT].reason, "\xe2\x80\xae"));
	g_assert_null(strstr(h.pair.result[HS_CLIENT].subject, "\xe2\x80\xae"));
	if (outcome != HS_OK)
		assert_no_keys(&h.pair, HS_CLIENT);
	hostile_at_most(name, h.spent, usual, limit);
	hostile_close(&h);
}

static void test_names(void)
{
	static const struct {
		const char *name;
		uint8_t tag;
		const char *content;
		size_t len;
		unsigned int count;
	} cases[] = {
#define BYTES(s) (s), sizeof(s) - 1
		{ "NUL", 0x82, BYTES(NAME "\0.evil.example"), 1 },
		{ "NUL at the end", 0x82, BYTES(NAME "\0"), 1 },
		{ "bidi", 0x82, BYTES("\xe2\x80\xaenfs.example.com\nforged line"), 1 },
		{ "*", 0x82, BYTES("*"), 1 },
		{ "*.*", 0x82, BYTES("*.*.com"), 1 },
		{ "*.com", 0x82, BYTES("*.com"), 1 },
		{ "n*", 0x82, BYTES("n*.example.com"), 1 },
		{ "500 of 2 bytes", 0x82, BYTES("aa"), 500 },
		{ "501 of 2 bytes", 0x82, BYTES("aa"), 501 },
		{ "3700 of 2 bytes", 0x82, BYTES("aa"), 3700 },
		{ "2500 addresses", 0x87, BYTES("\x7f\0\0\1"), 2500 },
		{ "2500 URIs", 0x86, BYTES("a://"), 2500 },
		{ "3000 registered IDs", 0x88, BYTES("\x2a\x03"), 3000 },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct pki_cert *leaf = pki_issue(&(struct pki_spec){ .cn = NAME }, ca);
		GByteArray *value = names(cases[i].tag, cases[i].content, cases[i].len,
					  cases[i].count);

		add(leaf, ca, SAN, value, false);
		present(cases[i].name, leaf, NULL,
			cases[i].count > 500 ? HS_CERT_INVALID : HS_CERT_NAME,
			cases[i].count > 500 ? "more than 500 names" : "", ANY_COST);
		g_byte_array_unref(value);
		pki_free(leaf);
	}
}

static void test_common_name(void)
{
	static const char *const cn[] = { NAME, "\xe2\x80\xaemoc.elpmaxe", "a\nforged line", "\xff\xfe" };

	for (size_t i = 0; i < G_N_ELEMENTS(cn); i++) {
		struct pki_cert *leaf = pki_issue(&(struct pki_spec){ .cn = cn[i] }, ca);

		present("common name", leaf, NULL, HS_CERT_NAME, "no DNS name", ANY_COST);
		pki_free(leaf);
	}
}

static void test_critical(void)
{
	GByteArray *value = names(0x04, "x", 1, 1);
	struct pki_cert *mid = pki_issue(&(struct pki_spec){ .cn = "mid", .ca = true }, ca);
	struct pki_cert *leaf = pki_issue(&(struct pki_spec){ .dns = { NAME } }, mid);
	struct pki_cert *own = pki_issue(&(struct pki_spec){ .dns = { NAME } }, ca);

	present("no extension", leaf, mid, HS_OK, "", ANY_COST);
	add(mid, ca, UNKNOWN, value, true);
	present("critical, issuer", leaf, mid, HS_CERT_INVALID, "critical extension", ANY_COST);
	add(own, ca, UNKNOWN, value, true);
	present("critical, leaf", own, NULL, HS_CERT_INVALID, "critical extension", ANY_COST);
	g_byte_array_unref(value);
	pki_free(own);
	pki_free(leaf);
	pki_free(mid);
}

/* NameConstraints of @count subtrees for dNSName @name: permitted [0] or excluded [1]. */
static GByteArray *constraints(uint8_t which, const char *name, unsigned int count)
{
	GByteArray *trees = g_byte_array_new();

	while (count-- > 0)
		der_append(trees, names(0x82, name, strlen(name), 1));
	return der_wrap(DER_SEQUENCE, der_wrap((uint8_t)(0xa0 | which), trees));
}

static void test_constraints(void)
{
	static const struct {
		const char *name;
		uint8_t which;
		const char *tree;
		unsigned int trees, names;
		enum hs_outcome outcome;
	} cases[] = {
		{ "permitted", 0, "example.com", 1, 1, HS_OK },
		{ "not permitted", 0, "example.org", 1, 1, HS_CERT_INVALID },
		{ "excluded", 1, "example.com", 1, 1, HS_CERT_INVALID },
		{ "not excluded", 1, "example.org", 1, 1, HS_OK },
		{ "900 constraints, 500 names", 1, "example.org", 900, 500, HS_OK },
		{ "900 constraints, 501 names", 1, "example.org", 900, 501, HS_CERT_INVALID },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct pki_cert *mid = pki_issue(&(struct pki_spec){ .cn = "mid", .ca = true }, ca);
		struct pki_cert *leaf = pki_issue(&(struct pki_spec){ .cn = "leaf" }, mid);
		GByteArray *tree = constraints(cases[i].which, cases[i].tree, cases[i].trees);
		GByteArray *san = names(0x82, NAME, strlen(NAME), cases[i].names);

		add(mid, ca, NAME_CONSTRAINTS, tree, true);
		add(leaf, mid, SAN, san, false);
		present(cases[i].name, leaf, mid, cases[i].outcome, "", ANY_COST);
		g_byte_array_unref(tree);
		g_byte_array_unref(san);
		pki_free(leaf);
		pki_free(mid);
	}
}

int main(int argc, char **argv)
{
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	usual = hostile_usual(HS_CLIENT);
	g_test_add_func("/hostile-certs/names", test_names);
	g_test_add_func("/hostile-certs/common-name", test_common_name);
	g_test_add_func("/hostile-certs/critical", test_critical);
	g_test_add_func("/hostile-certs/constraints", test_constraints);
	r = g_test_run();
	pair_pki_free();
	return r;
}
