// SPDX-License-Identifier: GPL-2.0-or-later
#include "fuzz-tls.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "fixtures.h"
#include "fuzz-memory.h"
#include "fuzz-peer.h"
#include "fuzz-steady.h"
#include "tlshd/keeper/key.h"
#include "tlshd/worker/session.h"

#define ALL_CIPHERS ((1u << KTLS_N_CIPHERS) - 1)
#define STEPS_MAX 4000	/* an end of the test: so many bytes, one by one, do not come */

/* What the input chose for our end, and what became of it. */
struct ours {
	enum wish wish;
	enum answer answer;
	bool gone;		/* the kernel says that the connection is */
	bool ended, tx, rx;	/* the kernel was given keys */
	struct hs_result result;
};

static struct ours ours;

/* Engines: [1] has an Ed25519 certificate. */
static struct engine *engines[2];
static struct key *own_keys[2][HS_N_ROLES], *job_key;

static int sign(void *ctx, uint64_t job, enum hs_role role, enum hs_identity identity,
		const char *algorithm, const void *data, size_t len, void *signature, size_t size)
{
	struct key **keys = ctx;

	g_assert_cmpuint(job, ==, 7);
	return key_sign(identity == HS_IDENTITY_JOB ? job_key : keys[role], role, algorithm, data,
			len, signature, size);
}

static int kernel(int fd, int level, int name, const void *value, socklen_t len)
{
	g_assert_cmpint(fd, ==, FUZZ_FD);
	g_assert_false(ours.ended);
	if (level == IPPROTO_TCP && ours.gone) {
		errno = ENOTCONN;
		return -1;
	}
	ours.tx |= level == SOL_TLS && name == TLS_TX;
	ours.rx |= level == SOL_TLS && name == TLS_RX;
	return 0;
}

static struct engine_file file_of(const char *pem)
{
	return (struct engine_file){ pem, strlen(pem), "file.pem" };
}

static struct key *load(const char *pem)
{
	char reason[HS_TEXT_MAX];
	struct key *key;

	g_assert_cmpint(key_load_memory(&key, pem, strlen(pem), "key.pem", reason, sizeof(reason)),
			==, 0);
	return key;
}

static void make_engine(unsigned int i, const char *cert, const char *key)
{
	struct engine_config config = {
		.ciphers = ALL_CIPHERS, .log = &fuzz_log, .sign = sign, .sign_ctx = own_keys[i],
		.setsockopt_fn = kernel,
	};
	char reason[HS_TEXT_MAX] = "";

	for (unsigned int role = 0; role < HS_N_ROLES; role++) {
		config.role[role].truststore = file_of(PEM_CA_CRT);
		config.role[role].crl = file_of(PEM_GOOD_CRL);
		config.role[role].certificate[HS_IDENTITY_X509] = file_of(cert);
		own_keys[i][role] = load(key);
	}
	if (engine_new(&engines[i], &config, reason, sizeof(reason)) < 0)
		g_error("%s", reason);
}

void fuzz_tls_reset(void)
{
	steady_reset();
	memory_reset();
	ours = (struct ours){ 0 };
	if (engines[0])
		return;
	make_engine(0, PEM_SERVER_CRT, PEM_SERVER_KEY);
	make_engine(1, PEM_SERVER_ED_CRT, PEM_SERVER_ED_KEY);
	job_key = load(PEM_CLIENT_RSA_KEY);
}

static void answer(struct session *s, enum hs_role role)
{
	static const char good[] = FUZZ_PSK, other[] = "another key of 32 bytes, or so..";
	struct engine_file cert = file_of(PEM_CLIENT_RSA_CRT);
	const char *key = ours.answer == ANSWER_GOOD ? good : other;

	if (role == HS_SERVER && ours.wish == WISH_PSK) {
		g_assert_cmpstr(session_psk_identity(s), !=, "");
		g_assert_cmpuint(strlen(session_psk_identity(s)), <, HS_PSK_IDENTITY_MAX);
	}
	if (ours.answer == ANSWER_REFUSED)
		session_refuse(s, HS_KEY_MISSING, "it is a test");
	else if (ours.wish == WISH_PSK)
		session_set_psk(s, HS_PSK_SHA256, FUZZ_PSK_IDENTITY, key, 32);
	else
		session_set_certificate(s, &cert);
}

/* For whoever writes an input: TLSHD_FUZZ_VERBOSE=1 shows where it leads. */
static void tell(const struct hs_result *r)
{
	g_autofree char *sum = NULL;

	if (!g_getenv("TLSHD_FUZZ_VERBOSE"))
		return;
	sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, memory.from_us->data,
					  memory.from_us->len);
	g_printerr("%s: %s (%s %s; the peer's bytes: %zu of %u, ours: %u, %.8s)\n",
		   hs_outcome_name(r->outcome), r->reason, r->subject, r->matched, memory.we_read,
		   memory.to_us->len, memory.from_us->len, sum);
}

