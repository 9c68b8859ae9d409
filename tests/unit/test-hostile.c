// SPDX-License-Identifier: GPL-2.0-or-later
/* A peer that means harm: what it may make us spend, and what must not bring us down. */
#include <time.h>
#include <unistd.h>

#include "forge.h"
#include "tls-pair.h"

#define CERT_LIMIT 16384	/* bytes of DER */
#define NAME_LIMIT 2048
/*
 * A refusal may cost this many times a handshake that ends well. Most cost less than one; for the
 * 1250 parts of a dear name the library's parser alone takes 4 to 8. A monster that is looked at
 * costs 200 to 1000.
 */
#define COST_LIMIT 20
#define COST_RUNS 5

struct costly {
	const char *name;
	enum hs_role sender;
	unsigned int at;	/* place in the chain, 0: the sender's own certificate */
	size_t subject, size;	/* bytes; 0: as usual */
	const char *reason;	/* without "certificate N of the ROLE "; NULL: is accepted */
	unsigned int blamed;	/* N */
	bool has_subject;	/* the result names the peer */
};

static const struct costly costly[] = {
	{ "client-largest", HS_CLIENT, 0, 0, CERT_LIMIT, NULL, 0, true },
	{ "server-largest", HS_SERVER, 0, 0, CERT_LIMIT, NULL, 0, true },
	{ "client-large", HS_CLIENT, 0, 0, CERT_LIMIT + 1, "has 16385 bytes; at most 16384 are read",
	  1, false },
	{ "server-large", HS_SERVER, 0, 0, CERT_LIMIT + 1, "has 16385 bytes; at most 16384 are read",
	  1, false },
	{ "issuer-large", HS_CLIENT, 1, 0, CERT_LIMIT + 1, "has 16385 bytes; at most 16384 are read",
	  2, true },
	{ "client-longest-name", HS_CLIENT, 0, NAME_LIMIT, 0, NULL, 0, true },
	{ "server-longest-name", HS_SERVER, 0, NAME_LIMIT, 0, NULL, 0, true },
	{ "client-long-name", HS_CLIENT, 0, NAME_LIMIT + 1, 0, "has a name of more than 2048 bytes",
	  1, false },
	{ "server-long-name", HS_SERVER, 0, NAME_LIMIT + 1, 0, "has a name of more than 2048 bytes",
	  1, false },
	{ "issuer-long-name", HS_CLIENT, 1, NAME_LIMIT + 1, 0, "has a name of more than 2048 bytes",
	  1, false },	/* as the name of the first one's issuer */
	{ "client-dear-name", HS_CLIENT, 0, 15000, 0, "has a name of more than 2048 bytes", 1, false },
	{ "server-dear-name", HS_SERVER, 0, 15000, 0, "has a name of more than 2048 bytes", 1, false },
	{ "client-monster", HS_CLIENT, 0, 96000, 0, "at most 16384 are read", 1, false },
	{ "server-monster", HS_SERVER, 0, 96000, 0, "at most 16384 are read", 1, false },
};

static gint64 cpu_us(void)
{
	struct timespec t;

	g_assert_no_errno(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t));
	return t.tv_sec * G_GINT64_CONSTANT(1000000) + t.tv_nsec / 1000;
}

/* pair_run(). Returns the microseconds of CPU that @role took. */
static gint64 run_timed(struct pair *p, enum hs_role role)
{
	enum hs_role other = role == HS_CLIENT ? HS_SERVER : HS_CLIENT;
	gint64 spent = 0, start;
	unsigned int idle = 0;

	pair_start(p);
	while (idle < 200 && p->status[role] != SESSION_ENDED) {
		bool moved = pair_step(p, other);

		start = cpu_us();
		moved |= pair_step(p, role);
		spent += cpu_us() - start;
		idle = moved ? 0 : idle + 1;
		if (!moved)
			g_usleep(500);
	}
	g_assert_cmpint(p->status[role], ==, SESSION_ENDED);
	return spent;
}

static struct pki_cert *forge(const struct costly *t, const struct pki_spec *spec,
			      const struct pki_cert *issuer)
{
	return t->size ? forge_size(spec, issuer, t->size)
		       : forge_subject(spec, issuer, t->subject);
}

/* The least of several runs, with the certificates of @chain and @key for @t->sender, if any. */
static gint64 least_cost(const struct costly *t, const char *chain, const struct pki_cert *key,
			 void (*check)(const struct costly *t, const struct pair *p))
{
	gint64 least = G_MAXINT64, cost;

	for (unsigned int i = 0; i < COST_RUNS; i++) {
		struct side client = plain_client(), server = plain_server();
		struct side *sender = t->sender == HS_CLIENT ? &client : &server;
		struct pair p;

		client.chain = client_cert->pem;
		client.key = client_cert;
		if (chain) {
			sender->chain = chain;
			sender->key = key;
		}
		pair_open(&p, &client, &server);
		cost = run_timed(&p, t->sender == HS_CLIENT ? HS_SERVER : HS_CLIENT);
		least = MIN(least, cost);
		check(t, &p);
		pair_close(&p);
	}
	return least;
}

static void check_good(const struct costly *t, const struct pair *p)
{
	enum hs_role us = t->sender == HS_CLIENT ? HS_SERVER : HS_CLIENT;

	assert_outcome(p, us, HS_OK);
	g_assert_true(p->result[us].peer_verified);
}

