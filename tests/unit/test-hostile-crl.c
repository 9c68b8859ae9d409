// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lists of revoked certificates that are old, of tomorrow, by somebody else, of odd content, or
 * very long: what they cost to load, and at each handshake. Against both of our roles.
 */
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#include "forge-der.h"
#include "forge.h"
#include "hostile-world.h"

#define MANY 100000
#define LOOKUP_LIMIT 3.0	/* ordinary mutual handshakes, for one with the long list */
#define LOAD_LIMIT 1500.0	/* ... to load it, once */
#define MEMORY_LIMIT (8 << 20)	/* bytes that stay; 93 MiB with what the library has read */
#define REVOKED_FIELD 5
#define UTC_TIME 0x17
#define HUGE_SERIAL 400

static gint64 usual[HS_N_ROLES];

/* A serial of @len bytes that begins with @n. */
static void put_entry(GByteArray *list, uint32_t n, const uint8_t *serial, size_t len)
{
	uint8_t bytes[HUGE_SERIAL] = { 0x40, (uint8_t)(n >> 24), (uint8_t)(n >> 16),
					  (uint8_t)(n >> 8), (uint8_t)n };
	GByteArray *entry = g_byte_array_new();

	if (serial)
		memcpy(bytes, serial, len);
	der_put(entry, DER_INTEGER, bytes, len);
	der_put(entry, UTC_TIME, "200101000000Z", 13);
	der_append(list, der_wrap(DER_SEQUENCE, entry));
}

static char *crl_pem(GByteArray *der)
{
	gnutls_datum_t text;
	char *pem;

	g_assert_cmpint(gnutls_pem_base64_encode2("X509 CRL",
						  &(gnutls_datum_t){ der->data, der->len },
						  &text), ==, 0);
	g_byte_array_unref(der);
	pem = g_strndup((char *)text.data, text.size);
	gnutls_free(text.data);
	return pem;
}

/* A current list by @issuer with @entries (freed), which are DER. */
static char *crl_of(const struct pki_cert *issuer, GByteArray *entries)
{
	g_autofree char *plain = pki_crl(issuer, NULL, -60, 3600);
	gnutls_datum_t pem = { (unsigned char *)plain, (unsigned int)strlen(plain) }, der;
	GByteArray *tbs;

	g_assert_cmpint(gnutls_pem_base64_decode2("X509 CRL", &pem, &der), ==, 0);
	/* The library writes an empty one. */
	tbs = der_tbs_replace(der.data, der_tbs_field(der.data, REVOKED_FIELD),
			      der_wrap(DER_SEQUENCE, entries));
	tbs = der_sign(tbs, der_next(der_content(der.data)), issuer->key);
	gnutls_free(der.data);
	return crl_pem(tbs);
}

/* @n entries, and the serial of @revoked as the last. */
static char *long_crl(unsigned int n, const struct pki_cert *revoked)
{
	GByteArray *list = g_byte_array_new();
	uint8_t serial[32];
	size_t len = sizeof(serial);

	for (unsigned int i = 0; i < n; i++)
		put_entry(list, i, NULL, 16);
	g_assert_cmpint(gnutls_x509_crt_get_serial(revoked->crt, serial, &len), ==, 0);
	put_entry(list, 0, serial, len);
	return crl_of(ca, list);
}

/* Our end @ours against a peer that is as it should be, with @crl. */
static gint64 meet(enum hs_role ours, struct engine *engine, const struct pki_cert *peer,
		   enum hs_outcome outcome, const char *reason)
{
	struct hostile h;
	gint64 spent;

	hostile_open(&h, ours, NULL);
	session_free(h.pair.session[ours]);
	g_assert_cmpint(session_new(&h.pair.session[ours], engine, &h.pair.job[ours],
				    h.pair.fd[ours]), ==, 0);
	hostile_greet(&h);
	hostile_authenticate(&h, peer->pem, peer->key, 0x0403, 0);
	g_assert_true(hostile_settle(&h));
	g_test_message("%s: %s: %s", hs_role_name(ours),
		       hs_outcome_name(h.pair.result[ours].outcome), h.pair.result[ours].reason);
	assert_outcome(&h.pair, ours, outcome);
	assert_reason(&h.pair, ours, reason);
	spent = h.spent;
	session_free(h.pair.session[ours]);
	h.pair.session[ours] = NULL;
	hostile_close(&h);
	return spent;
}

static struct side side_of(enum hs_role ours, const char *crl)
{
	struct side side = ours == HS_CLIENT ? plain_client() : plain_server();

	if (ours == HS_CLIENT) {
		side.chain = client_cert->pem;
		side.key = client_cert;
	}
	side.crl = crl;
	return side;
}

static const struct pki_cert *peer_of(enum hs_role ours)
{
	return ours == HS_CLIENT ? server_cert : client_cert;
}

/* KiB that are in memory. */
static unsigned long resident(void)
{
	g_autofree char *text = NULL;
	unsigned long pages = 0;

	g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
	g_assert_cmpint(sscanf(text, "%*u %lu", &pages), ==, 1);
	return pages * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
}

