// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A key on a token that fails for a moment, as it does when several keepers open it together:
 * which failures are waited out, and how long. The token is a mock, as a real one fails when it
 * likes; that of tests/vm/sandbox is real.
 */
#include <errno.h>
#include <glib.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <string.h>

#include "pki.h"
#include "tlshd/keeper/key.h"

#define URL "pkcs11:token=t;object=key?pin-value=7531"
#define TRIES 5

static struct {
	const struct pki_cert *cert;
	int import_code, public_code;	/* what fails with that */
	unsigned int import_fails, public_fails;	/* so often */
	unsigned int n_imports, n_publics;
	int sign_code;			/* each signature; 0: is made */
	const char *url;
	int waited;			/* ms */
	uint64_t clock, takes;		/* us; each import takes that */
	int leaves;			/* in errno */
} token;

int __wrap_gnutls_privkey_import_url(gnutls_privkey_t key, const char *url, unsigned int flags);
int __wrap_gnutls_privkey_get_pk_algorithm(gnutls_privkey_t key, unsigned int *bits);
int __real_gnutls_privkey_get_pk_algorithm(gnutls_privkey_t key, unsigned int *bits);
int __wrap_gnutls_pubkey_import_privkey(gnutls_pubkey_t pubkey, gnutls_privkey_t key,
					unsigned int usage, unsigned int flags);
int __real_gnutls_pubkey_import_privkey(gnutls_pubkey_t pubkey, gnutls_privkey_t key,
					unsigned int usage, unsigned int flags);
int __wrap_gnutls_privkey_sign_data2(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm,
				     unsigned int flags, const gnutls_datum_t *data,
				     gnutls_datum_t *signature);
int __real_gnutls_privkey_sign_data2(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm,
				     unsigned int flags, const gnutls_datum_t *data,
				     gnutls_datum_t *signature);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
uint64_t __wrap_clock_now(void);

int __wrap_gnutls_privkey_import_url(gnutls_privkey_t key, const char *url, unsigned int flags)
{
	g_assert_cmpstr(url, ==, token.url);
	token.clock += token.takes;
	if (token.leaves) {
		errno = token.leaves;
		token.leaves = 0;
	}
	if (token.n_imports++ < token.import_fails)
		return token.import_code;
	return gnutls_privkey_import_x509(key, token.cert->key, GNUTLS_PRIVKEY_IMPORT_COPY);
}

/* The library does not say the size of a key that is on a token and on a curve. */
int __wrap_gnutls_privkey_get_pk_algorithm(gnutls_privkey_t key, unsigned int *bits)
{
	int r = __real_gnutls_privkey_get_pk_algorithm(key, bits);

	if (token.n_imports)
		*bits = 0;
	return r;
}

int __wrap_gnutls_pubkey_import_privkey(gnutls_pubkey_t pubkey, gnutls_privkey_t key,
					unsigned int usage, unsigned int flags)
{
	if (token.n_publics++ < token.public_fails)
		return token.public_code;
	return __real_gnutls_pubkey_import_privkey(pubkey, key, usage, flags);
}

int __wrap_gnutls_privkey_sign_data2(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm,
				     unsigned int flags, const gnutls_datum_t *data,
				     gnutls_datum_t *signature)
{
	return token.sign_code ? token.sign_code :
	       __real_gnutls_privkey_sign_data2(key, algorithm, flags, data, signature);
}

uint64_t __wrap_clock_now(void)
{
	return token.clock;
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	g_assert_cmpint(n, ==, 0);
	token.waited += timeout;
	return 0;
}

static int sign(const struct key *key)
{
	uint8_t content[64 + 34 + 32], out[256];

	memset(content, ' ', sizeof(content));
	memcpy(content + 64, "TLS 1.3, server CertificateVerify", 34);
	return key_sign(key, HS_SERVER, "ECDSA-SECP256R1-SHA256", content, sizeof(content), out,
			sizeof(out));
}

