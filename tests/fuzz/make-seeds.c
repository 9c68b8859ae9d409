// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * make-seeds DIRECTORY: writes what fuzzers begin with to DIRECTORY/NAME/seed-*,
 * by the encoders of the program and of the TLS library. Handshakes need no more
 * than the choice of one: the peer's messages are made as they are needed.
 */
#include <glib.h>
#include <gnutls/x509.h>
#include <stdarg.h>
#include <string.h>

#include "any-message.h"
#include "fixtures.h"
#include "fuzz-tls.h"
#include "make-seeds.h"

static const char *root;

void seed(const char *fuzzer, const char *name, const GByteArray *bytes)
{
	g_autofree char *dir = g_build_filename(root, fuzzer, NULL);
	g_autofree char *path = g_strdup_printf("%s/seed-%s", dir, name);

	if (g_mkdir_with_parents(dir, 0755) < 0 ||
	    !g_file_set_contents(path, (const char *)bytes->data, bytes->len, NULL))
		g_error("%s cannot be written", path);
}

void put(GByteArray *to, const void *bytes, size_t len)
{
	g_byte_array_append(to, bytes, (guint)len);
}

void put_u8(GByteArray *to, unsigned int value)
{
	put(to, &(uint8_t){ (uint8_t)value }, 1);
}

void put_u16(GByteArray *to, unsigned int value)
{
	put_u8(to, value & 0xff);
	put_u8(to, value >> 8);
}

/* @first, when not negative, and @len bytes. */
static void seed_bytes(const char *fuzzer, const char *name, int first, const void *bytes,
		       size_t len)
{
	g_autoptr(GByteArray) out = g_byte_array_new();

	if (first >= 0)
		put_u8(out, (unsigned int)first);
	put(out, bytes, len);
	seed(fuzzer, name, out);
}

static void seed_text(const char *fuzzer, const char *name, int first, const char *text)
{
	seed_bytes(fuzzer, name, first, text, strlen(text));
}

/* The content of the first PEM block of @text that is a @label, to be gnutls_free()d. */
static gnutls_datum_t der_of(const char *text, const char *label)
{
	gnutls_datum_t pem = { (unsigned char *)(uintptr_t)text, (unsigned int)strlen(text) }, out;

	if (gnutls_pem_base64_decode2(label, &pem, &out) < 0)
		g_error("no %s", label);
	return out;
}

static void seed_der(const char *fuzzer, const char *name, int first, const char *text,
		     const char *label)
{
	gnutls_datum_t der = der_of(text, label);

	seed_bytes(fuzzer, name, first, der.data, der.size);
	gnutls_free(der.data);
}

/* The head of a message and texts behind it, in the parts that fuzz-wire.c puts together. */
static void wire_parts(void)
{
	static const struct {
		enum wire_type type;
		unsigned int n_zeros, n_texts, len;
	} parts[] = {
		{ WIRE_FILE, 6, 2, 1000 }, { WIRE_LOG, 4, 1, 1500 }, { WIRE_JOB, 18, 1, 255 },
		{ WIRE_RESULT, 12, 6, 40 }, { WIRE_SIGN, 12, 2, 60 }, { WIRE_SIGNED, 12, 1, 5000 },
		{ WIRE_ASK, 8, 1, 1000 }, { WIRE_PSK, 10, 2, 60 }, { WIRE_CERTIFICATE, 8, 1, 2000 },
		{ WIRE_KEY, 10, 3, 2000 },
	};
	char name[32];

	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
		g_autoptr(GByteArray) out = g_byte_array_new();

		put_u8(out, 1);
		put_u8(out, 1 << 2);
		put_u16(out, parts[i].type);
		put_u8(out, (parts[i].n_zeros - 1) << 2 | 1);
		for (unsigned int n = 0; n < parts[i].n_texts; n++) {
			put_u8(out, 2);
			put_u16(out, parts[i].len);
		}
		g_snprintf(name, sizeof(name), "parts-%u", parts[i].type);
		seed("wire", name, out);
	}
}

static void wire(void)
{
	for (enum wire_type type = WIRE_FILE; type < WIRE_N_TYPES; type++) {
		for (unsigned int i = 0; i < 3; i++) {
			g_autofree struct wire_message *msg = g_new0(struct wire_message, 1);
			g_autofree uint8_t *buf = g_malloc(WIRE_MAX);
			char name[32];
			int len;

			any_message(type, msg);
			len = wire_encode(msg, buf);
			if (len < 0 || len > 2048)
				continue;
			g_snprintf(name, sizeof(name), "%u-%u", type, i);
			seed_bytes("wire", name, 0, buf, (size_t)len);
		}
	}
	wire_parts();
}

