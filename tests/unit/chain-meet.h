/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Certificates with extensions that the library does not make, and what our end says of a peer
 * that has them and the key as well. Any failure ends the test.
 */
#ifndef TLSHD_TESTS_CHAIN_MEET_H
#define TLSHD_TESTS_CHAIN_MEET_H

#include "hostile-certs.h"
#include "hostile-world.h"

/* What one of our roles is expected to say. */
struct expected {
	enum hs_outcome outcome;
	const char *reason;	/* part of it */
};

/*
 * Our end @ours against a peer with the certificates @chain, PEM, and @key, which signs by
 * @scheme (RFC 8446 4.2.3); NULL: what it sends is no signature, of the length of RSA-2048's.
 * Prints by @name what it costs, in ordinary handshakes of @usual, and holds @limit. What comes
 * into the log must be one printable line.
 */
void chain_meet(const char *name, enum hs_role ours, const char *chain,
		gnutls_x509_privkey_t key, unsigned int scheme, const struct expected *expected,
		gint64 usual, double limit);

/*
 * chain_meet() in both roles with the P-256 key of @leaf, by its certificate and those of @mid and
 * @top (NULL: none). @expected: of our client; of our server, which asks for no name.
 */
void chain_present(const char *name, const struct pki_cert *leaf, const struct pki_cert *mid,
		   const struct pki_cert *top, const struct expected expected[HS_N_ROLES],
		   const gint64 usual[HS_N_ROLES], double limit);

#endif
