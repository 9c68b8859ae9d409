// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hostile peers against a running daemon: what tests/unit/test-hostile-flight and -keys show of one
 * session, here of the whole, with the kernel's upcall and its TLS.
 *
 * Prints a line for each check, fields divided by "|":
 *	ok|NAME
 *	not ok|NAME|WHY
 *	at most|NAME|GOT|LIMIT|UNIT
 *	# TEXT
 */
#include "hostile-peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostile-certs.h"
#include "hostile-chains.h"

#define SCHEME_P256 0x0403
#define RUNS 5			/* the least of so many */
#define RUNS_MAX 40
#define NOISE 4.0
#define FLIGHT_RUNS 1
#define FLIGHT_LIMIT 8.0	/* ordinary mutual handshakes */

#define BLOCKS 4		/* of each kind, in turn */
#define BLOCK_SAMPLES 6
#define ATTACKERS 2
#define MEASURES 4		/* until it holds: the machine may be busier meanwhile */
#define MEDIAN_LIMIT 1.5
#define WORST_LIMIT 2.5
#define DEAR_MEDIAN_LIMIT 2.0	/* by what costs two or three ordinary ones */
#define DEAR_WORST_LIMIT 3.0
#define STRANGERS 8		/* certificates that nobody trusts */
#define EXTENSIONS 1200		/* in each */

#define SLOWEST_MS (TIMEOUT_MS / 2)	/* far from the deadline */

/* ---- what is said ---- */

void say_result(const char *name, enum hs_role ours, const char *fault)
{
	if (fault)
		printf("not ok|%s, against a %s|%s\n", name, hs_role_name(ours), fault);
	else
		printf("ok|%s, against a %s\n", name, hs_role_name(ours));
	fflush(stdout);
}

static void say_at_most(const char *name, uint64_t got, uint64_t usual, double limit)
{
	printf("at most|%s|%.0f|%.0f|%%\n", name, 100.0 * (double)got / (double)usual, 100 * limit);
	fflush(stdout);
}

/* ---- flights ---- */

static void act_flight(struct flight *f, const void *what)
{
	const struct attack *a = what;

	if (a->encrypted)
		flight_greet(f);
	else if (f->peer->role == HS_SERVER)
		flight_wait(f, FP_CLIENT_HELLO);
	a->attack(f);
}

/* Each once: refused as it should be, or not. */
static void flights(struct world *w)
{
	uint64_t slowest = 0;

	for (size_t i = 0; i < hostile_n_attacks; i++) {
		const struct attack *a = &hostile_attacks[i];
		const struct deed deed = { .act = act_flight, .what = a };

		for (enum hs_role ours = a->first; ours <= a->last; ours++) {
			g_autofree char *fault = NULL;
			struct ending e;

			meet(w, ours, &deed, &e);
			fault = ending_fault(&e, ours, a->outcome,
					     a->or_reason && strstr(e.line, a->or_reason) ?
					     a->or_reason : a->reason);
			/* What it left unread resets the connection, and the alert may be lost. */
			if (!fault && a->alert >= 0 && e.alert >= 0 && e.alert != a->alert)
				fault = g_strdup_printf("alert %d, wanted %d", e.alert, a->alert);
			say_result(a->name, ours, fault);
			printf("# %.1f ms; %s\n", (double)e.us / 1000, e.line);
			slowest = MAX(slowest, e.us);
		}
	}
	printf("at most|the slowest ends by itself|%" G_GUINT64_FORMAT "|%d|ms\n", slowest / 1000,
	       SLOWEST_MS);
}

/* ---- certificates ---- */

struct signer {
	char *pem;
	gnutls_x509_privkey_t key;
};

static void act_certified(struct flight *f, const void *what)
{
	const struct signer *c = what;

	flight_greet(f);
	flight_authenticate(f, c->pem, c->key, SCHEME_P256, 0);
}

