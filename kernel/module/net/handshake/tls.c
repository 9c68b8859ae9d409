// SPDX-License-Identifier: GPL-2.0
/*
 * Handshakes for TLS: what consumers call, and what their agent is told.
 */
#include <linux/key.h>
#include <linux/keyctl.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <net/genetlink.h>
#include <net/handshake.h>
#include <net/sock.h>

#include "handshake.h"

/* A name in the DNS has 253 characters at most. */
#define PEERNAME_MAX	255

struct tls_request {
	tls_done_func_t	done;
	void		*data;
	u32		type;
	u32		auth;
	unsigned int	timeout_ms;
	key_serial_t	keyring;
	key_serial_t	cert;
	key_serial_t	privkey;
	unsigned int	n_peerids;
	key_serial_t	peerids[5];
	char		peername[];
};

static_assert(sizeof_field(struct tls_request, peerids) ==
	      sizeof_field(struct tls_handshake_args, ta_my_peerids),
	      "each has as many peer identities");

/* The agent may read the keys of the consumer's keyring as soon as it has a
 * link to it. The link is the agent's to take away.
 */
#ifdef CONFIG_KEYS
static int link_keyring(key_serial_t serial)
{
	key_ref_t keyring, process;
	int ret;

	process = lookup_user_key(KEY_SPEC_PROCESS_KEYRING, KEY_LOOKUP_CREATE,
				  KEY_NEED_WRITE);
	if (IS_ERR(process))
		return PTR_ERR(process);
	keyring = lookup_user_key(serial, 0, KEY_NEED_LINK);
	if (IS_ERR(keyring)) {
		ret = PTR_ERR(keyring);
	} else {
		ret = key_link(key_ref_to_ptr(process), key_ref_to_ptr(keyring));
		key_ref_put(keyring);
	}
	key_ref_put(process);
	return ret;
}
#else
static int link_keyring(key_serial_t serial)
{
	return -EOPNOTSUPP;
}
#endif

