// SPDX-License-Identifier: GPL-2.0-or-later
#include "hostile-world.h"

#include <time.h>

gint64 cpu_us(void)
{
	struct timespec t;

	g_assert_no_errno(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t));
	return t.tv_sec * G_GINT64_CONSTANT(1000000) + t.tv_nsec / 1000;
}

gint64 run_timed(struct pair *p, enum hs_role role)
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

gint64 hostile_usual(enum hs_role role)
{
	gint64 least = G_MAXINT64, cost;

	for (unsigned int i = 0; i < HOSTILE_RUNS; i++) {
		struct side client = plain_client(), server = plain_server();
		struct pair p;

		client.chain = client_cert->pem;
		client.key = client_cert;
		pair_open(&p, &client, &server);
		cost = run_timed(&p, role);
		least = MIN(least, cost);
		assert_outcome(&p, role, HS_OK);
		g_assert_true(p.result[role].peer_verified);
		pair_close(&p);
	}
	return least;
}

void hostile_at_most(const char *name, gint64 cost, enum hs_role role, gint64 usual, double limit)
{
	double ratio;

#ifdef __SANITIZE_ADDRESS__
	limit *= 4;	/* each allocation costs many times as much; the plain build says what is true */
#endif
	if ((double)cost > limit * (double)usual)
		usual = MAX(usual, hostile_usual(role));
	ratio = (double)cost / (double)usual;
	g_test_message("%s: %" G_GINT64_FORMAT " us of CPU, usually %" G_GINT64_FORMAT
		       " us: %.2f times, limit %.1f", name, cost, usual, ratio, limit);
	g_assert_cmpfloat(ratio, <=, limit);
}

void hostile_open(struct hostile *h, enum hs_role ours, const char *crl)
{
	enum hs_role theirs = ours == HS_CLIENT ? HS_SERVER : HS_CLIENT;

	memset(h, 0, sizeof(*h));
	h->ours = ours;
	h->client = plain_client();
	h->server = plain_server();
	h->client.chain = client_cert->pem;
	h->client.key = client_cert;
	h->client.crl = h->server.crl = crl;
	pair_open(&h->pair, &h->client, &h->server);
	g_assert_cmpint(session_new(&h->pair.session[ours], h->pair.side[ours]->engine,
				    &h->pair.job[ours], h->pair.fd[ours]), ==, 0);
	forged_open(&h->peer, h->pair.fd[theirs], theirs);
}

void hostile_close(struct hostile *h)
{
	forged_close(&h->peer);
	pair_close(&h->pair);
}

bool hostile_step(struct hostile *h)
{
	gint64 start = cpu_us();
	bool moved = pair_step(&h->pair, h->ours);

	h->spent += cpu_us() - start;
	forged_receive(&h->peer);
	return moved;
}

bool hostile_settle(struct hostile *h)
{
	unsigned int idle = 0;

	while (idle < 20 && h->pair.status[h->ours] != SESSION_ENDED) {
		if (hostile_step(h)) {
			idle = 0;
			continue;
		}
		idle++;
		g_usleep(200);
	}
	forged_receive(&h->peer);
	return h->pair.status[h->ours] == SESSION_ENDED;
}

const struct hostile_pki *hostile_pki(void)
{
	static struct hostile_pki pki = { .name = NAME };

	pki.ca = ca;
	pki.other_ca = other_ca;
	pki.server = server_cert;
	pki.client = client_cert;
	return &pki;
}

static bool settle(void *ctx)
{
	return hostile_settle(ctx);
}

struct flight hostile_flight(struct hostile *h)
{
	return (struct flight){
		.peer = &h->peer, .pki = hostile_pki(), .settle = settle, .ctx = h,
	};
}

void hostile_greet(struct hostile *h)
{
	struct flight f = hostile_flight(h);

	flight_greet(&f);
	g_assert_false(hostile_settle(h));
}

void hostile_certify(struct hostile *h, const char *pem, gnutls_x509_privkey_t key,
		     unsigned int scheme, size_t size)
{
	struct flight f = hostile_flight(h);

	flight_certify(&f, pem, key, scheme, size);
}

void hostile_authenticate(struct hostile *h, const char *pem, gnutls_x509_privkey_t key,
			  unsigned int scheme, size_t size)
{
	struct flight f = hostile_flight(h);

	flight_authenticate(&f, pem, key, scheme, size);
}
