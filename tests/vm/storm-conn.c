// SPDX-License-Identifier: GPL-2.0-or-later
#include "storm-conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* What another tlshd would offer first. */
#define TLS13 "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-X25519:-CIPHER-ALL:+AES-128-GCM"
#define NAME "nfs.test"
#define MESSAGE "sixteen bytes.."
#define STACK_SIZE (64 << 10)
#define DESCRIPTORS 65536

void die(const char *what)
{
	perror(what);
	exit(1);
}

void give_up(const char *what)
{
	fprintf(stderr, "storm: %s\n", what);
	exit(1);
}

uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void listen_somewhere(struct net *net)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(address);

	net->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (net->listener < 0 || bind(net->listener, (struct sockaddr *)&address, len) < 0 ||
	    listen(net->listener, LISTENER_BACKLOG) < 0 ||
	    getsockname(net->listener, (struct sockaddr *)&address, &len) < 0)
		die("listen");
	net->port = ntohs(address.sin_port);
}

void net_open(struct net *net, uint32_t role, bool certified, const char *pki)
{
	static pthread_mutex_t connecting = PTHREAD_MUTEX_INITIALIZER;
	const char *name = role == HS_CONSUMER_CLIENT ? "server" : "client";
	struct rlimit limit = { DESCRIPTORS, DESCRIPTORS };
	char cert[512], key[512];

	net->role = role;
	net->connecting = &connecting;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("RLIMIT_NOFILE");
	net->device = open("/dev/" HS_CONSUMER_DEVICE, O_RDWR | O_CLOEXEC);
	if (net->device < 0)
		die("/dev/" HS_CONSUMER_DEVICE);
	snprintf(cert, sizeof(cert), "%s/%s.pem", pki, name);
	snprintf(key, sizeof(key), "%s/%s.key", pki, name);
	if (gnutls_certificate_allocate_credentials(&net->cred) < 0 ||
	    ((certified || role == HS_CONSUMER_CLIENT) &&
	     gnutls_certificate_set_x509_key_file(net->cred, cert, key, GNUTLS_X509_FMT_PEM) < 0) ||
	    gnutls_priority_init(&net->priority, TLS13, NULL) < 0)
		give_up("no certificate for the peers");
	listen_somewhere(net);
}

/* ---- the consumer ---- */

void conn_open(struct storm_conn *c, const struct net *net, uint32_t address, uint32_t timeout_ms)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(net->port),
	};
	struct sockaddr_in from = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(address),
	};
	struct timeval limit = { .tv_sec = 60 };

	memset(c, 0, sizeof(*c));
	c->net = net;
	c->hs.role = net->role;
	c->hs.auth = HS_CONSUMER_X509;
	c->hs.timeout_ms = timeout_ms;
	c->hs.wait_ms = 2 * timeout_ms;
	c->hs.retry_ms = 2 * timeout_ms;
	if (net->role == HS_CONSUMER_CLIENT)
		strcpy(c->hs.peername, NAME);
	c->peer_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pthread_mutex_lock(net->connecting);
	if (c->peer_fd < 0 ||
	    (address && bind(c->peer_fd, (struct sockaddr *)&from, sizeof(from)) < 0) ||
	    connect(c->peer_fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect");
	c->fd = accept4(net->listener, NULL, NULL, SOCK_CLOEXEC);
	if (c->fd < 0)
		die("accept");
	pthread_mutex_unlock(net->connecting);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	c->hs.sockfd = c->fd;
}

static bool echo(int fd)
{
	char buf[sizeof(MESSAGE)];

	return recv(fd, buf, sizeof(buf), MSG_WAITALL) == sizeof(buf) &&
	       !memcmp(buf, MESSAGE, sizeof(buf)) &&
	       send(fd, buf, sizeof(buf), MSG_NOSIGNAL) == sizeof(buf);
}

static void *consumer(void *ctx)
{
	struct storm_conn *c = ctx;

	if (ioctl(c->net->device, HS_CONSUMER_HANDSHAKE, &c->hs) < 0)
		die("ioctl of /dev/" HS_CONSUMER_DEVICE);
	if (c->hs.status)
		shutdown(c->fd, SHUT_RDWR);	/* as a consumer does: its peer hears of it */
	else
		c->data_ok = echo(c->fd);
	c->over = true;
	return NULL;
}

void conn_ask(struct storm_conn *c)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	if (pthread_create(&c->thread, &attr, consumer, c) != 0)
		die("pthread_create");
	pthread_attr_destroy(&attr);
}

void conn_close(struct storm_conn *c)
{
	if (c->thread)
		pthread_join(c->thread, NULL);
	if (c->peer)
		gnutls_deinit(c->peer);
	close(c->fd);
	close(c->peer_fd);
}

bool conn_good(const struct storm_conn *c)
{
	return c->over && !c->hs.status && c->hs.callbacks == 1 && !c->hs.stray && c->data_ok &&
	       c->state == PEER_DONE;
}

/* ---- the peer ---- */

static void begin(struct storm_conn *c)
{
	bool server = c->net->role == HS_CONSUMER_CLIENT;

	if (fcntl(c->peer_fd, F_SETFL, O_NONBLOCK) < 0 ||
	    gnutls_init(&c->peer, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK |
			GNUTLS_NO_TICKETS | GNUTLS_NO_SIGNAL) < 0 ||
	    gnutls_priority_set(c->peer, c->net->priority) < 0 ||
	    gnutls_credentials_set(c->peer, GNUTLS_CRD_CERTIFICATE, c->net->cred) < 0)
		give_up("no session for a peer");
	if (server)
		gnutls_certificate_server_set_request(c->peer, GNUTLS_CERT_REQUEST);
	gnutls_transport_set_int(c->peer, c->peer_fd);
	gnutls_handshake_set_timeout(c->peer, GNUTLS_INDEFINITE_TIMEOUT);
}

static ssize_t act(struct storm_conn *c)
{
	char buf[sizeof(MESSAGE)] = "";
	ssize_t r;

	if (c->state == PEER_HANDSHAKE)
		return gnutls_handshake(c->peer);
	if (c->state == PEER_SEND)
		return gnutls_record_send(c->peer, MESSAGE, sizeof(MESSAGE));
	r = gnutls_record_recv(c->peer, buf, sizeof(buf));
	if (r >= 0 && memcmp(buf, MESSAGE, sizeof(buf)) != 0)
		return GNUTLS_E_PULL_ERROR;
	return r;
}

bool peer_step(struct storm_conn *c)
{
	if (!c->peer)
		begin(c);
	while (c->state < PEER_DONE) {
		ssize_t r = act(c);

		if (r == GNUTLS_E_AGAIN)
			return false;
		if (r < 0 && gnutls_error_is_fatal((int)r)) {
			c->peer_error = (int)r;
			c->state = PEER_FAILED;
		} else if (r >= 0) {
			c->state++;
		}
	}
	return true;
}

short peer_wants(const struct storm_conn *c)
{
	return c->peer && gnutls_record_get_direction(c->peer) ? POLLOUT : POLLIN;
}

void peer_run(struct storm_conn *c)
{
	while (!peer_step(c)) {
		struct pollfd p = { .fd = c->peer_fd, .events = peer_wants(c) };

		if (poll(&p, 1, -1) < 0)
			die("poll");
	}
}
