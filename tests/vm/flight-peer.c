// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A TLS 1.3 peer that sends application data in one piece with its Finished.
 *
 * Whoever hands a connection to the kernel after the handshake must not have read those data: they
 * belong to the kernel.  Ordinary programs leave it to chance whether they arrive together.  Here
 * the library's output is collected, and goes out when the library wants to read; after the
 * handshake not before the data are behind it.  So the Finished, and with a server the ServerHello
 * and all between, are in the same send(2) as the data.
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DATA_MAX	(1 << 20)

#define TLS13 "NORMAL:-VERS-ALL:+VERS-TLS1.3"

struct link {
	int	fd;
	char	*out;		/* collected, DATA_MAX * 2 */
	size_t	len;
	size_t	sends;
};

struct options {
	bool		server;
	bool		tickets;
	const char	*host;
	const char	*port;
	const char	*file;	/* client: of the CA; server: certificate */
	const char	*other;	/* client: name of the server; server: private key */
};

__attribute__((format(printf, 1, 2), noreturn))
static void die(const char *format, ...)
{
	va_list args;

	fputs("flight-peer: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void check(int ret, const char *what)
{
	if (ret < 0)
		die("%s: %s", what, gnutls_strerror(ret));
}

/* ---- transport ---- */

static void flush(struct link *link)
{
	ssize_t n;

	if (!link->len)
		return;
	n = send(link->fd, link->out, link->len, MSG_NOSIGNAL);
	if (n < 0)
		die("sending: %s", strerror(errno));
	if ((size_t)n != link->len)
		die("%zd of %zu bytes were sent in one call", n, link->len);
	link->len = 0;
	link->sends++;
}

static ssize_t push(gnutls_transport_ptr_t ptr, const void *data, size_t len)
{
	struct link *link = ptr;

	if (len > 2 * DATA_MAX - link->len)
		die("too much output");
	memcpy(link->out + link->len, data, len);
	link->len += len;
	return (ssize_t)len;
}

static ssize_t pull(gnutls_transport_ptr_t ptr, void *data, size_t len)
{
	struct link *link = ptr;

	flush(link);
	return recv(link->fd, data, len, 0);
}

static int tcp_open(const struct options *o)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	const int one = 1;
	struct addrinfo *ai;
	int fd, listener, ret;

	ret = getaddrinfo(o->host, o->port, &hints, &ai);
	if (ret)
		die("%s port %s: %s", o->host, o->port, gai_strerror(ret));
	fd = socket(ai->ai_family, ai->ai_socktype, ai->ai_protocol);
	if (fd < 0)
		die("socket: %s", strerror(errno));
	if (!o->server) {
		if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0)
			die("cannot connect to %s port %s: %s", o->host, o->port, strerror(errno));
		freeaddrinfo(ai);
		return fd;
	}
	listener = fd;
	if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(listener, ai->ai_addr, ai->ai_addrlen) < 0 || listen(listener, 1) < 0)
		die("cannot listen on %s port %s: %s", o->host, o->port, strerror(errno));
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		die("accept: %s", strerror(errno));
	close(listener);
	freeaddrinfo(ai);
	return fd;
}

/* ---- TLS ---- */

static gnutls_certificate_credentials_t load_credentials(const struct options *o)
{
	gnutls_certificate_credentials_t cred;

	check(gnutls_certificate_allocate_credentials(&cred), "credentials");
	if (o->server)
		check(gnutls_certificate_set_x509_key_file(cred, o->file, o->other,
							   GNUTLS_X509_FMT_PEM), o->file);
	else
		check(gnutls_certificate_set_x509_trust_file(cred, o->file, GNUTLS_X509_FMT_PEM),
		      o->file);
	return cred;
}

