// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Our certificates, as the library wants them. Private keys are not here: the
 * library gets keys that call engine->sign, which asks the keeper; the public
 * half comes from the certificate. That key and certificate belong together is
 * checked where the key is.
 */
#include "tlshd/worker/engine-private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SIGNATURE_MAX 8192	/* bytes; ML-DSA-87 has 4627 */

static int sign_content(const struct identity *identity, gnutls_sign_algorithm_t algorithm,
			const void *content, size_t len, gnutls_datum_t *signature)
{
	struct engine *engine = identity->engine;
	const char *name = gnutls_sign_get_name(algorithm);
	uint8_t buf[SIGNATURE_MAX];
	int r;

	if (!name || !engine->current)
		return GNUTLS_E_INTERNAL_ERROR;
	r = engine->sign(engine->sign_ctx, engine->current->job.id, identity->role,
			 identity->id, name, content, len, buf, sizeof(buf));
	if (r <= 0 || (size_t)r > sizeof(buf)) {
		session_sign_failed(engine->current, r < 0 ? r : -EIO);
		return GNUTLS_E_PK_SIGN_FAILED;
	}
	signature->data = gnutls_malloc((size_t)r);
	if (!signature->data)
		return GNUTLS_E_MEMORY_ERROR;
	memcpy(signature->data, buf, (size_t)r);
	signature->size = (unsigned int)r;
	return 0;
}

/* For EdDSA and ML-DSA, which the library has signed whole. */
static int sign_data(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *ctx,
		     unsigned int flags, const gnutls_datum_t *data, gnutls_datum_t *signature)
{
	return sign_content(ctx, algorithm, data->data, data->size, signature);
}

/*
 * For all others the library gives the digest; see transcript.c. A difference
 * between its digest and ours would be a fault of transcript.c.
 */
static int sign_hash(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *ctx,
		     unsigned int flags, const gnutls_datum_t *hash, gnutls_datum_t *signature)
{
	const struct identity *identity = ctx;
	struct session *session = identity->engine->current;
	gnutls_digest_algorithm_t digest = gnutls_sign_get_hash_algorithm(algorithm);
	uint8_t content[SIGNED_CONTENT_MAX], check[64];
	int len;

	if (!session || !session->transcript || digest == GNUTLS_DIG_UNKNOWN ||
	    gnutls_hash_get_len(digest) > sizeof(check))
		return GNUTLS_E_INTERNAL_ERROR;
	len = transcript_signed_content(session->transcript, identity->role, content);
	if (len < 0)
		return len == -ENOMEM ? GNUTLS_E_MEMORY_ERROR : GNUTLS_E_INTERNAL_ERROR;
	if (gnutls_hash_fast(digest, content, (size_t)len, check) < 0 ||
	    hash->size != gnutls_hash_get_len(digest) ||
	    memcmp(hash->data, check, hash->size) != 0) {
		log_error(identity->engine->log,
			  "what a signature is asked for is not the handshake: refused");
		return GNUTLS_E_INTERNAL_ERROR;
	}
	return sign_content(identity, algorithm, content, (size_t)len, signature);
}

static int can_sign(const struct identity *identity, gnutls_sign_algorithm_t algorithm)
{
	if (identity->pss_hash != GNUTLS_DIG_UNKNOWN &&
	    gnutls_sign_get_hash_algorithm(algorithm) != identity->pss_hash)
		return 0;
	return gnutls_sign_supports_pk_algorithm(algorithm, identity->pk) ? 1 : 0;
}

static int key_info(gnutls_privkey_t key, unsigned int flags, void *ctx)
{
	const struct identity *identity = ctx;

	if (flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO)
		return can_sign(identity, GNUTLS_FLAGS_TO_SIGN_ALGO(flags));
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO)
		return (int)identity->pk;
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS)
		return (int)identity->bits;
	return -1;
}

/* An RSA-PSS certificate may restrict its key to one hash (RFC 4055 3.1). */
static gnutls_digest_algorithm_t pss_hash(gnutls_x509_crt_t cert)
{
	gnutls_digest_algorithm_t hash = GNUTLS_DIG_UNKNOWN;
	gnutls_x509_spki_t spki;
	unsigned int salt;

	if (gnutls_x509_spki_init(&spki) < 0)
		return hash;
	if (gnutls_x509_crt_get_spki(cert, spki, 0) < 0 ||
	    gnutls_x509_spki_get_rsa_pss_params(spki, &hash, &salt) < 0)
		hash = GNUTLS_DIG_UNKNOWN;
	gnutls_x509_spki_deinit(spki);
	return hash;
}

static bool is_known_key(gnutls_pk_algorithm_t pk)
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
		/* By name, for libraries that have it and for those that do not. */
		name = gnutls_pk_get_name(pk);
		return name && strncmp(name, "ML-DSA", 6) == 0;
	}
}

