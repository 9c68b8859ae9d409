/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Requests for a handshake: from their submission by a kernel consumer, by way
 * of a user-space agent, to their end.
 */
#ifndef _NET_HANDSHAKE_INTERNAL_H
#define _NET_HANDSHAKE_INTERNAL_H

#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/pid.h>
#include <linux/rhashtable-types.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <net/sock.h>
#include <uapi/linux/handshake.h>

struct genl_info;
struct handshake_req;

/**
 * enum handshake_state - how far a request has come
 * @HANDSHAKE_NEW: not submitted
 * @HANDSHAKE_QUEUED: waits for an agent
 * @HANDSHAKE_ACCEPTED: an agent has it
 * @HANDSHAKE_DONE: over, and the consumer is told
 * @HANDSHAKE_CANCELLED: over, and the consumer is not told
 *
 * All changes are made with handshake_net.lock held. Whoever moves it to one
 * of the last two has to see to the rest of its end, and nobody else does.
 */
enum handshake_state {
	HANDSHAKE_NEW,
	HANDSHAKE_QUEUED,
	HANDSHAKE_ACCEPTED,
	HANDSHAKE_DONE,
	HANDSHAKE_CANCELLED,
};

/**
 * struct handshake_net - the requests of a network namespace
 * @ref: held by the namespace and by each of its requests
 * @rcu: it is found by its namespace without a lock
 * @net: the namespace; only valid while @up; NULL: no agent is told
 * @lock: guards all below, and the state of the requests
 * @up: requests are taken; never again once it is cleared
 * @queued: requests in the state HANDSHAKE_QUEUED, the oldest first
 * @accepted: requests in the state HANDSHAKE_ACCEPTED
 * @n_queued: how many there are
 * @n_accepted: how many there are
 * @max_queued: beyond it a submission fails with -EAGAIN
 * @max_accepted: beyond it requests stay queued
 * @announce: tells the agents that requests wait, again and again
 */
struct handshake_net {
	struct kref		ref;
	struct rcu_head		rcu;
	struct net		*net;
	spinlock_t		lock;	/* see above */
	bool			up;
	struct list_head	queued;
	struct list_head	accepted;
	unsigned int		n_queued;
	unsigned int		n_accepted;
	unsigned int		max_queued;
	unsigned int		max_accepted;
	struct delayed_work	announce;
};

/**
 * struct handshake_ops - what a security protocol does with a request
 * @handler_class: which agents its requests are for
 * @accept: adds to @msg what the agent is to know; runs in the context of the
 *	agent and may sleep. An error ends the request.
 * @done: tells the consumer of the end; @status is 0 or a negative errno
 */
struct handshake_ops {
	enum handshake_handler_class handler_class;
	int	(*accept)(struct handshake_req *req, struct sk_buff *msg);
	void	(*done)(struct handshake_req *req, int status,
			key_serial_t peerid);
};

/**
 * struct handshake_req - a request
 * @ref: one is held until its end has been told
 * @rcu: it is found by its socket without a lock
 * @hash: by @sk, from submission to end: one request a socket
 * @list: in a list of @hn
 * @state: enum handshake_state
 * @hn: of the namespace of @sk
 * @ops: of its protocol
 * @file: of the socket, pinned from submission to end
 * @sk: the same
 * @agent: the process that has it, while that is so
 * @agent_exit: in the queue of those that wait for the end of @agent
 * @agent_gone: ends the request when that has come
 * @priv: of the protocol
 */
struct handshake_req {
	struct kref			ref;
	struct rcu_head			rcu;
	struct rhash_head		hash;
	struct list_head		list;
	enum handshake_state		state;
	struct handshake_net		*hn;
	const struct handshake_ops	*ops;
	struct file			*file;
	struct sock			*sk;
	struct pid			*agent;
	struct wait_queue_entry		agent_exit;
	struct work_struct		agent_gone;
	char				priv[] __aligned(__alignof__(u64));
};

static inline void *handshake_req_priv(struct handshake_req *req)
{
	return req->priv;
}

/* request.c */
int handshake_requests_init(void);
void handshake_requests_exit(void);
struct handshake_net *handshake_net_alloc(struct net *net);
void handshake_net_end(struct handshake_net *hn);
void handshake_net_put(struct handshake_net *hn);

struct handshake_req *handshake_req_alloc(const struct handshake_ops *ops,
					  size_t priv_size, gfp_t flags);
void handshake_req_put(struct handshake_req *req);
int handshake_req_submit(struct handshake_net *hn, struct socket *sock,
			 struct handshake_req *req, gfp_t flags);
struct handshake_req *handshake_req_lookup(struct sock *sk);
struct handshake_req *handshake_req_next(struct handshake_net *hn,
					 enum handshake_handler_class class,
					 struct file **file);
void handshake_req_requeue(struct handshake_req *req, int why);
bool handshake_req_complete(struct handshake_req *req, int status,
			    key_serial_t peerid);
bool handshake_req_cancel(struct sock *sk);

/* tls.c */
struct tls_handshake_args;
struct handshake_req *tls_request_alloc(const struct tls_handshake_args *args,
					u32 type, u32 auth,
					unsigned int n_peerids, gfp_t flags);

/* netlink.c */
struct handshake_net *handshake_net_get(const struct net *net);
int handshake_announce(struct net *net, enum handshake_handler_class class,
		       gfp_t flags);

#endif /* _NET_HANDSHAKE_INTERNAL_H */