static void certificates(struct world *w)
{
	for (size_t i = 0; i < n_bad_certs; i++) {
		const struct bad_cert *t = &bad_certs[i];
		struct pki_cert *mid = NULL, *leaf = t->make(&w->pki, &mid);
		struct signer c = { pki_chain(leaf, mid, NULL), leaf->key };
		const struct deed deed = { .act = act_certified, .what = &c };

		for (enum hs_role ours = HS_CLIENT; ours <= t->last; ours++) {
			g_autofree char *fault = NULL;
			struct ending e;

			meet(w, ours, &deed, &e);
			fault = ending_fault(&e, ours, t->outcome, t->reason);
			say_result(t->name, ours, fault);
			printf("# %.1f ms; %s\n", (double)e.us / 1000, e.line);
		}
		g_free(c.pem);
		pki_free(leaf);
		pki_free(mid);
	}
}

/* ---- dear keys ---- */

struct chain {
	const struct dear *dear;
	char *pem;
	unsigned int scheme;
	size_t size;
};

static void act_chain(struct flight *f, const void *what)
{
	const struct chain *c = what;

	flight_greet(f);
	flight_authenticate(f, c->pem, NULL, c->scheme, c->size);
}

static struct chain make_chain(const struct world *w, const struct dear *dear)
{
	struct chain c = { .dear = dear, .pem = dear_chain(dear, &w->pki) };

	c.scheme = dear_scheme(dear, &c.size);
	return c;
}

static const struct dear *find_dear(const char *name)
{
	for (size_t i = 0; i < dear_n_chains; i++)
		if (!strcmp(dear_chains[i].name, name))
			return &dear_chains[i];
	give_up(name);
}

/* It does not succeed, for the reason of the table, whatever the outcome is called. */
static char *chain_fault(const struct ending *e, const struct dear *dear)
{
	if (!e->over || e->callbacks != 1 || e->stray || e->lines != 1)
		return g_strdup_printf("%u callbacks, %u stray, %u lines in the log", e->callbacks,
				       e->stray, e->lines);
	if (e->status != -(int)hs_outcome_errno(HS_PROTOCOL))
		return g_strdup_printf("status %d; %s", e->status, e->line);
	if (!strstr(e->line, ", x509, failed: ") || !strstr(e->line, dear->reason))
		return g_strdup_printf("the log has not \"%s\": %s", dear->reason, e->line);
	return NULL;
}

/* ---- what it costs ---- */

/* Above the limit, and not so far that no noise explains it. */
static bool is_noise(double ratio, double limit)
{
	return ratio > limit && ratio < NOISE * limit;
}

/* CPU time, ns, of the least of several. */
static uint64_t usual_cost(struct world *w, enum hs_role ours)
{
	uint64_t least = UINT64_MAX;
	struct ending e;

	for (unsigned int i = 0; i < RUNS; i++) {
		g_autofree char *fault = NULL;

		meet(w, ours, &ordinary, &e);
		fault = ending_fault(&e, ours, HS_OK, "certificate \"");
		if (fault)
			give_up(fault);
		least = MIN(least, e.cpu_ns);
	}
	return least;
}

/* Where it is above the limit both are measured again, the ordinary one first. */
static void cost(struct world *w, enum hs_role ours, const char *name, const struct deed *deed,
		 unsigned int runs, uint64_t *usual, double limit, struct ending *ret)
{
	g_autofree char *text = g_strdup_printf("CPU time of %s, against a %s", name,
						hs_role_name(ours));
	uint64_t least = UINT64_MAX;

	for (unsigned int i = 0; i < runs ||
	     (i < RUNS_MAX && is_noise((double)least / (double)*usual, limit)); i++) {
		if (i >= runs && i % RUNS == 0) {
			*usual = usual_cost(w, ours);
			least = UINT64_MAX;
		}
		meet(w, ours, deed, ret);
		least = MIN(least, ret->cpu_ns);
	}
	say_at_most(text, least, *usual, limit);
}

static void chain_costs(struct world *w, uint64_t usual[HS_N_ROLES])
{
	for (size_t i = 0; i < dear_n_chains; i++) {
		struct chain c = make_chain(w, &dear_chains[i]);
		const struct deed deed = { .act = act_chain, .what = &c };

		for (enum hs_role ours = 0; ours < HS_N_ROLES; ours++) {
			g_autofree char *fault = NULL;
			struct ending e;

			cost(w, ours, c.dear->name, &deed, RUNS, &usual[ours],
			     c.dear->limit, &e);
			fault = chain_fault(&e, c.dear);
			say_result(c.dear->name, ours, fault);
			printf("# %s\n", e.line);
		}
		g_free(c.pem);
	}
}

