// SPDX-License-Identifier: GPL-2.0-or-later
#include "hostile-conn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "syscall-trap.h"

#define SETTLE_MS 20
#define OVER_MS (2 * TIMEOUT_MS)
#define LINE_MS 10000

/* ---- the world ---- */

static char *read_text(const char *dir, const char *name)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);
	char *text;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		give_up(path);
	return text;
}

static struct pki_cert *load(const char *dir, const char *name)
{
	g_autofree char *cert = g_strconcat(name, ".pem", NULL), *key = g_strconcat(name, ".key", NULL);
	struct pki_cert *c = g_new0(struct pki_cert, 1);
	gnutls_datum_t text;

	c->pem = read_text(dir, cert);
	c->key_pem = read_text(dir, key);
	text = (gnutls_datum_t){ (unsigned char *)c->pem, (unsigned int)strlen(c->pem) };
	if (gnutls_x509_crt_init(&c->crt) < 0 ||
	    gnutls_x509_crt_import(c->crt, &text, GNUTLS_X509_FMT_PEM) < 0)
		give_up(cert);
	text = (gnutls_datum_t){ (unsigned char *)c->key_pem, (unsigned int)strlen(c->key_pem) };
	if (gnutls_x509_privkey_init(&c->key) < 0 ||
	    gnutls_x509_privkey_import(c->key, &text, GNUTLS_X509_FMT_PEM) < 0)
		give_up(key);
	return c;
}

void world_open(struct world *w, pid_t monitor, const char *pki, const char *log)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", monitor, monitor);
	g_autofree char *children = NULL;
	char *next, *end;

	*w = (struct world){
		.setup = { .monitor = monitor, .pki = pki }, .log = log,
		.pki = {
			.ca = load(pki, "ca"), .other_ca = load(pki, "other-ca"),
			.server = load(pki, "server"), .client = load(pki, "client"),
			.name = "nfs.test",
		},
		.namesake = load(pki, "namesake"),
		.pids = { monitor }, .n_pids = 1,
	};
	g_mutex_init(&w->lock);
	w->setup.device = open("/dev/" HS_CONSUMER_DEVICE, O_RDWR | O_CLOEXEC);
	if (w->setup.device < 0)
		die("/dev/" HS_CONSUMER_DEVICE);
	if (!g_file_get_contents(path, &children, NULL, NULL))
		give_up("there is no monitor");
	for (next = children;; next = end) {
		long pid = strtol(next, &end, 10);

		if (end == next)
			break;
		if (w->n_pids == DAEMON_PIDS_MAX)
			give_up("too many processes");
		w->pids[w->n_pids++] = (pid_t)pid;
	}
}

/* The scheduler counts in ns, where the times of a process are in ticks. */
static uint64_t cpu_ns(const struct world *w)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < w->n_pids; i++) {
		g_autofree char *path = g_strdup_printf("/proc/%d/schedstat", w->pids[i]);
		g_autofree char *text = NULL;

		if (!g_file_get_contents(path, &text, NULL, NULL))
			give_up("a process of the daemon has gone");
		sum += strtoull(text, NULL, 10);
	}
	return sum;
}

/* ---- the log ---- */

static long log_size(const struct world *w)
{
	FILE *f = fopen(w->log, "re");
	long size;

	if (!f || fseek(f, 0, SEEK_END) < 0 || (size = ftell(f)) < 0)
		die(w->log);
	fclose(f);
	return size;
}

/* The lines since @from about the handshake of @c. */
static void read_lines(const struct world *w, long from, enum hs_role ours, const struct conn *c,
		       struct ending *ret)
{
	g_autofree char *start = g_strdup_printf("%s handshake with 127.0.0.1:%u", hs_role_name(ours),
						 c->port);
	FILE *f = fopen(w->log, "re");
	char line[4096];
	size_t n = strlen(start);

	if (!f || fseek(f, from, SEEK_SET) < 0)
		die(w->log);
	ret->lines = 0;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, start, n) != 0 || (line[n] != ',' && line[n] != ' ') ||
		    !strchr(line, '\n'))
			continue;
		ret->lines++;
		g_strlcpy(ret->line, g_strchomp(line), sizeof(ret->line));
	}
	fclose(f);
}

/* ---- one handshake ---- */

struct meeting {
	struct conn conn;
	struct forged_peer peer;
};

static bool settle(void *ctx)
{
	struct meeting *m = ctx;
	struct pollfd pfd = { .fd = m->peer.fd, .events = POLLIN };

	if (!m->peer.closed)
		poll(&pfd, 1, SETTLE_MS);
	forged_receive(&m->peer);
	return m->peer.closed || m->conn.over;
}

static void act_ordinary(struct flight *f, const void *unused)
{
	(void)unused;
	flight_greet(f);
	flight_honest(f);
}

const struct deed ordinary = { .act = act_ordinary };

void meet(struct world *w, enum hs_role ours, const struct deed *deed, struct ending *ret)
{
	struct meeting m = { 0 };
	struct flight f = { .peer = &m.peer, .pki = &w->pki, .settle = settle, .ctx = &m };
	uint64_t before = cpu_ns(w), end;
	long from = log_size(w);

	g_mutex_lock(&w->lock);
	w->handshakes++;
	g_mutex_unlock(&w->lock);
	start_conn(&m.conn, &w->setup, ours == HS_CLIENT ? HS_CONSUMER_CLIENT : HS_CONSUMER_SERVER);
	forged_open(&m.peer, m.conn.peer_fd, ours == HS_CLIENT ? HS_SERVER : HS_CLIENT);
	m.peer.waits = true;
	deed->act(&f, deed->what);
	end = now_us() + OVER_MS * 1000ULL;
	while (!m.conn.over && now_us() < end) {
		if (settle(&m))
			usleep(1000);
	}
	*ret = (struct ending){ .over = m.conn.over };
	if (ret->over && m.conn.hs.status == 0 && deed->after)
		deed->after(&m.conn, &m.peer, deed->ctx);
	forged_receive(&m.peer);
	ret->alert = m.peer.alert;
	forged_close(&m.peer);
	end_conn(&m.conn);
	ret->status = m.conn.hs.status;
	ret->callbacks = m.conn.hs.callbacks;
	ret->stray = m.conn.hs.stray;
	ret->us = m.conn.hs.elapsed_us;
	end = now_us() + LINE_MS * 1000ULL;
	for (;;) {
		read_lines(w, from, ours, &m.conn, ret);
		if (ret->lines > 0 || now_us() > end)
			break;
		usleep(2000);
	}
	ret->cpu_ns = cpu_ns(w) - before;
}

char *ending_fault(const struct ending *e, enum hs_role ours, enum hs_outcome outcome,
		   const char *reason)
{
	g_autofree char *with = outcome == HS_OK ? g_strdup(", x509, ok: ") :
				g_strdup_printf(" (%s); ", hs_outcome_name(outcome));
	int wanted = -(int)hs_outcome_errno(outcome);

	if (!e->over)
		return g_strdup("the consumer waited in vain");
	if (e->status != wanted || e->callbacks != 1 || e->stray)
		return g_strdup_printf("%s: status %d, wanted %d; %u callbacks, %u stray; log: %s",
				       hs_role_name(ours), e->status, wanted, e->callbacks,
				       e->stray, e->line);
	if (e->lines != 1)
		return g_strdup_printf("%u lines in the log", e->lines);
	if (!strstr(e->line, with) || !strstr(e->line, reason))
		return g_strdup_printf("the log has not \"%s\" and \"%s\": %s", with, reason, e->line);
	return NULL;
}
