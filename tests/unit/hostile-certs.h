/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Certificates of a signer we trust, whose content is made to deceive or to take long. */
#ifndef TLSHD_TESTS_HOSTILE_CERTS_H
#define TLSHD_TESTS_HOSTILE_CERTS_H

#include "hostile-flights.h"

#define OID_SAN "2.5.29.17"
#define OID_NAME_CONSTRAINTS "2.5.29.30"
#define OID_UNKNOWN "1.3.6.1.4.1.55555.2"

/* @cert gets the extension @oid, and is signed by @issuer again. */
void forge_add(struct pki_cert *cert, const struct pki_cert *issuer, const char *oid,
	       const GByteArray *value, bool critical);
/* The same with @n extensions more, which nobody knows. */
void forge_add_unknown(struct pki_cert *cert, const struct pki_cert *issuer, unsigned int n);
/* subjectAltName of @count names of kind @tag with @content. */
GByteArray *der_names(uint8_t tag, const void *content, size_t len, unsigned int count);
/* NameConstraints of @count subtrees for dNSName @name: permitted [0] or excluded [1]. */
GByteArray *der_constraints(uint8_t which, const char *name, unsigned int count);

struct bad_cert {
	const char *name;
	/* Returns the peer's certificate; *@ret_mid: its issuer, where there is one between. */
	struct pki_cert *(*make)(const struct hostile_pki *pki, struct pki_cert **ret_mid);
	enum hs_role last;	/* our roles it is tried against, from HS_CLIENT on */
	enum hs_outcome outcome;
	const char *reason;	/* a part of it */
};

extern const struct bad_cert bad_certs[];
extern const size_t n_bad_certs;

#endif
