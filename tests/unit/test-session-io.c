// SPDX-License-Identifier: GPL-2.0-or-later
/* What comes over the wire: in pieces, not at all, or from somebody else. */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "tls-pair.h"

/* Each byte by itself, both ways, through a go-between. */
static void test_byte_by_byte(void)
{
	struct side client = plain_client(), server = plain_server();
	int outer[2], inner[2];
	struct pair p;
	int rounds;

	client.chain = client_cert->pem;
	client.key = client_cert;
	pair_open(&p, &client, &server);
	connect_pair(outer);
	connect_pair(inner);
	close(p.fd[HS_CLIENT]);
	close(p.fd[HS_SERVER]);
	/* client <-> outer[SERVER] | inner[CLIENT] <-> server */
	p.fd[HS_CLIENT] = outer[HS_CLIENT];
	p.fd[HS_SERVER] = inner[HS_SERVER];
	pair_start(&p);
	for (rounds = 0; rounds < 50000 && (p.status[0] != SESSION_ENDED ||
					    p.status[1] != SESSION_ENDED); rounds++) {
		char byte;

		pair_step(&p, HS_CLIENT);
		pair_step(&p, HS_SERVER);
		if (recv(outer[HS_SERVER], &byte, 1, MSG_DONTWAIT) == 1)
			g_assert_cmpint(send(inner[HS_CLIENT], &byte, 1, MSG_NOSIGNAL), ==, 1);
		if (recv(inner[HS_CLIENT], &byte, 1, MSG_DONTWAIT) == 1)
			g_assert_cmpint(send(outer[HS_SERVER], &byte, 1, MSG_NOSIGNAL), ==, 1);
	}
	assert_both_ok(&p);
	g_assert_true(p.result[HS_SERVER].peer_verified);
	pair_close(&p);
	close(outer[HS_SERVER]);
	close(inner[HS_CLIENT]);
}

/*
 * The connection is cut after @limit bytes from @from, with FIN or RST. Returns false when
 * the handshake was through by then.
 */
static bool cut_after(enum hs_role from, size_t limit, bool reset)
{
	struct side client = plain_client(), server = plain_server();
	enum hs_role to = from == HS_CLIENT ? HS_SERVER : HS_CLIENT;
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };
	int outer[2], inner[2], end[2], rounds;
	size_t passed = 0;
	struct pair p;
	bool ended;

	pair_open(&p, &client, &server);
	connect_pair(outer);
	connect_pair(inner);
	close(p.fd[HS_CLIENT]);
	close(p.fd[HS_SERVER]);
	p.fd[HS_CLIENT] = outer[HS_CLIENT];
	p.fd[HS_SERVER] = inner[HS_SERVER];
	end[HS_CLIENT] = outer[HS_SERVER];
	end[HS_SERVER] = inner[HS_CLIENT];
	pair_start(&p);
	for (rounds = 0; rounds < 20000 && p.status[to] != SESSION_ENDED; rounds++) {
		char byte, buf[512];
		ssize_t n;

		pair_step(&p, HS_CLIENT);
		pair_step(&p, HS_SERVER);
		if (passed == limit)
			break;
		if (recv(end[from], &byte, 1, MSG_DONTWAIT) == 1) {
			g_assert_cmpint(send(end[to], &byte, 1, MSG_NOSIGNAL), ==, 1);
			passed++;
		}
		n = recv(end[to], buf, sizeof(buf), MSG_DONTWAIT);
		if (n > 0)
			g_assert_cmpint(send(end[from], buf, (size_t)n, MSG_NOSIGNAL), ==, n);
	}
	if (reset)
		setsockopt(end[to], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(end[to]);
	for (rounds = 0; rounds < 2000 && p.status[to] != SESSION_ENDED; rounds++)
		if (!pair_step(&p, to))
			g_usleep(100);
	g_assert_cmpint(p.status[to], ==, SESSION_ENDED);
	ended = p.result[to].outcome == HS_OK;
	if (!ended) {
		assert_outcome(&p, to, HS_CLOSED);
		/* A reset takes what was not read yet with it. */
		if (!reset)
			assert_reason(&p, to, limit == 0 ? "before it sent anything"
							 : "during the handshake");
		assert_no_keys(&p, to);
	}
	end[to] = -1;
	close(end[from]);
	pair_close(&p);
	return !ended;
}

