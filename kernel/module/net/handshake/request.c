// SPDX-License-Identifier: GPL-2.0
/*
 * The life of a request.
 *
 * A reference belongs to its way from submission to end; those who look it up
 * have one of their own. Each end, by the agent, by the consumer, by the death
 * of either the agent or the namespace, comes through req_leave(), which lets
 * only the first of them pass, and then req_end().
 *
 * Nothing of a request stays in its socket, so the socket can have another one
 * later, and nothing of it is borrowed from the consumer but the socket, whose
 * file is held meanwhile.
 */
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/rhashtable.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <net/net_namespace.h>

#include "handshake.h"

#define CREATE_TRACE_POINTS
#include <trace/events/handshake.h>

/* An announcement can be lost, or nobody may have been there to hear it. */
#define ANNOUNCE_AGAIN	HZ

static struct workqueue_struct *handshake_wq;
static struct rhashtable handshake_table;

static const struct rhashtable_params handshake_table_params = {
	.key_len		= sizeof_field(struct handshake_req, sk),
	.key_offset		= offsetof(struct handshake_req, sk),
	.head_offset		= offsetof(struct handshake_req, hash),
	.automatic_shrinking	= true,
};

/* ---- namespaces ---- */

static void net_release(struct kref *ref)
{
	struct handshake_net *hn = container_of(ref, struct handshake_net, ref);

	kfree_rcu(hn, rcu);
}

/**
 * handshake_net_put - give back a reference
 * @hn: of a namespace
 */
void handshake_net_put(struct handshake_net *hn)
{
	kref_put(&hn->ref, net_release);
}

static void announce_work(struct work_struct *work)
{
	struct handshake_net *hn = container_of(to_delayed_work(work),
						struct handshake_net, announce);
	DECLARE_BITMAP(classes, HANDSHAKE_HANDLER_CLASS_MAX) = { 0 };
	struct handshake_req *req;
	unsigned int class;

	spin_lock_bh(&hn->lock);
	list_for_each_entry(req, &hn->queued, list)
		__set_bit(req->ops->handler_class, classes);
	spin_unlock_bh(&hn->lock);

	for_each_set_bit(class, classes, hn->net ? HANDSHAKE_HANDLER_CLASS_MAX : 0)
		handshake_announce(hn->net, class, GFP_KERNEL);
	if (!bitmap_empty(classes, HANDSHAKE_HANDLER_CLASS_MAX))
		queue_delayed_work(handshake_wq, &hn->announce, ANNOUNCE_AGAIN);
}

/**
 * handshake_net_alloc - make what a namespace needs
 * @net: the namespace, or NULL where no agent is to be told
 *
 * Returns NULL when there is no memory. handshake_net_end() releases it.
 */
struct handshake_net *handshake_net_alloc(struct net *net)
{
	struct handshake_net *hn = kzalloc(sizeof(*hn), GFP_KERNEL);
	unsigned long mib;
	struct sysinfo si;

	if (!hn)
		return NULL;
	kref_init(&hn->ref);
	hn->net = net;
	hn->up = true;
	spin_lock_init(&hn->lock);
	INIT_LIST_HEAD(&hn->queued);
	INIT_LIST_HEAD(&hn->accepted);
	INIT_DELAYED_WORK(&hn->announce, announce_work);

	/* A queued request keeps a consumer waiting that could as well try
	 * again; an accepted one costs the agent some ten KiB, and time with
	 * interrupts off when it exits.
	 */
	si_meminfo(&si);
	mib = (u64)si.totalram * si.mem_unit >> 20;
	hn->max_queued = clamp(mib / 400, 3UL, 50UL);
	hn->max_accepted = clamp(mib, 64UL, 4096UL);
	return hn;
}

/* ---- requests ---- */

static void req_release(struct kref *ref)
{
	struct handshake_req *req = container_of(ref, struct handshake_req, ref);

	if (req->hn)
		handshake_net_put(req->hn);
	kfree_rcu(req, rcu);
}

/**
 * handshake_req_put - give back a reference
 * @req: the request
 */
void handshake_req_put(struct handshake_req *req)
{
	kref_put(&req->ref, req_release);
}

