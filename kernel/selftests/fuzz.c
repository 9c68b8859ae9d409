// SPDX-License-Identifier: GPL-2.0
/*
 * Messages that nobody means, while handshakes are under way. What they do is
 * not looked at, but that some of them take part in handshakes, each consumer
 * comes to an end and the kernel lives: whoever runs this looks at its log.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "upcall.h"

#define CONSUMERS	4
/* Descriptors that answers gave us, which DONE may name. */
#define KEPT		16
/* Two bytes away from what is open else, and from all that random_value() has. */
#define OUT_OF_REACH	0x9c0
/* So many requests each second, on a slow machine, are accepted and ended. */
#define PER_S		20

static _Atomic bool over;
static _Atomic unsigned int ended, told, faults;
static unsigned int accepted;
static int kept[KEPT];
static unsigned int newest;

/*
 * Upstream's ACCEPT is given freed memory when a request was ended before it
 * was accepted (see done.c): no made-up DONE is to name such a socket.
 */
static void put_out_of_reach(struct call *call)
{
	int fd = fcntl(call->sock, F_DUPFD, OUT_OF_REACH);

	if (fd < 0)
		bail_out("no descriptor from %d on", OUT_OF_REACH);
	close(call->sock);
	call->sock = fd;
	call->hs.sockfd = fd;
}

static void *consumer_thread(void *arg)
{
	struct call call;
	unsigned int n;

	while (!over) {
		call_open(&call);
		if (!ours)
			put_out_of_reach(&call);
		call.hs.auth = 1 + random_below(3);
		call.hs.num_peerids = random_below(HS_CONSUMER_MAX_PEERIDS + 1);
		call.hs.wait_ms = 1 + random_below(200);
		for (n = random_below(sizeof(call.hs.peername)); n; n--)
			call.hs.peername[n - 1] = (char)(1 + random_below(255));
		call_run(&call);
		if (call.error || call.hs.stray || call.hs.callbacks > 1)
			faults++;
		ended++;
		told += call.hs.callbacks == 1;
		call_close(&call);
		pause_ms(random_below(5));
	}
	return NULL;
}

/* Often the one whose request is most likely under way. */
static unsigned int any_kept(void)
{
	return random_below(2) ? newest : random_below(KEPT);
}

static uint32_t random_value(void)
{
	static const uint32_t edges[] = {
		0, 1, 2, 3, 4, 5, 6, 13, 110, 4095, 4096, 0x7fffffff, 0x80000000, 0xffffffff,
	};

	switch (random_below(4)) {
	case 0:
		return (uint32_t)random_below(1 << 30);
	case 1:
		return (uint32_t)kept[any_kept()];
	default:
		return edges[random_below(ARRAY_SIZE(edges))];
	}
}

/* Something of any length, or a nest of such. */
static void put_any(struct msg *msg)
{
	uint16_t type = (uint16_t)random_below(random_below(8) ? 12 : 65536);
	uint32_t data[24];
	unsigned int i;

	if (!random_below(8))
		type |= random_below(2) ? NLA_F_NESTED : NLA_F_NET_BYTEORDER;
	for (i = 0; i < ARRAY_SIZE(data); i++)
		data[i] = random_value();
	if (!random_below(4))
		data[0] = (8U + random_below(16)) | random_below(12) << 16;
	msg_put(msg, type, data, random_below(sizeof(data)));
}

static void make(struct msg *msg, const struct nl *nl)
{
	unsigned int n = random_below(10);

	switch (random_below(6)) {
	case 0:
	case 1:
		msg_init(msg, nl->family, HANDSHAKE_CMD_ACCEPT);
		msg_put_u32(msg, HANDSHAKE_A_ACCEPT_HANDLER_CLASS, CLASS_TLSHD);
		n = 0;
		break;
	case 2:
	case 3:
		msg_init(msg, nl->family, HANDSHAKE_CMD_DONE);
		msg_put_u32(msg, HANDSHAKE_A_DONE_SOCKFD, (uint32_t)kept[any_kept()]);
		if (random_below(4))
			msg_put_u32(msg, HANDSHAKE_A_DONE_STATUS, random_value());
		for (n = random_below(8); n; n--)
			msg_put_u32(msg, HANDSHAKE_A_DONE_REMOTE_AUTH, random_value());
		break;
	default:
		msg_init(msg, nl->family, (uint8_t)random_below(random_below(8) ? 5 : 256));
		break;
	}
	while (n--)
		put_any(msg);
}

