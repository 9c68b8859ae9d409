// SPDX-License-Identifier: GPL-2.0
/*
 * TLS alerts on a socket whose record layer is the kernel's: to send one, and
 * to look at what came instead of data.
 */
#include <linux/net.h>
#include <linux/socket.h>
#include <linux/uio.h>
#include <net/handshake.h>
#include <net/inet_connection_sock.h>
#include <net/sock.h>
#include <net/tcp.h>
/* Before net/tls.h, which in older kernels has a macro for one of its names. */
#include <net/tls_prot.h>
#include <net/tls.h>

/* level and description, RFC 8446 section 6 */
#define ALERT_SIZE	2

/* Does not wait for room. Returns 0 or a negative errno. */
static int tls_alert_send(struct socket *sock, u8 level, u8 description)
{
	u8 alert[ALERT_SIZE] = { level, description };
	union {
		struct cmsghdr hdr;
		u8 space[CMSG_SPACE(sizeof(u8))];
	} control = {
		.hdr = {
			.cmsg_len = CMSG_LEN(sizeof(u8)),
			.cmsg_level = SOL_TLS,
			.cmsg_type = TLS_SET_RECORD_TYPE,
		},
	};
	struct msghdr msg = {
		.msg_control = &control,
		.msg_controllen = sizeof(control),
		.msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL,
	};
	struct kvec iov = { .iov_base = alert, .iov_len = sizeof(alert) };
	int ret;

	*(u8 *)CMSG_DATA(&control.hdr) = TLS_RECORD_TYPE_ALERT;
	ret = kernel_sendmsg(sock, &msg, &iov, 1, sizeof(alert));
	return ret < 0 ? ret : 0;
}

/* An agent that failed half way leaves the ULP, and a socket without keys. */
static bool has_tls(const struct sock *sk)
{
	const struct tcp_ulp_ops *ulp;
	bool ret;

	if (!sk || !sk_is_tcp(sk))
		return false;
	rcu_read_lock();
	ulp = READ_ONCE(inet_csk(sk)->icsk_ulp_ops);
	ret = ulp && !strcmp(ulp->name, "tls") &&
	      tls_get_ctx(sk)->tx_conf != TLS_BASE;
	rcu_read_unlock();
	return ret;
}

/**
 * tls_handshake_close - tell the peer that this end sends no more
 * @sock: socket, with or without TLS
 *
 * Sends close_notify where there is a TLS session. May sleep, but does not
 * wait for room, unless another task sends meanwhile and does.
 */
void tls_handshake_close(struct socket *sock)
{
	if (has_tls(sock->sk))
		tls_alert_send(sock, TLS_ALERT_LEVEL_WARNING,
			       TLS_ALERT_DESC_CLOSE_NOTIFY);
}
EXPORT_SYMBOL(tls_handshake_close);

/**
 * tls_get_record_type - what kind of record was received?
 * @sk: socket with TLS
 * @msg: control message that recvmsg gave
 *
 * Returns TLS_RECORD_TYPE_*, or 0 when @msg does not tell.
 */
u8 tls_get_record_type(const struct sock *sk, const struct cmsghdr *msg)
{
	if (msg->cmsg_level != SOL_TLS || msg->cmsg_type != TLS_GET_RECORD_TYPE)
		return 0;
	return *(u8 *)CMSG_DATA((struct cmsghdr *)msg);
}
EXPORT_SYMBOL(tls_get_record_type);

/**
 * tls_alert_recv - look at an alert that was received
 * @sk: socket with TLS
 * @msg: message with a record of the type TLS_RECORD_TYPE_ALERT, at the
 *	start of the kvec of its iterator; that may still be where recvmsg left
 *	it, but for a kvec without room for more, which needs iov_iter_revert()
 * @level: set to its level
 * @description: set to its description
 *
 * Both are set to those of an internal error where there is no whole alert.
 */
void tls_alert_recv(const struct sock *sk, const struct msghdr *msg,
		    u8 *level, u8 *description)
{
	const struct iov_iter *iter = &msg->msg_iter;
	const u8 *alert;

	*level = TLS_ALERT_LEVEL_FATAL;
	*description = TLS_ALERT_DESC_INTERNAL_ERROR;
	if (!iov_iter_is_kvec(iter) ||
	    iter->iov_offset + iov_iter_single_seg_count(iter) < ALERT_SIZE)
		return;
	alert = iter->kvec->iov_base;
	*level = alert[0];
	*description = alert[1];
}
EXPORT_SYMBOL(tls_alert_recv);
