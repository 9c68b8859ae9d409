/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The address of who is at the other end of a socket. */
#ifndef TLSHD_COMMON_ADDRESS_H
#define TLSHD_COMMON_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

union address {
	struct sockaddr any;	/* its family says which of the others it is */
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_storage storage;
};

/* getpeername(2). Returns 0 or a negative errno, with *@ret of the family AF_UNSPEC. */
int address_of_peer(int fd, union address *ret);

#endif
