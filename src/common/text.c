// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A log line is read in a terminal, so what a stranger sends (a peer name, a
 * certificate's subject) must not be able to move the cursor, start a second
 * line or reverse the direction of writing. Such characters are replaced
 * byte by byte with \xHH; everything else is left as it is, because names in
 * other scripts are legitimate and unreadable as escapes.
 */
#include "common/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ESCAPE_LEN 4	/* \xHH */
#define ELLIPSIS "..."

/* Bytes of the UTF-8 character at @s, of which @len are there; 0: it is none (RFC 3629). */
static size_t utf8_char(const uint8_t *s, size_t len, uint32_t *ret)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n, i;
	uint32_t c;

	if (s[0] < 0x80)
		n = 1;
	else if (s[0] >= 0xc2 && s[0] < 0xe0)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] < 0xf0)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] < 0xf5)
		n = 4;
	else
		return 0;
	if (n > len)
		return 0;

	c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret = c;
	return n;
}

/* Does @c act on the terminal or the line instead of standing for itself? */
static bool is_active(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) ||	/* C0, DEL, C1 */
	       c == 0x61c || c == 0x200e || c == 0x200f ||	/* direction marks */
	       (c >= 0x2028 && c <= 0x202e) ||		/* line ends, direction overrides */
	       (c >= 0x2066 && c <= 0x2069) ||		/* direction isolates */
	       c == 0xfeff;				/* byte order mark */
}

static void put_escape(char *dst, uint8_t byte)
{
	static const char digits[] = "0123456789abcdef";

	dst[0] = '\\';
	dst[1] = 'x';
	dst[2] = digits[byte >> 4];
	dst[3] = digits[byte & 15];
}

static char *quote(char *dst, size_t size, const uint8_t *src, size_t len, const char *also)
{
	size_t pos = 0, cut = 0, in, n, i;
	bool escape;
	uint32_t c;

	if (size < sizeof(ELLIPSIS)) {
		if (size > 0)
			dst[0] = '\0';
		return dst;
	}
	while (len > 0) {
		in = utf8_char(src, len, &c);
		escape = in == 0 || is_active(c) || (c < 0x80 && strchr(also, (int)c));
		if (in == 0)
			in = 1;
		n = escape ? in * ESCAPE_LEN : in;
		if (n >= size - pos) {
			memcpy(dst + cut, ELLIPSIS, sizeof(ELLIPSIS));
			return dst;
		}
		for (i = 0; escape && i < in; i++)
			put_escape(dst + pos + i * ESCAPE_LEN, src[i]);
		if (!escape)
			memcpy(dst + pos, src, in);
		pos += n;
		if (size - pos >= sizeof(ELLIPSIS))
			cut = pos;
		src += in;
		len -= in;
	}
	dst[pos] = '\0';
	return dst;
}

char *text_quote(char *dst, size_t size, const void *src, size_t len)
{
	return quote(dst, size, src, len, "\\\"");
}

char *text_line(char *dst, size_t size, const void *src, size_t len)
{
	return quote(dst, size, src, len, "");
}

char *text_copy(char *dst, size_t size, const char *src)
{
	size_t len;

	if (size == 0)
		return dst;
	len = strnlen(src, size - 1);
	memcpy(dst, src, len);
	dst[len] = '\0';
	return dst;
}
