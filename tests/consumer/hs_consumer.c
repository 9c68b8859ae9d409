// SPDX-License-Identifier: GPL-2.0
/*
 * A consumer of the TLS handshake upcall for tests.
 *
 * The ioctl is one handshake from submission to callback.  Its file reference on the socket gives
 * the socket the struct file that a submission demands, for as long as the request lives.
 *
 * The callback is given a number, not an address, and looks its call up by it: a callback that
 * comes twice, or after a cancel, is counted as a stray and does no harm.  Numbers go round, that
 * it does not meet the next call.
 *
 * The kernel borrows the peer name.  It must live until the callback; and an ACCEPT which was
 * already under way when a cancel won may read it still later, hence the names of cancelled calls
 * are kept until the module goes.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/in.h>
#include <linux/jiffies.h>
#include <linux/key.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>
#include <net/handshake.h>
#include <net/sock.h>
#include <net/tcp_states.h>

#include "hs_consumer.h"

#define HS_DEFAULT_WAIT_MS	30000
#define HS_DEFAULT_RETRY_MS	5000
#define HS_RETRY_STEP_MS	10

struct hs_call {
	struct list_head	cancelled;
	struct completion	done;
	struct hs_consumer_handshake hs;
	ktime_t			start;
	ktime_t			end;
	u32			id;
	struct sock		*sk;
	struct hrtimer		timer;
	bool			timer_won;
};

static DEFINE_XARRAY_FLAGS(hs_calls, XA_FLAGS_ALLOC1 | XA_FLAGS_LOCK_BH);
static u32 hs_next_id;
static atomic_t hs_stray = ATOMIC_INIT(0);
static LIST_HEAD(hs_cancelled);
static DEFINE_SPINLOCK(hs_cancelled_lock);

static void hs_done(void *data, int status, key_serial_t peerid)
{
	struct hs_call *call;

	xa_lock_bh(&hs_calls);
	call = xa_load(&hs_calls, (unsigned long)data);
	if (call && call->hs.callbacks++ == 0) {
		call->end = ktime_get();
		call->hs.status = status;
		call->hs.remote_peerid = peerid;
		complete(&call->done);
	}
	xa_unlock_bh(&hs_calls);

	if (!call) {
		atomic_inc(&hs_stray);
		pr_err("callback with status %d for a request that is over\n", status);
	}
}

static int hs_submit_once(const struct hs_consumer_handshake *hs,
			  const struct tls_handshake_args *args)
{
	if (hs->role == HS_CONSUMER_CLIENT) {
		switch (hs->auth) {
		case HS_CONSUMER_UNAUTH:
			return tls_client_hello_anon(args, GFP_KERNEL);
		case HS_CONSUMER_PSK:
			return tls_client_hello_psk(args, GFP_KERNEL);
		case HS_CONSUMER_X509:
			return tls_client_hello_x509(args, GFP_KERNEL);
		}
	} else {
		switch (hs->auth) {
		case HS_CONSUMER_PSK:
			return tls_server_hello_psk(args, GFP_KERNEL);
		case HS_CONSUMER_X509:
			return tls_server_hello_x509(args, GFP_KERNEL);
		}
	}
	return -EINVAL;
}

/* The kernel limits how many requests wait for an agent; a consumer has to try again. */
static int hs_submit(struct hs_call *call, struct socket *sock)
{
	struct hs_consumer_handshake *hs = &call->hs;
	struct tls_handshake_args args = {
		.ta_sock = sock,
		.ta_done = hs_done,
		.ta_data = (void *)(unsigned long)call->id,
		.ta_peername = hs->peername[0] ? hs->peername : NULL,
		.ta_timeout_ms = hs->timeout_ms,
		.ta_keyring = hs->keyring,
		.ta_my_cert = hs->cert,
		.ta_my_privkey = hs->privkey,
		.ta_num_peerids = hs->num_peerids,
	};
	unsigned long end = jiffies + msecs_to_jiffies(hs->retry_ms);
	unsigned int i;
	int ret;

	for (i = 0; i < hs->num_peerids; i++)
		args.ta_my_peerids[i] = hs->peerids[i];

	call->start = ktime_get();
	for (;;) {
		ret = hs_submit_once(hs, &args);
		if (ret != -EAGAIN || time_after(jiffies, end))
			return ret;
		if (msleep_interruptible(HS_RETRY_STEP_MS))
			return -EINTR;
		hs->retries++;
	}
}

/* In softirq context, as a consumer that sees its transport die. */
static enum hrtimer_restart hs_timer(struct hrtimer *timer)
{
	struct hs_call *call = container_of(timer, struct hs_call, timer);

	call->timer_won = tls_handshake_cancel(call->sk);
	if (call->timer_won)
		complete(&call->done);
	return HRTIMER_NORESTART;
}

/* The timer neither runs nor will when this returns what the wait did. */
static long hs_wait_done(struct hs_call *call)
{
	long left;

	if (call->hs.cancel_us)
		hrtimer_start(&call->timer, ns_to_ktime((u64)call->hs.cancel_us * NSEC_PER_USEC),
			      HRTIMER_MODE_REL_SOFT);
	left = wait_for_completion_interruptible_timeout(&call->done,
							 msecs_to_jiffies(call->hs.wait_ms));
	hrtimer_cancel(&call->timer);
	return left;
}

/* Returns 0 after a callback; else the error, and the request was cancelled. */
static int hs_wait(struct hs_call *call)
{
	long left = hs_wait_done(call);

	if (call->timer_won) {
		call->hs.flags |= HS_CONSUMER_CANCELLED;
		return -ETIMEDOUT;
	}
	if (left > 0)
		return 0;
	if (left == 0)
		call->hs.flags |= HS_CONSUMER_WAIT_OVER;
	if (tls_handshake_cancel(call->sk)) {
		call->hs.flags |= HS_CONSUMER_CANCELLED;
		return left ? -EINTR : -ETIMEDOUT;
	}
	/* The completion won: the callback is running or about to. */
	wait_for_completion(&call->done);
	return 0;
}