/* Called in the middle of the agent's exit, with locks held: nothing is done
 * here. The request cannot go meanwhile, for its end takes @wait out first.
 */
static int agent_exits(struct wait_queue_entry *wait, unsigned int mode,
		       int flags, void *key)
{
	struct handshake_req *req = container_of(wait, struct handshake_req,
						 agent_exit);

	kref_get(&req->ref);
	if (!queue_work(handshake_wq, &req->agent_gone))
		kref_put(&req->ref, req_release);
	return 0;
}

/* With hn->lock held, which keeps the end of @req away. */
static void watch_agent(struct handshake_req *req)
{
	req->agent = get_pid(task_tgid(current));
	init_waitqueue_func_entry(&req->agent_exit, agent_exits);
	add_wait_queue(&req->agent->wait_pidfd, &req->agent_exit);
}

static void unwatch_agent(struct handshake_req *req)
{
	if (!req->agent)
		return;
	remove_wait_queue(&req->agent->wait_pidfd, &req->agent_exit);
	put_pid(req->agent);
	req->agent = NULL;
}

/* Takes @req out of its list, if it is in the state @from or, where that is
 * HANDSHAKE_NEW, in any. Returns false when it was not, or is over.
 */
static bool req_leave_locked(struct handshake_req *req,
			     enum handshake_state from, enum handshake_state to)
{
	struct handshake_net *hn = req->hn;

	lockdep_assert_held(&hn->lock);
	if (from != HANDSHAKE_NEW && req->state != from)
		return false;
	if (req->state == HANDSHAKE_QUEUED)
		hn->n_queued--;
	else if (req->state == HANDSHAKE_ACCEPTED)
		hn->n_accepted--;
	else
		return false;
	list_del_init(&req->list);
	unwatch_agent(req);
	req->state = to;
	return true;
}

static bool req_leave(struct handshake_req *req, enum handshake_state from,
		      enum handshake_state to)
{
	struct handshake_net *hn = req->hn;
	bool won, more;

	spin_lock_bh(&hn->lock);
	won = req_leave_locked(req, from, to);
	/* one that was left in the queue for want of a place */
	more = won && hn->up && hn->n_queued &&
	       hn->n_accepted + 1 == hn->max_accepted;
	if (more)
		mod_delayed_work(handshake_wq, &hn->announce, 0);
	spin_unlock_bh(&hn->lock);
	return won;
}

/* For the one whose req_leave() returned true. */
static void req_end(struct handshake_req *req, int status, key_serial_t peerid)
{
	struct file *file = req->file;
	bool done = req->state == HANDSHAKE_DONE;

	/* The consumer may submit the next one from within its callback. */
	rhashtable_remove_fast(&handshake_table, &req->hash,
			       handshake_table_params);
	if (done) {
		trace_handshake_complete(req, req->sk, status);
		req->ops->done(req, status, peerid);
	} else {
		trace_handshake_cancel(req, req->sk, 0);
	}
	handshake_req_put(req);
	fput(file);
}

static void agent_gone_work(struct work_struct *work)
{
	struct handshake_req *req = container_of(work, struct handshake_req,
						 agent_gone);
	struct handshake_net *hn = req->hn;
	bool gone = false;

	/* It may have been given back, and even to another agent. */
	spin_lock_bh(&hn->lock);
	if (req->agent && thread_group_exited(req->agent))
		gone = req_leave_locked(req, HANDSHAKE_ACCEPTED, HANDSHAKE_DONE);
	spin_unlock_bh(&hn->lock);

	if (gone)
		req_end(req, -ETIMEDOUT, 0);
	handshake_req_put(req);
}

/**
 * handshake_req_alloc - make a request
 * @ops: of its protocol
 * @priv_size: bytes its protocol needs, zeroed; see handshake_req_priv()
 * @flags: of the allocation
 *
 * Returns NULL when there is no memory.
 */
struct handshake_req *handshake_req_alloc(const struct handshake_ops *ops,
					  size_t priv_size, gfp_t flags)
{
	struct handshake_req *req;

	req = kzalloc(struct_size(req, priv, priv_size), flags);
	if (!req)
		return NULL;
	kref_init(&req->ref);
	INIT_LIST_HEAD(&req->list);
	INIT_WORK(&req->agent_gone, agent_gone_work);
	req->ops = ops;
	return req;
}

