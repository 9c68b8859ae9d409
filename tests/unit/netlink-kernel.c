// SPDX-License-Identifier: GPL-2.0-or-later
#include "netlink-kernel.h"

#include <glib.h>
#include <netlink/msg.h>
#include <sys/socket.h>

#include "common/cleanup.h"

void kernel_sends_bytes(struct nl_sock *to, const void *bytes, size_t len)
{
	struct sockaddr_nl addr = {
		.nl_family = AF_NETLINK, .nl_pid = nl_socket_get_local_port(to),
	};
	CLEANUP_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_USERSOCK);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(sendto(fd, bytes, len, 0, (struct sockaddr *)&addr, sizeof(addr)),
			==, (ssize_t)len);
}

void kernel_sends(struct nl_sock *to, struct nl_msg *msg)
{
	kernel_sends_bytes(to, nlmsg_hdr(msg), nlmsg_hdr(msg)->nlmsg_len);
	nlmsg_free(msg);
}

struct nl_msg *error_reply(uint32_t seq, int error)
{
	struct nl_msg *msg = nlmsg_alloc();
	struct nlmsgerr *e;

	nlmsg_put(msg, 0, seq, NLMSG_ERROR, sizeof(*e), 0);
	e = nlmsg_data(nlmsg_hdr(msg));
	*e = (struct nlmsgerr){ .error = error, .msg.nlmsg_seq = seq };
	return msg;
}
