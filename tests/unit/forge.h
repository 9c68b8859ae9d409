/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Certificates and lists that the library does not make: of sizes nobody
 * needs, with extensions it has no function for. Whatever signs has a P-256
 * key. Any failure ends the test.
 */
#ifndef TLSHD_TESTS_FORGE_H
#define TLSHD_TESTS_FORGE_H

#include "pki.h"

/* The certificate of @spec whose subject has exactly @bytes of DER, at least 300, in many parts. */
struct pki_cert *forge_subject(const struct pki_spec *spec, const struct pki_cert *issuer,
			       size_t bytes);

/* The same whose DER as a whole has exactly @bytes, at least 1000, by an extension. */
struct pki_cert *forge_size(const struct pki_spec *spec, const struct pki_cert *issuer,
			    size_t bytes);

/* One extension; @oid and @value are DER without and with their header. */
struct forge_extension {
	const char *oid;
	size_t oid_len;
	const char *value;
	size_t value_len;
	bool critical;
};

/* pki_crl() with one extension more, current. */
char *forge_crl(const struct pki_cert *issuer, const struct pki_cert *revoked,
		const struct forge_extension *extension);

#endif
