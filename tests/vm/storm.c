// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Many handshakes at once, some of which never get on, and more than there may be; for
 * tests/vm/storm. Prints NAME=VALUE...; see usage().
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

#include "storm-conn.h"

#define PIDS_MAX 32
#define RUSH_TIMEOUT_MS 120000	/* nothing may come near it */
#define HONEST_TIMEOUT_MS 30000
#define SAMPLE_US 200000
#define LANES 8
#define UNREAD_LANES 3		/* of the few requests that a small machine's kernel queues */
#define STALLED_MAX 4096
#define DRIP_US 1000000

static uint32_t parse_number(const char *text, unsigned long max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 0);
	if (errno || end == text || *end || value > max)
		give_up("a number is wanted");
	return (uint32_t)value;
}

static uint32_t parse_role(const char *text)
{
	if (!strcmp(text, "server") || !strcmp(text, "mutual"))
		return HS_CONSUMER_SERVER;
	if (!strcmp(text, "client"))
		return HS_CONSUMER_CLIENT;
	give_up("a role is server, mutual or client");
}

/* ---- the daemon, from outside ---- */

struct agent {
	pid_t monitor;
	pid_t pids[PIDS_MAX];	/* the monitor's first */
	size_t n;
};

static void agent_find(struct agent *a, pid_t monitor)
{
	char path[64], text[1024], *word, *rest;
	FILE *f;

	*a = (struct agent){ .monitor = monitor, .pids = { monitor }, .n = 1 };
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", monitor, monitor);
	f = fopen(path, "re");
	if (!f || !fgets(text, sizeof(text), f))
		give_up("the daemon has no children");
	fclose(f);
	for (word = strtok_r(text, " \n", &rest); word && a->n < PIDS_MAX;
	     word = strtok_r(NULL, " \n", &rest))
		a->pids[a->n++] = atoi(word);
}

/* CPU time of all its processes, us. */
static uint64_t agent_cpu(const struct agent *a)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < a->n; i++) {
		unsigned long long ns = 0;
		char path[64];
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/schedstat", a->pids[i]);
		f = fopen(path, "re");
		if (!f || fscanf(f, "%llu", &ns) != 1)
			give_up("a process of the daemon has gone");
		fclose(f);
		sum += ns / 1000;
	}
	return sum;
}

/* Memory of all its processes, what they share counted once, KiB. */
static unsigned long agent_memory(const struct agent *a)
{
	unsigned long sum = 0, kb;

	for (size_t i = 0; i < a->n; i++) {
		char path[64], line[256];
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", a->pids[i]);
		f = fopen(path, "re");
		if (!f)
			give_up("a process of the daemon has gone");
		while (fgets(line, sizeof(line), f)) {
			if (sscanf(line, "Pss: %lu kB", &kb) == 1)
				sum += kb;
		}
		fclose(f);
	}
	return sum;
}

