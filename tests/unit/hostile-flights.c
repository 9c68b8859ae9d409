// SPDX-License-Identifier: GPL-2.0-or-later
#include "hostile-flights.h"

#include <string.h>
#include <sys/socket.h>

#define MANY 3000
#define BURST (16u << 20)
#define CHAIN_LIMIT 200		/* more than any test sends */
#define WAITS_MAX 1000
#define EXT_EARLY_DATA 42
#define SCHEME_P256 0x0403

/* ---- what an honest peer does, too ---- */

bool flight_wait(struct flight *f, unsigned int type)
{
	for (unsigned int i = 0; i < WAITS_MAX && !f->ended && !f->peer->seen[type]; i++)
		f->ended = f->settle(f->ctx);
	return f->peer->seen[type];
}

void flight_greet(struct flight *f)
{
	if (f->peer->role == HS_CLIENT) {
		forged_message(f->peer, fp_client_hello(f->peer, NULL));
		if (!flight_wait(f, FP_FINISHED))
			g_error("the server does not answer the ClientHello");
		return;
	}
	if (!flight_wait(f, FP_CLIENT_HELLO))
		g_error("no ClientHello came");
	forged_answer_hello(f->peer);
	forged_message(f->peer, fp_encrypted_extensions(NULL));
}

unsigned int hostile_der(const char *pem, gnutls_datum_t *der, unsigned int max)
{
	static const char end[] = "-----END CERTIFICATE-----\n";
	unsigned int n = 0;
	const char *next;

	for (; (next = strstr(pem, end)); pem = next + sizeof(end) - 1) {
		gnutls_datum_t text = { (unsigned char *)(uintptr_t)pem,
					(unsigned int)(next - pem + sizeof(end) - 1) };

		g_assert_cmpuint(n, <, max);
		g_assert_cmpint(gnutls_pem_base64_decode2("CERTIFICATE", &text, &der[n++]), ==, 0);
	}
	return n;
}

void flight_certify(struct flight *f, const char *pem, gnutls_x509_privkey_t key,
		    unsigned int scheme, size_t size)
{
	gnutls_datum_t der[CHAIN_LIMIT];
	unsigned int n = hostile_der(pem, der, G_N_ELEMENTS(der));

	if (f->peer->role == HS_SERVER)
		forged_message(f->peer, fp_certificate_request());
	forged_message(f->peer, fp_certificate(der, n, NULL));
	forged_message(f->peer, fp_certificate_verify(f->peer, key, scheme, size));
	while (n > 0)
		gnutls_free(der[--n].data);
}

void flight_authenticate(struct flight *f, const char *pem, gnutls_x509_privkey_t key,
			 unsigned int scheme, size_t size)
{
	flight_certify(f, pem, key, scheme, size);
	forged_finish(f->peer, NULL);
}

void flight_honest(struct flight *f)
{
	const struct pki_cert *cert = f->peer->role == HS_SERVER ? f->pki->server : f->pki->client;

	flight_authenticate(f, cert->pem, cert->key, SCHEME_P256, 0);
}

/* ---- what it does not ---- */

static void send_plain(struct flight *f, const char *bytes, size_t len)
{
	forged_raw(f->peer, bytes, len);
}