/* A keeper's start with such a token: returns what came of it; the key signs when it is 0. */
static int start(int import_code, unsigned int import_fails, int public_code,
		 unsigned int public_fails, char *reason, size_t size)
{
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	struct key *key = NULL;
	int r;

	memset(&token, 0, sizeof(token));
	token.url = URL;
	token.cert = cert;
	token.import_code = import_code;
	token.import_fails = import_fails;
	token.public_code = public_code;
	token.public_fails = public_fails;
	r = key_load(&key, -1, URL, "server.key", reason, size);
	if (r == 0)
		r = key_check_certificate(key, cert->pem, strlen(cert->pem), "server.key",
					  "server.pem", reason, size);
	if (r == 0)
		g_assert_cmpint(sign(key), >, 0);
	key_free(key);
	pki_free(cert);
	return r;
}

/* What libraries of tokens were seen to say, and what any might. */
static const int passing[] = {
	GNUTLS_E_PKCS11_ERROR, GNUTLS_E_PKCS11_REQUESTED_OBJECT_NOT_AVAILBLE,
	GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE, GNUTLS_E_PKCS11_ATTRIBUTE_ERROR,
	GNUTLS_E_PKCS11_SESSION_ERROR, GNUTLS_E_PKCS11_DEVICE_ERROR,
};

static void test_passes(void)
{
	char reason[512];
	size_t i;
	unsigned int n;

	for (i = 0; i < G_N_ELEMENTS(passing); i++) {
		for (n = 0; n < TRIES; n++) {
			g_assert_cmpint(start(passing[i], n, 0, 0, reason, sizeof(reason)), ==, 0);
			g_assert_cmpint(token.n_imports, ==, n + 1);
			g_assert_cmpint(token.waited, ==, n * 100);
			g_assert_cmpint(start(0, 0, passing[i], n, reason, sizeof(reason)), ==, 0);
			g_assert_cmpint(token.n_publics, ==, n + 1);
			g_assert_cmpint(token.waited, ==, n * 100);
		}
	}
}

static void test_lasts(void)
{
	char reason[512];
	size_t i;
	int r;

	for (i = 0; i < G_N_ELEMENTS(passing); i++) {
		r = start(passing[i], TRIES, 0, 0, reason, sizeof(reason));
		g_assert_cmpint(r, ==, -ENOKEY);
		g_assert_cmpint(token.n_imports, ==, TRIES);
		g_assert_nonnull(strstr(reason, "server.key cannot be opened: "));
		g_assert_nonnull(strstr(reason, gnutls_strerror(passing[i])));
		r = start(0, 0, passing[i], TRIES, reason, sizeof(reason));
		g_assert_cmpint(r, ==, -ENOKEY);
		g_assert_cmpint(token.n_publics, ==, TRIES);
		g_assert_nonnull(strstr(reason, "server.key does not tell its public key: "));
		g_assert_nonnull(strstr(reason, gnutls_strerror(passing[i])));
	}
}

/* A token locks itself after a few of those, for good. */
static void test_pin(void)
{
	static const int codes[] = { GNUTLS_E_PKCS11_PIN_ERROR, GNUTLS_E_PKCS11_PIN_EXPIRED,
				     GNUTLS_E_PKCS11_PIN_LOCKED };
	char reason[512];
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(codes); i++) {
		g_assert_cmpint(start(codes[i], 1, 0, 0, reason, sizeof(reason)), ==, -ENOKEY);
		g_assert_cmpint(token.n_imports, ==, 1);
		g_assert_null(strstr(reason, "7531"));
		g_assert_cmpint(start(0, 0, codes[i], 1, reason, sizeof(reason)), ==, -ENOKEY);
		g_assert_cmpint(token.n_publics, ==, 1);
		g_assert_cmpint(token.waited, ==, 0);
	}
}

