// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel checks DONE strictly: one attribute that it does not have, and the
 * whole answer is refused. Status and sockfd every kernel has, and DONE makes
 * no sense without them. What is beyond is optional, and sent only to a kernel
 * that takes it: today that is remote-auth, number 3.
 *
 * Numbers above 3 are not sent, whatever the kernel lists. Two series that are
 * not merged both use number 4, one for the tags of a session (a string), one
 * for a session's id. A policy tells number and type, never a name, and a
 * number nobody has assigned may be given to a third thing of either type; so
 * an attribute is sent only once its number is in a released kernel. That
 * holds for 3, and the type is compared, too.
 */
#include "tlshd/monitor/netlink-policy.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "tlshd/monitor/netlink-command.h"
#include "uapi/handshake.h"

#define NO_INDEX UINT32_MAX
#define TYPE_UNKNOWN UINT8_MAX	/* in types[]: later than this file */

/* A dump as far as it has been read. */
struct dump {
	uint32_t index;		/* of DONE's policy among those of the dump */
	bool malformed;
	uint8_t types[NETLINK_POLICY_ATTRS];
};

int netlink_send_done(struct nl_sock *sk, struct nl_msg *msg, int family, int fd,
		      unsigned int status, uint32_t remote_auth)
{
	int r = netlink_compose(msg, family, HANDSHAKE_CMD_DONE, HANDSHAKE_FAMILY_VERSION,
				NLM_F_ACK);

	if (r < 0)
		return r;
	if (nla_put_u32(msg, HANDSHAKE_A_DONE_STATUS, status) < 0 ||
	    nla_put_s32(msg, HANDSHAKE_A_DONE_SOCKFD, fd) < 0)
		return -ENOMEM;
	if (remote_auth && nla_put_u32(msg, HANDSHAKE_A_DONE_REMOTE_AUTH, remote_auth) < 0)
		return -ENOMEM;
	return netlink_command(sk, msg, NULL, NULL);
}

/* --- the policy, as nlctrl lists it --- */

static bool get_number(struct nlattr *attr, uint32_t *ret)
{
	if (nla_len(attr) < (int)sizeof(*ret))
		return false;
	*ret = nla_get_u32(attr);
	return true;
}

/* OP_POLICY: { command: { DO: index of its policy, DUMP: ... } } */
static void parse_operations(struct nlattr *operations, struct dump *dump)
{
	struct nlattr *op, *attr;
	int left, left_of_op;

	nla_for_each_nested(op, operations, left) {
		if (nla_type(op) != HANDSHAKE_CMD_DONE)
			continue;
		nla_for_each_nested(attr, op, left_of_op) {
			if (nla_type(attr) == CTRL_ATTR_POLICY_DO)
				dump->malformed |= !get_number(attr, &dump->index);
		}
		dump->malformed |= left_of_op != 0;
	}
	dump->malformed |= left != 0;
}

/* { TYPE: NL_ATTR_TYPE_*, limits of its value... } */
static void parse_description(struct nlattr *description, struct dump *dump)
{
	int number = nla_type(description), left;
	uint32_t type = NL_ATTR_TYPE_INVALID;
	struct nlattr *attr;

	nla_for_each_nested(attr, description, left) {
		if (nla_type(attr) == NL_POLICY_TYPE_ATTR_TYPE)
			dump->malformed |= !get_number(attr, &type);
	}
	dump->malformed |= left != 0 || type == NL_ATTR_TYPE_INVALID;
	if (number < NETLINK_POLICY_ATTRS)
		dump->types[number] = type < TYPE_UNKNOWN ? type : TYPE_UNKNOWN;
}

/*
 * POLICY: { index: { attribute: its description } }. The policies of nested
 * attributes have an index, too.
 */
static void parse_policies(struct nlattr *policies, struct dump *dump)
{
	struct nlattr *policy, *description;
	int left, left_of_policy;

	nla_for_each_nested(policy, policies, left) {
		if ((uint32_t)nla_type(policy) != dump->index)
			continue;
		nla_for_each_nested(description, policy, left_of_policy)
			parse_description(description, dump);
		dump->malformed |= left_of_policy != 0;
	}
	dump->malformed |= left != 0;
}

/* The kernel says first which policy is an operation's, then one attribute in each message. */
static void on_policy(struct nlmsghdr *hdr, void *ctx)
{
	struct dump *dump = ctx;
	struct nlattr *attr;
	bool empty = true;
	int left;

	if (hdr->nlmsg_type != GENL_ID_CTRL || !genlmsg_valid_hdr(hdr, 0) ||
	    genlmsg_hdr(hdr)->cmd != CTRL_CMD_GETPOLICY) {
		dump->malformed = true;
		return;
	}
	nla_for_each_attr(attr, genlmsg_attrdata(genlmsg_hdr(hdr), 0),
			  genlmsg_attrlen(genlmsg_hdr(hdr), 0), left) {
		int type = nla_type(attr);

		if (type == CTRL_ATTR_OP_POLICY)
			parse_operations(attr, dump);
		else if (type == CTRL_ATTR_POLICY)
			parse_policies(attr, dump);
		empty &= type != CTRL_ATTR_OP_POLICY && type != CTRL_ATTR_POLICY;
	}
	dump->malformed |= left != 0 || empty;
}

