// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Many handshakes, both ends by the agent, from one process: with a pre-shared key, and, where they
 * are asked for, in turn with certificates that both ends are configured with, and with such as
 * both ends name by serial.
 *
 * Several pairs are in flight at once, each in a thread, with a second one for its server's end:
 * the consumer's ioctl returns when the handshake is over.  After each pair that should succeed
 * data go both ways over kTLS.  Every tenth pair may be one that must fail: what leaks, leaks
 * where a handshake ends early.  Where processes of the agent are killed meanwhile, a pair that
 * ends with ETIMEDOUT is made again, as consumers do, until it succeeds.
 *
 * Those kills are done here, by the number of pairs that were begun: so there are as many on a fast
 * machine as on a slow one.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "hs_consumer.h"

#define LANES_MAX	32
#define BAD_EACH	10
#define COMPLAINTS_MAX	10
#define MESSAGE		"sixteen bytes.."

#define NAME		"nfs.test"
#define KILL_EACH	20	/* pairs */
#define KILL_WITHIN_US	50000	/* after the last of them has begun: in whatever phase it is then */
#define DEATHS_TIMEOUT_MS 60000

enum kind { PSK, FILES, SERIALS, N_KINDS };

struct identity {
	int32_t		cert, key;	/* serials */
};

struct run {
	int		device;
	int32_t		psk, bad_psk, keyring;
	struct identity	client, server;
	long		pairs;
	enum kind	kinds[N_KINDS];	/* in turn */
	unsigned int	n_kinds;
	pid_t		monitor;	/* whose processes are killed; 0: nobody's */
	atomic_bool	over;
	atomic_long	next, succeeded, refused, faults, retries, again, unanswered, killed;
	atomic_long	with[N_KINDS];	/* those that succeeded */
	atomic_long	again_with[N_KINDS];
	atomic_long	longest_us;	/* of those that are made again */
	atomic_long	longest_good_us;
};

struct end {
	const struct run *run;
	struct hs_consumer_handshake hs;
	int		fd;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void make_connection(int *ret_client, int *ret_server)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		die("listen");
	*ret_client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*ret_client < 0 || connect(*ret_client, (struct sockaddr *)&address, len) < 0)
		die("connect");
	*ret_server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (*ret_server < 0)
		die("accept");
	close(listener);
}

static void *handshake(void *ctx)
{
	struct end *end = ctx;

	end->hs.sockfd = end->fd;
	end->hs.timeout_ms = end->run->monitor ? DEATHS_TIMEOUT_MS : 10000;
	end->hs.wait_ms = 2 * end->hs.timeout_ms;
	end->hs.retry_ms = 20000;
	if (ioctl(end->run->device, HS_CONSUMER_HANDSHAKE, &end->hs) < 0)
		die("ioctl of /dev/" HS_CONSUMER_DEVICE);
	/* or the other end would wait for its timeout */
	if (end->hs.status)
		shutdown(end->fd, SHUT_RDWR);
	return NULL;
}

static bool send_and_receive(int from, int to)
{
	char buf[sizeof(MESSAGE)] = "";

	return send(from, MESSAGE, sizeof(MESSAGE), MSG_NOSIGNAL) == sizeof(MESSAGE) &&
	       recv(to, buf, sizeof(buf), MSG_WAITALL) == sizeof(buf) &&
	       !memcmp(buf, MESSAGE, sizeof(buf));
}

static bool has_ktls(int fd)
{
	char ulp[16] = "";
	socklen_t len = sizeof(ulp) - 1;

	return getsockopt(fd, IPPROTO_TCP, 31 /* TCP_ULP */, ulp, &len) == 0 && !strcmp(ulp, "tls");
}

static bool knows_peer(const struct end *end)
{
	if (end->hs.auth == HS_CONSUMER_PSK)
		return end->hs.remote_peerid == end->run->psk;
	return end->hs.remote_peerid != 0;
}

static bool is_good(const struct end ends[2])
{
	int i;

	for (i = 0; i < 2; i++)
		if (ends[i].hs.status || !knows_peer(&ends[i]) || !has_ktls(ends[i].fd))
			return false;
	return send_and_receive(ends[0].fd, ends[1].fd) &&
	       send_and_receive(ends[1].fd, ends[0].fd);
}

static void at_least(atomic_long *longest, long us)
{
	long was = atomic_load(longest);

	while (us > was && !atomic_compare_exchange_weak(longest, &was, us))
		;
}

/* Each end failed in a way that passes, or had succeeded before the other one failed. */
static bool may_try_again(const struct end ends[2], struct run *run)
{
	long us = 0;
	int i;

	for (i = 0; i < 2; i++) {
		if (ends[i].hs.status && ends[i].hs.status != -ETIMEDOUT)
			return false;
		if (ends[i].hs.status && (long)ends[i].hs.elapsed_us > us)
			us = (long)ends[i].hs.elapsed_us;
	}
	at_least(&run->longest_us, us);
	return us > 0;
}

