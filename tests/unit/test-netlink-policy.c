// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What DONE may carry: how the kernel is asked and what follows from its
 * answer, with a kernel of the test's own (netlink-world.h). The last test
 * asks a real one, where it has the family: tests/vm runs this program, too.
 */
#include <glib.h>
#include <stddef.h>
#include <string.h>

#include "netlink-world.h"
#include "tlshd/monitor/netlink-command.h"
#include "tlshd/monitor/netlink-policy.c"
#include "tlshd/monitor/netlink.c"

#define SEED 20240301u

static void set_up(struct world *w, gconstpointer unused)
{
	world_set_up(w);
	w->commands = w->nl->commands;
}

static void tear_down(struct world *w, gconstpointer unused)
{
	world_tear_down(w);
}

/* Asks anew. Returns what is known now. */
static const struct netlink_policy *join(struct world *w)
{
	world_join(w);
	return &w->nl->policy;
}

/* --- the dump --- */

/* What Linux 6.12.117 sends, byte by byte; native words, for little-endian machines. */
static const uint8_t dump_6_12[260] = {
#define HEAD(len) \
	len, 0, 0, 0, 16, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 2, 0, 0, 6, 0, 1, 0, 33, 0, 0, 0
	HEAD(44), 0x10, 0, 9, 0x80, 0x0c, 0, 3, 0x80, 8, 0, 1, 0, 0, 0, 0, 0,
	HEAD(72), 0x2c, 0, 8, 0x80, 0x28, 0, 0, 0x80, 0x24, 0, 1, 0x80,
	0x0c, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0c, 0, 5, 0, 0xff, 0x0f, 0, 0, 0, 0, 0, 0,
	8, 0, 1, 0, 4, 0, 0, 0,
	HEAD(72), 0x2c, 0, 8, 0x80, 0x28, 0, 0, 0x80, 0x24, 0, 2, 0x80,
	0x0c, 0, 2, 0, 0, 0, 0, 0x80, 0xff, 0xff, 0xff, 0xff,
	0x0c, 0, 3, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 8, 0, 1, 0, 8, 0, 0, 0,
	HEAD(72), 0x2c, 0, 8, 0x80, 0x28, 0, 0, 0x80, 0x24, 0, 3, 0x80,
	0x0c, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0c, 0, 5, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
	8, 0, 1, 0, 4, 0, 0, 0,
#undef HEAD
};

static void dump_recorded(struct nl_sock *sk, uint32_t seq)
{
	uint8_t bytes[sizeof(dump_6_12)];

	memcpy(bytes, dump_6_12, sizeof(bytes));
	for (size_t at = 0; at < sizeof(bytes); at += bytes[at])
		memcpy(bytes + at + offsetof(struct nlmsghdr, nlmsg_seq), &seq, sizeof(seq));
	kernel_sends_bytes(sk, bytes, sizeof(bytes));
	kernel_sends(sk, end_of_dump(seq, 0));
}

static void test_6_12(struct world *w, gconstpointer unused)
{
	assert_linux_6_12(join(w));
	g_assert_cmpuint(w->n_dumps, ==, 1);
	g_assert_cmpuint(w->n_probes, ==, 0);
	g_assert_cmpuint(w->n_debug, ==, 1);
	g_assert_cmpstr(w->debug->str, ==, "netlink: the kernel lists the attributes of DONE: 1 u32, 2 s32, 3 u32; remote-auth is sent");
	if (G_BYTE_ORDER != G_LITTLE_ENDIAN)
		return;
	w->dump = dump_recorded;
	w->nl->policy = (struct netlink_policy){ 0 };
	assert_linux_6_12(join(w));
	g_assert_cmpuint(w->n_probes, ==, 0);
}

/* All numbers there are, of every length of name, fit the text. */
static void test_most(struct world *w, gconstpointer unused)
{
	struct listed most[NETLINK_POLICY_ATTRS] = { 0 };

	for (int i = 1; i < NETLINK_POLICY_ATTRS; i++)
		most[i - 1] = (struct listed){ i, i < 4 ? NL_ATTR_TYPE_S32 :
							  NL_ATTR_TYPE_BITFIELD32 };
	w->listed = most;
	g_assert_cmpint(join(w)->remote_auth, ==, NETLINK_TAKEN);
	g_assert_true(g_str_has_suffix(w->debug->str, ", 31 bitfield32; remote-auth is sent"));
}

