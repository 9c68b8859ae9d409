// SPDX-License-Identifier: GPL-2.0
/*
 * Consumers: the ioctl of the test consumer waits for the end of a handshake,
 * so each has a thread.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "upcall.h"

/* Longer than an ACCEPT takes that has taken a request. */
#define UNREAD_MS	100

static int device = -1;

int consumer_open(void)
{
	if (device < 0)
		device = open("/dev/" HS_CONSUMER_DEVICE, O_RDWR | O_CLOEXEC);
	return device < 0 ? -errno : 0;
}

void consumer_close(void)
{
	close(device);
	device = -1;
}

/* No TIME_WAIT, or the sockets could not be counted. */
static void reset_on_close(int fd)
{
	const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/* Two ends of a connection in the caller's network namespace. */
static int connect_pair(int *ret_sock, int *ret_peer)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	int listener, sock;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || sock < 0 || bind(listener, (struct sockaddr *)&at, len) ||
	    listen(listener, 1) || getsockname(listener, (struct sockaddr *)&at, &len) ||
	    connect(sock, (struct sockaddr *)&at, len))
		return -errno;
	*ret_sock = sock;
	*ret_peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (*ret_peer < 0)
		return -errno;
	close(listener);
	reset_on_close(*ret_sock);
	reset_on_close(*ret_peer);
	return 0;
}

/* With what most tests ask for: a client without a name, no repetition. */
void call_open(struct call *call)
{
	int ret;

	memset(call, 0, sizeof(*call));
	ret = connect_pair(&call->sock, &call->peer);
	if (ret)
		bail_out("no connection: %s", strerror(-ret));
	call->hs.sockfd = call->sock;
	call->hs.role = HS_CONSUMER_CLIENT;
	call->hs.auth = HS_CONSUMER_UNAUTH;
	call->hs.wait_ms = LONG_MS;
	call->hs.retry_ms = 1;
}

/* In this thread, to its end. */
void call_run(struct call *call)
{
	call->error = ioctl(device, HS_CONSUMER_HANDSHAKE, &call->hs) ? -errno : 0;
	call->over = true;
}

static void *call_thread(void *arg)
{
	call_run(arg);
	return NULL;
}

void call_start(struct call *call)
{
	int ret;

	call->over = false;
	ret = pthread_create(&call->thread, NULL, call_thread, call);
	if (ret)
		bail_out("no thread: %s", strerror(ret));
	call->running = true;
}

/* Returns when @nl, which listens, has heard of it. False: it has not. */
bool call_queue(struct call *call, struct nl *nl)
{
	nl_drain(nl);
	call_start(call);
	return nl_wait_ready(nl, 3000);
}

/* Waits for its end; false when that has not come in time. */
bool call_over(struct call *call, unsigned int ms)
{
	uint64_t end = now_ms() + ms;

	while (!call->over && now_ms() < end)
		pause_ms(2);
	return call->over;
}

/* Waits, and returns what the consumer was told. */
int call_end(struct call *call)
{
	if (call->running)
		pthread_join(call->thread, NULL);
	call->running = false;
	return call->error ? call->error : call->hs.status;
}

void call_close(struct call *call)
{
	call_end(call);
	/* Upstream's request goes with its socket, also while an ACCEPT reads of it. */
	if (!ours && call->hs.flags & HS_CONSUMER_CANCELLED)
		pause_ms(UNREAD_MS);
	close(call->sock);
	close(call->peer);
}

/* A call whose request is accepted. */
void call_begin(struct call *call, struct nl *nl, struct accepted *acc)
{
	int ret;

	call_open(call);
	call_start(call);
	ret = accept_wait(nl, acc, LONG_MS);
	if (ret)
		bail_out("a request cannot be accepted: %s", strerror(-ret));
}

/* Its end without a fault; returns what the consumer was told. */
int call_finish(struct call *call, struct nl *nl, struct accepted *acc)
{
	int ret;

	ret = done(nl, acc->fd, 0);
	close(acc->fd);
	if (ret)
		note("DONE of a request that was to end: %s", strerror(-ret));
	ret = call_end(call);
	call_close(call);
	return ret;
}

/* As a consumer that ends its session. */
int consumer_tls_close(int fd)
{
	int32_t sockfd = fd;

	return ioctl(device, HS_CONSUMER_CLOSE, &sockfd) ? -errno : 0;
}

/* Needs nobody who listens. Returns false when it cannot be asked. */
bool consumer_stray(uint32_t *stray)
{
	struct call call;

	call_open(&call);
	call.hs.wait_ms = 1;
	call_start(&call);
	call_end(&call);
	*stray = call.hs.stray;
	call_close(&call);
	return !call.error;
}
