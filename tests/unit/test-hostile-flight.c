// SPDX-License-Identifier: GPL-2.0-or-later
/* Bytes that no honest peer sends, in clear and encrypted: each is refused, says why, and is cheap. */
#include <malloc.h>
#include <sys/socket.h>

#include "hostile-world.h"

#define MANY 3000
#define COST_LIMIT 15.0	/* ordinary mutual handshakes; without a limit of records it is 165 */
#define HEAP_LIMIT (4 << 20)	/* bytes more than before, with the session still there */
#define BURST (16u << 20)

static gint64 usual[HS_N_ROLES];

struct attack {
	const char *name;
	void (*attack)(struct hostile *h);
	enum hs_role first, last;	/* our roles it is tried against */
	bool encrypted;			/* after the hellos */
	enum hs_outcome outcome;
	const char *reason;
	int alert;			/* as the peer is told in clear; -1: none, or not looked at */
};

static void send_plain(struct hostile *h, const char *bytes, size_t len)
{
	forged_raw(&h->peer, bytes, len);
}

static void http(struct hostile *h)
{
	send_plain(h, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
}

static void rpc(struct hostile *h)
{
	static const char call[44] = { (char)0x80, 0, 0, 40, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 2 };

	send_plain(h, call, sizeof(call));
}

static void nvme(struct hostile *h)
{
	static const char icreq[128] = { 0, 0, (char)128, 0, (char)128 };

	send_plain(h, icreq, sizeof(icreq));
}

static void sslv2(struct hostile *h)
{
	static const char hello[48] = { (char)0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1 };

	send_plain(h, hello, sizeof(hello));
}

/* A ClientHello of an old version: what is newer, extensions included, is not there. */
static void old_hello(struct hostile *h, unsigned int version)
{
	GByteArray *m = fp_message(FP_CLIENT_HELLO);

	fp_number(m, 2, version);
	fp_fill(m, 0x55, 32);
	fp_number(m, 1, 0);
	fp_number(m, 2, 4);
	fp_number(m, 4, 0xc02f002f);
	fp_number(m, 2, 0x0100);
	fp_end(m, 3, 1);
	forged_message(&h->peer, m);
}

static void sslv3(struct hostile *h)
{
	old_hello(h, 0x0300);
}

static void tls12(struct hostile *h)
{
	old_hello(h, 0x0303);
}

static void too_long_record(struct hostile *h)
{
	g_autofree char *record = g_malloc0(5 + 16641);

	memcpy(record, h->peer.mine.on ? "\x17\x03\x03\x41\x01" : "\x16\x03\x03\x41\x01", 5);
	send_plain(h, record, 5 + 16641);
}

static void bad_version(struct hostile *h)
{
	send_plain(h, "\x16\x09\x09\0\x04\x01\0\0\0", 9);
}

/* Until it is refused, at most @n times; our end goes on meanwhile. */
static void repeat(struct hostile *h, unsigned int type, const void *bytes, size_t len,
		   unsigned int n)
{
	for (unsigned int i = 0; i < n && h->pair.status[h->ours] != SESSION_ENDED; i++) {
		forged_send(&h->peer, type, bytes, len);
		if (i % 100 == 99)
			hostile_settle(h);
	}
}

static void empty_records(struct hostile *h)
{
	repeat(h, FP_HANDSHAKE, NULL, 0, 20 * MANY);
}

static void warnings(struct hostile *h)
{
	repeat(h, FP_ALERT, "\x01\x5a", 2, MANY);	/* user_canceled, which may be followed */
}

/* Not encrypted: RFC 8446 5 lets one pass, D.4. */
static void ccs(struct hostile *h)
{
	bool on = h->peer.mine.on;

	h->peer.mine.on = false;
	repeat(h, FP_CCS, "\x01", 1, 20 * MANY);
	h->peer.mine.on = on;
}

static void fat_suites(struct hostile *h)
{
	GByteArray *m = fp_message(FP_CLIENT_HELLO);
	unsigned int at;

	fp_number(m, 2, 0x0303);
	fp_fill(m, 0x55, 32);
	fp_number(m, 1, 0);
	at = fp_begin(m, 2);
	for (unsigned int i = 0; i < 32766; i++)
		fp_number(m, 2, 0x2000 + i % 0x4000);
	fp_end(m, 2, at);
	fp_number(m, 2, 0x0100);
	at = fp_begin(m, 2);
	fp_put(m, "\0\x2b\0\x03\x02\x03\x04", 7);
	fp_end(m, 2, at);
	fp_end(m, 3, 1);
	forged_message(&h->peer, m);
}

static GByteArray *extension(unsigned int type, size_t len)
{
	GByteArray *e = g_byte_array_new();

	fp_number(e, 2, type);
	fp_number(e, 2, len);
	fp_fill(e, 0, len);
	return e;
}

static void hello_with(struct hostile *h, GByteArray *more)
{
	forged_message(&h->peer, fp_client_hello(&h->peer, more));
	g_byte_array_unref(more);
}

static void repeated_extension(struct hostile *h)
{
	hello_with(h, extension(43, 3));
}

/* A message that says it has 16 MiB, and then has. */
static void burst(struct hostile *h)
{
	GByteArray *m = fp_message(h->peer.mine.on ? FP_CERTIFICATE : FP_CLIENT_HELLO);
	static const uint8_t zero[FP_RECORD_MAX];

	m->data[1] = m->data[2] = m->data[3] = 0xff;
	forged_send(&h->peer, FP_HANDSHAKE, m->data, m->len);
	g_byte_array_unref(m);
	for (size_t sent = 0; sent < BURST && h->pair.status[h->ours] != SESSION_ENDED;
	     sent += sizeof(zero)) {
		forged_send(&h->peer, FP_HANDSHAKE, zero, sizeof(zero));
		hostile_settle(h);
	}
}

/* One of 60000 bytes, in records of a byte each. */
static void drip(struct hostile *h)
{
	GByteArray *m = fp_message(h->peer.mine.on ? FP_CERTIFICATE : FP_CLIENT_HELLO);

	fp_fill(m, 0, 60000);
	fp_end(m, 3, 1);
	for (unsigned int i = 0; i < m->len && h->pair.status[h->ours] != SESSION_ENDED; i++) {
		forged_send(&h->peer, FP_HANDSHAKE, m->data + i, 1);
		if (i % 500 == 499)
			hostile_settle(h);
	}
	g_byte_array_unref(m);
}

static void send_message(struct hostile *h, unsigned int type, size_t len)
{
	GByteArray *m = fp_message(type);

	fp_fill(m, 0, len);
	fp_end(m, 3, 1);
	forged_message(&h->peer, m);
}

static void key_update(struct hostile *h)
{
	send_message(h, FP_KEY_UPDATE, 1);
}

static void hello_request(struct hostile *h)
{
	send_message(h, FP_HELLO_REQUEST, 0);
}

static void ticket(struct hostile *h)
{
	send_message(h, FP_TICKET, 20);
}

static void compressed(struct hostile *h)
{
	send_message(h, FP_COMPRESSED_CERTIFICATE, 100);
}

static void unknown_message(struct hostile *h)
{
	send_message(h, 99, 0);
}

static void early_finished(struct hostile *h)
{
	forged_message(&h->peer, fp_finished(&h->peer));
}

static void data_too_soon(struct hostile *h)
{
	forged_send(&h->peer, FP_DATA, "data", 4);
}

static void hundred(struct hostile *h)
{
	GString *pem = g_string_new(NULL);

	for (unsigned int i = 0; i < 100; i++)
		g_string_append(pem, i ? other_ca->pem : server_cert->pem);
	hostile_authenticate(h, pem->str, server_cert->key, 0x0403, 0);
	g_string_free(pem, TRUE);
}

static void truncated(struct hostile *h)
{
	send_plain(h, h->peer.mine.on ? "\x17\x03\x03\x10\0abc" : "\x16\x03\x03\x10\0abc", 8);
	shutdown(h->peer.fd, SHUT_WR);
}

/* A record nobody has the key of. */
static void wrong_key(struct hostile *h)
{
	h->peer.mine.key[0] ^= 1;
	hundred(h);
}

#define BOTH HS_CLIENT, HS_SERVER
#define SERVER HS_SERVER, HS_SERVER
#define CLIENT HS_CLIENT, HS_CLIENT
static const struct attack attacks[] = {
	{ "http", http, BOTH, false, HS_PROTOCOL, "does not speak TLS; it began with \"GET", 10 },
	{ "rpc", rpc, BOTH, false, HS_PROTOCOL, "does not speak TLS; it began with", 10 },
	{ "nvme", nvme, BOTH, false, HS_PROTOCOL, "does not speak TLS; it began with", 10 },
	{ "sslv2", sslv2, SERVER, false, HS_PROTOCOL, "does not speak TLS", -1 },
	{ "sslv3", sslv3, SERVER, false, HS_NO_COMMON, "does not offer TLS 1.3", 70 },
	{ "tls12", tls12, SERVER, false, HS_NO_COMMON, "does not offer TLS 1.3", 70 },
	{ "too-long-record", too_long_record, BOTH, false, HS_PROTOCOL, "record packet with invalid length", 22 },
	{ "bad-version", bad_version, BOTH, false, HS_PROTOCOL, "does not speak TLS", 10 },
	{ "empty-records", empty_records, BOTH, false, HS_PROTOCOL, "unexpected TLS packet", 10 },
	{ "warnings-server", warnings, SERVER, false, HS_PEER_ALERT, "user_canceled(90)", -1 },
	{ "warnings-client", warnings, CLIENT, false, HS_PROTOCOL, "more than 4 warnings", 10 },
	{ "ccs-server", ccs, SERVER, false, HS_PROTOCOL, "more than 512 records", 10 },
	{ "ccs-client", ccs, CLIENT, false, HS_PROTOCOL, "unexpected TLS packet", 10 },
	{ "fat-suites", fat_suites, SERVER, false, HS_PROTOCOL, "at most 32768 are read", 50 },
	{ "repeated-extension", repeated_extension, SERVER, false, HS_NO_COMMON, "does not offer TLS 1.3", 70 },
	{ "burst", burst, BOTH, false, HS_PROTOCOL, "more than 262144 bytes without an end", 10 },
	{ "drip", drip, BOTH, false, HS_PROTOCOL, "more than 512 records without an end", 10 },
	{ "truncated", truncated, BOTH, false, HS_CLOSED, "during the handshake", -1 },
	{ "key-update", key_update, BOTH, true, HS_PROTOCOL, "broke the protocol: ", -1 },
	{ "hello-request", hello_request, BOTH, true, HS_PROTOCOL, "broke the protocol: ", -1 },
	{ "ticket", ticket, BOTH, true, HS_PROTOCOL, "broke the protocol: ", -1 },
	{ "compressed", compressed, BOTH, true, HS_PROTOCOL, "broke the protocol: ", -1 },
	{ "unknown-message", unknown_message, BOTH, true, HS_PROTOCOL, "broke the protocol: ", -1 },
	{ "early-finished", early_finished, BOTH, true, HS_PROTOCOL, "broke the protocol: ", -1 },
	{ "data-too-soon", data_too_soon, BOTH, true, HS_PROTOCOL, "unexpected TLS packet", -1 },
	{ "hundred", hundred, BOTH, true, HS_CERT_INVALID,
	  "sent 100 certificates; at most 10 are read", -1 },
	{ "encrypted-too-long", too_long_record, BOTH, true, HS_PROTOCOL, "invalid length", -1 },
	{ "encrypted-empty", empty_records, BOTH, true, HS_PROTOCOL, "unexpected TLS packet", -1 },
	{ "encrypted-warnings", warnings, BOTH, true, HS_PEER_ALERT, "user_canceled(90)", -1 },
	{ "encrypted-ccs", ccs, BOTH, true, HS_PROTOCOL, "more than 512 records", -1 },
	{ "encrypted-burst", burst, BOTH, true, HS_PROTOCOL, "more than 262144 bytes", -1 },
	{ "encrypted-drip", drip, BOTH, true, HS_PROTOCOL, "more than 512 records", -1 },
	{ "encrypted-truncated", truncated, BOTH, true, HS_CLOSED, "during the handshake", -1 },
	{ "wrong-key", wrong_key, BOTH, true, HS_PROTOCOL, "Decryption has failed", -1 },
};

static void attack(const struct attack *t, enum hs_role ours)
{
	size_t before = mallinfo2().uordblks, grown;
	struct hostile h;

	hostile_open(&h, ours, NULL);
	if (t->encrypted)
		hostile_greet(&h);
	else if (ours == HS_CLIENT)
		hostile_settle(&h);	/* its ClientHello */
	t->attack(&h);
	hostile_settle(&h);
	g_assert_cmpint(h.pair.status[ours], ==, SESSION_ENDED);
	grown = mallinfo2().uordblks - before;
	g_test_message("%s: %s: %s; alert %d; %zu KiB of heap, limit %d", hs_role_name(ours),
		       hs_outcome_name(h.pair.result[ours].outcome), h.pair.result[ours].reason,
		       h.peer.alert, grown >> 10, HEAP_LIMIT >> 10);
	hostile_at_most(t->name, h.spent, usual[ours], COST_LIMIT);
	assert_outcome(&h.pair, ours, t->outcome);
	assert_reason(&h.pair, ours, t->reason);
	assert_no_keys(&h.pair, ours);
	if (t->alert >= 0)
		g_assert_cmpint(h.peer.alert, ==, t->alert);
	g_assert_cmpuint(grown, <, HEAP_LIMIT);
	hostile_close(&h);
}

static void test_attack(gconstpointer data)
{
	const struct attack *t = data;

	for (unsigned int ours = t->first; ours <= t->last; ours++)
		attack(t, ours);
}

int main(int argc, char **argv)
{
	char path[128];
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (unsigned int i = 0; i < HS_N_ROLES; i++)
		usual[i] = hostile_usual(i);
	for (size_t i = 0; i < G_N_ELEMENTS(attacks); i++) {
		g_snprintf(path, sizeof(path), "/hostile-flight/%s", attacks[i].name);
		g_test_add_data_func(path, &attacks[i], test_attack);
	}
	r = g_test_run();
	pair_pki_free();
	return r;
}