/* Nor is a TPM asked again with a wrong password. */
static void test_tpm(void)
{
	struct key *key = NULL;
	char reason[512];

	memset(&token, 0, sizeof(token));
	token.url = "tpmkey:uuid=7";
	token.import_code = GNUTLS_E_TPM_KEY_PASSWORD_ERROR;
	token.import_fails = 1;
	g_assert_cmpint(key_load(&key, -1, token.url, "server.key", reason, sizeof(reason)), ==,
			-ENOKEY);
	g_assert_cmpint(token.n_imports, ==, 1);
	g_assert_cmpint(token.waited, ==, 0);
}

static int open_key(int code)
{
	struct key *key = NULL;
	char reason[512];

	token.url = URL;
	token.import_code = code;
	token.import_fails = TRIES;
	return key_load(&key, -1, URL, "server.key", reason, sizeof(reason));
}

/* One that takes long to fail must not outlast the start of a keeper. */
static void test_slow(void)
{
	memset(&token, 0, sizeof(token));
	token.takes = 1500000;
	g_assert_cmpint(open_key(GNUTLS_E_PKCS11_DEVICE_ERROR), ==, -ENOKEY);
	g_assert_cmpint(token.n_imports, ==, 2);
}

/* Memory that was short at the first try may have cost the module; but a PIN is wrong for good. */
static void test_errno(void)
{
	memset(&token, 0, sizeof(token));
	token.leaves = ENOMEM;
	g_assert_cmpint(open_key(GNUTLS_E_PKCS11_DEVICE_ERROR), ==, -ENOMEM);
	g_assert_cmpint(token.n_imports, ==, TRIES);
	memset(&token, 0, sizeof(token));
	token.leaves = ENOMEM;
	g_assert_cmpint(open_key(GNUTLS_E_PKCS11_PIN_ERROR), ==, -ENOKEY);
	g_assert_cmpint(token.n_imports, ==, 1);
}

/* Memory that is short at a signature may be there for the next; all else is the key's fault. */
static void test_signature(void)
{
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	struct key *key = NULL;
	char reason[512];

	memset(&token, 0, sizeof(token));
	g_assert_cmpint(key_load_memory(&key, cert->key_pem, strlen(cert->key_pem), "server.key",
					reason, sizeof(reason)), ==, 0);
	g_assert_cmpint(sign(key), >, 0);
	token.sign_code = GNUTLS_E_MEMORY_ERROR;
	g_assert_cmpint(sign(key), ==, -ENOMEM);
	token.sign_code = GNUTLS_E_PKCS11_DEVICE_ERROR;
	g_assert_cmpint(sign(key), ==, -EIO);
	key_free(key);
	pki_free(cert);
}

/* A key of a file that fails does so for good. */
static void test_file(void)
{
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	struct key *key = NULL;
	char reason[512];

	memset(&token, 0, sizeof(token));
	token.public_code = GNUTLS_E_PKCS11_ERROR;
	token.public_fails = 1;
	g_assert_cmpint(key_load_memory(&key, cert->key_pem, strlen(cert->key_pem), "server.key",
					reason, sizeof(reason)), ==, 0);
	g_assert_cmpint(key_check_certificate(key, cert->pem, strlen(cert->pem), "server.key",
					      "server.pem", reason, sizeof(reason)), ==, -ENOKEY);
	g_assert_cmpint(token.n_publics, ==, 1);
	g_assert_cmpint(token.waited, ==, 0);
	key_free(key);
	pki_free(cert);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/token/passes", test_passes);
	g_test_add_func("/token/lasts", test_lasts);
	g_test_add_func("/token/pin", test_pin);
	g_test_add_func("/token/tpm", test_tpm);
	g_test_add_func("/token/slow", test_slow);
	g_test_add_func("/token/errno", test_errno);
	g_test_add_func("/token/signature", test_signature);
	g_test_add_func("/token/file", test_file);
	return g_test_run();
}
