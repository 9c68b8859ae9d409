// SPDX-License-Identifier: GPL-2.0-or-later
#include "tls-pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

struct pki_cert *ca, *other_ca, *server_cert, *client_cert;

void pair_pki_new(void)
{
	static const struct pki_spec ca_spec = { .cn = "test CA", .ca = true };
	static const struct pki_spec other_spec = { .cn = "other CA", .ca = true };
	static const struct pki_spec server_spec = { .cn = "the server", .dns = { NAME } };
	static const struct pki_spec client_spec = { .cn = "the client", .dns = { "client.example" } };

	ca = pki_issue(&ca_spec, NULL);
	other_ca = pki_issue(&other_spec, NULL);
	server_cert = pki_issue(&server_spec, ca);
	client_cert = pki_issue(&client_spec, ca);
}

void pair_pki_free(void)
{
	pki_free(server_cert);
	pki_free(client_cert);
	pki_free(ca);
	pki_free(other_ca);
}

struct kernel kernels[1024];

int fake_setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	struct kernel *k = &kernels[fd];

	g_assert_cmpint(fd, <, (int)G_N_ELEMENTS(kernels));
	if (k->fail_errno && k->fail_name == name) {
		if (k->on_fail)
			k->on_fail(k->on_fail_ctx);
		errno = k->fail_errno;
		return -1;
	}
	if (level == IPPROTO_TCP) {
		g_assert_cmpint(name, ==, TCP_ULP);
		return 0;
	}
	g_assert_cmpint(level, ==, SOL_TLS);
	if (name == TLS_TX || name == TLS_RX) {
		g_assert_cmpuint(len, <=, sizeof(k->tx));
		memcpy(name == TLS_TX ? k->tx : k->rx, val, len);
		*(name == TLS_TX ? &k->tx_len : &k->rx_len) = len;
	} else {
		memcpy(&k->limit, val, sizeof(uint16_t));
	}
	return 0;
}

int load_key(struct key **ret, const char *pem)
{
	char reason[512];
	int fd = memfd_create("key", MFD_CLOEXEC), r;

	g_assert_cmpint(write(fd, pem, strlen(pem)), ==, (ssize_t)strlen(pem));
	r = key_load(ret, fd, NULL, "test.key", reason, sizeof(reason));
	close(fd);
	return r;
}

int side_sign(void *ctx, uint64_t job, enum hs_role role, enum hs_identity identity,
	      const char *algorithm, const void *data, size_t len, void *signature, size_t size)
{
	struct side *side = ctx;

	g_assert_cmpint(role, ==, side->role);
	g_assert_cmpint(identity, ==, side->signs_as);
	side->signatures++;
	side->signed_job = job;
	g_strlcpy(side->signed_algorithm, algorithm, sizeof(side->signed_algorithm));
	if (side->sign_error)
		return -side->sign_error;
	return key_sign(side->loaded, role, algorithm, data, len, signature, size);
}

static void quiet(void *ctx, int priority, const char *text, const struct log_field *fields,
		  size_t n_fields)
{
	g_test_message("%d %s", priority, text);
}

struct log test_log = { .level = LOG_DEBUG, .sink = quiet };

struct engine_file file_of(const char *text, const char *label)
{
	return (struct engine_file){ text, text ? strlen(text) : 0, label };
}

int try_engine(struct side *side, char *reason, size_t size)
{
	struct engine_config config = {
		.ciphers = side->ciphers ? side->ciphers : ALL_CIPHERS,
		.log = &test_log,
		.in_use = side->in_use,
		.sign = side_sign,
		.sign_ctx = side,
		.setsockopt_fn = fake_setsockopt,
	};
	struct engine_role *r = &config.role[side->role];

	/* The role that is not used has a store, too, so that the system's is never read here. */
	config.role[HS_CLIENT].truststore = file_of(ca->pem, "other.pem");
	config.role[HS_SERVER].truststore = file_of(ca->pem, "other.pem");
	r->truststore = file_of(side->trust, "trust.pem");
	r->crl = file_of(side->crl, "crl.pem");
	r->certificate[HS_IDENTITY_X509] = file_of(side->chain, "cert.pem");
	return engine_new(&side->engine, &config, reason, size);
}

void make_engine(struct side *side)
{
	char reason[512] = "";

	if (side->key)
		g_assert_cmpint(load_key(&side->loaded, side->key->key_pem), ==, 0);
	if (try_engine(side, reason, sizeof(reason)) < 0)
		g_error("engine: %s", reason);
}

void drop_engine(struct side *side)
{
	engine_free(side->engine);
	key_free(side->loaded);
	side->engine = NULL;
	side->loaded = NULL;
}

struct side plain_client(void)
{
	return (struct side){ .role = HS_CLIENT, .trust = ca->pem };
}

