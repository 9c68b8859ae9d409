/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Certificates for tests, made when they run, so that none ever expires in the
 * tree. Any failure ends the test.
 */
#ifndef TLSHD_TESTS_PKI_H
#define TLSHD_TESTS_PKI_H

#include <gnutls/x509.h>
#include <stdbool.h>
#include <stddef.h>

enum pki_key_type {
	PKI_P256,
	PKI_P384,
	PKI_P521,
	PKI_ED25519,
	PKI_ED448,
	PKI_RSA2048,
	PKI_RSA_PSS,
	PKI_RSA1024,
	PKI_N_KEY_TYPES,
};

#define PKI_KP_RPC_CLIENT "1.3.6.1.5.5.7.3.33"	/* RFC 9289 */
#define PKI_KP_RPC_SERVER "1.3.6.1.5.5.7.3.34"

/* What is left out is the plain case: a leaf on P-256, valid since an hour for a day. */
struct pki_spec {
	enum pki_key_type key;
	const char *cn;			/* NULL: "test" */
	const char *dns[8];		/* subjectAltName dNSName */
	const char *ip[4];		/* subjectAltName iPAddress, as text */
	long from, until;		/* seconds from now; both 0: -3600, 86400 */
	bool ca;
	bool sha1;			/* signed with SHA-1 */
	const char *purpose;		/* extended key usage, an OID; NULL: none */
	unsigned int usage;		/* key usage; 0: what fits */
	const struct pki_cert *same_key;	/* use this one's key instead of a new one */
	bool no_authority;		/* does not say which key of its issuer's name signed it */
	bool no_ca_below;		/* an authority that issues for leaves only */
	const char *only_dns;		/* ... whose name constraints permit this domain; NULL: none */
};

struct pki_cert {
	gnutls_x509_crt_t crt;
	gnutls_x509_privkey_t key;
	char *pem;			/* the certificate */
	char *key_pem;			/* PKCS #8 */
};

/* @issuer NULL: signed by itself. */
struct pki_cert *pki_issue(const struct pki_spec *spec, const struct pki_cert *issuer);
void pki_free(struct pki_cert *cert);

/* "rsa-pss" */
const char *pki_key_name(enum pki_key_type type);

/* PEM of all of them, to be g_free()d. NULL-terminated arguments. */
char *pki_chain(const struct pki_cert *first, ...) __attribute__((sentinel));

/* A CRL by @issuer, PEM, to be g_free()d. @revoked may be NULL. Times in seconds from now. */
char *pki_crl(const struct pki_cert *issuer, const struct pki_cert *revoked, long from,
	      long until);

/* DER of the certificate, or of the key (PKCS #8), to be g_free()d. */
void *pki_der(const struct pki_cert *cert, size_t *ret_size);
void *pki_key_der(const struct pki_cert *cert, size_t *ret_size);

/* Writes @text to @dir/@name with @mode. Returns the path, to be g_free()d. */
char *pki_write(const char *dir, const char *name, const char *text, unsigned int mode);

#endif
