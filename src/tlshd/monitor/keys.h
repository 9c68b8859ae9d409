/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a handshake that asks for its keys is answered. */
#ifndef TLSHD_MONITOR_KEYS_H
#define TLSHD_MONITOR_KEYS_H

#include <stdint.h>

#include "common/log.h"
#include "common/wire.h"
#include "tlshd/monitor/netlink.h"

struct keys_answer {
	/*
	 * WIRE_PSK for the worker; WIRE_KEY for the keeper, whose answer decides
	 * whether the worker gets WIRE_CERTIFICATE; WIRE_REFUSED for the worker.
	 */
	struct wire_message msg;
	int fd;			/* WIRE_KEY: our certificates, sealed memory; else -1 */
	int32_t serial;		/* WIRE_PSK: of the key; else 0 */
};

/* Has a handshake of @nl to ask for keys? */
static inline bool keys_needed(const struct netlink_request *nl)
{
	return nl->auth == HS_AUTH_PSK ||
	       (nl->auth == HS_AUTH_X509 && (nl->certificate || nl->private_key));
}

/*
 * Reads the keys for the handshake @job of the request @nl. @identity: the PSK
 * a client offers, for a server. @keyrings: the configured names. @ret is to be
 * cleared with keys_clear(), and soon: it holds the key.
 */
void keys_answer(struct keys_answer *ret, const struct netlink_request *nl, uint64_t job,
		 const char *identity, const char *const *keyrings, const struct log *log);

/* Wipes and closes. */
void keys_clear(struct keys_answer *answer);

#endif