static void costs(struct world *w)
{
	uint64_t usual[HS_N_ROLES];

	for (enum hs_role ours = 0; ours < HS_N_ROLES; ours++) {
		usual[ours] = usual_cost(w, ours);
		printf("# an ordinary mutual handshake of a %s: %.1f ms of CPU time\n",
		       hs_role_name(ours), (double)usual[ours] / 1e6);
	}
	chain_costs(w, usual);
	for (size_t i = 0; i < hostile_n_attacks; i++) {
		const struct attack *a = &hostile_attacks[i];
		const struct deed deed = { .act = act_flight, .what = a };
		struct ending e;

		for (enum hs_role ours = a->first; ours <= a->last; ours++)
			cost(w, ours, a->name, &deed, FLIGHT_RUNS,
			     &usual[ours], FLIGHT_LIMIT, &e);
	}
}

/* ---- how long others wait ---- */

struct attackers {
	struct world *w;
	const struct deed *deed;
	gint ending;
	gint met;
};

static gpointer attacker(gpointer ctx)
{
	struct attackers *a = ctx;
	struct ending e;

	while (!g_atomic_int_get(&a->ending)) {
		meet(a->w, HS_SERVER, a->deed, &e);
		g_atomic_int_inc(&a->met);
	}
	return NULL;
}

/* Honest handshakes, in both roles, beside peers who do @deed without a pause. */
static void block(struct world *w, const struct deed *deed, GArray *times, gint *met)
{
	struct attackers a = { .w = w, .deed = deed };
	GThread *threads[ATTACKERS];
	struct ending e;

	for (unsigned int i = 0; i < ATTACKERS; i++)
		threads[i] = g_thread_new("attacker", attacker, &a);
	for (unsigned int i = 0; i < BLOCK_SAMPLES; i++) {
		g_autofree char *fault = NULL;

		meet(w, i % HS_N_ROLES, &ordinary, &e);
		fault = ending_fault(&e, i % HS_N_ROLES, HS_OK, "certificate \"");
		if (fault)
			say_result("an honest peer beside others", i % HS_N_ROLES, fault);
		g_array_append_val(times, e.us);
	}
	g_atomic_int_set(&a.ending, 1);
	for (unsigned int i = 0; i < ATTACKERS; i++)
		g_thread_join(threads[i]);
	*met += a.met;
}

static gint compare(gconstpointer a, gconstpointer b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t at(GArray *sorted, double part)
{
	return g_array_index(sorted, uint64_t, (guint)(part * (sorted->len - 1)));
}

struct delayer {
	const char *name;
	struct deed deed;
	double median, worst;	/* limits of others' delay, in that by ordinary ones */
};

/* Returns whether both limits hold, or cannot. */
static bool measure_delay(struct world *w, const struct delayer *d, bool last)
{
	g_autoptr(GArray) usual = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	g_autofree char *median = g_strdup_printf("others' median delay by %s", d->name);
	g_autofree char *worst = g_strdup_printf("others' worst delay by %s", d->name);
	gint met = 0, others = 0;
	double median_ratio, worst_ratio;
	bool over;

	for (unsigned int i = 0; i < BLOCKS; i++) {
		block(w, &ordinary, usual, &others);
		block(w, &d->deed, times, &met);
	}
	g_array_sort(usual, compare);
	g_array_sort(times, compare);
	median_ratio = (double)at(times, 0.5) / (double)at(usual, 0.5);
	worst_ratio = (double)at(times, 1) / (double)at(usual, 1);
	over = last || !(is_noise(median_ratio, d->median) || is_noise(worst_ratio, d->worst));
	printf("# beside %d hostile peers: median %.1f, worst %.1f ms; beside %d ordinary ones: "
	       "median %.1f, worst %.1f ms\n", met, (double)at(times, 0.5) / 1000,
	       (double)at(times, 1) / 1000, others, (double)at(usual, 0.5) / 1000,
	       (double)at(usual, 1) / 1000);
	if (over) {
		say_at_most(median, at(times, 0.5), at(usual, 0.5), d->median);
		say_at_most(worst, at(times, 1), at(usual, 1), d->worst);
	}
	return over;
}

static void delay(struct world *w, const struct delayer *d)
{
	unsigned int n = 0;

	while (!measure_delay(w, d, n + 1 == MEASURES) && ++n < MEASURES)
		;
}

static void delays_by_keys(struct world *w)
{
	static const char *const names[] = { "rsa-16384", "rsa-16384-issuer" };

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		struct chain c = make_chain(w, find_dear(names[i]));
		const struct delayer d = {
			names[i], { .act = act_chain, .what = &c }, MEDIAN_LIMIT, WORST_LIMIT,
		};

		delay(w, &d);
		g_free(c.pem);
	}
}

