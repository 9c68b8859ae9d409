// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What comes with or behind a peer's Finished, in the same flight: in a record of its own it is
 * the kernel's, to the byte, which has the keys for it; in the record of Finished, whose keys
 * the kernel never has, it would be lost, and the handshake is refused (RFC 8446 5.1). The same
 * for the hellos, behind which the keys change as well.
 */
#include <linux/tls.h>

#include "hostile-world.h"

#define REST_MAX 20000

static void open_and_greet(struct hostile *h, enum hs_role ours)
{
	hostile_open(h, ours, NULL);
	hostile_greet(h);
}

static void certify(struct hostile *h)
{
	const struct pki_cert *cert = h->ours == HS_CLIENT ? server_cert : client_cert;

	hostile_certify(h, cert->pem, cert->key, 0x0403, 0);
}

/* A message whose content does not matter. */
static GByteArray *message(unsigned int type, size_t len)
{
	GByteArray *m = fp_message(type);

	fp_fill(m, 0, len);
	fp_end(m, 3, 1);
	return m;
}

/* --- behind it --- */

struct behind {
	const char *name;
	unsigned int record, type;	/* type: of a handshake message; 0: bytes as they are */
	size_t len;
	enum { NEW_KEYS, OLD_KEYS, CLEAR } keys;
};

static const struct behind behinds[] = {
	{ "data", FP_DATA, 0, 5000, NEW_KEYS },
	{ "key-update", FP_HANDSHAKE, FP_KEY_UPDATE, 1, NEW_KEYS },
	{ "ticket", FP_HANDSHAKE, FP_TICKET, 200, NEW_KEYS },
	{ "close-notify", FP_ALERT, 0, 2, NEW_KEYS },
	{ "finished-again", FP_HANDSHAKE, FP_FINISHED, 32, OLD_KEYS },
	{ "data-of-the-handshake", FP_DATA, 0, 100, OLD_KEYS },
	{ "ccs", FP_CCS, 0, 1, CLEAR },
	{ "half-a-header", FP_DATA, 0, 0, CLEAR },
};

/* What the kernel was given is what the peer sends by, from its first record on. */
static void check_kernel(const struct hostile *h, const struct forged_peer *after)
{
	const struct kernel *k = &kernels[h->pair.fd[h->ours]];
	struct tls12_crypto_info_aes_gcm_128 rx, tx;
	static const uint8_t zero[8];

	g_assert_cmpuint(k->rx_len, ==, sizeof(rx));
	g_assert_cmpuint(k->tx_len, ==, sizeof(tx));
	memcpy(&rx, k->rx, sizeof(rx));
	memcpy(&tx, k->tx, sizeof(tx));
	g_assert_cmpmem(rx.key, sizeof(rx.key), after->mine.key, sizeof(after->mine.key));
	g_assert_cmpmem(rx.salt, 4, after->mine.iv, 4);
	g_assert_cmpmem(rx.iv, 8, after->mine.iv + 4, 8);
	g_assert_cmpmem(rx.rec_seq, 8, zero, 8);
	g_assert_cmpmem(tx.key, sizeof(tx.key), after->theirs.key, sizeof(after->theirs.key));
	g_assert_cmpmem(tx.rec_seq, 8, zero, 8);
}

static void send_behind(struct forged_peer *p, const struct behind *t)
{
	static const uint8_t half[] = { FP_DATA, 3, 3 };
	GByteArray *m = t->type ? message(t->type, t->len) : g_byte_array_new();

	if (t->type == 0)
		fp_fill(m, 1, t->len);
	if (t->len > 0)
		forged_send(p, t->record, m->data, m->len);
	else
		forged_raw(p, half, sizeof(half));
	g_byte_array_unref(m);
}

/* Its records are counted by their bytes, as they are sent. */
static size_t unread(int fd)
{
	uint8_t buf[REST_MAX];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_PEEK);

	return n > 0 ? (size_t)n : 0;
}

static void behind(const struct behind *t, enum hs_role ours)
{
	struct forged_peer after, *sender;
	uint8_t rest[REST_MAX];
	size_t before, sent;
	struct hostile h;
	ssize_t n;

	open_and_greet(&h, ours);
	after = h.peer;		/* a client's: the transcript ends with the server's Finished */
	if (ours == HS_SERVER)
		forged_application_keys(&after);
	certify(&h);
	forged_message(&h.peer, fp_finished(&h.peer));
	if (ours == HS_CLIENT) {
		after = h.peer;
		forged_application_keys(&after);
	}
	before = unread(h.pair.fd[ours]);
	sender = t->keys == NEW_KEYS ? &after : &h.peer;
	sender->mine.on = t->keys != CLEAR;
	send_behind(sender, t);
	sent = unread(h.pair.fd[ours]) - before;
	g_assert_cmpuint(sent, >, 0);
	g_assert_true(hostile_settle(&h));
	assert_outcome(&h.pair, ours, HS_OK);
	g_assert_true(h.pair.result[ours].peer_verified);
	check_kernel(&h, &after);
	n = recv(h.pair.fd[ours], rest, sizeof(rest), MSG_DONTWAIT);
	g_assert_cmpint(n, ==, (ssize_t)sent);
	g_assert_cmpint(rest[0], ==, t->keys == CLEAR ? (int)t->record : FP_DATA);
	g_test_message("%s: %zu bytes left for the kernel of %zu", hs_role_name(ours), (size_t)n,
		       sent);
	hostile_close(&h);
}

static void test_behind(gconstpointer data)
{
	for (unsigned int ours = 0; ours < HS_N_ROLES; ours++)
		behind(data, ours);
}

/* --- in the same record --- */

