// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One handshake in which a process of the daemon is killed in a given phase, beside another one
 * that another worker has, and one afterwards.
 *
 * What is measured is the time from kill(2) to the consumer's callback.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "death-conn.h"
#include "syscall-trap.h"

#define WAIT_MS 15000			/* for whatever happens soon */
#define SOL_TLS_ 282
#define TLS_RX_ 2
#define CHANNEL_MONITOR 3		/* of a worker or keeper, as it was started */
#define CHANNEL_PEER 4

enum kind { WORKER, KEEPER, N_KINDS };

struct processes {
	size_t n;			/* of each kind; a pair has the same index in both */
	pid_t pids[N_KINDS][TRAP_PIDS_MAX];
};

/* ---- the daemon's processes ---- */

/* A file of @pid's in /proc; each NUL becomes a blank. */
static bool read_proc(pid_t pid, const char *name, char *buf, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, size - 1);
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return false;
	for (ssize_t i = 0; i < n; i++)
		buf[i] = buf[i] ? buf[i] : ' ';
	buf[n] = '\0';
	return true;
}

/* Which of @pid's descriptors is @what? -1: none. */
static int find_fd(pid_t pid, const char *what)
{
	char path[64], target[128];

	for (int fd = 0; fd < 64; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strstr(target, what))
			return fd;
	}
	return -1;
}

static int compare(const void *a, const void *b)
{
	return *(const pid_t *)a - *(const pid_t *)b;
}

/* The pairs are started one after the other: in the order of their numbers the kinds match. */
static bool find_processes(pid_t monitor, struct processes *ret)
{
	char children[1024], name[32], *next = children;
	size_t n[N_KINDS] = { 0 };

	snprintf(name, sizeof(name), "task/%d/children", monitor);
	if (!read_proc(monitor, name, children, sizeof(children)))
		give_up("there is no monitor");
	for (;;) {
		char *end, line[256];
		pid_t pid = (pid_t)strtol(next, &end, 10);
		enum kind kind;

		if (end == next)
			break;
		next = end;
		if (!read_proc(pid, "cmdline", line, sizeof(line)))
			continue;
		kind = strstr(line, "--role=keeper") ? KEEPER : WORKER;
		/* its event loop is about the last thing before it is ready */
		if (find_fd(pid, "[eventpoll]") < 0 || n[kind] == TRAP_PIDS_MAX)
			return false;
		ret->pids[kind][n[kind]++] = pid;
	}
	for (enum kind kind = 0; kind < N_KINDS; kind++)
		qsort(ret->pids[kind], n[kind], sizeof(pid_t), compare);
	ret->n = n[WORKER];
	return n[WORKER] >= 2 && n[WORKER] == n[KEEPER];
}

#define WAIT_FOR(condition, what) do {				\
	uint64_t end_ = now_us() + WAIT_MS * 1000;		\
	while (!(condition)) {					\
		if (now_us() > end_)				\
			give_up("waited in vain until " what);	\
		usleep(2000);					\
	}							\
} while (0)

static pid_t owner(const struct conn *c, const struct processes *p)
{
	char name[64];

	snprintf(name, sizeof(name), "socket:[%lu]", (unsigned long)c->inode);
	for (size_t i = 0; i < p->n; i++)
		if (find_fd(p->pids[WORKER][i], name) >= 0)
			return p->pids[WORKER][i];
	return 0;
}

static pid_t wait_for_owner(const struct conn *c, const struct processes *p)
{
	pid_t pid;

	WAIT_FOR((pid = owner(c, p)) || c->over, "a worker has the socket");
	if (!pid)
		give_up("the handshake ended early");
	return pid;
}

/* ---- phases ---- */


static bool match_first_send(pid_t pid, uint64_t nr, const uint64_t args[6])
{
	char path[64];
	struct stat st;

	if (nr != SYS_sendto && nr != SYS_sendmsg && nr != SYS_write && nr != SYS_writev)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, (int)args[0]);
	return stat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (int)args[0] > CHANNEL_PEER;
}

static bool match_signed(pid_t pid, uint64_t nr, const uint64_t args[6])
{
	(void)pid;
	return nr == SYS_sendmsg && (int)args[0] == CHANNEL_PEER;
}

static bool match_option(uint64_t nr, const uint64_t args[6], int level, int option)
{
	return nr == SYS_setsockopt && (int)args[1] == level && (int)args[2] == option;
}

static bool match_ulp(pid_t pid, uint64_t nr, const uint64_t args[6])
{
	(void)pid;
	return match_option(nr, args, IPPROTO_TCP, TCP_ULP);
}

static bool match_rx(pid_t pid, uint64_t nr, const uint64_t args[6])
{
	(void)pid;
	return match_option(nr, args, SOL_TLS_, TLS_RX_);
}

static bool match_report(pid_t pid, uint64_t nr, const uint64_t args[6])
{
	(void)pid;
	return nr == SYS_sendmsg && (int)args[0] == CHANNEL_MONITOR;
}

enum peer_does { NOTHING, HOLDS_FINISHED, ALL };

