// SPDX-License-Identifier: GPL-2.0
/*
 * The generic netlink family "handshake", as
 * Documentation/netlink/specs/handshake.yaml describes it: what agents hear
 * and say.
 */
#include <linux/cred.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/net.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>
#include <trace/events/handshake.h>

#include "handshake.h"

/* remote-auth of one DONE */
#define MAX_REMOTE_AUTH	5

static struct genl_family handshake_family;
static unsigned int handshake_pernet_id;
/* All of it is there. A consumer that is built in may come before. */
static bool handshake_ready;

/* The group of a handler class has its number. */
static const struct genl_multicast_group groups[] = {
	[HANDSHAKE_HANDLER_CLASS_NONE]	= { .name = HANDSHAKE_MCGRP_NONE },
	[HANDSHAKE_HANDLER_CLASS_TLSHD]	= { .name = HANDSHAKE_MCGRP_TLSHD },
};

static struct handshake_net __rcu **pernet(const struct net *net)
{
	return net_generic(net, handshake_pernet_id);
}

/**
 * handshake_net_get - what a namespace has
 * @net: the namespace
 *
 * Returns NULL when it has nothing yet or no more, or it with a reference.
 */
struct handshake_net *handshake_net_get(const struct net *net)
{
	struct handshake_net *hn;

	/* before what handshake_init() makes is looked at */
	if (!smp_load_acquire(&handshake_ready))
		return NULL;
	rcu_read_lock();
	hn = rcu_dereference(*pernet(net));
	if (hn && !kref_get_unless_zero(&hn->ref))
		hn = NULL;
	rcu_read_unlock();
	return hn;
}

/**
 * handshake_announce - tell the agents that a request waits
 * @net: the namespace
 * @class: of the request
 * @flags: of allocations
 *
 * Returns 0; -ESRCH: nobody in the namespace listens and has room for it;
 * -ENOBUFS: one that wants this to be said (NETLINK_BROADCAST_ERROR) has none;
 * -ENOMEM; -EMSGSIZE.
 */
int handshake_announce(struct net *net, enum handshake_handler_class class,
		       gfp_t flags)
{
	struct sk_buff *msg;
	void *hdr;

	msg = genlmsg_new(nla_total_size(sizeof(u32)), flags);
	if (!msg)
		return -ENOMEM;
	hdr = genlmsg_put(msg, 0, 0, &handshake_family, 0, HANDSHAKE_CMD_READY);
	if (!hdr || nla_put_u32(msg, HANDSHAKE_A_ACCEPT_HANDLER_CLASS, class)) {
		nlmsg_free(msg);
		return -EMSGSIZE;
	}
	genlmsg_end(msg, hdr);
	return genlmsg_multicast_netns(&handshake_family, net, msg, 0, class,
				       flags);
}

/* ---- ACCEPT ---- */

/* Whatever this needs is there before a request is taken. */
static int accept_prepare(struct sk_buff **ret_msg, int *ret_fd)
{
	struct sk_buff *msg;
	int fd;

	msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!msg)
		return -ENOMEM;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		nlmsg_free(msg);
		return fd;
	}
	*ret_msg = msg;
	*ret_fd = fd;
	return 0;
}

static int accept_fill(struct handshake_req *req, struct genl_info *info,
		       struct sk_buff *msg, int fd)
{
	void *hdr;
	int ret;

	hdr = genlmsg_put_reply(msg, info, &handshake_family, 0,
				HANDSHAKE_CMD_ACCEPT);
	if (!hdr)
		return -EMSGSIZE;
	ret = nla_put_s32(msg, HANDSHAKE_A_ACCEPT_SOCKFD, fd);
	if (!ret)
		ret = req->ops->accept(req, msg);
	if (ret)
		return ret;
	genlmsg_end(msg, hdr);
	return 0;
}

/* The next try need not fail. */
static bool is_passing(int error)
{
	return error == -ENOMEM || error == -EDQUOT || error == -EINTR ||
	       error == -ERESTARTSYS;
}

static int accept_doit(struct sk_buff *skb, struct genl_info *info)
{
	enum handshake_handler_class class;
	struct handshake_net *hn;
	struct handshake_req *req;
	struct sk_buff *msg;
	struct file *file;
	int ret, fd;

	/* The link to a keyring changes credentials, and those that io_uring
	 * lends are not to be changed.
	 */
	if (current_cred() != current_real_cred())
		return -EPERM;
	if (GENL_REQ_ATTR_CHECK(info, HANDSHAKE_A_ACCEPT_HANDLER_CLASS))
		return -EINVAL;
	class = nla_get_u32(info->attrs[HANDSHAKE_A_ACCEPT_HANDLER_CLASS]);

	ret = accept_prepare(&msg, &fd);
	if (ret)
		return ret;
	hn = handshake_net_get(sock_net(skb->sk));
	req = hn ? handshake_req_next(hn, class, &file) : NULL;
	ret = hn ? -EAGAIN : -EOPNOTSUPP;
	if (hn)
		handshake_net_put(hn);
	if (!req)
		goto out;
	ret = accept_fill(req, info, msg, fd);
	trace_handshake_accept(req, req->sk, ret);
	if (ret) {
		if (is_passing(ret))
			handshake_req_requeue(req, ret);
		else
			handshake_req_complete(req, -EIO, 0);
		/* netlink would say nothing, or what is not for user space */
		if (ret == -EINTR || ret == -ERESTARTSYS)
			ret = -EAGAIN;
		goto out_put;
	}

	/* First: who hears of it may be another task than this one. */
	fd_install(fd, file);
	ret = genlmsg_reply(msg, info);
	if (ret) {
		/* Whoever closes descriptors it has not been told of may have
		 * given the number to another file meanwhile, and loses that.
		 */
		close_fd(fd);
		handshake_req_requeue(req, ret);
	}
	handshake_req_put(req);
	return ret;

out_put:
	handshake_req_put(req);
	fput(file);
out:
	put_unused_fd(fd);
	nlmsg_free(msg);
	return ret;
}