static void check_costly(const struct costly *t, const struct pair *p)
{
	enum hs_role us = t->sender == HS_CLIENT ? HS_SERVER : HS_CLIENT;
	g_autofree char *start = g_strdup_printf("certificate %u of the %s has ", t->blamed,
						 hs_role_name(t->sender));

	if (!t->reason) {
		check_good(t, p);
		g_assert_cmpstr(p->result[us].subject, !=, "");
		return;
	}
	assert_outcome(p, us, HS_CERT_INVALID);
	assert_reason(p, us, start);
	assert_reason(p, us, t->reason);
	g_assert_cmpint(p->result[us].subject[0] != '\0', ==, t->has_subject);
	g_assert_false(p->result[us].peer_verified);
	assert_no_keys(p, us);
}

static void test_costly(gconstpointer data)
{
	const struct costly *t = data;
	struct pki_spec mid_spec = { .cn = "mid", .ca = true };
	struct pki_spec spec = { .cn = "costly", .dns = { NAME } };
	struct pki_cert *mid = t->at ? forge(t, &mid_spec, ca) : NULL;
	struct pki_cert *leaf = mid ? pki_issue(&spec, mid) : forge(t, &spec, ca);
	g_autofree char *chain = pki_chain(leaf, mid, NULL);
	gint64 usual = least_cost(t, NULL, NULL, check_good);
	gint64 cost = least_cost(t, chain, leaf, check_costly);

	g_test_message("%" G_GINT64_FORMAT " us, usually %" G_GINT64_FORMAT
		       " us: %.1f times, limit %d", cost, usual, (double)cost / (double)usual,
		       COST_LIMIT);
	if (t->reason)
		g_assert_cmpint(cost, <=, COST_LIMIT * usual);
	pki_free(leaf);
	pki_free(mid);
}

static void put16(GByteArray *out, unsigned int value)
{
	const uint8_t octets[] = { (uint8_t)(value >> 8), (uint8_t)value };

	g_byte_array_append(out, octets, sizeof(octets));
}

/* Of what follows the two bytes at @at. */
static void set_length(GByteArray *out, unsigned int at)
{
	unsigned int len = out->len - at - 2;

	out->data[at] = (uint8_t)(len >> 8);
	out->data[at + 1] = (uint8_t)len;
}

/* RFC 8446 4.1.3, 4.1.4: a HelloRetryRequest that asks for @group. */
static void send_retry(int fd, unsigned int suite, unsigned int group, const uint8_t *session_id)
{
	static const uint8_t random[] = {
		0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65,
		0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2,
		0xc8, 0xa8, 0x33, 0x9c,
	};
	GByteArray *out = g_byte_array_new();

	g_byte_array_append(out, (const uint8_t *)"\x16\x03\x03\0\0\x02\0\0\0\x03\x03", 11);
	g_byte_array_append(out, random, sizeof(random));
	g_byte_array_append(out, session_id, 1u + session_id[0]);
	put16(out, suite);
	g_byte_array_append(out, (const uint8_t *)"\0\0\0", 3);	/* compression; extensions */
	g_byte_array_append(out, (const uint8_t *)"\0\x2b\0\x02\x03\x04\0\x33\0\x02", 10);
	put16(out, group);
	set_length(out, out->len - 14);
	set_length(out, 7);
	set_length(out, 3);
	g_assert_cmpint(send(fd, out->data, out->len, MSG_NOSIGNAL), ==, (gssize)out->len);
	g_byte_array_unref(out);
}

static void steps(struct pair *p)
{
	for (unsigned int i = 0; i < 20; i++)
		if (!pair_step(p, HS_CLIENT))
			g_usleep(200);
}

/*
 * A server that chooses another suite after its first HelloRetryRequest: the client with a
 * certificate hashes the handshake itself, and has thrown the other hash away by then.
 */
static void test_two_retries(void)
{
	static const unsigned int suites[][2] = {
		{ 0x1302, 0x1301 }, { 0x1301, 0x1302 }, { 0x1302, 0x1303 }, { 0x1302, 0x1302 },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(suites); i++) {
		struct side client = plain_client(), server = plain_server();
		uint8_t hello[4096];
		struct pair p;

		client.chain = client_cert->pem;
		client.key = client_cert;
		pair_open(&p, &client, &server);
		g_assert_cmpint(session_new(&p.session[HS_CLIENT], client.engine,
					    &p.job[HS_CLIENT], p.fd[HS_CLIENT]), ==, 0);
		steps(&p);
		g_assert_cmpint(recv(p.fd[HS_SERVER], hello, sizeof(hello), MSG_DONTWAIT), >, 80);
		g_assert_cmpint(hello[5], ==, GNUTLS_HANDSHAKE_CLIENT_HELLO);
		/* The session ID: behind two headers, version and random. */
		send_retry(p.fd[HS_SERVER], suites[i][0], 23, hello + 5 + 4 + 2 + 32);
		steps(&p);
		g_assert_cmpint(p.status[HS_CLIENT], ==, SESSION_WANT_READ);	/* took it */
		g_assert_cmpint(recv(p.fd[HS_SERVER], hello, sizeof(hello), MSG_DONTWAIT), >, 80);
		send_retry(p.fd[HS_SERVER], suites[i][1], 24, hello + 5 + 4 + 2 + 32);
		steps(&p);
		g_assert_cmpint(p.status[HS_CLIENT], ==, SESSION_ENDED);
		g_test_message("%#x %#x: %s", suites[i][0], suites[i][1],
			       p.result[HS_CLIENT].reason);
		assert_outcome(&p, HS_CLIENT, HS_PROTOCOL);
		assert_no_keys(&p, HS_CLIENT);
		pair_close(&p);
	}
}

int main(int argc, char **argv)
{
	char path[128];
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (size_t i = 0; i < G_N_ELEMENTS(costly); i++) {
		g_snprintf(path, sizeof(path), "/hostile/costly/%s", costly[i].name);
		g_test_add_data_func(path, &costly[i], test_costly);
	}
	g_test_add_func("/hostile/two-retries", test_two_retries);
	r = g_test_run();
	pair_pki_free();
	return r;
}
