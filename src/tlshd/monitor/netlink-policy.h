/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DONE, and which of its optional attributes this kernel takes. For netlink.c
 * only. docs/PROTOCOL.md, "The kernel", says why a kernel has to be asked.
 */
#ifndef TLSHD_MONITOR_NETLINK_POLICY_H
#define TLSHD_MONITOR_NETLINK_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nl_msg;
struct nl_sock;

#define NETLINK_POLICY_ATTRS 32	/* numbers that are remembered; those above are nothing to us */
#define NETLINK_POLICY_TEXT 512	/* bytes that hold any netlink_policy_text() */

enum netlink_takes {
	NETLINK_UNTOLD,		/* the kernel did not say, or was not asked */
	NETLINK_TAKEN,
	NETLINK_REFUSED,
};

struct netlink_policy {
	enum netlink_takes remote_auth;
	bool dumped;		/* @types are what the kernel listed */
	uint8_t types[NETLINK_POLICY_ATTRS];	/* NL_ATTR_TYPE_* by number; 0: not taken */
};

/*
 * Asks the kernel: for the policy of DONE, and where that is not to be had, by
 * a DONE for no socket. Neither reaches a request. @sk is one of
 * netlink_for_commands(), @msg one of the library's that is used for it, @family
 * the family's id. Never fails: what could not be learnt is NETLINK_UNTOLD.
 */
void netlink_policy_learn(struct nl_sock *sk, struct nl_msg *msg, int family,
			  struct netlink_policy *ret);

bool netlink_policy_equal(const struct netlink_policy *a, const struct netlink_policy *b);

/* What is known, in words for the log. */
void netlink_policy_text(const struct netlink_policy *policy, char *buf, size_t size);

/*
 * Sends one DONE, with remote-auth unless @remote_auth is 0, and reads the
 * kernel's answer to it. @msg is used for it. Returns as netlink_command().
 */
int netlink_send_done(struct nl_sock *sk, struct nl_msg *msg, int family, int fd,
		      unsigned int status, uint32_t remote_auth);

#endif
