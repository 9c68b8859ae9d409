// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Texts of strangers on their way to the log: whatever bytes, and whatever room
 * there is for them, what comes out is one clean line.
 */
#include "common/text.h"
#include "fuzz.h"

#define SIZE_MAX_HERE 2100	/* more than any buffer of the program */

static bool has_plain_quote(const char *text)
{
	for (; *text; text++) {
		if (*text == '"')
			return true;
		/* The only backslash is that of \xHH. */
		if (*text == '\\' && !(text[1] == 'x' && g_ascii_isxdigit(text[2]) &&
				       g_ascii_isxdigit(text[3])))
			return true;
	}
	return false;
}

static void check_copy(const char *text, size_t size)
{
	g_autofree char *dst = g_malloc(size);
	size_t len = strlen(text);

	memset(dst, 'x', size);
	g_assert_true(text_copy(dst, size, text) == dst);
	g_assert_cmpuint(strlen(dst), ==, len < size ? len : size - 1);
	g_assert_true(strncmp(dst, text, size - 1) == 0);
}

static void check_quote(const uint8_t *bytes, size_t len, size_t size)
{
	g_autofree char *dst = g_malloc(size), *all = g_malloc(4 * len + 8);

	g_assert_true(text_quote(dst, size, bytes, len) == dst);
	check_line(dst, size);
	g_assert_false(has_plain_quote(dst));
	/* With room enough nothing is cut; with less, it begins alike. */
	text_quote(all, 4 * len + 8, bytes, len);
	check_line(all, 4 * len + 8);
	if (strcmp(all, dst) == 0)
		return;
	g_assert_cmpuint(strlen(all), >=, size);
	g_assert_true(g_str_has_suffix(dst, "..."));
	g_assert_true(strncmp(all, dst, strlen(dst) - 3) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	size_t room = 8 + take_u16(&in) % SIZE_MAX_HERE;
	g_autofree char *dst = g_malloc(room), *text = NULL;

	check_quote(in.at, in.left, room);
	text_line(dst, room, in.at, in.left);
	check_line(dst, room);
	text = g_strndup((const char *)in.at, in.left);
	check_copy(text, room);
	/* The log's own buffers, and a text where a name should be. */
	log_info(&fuzz_log, "%s", text);
	log_info(&fuzz_log, "the peer \"%s\" said %zu bytes: %s", dst, in.left, text);
	return 0;
}
