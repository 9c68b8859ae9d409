// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Handshakes with certificates, one after the other, both ends by the agent, until standard input
 * ends.  None may fail: whatever happens to the agent's configuration meanwhile.  A line of
 * standard input ends a stretch: how many pairs ended in it is printed for each, and how long the
 * longest handshake of them took.
 *
 * Besides, some servers whose clients never say a word: each is a handshake that lasts for its
 * whole timeout, and must end with it.
 *
 * With --probe just one pair, by an address of its own, so that the agent's log tells it from the
 * others.  The client's certificate is in the kernel's keyrings.  It may fail.
 */
#include <arpa/inet.h>
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
#include <unistd.h>

#include "hs_consumer.h"

#define LANES_MAX	32
#define COMPLAINTS_MAX	20
#define MESSAGE		"sixteen bytes.."

struct run {
	int		device;
	unsigned int	pause_ms, stall_ms;
	atomic_bool	ending;
	atomic_long	pairs, faults, stalled, retries;
	atomic_long	stretch_pairs, stretch_longest_us;
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

/* Both ends have the address @ip. */
static void make_connection(in_addr_t ip, int *ret_client, int *ret_server)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = ip };
	struct sockaddr_in own = address;
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		die("listen");
	*ret_client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*ret_client < 0 || bind(*ret_client, (struct sockaddr *)&own, sizeof(own)) < 0 ||
	    connect(*ret_client, (struct sockaddr *)&address, len) < 0)
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
	end->hs.auth = HS_CONSUMER_X509;
	end->hs.wait_ms = 90000;
	end->hs.retry_ms = 60000;
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

static void complain(struct run *run, const char *what, const struct hs_consumer_handshake *hs)
{
	if (atomic_fetch_add(&run->faults, 1) >= COMPLAINTS_MAX)
		return;
	printf("%s: status=%d callbacks=%u stray=%u flags=%u us=%llu\n", what, hs->status,
	       hs->callbacks, hs->stray, hs->flags, (unsigned long long)hs->elapsed_us);
	fflush(stdout);
}

static bool is_good(const struct end *end)
{
	return !end->hs.status && end->hs.callbacks == 1 && !end->hs.stray;
}

static struct end new_end(const struct run *run, enum hs_consumer_role role)
{
	struct end end = { .run = run, .hs = { .role = role, .timeout_ms = 60000 } };

	if (role == HS_CONSUMER_CLIENT)
		strcpy(end.hs.peername, "nfs.test");
	return end;
}

/* Both at once; the connection is made here. */
static void handshakes(in_addr_t ip, struct end *client, struct end *server)
{
	pthread_t thread;

	make_connection(ip, &client->fd, &server->fd);
	if (pthread_create(&thread, NULL, handshake, server) != 0)
		die("pthread_create");
	handshake(client);
	pthread_join(thread, NULL);
}

static void note_time(struct run *run, const struct end *end)
{
	long us = (long)end->hs.elapsed_us, longest = run->stretch_longest_us;

	while (us > longest &&
	       !atomic_compare_exchange_weak(&run->stretch_longest_us, &longest, us))
		;
}

static void one_pair(struct run *run)
{
	struct end client = new_end(run, HS_CONSUMER_CLIENT);
	struct end server = new_end(run, HS_CONSUMER_SERVER);

	handshakes(htonl(INADDR_LOOPBACK), &client, &server);
	atomic_fetch_add(&run->pairs, 1);
	atomic_fetch_add(&run->stretch_pairs, 1);
	atomic_fetch_add(&run->retries, client.hs.retries + server.hs.retries);
	note_time(run, &client);
	note_time(run, &server);
	if (!is_good(&client))
		complain(run, "client", &client.hs);
	else if (!is_good(&server))
		complain(run, "server", &server.hs);
	else if (server.hs.remote_peerid == 0)
		complain(run, "server, client not verified", &server.hs);
	else if (!send_and_receive(client.fd, server.fd) || !send_and_receive(server.fd, client.fd))
		complain(run, "data", &server.hs);
	close(client.fd);
	close(server.fd);
}