static void http(struct flight *f)
{
	send_plain(f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
}

static void rpc(struct flight *f)
{
	static const char call[44] = { (char)0x80, 0, 0, 40, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 2 };

	send_plain(f, call, sizeof(call));
}

static void nvme(struct flight *f)
{
	static const char icreq[128] = { 0, 0, (char)128, 0, (char)128 };

	send_plain(f, icreq, sizeof(icreq));
}

static void sslv2(struct flight *f)
{
	static const char hello[48] = { (char)0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1 };

	send_plain(f, hello, sizeof(hello));
}

/* A ClientHello of an old version: what is newer, extensions included, is not there. */
static void old_hello(struct flight *f, unsigned int version)
{
	GByteArray *m = fp_message(FP_CLIENT_HELLO);

	fp_number(m, 2, version);
	fp_fill(m, 0x55, 32);
	fp_number(m, 1, 0);
	fp_number(m, 2, 4);
	fp_number(m, 4, 0xc02f002f);
	fp_number(m, 2, 0x0100);
	fp_end(m, 3, 1);
	forged_message(f->peer, m);
}

static void sslv3(struct flight *f)
{
	old_hello(f, 0x0300);
}

static void tls12(struct flight *f)
{
	old_hello(f, 0x0303);
}

static void too_long_record(struct flight *f)
{
	g_autofree char *record = g_malloc0(5 + 16641);

	memcpy(record, f->peer->mine.on ? "\x17\x03\x03\x41\x01" : "\x16\x03\x03\x41\x01", 5);
	send_plain(f, record, 5 + 16641);
}

static void bad_version(struct flight *f)
{
	send_plain(f, "\x16\x09\x09\0\x04\x01\0\0\0", 9);
}

/* Until it is refused, at most @n times; our end goes on meanwhile. */
static void repeat(struct flight *f, unsigned int type, const void *bytes, size_t len,
		   unsigned int n)
{
	for (unsigned int i = 0; i < n && !f->ended; i++) {
		forged_send(f->peer, type, bytes, len);
		if (i % 100 == 99)
			f->ended = f->settle(f->ctx);
	}
}

static void empty_records(struct flight *f)
{
	repeat(f, FP_HANDSHAKE, NULL, 0, 20 * MANY);
}

static void warnings(struct flight *f)
{
	repeat(f, FP_ALERT, "\x01\x5a", 2, MANY);	/* user_canceled, which may be followed */
}

/* Not encrypted: RFC 8446 5 lets one pass, D.4. */
static void ccs(struct flight *f)
{
	bool on = f->peer->mine.on;

	f->peer->mine.on = false;
	repeat(f, FP_CCS, "\x01", 1, 20 * MANY);
	f->peer->mine.on = on;
}

/* The same, all there before the other end looks. */
static void ccs_at_once(struct flight *f)
{
	bool on = f->peer->mine.on;

	f->peer->mine.on = false;
	forged_hold(f->peer);
	for (unsigned int i = 0; i < 400; i++)
		forged_send(f->peer, FP_CCS, "\x01", 1);
	forged_release(f->peer);
	f->peer->mine.on = on;
}

static void fat_suites(struct flight *f)
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
	forged_message(f->peer, m);
}

static GByteArray *extension(unsigned int type, size_t len)
{
	GByteArray *e = g_byte_array_new();

	fp_number(e, 2, type);
	fp_number(e, 2, len);
	fp_fill(e, 0, len);
	return e;
}

static void hello_with(struct flight *f, GByteArray *more)
{
	forged_message(f->peer, fp_client_hello(f->peer, more));
	g_byte_array_unref(more);
}

static void repeated_extension(struct flight *f)
{
	hello_with(f, extension(43, 3));
}

/* A message that says it has 16 MiB, and then has. */
static void burst(struct flight *f)
{
	GByteArray *m = fp_message(f->peer->mine.on ? FP_CERTIFICATE : FP_CLIENT_HELLO);
	static const uint8_t zero[FP_RECORD_MAX];

	m->data[1] = m->data[2] = m->data[3] = 0xff;
	forged_send(f->peer, FP_HANDSHAKE, m->data, m->len);
	g_byte_array_unref(m);
	for (size_t sent = 0; sent < BURST && !f->ended;
	     sent += sizeof(zero)) {
		forged_send(f->peer, FP_HANDSHAKE, zero, sizeof(zero));
		f->ended = f->settle(f->ctx);
	}
}

/* One of 60000 bytes, in records of a byte each. */
static void drip(struct flight *f)
{
	GByteArray *m = fp_message(f->peer->mine.on ? FP_CERTIFICATE : FP_CLIENT_HELLO);

	fp_fill(m, 0, 60000);
	fp_end(m, 3, 1);
	for (unsigned int i = 0; i < m->len && !f->ended; i++) {
		forged_send(f->peer, FP_HANDSHAKE, m->data + i, 1);
		if (i % 500 == 499)
			f->ended = f->settle(f->ctx);
	}
	g_byte_array_unref(m);
}

static void send_message(struct flight *f, unsigned int type, size_t len)
{
	GByteArray *m = fp_message(type);

	fp_fill(m, 0, len);
	fp_end(m, 3, 1);
	forged_message(f->peer, m);
}

