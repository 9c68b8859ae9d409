// SPDX-License-Identifier: GPL-2.0-or-later
#include "tlshd/monitor/netlink.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tlshd/monitor/netlink-command.h"
#include "tlshd/monitor/netlink-policy.h"
#include "uapi/handshake.h"

/*
 * Bytes, of which the kernel takes twice as many, and up to 1280 for a READY: room
 * for 13,000. When it overflows, and only because we ask for it, the consumer hears ENOBUFS and
 * tries again (our kernel side for 6.1 repeats READY instead); else it heard ESRCH, as if nobody
 * listened. What is queued stays so.
 */
#define EVENT_BUFFER (8 << 20)

struct netlink {
	const struct log *log;
	struct nl_sock *events;
	struct nl_sock *commands;
	struct nl_msg *msg;	/* for every command: an answer must not depend on memory */
	int family;
	int family_group;	/* nlctrl's "notify" */
	bool watching_families;
	struct netlink_policy policy;	/* of DONE, from the last join */
};

/* A family and one of its groups, as nlctrl tells of them. */
struct found {
	const char *group_name;
	int family, group;	/* -1: it does not tell */
};

/* What the callback of one read leaves behind. */
struct heard {
	const struct netlink *nl;
	enum netlink_events events;
};

void netlink_set_debug(unsigned int level)
{
	nl_debug = (int)level;
}

int netlink_open(struct netlink **ret, const struct log *log)
{
	CLEANUP(netlink_closep) struct netlink *nl = calloc(1, sizeof(*nl));
	const int size = EVENT_BUFFER, on = 1;
	int r;

	if (!nl)
		return -ENOMEM;
	nl->log = log;
	nl->family = -1;
	r = netlink_connect(&nl->events);
	if (r < 0)
		return r;
	/* Beyond net.core.rmem_max only by force, which takes CAP_NET_ADMIN. */
	if (setsockopt(nl_socket_get_fd(nl->events), SOL_SOCKET, SO_RCVBUFFORCE, &size,
		       sizeof(size)) < 0)
		nl_socket_set_buffer_size(nl->events, size, 0);
	if (setsockopt(nl_socket_get_fd(nl->events), SOL_NETLINK, NETLINK_BROADCAST_ERROR, &on,
		       sizeof(on)) < 0)
		return -errno;
	r = netlink_connect(&nl->commands);
	if (r < 0)
		return r;
	nl->msg = nlmsg_alloc();
	if (!nl->msg)
		return -ENOMEM;
	/* ACCEPT has its reply or error for an answer, DONE asks for its ACK itself. */
	if (nl_socket_set_nonblocking(nl->events) < 0 || netlink_for_commands(nl->commands) < 0)
		return -EIO;
	*ret = TAKE_PTR(nl);
	return 0;
}

/* GROUPS: { index: { ID, NAME } } */
static void find_group(struct nlattr *groups, struct found *found)
{
	struct nlattr *group, *name, *id;
	int left;

	nla_for_each_nested(group, groups, left) {
		name = nla_find(nla_data(group), nla_len(group), CTRL_ATTR_MCAST_GRP_NAME);
		id = nla_find(nla_data(group), nla_len(group), CTRL_ATTR_MCAST_GRP_ID);
		if (name && !nla_strcmp(name, found->group_name) && id &&
		    nla_len(id) >= (int)sizeof(uint32_t))
			found->group = nla_get_s32(id);
	}
}

static void on_family(struct nlmsghdr *hdr, void *ctx)
{
	struct found *found = ctx;
	struct nlattr *attr;
	int left;

	if (hdr->nlmsg_type != GENL_ID_CTRL || !genlmsg_valid_hdr(hdr, 0) ||
	    genlmsg_hdr(hdr)->cmd != CTRL_CMD_NEWFAMILY)
		return;
	nla_for_each_attr(attr, genlmsg_attrdata(genlmsg_hdr(hdr), 0),
			  genlmsg_attrlen(genlmsg_hdr(hdr), 0), left) {
		if (nla_type(attr) == CTRL_ATTR_FAMILY_ID &&
		    nla_len(attr) >= (int)sizeof(uint16_t))
			found->family = nla_get_u16(attr);
		else if (nla_type(attr) == CTRL_ATTR_MCAST_GROUPS)
			find_group(attr, found);
	}
}