static void test_other_types(struct world *w, gconstpointer unused)
{
	struct listed other[] = {
		{ 1, NL_ATTR_TYPE_U32 }, { 2, NL_ATTR_TYPE_S32 }, { 3, 0 }, { 0 }
	};

	for (uint32_t type = 1; type < 300; type++) {
		bool number = type == NL_ATTR_TYPE_U32 || type == NL_ATTR_TYPE_S32;

		other[2].type = type;
		w->listed = other;
		g_assert_cmpint(join(w)->remote_auth, ==, number ? NETLINK_TAKEN : NETLINK_REFUSED);
		g_assert_cmpuint(w->n_probes, ==, 0);
	}
	other[2].type = NL_ATTR_TYPE_INVALID;
	g_assert_false(join(w)->dumped);
	g_assert_cmpuint(w->n_probes, ==, 1);
	/* Where status or sockfd is something else, it is not the policy of a DONE. */
	other[2].type = NL_ATTR_TYPE_U32;
	other[1].type = NL_ATTR_TYPE_U64;
	g_assert_false(join(w)->dumped);
	g_assert_cmpuint(w->n_probes, ==, 1);
	other[1].type = NL_ATTR_TYPE_S32;
	other[0].number = 7;
	g_assert_false(join(w)->dumped);
	g_assert_cmpuint(w->n_probes, ==, 1);
}

/* The policies of other operations and of nested attributes are not DONE's. */
static void dump_several(struct nl_sock *sk, uint32_t seq)
{
	kernel_sends(sk, operation(seq, HANDSHAKE_CMD_ACCEPT, 0));
	kernel_sends(sk, operation(seq, HANDSHAKE_CMD_DONE, 1));
	kernel_sends(sk, operation(seq, HANDSHAKE_CMD_DONE + 1, 2));
	for (uint32_t index = 0; index < 3; index++) {
		kernel_sends(sk, attribute(seq, index, 1, index == 1 ? NL_ATTR_TYPE_U32 : 9));
		kernel_sends(sk, attribute(seq, index, 2, index == 1 ? NL_ATTR_TYPE_S32 : 9));
		if (index != 1)
			kernel_sends(sk, attribute(seq, index, 3, NL_ATTR_TYPE_U32));
	}
	kernel_sends(sk, end_of_dump(seq, 0));
}

/* In answer to an earlier question; then the right one. */
static void dump_stale(struct nl_sock *sk, uint32_t seq)
{
	kernel_sends(sk, attribute(seq - 1, 0, 3, NL_ATTR_TYPE_STRING));
	kernel_sends(sk, end_of_dump(seq - 1, -EINVAL));
	kernel_sends(sk, error_reply(seq - 1, -EINVAL));
	dump_listed(sk, seq);
}

static void test_others(struct world *w, gconstpointer unused)
{
	w->dump = dump_several;
	g_assert_cmpint(join(w)->remote_auth, ==, NETLINK_REFUSED);
	g_assert_true(w->nl->policy.dumped);
	w->dump = dump_stale;
	assert_linux_6_12(join(w));
	g_assert_cmpuint(w->n_probes, ==, 0);
}

/* --- dumps that are none --- */

static unsigned int cut_message, cut_len;

static void send_cut(struct nl_sock *sk, struct nl_msg *msg, unsigned int number)
{
	if (number == cut_message)
		nlmsg_hdr(msg)->nlmsg_len = cut_len;
	kernel_sends(sk, msg);
}

static void dump_cut(struct nl_sock *sk, uint32_t seq)
{
	unsigned int number = 0;

	send_cut(sk, operation(seq, HANDSHAKE_CMD_DONE, 0), number++);
	for (const struct listed *l = linux_6_12; l->number; l++)
		send_cut(sk, attribute(seq, 0, l->number, l->type), number++);
	kernel_sends(sk, end_of_dump(seq, 0));
}

/* Any message ends anywhere: never is that taken for "not listed". */
static void test_truncated(struct world *w, gconstpointer unused)
{
	unsigned int lengths[] = { 44, 72, 72, 72 };

	w->dump = dump_cut;
	for (cut_message = 0; cut_message < 4; cut_message++) {
		for (cut_len = NLMSG_HDRLEN; cut_len < lengths[cut_message]; cut_len++) {
			w->with = -EPERM;
			g_assert_cmpint(join(w)->remote_auth, ==, NETLINK_UNTOLD);
			g_assert_cmpuint(w->n_probes, ==, 1);
			w->with = 0;
			g_assert_cmpint(join(w)->remote_auth, ==, NETLINK_TAKEN);
			g_assert_false(w->nl->policy.dumped);
			g_assert_cmpuint(w->n_probes, ==, 1);
		}
	}
	cut_message = 9;
	assert_linux_6_12(join(w));
}

static void dump_random(struct nl_sock *sk, uint32_t seq)
{
	static GRand *rng;
	struct nl_msg *msg = policy_message(seq);
	uint32_t *data;
	int words;

	if (!rng)
		rng = g_rand_new_with_seed(SEED);
	words = g_rand_int_range(rng, 0, 40);
	data = nlmsg_reserve(msg, 4 * (size_t)words, 4);
	for (int i = 0; i < words; i++)
		data[i] = g_rand_int(rng);
	/* Mostly so that attributes look like some. */
	for (int i = 0; i < words && g_rand_int_range(rng, 0, 3); i++)
		data[i] = (uint32_t)g_rand_int_range(rng, 0, 60) |
			  (uint32_t)g_rand_int_range(rng, 0, 12) << 16;
	kernel_sends(sk, operation(seq, HANDSHAKE_CMD_DONE, 0));
	kernel_sends(sk, msg);
	kernel_sends(sk, end_of_dump(seq, 0));
}

