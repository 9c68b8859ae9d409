/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The generic netlink family "handshake" (docs/PROTOCOL.md, "The kernel").
 * This and what it is made of, netlink-*.c, are the only users of libnl.
 *
 * Two sockets: one listens to the multicast groups and never sends; the other
 * sends one command at a time and reads its one answer, which the kernel has
 * queued by the time the send returns. So nothing here blocks.
 */
#ifndef TLSHD_MONITOR_NETLINK_H
#define TLSHD_MONITOR_NETLINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/handshake.h"
#include "common/log.h"

struct netlink;

/* One request, as ACCEPT delivers it. */
struct netlink_request {
	int fd;			/* the socket; the receiver's to close */
	enum hs_role role;
	enum hs_auth auth;
	uint32_t timeout_ms;	/* 0: the consumer named none */
	int32_t keyring;	/* key serial, 0: none or not told */
	int32_t certificate;	/* key serials; 0: the configured identity */
	int32_t private_key;
	int32_t peer_ids[HS_PEERIDS_MAX];	/* PSK: key serials */
	unsigned int n_peer_ids;
	char peername[HS_NAME_MAX];	/* "" = none */
	const char *refusal;	/* static text: why it cannot be served whatever is configured; or NULL */
};

/* Has this kernel the handshake upcall? Joins nothing. Returns 1, 0 or a negative errno. */
int netlink_family_exists(void);

/* Opens both sockets. Returns 0 or a negative errno. @log is borrowed. */
int netlink_open(struct netlink **ret, const struct log *log);
/* The library's own debug level, 0 to 7, of the whole process; it writes to standard error. */
void netlink_set_debug(unsigned int level);
/* NULL is fine. */
void netlink_close(struct netlink *nl);

enum netlink_join {
	NETLINK_JOINED,
	NETLINK_NO_FAMILY,	/* this kernel has no handshake upcall, or not yet */
};

/*
 * Joins the group "tlshd". When the family is not there, subscribes to the
 * announcements of new families instead (NETLINK_FAMILY). Also asks the kernel
 * what its DONE takes; what it answers never is an error here. Returns 0 or a
 * negative errno: then it is not known whether the family is there, and what is known
 * of it stays in use, so that what was taken can be answered.
 */
int netlink_join(struct netlink *nl, enum netlink_join *ret);

enum netlink_events {
	NETLINK_READY = 1 << 0,		/* requests wait, or notifications were lost: ACCEPT until -EAGAIN */
	NETLINK_FAMILY = 1 << 1,	/* a family came or went: netlink_join() again */
};

/* Becomes readable when netlink_events() has something to tell. Stays ours. */
int netlink_fd(const struct netlink *nl);

/* Reads all that is queued. Never fails: what cannot be read counts as lost (both, before a join). */
enum netlink_events netlink_events(struct netlink *nl);

/*
 * Takes the oldest queued request. Returns 0; -EAGAIN when there is none;
 * -EPERM without CAP_NET_ADMIN in the initial user namespace; -ENOMEM when the
 * kernel could not be asked (nothing was taken) or has no memory; another negative
 * errno of ACCEPT (a keyring that could not be linked, no descriptor left):
 * that request is gone and the next may be there.
 */
int netlink_accept(struct netlink *nl, struct netlink_request *ret);

/*
 * Answers the request of socket @fd with @status (positive errno or 0) and,
 * when not 0, @remote_auth. Waits for the kernel's ACK. Where the kernel does
 * not take @remote_auth, the answer goes without it, and the log says so. Like
 * netlink_accept() it needs no memory of ours.
 * Returns 0 or a negative errno: -EBUSY when the socket has no request.
 */
int netlink_done(struct netlink *nl, int fd, unsigned int status, uint32_t remote_auth);

DEFINE_CLEANUP(struct netlink, netlink_close);

#endif