/* TLSHD_FUZZ_CAPTURE=FILE: an input with the bytes that the peer sent, and no peer. */
static void capture(const uint8_t *data, size_t size)
{
	const char *path = g_getenv("TLSHD_FUZZ_CAPTURE");
	g_autoptr(GByteArray) out = NULL;

	if (!path || size < 3 || data[0] & 0x80)
		return;
	out = g_byte_array_new();
	g_byte_array_append(out, data, 3);
	out->data[0] |= 0x80;
	g_byte_array_append(out, memory.to_us->data, memory.to_us->len);
	g_assert_true(g_file_set_contents(path, (const char *)out->data, out->len, NULL));
}

/* Whatever the peer did: what is said about it must hold. */
static void check_result(enum hs_role role, const struct hs_result *r)
{
	g_assert_cmpuint(r->outcome, <, HS_N_OUTCOMES);
	g_assert_cmpuint(r->id, ==, 7);
	g_assert_cmpint(r->outcome, !=, HS_INTERNAL);
	check_line(r->subject, sizeof(r->subject));
	check_line(r->matched, sizeof(r->matched));
	check_line(r->reason, sizeof(r->reason));
	g_assert_true((r->outcome == HS_OK) == (r->reason[0] == '\0'));
	if (r->outcome != HS_OK) {
		g_assert_false(r->peer_verified);
		g_assert_false(ours.tx && ours.rx);
		return;
	}
	g_assert_true(ours.tx && ours.rx);
	g_assert_cmpstr(r->protocol, ==, "TLS 1.3");
	g_assert_cmpstr(r->cipher, !=, "");
	if (ours.wish == WISH_PSK) {
		g_assert_cmpint(ours.answer, ==, ANSWER_GOOD);
		g_assert_false(r->peer_verified);
		return;
	}
	if (role == HS_CLIENT)
		g_assert_true(r->peer_verified && strcmp(r->matched, "DNS:nfs.example.com") == 0);
	/* A key that fixtures.h gives a peer, by an authority that is trusted, and not revoked. */
	if (r->peer_verified)
		g_assert_cmpstr(r->subject, ==, role == HS_CLIENT ? "CN=the server" :
								    "CN=the client");
}

static enum session_status step(struct session *s)
{
	enum session_status status = session_step(s, &ours.result);

	ours.ended = status == SESSION_ENDED;
	return status;
}

/* Both ends in turns, until ours has ended or nothing moves any more. */
static void run(struct session *s, enum hs_role role, struct peer *peer)
{
	unsigned int idle = 0;

	for (unsigned int i = 0; i < STEPS_MAX && idle < 4; i++) {
		size_t in = memory.we_read, out = memory.from_us->len;
		enum session_status status = step(s);
		bool moved;

		if (status == SESSION_ENDED)
			return;
		if (status == SESSION_WANT_KEYS && ours.answer == ANSWER_NONE)
			break;
		if (status == SESSION_WANT_KEYS)
			answer(s, role);
		moved = status == SESSION_WANT_KEYS || memory.we_read != in ||
			memory.from_us->len != out;
		if (peer)
			moved |= peer_step(peer);
		idle = moved ? 0 : idle + 1;
	}
	session_timeout(s, &ours.result);
	ours.ended = true;
	g_assert_cmpint(ours.result.outcome, ==, HS_TIMEOUT);
}

static void job_of(enum hs_role role, bool other_host, struct hs_job *job)
{
	*job = (struct hs_job){ .id = 7, .role = role, .timeout_ms = 1000 };
	job->auth = ours.wish == WISH_PSK ? HS_AUTH_PSK :
		    ours.wish == WISH_UNAUTH ? HS_AUTH_UNAUTH : HS_AUTH_X509;
	job->own_identity = ours.wish == WISH_OWN;
	g_strlcpy(job->peername, other_host ? "" : "nfs.example.com", sizeof(job->peername));
}

void fuzz_handshake(enum hs_role role, const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t what = take_u8(&in), chunk = take_u8(&in), more = take_u8(&in);
	bool raw = what & 0x80, other_host = more & 0x20;
	struct peer_config config = {
		.server = role == HS_CLIENT, .psk = (what & 3) == WISH_PSK,
		.shown = what >> 2 & 3, .cipher = what >> 4 & 3, .odd_group = what & 0x40,
		.closes = more & 8,
	};
	struct session *s = NULL;
	struct peer *peer = NULL;
	struct hs_job job;

	fuzz_tls_reset();
	ours.wish = what & 3;
	ours.answer = more & 3;
	ours.gone = more & 4;
	memory.chunk = chunk;
	memory.short_writes = more & 0x40;
	/* Our address is that of the other host: its name is not asked for, and not sent. */
	job_of(role, other_host && role == HS_CLIENT, &job);
	if (session_new(&s, engines[(more & 0x10) != 0], &job, FUZZ_FD) < 0)
		g_error("no session");
	if (raw) {
		g_byte_array_append(memory.to_us, in.at, (guint)in.left);
		memory.closed = config.closes;
	} else {
		peer = peer_new(&config, &in);
	}
	run(s, role, peer);
	session_free(s);
	peer_free(peer);
	if (other_host && ours.result.outcome == HS_OK && role == HS_CLIENT &&
	    ours.wish != WISH_PSK) {
		g_assert_cmpstr(ours.result.matched, ==, "IP:192.0.2.1");
		g_strlcpy(ours.result.matched, "DNS:nfs.example.com", sizeof(ours.result.matched));
	}
	tell(&ours.result);
	capture(data, size);
	check_result(role, &ours.result);
}