static void count_good(struct run *run, const struct end ends[2], enum kind kind)
{
	atomic_fetch_add(&run->succeeded, 1);
	atomic_fetch_add(&run->with[kind], 1);
	at_least(&run->longest_good_us, (long)ends[0].hs.elapsed_us);
	at_least(&run->longest_good_us, (long)ends[1].hs.elapsed_us);
}

/* Returns whether it is to be made again. */
static bool judge(struct run *run, const struct end ends[2], enum kind kind, bool bad)
{
	bool once = ends[0].hs.callbacks == 1 && ends[1].hs.callbacks == 1 &&
		    !ends[0].hs.stray && !ends[1].hs.stray;

	atomic_fetch_add(&run->retries, ends[0].hs.retries + ends[1].hs.retries);
	if (!once)
		atomic_fetch_add(&run->unanswered, 1);
	if (once && bad && ends[0].hs.status && ends[1].hs.status) {
		atomic_fetch_add(&run->refused, 1);
	} else if (once && !bad && is_good(ends)) {
		count_good(run, ends, kind);
	} else if (once && !bad && run->monitor && may_try_again(ends, run)) {
		atomic_fetch_add(&run->again, 1);
		atomic_fetch_add(&run->again_with[kind], 1);
		return true;
	} else if (atomic_fetch_add(&run->faults, 1) < COMPLAINTS_MAX) {
		printf("%s pair of kind %u: client status=%d remote-id=%d callbacks=%u, "
		       "server status=%d remote-id=%d callbacks=%u\n", bad ? "bad" : "good", kind,
		       ends[0].hs.status, ends[0].hs.remote_peerid, ends[0].hs.callbacks,
		       ends[1].hs.status, ends[1].hs.remote_peerid, ends[1].hs.callbacks);
	}
	return false;
}

static void ask(struct end *end, enum kind kind, bool bad)
{
	bool client = end->hs.role == HS_CONSUMER_CLIENT;
	const struct run *run = end->run;
	const struct identity *own = client ? &run->client : &run->server;

	if (kind == PSK) {
		end->hs.auth = HS_CONSUMER_PSK;
		end->hs.num_peerids = client;
		end->hs.peerids[0] = !client ? 0 : bad ? run->bad_psk : run->psk;
		end->hs.keyring = client ? 0 : run->keyring;
		return;
	}
	end->hs.auth = HS_CONSUMER_X509;
	strcpy(end->hs.peername, client ? NAME : "");
	if (kind == SERIALS) {
		end->hs.cert = own->cert;
		end->hs.privkey = own->key;
	}
}

static bool one_pair(struct run *run, enum kind kind, bool bad)
{
	struct end ends[2] = {
		{ .run = run, .hs.role = HS_CONSUMER_CLIENT },
		{ .run = run, .hs.role = HS_CONSUMER_SERVER },
	};
	pthread_t server;
	bool again;

	ask(&ends[0], kind, bad);
	ask(&ends[1], kind, bad);
	make_connection(&ends[0].fd, &ends[1].fd);
	if (pthread_create(&server, NULL, handshake, &ends[1]) != 0)
		die("pthread_create");
	handshake(&ends[0]);
	pthread_join(server, NULL);
	again = judge(run, ends, kind, bad);
	close(ends[0].fd);
	close(ends[1].fd);
	return again;
}

static void *lane(void *ctx)
{
	struct run *run = ctx;
	long number;

	while ((number = atomic_fetch_add(&run->next, 1)) < run->pairs) {
		enum kind kind = run->kinds[number % run->n_kinds];
		bool bad = run->bad_psk && number % BAD_EACH == BAD_EACH - 1;

		while (one_pair(run, bad ? PSK : kind, bad))
			;
	}
	return NULL;
}

/* ---- deaths ---- */

static unsigned int below(unsigned int limit)
{
	unsigned int value;

	if (getrandom(&value, sizeof(value), 0) != sizeof(value))
		die("getrandom");
	return value % limit;
}

/* Any process of the agent but the first. */
static bool kill_one(pid_t monitor)
{
	pid_t pids[64], pid;
	unsigned int n = 0;
	char name[64];
	FILE *file;

	snprintf(name, sizeof(name), "/proc/%d/task/%d/children", monitor, monitor);
	file = fopen(name, "re");
	if (!file)
		die(name);
	while (n < 64 && fscanf(file, "%d", &pid) == 1)
		pids[n++] = pid;
	fclose(file);
	return n && kill(pids[below(n)], SIGKILL) == 0;
}