static const struct phase {
	const char *name;
	uint32_t role;
	enum peer_does peer;
	enum kind traced;
	trap_match *match;	/* NULL: it stays in this phase by itself */
} phases[] = {
	/* nothing has come, nothing was sent */
	{ "start", HS_CONSUMER_SERVER, NOTHING, WORKER, NULL },
	{ "start", HS_CONSUMER_CLIENT, NOTHING, WORKER, match_first_send },
	/* a server waits for the client's second flight, a client for the ServerHello */
	{ "hello", HS_CONSUMER_SERVER, HOLDS_FINISHED, WORKER, NULL },
	{ "hello", HS_CONSUMER_CLIENT, NOTHING, WORKER, NULL },
	/* the keeper has the signature, the worker waits for it */
	{ "signing", HS_CONSUMER_SERVER, ALL, KEEPER, match_signed },
	{ "signing", HS_CONSUMER_CLIENT, ALL, KEEPER, match_signed },
	/* before TCP_ULP, between TLS_TX and TLS_RX, behind them */
	{ "finished", HS_CONSUMER_SERVER, ALL, WORKER, match_ulp },
	{ "finished", HS_CONSUMER_CLIENT, ALL, WORKER, match_ulp },
	{ "half", HS_CONSUMER_SERVER, ALL, WORKER, match_rx },
	{ "half", HS_CONSUMER_CLIENT, ALL, WORKER, match_rx },
	{ "report", HS_CONSUMER_SERVER, ALL, WORKER, match_report },
	{ "report", HS_CONSUMER_CLIENT, ALL, WORKER, match_report },
};

static const struct phase *find_phase(const char *role, const char *name)
{
	uint32_t want = strcmp(role, "client") ? HS_CONSUMER_SERVER : HS_CONSUMER_CLIENT;

	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++)
		if (phases[i].role == want && !strcmp(phases[i].name, name))
			return &phases[i];
	give_up("no such phase");
}

/* It is where it should be. Returns the index of the pair that has it. */
static size_t reach(const struct phase *phase, struct conn *c, struct trap *trap,
		    const struct processes *p)
{
	struct pollfd sent = { .fd = c->peer_fd, .events = POLLIN };
	pid_t pid;

	if (phase->peer != NOTHING) {
		c->hold = phase->peer == HOLDS_FINISHED;
		start_peer(c);
	}
	if (trap) {
		pid = trap_wait(trap, WAIT_MS);
		if (!pid)
			give_up("the phase was not met");
	} else {
		pid = wait_for_owner(c, p);
	}
	if (phase->peer == HOLDS_FINISHED)
		WAIT_FOR(c->held || c->over, "the peer has sent its Finished");
	else if (!trap && phase->role == HS_CONSUMER_CLIENT && poll(&sent, 1, WAIT_MS) != 1)
		give_up("there is no ClientHello");
	for (size_t i = 0; i < p->n; i++)
		for (enum kind kind = 0; kind < N_KINDS; kind++)
			if (p->pids[kind][i] == pid)
				return i;
	give_up("a process nobody knows");
}

