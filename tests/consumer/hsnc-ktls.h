/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records over a kTLS socket, for hsnc. */
#ifndef HSNC_KTLS_H
#define HSNC_KTLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum hsnc_recv {
	HSNC_RECV_DATA,		/* application data */
	HSNC_RECV_SKIP,		/* a record without data for us: call again */
	HSNC_RECV_CLOSE_NOTIFY,	/* the peer will send no more, said by an alert */
	HSNC_RECV_EOF,		/* the connection ended without the alert */
	HSNC_RECV_ALERT,	/* another alert */
	HSNC_RECV_AGAIN,	/* nothing there now */
};

/**
 * hsnc_ktls_describe() - what the kernel does on the socket
 * @fd:		TCP socket
 * @text:	set to e.g. "1.3 tx=AES-128-GCM rx=AES-128-GCM"
 * @size:	of @text in bytes
 *
 * Return: 0 if TLS 1.3 is on in both directions; -ENOPROTOOPT if it is not; other errors of
 * getsockopt(2).  @text is set where the return is 0.
 */
int hsnc_ktls_describe(int fd, char *text, size_t size);

/**
 * hsnc_ktls_recv() - receive from one record, without waiting
 * @fd:		kTLS socket
 * @buf:	where the data go
 * @size:	of @buf in bytes
 * @ret_len:	bytes received for HSNC_RECV_DATA, the description for HSNC_RECV_ALERT
 *
 * Return: enum hsnc_recv, or a negative errno.
 */
int hsnc_ktls_recv(int fd, void *buf, size_t size, size_t *ret_len);

/**
 * hsnc_ktls_close_notify() - send the alert and end our direction (RFC 8446 6.1)
 * @fd:		kTLS socket
 *
 * Return: 0 or a negative errno; -EAGAIN: there is no room now, call again.
 */
int hsnc_ktls_close_notify(int fd);

#endif /* HSNC_KTLS_H */
