// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificates of a signer we trust, whose content is made to deceive or to take long. */
#include <string.h>

#include "chain-meet.h"
#include "forge-der.h"

#define ANY_COST 40.0	/* ordinary mutual handshakes, for who has been certified by us */

static gint64 usual[HS_N_ROLES];

/* In both of our roles; a server does not ask its clients for a name. */
static void present(const char *name, const struct pki_cert *leaf, const struct pki_cert *mid,
		    enum hs_outcome outcome, const char *reason)
{
	const struct expected is = { outcome, reason }, ok = { HS_OK, "" };
	const struct expected expected[HS_N_ROLES] = {
		[HS_CLIENT] = is,
		[HS_SERVER] = outcome == HS_CERT_NAME ? ok : is,
	};

	chain_present(name, leaf, mid, NULL, expected, usual, ANY_COST);
}

static void test_names(void)
{
	static const struct {
		const char *name;
		uint8_t tag;
		const char *content;
		size_t len;
		unsigned int count;
		bool unreadable;
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
		{ "*.", 0x82, BYTES("*."), 1 },
		{ "*.*.example.com", 0x82, BYTES("*.*.example.com"), 1 },
		{ "nfs.*.com", 0x82, BYTES("nfs.*.com"), 1 },
		{ "*nfs", 0x82, BYTES("*nfs.example.com"), 1 },
		{ "**", 0x82, BYTES("**.example.com"), 1 },
		{ "one deeper", 0x82, BYTES("*." NAME), 1 },
		{ "one higher", 0x82, BYTES("*.com"), 1 },
		{ "dot first", 0x82, BYTES(".example.com"), 1 },
		{ "dots", 0x82, BYTES("nfs..example.com"), 1 },
		{ "blank", 0x82, BYTES(" " NAME), 1 },
		{ "line", 0x82, BYTES(NAME "\n"), 1 },
		{ "control", 0x82, BYTES("\33[31m" NAME "\7"), 1 },
		{ "UTF-8", 0x82, BYTES("nfs.ex\xc3\xa4mple.com"), 1 },
		{ "not UTF-8", 0x82, BYTES("\xff\xfe\xc3.example.com"), 1 },
		{ "delete", 0x82, BYTES(NAME "\x7f"), 1 },
		{ "empty", 0x82, BYTES(""), 1, true },
		{ "500 empty ones", 0x82, BYTES(""), 500, true },
		{ "as an address of mail", 0x81, BYTES(NAME), 1 },
		{ "as a URI", 0x86, BYTES(NAME), 1 },
		{ "address of 0", 0x87, BYTES(""), 1, true },
		{ "address of 3", 0x87, BYTES("\x7f\0\0"), 1 },
		{ "address of 5", 0x87, BYTES("\x7f\0\0\1\0"), 1 },
		{ "address of 15", 0x87, BYTES("\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0"), 1 },
		{ "address of 17", 0x87, BYTES("\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1\0"), 1 },
		{ "500 addresses of 3", 0x87, BYTES("\x7f\0\0"), 500 },
		{ "500 of mail", 0x81, BYTES("a@b.example"), 500 },
		{ "500 registered IDs", 0x88, BYTES("\x2a\x03"), 500 },
		{ "500 other names", 0xa0, BYTES("\6\2\x2a\3\xa0\3\x0c\1x"), 500 },
		{ "100 directory names", 0xa4,
		  BYTES("\x30\x0c\x31\x0a\x30\x08\6\3\x55\4\3\x0c\1x"), 100 },
		{ "500 of X.400", 0xa3, BYTES("\x30\0"), 500, true },
		{ "500 of EDI", 0xa5, BYTES("\xa1\3\x0c\1x"), 500, true },
		{ "501 other names", 0xa0, BYTES("\6\2\x2a\3\xa0\3\x0c\1x"), 501 },
		{ "no kind of name", 0x8f, BYTES("x"), 1, true },
		{ "2500 addresses", 0x87, BYTES("\x7f\0\0\1"), 2500 },
		{ "2500 URIs", 0x86, BYTES("a://"), 2500 },
		{ "3000 registered IDs", 0x88, BYTES("\x2a\x03"), 3000 },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct pki_cert *leaf = pki_issue(&(struct pki_spec){ .cn = NAME }, ca);
		GByteArray *value = der_names(cases[i].tag, cases[i].content, cases[i].len,
					  cases[i].count);

		forge_add(leaf, ca, OID_SAN, value, false);
		present(cases[i].name, leaf, NULL,
			cases[i].count > 500 || cases[i].unreadable ? HS_CERT_INVALID
								    : HS_CERT_NAME,
			cases[i].count > 500 ? "more than 500 names" :
			cases[i].unreadable ? "certificate 1 of the " : "");
		g_byte_array_unref(value);
		pki_free(leaf);
	}
}

