// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Chains whose signatures are good and whose certificates were not allowed to issue what they
 * issued, or say what nobody here understands. Against both of our roles.
 */
#include <string.h>

#include "chain-meet.h"
#include "forge-der.h"

#define POLICY_CONSTRAINTS "2.5.29.36"
#define INHIBIT_ANY_POLICY "2.5.29.54"
#define POLICIES "2.5.29.32"
#define PURPOSE "2.5.29.37"
#define BASIC_CONSTRAINTS "2.5.29.19"
#define KEY_USAGE "2.5.29.15"
#define COST_LIMIT 8.0	/* ordinary mutual handshakes */

static gint64 usual[HS_N_ROLES];

/* An extension of the intermediate authority, or of the peer's own certificate. */
struct path {
	const char *name;
	enum hs_outcome outcome;
	const char *reason;
	struct pki_spec mid;		/* cn and ca are set */
	const char *oid;		/* NULL: none is added */
	const char *value;
	size_t len;
	bool critical, on_leaf;
	const char *san;		/* content of the peer's subjectAltName; NULL: NAME */
	size_t san_len;
};

#define OK HS_OK, ""
#define NOT_ALLOWED HS_CERT_INVALID, "was not allowed to issue it"
#define UNKNOWN HS_CERT_INVALID, "has a critical extension that is not understood"
#define MID(o, v, c) .oid = o, .value = v, .len = sizeof(v) - 1, .critical = c
#define LEAF(o, v, c) MID(o, v, c), .on_leaf = true
#define NAMES(v) .san = v, .san_len = sizeof(v) - 1
#define DNS "\x82\x0f" NAME
#define LOOPBACK "\x87\x04\x7f\0\0\1"

