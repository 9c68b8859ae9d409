// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The library reads every name of a certificate as soon as it imports it, at
 * 5 us each: 16 KiB hold 3700 of them, ten certificates 37,000, and a stranger
 * may send that. So they are counted in the DER before it sees them.
 */
#include <string.h>

#include "tlshd/worker/engine-private.h"

#define BOOLEAN 0x01
#define OCTET_STRING 0x04
#define SEQUENCE 0x30

/* Takes tag and length from the front of @at. Returns the tag; -1: not DER of that size. */
static int take_header(gnutls_datum_t *at, size_t *ret_len)
{
	size_t n, len;
	int tag;

	if (at->size < 2)
		return -1;
	tag = at->data[0];
	len = at->data[1];
	at->data += 2;
	at->size -= 2;
	if (len & 0x80) {
		n = len & 0x7f;
		if (n == 0 || n > 3 || n > at->size)
			return -1;
		for (len = 0; n > 0; n--, at->data++, at->size--)
			len = len << 8 | at->data[0];
	}
	*ret_len = len;
	return len <= at->size ? tag : -1;
}

/* Behind the OID of the extension: critical perhaps, then the names in an OCTET STRING. */
static unsigned int count_extension(gnutls_datum_t at)
{
	unsigned int count = 0;
	size_t len;
	int tag = take_header(&at, &len);

	if (tag == BOOLEAN) {
		at.data += len;
		at.size -= (unsigned int)len;
		tag = take_header(&at, &len);
	}
	if (tag != OCTET_STRING || take_header(&at, &len) != SEQUENCE)
		return NAMES_MAX + 1;
	at.size = (unsigned int)len;
	while (at.size > 0 && count <= NAMES_MAX) {
		if (take_header(&at, &len) < 0)
			return NAMES_MAX + 1;
		at.data += len;
		at.size -= (unsigned int)len;
		count++;
	}
	return count;
}

unsigned int count_names(const gnutls_datum_t *der)
{
	static const uint8_t oid[] = { 0x06, 0x03, 0x55, 0x1d, 0x11 };	/* subjectAltName */
	const uint8_t *end = der->data + der->size, *at = der->data;
	unsigned int count = 0;

	while (count <= NAMES_MAX && (at = memmem(at, (size_t)(end - at), oid, sizeof(oid)))) {
		at += sizeof(oid);
		count += count_extension((gnutls_datum_t){ (void *)(uintptr_t)at,
							   (unsigned int)(end - at) });
	}
	return count;
}