static int enqueue(struct handshake_net *hn, struct handshake_req *req)
{
	int ret = 0;

	spin_lock_bh(&hn->lock);
	if (!hn->up) {
		ret = -EOPNOTSUPP;
	} else if (hn->n_queued >= hn->max_queued) {
		ret = -EAGAIN;
	} else {
		list_add_tail(&req->list, &hn->queued);
		hn->n_queued++;
		req->state = HANDSHAKE_QUEUED;
		queue_delayed_work(handshake_wq, &hn->announce, ANNOUNCE_AGAIN);
	}
	spin_unlock_bh(&hn->lock);
	return ret;
}

/**
 * handshake_req_submit - ask for a handshake
 * @hn: of the socket's namespace
 * @sock: connected socket, with a file
 * @req: the request; used up in any case
 * @flags: of allocations
 *
 * Returns 0: either the callback comes, or a cancel succeeds;
 * -EINVAL: the socket has no file;
 * -ESRCH: nobody listens for requests of this class, or nobody has room;
 * -EBUSY: a request for this socket is under way;
 * -EAGAIN: too many wait already;
 * -EOPNOTSUPP: the namespace is about to go;
 * -ENOMEM.
 */
int handshake_req_submit(struct handshake_net *hn, struct socket *sock,
			 struct handshake_req *req, gfp_t flags)
{
	struct file *file;
	struct sock *sk;
	int ret;

	if (!sock || !sock->sk || !sock->file) {
		handshake_req_put(req);
		return -EINVAL;
	}
	sk = sock->sk;
	/* One for this call, for the request can end before it does. */
	file = get_file(sock->file);
	req->sk = sk;
	req->file = get_file(file);
	kref_get(&hn->ref);
	req->hn = hn;

	/* From here on a cancel finds it, and is too early until it is queued. */
	ret = rhashtable_lookup_insert_fast(&handshake_table, &req->hash,
					    handshake_table_params);
	/* while the table grows it can be busy itself */
	if (ret == -EBUSY)
		ret = -EAGAIN;
	if (ret == -EEXIST)
		ret = -EBUSY;
	if (ret)
		goto out;
	/* Once it is queued it can end, and go, at any time. */
	kref_get(&req->ref);
	ret = enqueue(hn, req);
	if (ret)
		goto out_unhash;
	/* Only this tells whether anybody listens in the namespace: what
	 * netlink_has_listeners() says is true of all of them together. If it
	 * fails otherwise, the announcement that is made again does not.
	 */
	ret = hn->net ? handshake_announce(sock_net(sk), req->ops->handler_class,
					   flags) : 0;
	if (ret == -ESRCH &&
	    req_leave(req, HANDSHAKE_QUEUED, HANDSHAKE_CANCELLED))
		goto out_unhash;
	trace_handshake_submit(req, sk, 0);
	handshake_req_put(req);
	fput(file);
	return 0;

out_unhash:
	rhashtable_remove_fast(&handshake_table, &req->hash,
			       handshake_table_params);
	handshake_req_put(req);
out:
	trace_handshake_submit(req, sk, ret);
	fput(req->file);
	handshake_req_put(req);
	fput(file);
	return ret;
}

/**
 * handshake_req_lookup - find the request of a socket
 * @sk: the socket
 *
 * Returns NULL or the request, with a reference.
 */
struct handshake_req *handshake_req_lookup(struct sock *sk)
{
	struct handshake_req *req;

	rcu_read_lock();
	req = rhashtable_lookup(&handshake_table, &sk, handshake_table_params);
	if (req && !kref_get_unless_zero(&req->ref))
		req = NULL;
	rcu_read_unlock();
	return req;
}

/**
 * handshake_req_next - take a request out of the queue
 * @hn: of the namespace
 * @class: only such a request
 * @file: set to its file, with a reference: that of the request is gone when
 *	its consumer cancels it
 *
 * The caller is the agent: the request ends when the process does.
 *
 * Returns NULL or the oldest, with a reference.
 */
struct handshake_req *handshake_req_next(struct handshake_net *hn,
					 enum handshake_handler_class class,
					 struct file **file)
{
	struct handshake_req *req, *found = NULL;