static void test_common_name(void)
{
	static const char *const cn[] = { NAME, "\xe2\x80\xaemoc.elpmaxe", "a\nforged line", "\xff\xfe" };

	for (size_t i = 0; i < G_N_ELEMENTS(cn); i++) {
		struct pki_cert *leaf = pki_issue(&(struct pki_spec){ .cn = cn[i] }, ca);

		present("common name", leaf, NULL, HS_CERT_NAME, "no DNS name");
		pki_free(leaf);
	}
}

static void test_critical(void)
{
	GByteArray *value = der_names(0x04, "x", 1, 1);
	struct pki_cert *mid = pki_issue(&(struct pki_spec){ .cn = "mid", .ca = true }, ca);
	struct pki_cert *leaf = pki_issue(&(struct pki_spec){ .dns = { NAME } }, mid);
	struct pki_cert *own = pki_issue(&(struct pki_spec){ .dns = { NAME } }, ca);

	present("no extension", leaf, mid, HS_OK, "");
	forge_add(mid, ca, OID_UNKNOWN, value, true);
	present("critical, issuer", leaf, mid, HS_CERT_INVALID, "critical extension");
	forge_add(own, ca, OID_UNKNOWN, value, true);
	present("critical, leaf", own, NULL, HS_CERT_INVALID, "critical extension");
	g_byte_array_unref(value);
	pki_free(own);
	pki_free(leaf);
	pki_free(mid);
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
		GByteArray *tree = der_constraints(cases[i].which, cases[i].tree, cases[i].trees);
		GByteArray *san = der_names(0x82, NAME, strlen(NAME), cases[i].names);

		forge_add(mid, ca, OID_NAME_CONSTRAINTS, tree, true);
		forge_add(leaf, mid, OID_SAN, san, false);
		present(cases[i].name, leaf, mid, cases[i].outcome, "");
		g_byte_array_unref(tree);
		g_byte_array_unref(san);
		pki_free(leaf);
		pki_free(mid);
	}
}

/* Those that real peers send to real kernels. */
static void test_bad(void)
{
	const struct hostile_pki pki = { .name = NAME, .ca = ca };

	for (size_t i = 0; i < n_bad_certs; i++) {
		struct pki_cert *mid = NULL, *leaf = bad_certs[i].make(&pki, &mid);

		present(bad_certs[i].name, leaf, mid, bad_certs[i].outcome, bad_certs[i].reason);
		pki_free(leaf);
		pki_free(mid);
	}
}

int main(int argc, char **argv)
{
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (unsigned int i = 0; i < HS_N_ROLES; i++)
		usual[i] = hostile_usual(i);
	g_test_add_func("/hostile-certs/names", test_names);
	g_test_add_func("/hostile-certs/common-name", test_common_name);
	g_test_add_func("/hostile-certs/critical", test_critical);
	g_test_add_func("/hostile-certs/constraints", test_constraints);
	g_test_add_func("/hostile-certs/bad", test_bad);
	r = g_test_run();
	pair_pki_free();
	return r;
}