/*
 * Asks the kernel for the numbers of the family @name and of its @group. The library's own calls
 * for that say "not there" also when they had no memory to read the answer, and what was taken
 * from a family that is there must be answered. Returns 0; -ENOENT only when the kernel says
 * so, or the family has no such group; another negative errno. @sk is one for netlink_command().
 */
static int find_family(struct nl_sock *sk, struct nl_msg *msg, const char *name,
		       const char *group, struct found *ret)
{
	struct found found = { .group_name = group, .family = -1, .group = -1 };
	int r = netlink_compose(msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_VERSION, 0);

	if (r < 0)
		return r;
	if (nla_put_string(msg, CTRL_ATTR_FAMILY_NAME, name) < 0)
		return -ENOMEM;
	r = netlink_command(sk, msg, on_family, &found);
	if (r < 0)
		return r;
	if (found.family < NLMSG_MIN_TYPE)
		return -EPROTO;
	if (found.group < 0)
		return -ENOENT;
	*ret = found;
	return 0;
}

/* A socket for what is asked besides the commands. Returns 0 or a negative errno. */
static int open_resolver(struct nl_sock **ret)
{
	CLEANUP(netlink_free_sock) struct nl_sock *sk = NULL;
	int r = netlink_connect(&sk);

	if (r >= 0)
		r = netlink_for_commands(sk);
	if (r >= 0)
		*ret = TAKE_PTR(sk);
	return r;
}