static void test_cut(gconstpointer data)
{
	enum hs_role from = GPOINTER_TO_UINT(data);
	size_t limit, cuts = 0;

	/* 37 and records of many sizes: cuts fall in headers, bodies and between records. */
	for (limit = 0; cut_after(from, limit, cuts % 2); limit += cuts < 4 ? 5 : 37)
		cuts++;
	g_test_message("%zu cuts", cuts);
	g_assert_cmpuint(cuts, >, 8);
}

static void test_garbage(void)
{
	static const char http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
	static const char rpc[] = "\x80\x00\x00\x28zxcvbnm,./asdfghjkl";
	struct pair p;

	talk_to(HS_CLIENT, http, sizeof(http) - 1, &p);
	assert_outcome(&p, HS_CLIENT, HS_PROTOCOL);
	assert_reason(&p, HS_CLIENT, "the server does not speak TLS; it began with \"HTTP/1.1 400 Bad "
		      "Request\\x0d");
	pair_close(&p);

	talk_to(HS_SERVER, rpc, sizeof(rpc) - 1, &p);
	assert_outcome(&p, HS_SERVER, HS_PROTOCOL);
	assert_reason(&p, HS_SERVER, "the client does not speak TLS; it began with \"\\x80");
	pair_close(&p);

	talk_to(HS_SERVER, "GET / HTTP/1.1\r\n", 16, &p);
	assert_outcome(&p, HS_SERVER, HS_PROTOCOL);
	pair_close(&p);
}

/* Nothing random may crash it, or end well. */
static void test_random_input(void)
{
	unsigned char bytes[600];
	struct pair p;
	int i;

	for (i = 0; i < 60; i++) {
		size_t j, len = (size_t)g_test_rand_int_range(1, sizeof(bytes));
		enum hs_role role = i % 2 ? HS_CLIENT : HS_SERVER;

		for (j = 0; j < len; j++)
			bytes[j] = (unsigned char)g_test_rand_int_range(0, 256);
		if (i % 3) {	/* get past the record header */
			const unsigned char header[] = {
				22, 3, 3, 0, 200, i % 4 ? 2 : 1, 0, 0, 196,
			};

			memcpy(bytes, header, MIN(len, sizeof(header)));
		}
		talk_to(role, bytes, len, &p);
		if (p.status[role] == SESSION_ENDED)
			g_assert_cmpint(p.result[role].outcome, !=, HS_OK);
		else
			session_timeout(p.session[role], &p.result[role]);
		assert_no_keys(&p, role);
		pair_close(&p);
	}
}