static void delays_by_flights(struct world *w)
{
	static const char *const names[] = { "encrypted-drip", "many-suites" };

	for (size_t i = 0; i < hostile_n_attacks; i++) {
		const struct attack *a = &hostile_attacks[i];
		const struct delayer d = {
			a->name, { .act = act_flight, .what = a }, DEAR_MEDIAN_LIMIT,
			DEAR_WORST_LIMIT,
		};

		for (size_t j = 0; j < G_N_ELEMENTS(names); j++)
			if (!strcmp(a->name, names[j]))
				delay(w, &d);
	}
}

static void delay_by_certificates(struct world *w, const char *name, const struct signer *c,
				  enum hs_outcome outcome, const char *reason)
{
	const struct delayer d = {
		name, { .act = act_certified, .what = c }, DEAR_MEDIAN_LIMIT, DEAR_WORST_LIMIT,
	};
	g_autofree char *fault = NULL;
	struct ending e;

	meet(w, HS_SERVER, &d.deed, &e);
	fault = ending_fault(&e, HS_SERVER, outcome, reason);
	say_result(name, HS_SERVER, fault);
	delay(w, &d);
}

/* Each issued by the one before, the first by an authority that is not ours. */
static void delays_by_extensions(struct world *w)
{
	const struct pki_cert *by = w->pki.other_ca;
	struct pki_cert *cert[STRANGERS];
	GString *pem = g_string_new(NULL);
	struct signer c;

	for (unsigned int i = 0; i < STRANGERS; i++) {
		g_autofree char *cn = g_strdup_printf("stranger %u", i);

		cert[i] = pki_issue(&(struct pki_spec){ .cn = cn, .ca = true }, by);
		forge_add_unknown(cert[i], by, EXTENSIONS);
		g_string_prepend(pem, cert[i]->pem);
		by = cert[i];
	}
	c = (struct signer){ pem->str, by->key };
	delay_by_certificates(w, "certificates of many extensions", &c, HS_CERT_INVALID,
			      "more than 64 extensions");
	for (unsigned int i = 0; i < STRANGERS; i++)
		pki_free(cert[i]);
	g_string_free(pem, TRUE);
}

/* In the name of several authorities of ours: each of their keys is tried. */
static void delays_by_namesakes(struct world *w)
{
	const struct pki_spec spec = { .cn = "stranger", .no_authority = true };
	struct pki_cert *leaf = pki_issue(&spec, w->namesake);
	struct signer c = { leaf->pem, leaf->key };

	delay_by_certificates(w, "a certificate in the name of many", &c, HS_CERT_UNKNOWN_ISSUER,
			      "is not signed by");
	pki_free(leaf);
}

static void delays(struct world *w)
{
	delays_by_keys(w);
	delays_by_flights(w);
	delays_by_extensions(w);
	delays_by_namesakes(w);
}

/* ---- all ---- */

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(struct world *w);
	} sections[] = {
		{ "flights", flights }, { "certificates", certificates }, { "costs", costs }, { "delays", delays },
		{ "finished", finished },
	};
	struct world w;

	if (argc != 5) {
		fputs("usage: hostile-peers MONITOR PKI LOG SECTION\n", stderr);
		return 1;
	}
	world_open(&w, (pid_t)atoi(argv[1]), argv[2], argv[3]);
	for (size_t i = 0; i < G_N_ELEMENTS(sections); i++)
		if (!strcmp(sections[i].name, argv[4])) {
			sections[i].run(&w);
			printf("handshakes|%u\n", w.handshakes);
			return 0;
		}
	give_up("there is no such section");
}
