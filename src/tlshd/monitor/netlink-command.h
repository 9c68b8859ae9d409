/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One command of generic netlink and the kernel's answer to it: what
 * netlink.c and netlink-policy.c share. For these two only.
 */
#ifndef TLSHD_MONITOR_NETLINK_COMMAND_H
#define TLSHD_MONITOR_NETLINK_COMMAND_H

#include <stdint.h>

struct nl_cb;
struct nl_msg;
struct nl_sock;

/*
 * libnl's error code @nle, of either sign, as a negative errno or 0. Only what
 * these files meet: libnl folds many errnos into few codes, the rest is -EIO.
 */
int netlink_errno(int nle);

/* A generic netlink socket, blocking. Returns 0 or a negative errno. */
int netlink_connect(struct nl_sock **ret);

/*
 * Makes @sk one for netlink_command(): it does not block, and asks for an ACK
 * only where the message's flags do. Returns 0 or a negative errno.
 */
int netlink_for_commands(struct nl_sock *sk);

/* A message of @family for @cmd with NLM_F_* @flags, no attributes yet. Returns 0 or -ENOMEM. */
int netlink_new_message(int family, uint8_t cmd, uint8_t version, int flags, struct nl_msg **ret);

/*
 * Sends @msg, which stays the caller's, and reads until its answer is
 * complete: an error, an ACK, one reply, or a dump to its end. @on_reply gets
 * each reply with @ctx; NULL: replies are passed over. Nothing is waited for.
 *
 * Returns 0, the errno the kernel answered with, -ENOBUFS when the answer did
 * not come or -EIO.
 */
int netlink_command(struct nl_sock *sk, struct nl_msg *msg,
		    void (*on_reply)(struct nl_msg *msg, void *ctx), void *ctx);

/* For CLEANUP(). */
void netlink_free_cb(struct nl_cb **cb);
void netlink_free_sock(struct nl_sock **sk);
void netlink_free_msg(struct nl_msg **msg);

#endif
