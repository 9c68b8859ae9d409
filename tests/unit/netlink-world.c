// SPDX-License-Identifier: GPL-2.0-or-later
#include "netlink-world.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <netlink/genl/genl.h>
#include <string.h>
#include <unistd.h>

#include "uapi/handshake.h"

int __real_nl_connect(struct nl_sock *sk, int protocol);
int __wrap_nl_connect(struct nl_sock *sk, int protocol);
int __real_nl_send(struct nl_sock *sk, struct nl_msg *msg);
int __wrap_nl_send(struct nl_sock *sk, struct nl_msg *msg);
int __wrap_nl_socket_add_membership(struct nl_sock *sk, int group);

const struct listed linux_6_12[4] = {
	{ HANDSHAKE_A_DONE_STATUS, NL_ATTR_TYPE_U32 },
	{ HANDSHAKE_A_DONE_SOCKFD, NL_ATTR_TYPE_S32 },
	{ HANDSHAKE_A_DONE_REMOTE_AUTH, NL_ATTR_TYPE_U32 },
};

const struct listed no_remote_auth[3] = {
	{ HANDSHAKE_A_DONE_STATUS, NL_ATTR_TYPE_U32 },
	{ HANDSHAKE_A_DONE_SOCKFD, NL_ATTR_TYPE_S32 },
};

static struct world *world;	/* NULL: a real kernel */

/* --- the kernel's side --- */

struct nl_msg *policy_message(uint32_t seq)
{
	struct nl_msg *msg = nlmsg_alloc();

	g_assert_nonnull(genlmsg_put(msg, 0, seq, GENL_ID_CTRL, 0, NLM_F_MULTI, CTRL_CMD_GETPOLICY,
				     2));
	nla_put_u16(msg, CTRL_ATTR_FAMILY_ID, FAMILY);
	return msg;
}

static struct nlattr *nest(struct nl_msg *msg, int type)
{
	return nla_nest_start(msg, type | NLA_F_NESTED);
}

struct nl_msg *operation(uint32_t seq, int cmd, uint32_t index)
{
	struct nl_msg *msg = policy_message(seq);
	struct nlattr *all = nest(msg, CTRL_ATTR_OP_POLICY), *op = nest(msg, cmd);

	nla_put_u32(msg, CTRL_ATTR_POLICY_DO, index);
	nla_nest_end(msg, op);
	nla_nest_end(msg, all);
	return msg;
}

struct nl_msg *attribute(uint32_t seq, uint32_t index, int number, uint32_t type)
{
	struct nl_msg *msg = policy_message(seq);
	struct nlattr *all = nest(msg, CTRL_ATTR_POLICY), *policy = nest(msg, (int)index);
	struct nlattr *description = nest(msg, number);

	nla_put_u64(msg, NL_POLICY_TYPE_ATTR_MIN_VALUE_U, 0);
	nla_put_u64(msg, NL_POLICY_TYPE_ATTR_MAX_VALUE_U, 4095);
	nla_put_u32(msg, NL_POLICY_TYPE_ATTR_TYPE, type);
	nla_nest_end(msg, description);
	nla_nest_end(msg, policy);
	nla_nest_end(msg, all);
	return msg;
}

struct nl_msg *end_of_dump(uint32_t seq, int error)
{
	struct nl_msg *msg = nlmsg_alloc();

	nlmsg_put(msg, 0, seq, NLMSG_DONE, sizeof(error), NLM_F_MULTI);
	memcpy(nlmsg_data(nlmsg_hdr(msg)), &error, sizeof(error));
	return msg;
}

void dump_listed(struct nl_sock *sk, uint32_t seq)
{
	kernel_sends(sk, operation(seq, HANDSHAKE_CMD_DONE, 0));
	for (const struct listed *l = world->listed; l->number; l++)
		kernel_sends(sk, attribute(seq, 0, l->number, l->type));
	if (world->dump_error != SILENT)
		kernel_sends(sk, end_of_dump(seq, world->dump_error));
}

