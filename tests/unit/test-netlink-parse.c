// SPDX-License-Identifier: GPL-2.0-or-later
/* What is in a request, as the kernel writes it and as it never should. */
#include <glib.h>

#include "tlshd/monitor/netlink.c"

#define FAMILY 27
#define SEED 20240301u

static struct nl_msg *new_reply(void)
{
	struct nl_msg *msg = nlmsg_alloc_size(16384);

	g_assert_nonnull(genlmsg_put(msg, 0, 1, FAMILY, 0, 0, HANDSHAKE_CMD_ACCEPT, 1));
	return msg;
}

/* A reply that on_accept() is to read; its buffer ends where the message does. */
static struct netlink_request parse(struct nl_msg *msg)
{
	struct netlink_request req = { .fd = -1 };
	struct nl_msg *exact = nlmsg_convert(nlmsg_hdr(msg));

	on_accept(nlmsg_hdr(exact), &req);
	g_assert_nonnull(memchr(req.peername, 0, sizeof(req.peername)));
	g_assert_cmpuint(req.role, <, HS_N_ROLES);
	g_assert_cmpuint(req.auth, <, HS_N_AUTHS);
	g_assert_cmpuint(req.n_peer_ids, <=, HS_PEERIDS_MAX);
	nlmsg_free(exact);
	nlmsg_free(msg);
	return req;
}

/* What every request has. */
static struct nl_msg *plain(void)
{
	struct nl_msg *msg = new_reply();

	nla_put_s32(msg, HANDSHAKE_A_ACCEPT_SOCKFD, 99);
	nla_put_u32(msg, HANDSHAKE_A_ACCEPT_MESSAGE_TYPE, HANDSHAKE_MSG_TYPE_SERVERHELLO);
	nla_put_u32(msg, HANDSHAKE_A_ACCEPT_AUTH_MODE, HANDSHAKE_AUTH_X509);
	return msg;
}

static void put_certificate(struct nl_msg *msg, int32_t cert, int32_t key)
{
	struct nlattr *nest = nla_nest_start(msg, HANDSHAKE_A_ACCEPT_CERTIFICATE);

	if (cert)
		nla_put_s32(msg, HANDSHAKE_A_X509_CERT, cert);
	if (key)
		nla_put_s32(msg, HANDSHAKE_A_X509_PRIVKEY, key);
	nla_nest_end(msg, nest);
}

static void test_all_attributes(void)
{
	struct nl_msg *msg = new_reply();
	struct netlink_request req;

	nla_put_s32(msg, HANDSHAKE_A_ACCEPT_SOCKFD, 7);
	nla_put_u32(msg, HANDSHAKE_A_ACCEPT_HANDLER_CLASS, HANDSHAKE_HANDLER_CLASS_TLSHD);
	nla_put_u32(msg, HANDSHAKE_A_ACCEPT_MESSAGE_TYPE, HANDSHAKE_MSG_TYPE_CLIENTHELLO);
	nla_put_u32(msg, HANDSHAKE_A_ACCEPT_TIMEOUT, 10000);
	nla_put_u32(msg, HANDSHAKE_A_ACCEPT_AUTH_MODE, HANDSHAKE_AUTH_X509);
	nla_put_u32(msg, HANDSHAKE_A_ACCEPT_PEER_IDENTITY, 4711);
	put_certificate(msg, 11, 12);
	nla_put_string(msg, HANDSHAKE_A_ACCEPT_PEERNAME, "server.example");
	nla_put_u32(msg, HANDSHAKE_A_ACCEPT_KEYRING, 0x3fffffff);
	req = parse(msg);
	g_assert_null(req.refusal);
	g_assert_cmpint(req.fd, ==, 7);
	g_assert_cmpint(req.role, ==, HS_CLIENT);
	g_assert_cmpint(req.auth, ==, HS_AUTH_X509);
	g_assert_cmpuint(req.timeout_ms, ==, 10000);
	g_assert_cmpint(req.certificate, ==, 11);
	g_assert_cmpint(req.private_key, ==, 12);
	g_assert_cmpuint(req.n_peer_ids, ==, 1);
	g_assert_cmpint(req.peer_ids[0], ==, 4711);
	g_assert_cmpstr(req.peername, ==, "server.example");
	g_assert_cmpint(req.keyring, ==, 0x3fffffff);

	req = parse(plain());
	g_assert_null(req.refusal);
	g_assert_cmpint(req.role, ==, HS_SERVER);
	g_assert_cmpuint(req.timeout_ms, ==, 0);
	g_assert_cmpstr(req.peername, ==, "");
	g_assert_cmpint(req.certificate | req.private_key | req.keyring, ==, 0);
}