/* Takes note of the date. Returns 0, or -EKEYEXPIRED: one that serves now is better. */
static int check_date(struct identity *identity, const struct engine_file *file,
		      gnutls_x509_crt_t cert, char *reason, size_t reason_size)
{
	time_t now = time(NULL), until = gnutls_x509_crt_get_expiration_time(cert);
	time_t from = gnutls_x509_crt_get_activation_time(cert);
	struct engine *engine = identity->engine;
	char subject[160], when[48];
	bool expired = until < now;
	int64_t in_use = 0;

	if (identity->id < HS_N_IDENTITIES) {
		engine->dates.certificate[identity->role][identity->id] = until;
		in_use = engine->in_use.certificate[identity->role][identity->id];
	}
	if (!expired && from <= now)
		return 0;
	cert_subject(cert, subject, sizeof(subject));
	time_text(expired ? until : from, when, sizeof(when));
	if (!expired || in_use <= now) {
		log_warn(engine->log, expired ? "%s: \"%s\" expired on %s" :
			 "%s: \"%s\" is not valid before %s (is the clock right?)",
			 file->label, subject, when);
		return 0;
	}
	snprintf(reason, reason_size, "%s: \"%s\" expired on %s; the one in use has not",
		 file->label, subject, when);
	return -EKEYEXPIRED;
}

/* Faults of our own certificates that do not hinder the start but will be somebody's next question. */
static void inspect_chain(const struct engine *engine, const struct engine_file *file,
			  gnutls_x509_crt_t *certs, unsigned int n)
{
	char subject[160];
	unsigned int i;

	log_debug(engine->log, "%s: \"%s\" and %u issuers", file->label,
		  cert_subject(certs[0], subject, sizeof(subject)), n - 1);
	for (i = 0; i + 1 < n; i++)
		if (!gnutls_x509_crt_check_issuer(certs[i], certs[i + 1]))
			log_warn(engine->log, "%s: certificate %u is not issued by the one after it: "
				 "peers may refuse the chain", file->label, i + 1);
}

static int add_key(gnutls_certificate_credentials_t credentials, struct identity *identity,
		   gnutls_x509_crt_t *certs, unsigned int n)
{
	gnutls_pcert_st *pcerts = gnutls_calloc(n, sizeof(*pcerts));
	gnutls_privkey_t key = NULL;
	unsigned int i, imported = 0;
	int r;

	if (!pcerts)
		return GNUTLS_E_MEMORY_ERROR;
	r = gnutls_privkey_init(&key);
	if (r == 0)
		r = gnutls_privkey_import_ext4(key, identity, sign_data, sign_hash, NULL, NULL,
					       key_info, 0);
	for (i = 0; r == 0 && i < n; i++) {
		r = gnutls_pcert_import_x509(&pcerts[i], certs[i], 0);
		if (r == 0)
			imported++;
	}
	/* On success the credentials own the key and what the pcerts hold. */
	if (r == 0)
		r = gnutls_certificate_set_key(credentials, NULL, 0, pcerts, (int)n, key);
	if (r < 0) {
		for (i = 0; i < imported; i++)
			gnutls_pcert_deinit(&pcerts[i]);
		if (key)
			gnutls_privkey_deinit(key);
	}
	gnutls_free(pcerts);
	return r < 0 ? r : 0;
}

/* Returns 1, or 0 when they are left out, with a warning. */
static int use_certs(gnutls_certificate_credentials_t credentials, struct identity *identity,
		     const struct engine_file *file, gnutls_x509_crt_t *certs, unsigned int n,
		     char *reason, size_t reason_size)
{
	const struct engine *engine = identity->engine;
	int pk = gnutls_x509_crt_get_pk_algorithm(certs[0], &identity->bits), r;

	if (n > CHAIN_MAX) {
		snprintf(reason, reason_size, "%s holds %u certificates; at most %d can be sent",
			 file->label, n, CHAIN_MAX);
		return -E2BIG;
	}
	if (pk == GNUTLS_E_MEMORY_ERROR) {
		snprintf(reason, reason_size, "%s: out of memory", file->label);
		return -ENOMEM;
	}
	if (pk < 0 || !is_known_key((gnutls_pk_algorithm_t)pk)) {
		if (identity->id == HS_IDENTITY_X509_PQ) {
			log_warn(engine->log, "%s: this build of GnuTLS (%s) does not know the key's "
				 "algorithm: this certificate is not used", file->label,
				 gnutls_check_version(NULL));
			return 0;
		}
		snprintf(reason, reason_size, "%s: the kind of key in it cannot be used with TLS 1.3",
			 file->label);
		return -ENOTSUP;
	}
	identity->pk = (gnutls_pk_algorithm_t)pk;
	identity->pss_hash = pk == GNUTLS_PK_RSA_PSS ? pss_hash(certs[0]) : GNUTLS_DIG_UNKNOWN;
	r = check_date(identity, file, certs[0], reason, reason_size);
	if (r < 0)
		return r;
	inspect_chain(engine, file, certs, n);
	r = add_key(credentials, identity, certs, n);
	if (r < 0) {
		snprintf(reason, reason_size, "%s cannot be used: %s", file->label,
			 gnutls_strerror(r));
		return r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL;
	}
	return 1;
}

int credentials_new(gnutls_certificate_credentials_t *ret)
{
	if (gnutls_certificate_allocate_credentials(ret) < 0)
		return -ENOMEM;
	/* The library would try the key with a text of its own, which the keeper refuses. */
	gnutls_certificate_set_flags(*ret, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
	return 0;
}

int credentials_add(gnutls_certificate_credentials_t credentials, struct identity *identity,
		    const struct engine_file *file, char *reason, size_t reason_size)
{
	gnutls_x509_crt_t *certs;
	unsigned int n;
	int r;

	r = certs_import(file, &certs, &n, reason, reason_size);
	if (r < 0)
		return r;
	r = use_certs(credentials, identity, file, certs, n, reason, reason_size);
	certs_free(certs, n);
	return r;
}
