// SPDX-License-Identifier: GPL-2.0
/*
 * Alerts: a consumer that ends its session says so to the peer (close_notify),
 * and sends nothing where there is none. The agent has no security protocol,
 * but sets keys, always the same, as one that has made a handshake does.
 */
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "upcall.h"

#ifndef SOL_TLS
#define SOL_TLS		282
#endif

/* RFC 8446, sections 5.1 and 6 */
#define RECORD_ALERT	21
#define RECORD_DATA	23
#define WARNING		1
#define CLOSE_NOTIFY	0

/* No record comes without a type, unless there is no TLS. */
#define NO_TYPE		-1

#define SOON_MS		1000
#define BUFFER		65536
#define CHUNK		4096

/* How far the agent has come. */
enum keys { NO_TLS, NO_KEYS, ONLY_RX, ALL_KEYS };

static const char *const keys_names[] = {
	[NO_TLS] = "no TLS", [NO_KEYS] = "TLS without keys",
	[ONLY_RX] = "keys to receive only", [ALL_KEYS] = "keys",
};

static struct nl nl;

static void set_keys(int fd, enum keys keys)
{
	struct tls12_crypto_info_aes_gcm_128 info = {
		.info = {
			.version = TLS_1_3_VERSION,
			.cipher_type = TLS_CIPHER_AES_GCM_128,
		},
		.iv = "iviviviv", .key = "keykeykeykeykeyk", .salt = "salt",
	};

	if (keys > NO_TLS && setsockopt(fd, SOL_TCP, TCP_ULP, "tls", sizeof("tls")))
		bail_out("no TLS in this kernel: %s", strerror(errno));
	if ((keys > NO_KEYS && setsockopt(fd, SOL_TLS, TLS_RX, &info, sizeof(info))) ||
	    (keys > ONLY_RX && setsockopt(fd, SOL_TLS, TLS_TX, &info, sizeof(info))))
		bail_out("no keys: %s", strerror(errno));
}

