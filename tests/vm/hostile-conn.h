/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handshakes of a running daemon with a forged peer (tests/unit/hostile-flights.h), each with what
 * the consumer heard, what the log says and what it cost the daemon. For tests/vm/hostile-peers.
 * What is wrong with this machine, or with the test, ends the program.
 */
#ifndef TLSHD_TESTS_HOSTILE_CONN_H
#define TLSHD_TESTS_HOSTILE_CONN_H

#include "death-conn.h"
#include "hostile-flights.h"

#define DAEMON_PIDS_MAX 16

struct world {
	struct setup setup;
	struct hostile_pki pki;
	struct pki_cert *namesake;	/* an authority of the name of several that are trusted */
	const char *log;		/* the daemon's log file */
	pid_t pids[DAEMON_PIDS_MAX];	/* the monitor and its children */
	size_t n_pids;
	GMutex lock;			/* of what follows */
	unsigned int handshakes;	/* begun so far */
};

/* @pki: a directory of tests/vm/pki, and namesake.pem and .key. */
void world_open(struct world *w, pid_t monitor, const char *pki, const char *log);

/* What a peer does, from its first byte to its last. */
struct deed {
	void (*act)(struct flight *f, const void *what);
	const void *what;
	/* When the handshake has succeeded, with the connection still there; may be NULL. */
	void (*after)(struct conn *c, struct forged_peer *p, void *ctx);
	void *ctx;
};

/* An ordinary mutual handshake. */
extern const struct deed ordinary;

struct ending {
	int status;			/* of the consumer; 0 or negative errno */
	unsigned int callbacks, stray;
	uint64_t us;			/* from the consumer's request to its callback */
	uint64_t cpu_ns;		/* of all processes of the daemon, others' handshakes included */
	bool over;			/* else the consumer gave up waiting */
	int alert;			/* the peer got; -1: none */
	unsigned int lines;		/* of the log about it */
	char line[1024];		/* the last of them */
};

/* Our end, that of the daemon, plays @ours. */
void meet(struct world *w, enum hs_role ours, const struct deed *deed, struct ending *ret);

/* NULL when it ended so, with @reason in the one line of the log; else what is wrong, to be g_free()d. */
char *ending_fault(const struct ending *e, enum hs_role ours, enum hs_outcome outcome,
		   const char *reason);

#endif
