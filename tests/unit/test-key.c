// SPDX-License-Identifier: GPL-2.0-or-later
/* The keeper's keys: every form of file, every kind of key, and what is not signed. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <time.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pki.h"
#include "tlshd/keeper/key.h"

#define SIGNATURE_MAX 2048
#define PIN "7531"

static const gnutls_x509_crt_fmt_t formats[] = { GNUTLS_X509_FMT_PEM, GNUTLS_X509_FMT_DER };

static const char *const algorithms[PKI_N_KEY_TYPES] = {
	[PKI_P256] = "ECDSA-SECP256R1-SHA256",
	[PKI_P384] = "ECDSA-SECP384R1-SHA384",
	[PKI_P521] = "ECDSA-SECP521R1-SHA512",
	[PKI_ED25519] = "EdDSA-Ed25519",
	[PKI_ED448] = "EdDSA-Ed448",
	[PKI_RSA2048] = "RSA-PSS-RSAE-SHA256",
	[PKI_RSA_PSS] = "RSA-PSS-SHA256",
	[PKI_RSA1024] = "RSA-PSS-RSAE-SHA256",
};

/* From a file; and from memory, which must come to the same. */
static int load_bytes(struct key **ret, const void *data, size_t len, char *reason, size_t size)
{
	int fd = memfd_create("key", MFD_CLOEXEC), r;
	g_autofree void *copy = g_memdup2(data, len);
	g_autofree char *again = g_malloc0(size);
	struct key *key = NULL;

	g_assert_cmpint(write(fd, data, len), ==, (ssize_t)len);
	r = key_load(ret, fd, NULL, "test.key", reason, size);
	g_assert_cmpint(fcntl(fd, F_GETFD), >=, 0);	/* still ours */
	close(fd);
	g_assert_cmpint(key_load_memory(&key, copy, len, "test.key", again, size), ==, r);
	g_assert_true((r < 0) == !key);
	if (r < 0)
		g_assert_cmpstr(again, ==, reason);
	if (len)
		g_assert_cmpmem(copy, len, data, len);
	key_free(key);
	return r;
}

static struct key *load(const void *data, size_t len)
{
	char reason[512] = "";
	struct key *key = NULL;

	if (load_bytes(&key, data, len, reason, sizeof(reason)) < 0)
		g_error("%s", reason);
	return key;
}

static struct key *load_text(const char *pem)
{
	return load(pem, strlen(pem));
}

/* What TLS has signed: RFC 8446 4.4.3. */
static size_t content(const char *context, size_t hash_len, uint8_t buf[256])
{
	size_t len = strlen(context) + 1, i;

	memset(buf, ' ', 64);
	memcpy(buf + 64, context, len);
	for (i = 0; i < hash_len; i++)
		buf[64 + len + i] = (uint8_t)g_test_rand_int_range(0, 256);
	return 64 + len + hash_len;
}

static size_t server_content(uint8_t buf[256])
{
	return content("TLS 1.3, server CertificateVerify", 32, buf);
}

static void assert_verifies(const struct pki_cert *cert, const char *algorithm, uint8_t *data,
			    size_t len, uint8_t *signature, int size)
{
	gnutls_datum_t d = { data, (unsigned int)len }, s = { signature, (unsigned int)size };
	gnutls_sign_algorithm_t sign = gnutls_sign_get_id(algorithm);
	gnutls_pubkey_t pub;

	g_assert_cmpint(size, >, 0);
	gnutls_pubkey_init(&pub);
	g_assert_cmpint(gnutls_pubkey_import_x509(pub, cert->crt, 0), ==, 0);
	g_assert_cmpint(gnutls_pubkey_verify_data2(pub, sign, 0, &d, &s), >=, 0);
	data[len - 1] ^= 1;
	g_assert_cmpint(gnutls_pubkey_verify_data2(pub, sign, 0, &d, &s), <, 0);
	data[len - 1] ^= 1;
	gnutls_pubkey_deinit(pub);
}

