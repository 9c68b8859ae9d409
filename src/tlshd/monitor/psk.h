/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which pre-shared key a handshake gets. */
#ifndef TLSHD_MONITOR_PSK_H
#define TLSHD_MONITOR_PSK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/handshake.h"
#include "common/log.h"
#include "common/secret.h"

struct psk {
	int32_t serial;			/* of the key, in the kernel */
	enum hs_psk_hash hash;
	char identity[HS_PSK_IDENTITY_MAX];
	struct secret *key;		/* ours; HS_PSK_MAX bytes at most */
};

/* Wipes and releases what it holds. A zeroed one is fine. */
void psk_clear(struct psk *psk);

/* What an identity says about its key. */
struct psk_identity {
	bool nvme;			/* NVMe/TCP, TP 8006 and 8018; the next two are for those only */
	unsigned int version;		/* 0 or 1 */
	bool generated;			/* 'G', by DH-HMAC-CHAP; else 'R', retained */
	enum hs_psk_hash hash;
	size_t min, max;		/* bytes of the key */
};

/*
 * Reads "NVMe{0|1}{R|G}{01|02} hostnqn subnqn [digest]". What begins like one
 * (NVMe and a digit) and is none, is refused: -EINVAL, with @reason. Every
 * other identity of 1 to HS_PSK_IDENTITY_MAX - 1 bytes is taken for SHA-256 and
 * 16 to HS_PSK_MAX bytes. Pure.
 */
int psk_identity_parse(const char *identity, struct psk_identity *ret, char *reason,
		       size_t reason_size);

/*
 * A client: the first of the @n @serials that can be used. A ClientHello of
 * GnuTLS offers one external key, so its own facts have to decide: type, identity,
 * length, a hash this build can use, permission, and that its time is not over.
 * @keyrings (NULL-terminated names) and ".nvme" are linked meanwhile. Keys passed
 * over are named on @log. Returns HS_OK, or what is wrong with the first one and
 * a sentence for a person in @reason, @ret untouched.
 */
enum hs_outcome psk_choose(struct psk *ret, const int32_t *serials, unsigned int n,
			   const char *const *keyrings, const struct log *log, char *reason,
			   size_t reason_size);

/*
 * A server: the key of @identity, as the client sent it. Looked for in @keyring
 * (a serial) only, unless it is 0; else in ".nvme" and @keyrings in their order. A
 * key that cannot be used is reported only when no other keyring has a good one.
 * Returns HS_OK; HS_PSK_UNKNOWN; HS_KEY_*, HS_BUSY, HS_INTERNAL or HS_UNSUPPORTED,
 * with a sentence in @reason that quotes the identity, @ret untouched.
 */
enum hs_outcome psk_find(struct psk *ret, const char *identity, int32_t keyring,
			 const char *const *keyrings, char *reason, size_t reason_size);

#endif
