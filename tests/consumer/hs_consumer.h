/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/hs_consumer: asks the kernel for a TLS handshake on a TCP socket of user space, the way
 * NFS or NVMe/TCP ask for it on theirs, and reports what came back; and ends a session as they
 * do.  For tests only.
 */
#ifndef HS_CONSUMER_H
#define HS_CONSUMER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define HS_CONSUMER_DEVICE	"hs_consumer"
#define HS_CONSUMER_MAX_PEERIDS	5
#define HS_CONSUMER_MAX_NAME	256		/* with the final NUL */

enum hs_consumer_role {
	HS_CONSUMER_CLIENT		= 1,
	HS_CONSUMER_SERVER		= 2,
};

/* A server knows no HS_CONSUMER_UNAUTH: EINVAL. */
enum hs_consumer_auth {
	HS_CONSUMER_UNAUTH		= 1,
	HS_CONSUMER_PSK			= 2,
	HS_CONSUMER_X509		= 3,
};

#define HS_CONSUMER_SUBMITTED	0x1	/* the kernel took the request */
#define HS_CONSUMER_CANCELLED	0x2	/* we cancelled it and won: no callback */
#define HS_CONSUMER_WAIT_OVER	0x4	/* wait_ms was over before the callback */

/**
 * struct hs_consumer_handshake - one handshake, argument of HS_CONSUMER_HANDSHAKE
 * @sockfd:	connected TCP socket; nobody may read from it until the ioctl returns
 * @role:	enum hs_consumer_role
 * @auth:	enum hs_consumer_auth
 * @timeout_ms:	milliseconds, told to the agent; 0: the agent is told none
 * @wait_ms:	milliseconds after which the request is cancelled; 0: 30 s
 * @retry_ms:	milliseconds for which a submission that meets EAGAIN is repeated; 0: 5 s
 * @keyring:	serial of a keyring, 0: none
 * @cert:	serial of the certificate, 0: the agent's own
 * @privkey:	serial of the private key, 0: the agent's own
 * @num_peerids: how many of @peerids are set; a server uses the first one only
 * @peerids:	serials of pre-shared keys
 * @cancel_us:	microseconds after the submission at which the request is cancelled in softirq
 *		context, while the caller waits; 0: it is not.  Linux 6.12 takes its lock with
 *		softirqs enabled, and can hang
 * @peername:	name of the server as a client checks it; empty: none
 * @status:	(out) status of the callback; else the submission's error, -ETIMEDOUT or -EINTR
 *		after a cancel; 0 or negative errno
 * @remote_peerid: (out) the callback's
 * @flags:	(out) HS_CONSUMER_SUBMITTED and so on
 * @callbacks:	(out) how often the callback came; anything but 1 after a submission is a fault,
 *		except 0 after a cancel
 * @stray:	(out) callbacks for requests that were over already, since the module was loaded;
 *		anything but 0 is a fault
 * @retries:	(out) submissions repeated after EAGAIN
 * @elapsed_us:	(out) microseconds from the first submission to the callback, or to the end
 */
struct hs_consumer_handshake {
	__s32	sockfd;
	__u32	role;
	__u32	auth;
	__u32	timeout_ms;
	__u32	wait_ms;
	__u32	retry_ms;
	__s32	keyring;
	__s32	cert;
	__s32	privkey;
	__u32	num_peerids;
	__s32	peerids[HS_CONSUMER_MAX_PEERIDS];
	__u32	cancel_us;
	char	peername[HS_CONSUMER_MAX_NAME];

	__s32	status;
	__s32	remote_peerid;
	__u32	flags;
	__u32	callbacks;
	__u32	stray;
	__u32	retries;
	__u64	elapsed_us;
};

/* Errors: EINVAL a field out of range; EBADF; ENOTSOCK; EPROTOTYPE no TCP socket; ENOTCONN */
#define HS_CONSUMER_HANDSHAKE	_IOWR('h', 0xc0, struct hs_consumer_handshake)

/* tls_handshake_close() on the socket with this descriptor, of whatever kind it is: close_notify is
 * sent where there is a TLS session.  Nothing tells whether it was.  Errors: EBADF; ENOTSOCK
 */
#define HS_CONSUMER_CLOSE	_IOW('h', 0xc1, __s32)

#endif /* HS_CONSUMER_H */