static void key_update(struct flight *f)
{
	send_message(f, FP_KEY_UPDATE, 1);
}

static void hello_request(struct flight *f)
{
	send_message(f, FP_HELLO_REQUEST, 0);
}

static void ticket(struct flight *f)
{
	send_message(f, FP_TICKET, 20);
}

static void compressed(struct flight *f)
{
	send_message(f, FP_COMPRESSED_CERTIFICATE, 100);
}

static void unknown_message(struct flight *f)
{
	send_message(f, 99, 0);
}

static void early_finished(struct flight *f)
{
	forged_message(f->peer, fp_finished(f->peer));
}

static void data_too_soon(struct flight *f)
{
	forged_send(f->peer, FP_DATA, "data", 4);
}

static void hundred(struct flight *f)
{
	GString *pem = g_string_new(NULL);

	for (unsigned int i = 0; i < 100; i++)
		g_string_append(pem, i ? f->pki->other_ca->pem : f->pki->server->pem);
	flight_authenticate(f, pem->str, f->pki->server->key, 0x0403, 0);
	g_string_free(pem, TRUE);
}

static void truncated(struct flight *f)
{
	send_plain(f, f->peer->mine.on ? "\x17\x03\x03\x10\0abc" : "\x16\x03\x03\x10\0abc", 8);
	shutdown(f->peer->fd, SHUT_WR);
}

/* A record nobody has the key of. */
static void wrong_key(struct flight *f)
{
	f->peer->mine.key[0] ^= 1;
	hundred(f);
}

/* Nothing at all. */
static void silence(struct flight *f)
{
	shutdown(f->peer->fd, SHUT_WR);
}

static void noise(struct flight *f)
{
	uint8_t bytes[300];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(0xf3 + 167 * i);
	send_plain(f, (const char *)bytes, sizeof(bytes));
}

static void fatal_alert(struct flight *f)
{
	forged_send(f->peer, FP_ALERT, "\x02\x28", 2);	/* handshake_failure */
}

static void second_hello(struct flight *f)
{
	if (!f->peer->mine.on)
		forged_message(f->peer, fp_client_hello(f->peer, NULL));
	forged_message(f->peer, fp_client_hello(f->peer, NULL));
}

/* Without a ticket there is nothing to encrypt early data with; what comes is dropped unread. */
static void early_data(struct flight *f, size_t bytes)
{
	GByteArray *zero = g_byte_array_new();
	struct forged_peer *p = f->peer;

	hello_with(f, extension(EXT_EARLY_DATA, 0));
	fp_number(zero, 1, FP_DATA);
	fp_number(zero, 2, 0x0303);
	fp_number(zero, 2, 1000);
	fp_fill(zero, 0x5a, 1000);
	for (size_t sent = 0; sent < bytes && !f->ended; sent += zero->len) {
		forged_raw(p, zero->data, zero->len);
		if (sent / zero->len % 100 == 99)
			f->ended = f->settle(f->ctx);
	}
	g_byte_array_unref(zero);
}

static void some_early_data(struct flight *f)
{
	early_data(f, 2000);
	flight_wait(f, FP_FINISHED);
	flight_honest(f);
}

static void much_early_data(struct flight *f)
{
	early_data(f, BURST);
}

/* Of kinds that nobody knows: to be ignored (RFC 8446 4.1.2). */
static void strange_extensions(struct flight *f, unsigned int n, size_t len)
{
	GByteArray *all = g_byte_array_new();

	for (unsigned int i = 0; i < n; i++) {
		GByteArray *e = extension(0x7000 + i, len);

		fp_put(all, e->data, e->len);
		g_byte_array_unref(e);
	}
	hello_with(f, all);
}

static void large_extension(struct flight *f)
{
	strange_extensions(f, 1, 30000);
	flight_wait(f, FP_FINISHED);
	flight_honest(f);
}

static void huge_extension(struct flight *f)
{
	strange_extensions(f, 1, 65000);
}

static void many_extensions(struct flight *f)
{
	strange_extensions(f, 1000, 20);
	flight_wait(f, FP_FINISHED);
	flight_honest(f);
}