/* One kind of key: signs with its algorithm, with no other, belongs to its certificate. */
static void test_type(gconstpointer arg)
{
	struct pki_spec spec = { .key = GPOINTER_TO_UINT(arg) };
	struct pki_cert *cert = pki_issue(&spec, NULL), *other = pki_issue(&spec, NULL);
	struct key *key = load_text(cert->key_pem), *from_der;
	uint8_t data[256], signature[SIGNATURE_MAX];
	size_t len = server_content(data), der_len, i;
	char reason[512] = "";
	void *der;
	int r;

	r = key_sign(key, HS_SERVER, algorithms[spec.key], data, len, signature,
		     sizeof(signature));
	assert_verifies(cert, algorithms[spec.key], data, len, signature, r);
	g_assert_cmpint(key_sign(key, HS_SERVER, algorithms[spec.key], data, len, signature,
				 (size_t)r - 8), ==, -EMSGSIZE);
	for (i = 0; i < PKI_N_KEY_TYPES; i++)
		if (strcmp(algorithms[i], algorithms[spec.key]) != 0)
			g_assert_cmpint(key_sign(key, HS_SERVER, algorithms[i], data, len,
						 signature, sizeof(signature)), ==, -EINVAL);

	g_assert_cmpint(key_check_certificate(key, cert->pem, strlen(cert->pem), "k", "c", reason,
					      sizeof(reason)), ==, 0);
	g_assert_cmpint(key_check_certificate(key, other->pem, strlen(other->pem), "k.pem", "c.pem",
					      reason, sizeof(reason)), ==, -EKEYREJECTED);
	g_assert_cmpstr(reason, ==, "k.pem does not belong to the first certificate in "
			"c.pem");
	der = pki_key_der(cert, &der_len);
	from_der = load(der, der_len);
	g_free(der);
	der = pki_der(cert, &der_len);
	g_assert_cmpint(key_check_certificate(from_der, der, der_len, "k", "c", reason,
					      sizeof(reason)), ==, 0);
	g_free(der);
	key_free(from_der);
	key_free(key);
	pki_free(cert);
	pki_free(other);
}

/* The older forms of files: PKCS #1, SEC 1, and what openssl puts before them. */
static void test_old_forms(void)
{
	static const char params[] = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
				     "-----END EC PARAMETERS-----\n";
	static const enum pki_key_type types[] = { PKI_RSA2048, PKI_P256 };
	uint8_t data[256], signature[SIGNATURE_MAX];
	size_t len = server_content(data), i;
	int form;

	for (i = 0; i < G_N_ELEMENTS(types); i++) {
		struct pki_spec spec = { .key = types[i] };
		struct pki_cert *cert = pki_issue(&spec, NULL);

		for (form = 0; form < 2; form++) {
			gnutls_datum_t out;
			struct key *key;

			g_assert_cmpint(gnutls_x509_privkey_export2(cert->key, formats[form], &out),
					==, 0);
			if (!form)
				g_assert_null(g_strstr_len((char *)out.data, out.size,
							   "BEGIN PRIVATE KEY"));
			if (!form && types[i] == PKI_P256) {
				g_autofree char *text = g_strdup_printf("%s%.*s", params, (int)out.size,
									(char *)out.data);

				key = load_text(text);
			} else {
				key = load(out.data, out.size);
			}
			g_assert_cmpint(key_sign(key, HS_SERVER, algorithms[types[i]], data, len,
						 signature, sizeof(signature)), >, 0);
			key_free(key);
			gnutls_free(out.data);
		}
		pki_free(cert);
	}
}

/* Certificates before the key, as some keep both in one file. */
static void test_combined_file(void)
{
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	g_autofree char *before = g_strconcat(cert->pem, cert->key_pem, NULL);
	g_autofree char *after = g_strconcat("some text\n", cert->key_pem, cert->pem, NULL);

	key_free(load_text(before));
	key_free(load_text(after));
	pki_free(cert);
}

static void refuse(const void *data, size_t len, int error, const char *part)
{
	char reason[512] = "";
	struct key *key = NULL;

	g_assert_cmpint(load_bytes(&key, data, len, reason, sizeof(reason)), ==, error);
	g_assert_null(key);
	g_test_message("%s", reason);
	if (!strstr(reason, part) || !strstr(reason, "test.key"))
		g_error("\"%s\" lacks \"%s\"", reason, part);
}

static void test_encrypted(void)
{
	static const char old[] = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
				  "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n"
				  "AAAAAAAAAAAAAAAAAAAAAA==\n-----END RSA PRIVATE KEY-----\n";
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	gnutls_datum_t out;
	int form;

	for (form = 0; form < 2; form++) {
		g_assert_cmpint(gnutls_x509_privkey_export2_pkcs8(cert->key, formats[form], "secret",
								  GNUTLS_PKCS_PBES2_AES_256, &out),
				==, 0);
		refuse(out.data, out.size, -ENOKEY, "is encrypted, and nobody is there to type");
		gnutls_free(out.data);
	}
	refuse(old, strlen(old), -ENOKEY, "is encrypted");
	pki_free(cert);
}