static void config(void)
{
	seed_text("config", "all", -1,
		  "[debug]\nloglevel=1\ntls=9\nnl=7\ndelay_done=1\n[daemon]\nworkers=4\n"
		  "max_handshakes=100\n[authenticate]\nkeyrings=.nvme;a\\;b;\n"
		  "[authenticate.client]\nx509.truststore=/a\nx509.crl=/b\nx509.certificate=/c\n"
		  "x509.private_key=pkcs11:x\nx509.pq.certificate=/d\nx509.pq.private_key=/e\n"
		  "[authenticate.server]\nx509.truststore= /a\\sb\nx509.crl=/b\\n\n"
		  "x509.certificate=/c\nx509.private_key=/d\n");
	seed_text("config", "wrong", -1,
		  "# a comment\n\n[debug]\nloglevl=1\n[authentikate]\nx=1\n[authenticate.client]\r\n"
		  "x509.trust_store=/a\r\nx509.certificate=rel\n");
	seed_text("config", "twice", -1, "[daemon]\nworkers=2\nworkers=3\n[daemon]\nworkers=65\n");
	seed_text("config", "no-group", -1, "workers=2\n");
	seed_text("config", "not-utf8", -1, "\xef\xbb\xbf[debug]\ntls=\xff\n");
}

static void names(void)
{
	static const char *const peers[][2] = {
		{ "nfs.example.com", "*.example.com" }, { "NFS.Example.com.", "nfs.example.com" },
		{ "192.0.2.1", "\xc0\xa8\x02\x01" }, { "[2001:db8::1%eth0]", "0123456789abcdef" },
		{ "::ffff:192.0.2.1", "\xc0\xa8\x02\x01" }, { "b\xc3\xbc" "cher.example", "x" },
		{ "10.0.0.256", "" }, { "a_b.c-d.example", "*.c-d.example" },
		{ "1.0x1f", "*" }, { "xn--bcher-kva.example", "xn--bcher-kva.example" },
	};
	static const char *const identities[] = {
		"NVMe0R01 nqn.2014-08.org.nvmexpress:uuid:1 nqn.2014-08.org.nvmexpress.discovery",
		"NVMe1G02 nqn.a nqn.b AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"NVMe1R01 nqn.a nqn.b AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"NVMe2R01 x", "somebody", "",
	};
	static const char *const lines[] = {
		"2a05b2b8 I--Q---     1 perm 1f0f0000     0     0 keyring   .nfs: empty",
		"2a05b2b8 I------    12 expd 1f0f0000     0 65534 keyring   .nvme: 3",
		"00000003 IRDQUNi     1   2w 3f3f0000  1000     0 user      a: b: 4",
	};
	char name[32];

	for (size_t i = 0; i < G_N_ELEMENTS(peers); i++) {
		g_autoptr(GByteArray) out = g_byte_array_new();

		put_u8(out, 0);
		put(out, peers[i][0], strlen(peers[i][0]) + 1);
		put(out, peers[i][1], strlen(peers[i][1]));
		g_snprintf(name, sizeof(name), "peer-%zu", i);
		seed("names", name, out);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(identities); i++) {
		g_snprintf(name, sizeof(name), "identity-%zu", i);
		seed_text("names", name, 1, identities[i]);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_autoptr(GByteArray) out = g_byte_array_new();

		put_u8(out, 2);
		put(out, ".nfs", 5);
		put(out, lines[i], strlen(lines[i]));
		g_snprintf(name, sizeof(name), "line-%zu", i);
		seed("names", name, out);
	}
}

static void text(void)
{
	seed_text("text", "utf8", -1, "\x20\x01gr\xc3\xbc\xc3\x9f \xe2\x80\xae \xf0\x9f\x98\x80 \xff\xfe");
	seed_text("text", "escape", -1, "\x08\x08\x1b[2J\"\\\n\r\xc2\x9b \xef\xbb\xbf \xed\xa0\x80");
}

static void files(void)
{
	seed_text("files", "store", 0, PEM_CA_CRT PEM_OTHER_CRT PEM_MIDDLE_CRT);
	seed_der("files", "store-der", 0, PEM_CA_CRT, "CERTIFICATE");
	seed_text("files", "crl", 1, PEM_GOOD_CRL);
	seed_text("files", "crl-stale", 1, PEM_STALE_CRL);
	seed_der("files", "crl-der", 1, PEM_GOOD_CRL, "X509 CRL");
	seed_text("files", "chain", 2, PEM_CLIENT_CRT);
	seed_text("files", "chain-ed", 3, PEM_SERVER_ED_CRT);
	seed_text("files", "chain-rsa", 2, PEM_CLIENT_RSA_CRT PEM_CA_CRT);
	seed_der("files", "chain-der", 2, PEM_SERVER_CRT, "CERTIFICATE");
	seed_text("files", "no-certificate", 0, "-----BEGIN CERTIFICATE-----\nAAAA\n");
}

