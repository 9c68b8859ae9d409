/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes that no honest peer sends, by a forged peer: against one of our sessions in the same
 * thread, or against a whole daemon. Any failure of the peer's own ends the test.
 */
#ifndef TLSHD_TESTS_HOSTILE_FLIGHTS_H
#define TLSHD_TESTS_HOSTILE_FLIGHTS_H

#include "forged-peer.h"
#include "pki.h"

/* What the end under attack trusts (@ca) and does not; @name: of the server that a client wants. */
struct hostile_pki {
	const struct pki_cert *ca, *other_ca, *server, *client;
	const char *name;
};

struct flight {
	struct forged_peer *peer;
	const struct hostile_pki *pki;
	/*
	 * Lets the other end take what was sent and receives what it says, until it wants more or
	 * some ms are over. Returns: it has ended.
	 */
	bool (*settle)(void *ctx);
	void *ctx;
	bool ended;
};

struct attack {
	const char *name;
	void (*attack)(struct flight *f);
	enum hs_role first, last;	/* our roles it is tried against */
	bool encrypted;			/* after the hellos: flight_greet() */
	enum hs_outcome outcome;	/* HS_OK: strange, and legal */
	const char *reason;		/* a part of it */
	int alert;			/* as the peer is told; -1: none, or not looked at */
	const char *or_reason;		/* where all was there before the first look; NULL: the same */
};

/* A NewSessionTicket and a KeyUpdate (RFC 8446 4.6), header included. */
#define FP_A_TICKET "\x04\0\0\x13\0\0\x0e\x10\1\2\3\4\1\xaa\0\6ticket\0\0"
#define FP_A_KEY_UPDATE "\x18\0\0\1\0"

extern const struct attack hostile_attacks[];
extern const size_t hostile_n_attacks;

/* Until a message of @type has come. Returns whether it has; else the other end has ended, or is silent. */
bool flight_wait(struct flight *f, unsigned int type);
/* Both hellos; of a server EncryptedExtensions, too; to a client up to the server's Finished. */
void flight_greet(struct flight *f);
/*
 * Certificate with what @pem holds, and CertificateVerify by @key, or nonsense of @size bytes
 * called @scheme when it is NULL.
 */
void flight_certify(struct flight *f, const char *pem, gnutls_x509_privkey_t key,
		    unsigned int scheme, size_t size);
/* The same, and Finished. */
void flight_authenticate(struct flight *f, const char *pem, gnutls_x509_privkey_t key,
			 unsigned int scheme, size_t size);
/* The same, as it should be. */
void flight_honest(struct flight *f);

/* DER of the certificates in @pem, at most @max; each to be gnutls_free()d. */
unsigned int hostile_der(const char *pem, gnutls_datum_t *der, unsigned int max);

#endif
