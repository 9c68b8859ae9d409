/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SOCK_SEQPACKET between two of our processes: one message and at most one descriptor a datagram. */
#ifndef TLSHD_COMMON_CHANNEL_H
#define TLSHD_COMMON_CHANNEL_H

#include "common/wire.h"

/*
 * Makes a connected, non-blocking, close-on-exec pair; both ends the
 * caller's. Returns 0 or a negative errno.
 */
int channel_pair(int ret_fds[2]);

/*
 * Sends @msg and a duplicate of @fd (-1: none). Returns 0; -EAGAIN when the
 * peer does not read fast enough; -EPIPE or -ECONNRESET when it is gone;
 * -EINVAL when @msg cannot be encoded; another negative errno.
 */
int channel_send(int channel, const struct wire_message *msg, int fd);

/*
 * Receives one message; those sent before the peer's end come first. @ret_fd
 * is set to the descriptor that came with it, the caller's, or -1;
 * close-on-exec. Returns 0; -EAGAIN when there is none, or no memory to take it
 * now; -EPIPE at the end of the stream; -EMFILE when the message is in @ret and
 * this process had no room for its descriptor, which is lost; -EBADMSG for a
 * message that does not decode or carries more than one descriptor (which are
 * closed); another negative errno.
 */
int channel_recv(int channel, struct wire_message *ret, int *ret_fd);

/*
 * Waits until @channel is readable, at most @timeout_ms. Returns 0, -ETIMEDOUT
 * or another negative errno. For the start of a process and for signatures,
 * where there is nothing else to do.
 */
int channel_wait(int channel, int timeout_ms);

#endif
