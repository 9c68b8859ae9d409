// SPDX-License-Identifier: GPL-2.0-or-later
#include "fuzz-memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define SHORT_WRITE 100

struct memory memory;

ssize_t __real_recv(int fd, void *buf, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
int __real_getpeername(int fd, struct sockaddr *addr, socklen_t *len);
int __wrap_getpeername(int fd, struct sockaddr *addr, socklen_t *len);

void memory_reset(void)
{
	GByteArray *to_us = memory.to_us, *from_us = memory.from_us;

	memory = (struct memory){
		.to_us = to_us ? to_us : g_byte_array_new(),
		.from_us = from_us ? from_us : g_byte_array_new(),
	};
	g_byte_array_set_size(memory.to_us, 0);
	g_byte_array_set_size(memory.from_us, 0);
}

ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags)
{
	size_t left = memory.to_us->len - memory.we_read;

	if (fd != FUZZ_FD)
		return __real_recv(fd, buf, len, flags);
	g_assert_true(flags & MSG_DONTWAIT);
	if (!left && memory.closed)
		return 0;
	if (!left || memory.pause) {
		memory.pause = false;
		errno = EAGAIN;
		return -1;
	}
	len = MIN(len, left);
	if (memory.chunk)
		len = MIN(len, memory.chunk);
	if (len)
		memcpy(buf, memory.to_us->data + memory.we_read, len);
	if (flags & MSG_PEEK)
		return (ssize_t)len;
	memory.we_read += len;
	memory.pause = memory.chunk > 0;
	return (ssize_t)len;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	size_t room = memory.short_writes ? SHORT_WRITE : SIZE_MAX, sent = 0;

	if (fd != FUZZ_FD)
		return __real_sendmsg(fd, msg, flags);
	g_assert_cmpint(flags, ==, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (memory.short_writes && (memory.full = !memory.full)) {
		errno = EAGAIN;
		return -1;
	}
	for (size_t i = 0; i < msg->msg_iovlen && room; i++) {
		size_t n = MIN(room, msg->msg_iov[i].iov_len);

		g_byte_array_append(memory.from_us, msg->msg_iov[i].iov_base, (guint)n);
		room -= n;
		sent += n;
	}
	return (ssize_t)sent;
}

int __wrap_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201) };

	if (fd != FUZZ_FD)
		return __real_getpeername(fd, addr, len);
	memcpy(addr, &in, sizeof(in));
	*len = sizeof(in);
	return 0;
}
