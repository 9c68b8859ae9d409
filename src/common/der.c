// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/der.h"

#define TAG_SEQUENCE 0x30
#define LONG_FORM 0x80

size_t der_sequence_size(const uint8_t *data, size_t len)
{
	size_t header = 2, size;

	if (len < header || data[0] != TAG_SEQUENCE)
		return 0;
	size = data[1];
	if (size & LONG_FORM) {
		size_t n = size & ~(size_t)LONG_FORM;

		/* 0 bytes are the indefinite form of BER; 4 bytes reach beyond all we read. */
		if (n == 0 || n > 4 || len < header + n)
			return 0;
		size = 0;
		for (size_t i = 0; i < n; i++)
			size = size << 8 | data[header + i];
		header += n;
	}
	return size > len - header ? 0 : header + size;
}