static void test_tls12_peer(gconstpointer data)
{
	enum hs_role ours = GPOINTER_TO_UINT(data);
	enum hs_role other = ours == HS_CLIENT ? HS_SERVER : HS_CLIENT;
	struct side client = plain_client(), server = plain_server();
	struct stranger s;
	struct pair p;

	pair_open(&p, &client, &server);
	stranger_open(&s, p.fd[other], other == HS_SERVER, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
	g_assert_cmpint(run_stranger(&p, ours, &s), <, 0);
	if (ours == HS_SERVER) {
		assert_outcome(&p, ours, HS_NO_COMMON);
		assert_reason(&p, ours, "the client does not offer TLS 1.3");
		g_assert_cmpint(gnutls_alert_get(s.tls), ==, GNUTLS_A_PROTOCOL_VERSION);
	} else {
		/* It refuses before it shows anything of itself. */
		assert_outcome(&p, ours, HS_PEER_ALERT);
		assert_reason(&p, ours, "the server refused: alert handshake_failure(40): it found no");
	}
	stranger_close(&s);
	pair_close(&p);
}

/* A TLS 1.2 ServerHello by hand: a server too old to know supported_versions. */
static void test_tls12_server_hello(void)
{
	static const unsigned char hello[] = {
		22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3,
		1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
		24, 25, 26, 27, 28, 29, 30, 31, 32, 0, 0xc0, 0x2f, 0,
	};
	struct pair p;

	talk_to(HS_CLIENT, hello, sizeof(hello), &p);
	assert_outcome(&p, HS_CLIENT, HS_NO_COMMON);
	assert_reason(&p, HS_CLIENT, "the server does not offer TLS 1.3");
	pair_close(&p);
}

static int count_retry(gnutls_session_t tls, unsigned int type, unsigned int when,
		       unsigned int incoming, const gnutls_datum_t *msg)
{
	unsigned int *retries = gnutls_session_get_ptr(tls);

	(*retries)++;
	return 0;
}

/* HelloRetryRequest: the transcript starts anew with the hash of the first ClientHello. */
static void test_hello_retry(gconstpointer data)
{
	enum hs_role ours = GPOINTER_TO_UINT(data);
	enum hs_role other = ours == HS_CLIENT ? HS_SERVER : HS_CLIENT;
	struct side client = plain_client(), server = plain_server();
	unsigned int retries = 0;
	struct stranger s;
	struct pair p;

	client.chain = client_cert->pem;
	client.key = client_cert;
	pair_open(&p, &client, &server);
	if (ours == HS_CLIENT) {
		stranger_open(&s, p.fd[other], true,
			      "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-SECP384R1");
		gnutls_certificate_server_set_request(s.tls, GNUTLS_CERT_REQUIRE);
	} else {
		/* A share for its first group, which is none of ours. */
		stranger_open(&s, p.fd[other], false, "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:"
			      "+GROUP-FFDHE2048:+GROUP-X25519");
	}
	gnutls_session_set_ptr(s.tls, &retries);
	gnutls_handshake_set_hook_function(s.tls, GNUTLS_HANDSHAKE_HELLO_RETRY_REQUEST,
					   GNUTLS_HOOK_POST, count_retry);
	g_assert_cmpint(run_stranger(&p, ours, &s), ==, 0);
	assert_outcome(&p, ours, HS_OK);
	g_assert_cmpuint(retries, ==, 1);
	g_assert_cmpuint(p.side[ours]->signatures, ==, 1);
	g_assert_cmpstr(p.result[ours].group, ==, ours == HS_CLIENT ? "SECP384R1" : "X25519");
	stranger_close(&s);
	pair_close(&p);
}

/* The peer's hello in several records (RFC 8446 5.1). */
static void test_split_hello(gconstpointer data)
{
	static const size_t pieces[] = { 1, 4, 5, 200 };
	enum hs_role ours = GPOINTER_TO_UINT(data);
	enum hs_role other = ours == HS_CLIENT ? HS_SERVER : HS_CLIENT;

	for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++) {
		struct side client = plain_client(), server = plain_server();
		struct stranger s;
		struct pair p;

		pair_open(&p, &client, &server);
		stranger_open(&s, p.fd[other], other == HS_SERVER, "NORMAL:-VERS-ALL:+VERS-TLS1.3");
		stranger_split(&s, pieces[i]);
		p.job[HS_SERVER].auth = HS_AUTH_UNAUTH;
		g_assert_cmpint(run_stranger(&p, ours, &s), ==, 0);
		assert_outcome(&p, ours, HS_OK);
		stranger_close(&s);
		pair_close(&p);
	}
}

/* What the peer sends behind its Finished stays in the socket, to the byte. */
static ssize_t collect(gnutls_transport_ptr_t ctx, const void *data, size_t len)
{
	g_byte_array_append(ctx, data, (guint)len);
	return (ssize_t)len;
}

static void test_data_behind_finished(void)
{
	struct side client = plain_client(), server = plain_server();
	GByteArray *flight = g_byte_array_new();
	static unsigned char data[16384], rest[40000];
	size_t finished, left;
	struct stranger s;
	struct pair p;
	ssize_t n;
	int r, i;

	pair_open(&p, &client, &server);
	p.job[HS_SERVER].auth = HS_AUTH_UNAUTH;
	stranger_open(&s, p.fd[HS_CLIENT], false, "NORMAL:-VERS-ALL:+VERS-TLS1.3");
	g_assert_cmpint(session_new(&p.session[HS_SERVER], server.engine, &p.job[HS_SERVER],
				    p.fd[HS_SERVER]), ==, 0);
	g_assert_cmpint(gnutls_handshake(s.tls), ==, GNUTLS_E_AGAIN);
	for (i = 0; i < 20; i++)
		pair_step(&p, HS_SERVER);
	/* The whole of the client's last flight and two records more in one send. */
	gnutls_transport_set_ptr2(s.tls, GINT_TO_POINTER(p.fd[HS_CLIENT]), flight);
	gnutls_transport_set_push_function(s.tls, collect);
	r = gnutls_handshake(s.tls);
	g_assert_cmpint(r, ==, 0);
	finished = flight->len;
	g_assert_cmpint(gnutls_record_send(s.tls, data, sizeof(data)), ==, sizeof(data));
	g_assert_cmpint(gnutls_record_send(s.tls, data, sizeof(data)), ==, sizeof(data));
	left = flight->len - finished;
	g_assert_cmpint(send(p.fd[HS_CLIENT], flight->data, flight->len, 0), ==,
			(ssize_t)flight->len);
	for (i = 0; i < 100 && p.status[HS_SERVER] != SESSION_ENDED; i++)
		if (!pair_step(&p, HS_SERVER))
			g_usleep(500);
	assert_outcome(&p, HS_SERVER, HS_OK);
	n = recv(p.fd[HS_SERVER], rest, sizeof(rest), MSG_WAITALL | MSG_DONTWAIT);
	g_assert_cmpint(n, ==, (ssize_t)left);
	g_assert_cmpmem(rest, left, flight->data + finished, left);
	g_byte_array_unref(flight);
	stranger_close(&s);
	pair_close(&p);
}