static gnutls_session_t new_session(const struct options *o, struct link *link)
{
	unsigned int flags = GNUTLS_CLIENT;
	gnutls_datum_t ticket_key;
	gnutls_session_t session;

	if (o->server) {
		/* return after our own Finished, before the client's */
		flags = GNUTLS_SERVER | GNUTLS_ENABLE_EARLY_START;
		if (!o->tickets)
			flags |= GNUTLS_NO_TICKETS;
	}
	check(gnutls_init(&session, flags), "session");
	check(gnutls_priority_set_direct(session, TLS13, NULL), "priorities");
	check(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, load_credentials(o)),
	      "credentials");
	if (o->tickets) {
		check(gnutls_session_ticket_key_generate(&ticket_key), "ticket key");
		check(gnutls_session_ticket_enable_server(session, &ticket_key), "tickets");
	}
	if (!o->server) {
		check(gnutls_server_name_set(session, GNUTLS_NAME_DNS, o->other, strlen(o->other)),
		      "server name");
		gnutls_session_set_verify_cert(session, o->other, 0);
	}
	gnutls_transport_set_ptr(session, link);
	gnutls_transport_set_push_function(session, push);
	gnutls_transport_set_pull_function(session, pull);
	return session;
}

static void handshake(gnutls_session_t session, bool server)
{
	int ret;

	do {
		ret = gnutls_handshake(session);
	} while (ret == GNUTLS_E_INTERRUPTED || ret == GNUTLS_E_AGAIN);
	check(ret, "handshake");
	if (server && !(gnutls_session_get_flags(session) & GNUTLS_SFLAGS_EARLY_START))
		die("the library waited for the client's Finished");
}

static void send_flight(gnutls_session_t session, struct link *link, const char *data, size_t len)
{
	size_t handshake_len = link->len, total, done = 0;
	ssize_t n;

	if (!handshake_len)
		die("the Finished is sent already");
	while (done < len) {
		n = gnutls_record_send(session, data + done, len - done);
		check((int)n, "sending a record");
		done += (size_t)n;
	}
	total = link->len;
	flush(link);
	fprintf(stderr, "flight-peer: sends=%zu last=%zu handshake=%zu data=%zu\n", link->sends,
		total, handshake_len, len);
}

static void receive(gnutls_session_t session, struct link *link)
{
	size_t total = 0;
	char buf[16384];
	ssize_t n;

	for (;;) {
		n = gnutls_record_recv(session, buf, sizeof(buf));
		if (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_AGAIN)
			continue;
		check((int)n, "receiving");
		if (n == 0)
			break;
		if (fwrite(buf, 1, (size_t)n, stdout) != (size_t)n)
			die("standard output: %s", strerror(errno));
		total += (size_t)n;
	}
	check(gnutls_bye(session, GNUTLS_SHUT_WR), "close_notify");
	flush(link);
	if (fflush(stdout) != 0)
		die("standard output: %s", strerror(errno));
	fprintf(stderr, "flight-peer: received=%zu\n", total);
}

int main(int argc, char **argv)
{
	struct options o;
	struct link link = { .fd = -1 };
	gnutls_session_t session;
	char *data;
	size_t len;

	if (argc < 6 || argc > 7 || (strcmp(argv[1], "client") && strcmp(argv[1], "server")) ||
	    (argc == 7 && (strcmp(argv[1], "server") || strcmp(argv[6], "tickets"))))
		die("usage: flight-peer client HOST PORT CA-FILE NAME\n"
		    "       flight-peer server HOST PORT CERTIFICATE KEY [tickets]\n"
		    "Standard input is sent with the Finished, then what comes is written to\n"
		    "standard output until the peer ends.");
	o = (struct options){
		.server = !strcmp(argv[1], "server"), .tickets = argc == 7,
		.host = argv[2], .port = argv[3], .file = argv[4], .other = argv[5],
	};
	data = malloc(DATA_MAX);
	link.out = malloc(2 * DATA_MAX);
	if (!data || !link.out)
		die("no memory");
	len = fread(data, 1, DATA_MAX, stdin);
	link.fd = tcp_open(&o);
	session = new_session(&o, &link);
	handshake(session, o.server);
	send_flight(session, &link, data, len);
	receive(session, &link);
	gnutls_deinit(session);
	close(link.fd);
	free(link.out);
	free(data);
	return 0;
}