static void hs_clear_results(struct hs_consumer_handshake *hs)
{
	hs->status = 0;
	hs->remote_peerid = 0;
	hs->flags = 0;
	hs->callbacks = 0;
	hs->stray = 0;
	hs->retries = 0;
	hs->elapsed_us = 0;
}

static int hs_check(struct hs_consumer_handshake *hs)
{
	if (hs->role != HS_CONSUMER_CLIENT && hs->role != HS_CONSUMER_SERVER)
		return -EINVAL;
	if (hs->auth < HS_CONSUMER_UNAUTH || hs->auth > HS_CONSUMER_X509)
		return -EINVAL;
	if (hs->role == HS_CONSUMER_SERVER && hs->auth == HS_CONSUMER_UNAUTH)
		return -EINVAL;
	if (hs->num_peerids > HS_CONSUMER_MAX_PEERIDS)
		return -EINVAL;
	if (strnlen(hs->peername, sizeof(hs->peername)) == sizeof(hs->peername))
		return -EINVAL;

	if (!hs->wait_ms)
		hs->wait_ms = HS_DEFAULT_WAIT_MS;
	if (!hs->retry_ms)
		hs->retry_ms = HS_DEFAULT_RETRY_MS;
	return 0;
}

static int hs_check_socket(struct socket *sock)
{
	const struct sock *sk = sock->sk;

	if (sk->sk_type != SOCK_STREAM || sk->sk_protocol != IPPROTO_TCP ||
	    (sk->sk_family != AF_INET && sk->sk_family != AF_INET6))
		return -EPROTOTYPE;
	if ((1 << READ_ONCE(sk->sk_state)) & ~(TCPF_ESTABLISHED | TCPF_CLOSE_WAIT))
		return -ENOTCONN;
	return 0;
}

/* From here on a callback is a stray. */
static void hs_unhash(struct hs_call *call)
{
	xa_erase_bh(&hs_calls, call->id);
	call->hs.stray = atomic_read(&hs_stray);
}

static void hs_call_free(struct hs_call *call)
{
	if (!(call->hs.flags & HS_CONSUMER_CANCELLED)) {
		kfree(call);
		return;
	}
	spin_lock(&hs_cancelled_lock);
	list_add(&call->cancelled, &hs_cancelled);
	spin_unlock(&hs_cancelled_lock);
}

static int hs_handshake(struct hs_call *call, struct socket *sock)
{
	int ret;

	call->sk = sock->sk;
	ret = xa_alloc_cyclic_bh(&hs_calls, &call->id, call, xa_limit_31b, &hs_next_id,
				 GFP_KERNEL);
	if (ret < 0)
		return ret;

	ret = hs_submit(call, sock);
	if (!ret) {
		call->hs.flags |= HS_CONSUMER_SUBMITTED;
		ret = hs_wait(call);
	}
	hs_unhash(call);
	if (ret) {
		call->hs.status = ret;
		call->end = ktime_get();
	}
	call->hs.elapsed_us = ktime_us_delta(call->end, call->start);
	return 0;
}

static int hs_close(const __s32 __user *argp)
{
	struct socket *sock;
	int fd, ret;

	if (get_user(fd, argp))
		return -EFAULT;
	sock = sockfd_lookup(fd, &ret);
	if (!sock)
		return ret;
	tls_handshake_close(sock);
	sockfd_put(sock);
	return 0;
}

static long hs_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *argp = (void __user *)arg;
	struct hs_call *call;
	struct socket *sock;
	int ret;

	if (cmd == HS_CONSUMER_CLOSE)
		return hs_close(argp);
	if (cmd != HS_CONSUMER_HANDSHAKE)
		return -ENOTTY;

	call = kzalloc(sizeof(*call), GFP_KERNEL);
	if (!call)
		return -ENOMEM;
	init_completion(&call->done);
	hrtimer_init(&call->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_SOFT);
	call->timer.function = hs_timer;

	ret = copy_from_user(&call->hs, argp, sizeof(call->hs)) ? -EFAULT : 0;
	hs_clear_results(&call->hs);
	if (ret)
		goto out;
	ret = hs_check(&call->hs);
	if (ret)
		goto out;
	sock = sockfd_lookup(call->hs.sockfd, &ret);
	if (!sock)
		goto out;
	ret = hs_check_socket(sock);
	if (!ret)
		ret = hs_handshake(call, sock);
	sockfd_put(sock);
	if (!ret && copy_to_user(argp, &call->hs, sizeof(call->hs)))
		ret = -EFAULT;
out:
	hs_call_free(call);
	return ret;
}

static const struct file_operations hs_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= hs_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice hs_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= HS_CONSUMER_DEVICE,
	.fops	= &hs_fops,
	.mode	= 0600,
};

static int __init hs_init(void)
{
	return misc_register(&hs_device);
}

static void __exit hs_exit(void)
{
	struct hs_call *call, *next;

	misc_deregister(&hs_device);
	/* The last callback may still be on its way out of here. */
	synchronize_rcu_tasks();
	list_for_each_entry_safe(call, next, &hs_cancelled, cancelled)
		kfree(call);
	xa_destroy(&hs_calls);
}

module_init(hs_init);
module_exit(hs_exit);

MODULE_DESCRIPTION("Consumer of the TLS handshake upcall, for tests");
MODULE_LICENSE("GPL");
