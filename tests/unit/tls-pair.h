/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handshakes for tests: two engines over a loopback connection, without a
 * kernel. setsockopt() is replaced by a function that notes what it is given,
 * so that the keys of both ends can be compared. Signatures are made by the
 * keeper's own key_sign(), which refuses anything that is not a
 * CertificateVerify.
 */
#ifndef TLSHD_TESTS_TLS_PAIR_H
#define TLSHD_TESTS_TLS_PAIR_H

#include <glib.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <sys/socket.h>

#include "pki.h"
#include "tlshd/keeper/key.h"
#include "tlshd/worker/session.h"

#define ALL_CIPHERS ((1u << KTLS_N_CIPHERS) - 1)
#define NAME "nfs.example.com"

/* The certificates every test may use, made once: two authorities, and ends signed by the first. */
extern struct pki_cert *ca, *other_ca, *server_cert, *client_cert;

void pair_pki_new(void);
void pair_pki_free(void);

/* What the kernel was given, by descriptor: setsockopt() has no context. */
struct kernel {
	unsigned char tx[64], rx[64];
	socklen_t tx_len, rx_len;
	unsigned int limit;
	int fail_name;		/* the option to refuse, 0: none */
	int fail_errno;
	void (*on_fail)(void *ctx);	/* what happens meanwhile; may be NULL */
	void *on_fail_ctx;
};

extern struct kernel kernels[1024];

int fake_setsockopt(int fd, int level, int name, const void *val, socklen_t len);

/* One end's configuration, with its engine and the keys behind it. */
struct side {
	enum hs_role role;
	const char *trust;		/* PEM */
	const char *crl;
	const char *chain;		/* PEM; NULL: no identity */
	const struct pki_cert *key;	/* of the first in chain */
	uint32_t ciphers;		/* 0: all */
	struct hs_dates in_use;		/* by an engine it is to take the place of */
	int sign_error;			/* makes the keeper fail */
	enum hs_identity signs_as;

	struct engine *engine;
	struct key *loaded;
	unsigned int signatures;
	uint64_t signed_job;
	char signed_algorithm[64];
};

struct side plain_client(void);
struct side plain_server(void);

/* The log of every engine here: to the test's own output. */
extern struct log test_log;

int load_key(struct key **ret, const char *pem);
/* PEM, or NULL for a file that is not configured. */
struct engine_file file_of(const char *text, const char *label);
/* engine_new() for @side. */
int try_engine(struct side *side, char *reason, size_t size);
void make_engine(struct side *side);
void drop_engine(struct side *side);
/* engine_sign_fn */
int side_sign(void *ctx, uint64_t job, enum hs_role role, enum hs_identity identity,
	      const char *algorithm, const void *data, size_t len, void *signature, size_t size);

/* Two ends of a connection; [HS_CLIENT] connected to [HS_SERVER]. */
void connect_pair(int fd[2]);

struct pair {
	struct side *side[HS_N_ROLES];
	struct hs_job job[HS_N_ROLES];
	struct session *session[HS_N_ROLES];
	int fd[HS_N_ROLES];
	bool started[HS_N_ROLES];	/* made its first step */
	enum session_status status[HS_N_ROLES];
	void (*keys)(struct pair *p, enum hs_role i);	/* answers SESSION_WANT_KEYS */
	unsigned int asked[HS_N_ROLES];
	struct hs_result result[HS_N_ROLES];
};

/* Makes engines where there are none, and the connection; p->job may be changed then. */
void pair_open(struct pair *p, struct side *client, struct side *server);
void pair_start(struct pair *p);
/* One step of an end that can go on. Returns whether it made one. */
bool pair_step(struct pair *p, enum hs_role i);
/* To the end of both. */
void pair_run(struct pair *p);
void pair_close(struct pair *p);

void assert_keys_agree(const struct pair *p);
void assert_no_keys(const struct pair *p, enum hs_role role);
void assert_both_ok(const struct pair *p);

#define assert_outcome(p, role, expected)						\
	g_assert_cmpstr(hs_outcome_name((p)->result[role].outcome), ==,			\
			hs_outcome_name(expected))
#define assert_reason(p, role, part)							\
	do {										\
		if (!strstr((p)->result[role].reason, part))				\
			g_error("reason \"%s\" lacks \"%s\"", (p)->result[role].reason, part); \
	} while (0)

/* Lets one end talk to something that is not TLS, or not ours: @bytes. */
void talk_to(enum hs_role role, const void *bytes, size_t len, struct pair *p);

/* A peer of the library's own, without our code: steps of a handshake in the same thread. */
struct stranger {
	gnutls_session_t tls;
	gnutls_certificate_credentials_t cred;
	int fd;
	size_t piece;
};

void stranger_open(struct stranger *s, int fd, bool server, const char *priority);
void stranger_close(struct stranger *s);
/* What it sends of messages in clear goes out in records of @piece bytes at most. @s must not move. */
void stranger_split(struct stranger *s, size_t piece);
/* Runs one of our ends against a stranger. Returns the stranger's last code. */
int run_stranger(struct pair *p, enum hs_role ours, struct stranger *s);

#endif