/* Memory: what the list needs, not what the library needs to read it. */
static void load_many(struct side *side, enum hs_role ours)
{
	unsigned long before = resident(), rss;
	size_t heap = mallinfo2().uordblks + mallinfo2().hblkhd;
	gint64 start = cpu_us();

	make_engine(side);
	hostile_at_most("to load it", cpu_us() - start, ours, usual[ours], LOAD_LIMIT);
	heap = mallinfo2().uordblks + mallinfo2().hblkhd - heap;
	rss = resident();
	rss = rss > before ? rss - before : 0;
	if (mallinfo2().uordblks == 0) {	/* memcheck's, which keeps what was freed */
		g_test_message("malloc() is not the C library's: what stays is not looked at");
		return;
	}
	g_test_message("%d entries: %zu KiB of heap and %lu KiB in memory stay, limit %d", MANY,
		       heap >> 10, rss, MEMORY_LIMIT >> 10);
	g_assert_cmpuint(heap, <, MEMORY_LIMIT);
#ifndef __SANITIZE_ADDRESS__	/* keeps it, too */
	g_assert_cmpuint(rss, <, MEMORY_LIMIT >> 10);
#endif
}

static void test_many(void)
{
	struct pki_cert *gone = pki_issue(&(struct pki_spec){ .cn = "gone", .dns = { NAME } }, ca);
	g_autofree char *crl = long_crl(MANY, gone);

	for (unsigned int ours = 0; ours < HS_N_ROLES; ours++) {
		struct side side = side_of(ours, crl);
		gint64 least = G_MAXINT64, spent;

		load_many(&side, ours);
		for (unsigned int i = 0; i < HOSTILE_RUNS; i++) {
			spent = meet(ours, side.engine, peer_of(ours), HS_OK, "");
			least = MIN(least, spent);
		}
		usual[ours] = hostile_usual(ours);	/* near in time */
		hostile_at_most("a handshake with it", least, ours, usual[ours], LOOKUP_LIMIT);
		meet(ours, side.engine, gone, HS_CERT_REVOKED, "is revoked according to crl.pem");
		drop_engine(&side);
	}
	pki_free(gone);
}

/* What is said of a peer by @crl, PEM, in both roles. */
static void check(const char *crl, const struct pki_cert *peer, enum hs_outcome outcome,
		  const char *reason)
{
	for (unsigned int ours = 0; ours < HS_N_ROLES; ours++) {
		struct side side = side_of(ours, crl);

		make_engine(&side);
		meet(ours, side.engine, peer ? peer : peer_of(ours), outcome, reason);
		drop_engine(&side);
	}
}

/* Refused when it is loaded. */
static void refuse(const char *crl, const char *expected)
{
	for (unsigned int ours = 0; ours < HS_N_ROLES; ours++) {
		struct side side = side_of(ours, crl);
		char reason[512] = "";

		g_assert_cmpint(try_engine(&side, reason, sizeof(reason)), <, 0);
		g_test_message("%s", reason);
		g_assert_nonnull(strstr(reason, expected));
	}
}

static void test_dates(void)
{
	g_autofree char *old = pki_crl(ca, NULL, -7200, -60);
	g_autofree char *future = pki_crl(ca, NULL, 3600, 7200);
	g_autofree char *reversed = pki_crl(ca, NULL, 3600, -3600);
	g_autofree char *current = pki_crl(ca, NULL, -60, 3600);
	g_autofree char *both = g_strconcat(old, future, NULL);
	g_autofree char *all = g_strconcat(old, future, current, NULL);

	check(old, NULL, HS_CERT_CRL_STALE, "the list in crl.pem is out of date since");
	check(future, NULL, HS_CERT_CRL_STALE, "is the clock right?");
	check(reversed, NULL, HS_CERT_CRL_STALE, "the list in crl.pem is out of date since");
	check(both, NULL, HS_CERT_CRL_STALE, "the list in crl.pem is dated");
	check(all, NULL, HS_OK, "");
}

/* In the issuer's name with another key; by one who may not; by one whom the list is not of. */
static void test_signer(void)
{
	const struct pki_spec no_crl = { .cn = "no CRLs", .ca = true,
					 .usage = GNUTLS_KEY_KEY_CERT_SIGN };
	struct pki_cert *namesake = pki_issue(&(struct pki_spec){ .cn = "test CA", .ca = true }, NULL);
	struct pki_cert *mid = pki_issue(&no_crl, ca);
	struct pki_cert *leaf = pki_issue(&(struct pki_spec){ .dns = { NAME } }, mid);
	g_autofree char *by_namesake = pki_crl(namesake, NULL, -60, 3600);
	g_autofree char *by_mid = pki_crl(mid, NULL, -60, 3600);
	g_autofree char *by_peer = pki_crl(server_cert, NULL, -60, 3600);
	g_autofree char *chain = pki_chain(leaf, mid, NULL);
	struct pki_cert *sent = g_memdup2(leaf, sizeof(*leaf));

	refuse(by_namesake, "is not signed by that issuer's certificate");
	check(by_peer, NULL, HS_OK, "");	/* counts for nobody, which is warned of */
	sent->pem = chain;
	check(by_mid, sent, HS_CERT_CRL_STALE, "is not signed by its issuer");
	g_free(sent);
	pki_free(leaf);
	pki_free(mid);
	pki_free(namesake);
}

