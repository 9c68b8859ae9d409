// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A private key and the only thing done with it: the signature of a TLS 1.3
 * CertificateVerify. Who asks may be in a stranger's hands, so what is signed is looked
 * at: its prefix of 64 blanks and the context string exist so that such a
 * signature can never stand for anything else (RFC 8446 4.4.3).
 *
 * The file's bytes pass through locked memory that is wiped. The library's own
 * copy of the key is in its heap: it wipes that when the key is freed, but only a
 * process that locks all its memory (mlockall) keeps it from being swapped. What it
 * leaves behind of a PEM file (its base64 text, in a freed block) and of a signature
 * (on the stack) is not its promise: the keeper runs with malloc set to overwrite
 * what is freed, and burns its stack.
 */
#include "tlshd/keeper/key.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/der.h"
#include "common/event-loop.h"
#include "common/passing.h"
#include "common/secret.h"

#define KEY_FILE_MAX (256u << 10)	/* bytes */
#define TOKEN_TRIES 5
#define TOKEN_RETRY_MS 100
#define TOKEN_LIMIT UINT64_C(2000000)	/* us, without the last; some take long to fail, and START_LIMIT is 30 s */
#define BLANKS 64			/* RFC 8446 4.4.3 */
#define CONTEXT_LEN 34			/* with its NUL */

struct key {
	gnutls_privkey_t key;
	gnutls_pk_algorithm_t pk;
	unsigned int bits;
	bool on_token;		/* of PKCS#11 */
};

/* With a token that fails. */
struct patience {
	uint64_t since;		/* CLOCK_MONOTONIC, us */
	unsigned int tries;
};

static int check_size(off_t size, const char *label, char *reason, size_t reason_size)
{
	if (size > 0 && size <= KEY_FILE_MAX)
		return 0;
	snprintf(reason, reason_size, "%s is %s: not a private key", label,
		 size <= 0 ? "empty" : "too large");
	return -EBADMSG;
}