/* RFC 8018 A.2: behind the OID SEQUENCE { salt OCTET STRING, rounds INTEGER. As many as fit. */
static void raise_rounds(uint8_t *der, size_t len)
{
	static const uint8_t pbkdf2[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 0x0c };
	uint8_t *at = memmem(der, len, pbkdf2, sizeof(pbkdf2));

	g_assert_nonnull(at);
	at += sizeof(pbkdf2) + 2;
	g_assert_cmpuint(at[0], ==, 4);
	at += 2 + at[1];
	g_assert_cmpuint(at[0], ==, 2);
	g_assert_cmpuint(at[1], >=, 2);
	memset(at + 2, 0xff, at[1]);
	at[2] = 0x7f;
	g_test_message("rounds: 0x7fff... in %u bytes", at[1]);
}

/* Nobody types a passphrase, so none is derived: a file must not choose how long it takes. */
static void test_encrypted_dear(void)
{
	const double limit = 0.5;	/* s; 8,000,000 rounds take 2 and more */
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	gnutls_datum_t out;
	clock_t before;
	double took;

	g_assert_cmpint(gnutls_x509_privkey_export2_pkcs8(cert->key, GNUTLS_X509_FMT_DER, "secret",
							  GNUTLS_PKCS_PBES2_AES_256, &out), ==, 0);
	raise_rounds(out.data, out.size);
	before = clock();
	refuse(out.data, out.size, -ENOKEY, "is encrypted");
	took = (double)(clock() - before) / CLOCKS_PER_SEC;
	g_test_message("refused in %.3f s of processor time, at most %.1f", took, limit);
	g_assert_cmpfloat(took, <, limit);
	gnutls_free(out.data);
	pki_free(cert);
}

static void test_not_a_key(void)
{
	static uint8_t large[300 << 10];
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	char reason[512] = "";
	struct key *key = NULL;
	gnutls_x509_privkey_t dsa;
	gnutls_datum_t out;

	refuse("", 0, -EBADMSG, "is empty");
	refuse("hello", 5, -EBADMSG, "is not a private key");
	refuse(large, sizeof(large), -EBADMSG, "too large");
	refuse(cert->pem, strlen(cert->pem), -EBADMSG, "holds no private key");
	refuse("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 60, -EBADMSG,
	       "is not a private key");
	gnutls_x509_privkey_init(&dsa);
	g_assert_cmpint(gnutls_x509_privkey_generate(dsa, GNUTLS_PK_DSA, 1024, 0), ==, 0);
	g_assert_cmpint(gnutls_x509_privkey_export2(dsa, GNUTLS_X509_FMT_PEM, &out), ==, 0);
	refuse(out.data, out.size, -ENOTSUP, "(DSA) cannot be used");
	gnutls_free(out.data);
	gnutls_x509_privkey_deinit(dsa);
	g_assert_cmpint(key_load(&key, -1, "pkcs11:object=none;type=private?pin-value=" PIN,
				 "url (conf:3)", reason, sizeof(reason)), <, 0);
	g_assert_nonnull(strstr(reason, "url (conf:3)"));
	g_assert_null(strstr(reason, PIN));
	pki_free(cert);
}

/* Every cut and many flips of a file: refused, or a key, but never a crash. */
static void test_damaged_file(void)
{
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	char reason[512];
	size_t len, i;
	uint8_t *der = pki_key_der(cert, &len);

	for (i = 0; i < len; i++) {
		struct key *key = NULL;

		g_assert_cmpint(load_bytes(&key, der, i, reason, sizeof(reason)), <, 0);
		der[i] ^= (uint8_t)(1 << g_test_rand_int_range(0, 8));
		if (load_bytes(&key, der, len, reason, sizeof(reason)) == 0)
			key_free(key);
	}
	g_free(der);
	pki_free(cert);
}

static void refuse_content(const struct key *key, const uint8_t *data, size_t len)
{
	uint8_t out[SIGNATURE_MAX];
	unsigned int role;

	for (role = 0; role < HS_N_ROLES; role++)
		g_assert_cmpint(key_sign(key, role, algorithms[PKI_ED25519], data, len, out,
					 sizeof(out)), ==, -EPERM);
}

/* A worker whose key is a client's does not get to be the server, nor the other way round. */
static void test_role(gconstpointer arg)
{
	static const char *const contexts[HS_N_ROLES] = {
		[HS_CLIENT] = "TLS 1.3, client CertificateVerify",
		[HS_SERVER] = "TLS 1.3, server CertificateVerify",
	};
	struct pki_spec spec = { .key = GPOINTER_TO_UINT(arg) };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	struct key *key = load_text(cert->key_pem);
	uint8_t data[256], out[SIGNATURE_MAX];
	unsigned int role, hash;

	for (role = 0; role < HS_N_ROLES; role++)
		for (hash = 32; hash <= 48; hash += 16) {
			enum hs_role other = role == HS_CLIENT ? HS_SERVER : HS_CLIENT;
			size_t len = content(contexts[role], hash, data);

			g_assert_cmpint(key_sign(key, role, algorithms[spec.key], data, len, out,
						 sizeof(out)), >, 0);
			g_assert_cmpint(key_sign(key, other, algorithms[spec.key], data, len, out,
						 sizeof(out)), ==, -EPERM);
		}
	key_free(key);
	pki_free(cert);
}