/* @cert with another serial number, signed again. */
static void set_serial(struct pki_cert *cert, const uint8_t *serial, size_t len)
{
	gnutls_datum_t der;

	g_assert_cmpint(gnutls_x509_crt_set_serial(cert->crt, serial, len), ==, 0);
	g_assert_cmpint(gnutls_x509_crt_sign2(cert->crt, ca->crt, ca->key, GNUTLS_DIG_SHA256, 0),
			==, 0);
	g_assert_cmpint(gnutls_x509_crt_export2(cert->crt, GNUTLS_X509_FMT_DER, &der), ==, 0);
	forge_become(cert, g_byte_array_new_take(g_memdup2(der.data, der.size), der.size));
	gnutls_free(der.data);
}

static char *crl_with_serial(const uint8_t *serial, size_t len)
{
	GByteArray *list = g_byte_array_new();

	put_entry(list, 0, serial, len);
	return crl_of(ca, list);
}

/* RFC 5280 allows 20 bytes. */
static void test_serials(void)
{
	static const size_t lens[] = { 1, 20, 21, 100, 128 };
	struct pki_cert *odd = pki_issue(&(struct pki_spec){ .dns = { NAME } }, ca);
	uint8_t serial[HUGE_SERIAL];

	memset(serial, 0x5a, sizeof(serial));
	for (size_t i = 0; i < G_N_ELEMENTS(lens); i++) {
		g_autofree char *crl = crl_with_serial(serial, lens[i]);
		g_autofree char *shorter = crl_with_serial(serial, lens[i] - (lens[i] > 1));

		set_serial(odd, serial, lens[i]);
		check(crl, odd, HS_CERT_REVOKED, "is revoked according to crl.pem");
		check(crl, NULL, HS_OK, "");
		if (lens[i] > 1)
			check(shorter, odd, HS_OK, "");
	}
	for (size_t len = 129; len <= HUGE_SERIAL; len += HUGE_SERIAL - 129) {
		g_autofree char *crl = crl_with_serial(serial, len);
		g_autofree char *other = crl_with_serial(serial, 20);

		refuse(crl, "a list in it cannot be read");
		set_serial(odd, serial, len);
		check(other, odd, HS_CERT_INVALID, "has a serial number of more than 128 bytes");
		check(NULL, odd, HS_OK, "");
	}
	pki_free(odd);
}

/* Zeros in front make no other number, nor do they make one that is listed. */
static void test_zeros(void)
{
	static const uint8_t padded[] = { 0, 0, 0x5a, 0x5a }, number[] = { 0x5a, 0x5a };
	static const uint8_t zero[] = { 0, 0 };
	struct pki_cert *odd = pki_issue(&(struct pki_spec){ .dns = { NAME } }, ca);
	g_autofree char *crl = crl_with_serial(padded, sizeof(padded));
	g_autofree char *empty = crl_with_serial(zero, sizeof(zero));

	set_serial(odd, number, sizeof(number));
	check(crl, odd, HS_CERT_REVOKED, "is revoked");
	check(empty, odd, HS_OK, "");
	pki_free(odd);
}

/* A critical extension of an entry: whatever it says, its certificate is on the list. */
static void test_entry_extension(void)
{
	GByteArray *extension = g_byte_array_new(), *entry = g_byte_array_new();
	GByteArray *list = g_byte_array_new();
	g_autofree char *crl = NULL;
	uint8_t serial[32];
	size_t len = sizeof(serial);

	g_assert_cmpint(gnutls_x509_crt_get_serial(server_cert->crt, serial, &len), ==, 0);
	der_put(extension, DER_OID, "\x2a\x03\x04", 3);
	g_byte_array_append(extension, (const uint8_t *)"\1\1\xff", 3);
	der_put(extension, DER_OCTET_STRING, "\5\0", 2);
	der_put(entry, DER_INTEGER, serial, len);
	der_put(entry, UTC_TIME, "200101000000Z", 13);
	der_append(entry, der_wrap(DER_SEQUENCE, der_wrap(DER_SEQUENCE, extension)));
	der_append(list, der_wrap(DER_SEQUENCE, entry));
	crl = crl_of(ca, list);
	check(crl, server_cert, HS_CERT_REVOKED, "is revoked");
}

int main(int argc, char **argv)
{
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (unsigned int i = 0; i < HS_N_ROLES; i++)
		usual[i] = hostile_usual(i);
	g_test_add_func("/hostile-crl/many", test_many);
	g_test_add_func("/hostile-crl/dates", test_dates);
	g_test_add_func("/hostile-crl/signer", test_signer);
	g_test_add_func("/hostile-crl/serials", test_serials);
	g_test_add_func("/hostile-crl/zeros", test_zeros);
	g_test_add_func("/hostile-crl/entry-extension", test_entry_extension);
	r = g_test_run();
	pair_pki_free();
	return r;
}
