/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A connection of which one end is a consumer of the handshake upcall, /dev/hs_consumer's, and the
 * other a peer by GnuTLS, each in a thread. For tests/vm/deaths and
 * tests/vm/hostile-peers, whose peers are others.
 */
#ifndef TLSHD_TESTS_DEATH_CONN_H
#define TLSHD_TESTS_DEATH_CONN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "hs_consumer.h"

#define TIMEOUT_MS 20000		/* of each handshake; nothing may come near it */

struct setup {
	pid_t monitor;
	const char *pki;
	int device;
};

struct conn {
	const struct setup *setup;
	struct hs_consumer_handshake hs;
	int fd, peer_fd;
	unsigned int port;		/* the peer's: as the log names it */
	ino_t inode;
	bool hold;			/* the peer keeps its Finished to itself */
	bool pulled;
	volatile bool held, over;
	int peer_result;
	uint64_t ended;			/* when the consumer heard, us */
	pthread_t consumer, peer;
};

/* What is wrong with this machine, or with the test, ends the program. */
__attribute__((noreturn)) void die(const char *what);
__attribute__((noreturn)) void give_up(const char *what);

/* Connects, and asks for the handshake; the peer does nothing yet. */
void start_conn(struct conn *c, const struct setup *setup, uint32_t role);
/* The peer's handshake; with @c->hold its last flight is not sent. */
void start_peer(struct conn *c);
/* Waits for both. */
void end_conn(struct conn *c);
/* Both succeeded. */
bool is_good(const struct conn *c);
/* All of it. */
void plain(const struct setup *setup, uint32_t role, struct conn *c);

#endif
