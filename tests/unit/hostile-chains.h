/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chains of certificates with keys that are dear to check a signature with. */
#ifndef TLSHD_TESTS_HOSTILE_CHAINS_H
#define TLSHD_TESTS_HOSTILE_CHAINS_H

#include "hostile-flights.h"

/*
 * In ordinary mutual handshakes. A stranger, whom no certificate that we trust has certified, may
 * cost as much as one; who is certified a little more.
 */
#define STRANGER_LIMIT 1.0
#define ALLOWED_LIMIT 2.0	/* as above, and not refused before it is looked at */
#define CERTIFIED_LIMIT 5.0
#define NAMESAKE_LIMIT 2.5	/* a check by a key of the store cannot be avoided */

enum key_kind { RSA, RSA_PSS, DSA, EXPLICIT, BRAINPOOL };

/* Who has signed the certificate: ours, another, another in the name of ours. */
enum certified { OURS, OTHER, NAMESAKE };

struct dear {
	const char *name;
	enum key_kind kind;
	unsigned int bits, exponent;	/* exponent: bytes */
	bool issuer;		/* the key of an intermediate authority, not the peer's own */
	enum certified by;
	const char *reason;
	double limit;
};

extern const struct dear dear_chains[];
extern const size_t dear_n_chains;

/* The chain in PEM, to be g_free()d. */
char *dear_chain(const struct dear *t, const struct hostile_pki *pki);
/* What a signature by its first key, which nobody has, is called, and how long it would be. */
unsigned int dear_scheme(const struct dear *t, size_t *ret_size);
/* A chain that is good, whose @n keys are all of @bits and have exponents of @exponent bytes. */
char *good_chain(const struct hostile_pki *pki, unsigned int n, unsigned int bits,
		 unsigned int exponent);

#endif