/* RFC 8449: the kernel is told how long a record may be. */
static void test_record_limit(gconstpointer data)
{
	enum hs_role ours = GPOINTER_TO_UINT(data);
	enum hs_role other = ours == HS_CLIENT ? HS_SERVER : HS_CLIENT;
	struct side client = plain_client(), server = plain_server();
	struct stranger s;
	struct pair p;

	pair_open(&p, &client, &server);
	stranger_open(&s, p.fd[other], other == HS_SERVER, "NORMAL:-VERS-ALL:+VERS-TLS1.3");
	g_assert_cmpint(gnutls_record_set_max_recv_size(s.tls, 1000), ==, 0);
	g_assert_cmpint(run_stranger(&p, ours, &s), ==, 0);
	assert_outcome(&p, ours, HS_OK);
	g_assert_cmpuint(kernels[p.fd[ours]].limit, ==, 1000);
	stranger_close(&s);
	pair_close(&p);
}

/* The socket is as it was: flags, and no SIGPIPE for a peer that is gone. */
static void test_socket_untouched(void)
{
	struct side client = plain_client(), server = plain_server();
	struct hs_result result;
	struct pair p;
	int flags;

	pair_open(&p, &client, &server);
	flags = fcntl(p.fd[HS_CLIENT], F_GETFL);
	g_assert_cmpint(flags & O_NONBLOCK, ==, 0);
	pair_run(&p);
	assert_both_ok(&p);
	g_assert_cmpint(fcntl(p.fd[HS_CLIENT], F_GETFL), ==, flags);
	pair_close(&p);

	pair_open(&p, &client, &server);
	pair_start(&p);
	shutdown(p.fd[HS_CLIENT], SHUT_WR);	/* our own sending side: EPIPE */
	g_assert_cmpint(session_step(p.session[HS_CLIENT], &result), ==, SESSION_ENDED);
	g_assert_cmpint(result.outcome, ==, HS_CLOSED);
	pair_close(&p);
}

static void assert_timeout(struct pair *p, enum hs_role role, const char *reason)
{
	session_timeout(p->session[role], &p->result[role]);
	g_test_message("%s", p->result[role].reason);
	assert_outcome(p, role, HS_TIMEOUT);
	assert_reason(p, role, reason);
}

static void test_timeout(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pair p;

	pair_open(&p, &client, &server);
	pair_start(&p);
	session_step(p.session[HS_SERVER], &p.result[HS_SERVER]);
	assert_timeout(&p, HS_SERVER, "the client sent nothing");
	g_assert_cmpuint(p.result[HS_SERVER].id, ==, 101);
	session_step(p.session[HS_CLIENT], &p.result[HS_CLIENT]);
	assert_timeout(&p, HS_CLIENT, "no answer to our ClientHello");
	pair_close(&p);

	pair_open(&p, &client, &server);
	pair_start(&p);
	session_step(p.session[HS_CLIENT], &p.result[HS_CLIENT]);
	pair_step(&p, HS_SERVER);
	assert_timeout(&p, HS_SERVER, "the client fell silent: its last message was CLIENT HELLO, "
		       "ours FINISHED");
	pair_close(&p);

	talk_to(HS_SERVER, "\x16\x03\x01\x02", 4, &p);
	assert_timeout(&p, HS_SERVER, "only the beginning of a message");
	pair_close(&p);
}

/* A message of 60000 bytes in records of one byte each: a peer could go on like that for long. */
static void test_flood(void)
{
	static const unsigned char header[] = { 1, 0, 0xea, 0x60 };
	static unsigned char records[6 * 50000];
	struct pair p;
	size_t i;

	for (i = 0; i < sizeof(records); i += 6) {
		memcpy(records + i, "\x16\x03\x01\x00\x01", 6);
		if (i / 6 < sizeof(header))
			records[i + 5] = header[i / 6];
	}
	talk_to(HS_SERVER, records, sizeof(records), &p);
	g_assert_cmpint(p.status[HS_SERVER], ==, SESSION_ENDED);
	assert_outcome(&p, HS_SERVER, HS_PROTOCOL);
	assert_reason(&p, HS_SERVER, "the client sent more than 512 records without an end");
	pair_close(&p);
}

