// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Does a handshake leave the socket's flags and options as they were?
 *
 * The consumer's socket is one open file for the kernel, the agent and whoever made it: an agent
 * that sets O_NONBLOCK or TCP_NODELAY for itself and leaves it so changes it for all of them.
 * Both ends of a TCP connection are made here and handed to the agent, with every combination of
 * what could be found; the listed state is read before and after, the file flags in between too.
 *
 * Prints one line for each end; status 0 if all was as found.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

#define VALUE_MAX 16

static const struct option {
	const char	*name;
	int		level;
	int		number;
} options[] = {
	{ "TCP_NODELAY",	IPPROTO_TCP,	TCP_NODELAY },
	{ "TCP_CORK",		IPPROTO_TCP,	TCP_CORK },
	{ "TCP_USER_TIMEOUT",	IPPROTO_TCP,	TCP_USER_TIMEOUT },
	{ "TCP_KEEPIDLE",	IPPROTO_TCP,	TCP_KEEPIDLE },
	{ "SO_KEEPALIVE",	SOL_SOCKET,	SO_KEEPALIVE },
	{ "SO_LINGER",		SOL_SOCKET,	SO_LINGER },
	{ "SO_RCVTIMEO",	SOL_SOCKET,	SO_RCVTIMEO },
	{ "SO_SNDTIMEO",	SOL_SOCKET,	SO_SNDTIMEO },
	{ "SO_RCVLOWAT",	SOL_SOCKET,	SO_RCVLOWAT },
	{ "SO_PRIORITY",	SOL_SOCKET,	SO_PRIORITY },
};
#define N_OPTIONS (sizeof(options) / sizeof(options[0]))

struct state {
	int	file_flags;
	int	owner;
	uint8_t	value[N_OPTIONS][VALUE_MAX];
};

struct end {
	uint32_t	role;
	int		device;
	int		fd;
	int		ret;		/* of the ioctl, or its status */
	int		flags;		/* as found */
	atomic_bool	over;
	unsigned int	samples;
	unsigned int	differed;	/* samples that were not as found */
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void read_state(int fd, struct state *ret)
{
	socklen_t len;
	size_t i;

	memset(ret, 0, sizeof(*ret));
	ret->file_flags = fcntl(fd, F_GETFL);
	ret->owner = fcntl(fd, F_GETOWN);
	for (i = 0; i < N_OPTIONS; i++) {
		len = VALUE_MAX;
		if (getsockopt(fd, options[i].level, options[i].number, ret->value[i], &len) < 0)
			die(options[i].name);
	}
}

/* Names what differs. */
static bool compare(const struct state *a, const struct state *b)
{
	bool same = true;
	size_t i;

	if (a->file_flags != b->file_flags) {
		printf(" F_GETFL %#x -> %#x", (unsigned int)a->file_flags,
		       (unsigned int)b->file_flags);
		same = false;
	}
	if (a->owner != b->owner) {
		printf(" F_GETOWN");
		same = false;
	}
	for (i = 0; i < N_OPTIONS; i++) {
		if (memcmp(a->value[i], b->value[i], VALUE_MAX) != 0) {
			printf(" %s", options[i].name);
			same = false;
		}
	}
	return same;
}

static void make_connection(int *ret_client, int *ret_server)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		die("listen");
	*ret_client = socket(AF_INET, SOCK_STREAM, 0);
	if (*ret_client < 0 || connect(*ret_client, (struct sockaddr *)&address, len) < 0)
		die("connect");
	*ret_server = accept(listener, NULL, NULL);
	if (*ret_server < 0)
		die("accept");
	close(listener);
}

static void set_up(int fd, bool nonblock, bool nodelay)
{
	const struct timeval timeout = { .tv_sec = 7 };
	const int one = nodelay;

	if (fcntl(fd, F_SETFL, nonblock ? O_NONBLOCK : 0) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) < 0)
		die("setting up");
}

static void *run(void *ctx)
{
	struct end *end = ctx;
	struct hs_consumer_handshake hs = {
		.sockfd = end->fd, .role = end->role, .peername = "nfs.test",
		.auth = end->role == HS_CONSUMER_CLIENT ? HS_CONSUMER_UNAUTH : HS_CONSUMER_X509,
	};

	end->ret = ioctl(end->device, HS_CONSUMER_HANDSHAKE, &hs) < 0 ? -errno : hs.status;
	atomic_store(&end->over, true);
	return NULL;
}

/* While the other threads wait in their ioctl. */
static void sample(struct end *end)
{
	if (atomic_load(&end->over))
		return;
	end->samples++;
	if (fcntl(end->fd, F_GETFL) != end->flags)
		end->differed++;
}

static bool judge(const struct end *end, const struct state *before, bool nonblock, bool nodelay)
{
	const char *role = end->role == HS_CONSUMER_CLIENT ? "client" : "server";
	struct state after;
	char ulp[16] = "";
	socklen_t len = sizeof(ulp) - 1;
	bool same;

	read_state(end->fd, &after);
	/* without kTLS nothing happened that could have changed anything */
	getsockopt(end->fd, IPPROTO_TCP, TCP_ULP, ulp, &len);
	printf("state %s nonblock=%d nodelay=%d status=%d ulp=%s samples=%u:", role, nonblock,
	       nodelay, end->ret, ulp, end->samples);
	same = compare(before, &after);
	if (end->differed)
		printf(" %u of the samples differed", end->differed);
	same = same && !end->differed && end->samples > 0 && end->ret == 0 && !strcmp(ulp, "tls");
	printf(" %s\n", same ? "as found" : "NOT AS FOUND");
	return same;
}

static bool test(int device, bool nonblock, bool nodelay)
{
	struct end ends[2] = {
		{ .role = HS_CONSUMER_CLIENT, .device = device },
		{ .role = HS_CONSUMER_SERVER, .device = device },
	};
	struct state before[2];
	pthread_t threads[2];
	bool same = true;
	int i;

	make_connection(&ends[0].fd, &ends[1].fd);
	for (i = 0; i < 2; i++) {
		set_up(ends[i].fd, nonblock, nodelay);
		read_state(ends[i].fd, &before[i]);
		ends[i].flags = before[i].file_flags;
	}
	for (i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, run, &ends[i]) != 0)
			die("pthread_create");
	while (!atomic_load(&ends[0].over) || !atomic_load(&ends[1].over)) {
		sample(&ends[0]);
		sample(&ends[1]);
		usleep(1000);
	}
	for (i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		same &= judge(&ends[i], &before[i], nonblock, nodelay);
		close(ends[i].fd);
	}
	return same;
}

int main(void)
{
	int device = open("/dev/" HS_CONSUMER_DEVICE, O_RDWR | O_CLOEXEC), i;
	bool same = true;

	if (device < 0)
		die("/dev/" HS_CONSUMER_DEVICE);
	for (i = 0; i < 4; i++)
		same &= test(device, i & 1, i & 2);
	return same ? 0 : 1;
}
