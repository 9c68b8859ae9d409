// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The record layer as the kernel shows it: data records are plain reads and writes, every other
 * type travels with a control message that holds the type (Linux Documentation/networking/tls.rst).
 */
#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "hsnc-ktls.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TLS_SET_RECORD_TYPE
#define TLS_SET_RECORD_TYPE 1
#endif
#ifndef TLS_GET_RECORD_TYPE
#define TLS_GET_RECORD_TYPE 2
#endif

/* RFC 8446 5.1 and 6 */
#define RECORD_ALERT		21
#define RECORD_HANDSHAKE	22
#define RECORD_DATA		23
#define ALERT_WARNING		1
#define ALERT_CLOSE_NOTIFY	0

static const struct cipher {
	uint16_t	type;
	const char	*name;
} ciphers[] = {
	{ TLS_CIPHER_AES_GCM_128,	"AES-128-GCM" },
	{ TLS_CIPHER_AES_GCM_256,	"AES-256-GCM" },
	{ TLS_CIPHER_AES_CCM_128,	"AES-128-CCM" },
	{ TLS_CIPHER_CHACHA20_POLY1305,	"CHACHA20-POLY1305" },
};

/* The kernel gives the type only when exactly the size of struct tls_crypto_info is asked for. */
static int cipher_name(int fd, int direction, const char **ret_name)
{
	struct tls_crypto_info info;
	socklen_t len = sizeof(info);
	size_t i;

	if (getsockopt(fd, SOL_TLS, direction, &info, &len) < 0)
		return errno == EBUSY ? -ENOPROTOOPT : -errno;
	if (info.version != TLS_1_3_VERSION)
		return -ENOPROTOOPT;
	for (i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++) {
		if (ciphers[i].type == info.cipher_type) {
			*ret_name = ciphers[i].name;
			return 0;
		}
	}
	*ret_name = "unknown";
	return 0;
}

int hsnc_ktls_describe(int fd, char *text, size_t size)
{
	const char *tx, *rx;
	char ulp[16] = "";
	socklen_t len = sizeof(ulp) - 1;
	int ret;

	if (getsockopt(fd, IPPROTO_TCP, TCP_ULP, ulp, &len) < 0)
		return -errno;
	if (strcmp(ulp, "tls") != 0)
		return -ENOPROTOOPT;
	ret = cipher_name(fd, TLS_TX, &tx);
	if (!ret)
		ret = cipher_name(fd, TLS_RX, &rx);
	if (!ret)
		snprintf(text, size, "1.3 tx=%s rx=%s", tx, rx);
	return ret;
}

static int alert(const uint8_t *body, size_t len, size_t *ret_len)
{
	if (len < 2)
		return -EBADMSG;
	if (body[1] == ALERT_CLOSE_NOTIFY)
		return HSNC_RECV_CLOSE_NOTIFY;
	*ret_len = body[1];
	return HSNC_RECV_ALERT;
}

int hsnc_ktls_recv(int fd, void *buf, size_t size, size_t *ret_len)
{
	union {
		char space[CMSG_SPACE(sizeof(uint8_t))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	const struct cmsghdr *cmsg;
	uint8_t type;
	ssize_t len;

	len = recvmsg(fd, &msg, MSG_DONTWAIT);
	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? HSNC_RECV_AGAIN : -errno;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg)
		return len == 0 ? HSNC_RECV_EOF : -EPROTO;
	if (cmsg->cmsg_level != SOL_TLS || cmsg->cmsg_type != TLS_GET_RECORD_TYPE)
		return -EPROTO;

	memcpy(&type, CMSG_DATA(cmsg), sizeof(type));
	switch (type) {
	case RECORD_DATA:
		*ret_len = (size_t)len;
		return len ? HSNC_RECV_DATA : HSNC_RECV_SKIP;
	case RECORD_HANDSHAKE:
		/* NewSessionTicket; what else may come here no consumer understands either */
		return HSNC_RECV_SKIP;
	case RECORD_ALERT:
		return alert(buf, (size_t)len, ret_len);
	default:
		return -EPROTO;
	}
}

int hsnc_ktls_close_notify(int fd)
{
	uint8_t body[2] = { ALERT_WARNING, ALERT_CLOSE_NOTIFY };
	union {
		char space[CMSG_SPACE(sizeof(uint8_t))];
		struct cmsghdr align;
	} control = { .space = { 0 } };
	struct iovec iov = { .iov_base = body, .iov_len = sizeof(body) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_TLS;
	cmsg->cmsg_type = TLS_SET_RECORD_TYPE;
	cmsg->cmsg_len = CMSG_LEN(sizeof(uint8_t));
	*CMSG_DATA(cmsg) = RECORD_ALERT;

	if (sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -errno;
	if (shutdown(fd, SHUT_WR) < 0 && errno != ENOTCONN)
		return -errno;
	return 0;
}
