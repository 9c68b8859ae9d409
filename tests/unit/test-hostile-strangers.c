// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a stranger may make us read before the first signature of a chain is checked: extensions
 * that the library parses when it imports a certificate, or when it asks who has issued it. Ten
 * certificates of 16 KiB, by nobody whom we know, or in the name of our authority.
 */
#include <string.h>

#include "chain-meet.h"
#include "forge-der.h"

#define AKI "2.5.29.35"
#define CHAIN_MAX 10
#define COST_LIMIT 6.0	/* ordinary mutual handshakes */

static gint64 usual[HS_N_ROLES];

static GByteArray *directory_names(unsigned int parts, unsigned int count)
{
	GByteArray *name = g_byte_array_new(), *names = g_byte_array_new();

	for (unsigned int i = 0; i < parts; i++)
		g_byte_array_append(name, (const uint8_t *)"\x31\x0a\x30\x08\6\3\x55\4\3\x0c\1x", 12);
	name = der_wrap(DER_SEQUENCE, name);
	while (count-- > 0)
		der_put(names, 0xa4, name->data, name->len);
	g_byte_array_unref(name);
	return names;
}

/* [0] key identifier, [1] issuer, [2] serial */
static GByteArray *authority(unsigned int parts, unsigned int count)
{
	GByteArray *fields = g_byte_array_new();

	der_put(fields, 0x80, "0123456789abcdefghij", 20);
	der_append(fields, der_wrap(0xa1, directory_names(parts, count)));
	der_put(fields, 0x82, "\1", 1);
	return der_wrap(DER_SEQUENCE, fields);
}

/* @n certificates, each with what is too much of it. */
struct stranger_chain {
	const char *name;
	unsigned int n;
	enum { FOREIGN, NAMESAKE, LOOK_ALIKE } kind;
	enum { SAN_NAMES, AUTHORITY, UNKNOWN } what;
	unsigned int parts, count;	/* UNKNOWN: count of extensions */
	bool within;			/* the limits */
};

static void spoil(struct pki_cert *cert, const struct pki_cert *issuer,
		  const struct stranger_chain *t)
{
	GByteArray *value;

	if (t->what == UNKNOWN) {
		forge_add_unknown(cert, issuer, t->count);
		return;
	}
	value = t->what == AUTHORITY ? authority(t->parts, t->count) :
		der_wrap(DER_SEQUENCE, directory_names(t->parts, t->count));
	forge_add(cert, issuer, t->what == AUTHORITY ? AKI : OID_SAN, value, false);
	g_byte_array_unref(value);
}

/*
 * FOREIGN: each is issued by the next, the last by somebody else's authority. NAMESAKE: all say
 * that they are our authority, signed by itself. LOOK_ALIKE: all have one name, not ours.
 */
static char *make_chain(const struct stranger_chain *t, gnutls_x509_privkey_t *ret_key)
{
	static struct pki_cert *kept;
	const char *cn = t->kind == NAMESAKE ? "test CA" : "x";
	struct pki_cert *self = pki_issue(&(struct pki_spec){ .cn = cn, .ca = true }, NULL);
	const struct pki_cert *by = t->kind == FOREIGN ? other_ca : self;
	GString *pem = g_string_new(NULL);
	struct pki_cert *cert[CHAIN_MAX];

	for (unsigned int i = 0; i < t->n; i++) {
		g_autofree char *own = g_strdup_printf("x %u", i);

		cert[i] = pki_issue(&(struct pki_spec){ .cn = t->kind == FOREIGN ? own : cn,
							.ca = true }, by);
		spoil(cert[i], by, t);
		g_string_prepend(pem, cert[i]->pem);
		if (t->kind == FOREIGN)
			by = cert[i];
	}
	pki_free(self);
	pki_free(kept);
	kept = cert[t->n - 1];
	for (unsigned int i = 0; i + 1 < t->n; i++)
		pki_free(cert[i]);
	*ret_key = kept->key;
	return g_string_free(pem, FALSE);
}

static const struct stranger_chain chains[] = {
	{ "names-long", 8, FOREIGN, SAN_NAMES, 1200, 1, false },
	{ "names-many", 8, FOREIGN, SAN_NAMES, 1, 480, false },
	{ "names-namesake", 8, NAMESAKE, SAN_NAMES, 120, 10, false },
	{ "names-within", 8, FOREIGN, SAN_NAMES, 17, 1, true },
	{ "names-within-one", 1, FOREIGN, SAN_NAMES, 160, 1, true },
	{ "authority-long", 8, FOREIGN, AUTHORITY, 1200, 1, false },
	{ "authority-namesake", 8, NAMESAKE, AUTHORITY, 1200, 1, false },
	{ "authority-look-alike", 8, LOOK_ALIKE, AUTHORITY, 120, 10, false },
	{ "authority-within", 10, FOREIGN, AUTHORITY, 10, 1, true },
	{ "authority-within-namesake", 10, NAMESAKE, AUTHORITY, 10, 1, true },
	{ "authority-within-look-alike", 10, LOOK_ALIKE, AUTHORITY, 10, 1, true },
	{ "authority-within-one", 1, NAMESAKE, AUTHORITY, 155, 1, true },
	{ "unknown-50", 8, FOREIGN, UNKNOWN, 0, 50, true },
	{ "unknown-50-look-alike", 8, LOOK_ALIKE, UNKNOWN, 0, 50, true },
	{ "unknown-1200", 8, FOREIGN, UNKNOWN, 0, 1200, false },
	{ "unknown-1200-look-alike", 8, LOOK_ALIKE, UNKNOWN, 0, 1200, false },
};

static void test_chain(gconstpointer data)
{
	const struct stranger_chain *t = data;
	const struct expected expected = {
		t->within ? HS_CERT_UNKNOWN_ISSUER : HS_CERT_INVALID,
		t->within ? "is not in the trust store" :
		t->what == UNKNOWN ? "more than 64 extensions" : "more than 500 names",
	};
	gnutls_x509_privkey_t key;
	g_autofree char *chain = make_chain(t, &key);

	for (unsigned int ours = 0; ours < HS_N_ROLES; ours++)
		chain_meet(t->name, ours, chain, key, 0x0403, &expected, usual[ours], COST_LIMIT);
}

int main(int argc, char **argv)
{
	char path[128];
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (unsigned int i = 0; i < HS_N_ROLES; i++)
		usual[i] = hostile_usual(i);
	for (size_t i = 0; i < G_N_ELEMENTS(chains); i++) {
		g_snprintf(path, sizeof(path), "/hostile-strangers/%s", chains[i].name);
		g_test_add_data_func(path, &chains[i], test_chain);
	}
	r = g_test_run();
	pair_pki_free();
	return r;
}