static int read_file(int fd, struct secret **ret, const char *label, char *reason,
		     size_t reason_size)
{
	CLEANUP(secret_freep) struct secret *file = NULL;
	struct stat st;
	ssize_t n;
	int r;

	if (fstat(fd, &st) < 0) {
		snprintf(reason, reason_size, "%s cannot be read: %s", label, strerror(errno));
		return -EIO;
	}
	r = check_size(st.st_size, label, reason, reason_size);
	if (r < 0)
		return r;
	r = secret_new(&file, (size_t)st.st_size);
	if (r < 0) {
		snprintf(reason, reason_size, "%s: no locked memory for it: %s (LimitMEMLOCK=, "
			 "ulimit -l)", label, strerror(-r));
		return r;
	}
	while (file->len < (size_t)st.st_size) {
		n = pread(fd, file->data + file->len, (size_t)st.st_size - file->len,
			  (off_t)file->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		file->len += (size_t)n;
	}
	if (file->len < (size_t)st.st_size) {
		snprintf(reason, reason_size, "%s could not be read whole", label);
		return -EIO;
	}
	*ret = TAKE_PTR(file);
	return 0;
}

static bool has_text(const gnutls_datum_t *data, const char *text)
{
	return memmem(data->data, data->size, text, strlen(text)) != NULL;
}

/* PKCS #8 by its label, the older form by its header (RFC 1421); in DER by trying. */
static bool is_encrypted(const gnutls_datum_t *data, int code)
{
	return has_text(data, "-----BEGIN ENCRYPTED PRIVATE KEY-----") ||
	       has_text(data, "Proc-Type: 4,ENCRYPTED") || code == GNUTLS_E_DECRYPTION_FAILED;
}

static int import_bytes(struct key *key, const gnutls_datum_t *data, const char *label,
			char *reason, size_t reason_size)
{
	bool pem = has_text(data, "-----BEGIN ");
	int r;

	/*
	 * Plain ones only: else the library derives a key from no passphrase first, in as many
	 * rounds as the file asks for, and no signature is made meanwhile.
	 */
	r = gnutls_privkey_import_x509_raw(key->key, data, pem ? GNUTLS_X509_FMT_PEM
						: GNUTLS_X509_FMT_DER, NULL, GNUTLS_PKCS_PLAIN);
	if (r == 0)
		return 0;
	if (is_encrypted(data, r))
		snprintf(reason, reason_size, "%s is encrypted, and nobody is there to type the "
			 "passphrase: store it decrypted (openssl pkey -in FILE -out FILE), readable "
			 "by nobody else", label);
	else if (pem && !has_text(data, "PRIVATE KEY-----"))
		snprintf(reason, reason_size, "%s holds no private key", label);
	else
		snprintf(reason, reason_size, "%s is not a private key that can be read: %s", label,
			 gnutls_strerror(r));
	return is_encrypted(data, r) ? -ENOKEY : -EBADMSG;
}

static bool is_about_pin(int code)
{
	return code == GNUTLS_E_PKCS11_PIN_ERROR || code == GNUTLS_E_PKCS11_PIN_EXPIRED ||
	       code == GNUTLS_E_PKCS11_PIN_LOCKED;
}

/*
 * Keepers start together, and modules whose processes share files have moments at which one finds
 * no object, or one without its attributes; they say so by whatever code. Waits, then. Of a wrong
 * PIN a token takes count, and a TPM of a wrong password.
 */
static bool is_busy_token(const struct key *key, int code, struct patience *p)
{
	if (code >= 0 || !key->on_token || is_about_pin(code) ||
	    ++p->tries == TOKEN_TRIES || clock_now() - p->since > TOKEN_LIMIT)
		return false;
	poll(NULL, 0, TOKEN_RETRY_MS);
	return true;
}

static int import_url(struct key *key, const char *url, const char *label, char *reason,
		      size_t reason_size)
{
	struct patience patience = { .since = clock_now() };
	int r;

	key->on_token = strncasecmp(url, "pkcs11:", 7) == 0;
	do
		r = gnutls_privkey_import_url(key->key, url, 0);
	while (is_busy_token(key, r, &patience));
	if (r == 0)
		return 0;
	/*
	 * Memory that was short for one try may be why no other came to anything: modules are
	 * loaded once. Not of a PIN that was looked at.
	 */
	if (is_about_pin(r))
		errno = 0;
	snprintf(reason, reason_size, "the private key of %s cannot be opened: %s", label,
		 r == GNUTLS_E_PKCS11_PIN_ERROR ?
		 "it wants a PIN, or not this one: give pin-source=/FILE in the URL" : gnutls_strerror(r));
	return -ENOKEY;
}

static bool is_usable(gnutls_pk_algorithm_t pk)
{
	const char *name;

	switch (pk) {
	case GNUTLS_PK_RSA:
	case GNUTLS_PK_RSA_PSS:
	case GNUTLS_PK_ECDSA:
	case GNUTLS_PK_EDDSA_ED25519:
	case GNUTLS_PK_EDDSA_ED448:
		return true;
	default:
		name = gnutls_pk_get_name(pk);
		return name && strncmp(name, "ML-DSA", 6) == 0;
	}
}

static int import_file(struct key *key, int fd, const char *label, char *reason,
		       size_t reason_size)
{
	CLEANUP(secret_freep) struct secret *file = NULL;
	int r = read_file(fd, &file, label, reason, reason_size);

	if (r < 0)
		return r;
	return import_bytes(key, &(gnutls_datum_t){ file->data, (unsigned int)file->len }, label,
			    reason, reason_size);
}

static int new_key(struct key **ret, const char *label, char *reason, size_t reason_size)
{
	CLEANUP(key_freep) struct key *key = calloc(1, sizeof(*key));

	snprintf(reason, reason_size, "%s: out of memory", label);
	if (!key || gnutls_privkey_init(&key->key) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(key);
	return 0;
}

static int check_kind(struct key *key, const char *label, char *reason, size_t reason_size)
{
	int pk = gnutls_privkey_get_pk_algorithm(key->key, &key->bits);

	if (pk < 0 || !is_usable((gnutls_pk_algorithm_t)pk)) {
		snprintf(reason, reason_size, "%s: this kind of key (%s) cannot be used with TLS 1.3",
			 label, pk < 0 ? "unknown" : gnutls_pk_get_name((gnutls_pk_algorithm_t)pk));
		return -ENOTSUP;
	}
	key->pk = (gnutls_pk_algorithm_t)pk;
	return 0;
}

int key_load(struct key **ret, int fd, const char *url, const char *label, char *reason,
	     size_t reason_size)
{
	CLEANUP(key_freep) struct key *key = NULL;
	int r;

	errno = 0;
	r = new_key(&key, label, reason, reason_size);
	if (!r && fd < 0)
		r = import_url(key, url, label, reason, reason_size);
	else if (!r)
		r = import_file(key, fd, label, reason, reason_size);
	if (!r)
		r = check_kind(key, label, reason, reason_size);
	if (r < 0)
		return loading_error(r, reason, reason_size);
	*ret = TAKE_PTR(key);
	return 0;
}

int key_load_memory(struct key **ret, const void *data, size_t len, const char *label,
		    char *reason, size_t reason_size)
{
	const gnutls_datum_t bytes = { (void *)(uintptr_t)data, (unsigned int)len };
	CLEANUP(key_freep) struct key *key = NULL;
	int r = check_size((off_t)len, label, reason, reason_size);

	errno = 0;
	if (!r)
		r = new_key(&key, label, reason, reason_size);
	if (!r)
		r = import_bytes(key, &bytes, label, reason, reason_size);
	if (!r)
		r = check_kind(key, label, reason, reason_size);
	if (r < 0)
		return loading_error(r, reason, reason_size);
	*ret = TAKE_PTR(key);
	return 0;
}

void key_free(struct key *key)
{
	if (!key)
		return;
	if (key->key)
		gnutls_privkey_deinit(key->key);
	free(key);
}

/* The first certificate, or NULL. */
static gnutls_x509_crt_t read_leaf(const void *chain, size_t size)
{
	bool pem = memmem(chain, size, "-----BEGIN ", 11) != NULL;
	size_t first = pem ? size : der_sequence_size(chain, size);
	const gnutls_datum_t data = { (void *)(uintptr_t)chain, (unsigned int)first };
	gnutls_x509_crt_t cert;

	if (gnutls_x509_crt_init(&cert) < 0)
		return NULL;
	if (gnutls_x509_crt_import(cert, &data,
				   pem ? GNUTLS_X509_FMT_PEM : GNUTLS_X509_FMT_DER) < 0) {
		gnutls_x509_crt_deinit(cert);
		return NULL;
	}
	return cert;
}

bool key_knows_certificate(const void *chain, size_t size)
{
	gnutls_x509_crt_t cert = read_leaf(chain, size);
	int pk;

	if (!cert)
		return true;
	pk = gnutls_x509_crt_get_pk_algorithm(cert, NULL);
	gnutls_x509_crt_deinit(cert);
	if (pk < 0)
		return pk == GNUTLS_E_MEMORY_ERROR;
	return is_usable((gnutls_pk_algorithm_t)pk);
}

static int import_leaf(gnutls_pubkey_t pubkey, const void *chain, size_t size)
{
	gnutls_x509_crt_t cert = read_leaf(chain, size);
	int r;

	if (!cert)
		return -EBADMSG;
	r = gnutls_pubkey_import_x509(pubkey, cert, 0);
	gnutls_x509_crt_deinit(cert);
	return r < 0 ? -EBADMSG : 0;
}

static int public_key(gnutls_pubkey_t pubkey, const struct key *key)
{
	struct patience patience = { .since = clock_now() };
	int r;

	do
		r = gnutls_pubkey_import_privkey(pubkey, key->key, 0, 0);
	while (is_busy_token(key, r, &patience));
	return r;
}

static int key_id(gnutls_pubkey_t pubkey, uint8_t id[32])
{
	size_t size = 32;

	return gnutls_pubkey_get_key_id(pubkey, GNUTLS_KEYID_USE_SHA256, id, &size);
}

int key_check_certificate(struct key *key, const void *chain, size_t size,
			  const char *key_label, const char *cert_label, char *reason,
			  size_t reason_size)
{
	gnutls_pubkey_t ours = NULL, theirs = NULL;
	uint8_t our_id[32], their_id[32];
	int r, code;

	errno = 0;
	snprintf(reason, reason_size, "%s: out of memory", cert_label);
	if (gnutls_pubkey_init(&ours) < 0 || gnutls_pubkey_init(&theirs) < 0) {
		r = -ENOMEM;
	} else if (import_leaf(theirs, chain, size) < 0 || key_id(theirs, their_id) < 0) {
		snprintf(reason, reason_size, "%s holds no certificate that can be read", cert_label);
		r = -EBADMSG;
	} else if ((code = public_key(ours, key)) < 0 || (code = key_id(ours, our_id)) < 0) {
		snprintf(reason, reason_size, "%s does not tell its public key: %s", key_label,
			 gnutls_strerror(code));
		r = -ENOKEY;
	} else if (memcmp(our_id, their_id, sizeof(our_id)) != 0) {
		snprintf(reason, reason_size, "%s does not belong to the first "
			 "certificate in %s", key_label, cert_label);
		r = -EKEYREJECTED;
	} else {
		/* Of a key on a token that has a curve the library does not say. */
		if (key->bits == 0)
			gnutls_pubkey_get_pk_algorithm(theirs, &key->bits);
		r = 0;
	}
	if (ours)
		gnutls_pubkey_deinit(ours);
	if (theirs)
		gnutls_pubkey_deinit(theirs);
	return loading_error(r, reason, reason_size);
}

static bool is_certificate_verify(enum hs_role role, const uint8_t *data, size_t len)
{
	const char *context = role == HS_SERVER ? "TLS 1.3, server CertificateVerify"
						: "TLS 1.3, client CertificateVerify";
	size_t i;

	if (len != BLANKS + CONTEXT_LEN + 32 && len != BLANKS + CONTEXT_LEN + 48)
		return false;
	for (i = 0; i < BLANKS; i++)
		if (data[i] != ' ')
			return false;
	return memcmp(data + BLANKS, context, CONTEXT_LEN) == 0;
}

/* RFC 8446 4.2.3: no SHA-1, no PKCS #1 v1.5, and each curve has its own hash. */
static bool is_allowed(const struct key *key, gnutls_sign_algorithm_t sign)
{
	switch (sign) {
	case GNUTLS_SIGN_RSA_PSS_RSAE_SHA256:
	case GNUTLS_SIGN_RSA_PSS_RSAE_SHA384:
	case GNUTLS_SIGN_RSA_PSS_RSAE_SHA512:
		return key->pk == GNUTLS_PK_RSA;
	case GNUTLS_SIGN_RSA_PSS_SHA256:
	case GNUTLS_SIGN_RSA_PSS_SHA384:
	case GNUTLS_SIGN_RSA_PSS_SHA512:
		return key->pk == GNUTLS_PK_RSA_PSS;
	case GNUTLS_SIGN_ECDSA_SECP256R1_SHA256:
		return key->pk == GNUTLS_PK_ECDSA && key->bits == 256;
	case GNUTLS_SIGN_ECDSA_SECP384R1_SHA384:
		return key->pk == GNUTLS_PK_ECDSA && key->bits == 384;
	case GNUTLS_SIGN_ECDSA_SECP521R1_SHA512:
		/* The library counts whole bytes. */
		return key->pk == GNUTLS_PK_ECDSA && key->bits >= 521;
	case GNUTLS_SIGN_EDDSA_ED25519:
	case GNUTLS_SIGN_EDDSA_ED448:
		break;
	default:
		if (strncmp(gnutls_sign_get_name(sign), "ML-DSA", 6) != 0)
			return false;
	}
	return gnutls_sign_supports_pk_algorithm(sign, key->pk);
}

int key_sign(const struct key *key, enum hs_role role, const char *algorithm,
	     const void *data, size_t len, void *signature, size_t size)
{
	gnutls_datum_t content = { (void *)(uintptr_t)data, (unsigned int)len };
	gnutls_sign_algorithm_t sign = gnutls_sign_get_id(algorithm);
	gnutls_datum_t out = { NULL, 0 };
	int r;

	if (sign == GNUTLS_SIGN_UNKNOWN || !is_allowed(key, sign))
		return -EINVAL;
	if (!is_certificate_verify(role, data, len))
		return -EPERM;
	/* The flag: a salt as long as the hash (RFC 8446 4.2.3), whatever the key prefers. */
	r = gnutls_privkey_sign_data2(key->key, sign, GNUTLS_PRIVKEY_FLAG_RSA_PSS_FIXED_SALT_LENGTH,
				      &content, &out);
	if (r < 0)
		return r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EIO;
	if (out.size > size) {
		r = -EMSGSIZE;
	} else {
		memcpy(signature, out.data, out.size);
		r = (int)out.size;
	}
	gnutls_free(out.data);
	return r;
}