void dump_nothing(struct nl_sock *sk, uint32_t seq)
{
	if (world->dump_error != SILENT)
		kernel_sends(sk, error_reply(seq, world->dump_error));
}

struct nl_msg *family_message(uint32_t seq, int family, const char *group)
{
	struct nl_msg *msg = nlmsg_alloc();
	struct nlattr *all, *one;

	g_assert_nonnull(genlmsg_put(msg, 0, seq, GENL_ID_CTRL, 0, 0, CTRL_CMD_NEWFAMILY, 2));
	nla_put_u16(msg, CTRL_ATTR_FAMILY_ID, (uint16_t)family);
	all = nest(msg, CTRL_ATTR_MCAST_GROUPS);
	one = nest(msg, 1);
	nla_put_u32(msg, CTRL_ATTR_MCAST_GRP_ID, GROUP + 1);
	nla_put_string(msg, CTRL_ATTR_MCAST_GRP_NAME, "none");
	nla_nest_end(msg, one);
	one = nest(msg, 2);
	nla_put_u32(msg, CTRL_ATTR_MCAST_GRP_ID, GROUP);
	nla_put_string(msg, CTRL_ATTR_MCAST_GRP_NAME, group);
	nla_nest_end(msg, one);
	nla_nest_end(msg, all);
	return msg;
}

static void fake_family(struct nl_sock *sk, struct nlmsghdr *hdr)
{
	const char *name = nla_get_string(nlmsg_find_attr(hdr, GENL_HDRLEN,
							  CTRL_ATTR_FAMILY_NAME));

	if (!strcmp(name, "nlctrl")) {
		kernel_sends(sk, family_message(hdr->nlmsg_seq, GENL_ID_CTRL, "notify"));
		return;
	}
	g_assert_cmpstr(name, ==, HANDSHAKE_FAMILY_NAME);
	if (world->family == SILENT)
		return;
	kernel_sends(sk, world->family < 0 ? error_reply(hdr->nlmsg_seq, world->family) :
			 family_message(hdr->nlmsg_seq, world->family, HANDSHAKE_MCGRP_TLSHD));
}

static void fake_policy(struct nl_sock *sk, struct nlmsghdr *hdr)
{
	struct nlattr *family = nlmsg_find_attr(hdr, GENL_HDRLEN, CTRL_ATTR_FAMILY_ID);
	struct nlattr *op = nlmsg_find_attr(hdr, GENL_HDRLEN, CTRL_ATTR_OP);

	g_assert_cmpint(genlmsg_hdr(hdr)->cmd, ==, CTRL_CMD_GETPOLICY);
	g_assert_cmpint(hdr->nlmsg_flags & NLM_F_DUMP, ==, NLM_F_DUMP);
	g_assert_cmpuint(nla_get_u16(family), ==, (unsigned int)world->family);
	g_assert_cmpuint(nla_get_u32(op), ==, HANDSHAKE_CMD_DONE);
	world->n_dumps++;
	world->dump(sk, hdr->nlmsg_seq);
}

static void fake_done(struct nl_sock *sk, struct nlmsghdr *hdr)
{
	int fd = nla_get_s32(nlmsg_find_attr(hdr, GENL_HDRLEN, HANDSHAKE_A_DONE_SOCKFD));
	struct nlattr *auth = nlmsg_find_attr(hdr, GENL_HDRLEN, HANDSHAKE_A_DONE_REMOTE_AUTH);
	uint32_t status = nla_get_u32(nlmsg_find_attr(hdr, GENL_HDRLEN, HANDSHAKE_A_DONE_STATUS));
	int error = auth ? world->with : world->without;

	/* Nothing else is in any DONE. */
	g_assert_cmpint(nlmsg_attrlen(hdr, GENL_HDRLEN), ==, auth ? 24 : 16);
	g_assert_true(hdr->nlmsg_flags & NLM_F_ACK);
	world->last_had_auth = auth != NULL;
	if (fd < 0) {
		/* If this completed anything, it would be a failure. */
		g_assert_cmpuint(status, !=, 0);
		g_assert_true(sk != world->commands);
		world->n_probes++;
		if (!error)
			error = -EBADF;
	} else {
		g_assert_cmpint(fd, ==, 5);
		g_assert_cmpuint(status, ==, 0);
		g_assert_true(sk == world->commands);
		if (auth)
			g_assert_cmpuint(nla_get_u32(auth), ==, AUTH);
		world->n_done++;
	}
	if (error != SILENT)
		kernel_sends(sk, error_reply(hdr->nlmsg_seq, error));
}