/* Numbers of the two that say what is wanted: each known one, and nothing else. */
static void test_type_and_mode(void)
{
	for (uint32_t type = 0; type < 6; type++) {
		for (uint32_t mode = 0; mode < 6; mode++) {
			struct nl_msg *msg = new_reply();
			struct netlink_request req;

			nla_put_u32(msg, HANDSHAKE_A_ACCEPT_AUTH_MODE, mode);
			nla_put_u32(msg, HANDSHAKE_A_ACCEPT_MESSAGE_TYPE, type);
			req = parse(msg);
			g_assert_true(!req.refusal == (type >= 1 && type <= 2 && mode >= 1 &&
						       mode <= 3));
			if (req.refusal)
				continue;
			g_assert_cmpint(req.role, ==, type == 1 ? HS_CLIENT : HS_SERVER);
			g_assert_cmpint(req.auth, ==, mode == 1 ? HS_AUTH_UNAUTH :
						      mode == 2 ? HS_AUTH_PSK : HS_AUTH_X509);
		}
	}
}

static void test_missing(void)
{
	struct nl_msg *msg = new_reply();

	g_assert_nonnull(parse(msg).refusal);
	msg = new_reply();
	nla_put_u32(msg, HANDSHAKE_A_ACCEPT_MESSAGE_TYPE, 1);
	g_assert_nonnull(parse(msg).refusal);
	msg = new_reply();
	nla_put_u32(msg, HANDSHAKE_A_ACCEPT_AUTH_MODE, 3);
	g_assert_nonnull(parse(msg).refusal);
}

/* A number of less than its four bytes, none of them or three. */
static void test_short(void)
{
	static const int numbers[] = {
		HANDSHAKE_A_ACCEPT_SOCKFD, HANDSHAKE_A_ACCEPT_MESSAGE_TYPE,
		HANDSHAKE_A_ACCEPT_TIMEOUT, HANDSHAKE_A_ACCEPT_AUTH_MODE,
		HANDSHAKE_A_ACCEPT_PEER_IDENTITY, HANDSHAKE_A_ACCEPT_KEYRING,
	};

	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
		for (int len = 0; len < 4; len++) {
			struct nl_msg *msg = plain();

			nla_put(msg, numbers[i], len, "\1\1\1");
			g_assert_nonnull(parse(msg).refusal);
		}
	}
}

static struct netlink_request parse_name(const char *name, int len)
{
	struct nl_msg *msg = plain();

	nla_put(msg, HANDSHAKE_A_ACCEPT_PEERNAME, len, name);
	return parse(msg);
}

/* Never cut: a part of a name is another name. */
static void test_peername(void)
{
	static const unsigned int lengths[] = { 0, 1, 254, 255, 256, 257, 1000, 5000 };

	for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
		g_autofree char *name = g_strnfill(lengths[i], 'n');
		struct netlink_request req;

		for (int nul = 0; nul < 2; nul++) {
			req = parse_name(name, (int)lengths[i] + nul);
			if (lengths[i] < HS_NAME_MAX) {
				g_assert_null(req.refusal);
				g_assert_cmpstr(req.peername, ==, name);
			} else {
				g_assert_nonnull(req.refusal);
				g_assert_cmpstr(req.peername, ==, "");
			}
		}
	}
	/* The kernel's attribute is a string: it ends at its NUL. */
	g_assert_cmpstr(parse_name("abc\0def", 8).peername, ==, "abc");
}

