/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM handshake

#if !defined(_TRACE_HANDSHAKE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_HANDSHAKE_H

#include <linux/tracepoint.h>
#include <net/net_namespace.h>
#include <net/sock.h>

struct handshake_req;

/* One event for each step of a request; @ret is 0 or a negative errno. */
DECLARE_EVENT_CLASS(handshake_step,
		    TP_PROTO(const struct handshake_req *req,
			     const struct sock *sk, int ret),
		    TP_ARGS(req, sk, ret),
		    TP_STRUCT__entry(__field(const void *, req)
				     __field(const void *, sk)
				     __field(unsigned int, netns)
				     __field(int, ret)),
		    TP_fast_assign(__entry->req = req;
				   __entry->sk = sk;
				   __entry->netns = sock_net(sk)->ns.inum;
				   __entry->ret = ret;),
		    TP_printk("req=%p sk=%p netns=%u ret=%d",
			      __entry->req, __entry->sk, __entry->netns,
			      __entry->ret)
);

#define DEFINE_HANDSHAKE_STEP(name)					\
	DEFINE_EVENT(handshake_step, name,				\
		     TP_PROTO(const struct handshake_req *req,		\
			      const struct sock *sk, int ret),		\
		     TP_ARGS(req, sk, ret))

DEFINE_HANDSHAKE_STEP(handshake_submit);
DEFINE_HANDSHAKE_STEP(handshake_accept);
DEFINE_HANDSHAKE_STEP(handshake_requeue);
DEFINE_HANDSHAKE_STEP(handshake_complete);
DEFINE_HANDSHAKE_STEP(handshake_cancel);

#endif /* _TRACE_HANDSHAKE_H */

#include <trace/define_trace.h>
