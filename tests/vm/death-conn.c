// SPDX-License-Identifier: GPL-2.0-or-later
#include "death-conn.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "syscall-trap.h"

#define TLS13 "NORMAL:-VERS-ALL:+VERS-TLS1.3"
#define NAME "nfs.test"

void die(const char *what)
{
	perror(what);
	exit(1);
}

void give_up(const char *what)
{
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
	exit(1);
}

/* ---- the peer ---- */

static ssize_t push(gnutls_transport_ptr_t ptr, const void *data, size_t len)
{
	struct conn *c = ptr;

	if (c->hold && c->pulled) {
		c->held = true;
		return (ssize_t)len;
	}
	return send(c->peer_fd, data, len, MSG_NOSIGNAL);
}

static ssize_t pull(gnutls_transport_ptr_t ptr, void *data, size_t len)
{
	struct conn *c = ptr;

	c->pulled = true;
	return recv(c->peer_fd, data, len, 0);
}

static gnutls_certificate_credentials_t load(const struct conn *c, bool server)
{
	gnutls_certificate_credentials_t cred;
	char cert[512], key[512];

	snprintf(cert, sizeof(cert), "%s/server.pem", c->setup->pki);
	snprintf(key, sizeof(key), "%s/server.key", c->setup->pki);
	if (gnutls_certificate_allocate_credentials(&cred) < 0)
		give_up("no credentials");
	if (server &&
	    gnutls_certificate_set_x509_key_file(cred, cert, key, GNUTLS_X509_FMT_PEM) < 0)
		give_up("no certificate for the peer");
	return cred;
}

static void *peer(void *ctx)
{
	struct conn *c = ctx;
	bool server = c->hs.role == HS_CONSUMER_CLIENT;
	gnutls_certificate_credentials_t cred = load(c, server);
	gnutls_session_t s;
	int r;

	if (gnutls_init(&s, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NO_TICKETS) < 0 ||
	    gnutls_priority_set_direct(s, TLS13, NULL) < 0 ||
	    gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, cred) < 0)
		give_up("no session");
	if (server)
		gnutls_certificate_server_set_request(s, GNUTLS_CERT_REQUEST);
	gnutls_transport_set_ptr(s, c);
	gnutls_transport_set_push_function(s, push);
	gnutls_transport_set_pull_function(s, pull);
	do {
		r = gnutls_handshake(s);
	} while (r == GNUTLS_E_INTERRUPTED || (r < 0 && !gnutls_error_is_fatal(r) &&
					       r != GNUTLS_E_AGAIN));
	c->peer_result = r;
	gnutls_deinit(s);
	gnutls_certificate_free_credentials(cred);
	return NULL;
}

void start_peer(struct conn *c)
{
	if (pthread_create(&c->peer, NULL, peer, c) != 0)
		die("pthread_create");
}

/* ---- the consumer ---- */

static void *consumer(void *ctx)
{
	struct conn *c = ctx;

	if (ioctl(c->setup->device, HS_CONSUMER_HANDSHAKE, &c->hs) < 0)
		die("ioctl of /dev/" HS_CONSUMER_DEVICE);
	c->ended = now_us();
	c->over = true;
	/* as a consumer does: its peer hears of it */
	if (c->hs.status)
		shutdown(c->fd, SHUT_RDWR);
	return NULL;
}

static void make_connection(struct conn *c)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct timeval limit = { .tv_sec = TIMEOUT_MS / 1000 };
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		die("listen");
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, len) < 0)
		die("connect");
	c->peer_fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (c->peer_fd < 0 || fstat(c->fd, &st) < 0)
		die("accept");
	close(listener);
	setsockopt(c->peer_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	c->port = ntohs(address.sin_port);
	c->inode = st.st_ino;
}

void start_conn(struct conn *c, const struct setup *setup, uint32_t role)
{
	*c = (struct conn){ .setup = setup, .hs = {
		.role = role, .auth = HS_CONSUMER_X509, .timeout_ms = TIMEOUT_MS,
		.wait_ms = 2 * TIMEOUT_MS, .retry_ms = TIMEOUT_MS,
	} };
	make_connection(c);
	strcpy(c->hs.peername, role == HS_CONSUMER_CLIENT ? NAME : "");
	c->hs.sockfd = c->fd;
	if (pthread_create(&c->consumer, NULL, consumer, c) != 0)
		die("pthread_create");
}

void end_conn(struct conn *c)
{
	pthread_join(c->consumer, NULL);
	if (c->peer)
		pthread_join(c->peer, NULL);
	close(c->fd);
	close(c->peer_fd);
}

bool is_good(const struct conn *c)
{
	return !c->hs.status && c->hs.callbacks == 1 && !c->hs.stray && c->peer_result == 0;
}

void plain(const struct setup *setup, uint32_t role, struct conn *c)
{
	start_conn(c, setup, role);
	start_peer(c);
	end_conn(c);
}