/* Key serials are s32 in some places of the kernel and u32 in others, the same four bytes. */
static bool is_number(uint8_t type)
{
	return type == NL_ATTR_TYPE_U32 || type == NL_ATTR_TYPE_S32;
}

/* Returns false when the answer, if any, does not describe a DONE. */
static bool learn_by_dump(struct nl_sock *sk, struct nl_msg *msg, int family,
			  struct netlink_policy *ret)
{
	struct dump dump = { .index = NO_INDEX };

	if (netlink_compose(msg, GENL_ID_CTRL, CTRL_CMD_GETPOLICY, CTRL_VERSION, NLM_F_DUMP) < 0 ||
	    nla_put_u16(msg, CTRL_ATTR_FAMILY_ID, (uint16_t)family) < 0 ||
	    nla_put_u32(msg, CTRL_ATTR_OP, HANDSHAKE_CMD_DONE) < 0)
		return false;
	if (netlink_command(sk, msg, on_policy, &dump) < 0 || dump.malformed ||
	    !is_number(dump.types[HANDSHAKE_A_DONE_STATUS]) ||
	    !is_number(dump.types[HANDSHAKE_A_DONE_SOCKFD]))
		return false;
	ret->dumped = true;
	memcpy(ret->types, dump.types, sizeof(ret->types));
	ret->remote_auth = is_number(dump.types[HANDSHAKE_A_DONE_REMOTE_AUTH]) ? NETLINK_TAKEN :
										 NETLINK_REFUSED;
	return true;
}

/* --- the probe --- */

/*
 * A DONE for descriptor -1. The attributes are checked before the descriptor is
 * looked up: EBADF means that they all pass. EINVAL has many reasons; it is
 * remote-auth's only if the same without it gives EBADF. The status is that of
 * a failure, for a kernel that would find a request all the same.
 */
static enum netlink_takes learn_by_probe(struct nl_sock *sk, struct nl_msg *msg, int family)
{
	int r = netlink_send_done(sk, msg, family, -1, EIO, 1);

	if (r == -EBADF)
		return NETLINK_TAKEN;
	if (r == -EINVAL && netlink_send_done(sk, msg, family, -1, EIO, 0) == -EBADF)
		return NETLINK_REFUSED;
	return NETLINK_UNTOLD;
}

void netlink_policy_learn(struct nl_sock *sk, struct nl_msg *msg, int family,
			  struct netlink_policy *ret)
{
	*ret = (struct netlink_policy){ 0 };
	if (!learn_by_dump(sk, msg, family, ret))
		ret->remote_auth = learn_by_probe(sk, msg, family);
}

bool netlink_policy_equal(const struct netlink_policy *a, const struct netlink_policy *b)
{
	return a->remote_auth == b->remote_auth && a->dumped == b->dumped &&
	       !memcmp(a->types, b->types, sizeof(a->types));
}

/* --- in words --- */

static const char *type_name(uint8_t type)
{
	static const char *const names[] = {
		[NL_ATTR_TYPE_FLAG] = "flag", [NL_ATTR_TYPE_U8] = "u8", [NL_ATTR_TYPE_U16] = "u16",
		[NL_ATTR_TYPE_U32] = "u32", [NL_ATTR_TYPE_U64] = "u64", [NL_ATTR_TYPE_S8] = "s8",
		[NL_ATTR_TYPE_S16] = "s16", [NL_ATTR_TYPE_S32] = "s32", [NL_ATTR_TYPE_S64] = "s64",
		[NL_ATTR_TYPE_BINARY] = "binary", [NL_ATTR_TYPE_STRING] = "string",
		[NL_ATTR_TYPE_NUL_STRING] = "string", [NL_ATTR_TYPE_NESTED] = "nest",
		[NL_ATTR_TYPE_NESTED_ARRAY] = "array", [NL_ATTR_TYPE_BITFIELD32] = "bitfield32",
	};

	return type < ARRAY_SIZE(names) && names[type] ? names[type] : "other";
}

void netlink_policy_text(const struct netlink_policy *policy, char *buf, size_t size)
{
	static const char *const verdicts[] = {
		[NETLINK_UNTOLD] = "remote-auth is tried",
		[NETLINK_TAKEN] = "remote-auth is sent",
		[NETLINK_REFUSED] = "remote-auth is not sent",
	};
	size_t len = 0;

	if (!policy->dumped) {
		snprintf(buf, size, "the kernel does not list the attributes of DONE; after a probe %s",
			 verdicts[policy->remote_auth]);
		return;
	}
	snprintf(buf, size, "the kernel lists the attributes of DONE:");
	for (unsigned int i = 0; i < NETLINK_POLICY_ATTRS; i++) {
		if (!policy->types[i])
			continue;
		len = strlen(buf);
		snprintf(buf + len, size - len, " %u %s,", i, type_name(policy->types[i]));
	}
	len = strlen(buf) - 1;
	snprintf(buf + len, size - len, "; %s", verdicts[policy->remote_auth]);
}