static void *lane(void *ctx)
{
	struct run *run = ctx;

	while (!run->ending) {
		one_pair(run);
		usleep(run->pause_ms * 1000);
	}
	return NULL;
}

/*
 * ETIMEDOUT is what must come, and when it is due: the handshake goes on through every reload.  The
 * agent counts from when it was told, and on a busy machine somewhat from before.
 */
static void *stalled_lane(void *ctx)
{
	struct run *run = ctx;

	while (!run->ending) {
		struct end server = { .run = run, .hs = { .role = HS_CONSUMER_SERVER,
							  .timeout_ms = run->stall_ms } };
		int client;

		make_connection(htonl(INADDR_LOOPBACK), &client, &server.fd);
		handshake(&server);
		atomic_fetch_add(&run->stalled, 1);
		if (server.hs.status != -ETIMEDOUT || server.hs.callbacks != 1 ||
		    server.hs.elapsed_us < run->stall_ms * 750ULL)
			complain(run, "stalled server", &server.hs);
		close(client);
		close(server.fd);
	}
	return NULL;
}

static unsigned int number(const char *text, unsigned long max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || value > max) {
		fprintf(stderr, "steady-handshakes: a number up to %lu is wanted, not '%s'\n", max, text);
		exit(1);
	}
	return (unsigned int)value;
}

static int open_device(void)
{
	int fd = open("/dev/" HS_CONSUMER_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("/dev/" HS_CONSUMER_DEVICE);
	return fd;
}

static void tell_stretch(struct run *run)
{
	printf("stretch of %ld pairs, the longest took %ld ms\n",
	       atomic_exchange(&run->stretch_pairs, 0),
	       atomic_exchange(&run->stretch_longest_us, 0) / 1000);
	fflush(stdout);
}

static int probe(char **argv)
{
	const struct run run = { .device = open_device() };
	struct end client = new_end(&run, HS_CONSUMER_CLIENT);
	struct end server = new_end(&run, HS_CONSUMER_SERVER);
	struct in_addr ip;

	if (inet_pton(AF_INET, argv[0], &ip) != 1) {
		fprintf(stderr, "steady-handshakes: %s is no address\n", argv[0]);
		return 1;
	}
	client.hs.cert = (int)number(argv[1], INT32_MAX);
	client.hs.privkey = (int)number(argv[2], INT32_MAX);
	handshakes(ip.s_addr, &client, &server);
	printf("client=%d server=%d\n", client.hs.status, server.hs.status);
	return client.hs.callbacks != 1 || server.hs.callbacks != 1;
}

int main(int argc, char **argv)
{
	pthread_t threads[2 * LANES_MAX];
	unsigned int lanes, stalled, i;
	struct run run = { 0 };
	char byte;

	if (argc == 5 && !strcmp(argv[1], "--probe"))
		return probe(argv + 2);
	if (argc != 5) {
		fputs("usage: steady-handshakes LANES PAUSE-MS STALLED-LANES STALLED-MS\n"
		      "       steady-handshakes --probe ADDRESS CERT-SERIAL KEY-SERIAL\n", stderr);
		return 1;
	}
	lanes = number(argv[1], LANES_MAX);
	run.pause_ms = number(argv[2], 10000);
	stalled = number(argv[3], LANES_MAX);
	run.stall_ms = number(argv[4], 600000);
	run.device = open_device();
	for (i = 0; i < lanes + stalled; i++)
		if (pthread_create(&threads[i], NULL, i < lanes ? lane : stalled_lane, &run) != 0)
			die("pthread_create");
	while (read(STDIN_FILENO, &byte, 1) > 0)
		if (byte == '\n')
			tell_stretch(&run);
	run.ending = true;
	for (i = 0; i < lanes + stalled; i++)
		pthread_join(threads[i], NULL);
	tell_stretch(&run);
	printf("pairs=%ld faults=%ld stalled=%ld retries=%ld\n", run.pairs, run.faults, run.stalled,
	       run.retries);
	return run.faults ? 1 : 0;
}