static void test_random(struct world *w, gconstpointer unused)
{
	unsigned int n_probed = 0;

	w->dump = dump_random;
	for (unsigned int i = 0; i < 10000; i++) {
		join(w);
		n_probed += w->n_probes;
	}
	g_assert_cmpuint(n_probed, >, 9000);
}

/* --- the probe --- */

/* An answer that is no dump, and what the kernel says to the probes. */
static void test_probe(struct world *w, gconstpointer unused)
{
	static const struct {
		int with, without;
		enum netlink_takes want;
		unsigned int n_probes;
		const char *said;
	} cases[] = {
		{ -EBADF, SILENT, NETLINK_TAKEN, 1, "remote-auth is sent" },
		{ -EINVAL, -EBADF, NETLINK_REFUSED, 2, "remote-auth is not sent" },
		/* It refuses more than remote-auth, and so says nothing of that. */
		{ -EINVAL, -EINVAL, NETLINK_UNTOLD, 2, "remote-auth is tried" },
		{ -EINVAL, SILENT, NETLINK_UNTOLD, 2, "remote-auth is tried" },
		{ -EPERM, -EBADF, NETLINK_UNTOLD, 1, "remote-auth is tried" },
		{ -ENOENT, -EBADF, NETLINK_UNTOLD, 1, "remote-auth is tried" },
		{ SILENT, -EBADF, NETLINK_UNTOLD, 1, "remote-auth is tried" },
	};
	static const int errors[] = { -EOPNOTSUPP, -EINVAL, -ENOENT, -ENODATA, -EPERM, SILENT };

	for (size_t e = 0; e < 3 * G_N_ELEMENTS(errors); e++) {
		w->dump = e % 3 ? dump_listed : dump_nothing;
		w->listed = linux_6_12 + (e % 3 == 1 ? 0 : 3);
		w->dump_error = errors[e / 3];
		for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
			w->with = cases[i].with;
			w->without = cases[i].without;
			g_assert_cmpint(join(w)->remote_auth, ==, cases[i].want);
			g_assert_cmpuint(w->n_probes, ==, cases[i].n_probes);
			g_assert_false(w->nl->policy.dumped);
			assert_said(w->debug, cases[i].said);
		}
	}
}

/* --- this host's kernel --- */

/* DONE for no socket with an attribute that no kernel has. */
static int done_with(struct nl_sock *sk, int family, int number)
{
	CLEANUP(netlink_free_msg) struct nl_msg *msg = nlmsg_alloc();

	g_assert_cmpint(netlink_compose(msg, family, HANDSHAKE_CMD_DONE, 1, NLM_F_ACK), ==, 0);
	nla_put_u32(msg, HANDSHAKE_A_DONE_STATUS, EIO);
	nla_put_s32(msg, HANDSHAKE_A_DONE_SOCKFD, -1);
	nla_put_u32(msg, number, 1);
	return netlink_command(sk, msg, NULL, NULL);
}

static void test_this_kernel(void)
{
	CLEANUP(netlink_free_sock) struct nl_sock *sk = NULL;
	CLEANUP(netlink_free_msg) struct nl_msg *msg = nlmsg_alloc();
	struct netlink_policy policy = { 0 };
	char text[NETLINK_POLICY_TEXT];
	struct found found;
	int family;

	world_use_real_kernel();
	g_assert_cmpint(open_resolver(&sk), ==, 0);
	if (find_family(sk, msg, HANDSHAKE_FAMILY_NAME, HANDSHAKE_MCGRP_TLSHD, &found) < 0) {
		g_test_skip("this kernel has no handshake family; tests/vm runs this on one that does");
		return;
	}
	family = found.family;
	g_assert_true(learn_by_dump(sk, msg, family, &policy));
	netlink_policy_text(&policy, text, sizeof(text));
	g_test_message("%s", text);
	g_assert_cmpint(policy.remote_auth, ==, NETLINK_TAKEN);
	/* Both ways to ask come to the same. */
	g_assert_cmpint(learn_by_probe(sk, msg, family), ==, NETLINK_TAKEN);
	for (int number = 1; number < NETLINK_POLICY_ATTRS; number++) {
		if (!policy.types[number])
			g_assert_cmpint(done_with(sk, family, number), ==, -EINVAL);
	}
	netlink_policy_learn(sk, msg, family, &policy);
	g_assert_true(policy.dumped);
}

#define ADD(name, fn) \
	g_test_add("/netlink-policy/" name, struct world, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("6.12", test_6_12);
	ADD("most", test_most);
	ADD("other-types", test_other_types);
	ADD("others", test_others);
	ADD("truncated", test_truncated);
	ADD("random", test_random);
	ADD("probe", test_probe);
	g_test_add_func("/netlink-policy/this-kernel", test_this_kernel);
	return g_test_run();
}