int netlink_family_exists(void)
{
	CLEANUP(netlink_free_sock) struct nl_sock *resolver = NULL;
	CLEANUP(netlink_free_msg) struct nl_msg *msg = nlmsg_alloc();
	struct found found;
	int r = msg ? open_resolver(&resolver) : -ENOMEM;

	if (r >= 0)
		r = find_family(resolver, msg, HANDSHAKE_FAMILY_NAME, HANDSHAKE_MCGRP_TLSHD,
				&found);
	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

void netlink_close(struct netlink *nl)
{
	if (!nl)
		return;
	nl_socket_free(nl->events);
	nl_socket_free(nl->commands);
	nlmsg_free(nl->msg);
	free(nl);
}

static int watch_families(struct netlink *nl, struct nl_sock *resolver)
{
	struct found nlctrl;
	int r;

	if (nl->watching_families)
		return 0;
	r = find_family(resolver, nl->msg, "nlctrl", "notify", &nlctrl);
	if (r < 0)
		return r;
	r = nl_socket_add_membership(nl->events, nlctrl.group);
	if (r < 0)
		return netlink_errno(r);
	nl->watching_families = true;
	return 0;
}

/*
 * Asked at each join: in between the family may have gone and come back as that
 * of another module. Said when there is something new to say. @sk is not the
 * socket of the commands, so that nothing half read can be in their way.
 */
static void learn_policy(struct netlink *nl, struct nl_sock *sk, int family)
{
	struct netlink_policy policy = { 0 };
	char text[NETLINK_POLICY_TEXT];

	netlink_policy_learn(sk, nl->msg, family, &policy);
	if (family == nl->family && netlink_policy_equal(&policy, &nl->policy))
		return;
	nl->policy = policy;
	netlink_policy_text(&policy, text, sizeof(text));
	log_debug(nl->log, "netlink: %s", text);
}

int netlink_join(struct netlink *nl, enum netlink_join *ret)
{
	CLEANUP(netlink_free_sock) struct nl_sock *resolver = NULL;
	struct found found;
	int r;

	r = open_resolver(&resolver);
	if (r < 0)
		return r;
	/* Watch first, resolve second: a family that comes in between is not missed. */
	r = watch_families(nl, resolver);
	if (r < 0)
		return r;
	r = find_family(resolver, nl->msg, HANDSHAKE_FAMILY_NAME, HANDSHAKE_MCGRP_TLSHD, &found);
	if (r == -ENOENT) {
		/* The requests have gone with it: nobody waits for what cannot be sent now. */
		nl->family = -1;
		nl->policy = (struct netlink_policy){ 0 };
		*ret = NETLINK_NO_FAMILY;
		return 0;
	}
	if (r < 0)
		return r;
	r = nl_socket_add_membership(nl->events, found.group);
	if (r < 0)
		return netlink_errno(r);
	learn_policy(nl, resolver, found.family);
	nl->family = found.family;
	*ret = NETLINK_JOINED;
	return 0;
}

int netlink_fd(const struct netlink *nl)
{
	return nl_socket_get_fd(nl->events);
}

static void on_event(struct nlmsghdr *hdr, void *ctx)
{
	struct heard *h = ctx;

	if (hdr->nlmsg_type == GENL_ID_CTRL)
		h->events |= NETLINK_FAMILY;
	/* What is none at all (an error, an overrun) may stand for one that is lost. */
	else if (hdr->nlmsg_type == h->nl->family || hdr->nlmsg_type < NLMSG_MIN_TYPE)
		h->events |= NETLINK_READY;
}

enum netlink_events netlink_events(struct netlink *nl)
{
	struct heard h = { .nl = nl };
	int r;

	do {
		r = netlink_receive(nl->events, on_event, &h);
	} while (r == 0);
	/* Lost may be a request's; and the family's, if that is waited for: it is announced once. */
	if (r != -EAGAIN) {
		log_debug(nl->log, "netlink: notifications lost: %s", strerror(-r));
		h.events |= NETLINK_READY | (nl->family < 0 ? NETLINK_FAMILY : 0);
	}
	return h.events;
}

/* The two serials of one certificate attribute; the first such attribute counts. */
static void parse_certificate(struct nlattr *nest, struct netlink_request *req)
{
	static const struct nla_policy policy_of[HANDSHAKE_A_X509_MAX + 1] = {
		[HANDSHAKE_A_X509_CERT] = { .type = NLA_U32 },
		[HANDSHAKE_A_X509_PRIVKEY] = { .type = NLA_U32 },
	};
	struct nla_policy policy[HANDSHAKE_A_X509_MAX + 1];
	struct nlattr *tb[HANDSHAKE_A_X509_MAX + 1];

	if (req->certificate || req->private_key)
		return;
	memcpy(policy, policy_of, sizeof(policy));
	if (nla_parse_nested(tb, HANDSHAKE_A_X509_MAX, nest, policy) < 0) {
		req->refusal = "the kernel's certificate attribute is malformed";
		return;
	}
	if (tb[HANDSHAKE_A_X509_CERT])
		req->certificate = nla_get_s32(tb[HANDSHAKE_A_X509_CERT]);
	if (tb[HANDSHAKE_A_X509_PRIVKEY])
		req->private_key = nla_get_s32(tb[HANDSHAKE_A_X509_PRIVKEY]);
}

/* A cut name would be verified as another name: too long is a refusal. */
static void parse_peername(struct nlattr *attr, struct netlink_request *req)
{
	size_t len = strnlen(nla_data(attr), nla_len(attr));

	if (len >= sizeof(req->peername)) {
		req->refusal = "the peer name is longer than 255 bytes";
		return;
	}
	memcpy(req->peername, nla_data(attr), len);
	req->peername[len] = 0;
}

static void parse_message_type(uint32_t type, struct netlink_request *req)
{
	if (type == HANDSHAKE_MSG_TYPE_CLIENTHELLO)
		req->role = HS_CLIENT;
	else if (type == HANDSHAKE_MSG_TYPE_SERVERHELLO)
		req->role = HS_SERVER;
	else
		req->refusal = "the kernel asks for a message type this version does not know";
}

static void parse_auth_mode(uint32_t mode, struct netlink_request *req)
{
	if (mode == HANDSHAKE_AUTH_UNAUTH)
		req->auth = HS_AUTH_UNAUTH;
	else if (mode == HANDSHAKE_AUTH_PSK)
		req->auth = HS_AUTH_PSK;
	else if (mode == HANDSHAKE_AUTH_X509)
		req->auth = HS_AUTH_X509;
	else
		req->refusal = "the kernel asks for an authentication mode this version does not know";
}

static void parse_attribute(struct nlattr *attr, struct netlink_request *req)
{
	int type = nla_type(attr);

	if (type != HANDSHAKE_A_ACCEPT_CERTIFICATE && type != HANDSHAKE_A_ACCEPT_PEERNAME &&
	    nla_len(attr) < (int)sizeof(uint32_t)) {
		req->refusal = "an attribute of the kernel's request is too short";
		return;
	}

	switch (type) {
	case HANDSHAKE_A_ACCEPT_SOCKFD:
		req->fd = nla_get_s32(attr);
		break;
	case HANDSHAKE_A_ACCEPT_MESSAGE_TYPE:
		parse_message_type(nla_get_u32(attr), req);
		break;
	case HANDSHAKE_A_ACCEPT_TIMEOUT:
		req->timeout_ms = nla_get_u32(attr);
		break;
	case HANDSHAKE_A_ACCEPT_AUTH_MODE:
		parse_auth_mode(nla_get_u32(attr), req);
		break;
	case HANDSHAKE_A_ACCEPT_PEER_IDENTITY:
		if (req->n_peer_ids < HS_PEERIDS_MAX)
			req->peer_ids[req->n_peer_ids++] = nla_get_s32(attr);
		break;
	case HANDSHAKE_A_ACCEPT_CERTIFICATE:
		parse_certificate(attr, req);
		break;
	case HANDSHAKE_A_ACCEPT_PEERNAME:
		parse_peername(attr, req);
		break;
	case HANDSHAKE_A_ACCEPT_KEYRING:
		req->keyring = nla_get_s32(attr);
		break;
	}
}

static void on_accept(struct nlmsghdr *hdr, void *ctx)
{
	struct netlink_request *req = ctx;
	struct genlmsghdr *head = nlmsg_data(hdr);
	struct nlattr *attr;
	bool typed = false, moded = false;
	int left;

	nla_for_each_attr(attr, genlmsg_attrdata(head, 0), genlmsg_attrlen(head, 0), left) {
		parse_attribute(attr, req);
		typed |= nla_type(attr) == HANDSHAKE_A_ACCEPT_MESSAGE_TYPE;
		moded |= nla_type(attr) == HANDSHAKE_A_ACCEPT_AUTH_MODE;
	}
	/* Nothing is assumed that was not asked for. */
	if (!typed || !moded)
		req->refusal = "the kernel's request names no message type or no authentication mode";
}

int netlink_accept(struct netlink *nl, struct netlink_request *ret)
{
	struct netlink_request req = { .fd = -1 };
	int r;

	if (nl->family < 0)
		return -EAGAIN;	/* no family: no request of it either */
	r = netlink_compose(nl->msg, nl->family, HANDSHAKE_CMD_ACCEPT, HANDSHAKE_FAMILY_VERSION,
			    0);
	if (r < 0)
		return r;
	if (nla_put_u32(nl->msg, HANDSHAKE_A_ACCEPT_HANDLER_CLASS,
			HANDSHAKE_HANDLER_CLASS_TLSHD) < 0)
		return -ENOMEM;
	r = netlink_command(nl->commands, nl->msg, on_accept, &req);
	if (r < 0)
		return r;
	if (req.fd < 0)
		return -EPROTO;
	*ret = req;
	return 0;
}

/*
 * Whether @error of a DONE may be about its optional attributes. Not: what is
 * about the socket, its request or us, and what is about memory, where the
 * same is to be said again. Anything else counts: the kernel's checks of an
 * attribute say EINVAL or ERANGE, but a consumer may have an errno of its own,
 * and DONE sent in vain a second time does no harm.
 */
static bool may_be_attributes(int error)
{
	switch (error) {
	case 0:
	case -EBADF:
	case -ENOTSOCK:
	case -EBUSY:	/* no request on that socket */
	case -ENOENT:	/* no family */
	case -EPERM:
	case -ENOBUFS:
	case -ENOMEM:
	case -EINTR:
	case -EIO:	/* of netlink_errno() */
		return false;
	default:
		return true;
	}
}

int netlink_done(struct netlink *nl, int fd, unsigned int status, uint32_t remote_auth)
{
	int refused, r;

	if (nl->family < 0)
		return -ENOENT;
	if (!remote_auth)
		return netlink_send_done(nl->commands, nl->msg, nl->family, fd, status, 0);
	if (nl->policy.remote_auth == NETLINK_REFUSED) {
		refused = -EOPNOTSUPP;
	} else {
		refused = netlink_send_done(nl->commands, nl->msg, nl->family, fd, status,
					    remote_auth);
		if (!may_be_attributes(refused))
			return refused;
	}
	/* An answer that says less beats none: without one the consumer waits out its timeout. */
	r = netlink_send_done(nl->commands, nl->msg, nl->family, fd, status, 0);
	if (r == 0)
		log_warn(nl->log, "the kernel does not take the identity of a verified peer (%s): a handshake was answered without it; an NFS server takes that client for unauthenticated, an NVMe host refuses the connection",
			 strerror(-refused));
	return r;
}
