/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One command of generic netlink and the kernel's answer to it: what
 * netlink.c and netlink-policy.c share. For these two only.
 */
#ifndef TLSHD_MONITOR_NETLINK_COMMAND_H
#define TLSHD_MONITOR_NETLINK_COMMAND_H

#include <stdint.h>

struct nl_msg;
struct nl_sock;
struct nlmsghdr;

#define NETLINK_DATAGRAM_MAX 16384	/* bytes; the kernel sends no more than 4 KiB for what is asked here */

#define CTRL_VERSION 2	/* of the family nlctrl */

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

/*
 * Makes @msg, whatever it was before, one of @family for @cmd with NLM_F_*
 * @flags, no attributes yet. Allocates nothing. Returns 0, or -ENOMEM when it
 * has no room for that.
 */
int netlink_compose(struct nl_msg *msg, int family, uint8_t cmd, uint8_t version, int flags);

/*
 * Reads one datagram, and calls @handler for each message in it. Allocates and
 * waits for nothing. Returns 0; -EAGAIN when there is none; -EMSGSIZE for one
 * that is too long; another negative errno of recv(2).
 */
int netlink_receive(struct nl_sock *sk, void (*handler)(struct nlmsghdr *hdr, void *ctx),
		    void *ctx);

/*
 * Sends @msg, which stays the caller's, and reads until its answer is
 * complete: an error, an ACK, one reply, or a dump to its end. @on_reply gets
 * each reply with @ctx; NULL: replies are passed over. Allocates and waits for
 * nothing.
 *
 * Returns 0; the errno the kernel answered with; -ENOMEM when the command could
 * not be sent for want of memory; -ENOBUFS when the answer did not come; -EIO.
 */
int netlink_command(struct nl_sock *sk, struct nl_msg *msg,
		    void (*on_reply)(struct nlmsghdr *hdr, void *ctx), void *ctx);

/* For CLEANUP(). */
void netlink_free_sock(struct nl_sock **sk);
void netlink_free_msg(struct nl_msg **msg);

#endif
