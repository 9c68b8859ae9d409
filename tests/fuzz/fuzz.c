// SPDX-License-Identifier: GPL-2.0-or-later
#include "fuzz.h"

#include <sys/socket.h>

/*
 * Written from what text.h promises, not from text.c: with GLib's own idea of
 * what UTF-8 and a control character are.
 */
void check_line(const char *text, size_t size)
{
	size_t len = strnlen(text, size);

	g_assert_cmpuint(len, <, size);
	g_assert_true(g_utf8_validate(text, (gssize)len, NULL));
	for (size_t i = 0; i < len; i += g_utf8_skip[(unsigned char)text[i]]) {
		gunichar c = g_utf8_get_char(text + i);

		g_assert_false(g_unichar_iscntrl(c));
		g_assert_true(c != 0x61c && c != 0x200e && c != 0x200f && c != 0xfeff);
		g_assert_false((c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069));
	}
}

static void sink(void *ctx, int priority, const char *text, const struct log_field *fields,
		 size_t n_fields)
{
	g_assert_cmpint(priority, >=, LOG_ERR);
	check_line(text, LOG_TEXT_MAX);
	for (size_t i = 0; i < n_fields; i++)
		g_assert_nonnull(fields[i].name);
}

const struct log fuzz_log = { .level = LOG_DEBUG, .sink = sink };

void *exact_copy(const void *data, size_t size)
{
	void *copy = g_malloc(size ? size : 1);

	if (size)
		memcpy(copy, data, size);
	return copy;
}

void say_bytes(int end, const void *bytes, size_t len, int fd)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		mh.msg_control = control.buf;
		mh.msg_controllen = sizeof(control.buf);
		control.hdr.cmsg_level = SOL_SOCKET;
		control.hdr.cmsg_type = SCM_RIGHTS;
		control.hdr.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.hdr), &fd, sizeof(int));
	}
	sendmsg(end, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
}