struct side plain_server(void)
{
	return (struct side){
		.role = HS_SERVER, .trust = ca->pem, .chain = server_cert->pem, .key = server_cert,
	};
}

void connect_pair(int fd[2])
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	g_assert_cmpint(bind(listener, (struct sockaddr *)&addr, len), ==, 0);
	g_assert_cmpint(listen(listener, 1), ==, 0);
	g_assert_cmpint(getsockname(listener, (struct sockaddr *)&addr, &len), ==, 0);
	fd[HS_CLIENT] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(connect(fd[HS_CLIENT], (struct sockaddr *)&addr, len), ==, 0);
	fd[HS_SERVER] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	g_assert_cmpint(fd[HS_SERVER], >=, 0);
	close(listener);
	setsockopt(fd[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	memset(&kernels[fd[0]], 0, sizeof(kernels[0]));
	memset(&kernels[fd[1]], 0, sizeof(kernels[0]));
}

void pair_open(struct pair *p, struct side *client, struct side *server)
{
	unsigned int i;

	memset(p, 0, sizeof(*p));
	p->side[HS_CLIENT] = client;
	p->side[HS_SERVER] = server;
	for (i = 0; i < HS_N_ROLES; i++) {
		p->job[i] = (struct hs_job){ .id = 100 + i, .role = i, .timeout_ms = 1000 };
		if (!p->side[i]->engine)
			make_engine(p->side[i]);
	}
	p->job[HS_CLIENT].auth = client->chain ? HS_AUTH_X509 : HS_AUTH_UNAUTH;
	p->job[HS_SERVER].auth = HS_AUTH_X509;
	g_strlcpy(p->job[HS_CLIENT].peername, NAME, HS_NAME_MAX);
	connect_pair(p->fd);
}

void pair_start(struct pair *p)
{
	unsigned int i;

	for (i = 0; i < HS_N_ROLES; i++)
		g_assert_cmpint(session_new(&p->session[i], p->side[i]->engine, &p->job[i],
					    p->fd[i]), ==, 0);
}

bool pair_step(struct pair *p, enum hs_role i)
{
	struct pollfd pfd = { .fd = p->fd[i] };

	if (p->status[i] == SESSION_ENDED)
		return false;
	pfd.events = p->status[i] == SESSION_WANT_READ ? POLLIN : POLLOUT;
	poll(&pfd, 1, 0);
	if (p->started[i] && !(pfd.revents & (pfd.events | POLLHUP | POLLERR)))
		return false;
	p->started[i] = true;
	p->status[i] = session_step(p->session[i], &p->result[i]);
	if (p->status[i] == SESSION_WANT_KEYS) {
		g_assert_nonnull(p->keys);
		p->asked[i]++;
		p->keys(p, i);
		p->started[i] = false;	/* whatever the socket does */
	}
	return true;
}

void pair_run(struct pair *p)
{
	unsigned int idle = 0;

	pair_start(p);
	while (idle < 200 && (p->status[HS_CLIENT] != SESSION_ENDED ||
			      p->status[HS_SERVER] != SESSION_ENDED)) {
		bool moved = pair_step(p, HS_CLIENT);

		moved |= pair_step(p, HS_SERVER);
		idle = moved ? 0 : idle + 1;
		if (!moved)
			g_usleep(500);
	}
	g_assert_cmpint(p->status[HS_CLIENT], ==, SESSION_ENDED);
	g_assert_cmpint(p->status[HS_SERVER], ==, SESSION_ENDED);
	g_test_message("client: %s %s", hs_outcome_name(p->result[HS_CLIENT].outcome),
		       p->result[HS_CLIENT].reason);
	g_test_message("server: %s %s", hs_outcome_name(p->result[HS_SERVER].outcome),
		       p->result[HS_SERVER].reason);
}

void pair_close(struct pair *p)
{
	session_free(p->session[HS_CLIENT]);
	session_free(p->session[HS_SERVER]);
	drop_engine(p->side[HS_CLIENT]);
	drop_engine(p->side[HS_SERVER]);
	close(p->fd[HS_CLIENT]);
	close(p->fd[HS_SERVER]);
}

void assert_keys_agree(const struct pair *p)
{
	const struct kernel *c = &kernels[p->fd[HS_CLIENT]], *s = &kernels[p->fd[HS_SERVER]];

	g_assert_cmpuint(c->tx_len, >, 0);
	g_assert_cmpmem(c->tx, c->tx_len, s->rx, s->rx_len);
	g_assert_cmpmem(c->rx, c->rx_len, s->tx, s->tx_len);
	g_assert_cmpint(memcmp(c->tx, c->rx, c->tx_len), !=, 0);
}

void assert_no_keys(const struct pair *p, enum hs_role role)
{
	g_assert_cmpuint(kernels[p->fd[role]].tx_len, ==, 0);
	g_assert_cmpuint(kernels[p->fd[role]].rx_len, ==, 0);
}

void assert_both_ok(const struct pair *p)
{
	assert_outcome(p, HS_CLIENT, HS_OK);
	assert_outcome(p, HS_SERVER, HS_OK);
	g_assert_cmpstr(p->result[HS_CLIENT].reason, ==, "");
	assert_keys_agree(p);
}

void talk_to(enum hs_role role, const void *bytes, size_t len, struct pair *p)
{
	static struct side client, server;
	enum hs_role other = role == HS_CLIENT ? HS_SERVER : HS_CLIENT;
	unsigned int idle = 0;

	client = plain_client();
	server = plain_server();
	pair_open(p, &client, &server);
	g_assert_cmpint(session_new(&p->session[role], p->side[role]->engine, &p->job[role],
				    p->fd[role]), ==, 0);
	g_assert_cmpint(send(p->fd[other], bytes, len, MSG_NOSIGNAL), ==, (ssize_t)len);
	while (idle < 200 && p->status[role] != SESSION_ENDED) {
		if (pair_step(p, role)) {
			idle = 0;
			continue;
		}
		idle++;
		g_usleep(500);
	}
	g_test_message("%s: %s", hs_outcome_name(p->result[role].outcome), p->result[role].reason);
}

void stranger_open(struct stranger *s, int fd, bool server, const char *priority)
{
	gnutls_datum_t cert = { (unsigned char *)server_cert->pem,
				(unsigned int)strlen(server_cert->pem) };
	gnutls_datum_t key = { (unsigned char *)server_cert->key_pem,
			       (unsigned int)strlen(server_cert->key_pem) };

	gnutls_certificate_allocate_credentials(&s->cred);
	if (server)
		g_assert_cmpint(gnutls_certificate_set_x509_key_mem(s->cred, &cert, &key,
								    GNUTLS_X509_FMT_PEM), ==, 0);
	gnutls_init(&s->tls, (server ? GNUTLS_SERVER : GNUTLS_CLIENT | GNUTLS_KEY_SHARE_TOP) |
		    GNUTLS_NONBLOCK);
	g_assert_cmpint(gnutls_priority_set_direct(s->tls, priority, NULL), ==, 0);
	gnutls_credentials_set(s->tls, GNUTLS_CRD_CERTIFICATE, s->cred);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	gnutls_transport_set_int(s->tls, fd);
	s->fd = fd;
}

/* @data: whole records. */
static ssize_t push_split(gnutls_transport_ptr_t ctx, const void *data, size_t size)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	const struct stranger *s = ctx;
	const uint8_t *record = data, *end = record + size;
	size_t len, n;

	for (; record < end; record += 5 + len) {
		len = (size_t)record[3] << 8 | record[4];
		for (size_t at = 0; at < len; at += n) {
			n = record[0] == 22 ? MIN(s->piece, len - at) : len;
			g_byte_array_append(out, record, 3);
			g_byte_array_append(out, (uint8_t[]){ (uint8_t)(n >> 8), (uint8_t)n }, 2);
			g_byte_array_append(out, record + 5 + at, (guint)n);
		}
	}
	g_assert_cmpint(send(s->fd, out->data, out->len, MSG_NOSIGNAL), ==, (ssize_t)out->len);
	return (ssize_t)size;
}