/* Only what a TLS 1.3 handshake signs is signed. */
static void test_content(void)
{
	struct pki_spec spec = { .key = PKI_ED25519 };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	struct key *key = load_text(cert->key_pem);
	const char *alg = algorithms[PKI_ED25519];
	uint8_t data[256], out[SIGNATURE_MAX];
	size_t len, i;

	len = content("TLS 1.3, client CertificateVerify", 48, data);
	g_assert_cmpint(key_sign(key, HS_CLIENT, alg, data, len, out, sizeof(out)), >, 0);
	len = server_content(data);
	g_assert_cmpint(key_sign(key, HS_SERVER, alg, data, len, out, sizeof(out)), >, 0);
	/* Each byte before the hash matters. */
	for (i = 0; i < len - 32; i++) {
		data[i] ^= 1;
		refuse_content(key, data, len);
		data[i] ^= 1;
	}
	for (i = 0; i < sizeof(data); i++)
		if (i != len && i != len + 16)
			refuse_content(key, data, i);
	len = content("TLS 1.3, other CertificateVerify!", 32, data);
	refuse_content(key, data, len);
	key_free(key);
	pki_free(cert);
}

static void test_algorithm(void)
{
	static const char *const refused[] = {
		"", "nonsense", "RSA-SHA256", "RSA-SHA1", "RSA-RAW", "ECDSA-SHA256", "ECDSA-SHA1",
		"RSA-PSS-SHA256", "EdDSA-Ed25519", "DSA-SHA256", "RSA-MD5",
	};
	static const char *const accepted[] = {
		"RSA-PSS-RSAE-SHA256", "RSA-PSS-RSAE-SHA384", "RSA-PSS-RSAE-SHA512",
	};
	struct pki_spec spec = { .key = PKI_RSA2048 };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	struct key *key = load_text(cert->key_pem);
	uint8_t data[256], out[SIGNATURE_MAX];
	size_t len = server_content(data), i;

	for (i = 0; i < G_N_ELEMENTS(refused); i++)
		g_assert_cmpint(key_sign(key, HS_SERVER, refused[i], data, len, out, sizeof(out)),
				==, -EINVAL);
	for (i = 0; i < G_N_ELEMENTS(accepted); i++)
		assert_verifies(cert, accepted[i], data, len, out,
				key_sign(key, HS_SERVER, accepted[i], data, len, out, sizeof(out)));
	key_free(key);
	key_free(NULL);
	pki_free(cert);
}

static void test_bad_certificate(void)
{
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	struct key *key = load_text(cert->key_pem);
	char reason[512] = "";

	g_assert_cmpint(key_check_certificate(key, "nonsense", 8, "k.pem", "c.pem", reason,
					      sizeof(reason)), ==, -EBADMSG);
	g_assert_nonnull(strstr(reason, "c.pem holds no certificate"));
	g_assert_cmpint(key_check_certificate(key, "", 0, "k.pem", "c.pem", reason, sizeof(reason)),
			==, -EBADMSG);
	key_free(key);
	pki_free(cert);
}

int main(int argc, char **argv)
{
	char path[64];
	unsigned int i;

	g_test_init(&argc, &argv, NULL);
	for (i = 0; i < PKI_N_KEY_TYPES; i++) {
		g_snprintf(path, sizeof(path), "/key/type/%s", pki_key_name(i));
		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_type);
		g_snprintf(path, sizeof(path), "/key/role/%s", pki_key_name(i));
		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_role);
	}
	g_test_add_func("/key/old-forms", test_old_forms);
	g_test_add_func("/key/combined-file", test_combined_file);
	g_test_add_func("/key/encrypted", test_encrypted);
	g_test_add_func("/key/encrypted/dear", test_encrypted_dear);
	g_test_add_func("/key/not-a-key", test_not_a_key);
	g_test_add_func("/key/damaged-file", test_damaged_file);
	g_test_add_func("/key/content", test_content);
	g_test_add_func("/key/algorithm", test_algorithm);
	g_test_add_func("/key/bad-certificate", test_bad_certificate);
	return g_test_run();
}
