/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is this certificate the one for that peer? RFC 9525, RFC 9289 5.2.1: only
 * subjectAltName counts (dNSName for a name, iPAddress for an address), the
 * common name never. No look-up of any kind.
 */
#ifndef TLSHD_WORKER_PEERNAME_H
#define TLSHD_WORKER_PEERNAME_H

#include <stdbool.h>
#include <stdint.h>

#include "common/handshake.h"

/* What is to be matched, normalised. */
struct peername {
	bool is_address;
	uint8_t addr[16];	/* IPv4 as IPv4-mapped IPv6, so that both forms are one */
	char name[HS_NAME_MAX];	/* lower case A-labels without final dot; text of the address */
};

/*
 * Understands @text: a DNS name (U-labels are mapped to A-labels), an IPv4 or
 * IPv6 literal, with or without brackets and scope id, which are dropped.
 * Returns 0 or -EINVAL for what can be neither.
 */
int peername_parse(const char *text, struct peername *ret);

/* From the socket's remote address. Returns 0 or a negative errno. */
int peername_from_socket(int fd, struct peername *ret);

/* From an address in network byte order: 4 or 16 bytes. Returns 0 or -EINVAL. */
int peername_from_bytes(const uint8_t *addr, unsigned int len, struct peername *ret);

/*
 * Does a dNSName of @len bytes match? Case-insensitive; a "*" may stand only
 * for the whole leftmost label, and there must be two more labels. Names with
 * NUL or other control bytes never match.
 */
bool peername_match_dns(const struct peername *want, const char *san, unsigned int len);

/* Does an iPAddress of @len bytes (4 or 16) match? */
bool peername_match_ip(const struct peername *want, const uint8_t *san, unsigned int len);

#endif