void stranger_split(struct stranger *s, size_t piece)
{
	s->piece = piece;
	gnutls_transport_set_ptr2(s->tls, GINT_TO_POINTER(s->fd), s);
	gnutls_transport_set_push_function(s->tls, push_split);
}

void stranger_close(struct stranger *s)
{
	gnutls_deinit(s->tls);
	gnutls_certificate_free_credentials(s->cred);
}

int run_stranger(struct pair *p, enum hs_role ours, struct stranger *s)
{
	int r = GNUTLS_E_AGAIN, rounds;

	g_assert_cmpint(session_new(&p->session[ours], p->side[ours]->engine, &p->job[ours],
				    p->fd[ours]), ==, 0);
	for (rounds = 0; rounds < 1000; rounds++) {
		if (r == GNUTLS_E_AGAIN || (r < 0 && !gnutls_error_is_fatal(r))) {
			r = gnutls_handshake(s->tls);
			if (r < 0)
				gnutls_alert_send_appropriate(s->tls, r);
		}
		if (!pair_step(p, ours))
			g_usleep(200);
		if (p->status[ours] == SESSION_ENDED && r != GNUTLS_E_AGAIN)
			break;
	}
	g_test_message("%s: %s (stranger: %s)", hs_outcome_name(p->result[ours].outcome),
		       p->result[ours].reason, gnutls_strerror(r));
	return r;
}
