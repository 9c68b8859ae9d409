// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What comes in the same segment as the peer's Finished: the kernel gets its keys between the two,
 * and must neither miss a byte nor be given one too many. What is in the same record is refused:
 * tests/unit/hostile-flights.c.
 */
#include <errno.h>
#include <linux/tls.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "hostile-peers.h"

#define DATA "sixteen bytes..."
#define DATA_LEN 16
#define WAIT_S 5
#define TURNS (WAIT_S * 50)
#define RECORDS_MAX 8

struct shape {
	const char *name;
	void (*behind)(struct forged_peer *p);	/* in the same segment */
	/* What the consumer reads, by record: "data", the number of a type, or an error's name. */
	const char *received;
};

static void put_data(struct forged_peer *p)
{
	forged_send(p, FP_DATA, DATA, DATA_LEN);
}

static void ticket_and_data(struct forged_peer *p)
{
	forged_send(p, FP_HANDSHAKE, FP_A_TICKET, sizeof(FP_A_TICKET) - 1);
	put_data(p);
}

static void update_and_data(struct forged_peer *p)
{
	forged_send(p, FP_HANDSHAKE, FP_A_KEY_UPDATE, sizeof(FP_A_KEY_UPDATE) - 1);
	forged_update(&p->mine);
	put_data(p);
}

static void hello_and_data(struct forged_peer *p)
{
	GByteArray *hello = p->role == HS_CLIENT ? fp_client_hello(p, NULL) :
			    fp_message(FP_HELLO_REQUEST);

	forged_send(p, FP_HANDSHAKE, hello->data, hello->len);
	g_byte_array_unref(hello);
	put_data(p);
}

static void alert(struct forged_peer *p)
{
	forged_send(p, FP_ALERT, "\x02\x28", 2);
}

static void junk(struct forged_peer *p)
{
	p->mine.key[0] ^= 1;
	put_data(p);
}

static const struct shape shapes[] = {
	{ "data behind Finished", put_data, "data" },
	{ "a ticket behind Finished", ticket_and_data, "22 data" },
	{ "a KeyUpdate behind Finished", update_and_data, "22 EBADMSG" },
	{ "a renegotiation behind Finished", hello_and_data, "22 data" },
	{ "an alert behind Finished", alert, "21" },
	{ "a broken record behind Finished", junk, "EBADMSG" },
};

static void act(struct flight *f, const void *what)
{
	const struct shape *s = what;

	flight_greet(f);
	forged_hold(f->peer);
	flight_honest(f);
	s->behind(f->peer);
	forged_release(f->peer);
}

/* One record by kTLS. Returns its type; 0: an error. */
static unsigned int receive_record(int fd, GString *ret)
{
	char buf[4096], control[CMSG_SPACE(1)];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(fd, &msg, 0);
	unsigned char type = FP_DATA;
	struct cmsghdr *c;

	if (ret->len > 0)
		g_string_append_c(ret, ' ');
	if (n < 0) {
		g_string_append(ret, strerrorname_np(errno));
		return 0;
	}
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_TLS && c->cmsg_type == TLS_GET_RECORD_TYPE)
		memcpy(&type, CMSG_DATA(c), 1);
	if (type != FP_DATA)
		g_string_append_printf(ret, "%u", type);
	else if (n == DATA_LEN && memcmp(buf, DATA, DATA_LEN) == 0)
		g_string_append(ret, "data");
	else
		g_string_append_printf(ret, "%zd other bytes", n);
	return type;
}

/* What the consumer reads and what its peer does, into the string at @ctx. */
static void exchange(struct conn *c, struct forged_peer *p, void *ctx)
{
	const struct timeval limit = { .tv_sec = WAIT_S };
	unsigned int type = FP_HANDSHAKE;
	GString *got = ctx;

	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	for (unsigned int i = 0; i < RECORDS_MAX && type == FP_HANDSHAKE; i++)
		type = receive_record(c->fd, got);
	if (!type)
		return;	/* the kernel has ended both directions */
	if (send(c->fd, DATA, DATA_LEN, MSG_NOSIGNAL) != DATA_LEN)
		g_string_append_printf(got, ", sending: %s", strerrorname_np(errno));
	for (unsigned int i = 0; i < TURNS && p->data->len < DATA_LEN && !p->closed; i++) {
		g_usleep(20000);
		forged_receive(p);
	}
	if (p->data->len != DATA_LEN || memcmp(p->data->data, DATA, DATA_LEN) != 0)
		g_string_append_printf(got, ", the peer got %u bytes", p->data->len);
}

void finished(struct world *w)
{
	for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++)
		for (enum hs_role ours = 0; ours < HS_N_ROLES; ours++) {
			const struct shape *s = &shapes[i];
			g_autoptr(GString) got = g_string_new(NULL);
			const struct deed deed = { act, s, exchange, got };
			g_autofree char *fault = NULL;
			struct ending e;

			meet(w, ours, &deed, &e);
			fault = ending_fault(&e, ours, HS_OK, "");
			if (!fault && strcmp(got->str, s->received) != 0)
				fault = g_strdup_printf("received \"%s\", wanted \"%s\"", got->str,
							s->received);
			say_result(s->name, ours, fault);
			printf("# received: %s; %s\n", got->str, e.line);
		}
}