/* A connection whose agent gets so far, and then says that. */
static void session_open(struct call *call, enum keys keys, uint32_t status)
{
	const struct timeval limit = { .tv_sec = LONG_MS / 1000 };
	struct accepted acc;

	call_begin(call, &nl, &acc);
	set_keys(acc.fd, keys);
	if (done(&nl, acc.fd, status) || call_end(call) != -(int)status)
		bail_out("a handshake cannot be ended");
	close(acc.fd);
	if (keys == ALL_KEYS)
		set_keys(call->peer, ALL_KEYS);
	setsockopt(call->peer, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(call->sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

/* Returns the length, or a negative errno. */
static int receive(int fd, void *buf, size_t size, int flags, int *type)
{
	union {
		struct cmsghdr hdr;
		char space[CMSG_SPACE(sizeof(unsigned char))];
	} control;
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	const struct cmsghdr *cmsg;
	ssize_t len;

	*type = NO_TYPE;
	len = recvmsg(fd, &msg, flags);
	if (len < 0)
		return -errno;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_level == SOL_TLS && cmsg->cmsg_type == TLS_GET_RECORD_TYPE)
		*type = *CMSG_DATA(cmsg);
	return (int)len;
}

/* The peer is told the end. */
static void comes_close_notify(int fd, const char *what)
{
	unsigned char bytes[16] = { 77, 77 };
	int len, type;

	len = receive(fd, bytes, sizeof(bytes), 0, &type);
	is(len, 2, "%s: the peer receives a record of two bytes", what);
	is(type, RECORD_ALERT, "%s: it is an alert", what);
	ok(bytes[0] == WARNING && bytes[1] == CLOSE_NOTIFY,
	   "%s: which is close_notify, a warning (%u, %u)", what, bytes[0], bytes[1]);
}

static void comes_nothing(int fd, const char *what)
{
	char bytes[64];
	int type;

	pause_ms(50);
	is(receive(fd, bytes, sizeof(bytes), MSG_DONTWAIT, &type), -EAGAIN,
	   "%s: the peer receives nothing", what);
}

static void comes_data(int fd, const char *text, const char *what)
{
	char bytes[64] = "";
	int len, type;

	len = receive(fd, bytes, sizeof(bytes), 0, &type);
	ok(len == (int)strlen(text) && !memcmp(bytes, text, strlen(text)) &&
	   type == RECORD_DATA, "%s (%d bytes, type %d)", what, len, type);
}

static void sends(int fd, const char *text, int flags)
{
	if (send(fd, text, strlen(text), flags) != (ssize_t)strlen(text))
		note("send: %s", strerror(errno));
}

static void closes(int fd, const char *what)
{
	is(consumer_tls_close(fd), 0, "%s: a consumer ends the session", what);
}

static void close_notify(void)
{
	struct call call;

	session_open(&call, ALL_KEYS, 0);
	sends(call.sock, "data", 0);
	comes_data(call.peer, "data", "a session: data come");
	closes(call.sock, "a session");
	comes_close_notify(call.peer, "a session");
	comes_nothing(call.peer, "after close_notify");
	sends(call.peer, "answer", 0);
	comes_data(call.sock, "answer", "after close_notify: the peer can still send");

	/* Upstream's flag is cleared by the first. */
	closes(call.sock, "again");
	if (ours)
		comes_close_notify(call.peer, "again");
	else
		comes_nothing(call.peer, "again");
	call_close(&call);
}

/* Data that were to wait for more go first. */
static void open_record(void)
{
	struct call call;

	session_open(&call, ALL_KEYS, 0);
	sends(call.sock, "data", MSG_MORE);
	comes_nothing(call.peer, "a record that waits for more");
	closes(call.sock, "a record that waits for more");
	comes_data(call.peer, "data", "a record that waits for more: its data come");
	comes_close_notify(call.peer, "a record that waits for more");
	call_close(&call);
}

/* Keys that came in another way than by the upcall: of a session all the same. */
static void without_upcall(void)
{
	struct call call;

	call_open(&call);
	set_keys(call.sock, ALL_KEYS);
	set_keys(call.peer, ALL_KEYS);
	closes(call.sock, "keys without a handshake");
	if (ours)
		comes_close_notify(call.peer, "keys without a handshake");
	else
		comes_nothing(call.peer, "keys without a handshake");
	call_close(&call);
}

/* Upstream asks whether a handshake went well, and sends its alert in clear. */
static void no_session(enum keys keys, uint32_t status)
{
	unsigned char bytes[16] = { 77, 77 };
	struct call call;
	char what[80];
	int type;

	snprintf(what, sizeof(what), "%s, status %u", keys_names[keys], status);
	session_open(&call, keys, status);
	closes(call.sock, what);
	if (ours || status) {
		comes_nothing(call.peer, what);
	} else {
		is(receive(call.peer, bytes, sizeof(bytes), 0, &type), 2,
		   "%s: the peer receives two bytes", what);
		ok(type == NO_TYPE && bytes[0] == WARNING && bytes[1] == CLOSE_NOTIFY,
		   "%s: an alert in clear", what);
	}
	call_close(&call);
}

static void no_connection(void)
{
	static const struct {
		int domain, type;
		const char *name;
	} kinds[] = {
		{ AF_INET, SOCK_STREAM, "a socket that is not connected" },
		{ AF_INET, SOCK_DGRAM, "a socket of UDP" },
		{ AF_UNIX, SOCK_STREAM, "a socket of another family" },
	};
	struct call call;
	int pipefd[2];
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		fd = socket(kinds[i].domain, kinds[i].type | SOCK_CLOEXEC, 0);
		closes(fd, kinds[i].name);
		close(fd);
	}
	is(consumer_tls_close(-1), -EBADF, "no descriptor: a consumer cannot ask");
	if (pipe(pipefd))
		bail_out("no pipe");
	is(consumer_tls_close(pipefd[0]), -ENOTSOCK, "no socket: a consumer cannot ask");
	close(pipefd[0]);
	close(pipefd[1]);

	call_open(&call);
	closes(call.sock, "a connection without a handshake");
	comes_nothing(call.peer, "a connection without a handshake");
	call_close(&call);
}

static _Atomic int signals;

static void count_signal(int sig)
{
	signals++;
}

/* What cannot be sent any more. */
static void shut_down(void)
{
	struct call call;
	char byte;

	session_open(&call, ALL_KEYS, 0);
	shutdown(call.sock, SHUT_WR);
	signals = 0;
	signal(SIGPIPE, count_signal);
	closes(call.sock, "after a shutdown");
	signal(SIGPIPE, SIG_IGN);
	is(signals, ours ? 0 : 1, "after a shutdown: signals to the caller");
	is(recv(call.peer, &byte, 1, 0), 0, "after a shutdown: the peer sees the end");
	call_close(&call);

	session_open(&call, ALL_KEYS, 0);
	close(call.peer);	/* with a reset */
	call.peer = -1;
	pause_ms(50);
	closes(call.sock, "after a reset");
	call_close(&call);
}

static unsigned char wanted_byte(size_t at)
{
	return (unsigned char)(at % 251);
}

/* Returns how many bytes went into the buffers, all there is room for. */
static size_t fill(int fd)
{
	unsigned char chunk[CHUNK];
	unsigned int tries;
	size_t total = 0, i;
	ssize_t len;

	/* A probe of a window without room finds some, a second later. */
	for (tries = 0; tries < 40; pause_ms(50), tries++) {
		for (;;) {
			for (i = 0; i < sizeof(chunk); i++)
				chunk[i] = wanted_byte(total + i);
			len = send(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
			if (len <= 0)
				break;
			total += (size_t)len;
			tries = 0;
		}
	}
	return total;
}

/* Returns how many bytes came that are the right ones, before something else. */
static size_t drain(int fd, size_t wanted)
{
	unsigned char bytes[CHUNK];
	size_t total = 0, i;
	int len, type;

	while (total < wanted) {
		len = receive(fd, bytes, sizeof(bytes), 0, &type);
		if (len <= 0 || type != RECORD_DATA) {
			note("instead of data: %d, type %d", len, type);
			break;
		}
		for (i = 0; i < (size_t)len; i++)
			if (bytes[i] != wanted_byte(total + i))
				return total + i;
		total += (size_t)len;
	}
	return total;
}

/* Nobody waits for the room, and nothing of the data is lost. */
static void no_room(void)
{
	const int size = BUFFER;
	struct call call;
	uint64_t start;
	size_t sent;

	session_open(&call, ALL_KEYS, 0);
	setsockopt(call.sock, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(call.peer, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	sent = fill(call.sock);
	ok(sent > CHUNK, "no room: the buffers are full of %zu bytes", sent);
	start = now_ms();
	closes(call.sock, "no room");
	start = now_ms() - start;
	ok(start < SOON_MS, "no room: it does not wait (%llu ms)", (unsigned long long)start);
	is((long)drain(call.peer, sent), (long)sent, "no room: all data come");
	comes_nothing(call.peer, "no room, so that close_notify is lost");
	closes(call.sock, "with room again");
	if (ours)
		comes_close_notify(call.peer, "with room again");
	else
		comes_nothing(call.peer, "with room again");
	call_close(&call);
}

void test_alerts(void)
{
	enum keys keys;

	if (nl_open(&nl) || nl_listen(&nl))
		bail_out("no netlink socket");
	close_notify();
	open_record();
	without_upcall();
	for (keys = NO_TLS; keys < ALL_KEYS; keys++) {
		no_session(keys, 0);
		no_session(keys, EACCES);
	}
	no_connection();
	shut_down();
	no_room();
	nl_close(&nl);
}
