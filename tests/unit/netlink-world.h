/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the tests of what DONE may carry: a kernel that lists a policy, takes or
 * refuses DONEs and counts them. In place of the library's functions by --wrap.
 */
#ifndef TLSHD_TESTS_NETLINK_WORLD_H
#define TLSHD_TESTS_NETLINK_WORLD_H

#include <glib.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/log.h"
#include "netlink-kernel.h"
#include "tlshd/monitor/netlink-policy.h"
#include "tlshd/monitor/netlink.h"

#define FAMILY 27
#define GROUP 3
#define SILENT 1	/* in place of an errno: no answer */
#define AUTH 0x2bad5eed	/* the remote-auth of netlink_done() in the tests; the descriptor is 5 */

/* An attribute of DONE's policy. */
struct listed {
	int number;
	uint32_t type;
};

extern const struct listed linux_6_12[4], no_remote_auth[3];	/* ended by a 0 */

struct world {
	struct log log;
	struct netlink *nl;
	struct nl_sock *commands;	/* of @nl: only DONEs of requests may come there */
	int family;		/* as nlctrl says; negative: an error; SILENT */
	/* The kernel's answers. */
	void (*dump)(struct nl_sock *sk, uint32_t seq);
	const struct listed *listed;
	int dump_error;		/* SILENT, or how the dump begins or ends */
	int with, without;	/* to a DONE with and without optional attributes; EBADF for no socket */
	/* What was asked, and said. */
	unsigned int n_dumps, n_probes, n_done;
	bool last_had_auth;
	GString *debug, *warnings;	/* the last of each */
	unsigned int n_debug, n_warnings;
};

/* @commands is the caller's to set. */
void world_set_up(struct world *w);
void world_tear_down(struct world *w);
/* netlink_join(), which must go well; counts its questions. */
void world_join(struct world *w);
/* From here on, without a world: this host's kernel. */
void world_use_real_kernel(void);
void assert_said(const GString *said, const char *part);
/* That is what the dump of Linux 6.12 says. */
void assert_linux_6_12(const struct netlink_policy *policy);

/* What nlctrl says of a family with two groups, as the kernel makes it. */
struct nl_msg *family_message(uint32_t seq, int family, const char *group);
/* Messages of a dump, as the kernel makes them. */
struct nl_msg *policy_message(uint32_t seq);
struct nl_msg *operation(uint32_t seq, int cmd, uint32_t index);
struct nl_msg *attribute(uint32_t seq, uint32_t index, int number, uint32_t type);
struct nl_msg *end_of_dump(uint32_t seq, int error);
/* The whole dump that the world has; the default. */
void dump_listed(struct nl_sock *sk, uint32_t seq);
/* An error in place of a dump. */
void dump_nothing(struct nl_sock *sk, uint32_t seq);

#endif
