/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A keeper in a process of its own, and what its monitor and its worker say to it.
 *
 * Needs -Wl,--wrap=demote.
 */
#ifndef TLSHD_TESTS_KEEPER_WORLD_H
#define TLSHD_TESTS_KEEPER_WORLD_H

#include <glib.h>
#include <sys/socket.h>

#include "common/channel.h"
#include "common/child.h"
#include "common/cleanup.h"
#include "pki.h"
#include "scan.h"

struct world {
	int monitor, worker;	/* our ends */
	pid_t pid;
};

/* For main(): what the program does when it was started as a keeper. Does not return. */
void keeper_child(char **argv) __attribute__((noreturn));

/* For g_test_add(). */
void set_up(struct world *w, gconstpointer unused);
void tear_down(struct world *w, gconstpointer unused);

/* set_up() in pieces, with files between. */
void start_keeper(struct world *w);
void begin(struct world *w);
void end_keeper(struct world *w);
void close_channels(struct world *w);

/* Its exit status. */
int wait_end(struct world *w);

/* A descriptor of sealed memory with @data. */
int memory(const void *data, size_t len);

/* What the monitor does. The labels are "private key 0x11" and "certificate 0x22". */
void send_file(struct world *w, enum wire_file_use use, enum hs_role role, const char *text);
void send_key(struct world *w, uint64_t job, enum hs_role role, const void *key, size_t len,
	      const void *cert, size_t cert_len);
void give(struct world *w, uint64_t job, enum hs_role role, const char *key, const char *cert);
void cancel(struct world *w, uint64_t job);

/* ... and hears: these next. */
void expect_loaded(struct world *w, uint64_t job);
void expect_refused(struct world *w, uint64_t job, enum hs_outcome outcome, const char *part);

/* A signature with the configured key is due. */
void grant(struct world *w, uint64_t job, enum hs_role role);

/* What the worker does, and whether it gets it, with the algorithm of @type. */
void expect_signature(struct world *w, uint64_t job, enum hs_role role, enum hs_identity identity,
		      const struct pki_cert *cert, enum pki_key_type type);
void expect_refused_signature(struct world *w, uint64_t job, enum hs_role role,
			      enum pki_key_type type, unsigned int error);

/* The worker asks for what no worker asks for: that is its keeper's end. Another one is started. */
void expect_violation(struct world *w, uint64_t job, enum hs_role role, enum hs_identity identity,
		      enum pki_key_type type);

#endif
