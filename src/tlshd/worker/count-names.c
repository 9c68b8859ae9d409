// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The library reads every name of a certificate as soon as it imports it, at
 * 5 us each: 16 KiB hold 3700 of them, ten certificates 37,000, and a stranger
 * may send that. So they are counted in the DER before it sees them.
 *
 * A name of a directory takes 16 us for each of its parts, which may have 12
 * bytes: it counts as one name for each 4 bytes. So does the identifier of the
 * authority's key, which may have such names in it, and which the library reads
 * again for each certificate that could be the issuer's.
 */
#include <string.h>

#include "tlshd/worker/engine-private.h"

#define BOOLEAN 0x01
#define OCTET_STRING 0x04
#define SEQUENCE 0x30
#define DIRECTORY_NAME 0xa4
#define BYTES_OF_A_NAME 4
#define PLAIN_KEY_ID 64	/* bytes; without any name it has 22 to 34 */
#define OBJECT_IDENTIFIER 0x06
#define LONG_FORM 0x80	/* of a length */
#define OID_LEN 4	/* without its tag */

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
	if (len & LONG_FORM) {
		n = len & 0x7f;
		if (n == 0 || n > 3 || n > at->size)
			return -1;
		for (len = 0; n > 0; n--, at->data++, at->size--)
			len = len << 8 | at->data[0];
	}
	*ret_len = len;
	return len <= at->size ? tag : -1;
}

static void skip(gnutls_datum_t *at, size_t len)
{
	at->data += len;
	at->size -= (unsigned int)len;
}

/* Behind the OID of an extension: critical perhaps, then a SEQUENCE in an OCTET STRING: to that. */
static bool enter_extension(gnutls_datum_t *at)
{
	size_t len;
	int tag = take_header(at, &len);

	if (tag == BOOLEAN) {
		skip(at, len);
		tag = take_header(at, &len);
	}
	if (tag != OCTET_STRING || take_header(at, &len) != SEQUENCE)
		return false;
	at->size = (unsigned int)len;
	return true;
}

static unsigned int count_alternative_names(gnutls_datum_t at)
{
	unsigned int count = 0;
	size_t len;
	int tag;

	if (!enter_extension(&at))
		return NAMES_MAX + 1;
	while (at.size > 0 && count <= NAMES_MAX) {
		tag = take_header(&at, &len);
		if (tag < 0)
			return NAMES_MAX + 1;
		skip(&at, len);
		count += tag == DIRECTORY_NAME ? 1 + (unsigned int)len / BYTES_OF_A_NAME : 1;
	}
	return count;
}

static unsigned int count_authority(gnutls_datum_t at)
{
	if (!enter_extension(&at))
		return NAMES_MAX + 1;
	return at.size <= PLAIN_KEY_ID ? 0 : at.size / BYTES_OF_A_NAME;
}

/*
 * In each extension @oid; wherever its bytes are in @der, it might be one. The library takes its
 * length in a longer form than DER has, too, of which the last byte is the same: nobody needs that.
 */
static unsigned int count_in(const gnutls_datum_t *der, const uint8_t oid[OID_LEN],
			     unsigned int (*count_extension)(gnutls_datum_t at))
{
	const uint8_t *end = der->data + der->size, *at = der->data;
	unsigned int count = 0;
	uint8_t before;

	while (count <= NAMES_MAX && (at = memmem(at, (size_t)(end - at), oid, OID_LEN))) {
		before = at > der->data ? at[-1] : 0;
		at += OID_LEN;
		if (before == OBJECT_IDENTIFIER)
			count += count_extension((gnutls_datum_t){ (void *)(uintptr_t)at,
								   (unsigned int)(end - at) });
		else if (!before || (before & LONG_FORM))
			return NAMES_MAX + 1;
	}
	return count;
}

unsigned int count_names(const gnutls_datum_t *der)
{
	static const uint8_t alternative_names[OID_LEN] = { 0x03, 0x55, 0x1d, 0x11 };
	static const uint8_t authority_key[OID_LEN] = { 0x03, 0x55, 0x1d, 0x23 };

	return count_in(der, alternative_names, count_alternative_names) +
	       count_in(der, authority_key, count_authority);
}
