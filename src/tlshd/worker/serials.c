// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lists of revoked certificates have up to some 100,000 entries, and each worker has its own copy,
 * in locked memory: 21 bytes an entry, in two blocks. In a hash table they would be as many
 * pieces, each in the way when what the library needed to read the list, 900 bytes an entry, is
 * given back.
 */
#include "tlshd/worker/engine-private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct serials {
	GByteArray *bytes;	/* of each: a byte of length, its bytes */
	GArray *places;		/* uint32_t into bytes, in order once sorted */
};

struct serials *serials_new(void)
{
	struct serials *s = g_new0(struct serials, 1);

	s->bytes = g_byte_array_new();
	s->places = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	return s;
}

void serials_free(struct serials *s)
{
	if (!s)
		return;
	g_byte_array_free(s->bytes, TRUE);
	g_array_free(s->places, TRUE);
	g_free(s);
}

/* So that two encodings of a number are one. */
static void drop_zeros(const uint8_t **serial, size_t *len)
{
	while (*len > 1 && **serial == 0) {
		(*serial)++;
		(*len)--;
	}
}

void serials_add(struct serials *s, const uint8_t *serial, size_t len)
{
	uint32_t place = s->bytes->len;
	uint8_t octet;

	drop_zeros(&serial, &len);
	octet = (uint8_t)len;
	g_byte_array_append(s->bytes, &octet, 1);
	g_byte_array_append(s->bytes, serial, (guint)len);
	g_array_append_val(s->places, place);
}

static int compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	return a_len != b_len ? (a_len < b_len ? -1 : 1) : memcmp(a, b, a_len);
}

static int compare_places(const void *a, const void *b, void *ctx)
{
	const struct serials *s = ctx;
	const uint8_t *x = s->bytes->data + *(const uint32_t *)a;
	const uint8_t *y = s->bytes->data + *(const uint32_t *)b;

	return compare(x + 1, *x, y + 1, *y);
}

void serials_sort(struct serials *s)
{
	g_array_sort_with_data(s->places, compare_places, s);
}

void serials_move(struct serials *s)
{
	GByteArray *bytes = g_byte_array_sized_new(s->bytes->len);
	GArray *places = g_array_sized_new(FALSE, FALSE, sizeof(uint32_t), s->places->len);

	g_byte_array_append(bytes, s->bytes->data, s->bytes->len);
	g_array_append_vals(places, s->places->data, s->places->len);
	g_byte_array_free(s->bytes, TRUE);
	g_array_free(s->places, TRUE);
	s->bytes = bytes;
	s->places = places;
}

unsigned int serials_count(const struct serials *s)
{
	return s->places->len;
}

bool serials_contain(const struct serials *s, const uint8_t *serial, size_t len)
{
	unsigned int from = 0, to = s->places->len;

	drop_zeros(&serial, &len);
	while (from < to) {
		unsigned int middle = from + (to - from) / 2;
		const uint8_t *at = s->bytes->data + g_array_index(s->places, uint32_t, middle);
		int r = compare(serial, len, at + 1, *at);

		if (r == 0)
			return true;
		if (r < 0)
			to = middle;
		else
			from = middle + 1;
	}
	return false;
}
