/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers of the generic netlink family "handshake", version 1, as Linux 6.4
 * and later speak it. Kept here because the kernel headers of the systems we
 * build on (Linux 6.1) do not have them yet.
 */
#ifndef TLSHD_UAPI_HANDSHAKE_H
#define TLSHD_UAPI_HANDSHAKE_H

#define HANDSHAKE_FAMILY_NAME "handshake"
#define HANDSHAKE_FAMILY_VERSION 1
#define HANDSHAKE_MCGRP_TLSHD "tlshd"

enum handshake_handler_class {
	HANDSHAKE_HANDLER_CLASS_NONE,
	HANDSHAKE_HANDLER_CLASS_TLSHD,
};

enum handshake_msg_type {
	HANDSHAKE_MSG_TYPE_UNSPEC,
	HANDSHAKE_MSG_TYPE_CLIENTHELLO,
	HANDSHAKE_MSG_TYPE_SERVERHELLO,
};

enum handshake_auth {
	HANDSHAKE_AUTH_UNSPEC,
	HANDSHAKE_AUTH_UNAUTH,
	HANDSHAKE_AUTH_PSK,
	HANDSHAKE_AUTH_X509,
};

enum handshake_x509 {
	HANDSHAKE_A_X509_CERT = 1,	/* s32, key serial */
	HANDSHAKE_A_X509_PRIVKEY,	/* s32, key serial */
	HANDSHAKE_A_X509_MAX = HANDSHAKE_A_X509_PRIVKEY,
};

enum handshake_accept {
	HANDSHAKE_A_ACCEPT_SOCKFD = 1,		/* s32; reply */
	HANDSHAKE_A_ACCEPT_HANDLER_CLASS,	/* u32; request */
	HANDSHAKE_A_ACCEPT_MESSAGE_TYPE,	/* u32 */
	HANDSHAKE_A_ACCEPT_TIMEOUT,		/* u32, ms; absent: none */
	HANDSHAKE_A_ACCEPT_AUTH_MODE,		/* u32 */
	HANDSHAKE_A_ACCEPT_PEER_IDENTITY,	/* u32, key serial, repeated */
	HANDSHAKE_A_ACCEPT_CERTIFICATE,		/* nest of enum handshake_x509, repeated */
	HANDSHAKE_A_ACCEPT_PEERNAME,		/* string */
	HANDSHAKE_A_ACCEPT_KEYRING,		/* u32, key serial; since Linux 6.17 */
	HANDSHAKE_A_ACCEPT_MAX = HANDSHAKE_A_ACCEPT_KEYRING,
};

enum handshake_done {
	HANDSHAKE_A_DONE_STATUS = 1,	/* u32, positive errno, at most 4095 */
	HANDSHAKE_A_DONE_SOCKFD,	/* s32 */
	HANDSHAKE_A_DONE_REMOTE_AUTH,	/* u32, repeated; consumers get the first */
	HANDSHAKE_A_DONE_MAX = HANDSHAKE_A_DONE_REMOTE_AUTH,
};

enum handshake_cmd {
	HANDSHAKE_CMD_READY = 1,	/* multicast, from the kernel */
	HANDSHAKE_CMD_ACCEPT,
	HANDSHAKE_CMD_DONE,
};

#endif