struct within {
	const char *name;
	unsigned int type;
	size_t len;		/* of the message's content; the record has @cut bytes of it */
	size_t cut;		/* 0: all */
};

static const struct within withins[] = {
	{ "key-update", FP_KEY_UPDATE, 1, 0 },
	{ "ticket", FP_TICKET, 200, 0 },
	{ "finished-again", FP_FINISHED, 32, 0 },
	{ "certificate", FP_CERTIFICATE, 4, 0 },
	{ "a-byte", FP_KEY_UPDATE, 1, 1 },
	{ "half-a-header", FP_KEY_UPDATE, 1, 3 },
	{ "a-header", FP_KEY_UPDATE, 1, 4 },
	{ "most-of-it", FP_TICKET, 10000, 9000 },
};

static void assert_refused(const struct hostile *h, const char *what)
{
	enum hs_role ours = h->ours;
	g_autofree char *reason = g_strdup_printf("the %s broke the protocol: more came in the record "
						  "of its %s", ours == HS_CLIENT ? "server" : "client",
						  what);

	g_test_message("%s: %s: %s", hs_role_name(ours),
		       hs_outcome_name(h->pair.result[ours].outcome), h->pair.result[ours].reason);
	assert_outcome(&h->pair, ours, HS_PROTOCOL);
	assert_reason(&h->pair, ours, reason);
	assert_no_keys(&h->pair, ours);
	g_assert_false(h->pair.result[ours].peer_verified);
}

/* @first and @second, both freed, in one record; the second as far as @cut (0: all). */
static void send_together(struct hostile *h, GByteArray *first, GByteArray *second, size_t cut)
{
	fp_put(h->peer.transcript, first->data, first->len);
	fp_put(first, second->data, cut ? cut : second->len);
	forged_send(&h->peer, FP_HANDSHAKE, first->data, first->len);
	g_byte_array_unref(first);
	g_byte_array_unref(second);
}

static void test_within(gconstpointer data)
{
	const struct within *t = data;

	for (unsigned int ours = 0; ours < HS_N_ROLES; ours++) {
		struct hostile h;

		open_and_greet(&h, ours);
		certify(&h);
		send_together(&h, fp_finished(&h.peer), message(t->type, t->len), t->cut);
		g_assert_true(hostile_settle(&h));
		assert_refused(&h, "Finished");
		hostile_close(&h);
	}
}

/* What follows a hello is encrypted: in its own record it is not. */
static void test_hellos(void)
{
	static const size_t cuts[] = { 0, 1, 3, 5 };

	for (size_t i = 0; i < G_N_ELEMENTS(cuts); i++) {
		struct hostile h;

		hostile_open(&h, HS_SERVER, NULL);
		send_together(&h, fp_client_hello(&h.peer, NULL), message(FP_CERTIFICATE, 4),
			      cuts[i]);
		g_assert_true(hostile_settle(&h));
		assert_refused(&h, "ClientHello");
		g_assert_cmpint(h.peer.alert, ==, GNUTLS_A_UNEXPECTED_MESSAGE);
		hostile_close(&h);

		hostile_open(&h, HS_CLIENT, NULL);
		hostile_settle(&h);
		send_together(&h, fp_server_hello(&h.peer, NULL), fp_encrypted_extensions(NULL),
			      cuts[i]);
		g_assert_true(hostile_settle(&h));
		assert_refused(&h, "ServerHello");
		g_assert_cmpint(h.peer.alert, ==, GNUTLS_A_UNEXPECTED_MESSAGE);
		hostile_close(&h);
	}
}

/* Messages whose keys are the same may share a record, and one may have many: refused is only the rest. */
static void test_together(void)
{
	static const size_t record_max[] = { 0, 100, 7 };

	for (size_t i = 0; i < G_N_ELEMENTS(record_max); i++) {
		for (unsigned int ours = 0; ours < HS_N_ROLES; ours++) {
			const struct pki_cert *cert = ours == HS_CLIENT ? server_cert : client_cert;
			GByteArray *all, *m;
			gnutls_datum_t der;
			struct hostile h;

			open_and_greet(&h, ours);
			h.peer.record_max = record_max[i];
			g_assert_cmpuint(hostile_der(cert->pem, &der, 1), ==, 1);
			all = fp_certificate(&der, 1, NULL);
			fp_put(h.peer.transcript, all->data, all->len);
			for (unsigned int k = 0; k < 2; k++) {
				m = k ? fp_finished(&h.peer)
				      : fp_certificate_verify(&h.peer, cert->key, 0x0403, 0);
				fp_put(h.peer.transcript, m->data, m->len);
				fp_put(all, m->data, m->len);
				g_byte_array_unref(m);
			}
			forged_send(&h.peer, FP_HANDSHAKE, all->data, all->len);
			g_assert_true(hostile_settle(&h));
			assert_outcome(&h.pair, ours, HS_OK);
			g_byte_array_unref(all);
			gnutls_free(der.data);
			hostile_close(&h);
		}
	}
}

int main(int argc, char **argv)
{
	char path[128];
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	for (size_t i = 0; i < G_N_ELEMENTS(behinds); i++) {
		g_snprintf(path, sizeof(path), "/hostile-finished/behind/%s", behinds[i].name);
		g_test_add_data_func(path, &behinds[i], test_behind);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(withins); i++) {
		g_snprintf(path, sizeof(path), "/hostile-finished/within/%s", withins[i].name);
		g_test_add_data_func(path, &withins[i], test_within);
	}
	g_test_add_func("/hostile-finished/hellos", test_hellos);
	g_test_add_func("/hostile-finished/together", test_together);
	r = g_test_run();
	pair_pki_free();
	return r;
}
