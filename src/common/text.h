/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text from strangers, made fit for one line of a log. */
#ifndef TLSHD_COMMON_TEXT_H
#define TLSHD_COMMON_TEXT_H

#include <stddef.h>

/*
 * Copies @len bytes of @src to @dst (@size bytes, at least 8) so that the
 * result is printable, valid UTF-8 on one line: control characters, line and
 * direction marks of Unicode, backslash, double quote and bytes that are not
 * UTF-8 become \xHH. A text that does not fit ends in "..."; escapes and
 * characters are never split. @dst is always NUL-terminated. Returns @dst.
 */
char *text_quote(char *dst, size_t size, const void *src, size_t len);

/*
 * The same, but backslash and double quote stay: for a text of our own that
 * has quoted parts in it already.
 */
char *text_line(char *dst, size_t size, const void *src, size_t len);

/* strlcpy(): copies, cuts at @size - 1 bytes, always NUL-terminates. Returns @dst. */
char *text_copy(char *dst, size_t size, const char *src);

#endif
