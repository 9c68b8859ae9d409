/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a kernel consumer asks for when it wants a TLS session on one of its
 * sockets. A user-space agent makes the handshake; see
 * Documentation/networking/tls-handshake.rst for the rules of a consumer.
 */
#ifndef _NET_HANDSHAKE_H
#define _NET_HANDSHAKE_H

#include <linux/key.h>
#include <linux/types.h>

struct cmsghdr;
struct msghdr;
struct sock;
struct socket;

enum {
	TLS_NO_KEYRING		= 0,
	TLS_NO_PEERID		= 0,
	TLS_NO_CERT		= 0,
	TLS_NO_PRIVKEY		= 0,
};

/**
 * typedef tls_done_func_t - the end of a handshake
 * @data: ta_data of the request
 * @status: 0, or a negative errno
 * @peerid: serial of a key that tells who the peer proved to be, or
 *	TLS_NO_PEERID
 *
 * It is called once for each request that was submitted, unless the request
 * is cancelled first. It runs in process context, mostly in that of the agent
 * with the lock of generic netlink held for reading: it should be short, and
 * load no module. It may submit another request for the same socket.
 */
typedef void	(*tls_done_func_t)(void *data, int status,
				   key_serial_t peerid);

/**
 * struct tls_handshake_args - what to ask for
 * @ta_sock: connected socket with a struct file, of the initial network
 *	namespace or with a reference on its own; nobody else may read from it
 *	or write to it until the request is over
 * @ta_done: called at the end, must not be NULL
 * @ta_data: its first argument
 * @ta_peername: what the peer's certificate has to be for, or NULL; copied
 * @ta_timeout_ms: how long the consumer waits, told to the agent; 0: not told
 * @ta_keyring: serial of a keyring that has the keys named here, or
 *	TLS_NO_KEYRING
 * @ta_my_cert: serial of the key with the local certificate, or TLS_NO_CERT
 *	for the agent's own
 * @ta_my_privkey: serial of the key with its private key, or TLS_NO_PRIVKEY
 * @ta_num_peerids: how many there are of
 * @ta_my_peerids: serials of the pre-shared keys, the preferred one first
 */
struct tls_handshake_args {
	struct socket		*ta_sock;
	tls_done_func_t		ta_done;
	void			*ta_data;
	const char		*ta_peername;
	unsigned int		ta_timeout_ms;
	key_serial_t		ta_keyring;
	key_serial_t		ta_my_cert;
	key_serial_t		ta_my_privkey;
	unsigned int		ta_num_peerids;
	key_serial_t		ta_my_peerids[5];
};

int tls_client_hello_anon(const struct tls_handshake_args *args, gfp_t flags);
int tls_client_hello_x509(const struct tls_handshake_args *args, gfp_t flags);
int tls_client_hello_psk(const struct tls_handshake_args *args, gfp_t flags);
int tls_server_hello_x509(const struct tls_handshake_args *args, gfp_t flags);
int tls_server_hello_psk(const struct tls_handshake_args *args, gfp_t flags);

bool tls_handshake_cancel(struct sock *sk);
void tls_handshake_close(struct socket *sock);

u8 tls_get_record_type(const struct sock *sk, const struct cmsghdr *msg);
void tls_alert_recv(const struct sock *sk, const struct msghdr *msg,
		    u8 *level, u8 *description);

#endif /* _NET_HANDSHAKE_H */