/* Returns the time just before it. */
static uint64_t kill_them(struct trap *trap, const pid_t *pids, size_t n)
{
	uint64_t when;

	if (trap)
		return trap_kill(trap, pids, n);
	when = now_us();
	for (size_t i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
	return when;
}

static int one_death(const struct setup *setup, const struct phase *phase, const char *victim)
{
	bool worker = strcmp(victim, "keeper") != 0, keeper = strcmp(victim, "worker") != 0;
	struct conn bystander, c, next;
	struct trap *trap = NULL;
	struct processes p;
	pid_t pids[2];
	uint64_t when;
	size_t i, n = 0;

	WAIT_FOR(find_processes(setup->monitor, &p), "all workers are ready");
	usleep(20000);
	start_conn(&bystander, setup, HS_CONSUMER_SERVER);
	wait_for_owner(&bystander, &p);
	if (phase->match)
		trap = trap_set(p.pids[phase->traced], p.n, phase->match);
	start_conn(&c, setup, phase->role);
	i = reach(phase, &c, trap, &p);
	if (owner(&bystander, &p) == p.pids[WORKER][i])
		give_up("both handshakes are with the same worker");
	if (c.over)
		give_up("it is over already");
	if (worker)
		pids[n++] = p.pids[WORKER][i];
	if (keeper)
		pids[n++] = p.pids[KEEPER][i];
	when = kill_them(trap, pids, n);
	end_conn(&c);
	start_peer(&bystander);
	end_conn(&bystander);
	plain(setup, HS_CONSUMER_CLIENT, &next);
	printf("port=%u worker=%d keeper=%d status=%d callbacks=%u stray=%u us=%lld "
	       "bystander=%s next=%s\n", c.port, p.pids[WORKER][i], p.pids[KEEPER][i],
	       c.hs.status, c.hs.callbacks, c.hs.stray, (long long)(c.ended - when), is_good(&bystander) ? "good" : "bad",
	       is_good(&next) ? "good" : "bad");
	return 0;
}

/* ---- plain handshakes, to compare with ---- */

static int compare_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int plain_ones(const struct setup *setup, size_t n)
{
	uint64_t *us = calloc(n, sizeof(*us));
	unsigned int good = 0;

	for (size_t i = 0; us && i < n; i++) {
		struct conn c;

		plain(setup, i % 2 ? HS_CONSUMER_SERVER : HS_CONSUMER_CLIENT, &c);
		us[i] = c.hs.elapsed_us;
		good += is_good(&c);
	}
	if (!us)
		give_up("no memory");
	qsort(us, n, sizeof(*us), compare_time);
	printf("good=%u median=%llu p95=%llu max=%llu\n", good, (unsigned long long)us[n / 2],
	       (unsigned long long)us[n * 95 / 100], (unsigned long long)us[n - 1]);
	free(us);
	return 0;
}

/* ---- a peer that makes workers die, and tries again at once ---- */

#define POISON_MAX_S 300

struct poison {
	const struct setup *setup;
	unsigned int wanted, pause_ms;
	atomic_bool over;
	unsigned int deaths;					/* the poisoner's */
	unsigned int good, faults, most_tries;			/* the honest one's */
	uint64_t longest;
};

/* Whichever worker has it. */
static bool kill_owner(const struct conn *c)
{
	char children[4096], name[32], line[256], *next = children, *end, inode[64];

	snprintf(inode, sizeof(inode), "socket:[%lu]", (unsigned long)c->inode);
	snprintf(name, sizeof(name), "task/%d/children", c->setup->monitor);
	if (!read_proc(c->setup->monitor, name, children, sizeof(children)))
		give_up("there is no monitor");
	for (;; next = end) {
		pid_t pid = (pid_t)strtol(next, &end, 10);

		if (end == next)
			return false;
		/* not one that is just being started, which has all that the monitor has */
		if (read_proc(pid, "cmdline", line, sizeof(line)) &&
		    strstr(line, "--role=worker") && find_fd(pid, inode) > CHANNEL_PEER)
			return kill(pid, SIGKILL) == 0;
	}
}

static void *poisoner(void *ctx)
{
	struct poison *p = ctx;
	uint64_t end = now_us() + POISON_MAX_S * UINT64_C(1000000);

	while (p->deaths < p->wanted && now_us() < end) {
		struct conn c;

		start_conn(&c, p->setup, HS_CONSUMER_SERVER);
		while (!c.over && now_us() < end && !kill_owner(&c))
			usleep(2000);
		shutdown(c.peer_fd, SHUT_RDWR);
		end_conn(&c);
		p->deaths += c.hs.status == -ETIMEDOUT;
		usleep(p->pause_ms * 1000);
	}
	p->over = true;
	return NULL;
}

static void *honest(void *ctx)
{
	struct poison *p = ctx;

	for (uint32_t n = 0; !p->over; n++) {
		uint64_t from = now_us();
		unsigned int tries = 0;
		struct conn c;

		do {
			plain(p->setup, n % 2 ? HS_CONSUMER_SERVER : HS_CONSUMER_CLIENT, &c);
			tries++;
		} while (c.hs.status == -ETIMEDOUT);
		p->good += is_good(&c);
		p->faults += !is_good(&c);
		if (now_us() - from > p->longest)
			p->longest = now_us() - from;
		if (tries > p->most_tries)
			p->most_tries = tries;
	}
	return NULL;
}

static int poison(const struct setup *setup, unsigned int deaths, unsigned int pause_ms)
{
	struct poison p = { .setup = setup, .wanted = deaths, .pause_ms = pause_ms };
	pthread_t threads[2];

	if (pthread_create(&threads[0], NULL, poisoner, &p) != 0 ||
	    pthread_create(&threads[1], NULL, honest, &p) != 0)
		die("pthread_create");
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	printf("deaths=%u good=%u faults=%u tries=%u longest_ms=%llu\n", p.deaths, p.good,
	       p.faults, p.most_tries, (unsigned long long)p.longest / 1000);
	return 0;
}

int main(int argc, char **argv)
{
	struct setup setup;

	if (argc < 5)
		give_up("usage: deaths MONITOR PKI-DIRECTORY plain NUMBER | "
			"poison DEATHS PAUSE-MS | ROLE PHASE VICTIM");
	setup.monitor = (pid_t)atoi(argv[1]);
	setup.pki = argv[2];
	setup.device = open("/dev/" HS_CONSUMER_DEVICE, O_RDWR | O_CLOEXEC);
	if (setup.device < 0)
		die("/dev/" HS_CONSUMER_DEVICE);
	if (!strcmp(argv[3], "plain"))
		return plain_ones(&setup, (size_t)atoi(argv[4]));
	if (argc < 6)
		give_up("two more words are wanted");
	if (!strcmp(argv[3], "poison"))
		return poison(&setup, (unsigned int)atoi(argv[4]), (unsigned int)atoi(argv[5]));
	return one_death(&setup, find_phase(argv[3], argv[4]), argv[5]);
}