/* ---- DONE ---- */

static int done_peerid(struct genl_info *info, key_serial_t *ret)
{
	unsigned int n = 0;
	struct nlattr *attr;
	int rem;

	*ret = 0;
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) != HANDSHAKE_A_DONE_REMOTE_AUTH)
			continue;
		if (n++ == 0)
			*ret = nla_get_u32(attr);
	}
	return n > MAX_REMOTE_AUTH ? -EINVAL : 0;
}

static int done_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *status = info->attrs[HANDSHAKE_A_DONE_STATUS];
	struct handshake_req *req;
	key_serial_t peerid;
	struct socket *sock;
	int ret;

	if (GENL_REQ_ATTR_CHECK(info, HANDSHAKE_A_DONE_SOCKFD))
		return -EINVAL;
	ret = done_peerid(info, &peerid);
	if (ret)
		return ret;
	sock = sockfd_lookup(nla_get_s32(info->attrs[HANDSHAKE_A_DONE_SOCKFD]),
			     &ret);
	if (!sock)
		return ret;

	req = handshake_req_lookup(sock->sk);
	if (!req || !handshake_req_complete(req, status ?
					    -(int)nla_get_u32(status) : -EIO,
					    peerid))
		ret = -EBUSY;
	if (req)
		handshake_req_put(req);
	sockfd_put(sock);
	return ret;
}

/* ---- the family ---- */

static const struct nla_policy
accept_policy[HANDSHAKE_A_ACCEPT_HANDLER_CLASS + 1] = {
	[HANDSHAKE_A_ACCEPT_HANDLER_CLASS] =
		NLA_POLICY_MAX(NLA_U32, HANDSHAKE_HANDLER_CLASS_MAX),
};

static const struct nla_policy
done_policy[HANDSHAKE_A_DONE_REMOTE_AUTH + 1] = {
	[HANDSHAKE_A_DONE_STATUS] = NLA_POLICY_MAX(NLA_U32, MAX_ERRNO),
	[HANDSHAKE_A_DONE_SOCKFD] = { .type = NLA_S32 },
	[HANDSHAKE_A_DONE_REMOTE_AUTH] = { .type = NLA_U32 },
};

static const struct genl_ops ops[] = {
	{
		.cmd		= HANDSHAKE_CMD_ACCEPT,
		.doit		= accept_doit,
		.policy		= accept_policy,
		.maxattr	= HANDSHAKE_A_ACCEPT_HANDLER_CLASS,
		.flags		= GENL_ADMIN_PERM,
	},
	{
		.cmd		= HANDSHAKE_CMD_DONE,
		.doit		= done_doit,
		.policy		= done_policy,
		.maxattr	= HANDSHAKE_A_DONE_REMOTE_AUTH,
		.flags		= GENL_ADMIN_PERM,
	},
};

static struct genl_family handshake_family __ro_after_init = {
	.name		= HANDSHAKE_FAMILY_NAME,
	.version	= HANDSHAKE_FAMILY_VERSION,
	.netnsok	= true,
	.parallel_ops	= true,
	.module		= THIS_MODULE,
	.ops		= ops,
	.n_ops		= ARRAY_SIZE(ops),
	.mcgrps		= groups,
	.n_mcgrps	= ARRAY_SIZE(groups),
};

static int __net_init handshake_net_init(struct net *net)
{
	struct handshake_net *hn = handshake_net_alloc(net);

	if (!hn)
		return -ENOMEM;
	rcu_assign_pointer(*pernet(net), hn);
	return 0;
}

static void __net_exit handshake_net_exit(struct net *net)
{
	struct handshake_net *hn;

	hn = rcu_replace_pointer(*pernet(net), NULL, true);
	handshake_net_end(hn);
}

static struct pernet_operations handshake_pernet_ops = {
	.init	= handshake_net_init,
	.exit	= handshake_net_exit,
	.id	= &handshake_pernet_id,
	.size	= sizeof(struct handshake_net __rcu *),
};

static int __init handshake_init(void)
{
	int ret;

	ret = handshake_requests_init();
	if (ret)
		return ret;
	ret = register_pernet_subsys(&handshake_pernet_ops);
	if (ret)
		goto out_requests;
	/* Last: from now on agents and consumers come. */
	ret = genl_register_family(&handshake_family);
	if (ret)
		goto out_pernet;
	/* behind all that handshake_net_get() lets others use */
	smp_store_release(&handshake_ready, true);
	return 0;

out_pernet:
	unregister_pernet_subsys(&handshake_pernet_ops);
out_requests:
	handshake_requests_exit();
	return ret;
}

static void __exit handshake_exit(void)
{
	genl_unregister_family(&handshake_family);
	unregister_pernet_subsys(&handshake_pernet_ops);
	handshake_requests_exit();
}

module_init(handshake_init);
module_exit(handshake_exit);

MODULE_DESCRIPTION("Handshakes of kernel sockets by user-space agents");
MODULE_LICENSE("GPL");
MODULE_ALIAS_GENL_FAMILY(HANDSHAKE_FAMILY_NAME);
