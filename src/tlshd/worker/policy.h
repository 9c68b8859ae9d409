/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which algorithms a handshake may use: the system's crypto policy, narrowed to what kTLS can carry. */
#ifndef TLSHD_WORKER_POLICY_H
#define TLSHD_WORKER_POLICY_H

#include <stddef.h>
#include <stdint.h>

/* How the two sides know each other. */
enum policy_keys {
	POLICY_CERTIFICATES,
	POLICY_PSK_SHA256,	/* suites with this hash only: a PSK is tied to one (RFC 8446 4.2.11) */
	POLICY_PSK_SHA384,
	N_POLICY_KEYS,
};

/*
 * Makes an explicit priority string for the TLS library: TLS 1.3 only, the
 * ciphers of @ciphers (mask of 1 << enum ktls_cipher) and the groups and
 * signatures that @base allows; with pre-shared keys psk_dhe_ke only. @base is
 * a priority string of the library; NULL: the system's policy. *@ret is the
 * caller's, for g_free(). Returns 0; -EINVAL when @base cannot be understood;
 * -ENOTSUP when nothing usable is left, with a sentence in @reason; -ENOMEM.
 */
int policy_build(const char *base, enum policy_keys keys, uint32_t ciphers, char **ret,
		 char *reason, size_t reason_size);

#endif