static void encrypted(const char *name, unsigned int flags, gnutls_x509_crt_fmt_t format)
{
	gnutls_datum_t pem = { (unsigned char *)(uintptr_t)PEM_SERVER_KEY,
			       sizeof(PEM_SERVER_KEY) - 1 }, out;
	gnutls_x509_privkey_t key;

	if (gnutls_x509_privkey_init(&key) < 0 ||
	    gnutls_x509_privkey_import_pkcs8(key, &pem, GNUTLS_X509_FMT_PEM, NULL,
					     GNUTLS_PKCS_PLAIN) < 0 ||
	    gnutls_x509_privkey_export2_pkcs8(key, format, "x", flags, &out) < 0)
		g_error("encrypted key");
	seed_bytes("keys", name, 0, out.data, out.size);
	gnutls_x509_privkey_deinit(key);
	gnutls_free(out.data);
}

static void keys(void)
{
	seed_text("keys", "p256", 0, PEM_SERVER_KEY);
	seed_text("keys", "rsa", 0, PEM_CLIENT_RSA_KEY);
	seed_text("keys", "ed25519", 0, PEM_SERVER_ED_KEY);
	seed_der("keys", "p256-der", 0, PEM_SERVER_KEY, "PRIVATE KEY");
	seed_der("keys", "ed25519-der", 0, PEM_SERVER_ED_KEY, "PRIVATE KEY");
	encrypted("encrypted", GNUTLS_PKCS_PBES2_AES_256, GNUTLS_X509_FMT_PEM);
	encrypted("encrypted-der", GNUTLS_PKCS_PBES2_AES_256, GNUTLS_X509_FMT_DER);
	seed_text("keys", "old-encrypted", 0, "-----BEGIN RSA PRIVATE KEY-----\n"
		  "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n"
		  "-----END RSA PRIVATE KEY-----\n");
	seed_text("keys", "certificate", 1, PEM_SERVER_CRT);
	seed_der("keys", "certificate-der", 1, PEM_SERVER_CRT, "CERTIFICATE");
	seed_text("keys", "both", 2, PEM_SERVER_CRT PEM_SERVER_KEY);
	seed_der("keys", "both-key-der", 2, PEM_SERVER_KEY, "PRIVATE KEY");
	seed_der("keys", "both-certificate-der", 2, PEM_SERVER_CRT, "CERTIFICATE");
	seed_text("keys", "both-certificate", 2, PEM_CLIENT_CRT);
}

/* Certificates of fuzz-verify: numbers of its own, or one in DER. */
static void verify_one(const char *name, unsigned int flags, const char *pem, const uint8_t *own,
		       size_t n_own)
{
	g_autoptr(GByteArray) out = g_byte_array_new();

	put_u8(out, flags);
	if (pem) {
		gnutls_datum_t der = der_of(pem, "CERTIFICATE");

		put_u16(out, der.size);
		put(out, der.data, der.size);
		gnutls_free(der.data);
	}
	for (size_t i = 0; i < n_own; i++)
		put_u16(out, 0xff08u + own[i]);
	seed("verify", name, out);
}

static void verify(void)
{
	static const uint8_t client[] = { 2, 3 }, all[] = { 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3 };

	verify_one("server", 0, PEM_SERVER_CRT, NULL, 0);
	verify_one("server-ed", 2, PEM_SERVER_ED_CRT, NULL, 0);
	verify_one("client", 1, PEM_CLIENT_CRT, client + 1, 1);
	verify_one("client-own", 3, NULL, client, 2);
	verify_one("revoked", 3, PEM_CLIENT_RSA_CRT, NULL, 0);
	verify_one("stranger", 0, PEM_STRANGER_CRT, all + 7, 1);
	verify_one("authority", 4, PEM_CA_CRT, NULL, 0);
	verify_one("many", 0, NULL, all, 12);
	verify_one("ten", 5, NULL, all, 10);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		g_error("usage: make-seeds DIRECTORY");
	root = argv[1];
	rng = g_rand_new_with_seed(1);
	wire();
	config();
	names();
	text();
	files();
	keys();
	verify();
	more_seeds();
	return 0;
}