static const struct path paths[] = {
	{ "plain", OK },
	/* who may issue at all (RFC 5280 4.2.1.9, 4.2.1.3) */
	{ "no-ca", HS_CERT_INVALID, "is not a certificate authority",
	  MID(BASIC_CONSTRAINTS, "\x30\0", true) },
	{ "ca-false", HS_CERT_INVALID, "is not a certificate authority",
	  MID(BASIC_CONSTRAINTS, "\x30\3\1\1\0", true) },
	{ "ca-not-critical", OK, MID(BASIC_CONSTRAINTS, "\x30\3\1\1\xff", false) },
	{ "basic-malformed", HS_CERT_INVALID, "", MID(BASIC_CONSTRAINTS, "\x30\5\1", true) },
	{ "path-length-0", OK, MID(BASIC_CONSTRAINTS, "\x30\6\1\1\xff\2\1\0", true) },
	/* None, says the library; what it is worth the authority above has certified. */
	{ "path-length-minus-1", OK,
	  MID(BASIC_CONSTRAINTS, "\x30\6\1\1\xff\2\1\xff", true) },
	{ "path-length-huge", HS_CERT_INVALID, "is not a certificate authority",
	  MID(BASIC_CONSTRAINTS, "\x30\x0d\1\1\xff\2\x08\x7f\xff\xff\xff\xff\xff\xff\xff", true) },
	{ "no-cert-sign", NOT_ALLOWED, .mid = { .usage = GNUTLS_KEY_CRL_SIGN } },
	{ "usage-malformed", HS_CERT_INVALID, "has an extension that cannot be read",
	  MID(KEY_USAGE, "\3\0", true) },
	{ "usage-empty", NOT_ALLOWED, MID(KEY_USAGE, "\3\1\0", true) },
	{ "leaf-usage", HS_CERT_PURPOSE, "is not for signatures",
	  LEAF(KEY_USAGE, "\3\2\5\x20", true) },
	/* what is not understood */
	{ "unknown-critical", UNKNOWN, MID("1.3.6.1.4.1.55555.3", "\5\0", true) },
	{ "unknown-critical-leaf", UNKNOWN, LEAF("1.3.6.1.4.1.55555.3", "\5\0", true) },
	{ "unknown", OK, MID("1.3.6.1.4.1.55555.3", "\5\0", false) },
	{ "policy-constraints", UNKNOWN, MID(POLICY_CONSTRAINTS, "\x30\3\x80\1\0", true) },
	{ "policy-constraints-leaf", UNKNOWN, LEAF(POLICY_CONSTRAINTS, "\x30\3\x80\1\0", true) },
	/* No policy is asked for here. */
	{ "inhibit-any-policy", OK, MID(INHIBIT_ANY_POLICY, "\2\1\0", true) },
	{ "policies", OK, MID(POLICIES, "\x30\6\x30\4\6\2\x2a\3", true) },
	{ "policies-malformed", OK, LEAF(POLICIES, "\x30\6\x30", false) },
	{ "purpose-critical", HS_CERT_PURPOSE, "its extended key usage",
	  LEAF(PURPOSE, "\x30\4\6\2\x2a\3", true) },
	{ "purpose-malformed", HS_CERT_PURPOSE, "", LEAF(PURPOSE, "\x30\4\6", true) },
	/* names (4.2.1.10): permitted [0], excluded [1] */
	{ "dns-permitted", OK,
	  MID(OID_NAME_CONSTRAINTS, "\x30\x11\xa0\x0f\x30\x0d\x82\x0b" "example.com", true) },
	{ "dns-not-critical", NOT_ALLOWED,
	  MID(OID_NAME_CONSTRAINTS, "\x30\x11\xa0\x0f\x30\x0d\x82\x0b" "example.org", false) },
	{ "dns-all-excluded", NOT_ALLOWED,
	  MID(OID_NAME_CONSTRAINTS, "\x30\6\xa1\4\x30\2\x82\0", true) },
	{ "ip-permitted", OK, NAMES(DNS LOOPBACK),
	  MID(OID_NAME_CONSTRAINTS, "\x30\x0e\xa0\x0c\x30\x0a\x87\x08\x7f\0\0\0\xff\0\0\0", true) },
	{ "ip-not-permitted", NOT_ALLOWED, NAMES(DNS LOOPBACK),
	  MID(OID_NAME_CONSTRAINTS, "\x30\x0e\xa0\x0c\x30\x0a\x87\x08\x0a\0\0\0\xff\0\0\0", true) },
	{ "ip-excluded", NOT_ALLOWED, NAMES(DNS LOOPBACK),
	  MID(OID_NAME_CONSTRAINTS, "\x30\x0e\xa1\x0c\x30\x0a\x87\x08\x7f\0\0\0\xff\0\0\0", true) },
	{ "ip-none-excluded", OK, NAMES(DNS LOOPBACK),
	  MID(OID_NAME_CONSTRAINTS, "\x30\x0e\xa1\x0c\x30\x0a\x87\x08\x0a\0\0\0\xff\0\0\0", true) },
	{ "ip-all-excluded", NOT_ALLOWED, NAMES(DNS LOOPBACK),
	  MID(OID_NAME_CONSTRAINTS, "\x30\x0e\xa1\x0c\x30\x0a\x87\x08\0\0\0\0\0\0\0\0", true) },
	{ "ip-of-5", NOT_ALLOWED, NAMES(DNS LOOPBACK),
	  MID(OID_NAME_CONSTRAINTS, "\x30\x0b\xa0\x09\x30\7\x87\5\x7f\0\0\0\xff", true) },
	{ "ip-of-33", NOT_ALLOWED, NAMES(DNS LOOPBACK),
	  MID(OID_NAME_CONSTRAINTS, "\x30\x27\xa0\x25\x30\x23\x87\x21"
	      "123456789012345678901234567890123", true) },
	{ "ip-bad-mask", NOT_ALLOWED, NAMES(DNS LOOPBACK),
	  MID(OID_NAME_CONSTRAINTS, "\x30\x0e\xa0\x0c\x30\x0a\x87\x08\x7f\0\0\1\xff\0\xff\0",
	      true) },
	{ "mail-permitted", OK,
	  MID(OID_NAME_CONSTRAINTS, "\x30\x09\xa0\7\x30\5\x81\3" "a.b", true) },
	{ "names-malformed", HS_CERT_INVALID, "",
	  MID(OID_NAME_CONSTRAINTS, "\x30\x11\xa0\x0f\x30", true) },
	{ "names-no-sequence", HS_CERT_INVALID, "", MID(OID_NAME_CONSTRAINTS, "\4\3abc", true) },
	{ "names-empty", OK, MID(OID_NAME_CONSTRAINTS, "\x30\0", true) },
};

