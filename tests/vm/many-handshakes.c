// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Many handshakes with a pre-shared key, or mutual ones with certificates, both ends by the agent,
 * from one process.
 *
 * Several pairs are in flight at once, each in a thread, with a second one for its server's end:
 * the consumer's ioctl returns when the handshake is over.  After each pair that should succeed
 * data go both ways over kTLS.  Every tenth pair may be one that must fail: what leaks, leaks
 * where a handshake ends early.  Where processes of the agent are killed meanwhile, a pair that
 * ends with ETIMEDOUT is made again, as consumers do, until it succeeds.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "hs_consumer.h"

#define LANES_MAX	32
#define BAD_EACH	10
#define COMPLAINTS_MAX	10
#define MESSAGE		"sixteen bytes.."

struct run {
	int		device;
	int32_t		psk, bad_psk, keyring;
	int32_t		cert, privkey;	/* the client's, with certificates; 0: as configured */
	long		pairs;
	bool		x509, deaths;
	atomic_long	next, succeeded, refused, faults, retries, again, unanswered;
	atomic_long	longest_us;	/* of those that are made again */
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
	end->hs.auth = end->run->x509 ? HS_CONSUMER_X509 : HS_CONSUMER_PSK;
	end->hs.timeout_ms = end->run->deaths ? 60000 : 10000;
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

/* With certificates each end has a key for that of the other. */
static bool is_good(const struct end ends[2], const struct run *run)
{
	int i;

	for (i = 0; i < 2; i++)
		if (ends[i].hs.status || !has_ktls(ends[i].fd) ||
		    (run->x509 ? !ends[i].hs.remote_peerid : ends[i].hs.remote_peerid != run->psk))
			return false;
	return send_and_receive(ends[0].fd, ends[1].fd) &&
	       send_and_receive(ends[1].fd, ends[0].fd);
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
	if (us > atomic_load(&run->longest_us))
		atomic_store(&run->longest_us, us);
	return us > 0;
}

/* Returns whether it is to be made again. */
static bool judge(struct run *run, const struct end ends[2], bool bad)
{
	bool once = ends[0].hs.callbacks == 1 && ends[1].hs.callbacks == 1 &&
		    !ends[0].hs.stray && !ends[1].hs.stray;

	atomic_fetch_add(&run->retries, ends[0].hs.retries + ends[1].hs.retries);
	if (!once)
		atomic_fetch_add(&run->unanswered, 1);
	if (once && bad && ends[0].hs.status && ends[1].hs.status) {
		atomic_fetch_add(&run->refused, 1);
	} else if (once && !bad && is_good(ends, run)) {
		atomic_fetch_add(&run->succeeded, 1);
	} else if (once && !bad && run->deaths && may_try_again(ends, run)) {
		atomic_fetch_add(&run->again, 1);
		return true;
	} else if (atomic_fetch_add(&run->faults, 1) < COMPLAINTS_MAX) {
		printf("%s pair: client status=%d remote-id=%d callbacks=%u, server status=%d "
		       "remote-id=%d callbacks=%u\n", bad ? "bad" : "good", ends[0].hs.status,
		       ends[0].hs.remote_peerid, ends[0].hs.callbacks, ends[1].hs.status,
		       ends[1].hs.remote_peerid, ends[1].hs.callbacks);
	}
	return false;
}

static bool one_pair(struct run *run, bool bad)
{
	struct end ends[2] = {
		{ .run = run, .hs = { .role = HS_CONSUMER_CLIENT, .cert = run->cert,
				      .privkey = run->privkey, .num_peerids = run->x509 ? 0 : 1 } },
		{ .run = run, .hs = { .role = HS_CONSUMER_SERVER, .keyring = run->keyring } },
	};
	pthread_t server;
	bool again;

	if (run->x509)
		strcpy(ends[0].hs.peername, "nfs.test");
	else
		ends[0].hs.peerids[0] = bad ? run->bad_psk : run->psk;
	make_connection(&ends[0].fd, &ends[1].fd);
	if (pthread_create(&server, NULL, handshake, &ends[1]) != 0)
		die("pthread_create");
	handshake(&ends[0]);
	pthread_join(server, NULL);
	again = judge(run, ends, bad);
	close(ends[0].fd);
	close(ends[1].fd);
	return again;
}

static void *lane(void *ctx)
{
	struct run *run = ctx;
	long number;

	while ((number = atomic_fetch_add(&run->next, 1)) < run->pairs)
		while (one_pair(run, run->bad_psk && number % BAD_EACH == BAD_EACH - 1))
			;
	return NULL;
}

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

static void read_arguments(int argc, char **argv, struct run *run, long *lanes)
{
	int32_t *fourth, *fifth;

	if (argc < 4 || argc > 7) {
		fputs("usage: many-handshakes PAIRS IN-FLIGHT PSK [BAD-PSK [KEYRING [deaths]]]\n"
		      "       many-handshakes PAIRS IN-FLIGHT x509 [CERTIFICATE PRIVATE-KEY [deaths]]\n"
		      "Serials; BAD-PSK: every tenth pair's, which must fail; 0: none; CERTIFICATE,\n"
		      "PRIVATE-KEY: the client's, 0: as configured; deaths: what ends with ETIMEDOUT is\n"
		      "made again.\n", stderr);
		exit(1);
	}
	run->pairs = number(argv[1], 1, 1000000);
	*lanes = number(argv[2], 1, LANES_MAX);
	run->x509 = !strcmp(argv[3], "x509");
	if (!run->x509)
		run->psk = (int32_t)number(argv[3], 1, INT32_MAX);
	fourth = run->x509 ? &run->cert : &run->bad_psk;
	fifth = run->x509 ? &run->privkey : &run->keyring;
	if (argc > 4)
		*fourth = (int32_t)number(argv[4], 0, INT32_MAX);
	if (argc > 5)
		*fifth = (int32_t)number(argv[5], 0, INT32_MAX);
	run->deaths = argc > 6;
}

int main(int argc, char **argv)
{
	pthread_t threads[LANES_MAX];
	struct timespec from, to;
	struct run run = { 0 };
	long lanes, i;

	read_arguments(argc, argv, &run, &lanes);
	run.device = open("/dev/" HS_CONSUMER_DEVICE, O_RDWR | O_CLOEXEC);
	if (run.device < 0)
		die("/dev/" HS_CONSUMER_DEVICE);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (i = 0; i < lanes; i++)
		if (pthread_create(&threads[i], NULL, lane, &run) != 0)
			die("pthread_create");
	for (i = 0; i < lanes; i++)
		pthread_join(threads[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("pairs=%ld succeeded=%ld refused=%ld faults=%ld retries=%ld again=%ld longest_ms=%ld "
	       "ms=%ld unanswered=%ld\n", run.pairs, run.succeeded, run.refused, run.faults,
	       run.retries, run.again, run.longest_us / 1000,
	       (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000,
	       run.unanswered);
	return run.faults ? 1 : 0;
}