/* Bytes of it, its header spared for the most part: a wrong length ends early. */
static void spoil(struct msg *msg)
{
	unsigned int from = random_below(8) ? NLMSG_HDRLEN : 0, n = random_below(4);
	unsigned int len = msg->nl.nlmsg_len;

	while (n--)
		msg->bytes[from + random_below(len - from)] = (char)random_below(256);
	if (!random_below(8))
		msg->nl.nlmsg_len = random_below(sizeof(*msg));
}

static uint16_t random_flags(void)
{
	uint16_t flags = NLM_F_REQUEST;

	if (!random_below(8))
		flags = (uint16_t)random_below(65536);
	else if (random_below(2))
		flags |= NLM_F_ACK;
	return flags;
}

static void keep(int fd)
{
	unsigned int i = random_below(KEPT);

	accepted++;
	if (kept[i] >= 0)
		close(kept[i]);
	kept[i] = fd;
	newest = i;
}

/* The answers; a descriptor is kept for a while. */
static void read_answers(struct nl *nl)
{
	struct accepted acc;
	struct msg in;
	ssize_t got;

	for (;;) {
		memset(&in, 0, sizeof(in));
		got = recv(nl->fd, &in, sizeof(in), MSG_DONTWAIT);
		if (got < 0 && errno == ENOBUFS)
			continue;
		if (got < 0)
			return;
		if (in.nl.nlmsg_type != nl->family)
			continue;
		msg_parse_accept(&in, &acc);
		if (acc.fd >= 0)
			keep(acc.fd);
	}
}

static unsigned int send_many(struct nl *nl)
{
	uint64_t end = now_ms() + options.fuzz_s * 1000ULL;
	unsigned int sent = 0;
	struct msg msg;
	size_t len;

	while (now_ms() < end) {
		make(&msg, nl);
		if (random_below(4))
			spoil(&msg);
		msg.nl.nlmsg_flags = random_flags();
		msg.nl.nlmsg_seq = random_below(16) ? ++nl->seq : 0;
		/* what is behind nlmsg_len is there as well: the kernel must not read on */
		len = random_below(8) ? msg.nl.nlmsg_len : random_below(sizeof(msg));
		send(nl->fd, &msg, len < sizeof(msg) ? len : sizeof(msg), MSG_DONTWAIT);
		sent++;
		if (!random_below(3))
			read_answers(nl);
		if (!random_below(64))
			pause_ms(1);
	}
	return sent;
}

static void lost_descriptors(unsigned int before)
{
	unsigned int now, i;

	for (i = 0; i < KEPT; i++) {
		if (kept[i] >= 0)
			close(kept[i]);
		kept[i] = -1;
	}
	now = count_fds();
	/* An answer that is lost with its descriptor is upstream's way. */
	if (!ours && now > before) {
		note("%u descriptors of lost answers", now - before);
		syscall(SYS_close_range, 3U + before, ~0U, 0);
	}
}

void test_fuzz(void)
{
	long sockets = count_sockets();
	unsigned int fds = count_fds(), sent, i;
	pthread_t consumers[CONSUMERS];
	struct nl nl;

	/* The first thread's random numbers, whatever ran before. */
	random_restart(options.seed);
	if (nl_open(&nl) || nl_listen(&nl))
		bail_out("no netlink socket");
	for (i = 0; i < KEPT; i++)
		kept[i] = -1;
	over = false;
	accepted = 0;
	for (i = 0; i < CONSUMERS; i++)
		pthread_create(&consumers[i], NULL, consumer_thread, NULL);
	sent = send_many(&nl);
	over = true;
	for (i = 0; i < CONSUMERS; i++)
		pthread_join(consumers[i], NULL);
	read_answers(&nl);
	nl_close(&nl);
	lost_descriptors(fds);
	ok(sent > 100, "%u messages in %u s", sent, options.fuzz_s);
	ok(ended > CONSUMERS, "%u consumers came to an end meanwhile", ended);
	ok(accepted >= options.fuzz_s * PER_S, "%u requests were accepted (%u at least)", accepted,
	   options.fuzz_s * PER_S);
	ok(told >= options.fuzz_s * PER_S, "%u consumers were told (%u at least)", told,
	   options.fuzz_s * PER_S);
	is((long)faults, 0, "none of them was told twice");
	no_more_sockets(sockets);
}