static struct pki_cert *make_leaf(const struct path *t, const struct pki_cert *mid)
{
	struct pki_cert *leaf = pki_issue(&(struct pki_spec){ .cn = "leaf" }, mid);
	GByteArray *value = g_byte_array_new();
	const char *san = t->san ? t->san : DNS;

	der_put(value, DER_SEQUENCE, san, t->san ? t->san_len : strlen(DNS));
	forge_add(leaf, mid, OID_SAN, value, false);
	g_byte_array_unref(value);
	return leaf;
}

static void test_path(gconstpointer data)
{
	const struct path *t = data;
	const struct expected expected = { t->outcome, t->reason };
	struct pki_spec spec = t->mid;
	GByteArray *value = g_byte_array_new();
	struct pki_cert *mid, *leaf;

	spec.cn = "mid";
	spec.ca = true;
	mid = pki_issue(&spec, ca);
	if (t->oid)
		g_byte_array_append(value, (const uint8_t *)t->value, (guint)t->len);
	if (t->oid && !t->on_leaf)
		forge_add(mid, ca, t->oid, value, t->critical);
	leaf = make_leaf(t, mid);
	if (t->oid && t->on_leaf)
		forge_add(leaf, mid, t->oid, value, t->critical);
	chain_present(t->name, leaf, mid, NULL, (struct expected[]){ expected, expected }, usual,
		      COST_LIMIT);
	g_byte_array_unref(value);
	pki_free(leaf);
	pki_free(mid);
}

/* ca, upper, lower, leaf: what the upper one says counts for all below it. */
static void test_depth(void)
{
	static const struct {
		const char *name, *oid, *value;
		size_t len;
		struct expected expected;
	} cases[] = {
#define VALUE(v) v, sizeof(v) - 1
		{ "free", NULL, VALUE(""), { HS_OK, "" } },
		{ "path-length-1", BASIC_CONSTRAINTS, VALUE("\x30\6\1\1\xff\2\1\1"),
		  { HS_OK, "" } },
		{ "path-length-0", BASIC_CONSTRAINTS, VALUE("\x30\6\1\1\xff\2\1\0"),
		  { NOT_ALLOWED } },
		{ "permitted", OID_NAME_CONSTRAINTS,
		  VALUE("\x30\x11\xa0\x0f\x30\x0d\x82\x0b" "example.com"), { HS_OK, "" } },
		{ "not permitted", OID_NAME_CONSTRAINTS,
		  VALUE("\x30\x11\xa0\x0f\x30\x0d\x82\x0b" "example.org"),
		  { NOT_ALLOWED } },
		{ "excluded", OID_NAME_CONSTRAINTS,
		  VALUE("\x30\x11\xa1\x0f\x30\x0d\x82\x0b" "example.com"),
		  { NOT_ALLOWED } },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		const struct expected both[] = { cases[i].expected, cases[i].expected };
		const struct pki_spec spec = { .cn = "upper", .ca = true };
		struct pki_cert *upper = pki_issue(&spec, ca);
		GByteArray *value = g_byte_array_new();
		struct pki_cert *lower, *leaf;

		g_byte_array_append(value, (const uint8_t *)cases[i].value, (guint)cases[i].len);
		if (cases[i].oid)
			forge_add(upper, ca, cases[i].oid, value, true);
		lower = pki_issue(&(struct pki_spec){ .cn = "lower", .ca = true }, upper);
		leaf = pki_issue(&(struct pki_spec){ .cn = "leaf", .dns = { NAME } }, lower);
		chain_present(cases[i].name, leaf, lower, upper, both, usual, COST_LIMIT);
		g_byte_array_unref(value);
		pki_free(leaf);
		pki_free(lower);
		pki_free(upper);
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
	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
		g_snprintf(path, sizeof(path), "/hostile-paths/%s", paths[i].name);
		g_test_add_data_func(path, &paths[i], test_path);
	}
	g_test_add_func("/hostile-paths/depth", test_depth);
	r = g_test_run();
	pair_pki_free();
	return r;
}
