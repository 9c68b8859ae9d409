/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections for tests/vm/storm: the consumer's end asks the kernel for a handshake, each in a
 * thread of its own, and the other end is a peer by GnuTLS, of which one thread can run many. What
 * is wrong with this machine, or with the test, ends the program.
 */
#ifndef TLSHD_TESTS_STORM_CONN_H
#define TLSHD_TESTS_STORM_CONN_H

#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "hs_consumer.h"

#define LISTENER_BACKLOG 4096

/* What all connections share. */
struct net {
	int device;
	uint32_t role;			/* of the consumers, enum hs_consumer_role */
	gnutls_certificate_credentials_t cred;	/* of the peers */
	gnutls_priority_t priority;
	int listener;
	uint16_t port;
	pthread_mutex_t *connecting;	/* so that none accepts another's connection */
};

struct storm_conn {
	const struct net *net;
	struct hs_consumer_handshake hs;
	int fd, peer_fd;		/* the consumer's and the peer's */
	pthread_t thread;
	atomic_bool over;		/* the consumer has heard, and had its data */
	bool data_ok;
	gnutls_session_t peer;
	enum { PEER_HANDSHAKE, PEER_SEND, PEER_RECEIVE, PEER_DONE, PEER_FAILED } state;
	int peer_error;			/* the library's code, when it failed */
};

__attribute__((noreturn)) void die(const char *what);
__attribute__((noreturn)) void give_up(const char *what);

/*
 * @pki: a directory of tests/vm/pki. @certified: peers that are clients have a certificate, too.
 * Raises the limit on descriptors.
 */
void net_open(struct net *net, uint32_t role, bool certified, const char *pki);

/* Connects; the peer has @address, 0: loopback's, in host order. @timeout_ms: of the handshake. */
void conn_open(struct storm_conn *c, const struct net *net, uint32_t address, uint32_t timeout_ms);
/* Asks for the handshake; when it has succeeded, data go through the kernel and back. */
void conn_ask(struct storm_conn *c);
/* Waits for the consumer's end, and closes. */
void conn_close(struct storm_conn *c);
/* Both ends succeeded, and the data were right. */
bool conn_good(const struct storm_conn *c);

/* The peer does what it can do without waiting. Returns whether it is over, well or not. */
bool peer_step(struct storm_conn *c);
/* The events of poll() that it waits for. */
short peer_wants(const struct storm_conn *c);
/* The whole of it, in this thread. */
void peer_run(struct storm_conn *c);

uint64_t now_us(void);

#endif