static unsigned int agent_descriptors(const struct agent *a)
{
	unsigned int n = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", a->monitor);
	dir = opendir(path);
	if (!dir)
		give_up("the daemon has gone");
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* ---- all at once ---- */

struct sampler {
	const struct agent *agent;
	pthread_t thread;
	atomic_bool ending;
	unsigned long most;
};

static void *sample(void *ctx)
{
	struct sampler *s = ctx;

	do {
		unsigned long kb = agent_memory(s->agent);

		if (kb > s->most)
			s->most = kb;
		usleep(SAMPLE_US);
	} while (!s->ending);
	return NULL;
}

/* All peers, by this thread, to their end. */
static void run_peers(struct storm_conn *conns, unsigned int n)
{
	struct pollfd *p = calloc(n, sizeof(*p));
	unsigned int left = n;

	if (!p)
		die("calloc");
	for (unsigned int i = 0; i < n; i++)
		p[i] = (struct pollfd){ .fd = conns[i].peer_fd, .revents = POLLOUT };
	while (left) {
		for (unsigned int i = 0; i < n; i++) {
			if (!p[i].revents || p[i].fd < 0)
				continue;
			if (peer_step(&conns[i])) {
				p[i].fd = -1;
				left--;
			} else {
				p[i].events = peer_wants(&conns[i]);
			}
		}
		if (left && poll(p, n, -1) < 0)
			die("poll");
	}
	free(p);
}

/* @hold: no peer says a word before all their handshakes are in flight. */
static int rush(const struct agent *agent, const struct net *net, unsigned int n, bool hold)
{
	struct storm_conn *conns = calloc(n, sizeof(*conns));
	struct sampler sampler = { .agent = agent };
	unsigned long before = agent_memory(agent), held = 0;
	unsigned int fds = agent_descriptors(agent), good = 0, lost = 0, in_flight = 0;
	uint64_t cpu = agent_cpu(agent), start, retries = 0;

	if (!conns)
		die("calloc");
	for (unsigned int i = 0; i < n; i++)
		conn_open(&conns[i], net, 0, RUSH_TIMEOUT_MS);
	start = now_us();
	for (unsigned int i = 0; i < n; i++)
		conn_ask(&conns[i]);
	for (unsigned int i = 0; hold && in_flight < n && i < 600; i++) {
		usleep(100000);
		in_flight = agent_descriptors(agent) - fds;
	}
	if (hold)
		held = agent_memory(agent);
	if (hold && pthread_create(&sampler.thread, NULL, sample, &sampler) != 0)
		die("pthread_create");
	run_peers(conns, n);
	for (unsigned int i = 0; i < n; i++) {
		pthread_join(conns[i].thread, NULL);
		conns[i].thread = 0;
		good += conn_good(&conns[i]);
		lost += conns[i].hs.callbacks != 1;
		retries += conns[i].hs.retries;
		if (!conn_good(&conns[i]) && i - good < 5)
			fprintf(stderr, "status=%d callbacks=%u peer=%s\n", conns[i].hs.status,
				conns[i].hs.callbacks, conns[i].peer_error ?
				gnutls_strerror(conns[i].peer_error) : "ok");
	}
	start = now_us() - start;
	cpu = agent_cpu(agent) - cpu;
	if (hold) {
		sampler.ending = true;
		pthread_join(sampler.thread, NULL);
	}
	for (unsigned int i = 0; i < n; i++)
		conn_close(&conns[i]);
	free(conns);
	printf("good=%u lost=%u retries=%llu in_flight=%u cpu_ms=%llu ms=%llu memory_before=%lu memory_held=%lu memory=%lu\n",
	       good, lost, (unsigned long long)retries, in_flight, (unsigned long long)cpu / 1000,
	       (unsigned long long)start / 1000, before, held, sampler.most);
	return good == n ? 0 : 1;
}

/* ---- notifications that nobody reads ---- */

struct asker {
	const struct net *net;
	unsigned int n;
	atomic_uint *cancelled, *refused;
};

/* Nothing of it stays, TIME_WAIT neither: there are not so many ports. */
static void reset(const struct storm_conn *c)
{
	struct linger linger = { .l_onoff = 1 };

	setsockopt(c->peer_fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/* Requests that are taken back: what the kernel has told of them stays. */
static void *ask_and_cancel(void *ctx)
{
	struct asker *a = ctx;
	struct storm_conn c;

	/* A socket takes one request in its life (Linux 6.12). */
	for (unsigned int i = 0; i < a->n; i++) {
		conn_open(&c, a->net, 0, HONEST_TIMEOUT_MS);
		c.hs.wait_ms = 1;
		c.hs.retry_ms = HONEST_TIMEOUT_MS;
		if (ioctl(a->net->device, HS_CONSUMER_HANDSHAKE, &c.hs) < 0)
			die("ioctl of /dev/" HS_CONSUMER_DEVICE);
		if (c.hs.flags & HS_CONSUMER_CANCELLED)
			atomic_fetch_add(a->cancelled, 1);
		/* Where its word finds no room the kernel says so. */
		else if (c.hs.status == -ENOBUFS && !(c.hs.flags & HS_CONSUMER_SUBMITTED))
			atomic_fetch_add(a->refused, 1);
		reset(&c);
		conn_close(&c);
	}
	return NULL;
}

static int unread(const struct net *net, unsigned int n)
{
	atomic_uint cancelled = 0, refused = 0;
	pthread_t threads[UNREAD_LANES];
	struct asker a = { net, n / UNREAD_LANES, &cancelled, &refused };

	for (unsigned int i = 0; i < UNREAD_LANES; i++) {
		if (pthread_create(&threads[i], NULL, ask_and_cancel, &a) != 0)
			die("pthread_create");
	}
	for (unsigned int i = 0; i < UNREAD_LANES; i++)
		pthread_join(threads[i], NULL);
	printf("cancelled=%u at_once=%u\n", cancelled, refused);
	return 0;
}

/* ---- stalled peers among honest ones ---- */

enum stall { NO_STALL, SILENT, DRIP };

struct mixed {
	const struct net *net;
	enum stall stall;
	uint32_t stall_ms;
	uint64_t end;			/* of the time for honest ones, us */
	atomic_uint good, faults, n_stalled;
	atomic_ullong longest;		/* honest handshake, us */
	struct storm_conn stalled[STALLED_MAX];
	unsigned char dripped[STALLED_MAX];	/* bytes */
};

static void honest(struct mixed *m)
{
	struct storm_conn c;

	conn_open(&c, m->net, 0, HONEST_TIMEOUT_MS);
	conn_ask(&c);
	peer_run(&c);
	pthread_join(c.thread, NULL);
	c.thread = 0;
	if (conn_good(&c)) {
		unsigned long long longest = m->longest;

		atomic_fetch_add(&m->good, 1);
		while (c.hs.elapsed_us > longest &&
		       !atomic_compare_exchange_weak(&m->longest, &longest, c.hs.elapsed_us))
			;
	} else {
		atomic_fetch_add(&m->faults, 1);
	}
	conn_close(&c);
}

static void stalled(struct mixed *m)
{
	unsigned int i = atomic_fetch_add(&m->n_stalled, 1);

	if (i >= STALLED_MAX)
		give_up("too many stalled connections");
	conn_open(&m->stalled[i], m->net, 0, m->stall_ms);
	conn_ask(&m->stalled[i]);
}

/* Of ten connections one is stalled, where any is. */
static void *mixed_lane(void *ctx)
{
	struct mixed *m = ctx;

	for (unsigned int i = 0; now_us() < m->end; i++) {
		if (m->stall != NO_STALL && i % 9 == 0)
			stalled(m);
		honest(m);
	}
	return NULL;
}

/* The beginning of a ClientHello that promises more than ever comes: a byte a second. */
static void *drip(void *ctx)
{
	static const unsigned char hello[] = { 22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3 };
	struct mixed *m = ctx;

	for (unsigned int n = 0; now_us() < m->end + m->stall_ms * 1000; n++) {
		for (unsigned int i = 0; i < m->n_stalled; i++) {
			struct storm_conn *c = &m->stalled[i];

			if (!c->thread || c->over)
				continue;
			send(c->peer_fd, &hello[MIN(m->dripped[i], sizeof(hello) - 1)], 1,
			     MSG_NOSIGNAL | MSG_DONTWAIT);
			m->dripped[i]++;
		}
		usleep(DRIP_US);
	}
	return NULL;
}

struct totals {
	unsigned int good[2], faults, n_stalled, wrong;
	uint64_t longest;		/* of the handshakes that no stalled ones were among */
	uint64_t latest, soonest;	/* end of a stalled one, from its deadline on; from its start */
};

static void mixed(struct totals *t, const struct net *net, enum stall stall, uint32_t seconds,
		  uint32_t stall_ms)
{
	struct mixed *m = calloc(1, sizeof(*m));
	pthread_t lanes[LANES], dripper = 0;

	if (!m)
		die("calloc");
	m->net = net;
	m->stall = stall;
	m->stall_ms = stall_ms;
	m->end = now_us() + seconds * UINT64_C(1000000);
	for (unsigned int i = 0; i < LANES; i++) {
		if (pthread_create(&lanes[i], NULL, mixed_lane, m) != 0)
			die("pthread_create");
	}
	if (stall == DRIP && pthread_create(&dripper, NULL, drip, m) != 0)
		die("pthread_create");
	for (unsigned int i = 0; i < LANES; i++)
		pthread_join(lanes[i], NULL);
	if (dripper)
		pthread_join(dripper, NULL);
	for (unsigned int i = 0; i < m->n_stalled; i++) {
		struct storm_conn *c = &m->stalled[i];

		conn_close(c);
		if (c->hs.status != -ETIMEDOUT || c->hs.callbacks != 1) {
			fprintf(stderr, "stalled: status=%d callbacks=%u\n", c->hs.status,
				c->hs.callbacks);
			t->wrong++;
			continue;
		}
		if (c->hs.elapsed_us > stall_ms * 1000 + t->latest)
			t->latest = c->hs.elapsed_us - stall_ms * 1000;
		t->soonest = MIN(t->soonest, c->hs.elapsed_us);
	}
	t->good[stall != NO_STALL] += m->good;
	t->faults += m->faults;
	t->n_stalled += m->n_stalled;
	if (stall == NO_STALL)
		t->longest = MAX(t->longest, m->longest);
	free(m);
}

/* In turns, so that both have the same machine. */
static int stall(const struct net *net, enum stall kind, unsigned int seconds, uint32_t stall_ms)
{
	struct totals t = { .soonest = UINT64_MAX };

	for (unsigned int i = 0; i < 2; i++) {
		mixed(&t, net, NO_STALL, seconds, stall_ms);
		mixed(&t, net, kind, seconds, stall_ms);
	}
	printf("plain=%u among_stalled=%u faults=%u stalled=%u wrong=%u longest_us=%llu late_us=%llu soonest_us=%llu\n",
	       t.good[0], t.good[1], t.faults, t.n_stalled, t.wrong, (unsigned long long)t.longest,
	       (unsigned long long)t.latest, (unsigned long long)t.soonest);
	return t.faults || t.wrong;
}

/* ---- more than there may be ---- */

/* Connections that say nothing, until standard input ends. */
static int hold(const struct agent *agent, const struct net *net, uint32_t address, unsigned int n)
{
	struct storm_conn *conns = calloc(n, sizeof(*conns));
	unsigned int fds = agent_descriptors(agent), gone = 0;
	char byte;

	if (!conns)
		die("calloc");
	for (unsigned int i = 0; i < n; i++) {
		conn_open(&conns[i], net, address, RUSH_TIMEOUT_MS);
		conn_ask(&conns[i]);
	}
	for (unsigned int i = 0; agent_descriptors(agent) < fds + n && i < 300; i++)
		usleep(100000);
	printf("held=%u\n", agent_descriptors(agent) - fds);
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	for (unsigned int i = 0; i < n; i++) {
		gone += conns[i].over;
		shutdown(conns[i].peer_fd, SHUT_RDWR);
	}
	for (unsigned int i = 0; i < n; i++)
		conn_close(&conns[i]);
	printf("gone=%u\n", gone);
	free(conns);
	return gone ? 1 : 0;
}

struct refusals {
	const struct net *net;
	uint32_t address;
	unsigned int n;
	atomic_uint refused, served, other;
	atomic_ullong least, most;	/* until it was told, us */
};

static void note(struct refusals *r, uint64_t us)
{
	unsigned long long least = r->least, most = r->most;

	while (us < least && !atomic_compare_exchange_weak(&r->least, &least, us))
		;
	while (us > most && !atomic_compare_exchange_weak(&r->most, &most, us))
		;
}

static void *try_often(void *ctx)
{
	struct refusals *r = ctx;

	for (unsigned int i = 0; i < r->n; i++) {
		struct storm_conn c;

		conn_open(&c, r->net, r->address, HONEST_TIMEOUT_MS);
		conn_ask(&c);
		peer_run(&c);
		pthread_join(c.thread, NULL);
		c.thread = 0;
		if (conn_good(&c)) {
			atomic_fetch_add(&r->served, 1);
		} else if (c.hs.status == -ETIMEDOUT && c.hs.callbacks == 1) {
			atomic_fetch_add(&r->refused, 1);
			note(r, c.hs.elapsed_us);
		} else {
			atomic_fetch_add(&r->other, 1);
		}
		conn_close(&c);
	}
	return NULL;
}

static int attempts(const struct net *net, uint32_t address, unsigned int n)
{
	struct refusals r = { .net = net, .address = address, .n = n / LANES, .least = UINT64_MAX };
	pthread_t threads[LANES];

	for (unsigned int i = 0; i < LANES; i++) {
		if (pthread_create(&threads[i], NULL, try_often, &r) != 0)
			die("pthread_create");
	}
	for (unsigned int i = 0; i < LANES; i++)
		pthread_join(threads[i], NULL);
	printf("refused=%u served=%u other=%u least_us=%llu most_us=%llu\n", r.refused, r.served,
	       r.other, (unsigned long long)r.least, (unsigned long long)r.most);
	return 0;
}

/* ---- all ---- */

static int usage(void)
{
	fputs("usage: storm MONITOR-PID PKI ROLE COMMAND, ROLE being the daemon's:\n"
	      "server, mutual (a server whose clients have certificates) or client\n"
	      "  rush N          N handshakes at once; none of the peers speaks before all are in flight\n"
	      "  queue N         the same without that, while the daemon may sleep\n"
	      "  unread N        N requests that are taken back, or refused at once by the kernel\n"
	      "  silent SECONDS MS, drip SECONDS MS\n"
	      "                  honest handshakes for SECONDS, and for as long with one of ten\n"
	      "                  connections stalled for MS, both twice\n"
	      "  hold ADDRESS N  N silent connections from there, until the input ends\n"
	      "  try ADDRESS N   N honest ones\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static struct net net;
	struct agent agent;
	const char *command;
	unsigned int n;

	if (argc < 6)
		return usage();
	signal(SIGPIPE, SIG_IGN);
	agent_find(&agent, (pid_t)parse_number(argv[1], INT32_MAX));
	net_open(&net, parse_role(argv[3]), !strcmp(argv[3], "mutual"), argv[2]);
	command = argv[4];
	n = parse_number(argv[5], UINT32_MAX);
	if (!strcmp(command, "rush"))
		return rush(&agent, &net, n, true);
	if (!strcmp(command, "queue"))
		return rush(&agent, &net, n, false);
	if (!strcmp(command, "unread"))
		return unread(&net, n);
	if (argc < 7)
		return usage();
	if (!strcmp(command, "silent"))
		return stall(&net, SILENT, n, parse_number(argv[6], 600000));
	if (!strcmp(command, "drip"))
		return stall(&net, DRIP, n, parse_number(argv[6], 600000));
	if (!strcmp(command, "hold"))
		return hold(&agent, &net, n, parse_number(argv[6], 16384));
	if (!strcmp(command, "try"))
		return attempts(&net, n, parse_number(argv[6], 1000000));
	return usage();
}
