// SPDX-License-Identifier: GPL-2.0
/*
 * ACCEPT: what is refused, and what is said of a request.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "upcall.h"

static struct nl nl;

static int accept_class(uint32_t class)
{
	struct msg msg;

	msg_init(&msg, nl.family, HANDSHAKE_CMD_ACCEPT);
	msg_put_u32(&msg, HANDSHAKE_A_ACCEPT_HANDLER_CLASS, class);
	return nl_talk(&nl, &msg, NULL);
}

static int accept_with(uint16_t attr)
{
	struct msg msg;

	msg_init(&msg, nl.family, HANDSHAKE_CMD_ACCEPT);
	msg_put_u32(&msg, HANDSHAKE_A_ACCEPT_HANDLER_CLASS, CLASS_TLSHD);
	msg_put_u32(&msg, attr, 0);
	return nl_talk(&nl, &msg, NULL);
}

static void refused(void)
{
	struct msg msg;

	is(accept_class(CLASS_TLSHD), -EAGAIN, "ACCEPT: nothing is queued");
	is(accept_class(HANDSHAKE_HANDLER_CLASS_NONE), -EAGAIN, "ACCEPT: class none");
	is(accept_class(HANDSHAKE_HANDLER_CLASS_MAX), -EAGAIN, "ACCEPT: the last class");
	is(accept_class(HANDSHAKE_HANDLER_CLASS_MAX + 1), -ERANGE, "ACCEPT: class out of range");
	is(accept_class(UINT32_MAX), -ERANGE, "ACCEPT: class far out of range");

	msg_init(&msg, nl.family, HANDSHAKE_CMD_ACCEPT);
	is(nl_talk(&nl, &msg, NULL), -EINVAL, "ACCEPT: without a class");
	is(accept_with(HANDSHAKE_A_ACCEPT_SOCKFD), -EINVAL, "ACCEPT: with one of the reply");
	is(accept_with(HANDSHAKE_A_ACCEPT_KEYRING), -EINVAL, "ACCEPT: with the last one");
	is(accept_with(HANDSHAKE_A_ACCEPT_MAX + 1), -EINVAL, "ACCEPT: with an unknown one");

	msg_init(&msg, nl.family, HANDSHAKE_CMD_ACCEPT);
	msg_put(&msg, HANDSHAKE_A_ACCEPT_HANDLER_CLASS, "\1", 2);
	is(nl_talk(&nl, &msg, NULL), -EINVAL, "ACCEPT: class of two bytes");
	msg_init(&msg, nl.family, HANDSHAKE_CMD_READY);
	is(nl_talk(&nl, &msg, NULL), -EOPNOTSUPP, "READY is no request");
	msg_init(&msg, nl.family, HANDSHAKE_CMD_MAX + 1);
	is(nl_talk(&nl, &msg, NULL), -EOPNOTSUPP, "an unknown command is no request");
}

static int drop_admin(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];

	if (syscall(SYS_capget, &header, caps))
		return -errno;
	caps[0].effective &= ~(1U << CAP_NET_ADMIN);
	caps[0].permitted &= ~(1U << CAP_NET_ADMIN);
	return syscall(SYS_capset, &header, caps) ? -errno : 0;
}

/* Not to be taken for what an ACCEPT is refused with. */
static int setup_failed(int error)
{
	return error == -EPERM ? -ENOTSUP : error;
}

static int accept_and_done(struct nl *own)
{
	struct accepted acc;
	int ret;

	ret = accept_try(own, &acc);
	return ret == -EPERM ? done(own, 0, 0) : -EPROTO;
}

static int inherited_socket(void *arg)
{
	return setup_failed(drop_admin()) ?: accept_and_done(&nl);
}

static int own_socket(void *arg)
{
	struct nl own;

	return setup_failed(drop_admin() ?: nl_open(&own)) ?: accept_and_done(&own);
}

static int user_namespace(void *arg)
{
	struct nl own;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return setup_failed(-errno);
	return setup_failed(nl_open(&own)) ?: accept_and_done(&own);
}

/* The group is open to all: who listens learns nothing but that there is work. */
static int listen_unprivileged(void *arg)
{
	struct nl own;

	return drop_admin() ?: nl_open(&own) ?: nl_listen(&own);
}

static void permission(void)
{
	is(in_child(inherited_socket, NULL), -EPERM,
	   "without CAP_NET_ADMIN: ACCEPT and DONE on a socket of somebody who has it");
	is(in_child(own_socket, NULL), -EPERM, "without CAP_NET_ADMIN: on a socket of its own");
	is(in_child(user_namespace, NULL), -EPERM,
	   "with CAP_NET_ADMIN in another user namespace");
	is(in_child(listen_unprivileged, NULL), 0, "without CAP_NET_ADMIN: listening");
}

/* No descriptor is free below the limit. */
static int accept_without_room(struct accepted *acc)
{
	struct rlimit before, none;
	int free_fd = dup(0), ret;

	close(free_fd);
	getrlimit(RLIMIT_NOFILE, &before);
	none = before;
	none.rlim_cur = (rlim_t)free_fd;
	setrlimit(RLIMIT_NOFILE, &none);
	ret = accept_wait(&nl, acc, 3000);
	setrlimit(RLIMIT_NOFILE, &before);
	return ret;
}

static void no_descriptor(void)
{
	struct accepted acc;
	struct call call;

	call_open(&call);
	call_start(&call);
	pause_ms(100);
	is(accept_without_room(&acc), -EMFILE, "ACCEPT: no descriptor is free");
	if (!ours) {
		is(call_end(&call), -EIO, "no descriptor is free: the request ends");
		call_close(&call);
		return;
	}
	ok(!call_over(&call, 200), "no descriptor is free: the request stays queued");
	is(accept_wait(&nl, &acc, 3000), 0, "no descriptor is free: later it is accepted");
	is(call_finish(&call, &nl, &acc), 0, "no descriptor is free: later it is served");
}

