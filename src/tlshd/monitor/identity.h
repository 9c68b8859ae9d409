/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our certificate and private key, where a request names them by key serial. */
#ifndef TLSHD_MONITOR_IDENTITY_H
#define TLSHD_MONITOR_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "common/handshake.h"
#include "common/secret.h"

#define IDENTITY_LABEL_MAX 64
#define IDENTITY_CERTIFICATE_MAX (256u << 10)	/* bytes, with its chain */

struct own_identity {
	int certificate_fd;	/* sealed memfd; ours; PEM or DER, as it is in the key */
	char certificate_label[IDENTITY_LABEL_MAX];	/* for messages: "certificate 0x1a2b3c4d" */
	char private_key_label[IDENTITY_LABEL_MAX];	/* "private key 0x1a2b3c4d" */
	struct secret *private_key;	/* ours; WIRE_KEY_MAX bytes at most */
};

/*
 * Reads both keys, with the request's @keyring (a serial; 0: none), ".nfs",
 * ".nfsd" and @keyrings (NULL-terminated names) linked meanwhile. Whether they
 * hold what they should and belong together is for the keeper to find out; only
 * a certificate with a private key in it is refused here, because certificates
 * are given to workers. Returns HS_OK; HS_KEY_*, HS_BUSY or HS_INTERNAL with a sentence
 * for a person in @reason, @ret untouched.
 */
enum hs_outcome own_identity_read(struct own_identity *ret, int32_t certificate,
				  int32_t private_key, int32_t keyring,
				  const char *const *keyrings, char *reason, size_t reason_size);

/* Closes and wipes. Not for a zeroed one: descriptor 0 is a descriptor. */
void own_identity_clear(struct own_identity *identity);

#endif
