// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/text.h"

static const struct {
	const char *in, *quoted, *line;
	size_t len;	/* 0: strlen(in) */
} vectors[] = {
	{ "", "", "" },
	{ "nfs.example.net", "nfs.example.net", "nfs.example.net" },
	{ "a\"b\\c", "a\\x22b\\x5cc", "a\"b\\c" },
	{ "a\nb\r\tc", "a\\x0ab\\x0d\\x09c", "a\\x0ab\\x0d\\x09c" },
	{ "a\0b", "a\\x00b", "a\\x00b", 3 },
	{ "\x1b[31m\x7f", "\\x1b[31m\\x7f", "\\x1b[31m\\x7f" },
	{ "gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x94\x92",
	  "gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x94\x92",
	  "gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x94\x92" },
	{ "\xc2\x9b" "31m", "\\xc2\\x9b31m", "\\xc2\\x9b31m" },		/* C1: CSI */
	{ "a\xe2\x80\xae" "b", "a\\xe2\\x80\\xaeb", "a\\xe2\\x80\\xaeb" },	/* U+202E */
	{ "a\xe2\x80\xa8" "b", "a\\xe2\\x80\\xa8b", "a\\xe2\\x80\\xa8b" },	/* U+2028 */
	{ "a\xe2\x81\xa6" "b", "a\\xe2\\x81\\xa6b", "a\\xe2\\x81\\xa6b" },	/* U+2066 */
	{ "\xef\xbb\xbf", "\\xef\\xbb\\xbf", "\\xef\\xbb\\xbf" },		/* U+FEFF */
	{ "\xff\xfe", "\\xff\\xfe", "\\xff\\xfe" },
	{ "\xc0\xaf", "\\xc0\\xaf", "\\xc0\\xaf" },			/* overlong */
	{ "\xe0\x80\xaf", "\\xe0\\x80\\xaf", "\\xe0\\x80\\xaf" },	/* overlong */
	{ "\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf", "\\xf0\\x80\\x80\\xaf" },
	{ "\xed\xa0\x80", "\\xed\\xa0\\x80", "\\xed\\xa0\\x80" },	/* surrogate */
	{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\xf4\\x90\\x80\\x80" },
	{ "a\xe2\x82", "a\\xe2\\x82", "a\\xe2\\x82" },			/* ends too early */
	{ "\xe2\x28\xa1", "\\xe2(\\xa1", "\\xe2(\\xa1" },
	{ "\x80", "\\x80", "\\x80" },
};

static void test_vectors(void)
{
	char out[128];
	size_t i, len;

	for (i = 0; i < ARRAY_SIZE(vectors); i++) {
		len = vectors[i].len ? vectors[i].len : strlen(vectors[i].in);
		g_assert_true(text_quote(out, sizeof(out), vectors[i].in, len) == out);
		g_assert_cmpstr(out, ==, vectors[i].quoted);
		g_assert_true(text_line(out, sizeof(out), vectors[i].in, len) == out);
		g_assert_cmpstr(out, ==, vectors[i].line);
	}
}

static void test_cut(void)
{
	static const struct {
		const char *in;
		size_t size;
		const char *out;
	} cuts[] = {
		{ "1234567", 8, "1234567" },		/* just fits */
		{ "12345678", 8, "1234..." },
		{ "12\xe2\x82\xac" "45", 8, "12\xe2\x82\xac" "45" },
		{ "12\xe2\x82\xac" "456", 8, "12..." },	/* the character is not split */
		{ "1\xe2\x82\xac" "4567", 8, "1\xe2\x82\xac..." },
		{ "\n\n", 8, "\\x0a..." },
		{ "a\n\n", 8, "a..." },			/* the escape is not split */
		{ "\n", 8, "\\x0a" },
		{ "abc\n", 8, "abc\\x0a" },
		{ "abcd\n", 8, "abcd..." },
	};
	char out[16];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cuts); i++) {
		memset(out, 'X', sizeof(out));
		text_quote(out, cuts[i].size, cuts[i].in, strlen(cuts[i].in));
		g_assert_cmpstr(out, ==, cuts[i].out);
		g_assert_cmpint(out[cuts[i].size], ==, 'X');
	}
}