static void *killer(void *ctx)
{
	struct run *run = ctx;
	long due = 1 + below(KILL_EACH);

	while (!atomic_load(&run->over)) {
		if (atomic_load(&run->next) < due) {
			usleep(1000);
			continue;
		}
		usleep(below(KILL_WITHIN_US));
		atomic_fetch_add(&run->killed, kill_one(run->monitor));
		due += KILL_EACH;
	}
	return NULL;
}

/* ---- all ---- */

static long number(const char *text, long min, long max)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 0);
	if (errno || end == text || *end || value < min || value > max) {
		fprintf(stderr, "many-handshakes: a number from %ld to %ld is wanted, not '%s'\n", min,
			max, text);
		exit(1);
	}
	return value;
}

static const char usage[] =
	"usage: many-handshakes [OPTIONS] PAIRS IN-FLIGHT PSK [BAD-PSK [KEYRING]]\n"
	"Serials; PSK 0: none; BAD-PSK: every tenth pair's, which must fail; 0: none.\n"
	"  --files                with the configured certificates in turn\n"
	"  --client CERT,KEY      by serial in turn: those of the client,\n"
	"  --server CERT,KEY      and of the server; without: as configured\n"
	"  --kill MONITOR         kills its processes; what ends with ETIMEDOUT is made again\n";

static struct identity identity(char *text)
{
	char *comma = strchr(text, ',');

	if (!comma) {
		fputs(usage, stderr);
		exit(1);
	}
	*comma = '\0';
	return (struct identity){ .cert = (int32_t)number(text, 1, INT32_MAX),
				  .key = (int32_t)number(comma + 1, 1, INT32_MAX) };
}

/* Returns in flight how many. */
static long read_arguments(struct run *run, int argc, char **argv)
{
	static const struct option options[] = {
		{ "files", no_argument, NULL, 'f' }, { "client", required_argument, NULL, 'c' },
		{ "server", required_argument, NULL, 's' }, { "kill", required_argument, NULL, 'k' },
		{ 0 },
	};
	bool known = true, files = false;
	int option;

	while (known && (option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 'f')
			files = true;
		else if (option == 'c')
			run->client = identity(optarg);
		else if (option == 's')
			run->server = identity(optarg);
		else if (option == 'k')
			run->monitor = (pid_t)number(optarg, 2, INT32_MAX);
		known = option != '?';
	}
	argc -= optind;
	argv += optind;
	if (known && argc >= 3 && argc <= 5) {
		run->pairs = number(argv[0], 1, 1000000);
		run->psk = (int32_t)number(argv[2], 0, INT32_MAX);
		if (run->psk)
			run->kinds[run->n_kinds++] = PSK;
		if (files)
			run->kinds[run->n_kinds++] = FILES;
		if (run->client.cert)
			run->kinds[run->n_kinds++] = SERIALS;
	}
	if (!run->n_kinds || (run->server.cert && !run->client.cert)) {
		fputs(usage, stderr);
		exit(1);
	}
	if (argc > 3)
		run->bad_psk = (int32_t)number(argv[3], 0, INT32_MAX);
	if (argc > 4)
		run->keyring = (int32_t)number(argv[4], 0, INT32_MAX);
	return number(argv[1], 1, LANES_MAX);
}

int main(int argc, char **argv)
{
	pthread_t threads[LANES_MAX], kills;
	struct timespec from, to;
	struct run run = { 0 };
	long lanes = read_arguments(&run, argc, argv), i;

	run.device = open("/dev/" HS_CONSUMER_DEVICE, O_RDWR | O_CLOEXEC);
	if (run.device < 0)
		die("/dev/" HS_CONSUMER_DEVICE);
	clock_gettime(CLOCK_MONOTONIC, &from);
	if (run.monitor && pthread_create(&kills, NULL, killer, &run) != 0)
		die("pthread_create");
	for (i = 0; i < lanes; i++)
		if (pthread_create(&threads[i], NULL, lane, &run) != 0)
			die("pthread_create");
	for (i = 0; i < lanes; i++)
		pthread_join(threads[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &to);
	run.over = true;
	if (run.monitor)
		pthread_join(kills, NULL);
	printf("pairs=%ld succeeded=%ld refused=%ld faults=%ld retries=%ld again=%ld longest_ms=%ld "
	       "ms=%ld killed=%ld with_psk=%ld with_files=%ld with_serials=%ld longest_good_ms=%ld "
	       "again_psk=%ld again_files=%ld again_serials=%ld unanswered=%ld\n", run.pairs, run.succeeded, run.refused, run.faults,
	       run.retries, run.again, run.longest_us / 1000,
	       (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000,
	       run.killed, run.with[PSK], run.with[FILES], run.with[SERIALS],
	       run.longest_good_us / 1000, run.again_with[PSK], run.again_with[FILES],
	       run.again_with[SERIALS], run.unanswered);
	return run.faults ? 1 : 0;
}