/* As many as are read, before the one that can be used. */
static void many_suites(struct flight *f)
{
	enum { AT = 4 + 2 + 32 + 1 + 32, COUNT = 15900 };
	GByteArray *hello = fp_client_hello(f->peer, NULL), *m = fp_message(FP_CLIENT_HELLO);

	fp_put(m, hello->data + 4, AT - 4);
	fp_number(m, 2, 2 * COUNT + 2);
	for (unsigned int i = 0; i < COUNT; i++)
		fp_number(m, 2, 0x4000 + i % 0x3000);
	fp_put(m, hello->data + AT + 2, hello->len - AT - 2);
	fp_end(m, 3, 1);
	g_byte_array_unref(hello);
	forged_message(f->peer, m);
	flight_wait(f, FP_FINISHED);
	flight_honest(f);
}

/* Messages that share the record of Finished, which changes the keys (RFC 8446 5.1). */
static void finish_with(struct flight *f, const char *bytes, size_t len)
{
	const struct pki_cert *cert = f->peer->role == HS_SERVER ? f->pki->server : f->pki->client;
	GByteArray *more = g_byte_array_new();

	fp_put(more, bytes, len);
	flight_certify(f, cert->pem, cert->key, SCHEME_P256, 0);
	forged_finish(f->peer, more);
}

static void finish_and_ticket(struct flight *f)
{
	finish_with(f, FP_A_TICKET, sizeof(FP_A_TICKET) - 1);
}

static void finish_and_half_ticket(struct flight *f)
{
	finish_with(f, FP_A_TICKET, 10);
}

static void finish_and_update(struct flight *f)
{
	finish_with(f, FP_A_KEY_UPDATE, sizeof(FP_A_KEY_UPDATE) - 1);
}

static void finish_twice(struct flight *f)
{
	GByteArray *m = fp_message(FP_FINISHED);

	fp_fill(m, 0, FP_HASH);
	fp_end(m, 3, 1);
	finish_with(f, (const char *)m->data, m->len);
	g_byte_array_unref(m);
}