static void test_tiny(void)
{
	char out[4] = "XXX";

	text_quote(out, 0, "abcdef", 6);
	g_assert_cmpstr(out, ==, "XXX");
	text_quote(out, 1, "abcdef", 6);
	g_assert_cmpstr(out, ==, "");
	text_quote(out, 4, "abcdef", 6);
	g_assert_cmpstr(out, ==, "...");
	text_quote(out, 4, NULL, 0);
	g_assert_cmpstr(out, ==, "");
}

/* The bytes a quoted text stands for. */
static size_t unquote(uint8_t *dst, const char *src)
{
	size_t len = 0;

	while (*src) {
		if (*src == '\\') {
			dst[len++] = (uint8_t)(g_ascii_xdigit_value(src[2]) << 4 |
					       g_ascii_xdigit_value(src[3]));
			src += 4;
		} else {
			dst[len++] = (uint8_t)*src++;
		}
	}
	return len;
}

static void check_random(const uint8_t *in, size_t len, size_t size)
{
	uint8_t back[1024];
	char out[600];
	char *c;
	size_t n;

	memset(out, 0x55, sizeof(out));
	text_quote(out, size, in, len);
	n = strlen(out);
	g_assert_cmpuint(n, <, size);
	g_assert_cmpint(out[size], ==, 0x55);
	g_assert_true(g_utf8_validate(out, -1, NULL));
	for (c = out; *c; c = g_utf8_next_char(c)) {
		g_assert_false(g_unichar_iscntrl(g_utf8_get_char(c)));
		g_assert_cmpint(*c, !=, '"');
	}
	/* Cut or whole, what is there stands for the beginning of what went in. */
	if (n >= 3 && !strcmp(out + n - 3, "...")) {
		out[n - 3] = '\0';
		n = unquote(back, out);
		g_assert_cmpuint(n, <=, len);
		g_assert_cmpmem(back, n, in, n);
	} else {
		n = unquote(back, out);
		g_assert_cmpmem(back, n, in, len);
	}
}

static void test_random(void)
{
	static const char *const pieces[] = {
		"a", "\\", "\"", "\n", "\xc3\xbc", "\xe2\x82\xac",
		"\xf0\x9f\x94\x92", "\xe2\x80\xae",
	};
	uint8_t in[120];
	size_t len, n;
	int i;

	for (i = 0; i < 20000; i++) {
		for (len = 0; len < sizeof(in) - 4;) {
			if (g_test_rand_int_range(0, 40) == 0)
				break;
			if (i % 2) {
				in[len++] = (uint8_t)g_test_rand_int_range('/', 0x100);
				continue;
			}
			n = (size_t)g_test_rand_int_range(0, ARRAY_SIZE(pieces));
			memcpy(in + len, pieces[n], strlen(pieces[n]));
			len += strlen(pieces[n]);
		}
		check_random(in, len, (size_t)g_test_rand_int_range(8, 590));
	}
}

static void test_copy(void)
{
	char out[5] = "XXXX";

	g_assert_true(text_copy(out, 0, "abc") == out);
	g_assert_cmpstr(out, ==, "XXXX");
	g_assert_cmpstr(text_copy(out, sizeof(out), "abc"), ==, "abc");
	g_assert_cmpstr(text_copy(out, sizeof(out), "abcd"), ==, "abcd");
	g_assert_cmpstr(text_copy(out, sizeof(out), "abcde"), ==, "abcd");
	g_assert_cmpstr(text_copy(out, 1, "abcde"), ==, "");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/text/quote/vectors", test_vectors);
	g_test_add_func("/text/quote/cut", test_cut);
	g_test_add_func("/text/quote/tiny", test_tiny);
	g_test_add_func("/text/quote/random", test_random);
	g_test_add_func("/text/copy", test_copy);
	return g_test_run();
}
