/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one log line of a handshake. */
#ifndef TLSHD_MONITOR_REPORT_H
#define TLSHD_MONITOR_REPORT_H

#include <stdint.h>

#include "common/handshake.h"
#include "common/log.h"

struct report {
	enum hs_role role;
	enum hs_auth auth;
	const char *peer;	/* remote address and port, as text */
	const char *peername;	/* what the consumer asked for; "" = nothing */
	uint64_t duration_us;	/* from ACCEPT to the outcome */
	unsigned int status;	/* what DONE carried */
	const char *psk_identity;	/* a PSK's; NULL or "": not known */
	int32_t key;		/* serial of the PSK that was used; 0: none */
	const struct hs_result *result;
};

/* LOG_INFO for success, LOG_ERR for what is wrong here for all handshakes, else LOG_WARNING. */
void report_handshake(const struct log *log, const struct report *report);

/* The remote address of @fd as "192.0.2.1:2049" or "[2001:db8::1]:2049"; "unknown peer". Returns @buf. */
const char *report_peer(int fd, char *buf, size_t size);

#endif