#define BOTH HS_CLIENT, HS_SERVER
#define FINISHED "more came in the record of its Finished"
#define EMPTY "sent too many records with nothing in them"
#define SERVER HS_SERVER, HS_SERVER
#define CLIENT HS_CLIENT, HS_CLIENT
const struct attack hostile_attacks[] = {
	{ "http", http, BOTH, false, HS_PROTOCOL, "does not speak TLS; it began with \"GET", 10 },
	{ "rpc", rpc, BOTH, false, HS_PROTOCOL, "does not speak TLS; it began with", 10 },
	{ "nvme", nvme, BOTH, false, HS_PROTOCOL, "does not speak TLS; it began with", 10 },
	{ "sslv2", sslv2, SERVER, false, HS_PROTOCOL, "does not speak TLS", -1 },
	{ "sslv3", sslv3, SERVER, false, HS_NO_COMMON, "does not offer TLS 1.3", 70 },
	{ "tls12", tls12, SERVER, false, HS_NO_COMMON, "does not offer TLS 1.3", 70 },
	{ "too-long-record", too_long_record, BOTH, false, HS_PROTOCOL, "record packet with invalid length", 22 },
	{ "bad-version", bad_version, BOTH, false, HS_PROTOCOL, "does not speak TLS", 10 },
	{ "empty-records", empty_records, BOTH, false, HS_PROTOCOL, "unexpected TLS packet", 10 },
	{ "warnings-server", warnings, SERVER, false, HS_CLOSED, "user_canceled(90)", -1 },
	{ "warnings-client", warnings, CLIENT, false, HS_PROTOCOL, "more than 4 warnings", 10 },
	{ "ccs-server", ccs, SERVER, false, HS_PROTOCOL, "more than 512 records", 10, EMPTY },
	{ "ccs-at-once", ccs_at_once, SERVER, false, HS_PROTOCOL, EMPTY, 10 },
	{ "ccs-client", ccs, CLIENT, false, HS_PROTOCOL, "unexpected TLS packet", 10 },
	{ "fat-suites", fat_suites, SERVER, false, HS_PROTOCOL, "at most 32768 are read", 50 },
	{ "repeated-extension", repeated_extension, SERVER, false, HS_NO_COMMON, "does not offer TLS 1.3", 70 },
	{ "burst", burst, BOTH, false, HS_PROTOCOL, "more than 262144 bytes without an end", 10 },
	{ "drip", drip, BOTH, false, HS_PROTOCOL, "more than 512 records without an end", 10 },
	{ "silence", silence, BOTH, false, HS_CLOSED, "closed the connection before it sent anything", -1 },
	{ "noise", noise, BOTH, false, HS_PROTOCOL, "does not speak TLS; it began with", 10 },
	{ "fatal-alert", fatal_alert, BOTH, false, HS_PEER_ALERT, "alert handshake_failure(40)", -1 },
	{ "second-hello", second_hello, SERVER, false, HS_PROTOCOL, "broke the protocol: ", -1 },
	{ "early-data", some_early_data, SERVER, false, HS_OK, "", -1 },
	{ "much-early-data", much_early_data, SERVER, false, HS_PROTOCOL, "sent early data (0-RTT)", -1 },
	{ "large-extension", large_extension, SERVER, false, HS_OK, "", -1 },
	{ "huge-extension", huge_extension, SERVER, false, HS_PROTOCOL, "at most 32768 are read", 50 },
	{ "many-extensions", many_extensions, SERVER, false, HS_OK, "", -1 },
	{ "many-suites", many_suites, SERVER, false, HS_OK, "", -1 },
	{ "truncated", truncated, BOTH, false, HS_CLOSED, "during the handshake", -1 },
	{ "encrypted-fatal-alert", fatal_alert, BOTH, true, HS_PEER_ALERT, "alert handshake_failure(40)", -1 },
	{ "encrypted-hello", second_hello, BOTH, true, HS_PROTOCOL, "broke the protocol: ", 10 },
	{ "key-update", key_update, BOTH, true, HS_PROTOCOL, "broke the protocol: ", 10 },
	{ "hello-request", hello_request, BOTH, true, HS_PROTOCOL, "broke the protocol: ", 10 },
	{ "ticket", ticket, BOTH, true, HS_PROTOCOL, "broke the protocol: ", 10 },
	{ "compressed", compressed, BOTH, true, HS_PROTOCOL, "its certificate is compressed", 10 },
	{ "unknown-message", unknown_message, BOTH, true, HS_PROTOCOL, "broke the protocol: ", 10 },
	{ "early-finished", early_finished, BOTH, true, HS_PROTOCOL, "broke the protocol: ", 10 },
	{ "data-too-soon", data_too_soon, BOTH, true, HS_PROTOCOL, "unexpected TLS packet", 10 },
	{ "hundred", hundred, BOTH, true, HS_CERT_INVALID,
	  "sent 100 certificates; at most 10 are read", 42 },
	{ "encrypted-too-long", too_long_record, BOTH, true, HS_PROTOCOL, "invalid length", 22 },
	{ "encrypted-empty", empty_records, BOTH, true, HS_PROTOCOL, "unexpected TLS packet", 10 },
	{ "encrypted-warnings", warnings, BOTH, true, HS_CLOSED, "user_canceled(90)", -1 },
	{ "encrypted-ccs", ccs, BOTH, true, HS_PROTOCOL, "more than 512 records", 10, EMPTY },
	{ "encrypted-ccs-at-once", ccs_at_once, BOTH, true, HS_PROTOCOL, EMPTY, 10 },
	{ "encrypted-burst", burst, BOTH, true, HS_PROTOCOL, "more than 262144 bytes", 10 },
	{ "encrypted-drip", drip, BOTH, true, HS_PROTOCOL, "more than 512 records", 10 },
	{ "encrypted-truncated", truncated, BOTH, true, HS_CLOSED, "during the handshake", -1 },
	{ "finish-ticket", finish_and_ticket, BOTH, true, HS_PROTOCOL, FINISHED, 10 },
	{ "finish-half-ticket", finish_and_half_ticket, BOTH, true, HS_PROTOCOL, FINISHED, 10 },
	{ "finish-key-update", finish_and_update, BOTH, true, HS_PROTOCOL, FINISHED, 10 },
	{ "finish-twice", finish_twice, BOTH, true, HS_PROTOCOL, FINISHED, 10 },
	{ "wrong-key", wrong_key, BOTH, true, HS_PROTOCOL, "Decryption has failed", 20 },
};
const size_t hostile_n_attacks = G_N_ELEMENTS(hostile_attacks);