static int put_certificate(const struct tls_request *t, struct sk_buff *msg)
{
	struct nlattr *nest;

	if (t->cert == TLS_NO_CERT && t->privkey == TLS_NO_PRIVKEY)
		return 0;
	nest = nla_nest_start(msg, HANDSHAKE_A_ACCEPT_CERTIFICATE);
	if (!nest ||
	    nla_put_s32(msg, HANDSHAKE_A_X509_CERT, t->cert) ||
	    nla_put_s32(msg, HANDSHAKE_A_X509_PRIVKEY, t->privkey))
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

static int put_peerids(const struct tls_request *t, struct sk_buff *msg)
{
	unsigned int i;

	for (i = 0; i < t->n_peerids; i++)
		if (nla_put_u32(msg, HANDSHAKE_A_ACCEPT_PEER_IDENTITY,
				t->peerids[i]))
			return -EMSGSIZE;
	return 0;
}

static int tls_accept(struct handshake_req *req, struct sk_buff *msg)
{
	const struct tls_request *t = handshake_req_priv(req);
	int ret;

	if (t->keyring != TLS_NO_KEYRING) {
		ret = link_keyring(t->keyring);
		if (ret)
			return ret;
		if (nla_put_u32(msg, HANDSHAKE_A_ACCEPT_KEYRING, t->keyring))
			return -EMSGSIZE;
	}
	if (nla_put_u32(msg, HANDSHAKE_A_ACCEPT_MESSAGE_TYPE, t->type) ||
	    nla_put_u32(msg, HANDSHAKE_A_ACCEPT_AUTH_MODE, t->auth))
		return -EMSGSIZE;
	if (t->timeout_ms &&
	    nla_put_u32(msg, HANDSHAKE_A_ACCEPT_TIMEOUT, t->timeout_ms))
		return -EMSGSIZE;
	if (t->peername[0] &&
	    nla_put_string(msg, HANDSHAKE_A_ACCEPT_PEERNAME, t->peername))
		return -EMSGSIZE;
	ret = put_certificate(t, msg);
	return ret ? ret : put_peerids(t, msg);
}

static void tls_done(struct handshake_req *req, int status,
		     key_serial_t peerid)
{
	const struct tls_request *t = handshake_req_priv(req);

	t->done(t->data, status, peerid);
}

static const struct handshake_ops tls_ops = {
	.handler_class	= HANDSHAKE_HANDLER_CLASS_TLSHD,
	.accept		= tls_accept,
	.done		= tls_done,
};

/**
 * tls_request_alloc - make a request of what a consumer asks for
 * @args: what that is; nothing of it is borrowed
 * @type: enum handshake_msg_type
 * @auth: enum handshake_auth
 * @n_peerids: how many of its peer identities the agent is told
 * @flags: of allocations
 *
 * Returns an ERR_PTR: -EINVAL or -ENOMEM.
 */
struct handshake_req *tls_request_alloc(const struct tls_handshake_args *args,
					u32 type, u32 auth,
					unsigned int n_peerids, gfp_t flags)
{
	const char *peername = args->ta_peername ?: "";
	size_t len = strlen(peername);
	struct handshake_req *req;
	struct tls_request *t;

	if (n_peerids > ARRAY_SIZE(t->peerids) || len > PEERNAME_MAX)
		return ERR_PTR(-EINVAL);
	req = handshake_req_alloc(&tls_ops, struct_size(t, peername, len + 1),
				  flags);
	if (!req)
		return ERR_PTR(-ENOMEM);
	t = handshake_req_priv(req);
	t->done = args->ta_done;
	t->data = args->ta_data;
	t->type = type;
	t->auth = auth;
	t->timeout_ms = args->ta_timeout_ms;
	t->keyring = args->ta_keyring;
	if (auth == HANDSHAKE_AUTH_X509) {
		t->cert = args->ta_my_cert;
		t->privkey = args->ta_my_privkey;
	}
	t->n_peerids = n_peerids;
	memcpy(t->peerids, args->ta_my_peerids,
	       n_peerids * sizeof(t->peerids[0]));
	memcpy(t->peername, peername, len + 1);
	return req;
}

/* The agent's descriptor can outlive all that the consumer has. A socket that
 * does not hold its namespace must not outlive that.
 */
static bool holds_net(const struct sock *sk)
{
	return sk->sk_net_refcnt || net_eq(sock_net(sk), &init_net);
}

static int submit(const struct tls_handshake_args *args, u32 type, u32 auth,
		  unsigned int n_peerids, gfp_t flags)
{
	struct handshake_net *hn;
	struct handshake_req *req;
	int ret;

	if (!args->ta_done || !args->ta_sock || !args->ta_sock->sk ||
	    !holds_net(args->ta_sock->sk))
		return -EINVAL;
	hn = handshake_net_get(sock_net(args->ta_sock->sk));
	if (!hn)
		return -EOPNOTSUPP;
	req = tls_request_alloc(args, type, auth, n_peerids, flags);
	ret = PTR_ERR_OR_ZERO(req);
	if (!ret)
		ret = handshake_req_submit(hn, args->ta_sock, req, flags);
	handshake_net_put(hn);
	return ret;
}

/**
 * tls_client_hello_anon - start a handshake as a client without a name
 * @args: what to ask for
 * @flags: of allocations
 *
 * The server is verified, this end is not.
 *
 * Returns 0: ta_done is called, unless tls_handshake_cancel() succeeds first;
 * -EINVAL: @args makes no sense, or the socket has no file or does not hold its
 *	network namespace;
 * -ESRCH: no agent listens;
 * -EBUSY: a handshake of this socket is under way;
 * -EAGAIN: too many wait for an agent;
 * -EOPNOTSUPP: the network namespace is about to go;
 * -ENOMEM.
 */
int tls_client_hello_anon(const struct tls_handshake_args *args, gfp_t flags)
{
	return submit(args, HANDSHAKE_MSG_TYPE_CLIENTHELLO,
		      HANDSHAKE_AUTH_UNAUTH, 0, flags);
}
EXPORT_SYMBOL(tls_client_hello_anon);

/**
 * tls_client_hello_x509 - start a handshake as a client with a certificate
 * @args: what to ask for
 * @flags: of allocations
 *
 * Returns as tls_client_hello_anon() does.
 */
int tls_client_hello_x509(const struct tls_handshake_args *args, gfp_t flags)
{
	return submit(args, HANDSHAKE_MSG_TYPE_CLIENTHELLO,
		      HANDSHAKE_AUTH_X509, 0, flags);
}
EXPORT_SYMBOL(tls_client_hello_x509);

/**
 * tls_client_hello_psk - start a handshake as a client with a shared key
 * @args: what to ask for; at least one peer identity
 * @flags: of allocations
 *
 * Returns as tls_client_hello_anon() does.
 */
int tls_client_hello_psk(const struct tls_handshake_args *args, gfp_t flags)
{
	if (!args->ta_num_peerids)
		return -EINVAL;
	return submit(args, HANDSHAKE_MSG_TYPE_CLIENTHELLO,
		      HANDSHAKE_AUTH_PSK, args->ta_num_peerids, flags);
}
EXPORT_SYMBOL(tls_client_hello_psk);

/**
 * tls_server_hello_x509 - start a handshake as a server with a certificate
 * @args: what to ask for
 * @flags: of allocations
 *
 * Returns as tls_client_hello_anon() does.
 */
int tls_server_hello_x509(const struct tls_handshake_args *args, gfp_t flags)
{
	return submit(args, HANDSHAKE_MSG_TYPE_SERVERHELLO,
		      HANDSHAKE_AUTH_X509, 0, flags);
}
EXPORT_SYMBOL(tls_server_hello_x509);

/**
 * tls_server_hello_psk - start a handshake as a server with a shared key
 * @args: what to ask for; the client says which key
 * @flags: of allocations
 *
 * Returns as tls_client_hello_anon() does.
 */
int tls_server_hello_psk(const struct tls_handshake_args *args, gfp_t flags)
{
	return submit(args, HANDSHAKE_MSG_TYPE_SERVERHELLO,
		      HANDSHAKE_AUTH_PSK, 1, flags);
}
EXPORT_SYMBOL(tls_server_hello_psk);

/**
 * tls_handshake_cancel - end a handshake before its time
 * @sk: its socket
 *
 * May be called in softirq context. An agent that has the handshake does not
 * hear of this: what it says of it later would count for the next handshake
 * of the same socket, so such a socket should be closed.
 *
 * Returns true when ta_done will not be called; false when there is no
 * handshake, or ta_done has been called or is about to be.
 */
bool tls_handshake_cancel(struct sock *sk)
{
	return handshake_req_cancel(sk);
}
EXPORT_SYMBOL(tls_handshake_cancel);
