/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One of our ends against a forged peer, and what it costs us: the CPU time of
 * our end's steps alone, beside that of an ordinary mutual handshake in the
 * same run.
 */
#ifndef TLSHD_TESTS_HOSTILE_WORLD_H
#define TLSHD_TESTS_HOSTILE_WORLD_H

#include "hostile-flights.h"
#include "tls-pair.h"

#define HOSTILE_RUNS 5		/* the least of so many counts */

struct hostile {
	struct side client, server;
	struct pair pair;
	enum hs_role ours;
	struct forged_peer peer;	/* plays the other role */
	gint64 spent;		/* us of CPU */
};

/* Our end, @ours, with a certificate and wanting one. @crl: PEM or NULL. */
void hostile_open(struct hostile *h, enum hs_role ours, const char *crl);
void hostile_close(struct hostile *h);

/* One step of our end when it can make one, and what it sends is received. Returns: it did. */
bool hostile_step(struct hostile *h);
/* Steps until nothing moves any more. Returns whether our end has ended. */
bool hostile_settle(struct hostile *h);
/* Both hellos; as client, up to the server's Finished; as server, EncryptedExtensions as well. */
void hostile_greet(struct hostile *h);
/*
 * Certificate with what @pem holds and CertificateVerify by @key, or nonsense of @size bytes
 * called @scheme when it is NULL.
 */
void hostile_certify(struct hostile *h, const char *pem, gnutls_x509_privkey_t key,
		     unsigned int scheme, size_t size);
/* The same and Finished, in one go. */
void hostile_authenticate(struct hostile *h, const char *pem, gnutls_x509_privkey_t key,
			  unsigned int scheme, size_t size);

/* The same from the peer's side, and the certificates of pair_pki_new(). */
struct flight hostile_flight(struct hostile *h);
const struct hostile_pki *hostile_pki(void);

/* us of CPU that @role spends on an ordinary mutual handshake. */
gint64 hostile_usual(enum hs_role role);
/* Steps @role of a pair to its end and the other as needed. Returns us of CPU of @role. */
gint64 run_timed(struct pair *p, enum hs_role role);
gint64 cpu_us(void);

/*
 * Prints "NAME: cost ... limit" and holds the limit, a multiple of what is usual for @role. Where
 * that seems to be passed, what is usual is measured again: the machine may be busier now.
 */
void hostile_at_most(const char *name, gint64 cost, enum hs_role role, gint64 usual, double limit);

#endif