static void test_peer_identities(void)
{
	for (int32_t n = 0; n <= 7; n++) {
		struct nl_msg *msg = plain();
		struct netlink_request req;

		for (int32_t i = 0; i < n; i++)
			nla_put_s32(msg, HANDSHAKE_A_ACCEPT_PEER_IDENTITY, 100 + i);
		req = parse(msg);
		g_assert_null(req.refusal);
		g_assert_cmpuint(req.n_peer_ids, ==, (unsigned int)MIN(n, HS_PEERIDS_MAX));
		for (int32_t i = 0; i < (int32_t)req.n_peer_ids; i++)
			g_assert_cmpint(req.peer_ids[i], ==, 100 + i);
	}
}

static void test_certificates(void)
{
	struct netlink_request req;
	struct nl_msg *msg = plain();

	put_certificate(msg, 11, 12);
	put_certificate(msg, 21, 22);
	req = parse(msg);
	g_assert_null(req.refusal);
	g_assert_cmpint(req.certificate, ==, 11);
	g_assert_cmpint(req.private_key, ==, 12);

	/* The halves of two are no pair. */
	msg = plain();
	put_certificate(msg, 11, 0);
	put_certificate(msg, 0, 22);
	req = parse(msg);
	g_assert_cmpint(req.certificate, ==, 11);
	g_assert_cmpint(req.private_key, ==, 0);

	msg = plain();
	put_certificate(msg, 0, 0);
	g_assert_null(parse(msg).refusal);

	for (int len = 1; len < 12; len++) {
		static const uint8_t nested[12] = { 6, 0, HANDSHAKE_A_X509_CERT, 0, 1, 2 };

		msg = plain();
		nla_put(msg, HANDSHAKE_A_ACCEPT_CERTIFICATE, len, nested);
		req = parse(msg);
		g_assert_cmpint(req.certificate | req.private_key, ==, 0);
		/* A number of two bytes; what is shorter than a header is nothing. */
		if (len >= 6)
			g_assert_nonnull(req.refusal);
	}
}

/* Numbers a later kernel may have: not ours to refuse. */
static void test_unknown(void)
{
	struct nl_msg *msg = plain();

	for (int type = HANDSHAKE_A_ACCEPT_MAX + 1; type < 40; type++)
		nla_put_u32(msg, type, 1);
	nla_put_u32(msg, 0x3fff, 1);
	g_assert_null(parse(msg).refusal);
}

static void test_random_bytes(void)
{
	g_autoptr(GRand) rng = g_rand_new_with_seed(SEED);

	for (unsigned int n = 0; n < 50000; n++) {
		struct nl_msg *msg = n % 2 ? plain() : new_reply();
		int words = g_rand_int_range(rng, 0, 100);
		uint32_t *data = nlmsg_reserve(msg, 4 * (size_t)words, 4);

		for (int i = 0; i < words; i++)
			data[i] = g_rand_int(rng);
		/* Mostly so that attributes look like some. */
		for (int i = 0; i < words && n % 3; i += g_rand_int_range(rng, 1, 4))
			data[i] = (uint32_t)g_rand_int_range(rng, 0, 20) |
				  (uint32_t)g_rand_int_range(rng, 0, 12) << 16;
		parse(msg);
	}
}

/* A message that ends within its own headers. */
static void test_truncated(void)
{
	struct nl_msg *whole = plain();
	uint32_t len = nlmsg_hdr(whole)->nlmsg_len;

	for (uint32_t n = NLMSG_HDRLEN + GENL_HDRLEN; n < len; n++) {
		struct nl_msg *msg = nlmsg_convert(nlmsg_hdr(whole));

		nlmsg_hdr(msg)->nlmsg_len = n;
		g_assert_nonnull(parse(msg).refusal);
	}
	nlmsg_free(whole);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/netlink/parse/all", test_all_attributes);
	g_test_add_func("/netlink/parse/type-and-mode", test_type_and_mode);
	g_test_add_func("/netlink/parse/missing", test_missing);
	g_test_add_func("/netlink/parse/short", test_short);
	g_test_add_func("/netlink/parse/peername", test_peername);
	g_test_add_func("/netlink/parse/peer-identities", test_peer_identities);
	g_test_add_func("/netlink/parse/certificates", test_certificates);
	g_test_add_func("/netlink/parse/unknown", test_unknown);
	g_test_add_func("/netlink/parse/truncated", test_truncated);
	g_test_add_func("/netlink/parse/random-bytes", test_random_bytes);
	return g_test_run();
}