/* A server that names authorities, none of them ours, is sent our certificate all the same. */
static void test_foreign_authorities(void)
{
	struct side client = plain_client(), server = plain_server();
	gnutls_datum_t foreign = { (unsigned char *)other_ca->pem,
				   (unsigned int)strlen(other_ca->pem) };
	struct stranger s;
	struct pair p;

	client.chain = client_cert->pem;
	client.key = client_cert;
	pair_open(&p, &client, &server);
	stranger_open(&s, p.fd[HS_SERVER], true, "NORMAL:-VERS-ALL:+VERS-TLS1.3");
	g_assert_cmpint(gnutls_certificate_set_x509_trust_mem(s.cred, &foreign,
							      GNUTLS_X509_FMT_PEM), ==, 1);
	gnutls_certificate_server_set_request(s.tls, GNUTLS_CERT_REQUIRE);
	g_assert_cmpint(run_stranger(&p, HS_CLIENT, &s), ==, 0);
	assert_outcome(&p, HS_CLIENT, HS_OK);
	g_assert_cmpuint(client.signatures, ==, 1);
	stranger_close(&s);
	pair_close(&p);
}

static void finish_server(void *ctx)
{
	struct pair *p = ctx;

	while (p->status[HS_SERVER] != SESSION_ENDED)
		pair_step(p, HS_SERVER);
	shutdown(p->fd[HS_SERVER], SHUT_RDWR);
}

/* The kernel takes no connection that the peer has ended; what it said before is told. */
static void test_refused_before_the_keys(void)
{
	static const struct {
		const char *trust;	/* of the server */
		enum hs_outcome server, client;
		const char *reason;
	} cases[] = {
		{ "other", HS_CERT_UNKNOWN_ISSUER, HS_PEER_ALERT, "unknown_ca(48)" },
		{ "ca", HS_OK, HS_CLOSED, "closed the connection" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct side client = plain_client(), server = plain_server();
		struct kernel *kernel;
		struct pair p;

		client.chain = client_cert->pem;
		client.key = client_cert;
		if (!strcmp(cases[i].trust, "other"))
			server.trust = other_ca->pem;
		pair_open(&p, &client, &server);
		p.job[HS_CLIENT].auth = HS_AUTH_X509;
		kernel = &kernels[p.fd[HS_CLIENT]];
		kernel->fail_name = TCP_ULP;
		kernel->fail_errno = ENOTCONN;
		kernel->on_fail = finish_server;
		kernel->on_fail_ctx = &p;
		pair_run(&p);
		assert_outcome(&p, HS_SERVER, cases[i].server);
		assert_outcome(&p, HS_CLIENT, cases[i].client);
		assert_reason(&p, HS_CLIENT, cases[i].reason);
		pair_close(&p);
	}
}

int main(int argc, char **argv)
{
	char path[128];
	unsigned int i;
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (i = 0; i < HS_N_ROLES; i++) {
		g_snprintf(path, sizeof(path), "/session-io/cut-from/%s", hs_role_name(i));
		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_cut);
		g_snprintf(path, sizeof(path), "/session-io/tls12-peer/%s", hs_role_name(i));
		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_tls12_peer);
		g_snprintf(path, sizeof(path), "/session-io/hello-retry/%s", hs_role_name(i));
		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_hello_retry);
		g_snprintf(path, sizeof(path), "/session-io/split-hello/%s", hs_role_name(i));
		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_split_hello);
		g_snprintf(path, sizeof(path), "/session-io/record-limit/%s", hs_role_name(i));
		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_record_limit);
	}
	g_test_add_func("/session-io/byte-by-byte", test_byte_by_byte);
	g_test_add_func("/session-io/garbage", test_garbage);
	g_test_add_func("/session-io/random-input", test_random_input);
	g_test_add_func("/session-io/tls12-server-hello", test_tls12_server_hello);
	g_test_add_func("/session-io/data-behind-finished", test_data_behind_finished);
	g_test_add_func("/session-io/socket-untouched", test_socket_untouched);
	g_test_add_func("/session-io/timeout", test_timeout);
	g_test_add_func("/session-io/flood", test_flood);
	g_test_add_func("/session-io/foreign-authorities", test_foreign_authorities);
	g_test_add_func("/session-io/refused-before-the-keys", test_refused_before_the_keys);
	r = g_test_run();
	pair_pki_free();
	return r;
}