static uint64_t cookie(int sock)
{
	uint64_t value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(sock, SOL_SOCKET, SO_COOKIE, &value, &len) ? 0 : value;
}

static void same_socket(const struct call *call, const struct accepted *acc)
{
	struct sockaddr_in local = { 0 }, remote = { 0 }, wanted = { 0 };
	socklen_t len = sizeof(local);

	ok(fcntl(acc->fd, F_GETFD) == FD_CLOEXEC, "the descriptor is closed by exec");
	ok(cookie(acc->fd) && cookie(acc->fd) == cookie(call->sock), "it is the same socket");
	getsockname(acc->fd, (struct sockaddr *)&local, &len);
	len = sizeof(local);
	getsockname(call->sock, (struct sockaddr *)&wanted, &len);
	ok(local.sin_port && local.sin_port == wanted.sin_port, "its own address");
	len = sizeof(local);
	getpeername(acc->fd, (struct sockaddr *)&remote, &len);
	getsockname(call->peer, (struct sockaddr *)&wanted, &len);
	ok(remote.sin_port && remote.sin_port == wanted.sin_port, "its peer's address");
}

static bool has(const struct accepted *acc, int attr)
{
	return acc->has & 1U << attr;
}

static void content_of_little(void)
{
	struct accepted acc;
	struct call call;

	call_begin(&call, &nl, &acc);
	is((long)acc.type, HANDSHAKE_MSG_TYPE_CLIENTHELLO, "a client: message type");
	is((long)acc.auth, HANDSHAKE_AUTH_UNAUTH, "a client: auth mode");
	is((long)acc.has, 1 << HANDSHAKE_A_ACCEPT_SOCKFD | 1 << HANDSHAKE_A_ACCEPT_MESSAGE_TYPE |
	   1 << HANDSHAKE_A_ACCEPT_AUTH_MODE, "a client that says nothing more: only these");
	is((long)acc.twice, 0, "each once");
	same_socket(&call, &acc);
	is(call_finish(&call, &nl, &acc), 0, "it is told of its success");
}

static void content_of_certificates(void)
{
	struct accepted acc;
	struct call call;

	call_open(&call);
	call.hs.auth = HS_CONSUMER_X509;
	call.hs.timeout_ms = 12345;
	call.hs.cert = 0x1234;
	call.hs.privkey = 0x5678;
	memset(call.hs.peername, 'n', 255);
	call_start(&call);
	is(accept_wait(&nl, &acc, 3000), 0, "a client with a certificate");
	is((long)acc.auth, HANDSHAKE_AUTH_X509, "a certificate: auth mode");
	is((long)acc.timeout, 12345, "timeout");
	ok(!strcmp(acc.peername, call.hs.peername), "peer name of 255 characters");
	is(acc.n_certs, 1, "one certificate");
	is(acc.cert, 0x1234, "its serial");
	is(acc.privkey, 0x5678, "that of its private key");
	is(call_finish(&call, &nl, &acc), 0, "a certificate: the end");

	call_open(&call);
	call.hs.role = HS_CONSUMER_SERVER;
	call.hs.auth = HS_CONSUMER_X509;
	call_start(&call);
	is(accept_wait(&nl, &acc, 3000), 0, "a server");
	is((long)acc.type, HANDSHAKE_MSG_TYPE_SERVERHELLO, "a server: message type");
	ok(!has(&acc, HANDSHAKE_A_ACCEPT_CERTIFICATE), "no certificate of its own: no nest");
	is(call_finish(&call, &nl, &acc), 0, "a server: the end");
}

static void content_of_keys(void)
{
	struct accepted acc;
	struct call call;
	unsigned int i;
	bool same;

	call_open(&call);
	call.hs.auth = HS_CONSUMER_PSK;
	call.hs.num_peerids = HS_CONSUMER_MAX_PEERIDS;
	for (i = 0; i < HS_CONSUMER_MAX_PEERIDS; i++)
		call.hs.peerids[i] = (int32_t)(0x70000000 - i * 3);
	call_start(&call);
	is(accept_wait(&nl, &acc, 3000), 0, "a client with pre-shared keys");
	is((long)acc.auth, HANDSHAKE_AUTH_PSK, "pre-shared keys: auth mode");
	same = acc.n_peerids == HS_CONSUMER_MAX_PEERIDS;
	for (i = 0; same && i < HS_CONSUMER_MAX_PEERIDS; i++)
		same = acc.peerids[i] == (uint32_t)call.hs.peerids[i];
	ok(same, "all of them, in their order");
	is(call_finish(&call, &nl, &acc), 0, "pre-shared keys: the end");

	call_open(&call);
	call.hs.auth = HS_CONSUMER_PSK;
	call_start(&call);
	is(call_end(&call), -EINVAL, "a client without a single key");
	call_close(&call);

	call_open(&call);
	call.hs.role = HS_CONSUMER_SERVER;
	call.hs.auth = HS_CONSUMER_PSK;
	call_start(&call);
	is(accept_wait(&nl, &acc, 3000), 0, "a server with pre-shared keys");
	ok(acc.n_peerids == 1 && !acc.peerids[0], "a server sends one key, and leaves it open");
	is(call_finish(&call, &nl, &acc), 0, "a server with pre-shared keys: the end");
}

void test_accept(void)
{
	if (nl_open(&nl) || nl_listen(&nl))
		bail_out("no netlink socket");
	refused();
	permission();
	no_descriptor();
	content_of_little();
	content_of_certificates();
	content_of_keys();
	nl_close(&nl);
}
