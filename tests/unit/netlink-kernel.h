/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel's side of the netlink tests needs: to queue answers. The
 * sockets are of NETLINK_USERSOCK, by which programs talk to each other.
 */
#ifndef TLSHD_TESTS_NETLINK_KERNEL_H
#define TLSHD_TESTS_NETLINK_KERNEL_H

#include <netlink/netlink.h>
#include <stddef.h>
#include <stdint.h>

/* Puts @len bytes, one datagram, into the receive queue of @to. */
void kernel_sends_bytes(struct nl_sock *to, const void *bytes, size_t len);
/* The same with a message, which is freed. */
void kernel_sends(struct nl_sock *to, struct nl_msg *msg);
/* An answer to the command of number @seq; @error is negative, or 0: an ACK. */
struct nl_msg *error_reply(uint32_t seq, int error);

#endif
