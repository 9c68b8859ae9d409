/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A private key: loaded from a file, a URL or memory, used for TLS 1.3 signatures and nothing else. */
#ifndef TLSHD_KEEPER_KEY_H
#define TLSHD_KEEPER_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/handshake.h"

struct key;

/*
 * Reads a PEM or DER private key from @fd (from its start, into locked memory;
 * @fd stays the caller's), or, when @fd is negative, opens @url (RFC 7512
 * pkcs11:, tpmkey:, system:). Returns 0, or a negative errno with a sentence
 * in @reason that names @label: unreadable, not a key, encrypted (which is not
 * supported: nobody is there to type the passphrase).
 */
int key_load(struct key **ret, int fd, const char *url, const char *label,
	     char *reason, size_t reason_size);

/*
 * The same for the content of a file that is in memory already. Wiping @data is
 * the caller's business.
 */
int key_load_memory(struct key **ret, const void *data, size_t len, const char *label,
		    char *reason, size_t reason_size);

/* NULL is fine. */
void key_free(struct key *key);

/*
 * Does the key belong to the first certificate of @chain (PEM or DER)? What a token does not tell
 * of the key is taken from that: before, one on a curve signs nothing.
 * Returns 0, or -EKEYREJECTED with a sentence naming @key_label
 * and @cert_label, or another negative errno with a sentence.
 */
int key_check_certificate(struct key *key, const void *chain, size_t size,
			  const char *key_label, const char *cert_label,
			  char *reason, size_t reason_size);

/*
 * Whether this build of the TLS library knows the algorithm of the key in the first certificate of
 * @chain (PEM or DER). True, too, of what cannot be read: key_check_certificate() says why not.
 */
bool key_knows_certificate(const void *chain, size_t size);

/*
 * Signs @data, which must be the content of a TLS 1.3 CertificateVerify (RFC
 * 8446 4.4.3: 64 blanks, the context string of @role, NUL, a transcript hash):
 * a worker in a stranger's hands gets no other signature, and none as a server
 * with a client's key. Returns the
 * number of bytes written to @signature, or a negative errno: -EINVAL unknown
 * algorithm, or one the key cannot do; -EPERM other content; -EMSGSIZE; -ENOMEM;
 * -EIO the key failed.
 */
int key_sign(const struct key *key, enum hs_role role, const char *algorithm,
	     const void *data, size_t len, void *signature, size_t size);

DEFINE_CLEANUP(struct key, key_free);

#endif