int __wrap_nl_send(struct nl_sock *sk, struct nl_msg *msg)
{
	struct nlmsghdr *hdr = nlmsg_hdr(msg);

	if (!world)
		return __real_nl_send(sk, msg);
	if (hdr->nlmsg_type == GENL_ID_CTRL) {
		g_assert_true(sk != world->commands);
		if (genlmsg_hdr(hdr)->cmd == CTRL_CMD_GETFAMILY)
			fake_family(sk, hdr);
		else
			fake_policy(sk, hdr);
		return 1;
	}
	g_assert_cmpint(hdr->nlmsg_type, ==, world->family);
	g_assert_cmpint(genlmsg_hdr(hdr)->cmd, ==, HANDSHAKE_CMD_DONE);
	fake_done(sk, hdr);
	return 1;
}

int __wrap_nl_connect(struct nl_sock *sk, int protocol)
{
	return __real_nl_connect(sk, world ? NETLINK_USERSOCK : protocol);
}

int __wrap_nl_socket_add_membership(struct nl_sock *sk, int group)
{
	g_assert_cmpint(group, ==, GROUP);
	return 0;
}

/* --- the test's side --- */

static void sink(void *ctx, int priority, const char *text, const struct log_field *fields,
		 size_t n_fields)
{
	struct world *w = ctx;

	g_string_assign(priority == LOG_DEBUG ? w->debug : w->warnings, text);
	if (priority == LOG_DEBUG)
		w->n_debug++;
	else
		w->n_warnings++;
}

void world_set_up(struct world *w)
{
	alarm(60);
	world = w;
	w->log = (struct log){ LOG_DEBUG, sink, w };
	w->debug = g_string_new("");
	w->warnings = g_string_new("");
	w->family = FAMILY;
	w->dump = dump_listed;
	w->listed = linux_6_12;
	g_assert_cmpint(netlink_open(&w->nl, &w->log), ==, 0);
}

void world_tear_down(struct world *w)
{
	netlink_close(w->nl);
	g_string_free(w->debug, TRUE);
	g_string_free(w->warnings, TRUE);
	alarm(0);
}

void world_join(struct world *w)
{
	enum netlink_join joined = NETLINK_NO_FAMILY;
	unsigned int n_done = w->n_done;

	w->n_dumps = w->n_probes = 0;
	g_assert_cmpint(netlink_join(w->nl, &joined), ==, 0);
	g_assert_cmpint(joined, ==, w->family < 0 ? NETLINK_NO_FAMILY : NETLINK_JOINED);
	g_assert_cmpuint(w->n_done, ==, n_done);
}

void world_use_real_kernel(void)
{
	world = NULL;
}

void assert_said(const GString *said, const char *part)
{
	if (!strstr(said->str, part))
		g_error("not said: \"%s\", but: \"%s\"", part, said->str);
}

void assert_linux_6_12(const struct netlink_policy *policy)
{
	g_assert_true(policy->dumped);
	g_assert_cmpint(policy->remote_auth, ==, NETLINK_TAKEN);
	for (int i = 0; i < NETLINK_POLICY_ATTRS; i++)
		g_assert_cmpuint(policy->types[i], ==, i == 1 || i == 3 ? NL_ATTR_TYPE_U32 :
						       i == 2 ? NL_ATTR_TYPE_S32 : 0);
}