	spin_lock_bh(&hn->lock);
	list_for_each_entry(req, &hn->queued, list) {
		if (hn->n_accepted >= hn->max_accepted)
			break;
		if (req->ops->handler_class != class)
			continue;
		found = req;
		kref_get(&found->ref);
		*file = get_file(found->file);
		list_move_tail(&found->list, &hn->accepted);
		hn->n_queued--;
		hn->n_accepted++;
		found->state = HANDSHAKE_ACCEPTED;
		watch_agent(found);
		break;
	}
	spin_unlock_bh(&hn->lock);
	return found;
}

/**
 * handshake_req_requeue - the agent could not be given what it asked for
 * @req: the request, from handshake_req_next()
 * @why: a negative errno
 *
 * It is queued again, unless it is over: behind the others, for what it wants
 * may stay away for long.
 */
void handshake_req_requeue(struct handshake_req *req, int why)
{
	struct handshake_net *hn = req->hn;

	spin_lock_bh(&hn->lock);
	if (req->state == HANDSHAKE_ACCEPTED) {
		trace_handshake_requeue(req, req->sk, why);
		list_move_tail(&req->list, &hn->queued);
		hn->n_queued++;
		hn->n_accepted--;
		req->state = HANDSHAKE_QUEUED;
		unwatch_agent(req);
		queue_delayed_work(handshake_wq, &hn->announce, ANNOUNCE_AGAIN);
	}
	spin_unlock_bh(&hn->lock);
}

/**
 * handshake_req_complete - end an accepted request, and tell its consumer
 * @req: the request
 * @status: 0 or a negative errno
 * @peerid: serial of a key that tells who the peer is, or 0
 *
 * Returns false when it is not accepted, or over already.
 */
bool handshake_req_complete(struct handshake_req *req, int status,
			    key_serial_t peerid)
{
	if (!req_leave(req, HANDSHAKE_ACCEPTED, HANDSHAKE_DONE))
		return false;
	req_end(req, status, peerid);
	return true;
}

/**
 * handshake_req_cancel - end the request of a socket without a word
 * @sk: the socket
 *
 * May be called in softirq context.
 *
 * Returns true when its consumer will not be told any more; false when there
 * is none, or its consumer is told just now.
 */
bool handshake_req_cancel(struct sock *sk)
{
	struct handshake_req *req = handshake_req_lookup(sk);
	bool won;

	if (!req)
		return false;
	won = req_leave(req, HANDSHAKE_NEW, HANDSHAKE_CANCELLED);
	if (won)
		req_end(req, 0, 0);
	handshake_req_put(req);
	return won;
}

/**
 * handshake_net_end - end all requests of a namespace, which goes
 * @hn: of the namespace
 *
 * Their consumers are told -ETIMEDOUT.
 */
void handshake_net_end(struct handshake_net *hn)
{
	struct list_head *const lists[] = { &hn->queued, &hn->accepted };
	struct handshake_req *req, *next;
	LIST_HEAD(ended);
	unsigned int i;

	spin_lock_bh(&hn->lock);
	hn->up = false;
	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		list_for_each_entry_safe(req, next, lists[i], list) {
			req_leave_locked(req, HANDSHAKE_NEW, HANDSHAKE_DONE);
			list_add_tail(&req->list, &ended);
		}
	}
	spin_unlock_bh(&hn->lock);
	cancel_delayed_work_sync(&hn->announce);

	list_for_each_entry_safe(req, next, &ended, list) {
		list_del_init(&req->list);
		req_end(req, -ETIMEDOUT, 0);
	}
	handshake_net_put(hn);
}

int __init handshake_requests_init(void)
{
	int ret;

	handshake_wq = alloc_workqueue("handshake", 0, 0);
	if (!handshake_wq)
		return -ENOMEM;
	ret = rhashtable_init(&handshake_table, &handshake_table_params);
	if (ret)
		destroy_workqueue(handshake_wq);
	return ret;
}

/* When no namespace is left. */
void handshake_requests_exit(void)
{
	destroy_workqueue(handshake_wq);
	rhashtable_destroy(&handshake_table);
}
