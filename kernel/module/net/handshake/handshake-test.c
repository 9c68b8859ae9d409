// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the life of a request: submission, limits, each of its ends,
 * and two of them at once. The queue is the test's own; the agent is the test,
 * or a kernel thread of it.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/net.h>
#include <linux/random.h>
#include <net/handshake.h>
#include <net/net_namespace.h>

#include "handshake.h"

#define TLSHD		HANDSHAKE_HANDLER_CLASS_TLSHD
#define ROUNDS		100000
#define DEATHS		2000
#define WAIT		(10 * HZ)

/* What the consumer of a request has heard. */
struct heard {
	unsigned int	calls;
	int		status;
	key_serial_t	peerid;
	bool		again;	/* submit another one from within */
	int		submitted;
	struct completion done;
};

struct world {
	struct handshake_net	*hn;
	struct socket		*sock;
	struct file		*file;
	struct heard		heard;
};

static struct world *present;

static int submit(struct world *w, struct heard *heard);

static void test_done(struct handshake_req *req, int status,
		      key_serial_t peerid)
{
	struct heard *heard = *(struct heard **)handshake_req_priv(req);

	heard->calls++;
	heard->status = status;
	heard->peerid = peerid;
	if (heard->again) {
		heard->again = false;
		heard->submitted = submit(present, heard);
	}
	complete(&heard->done);
}

static const struct handshake_ops test_ops = {
	.handler_class = TLSHD, .done = test_done,
};

static int submit_on(struct world *w, struct socket *sock, struct heard *heard)
{
	struct handshake_req *req = handshake_req_alloc(&test_ops, sizeof(heard),
							GFP_KERNEL);

	if (!req)
		return -ENOMEM;
	*(struct heard **)handshake_req_priv(req) = heard;
	return handshake_req_submit(w->hn, sock, req, GFP_KERNEL);
}

static int submit(struct world *w, struct heard *heard)
{
	return submit_on(w, w->sock, heard);
}

static void no_done(void *data, int status, key_serial_t peerid)
{
}

static void listen_anew(struct heard *heard)
{
	memset(heard, 0, sizeof(*heard));
	init_completion(&heard->done);
}

static struct file *make_socket(struct socket **sock)
{
	if (sock_create_kern(&init_net, PF_INET, SOCK_STREAM, IPPROTO_TCP, sock))
		return NULL;
	return sock_alloc_file(*sock, O_NONBLOCK, NULL);
}

static int world_init(struct kunit *test)
{
	struct world *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);

	if (!w)
		return -ENOMEM;
	w->hn = handshake_net_alloc(NULL);
	w->file = make_socket(&w->sock);
	if (!w->hn || IS_ERR_OR_NULL(w->file))
		return -ENOMEM;
	listen_anew(&w->heard);
	test->priv = w;
	present = w;
	return 0;
}

/* Whoever ends a request gives the file back a moment after the callback. */
static bool is_free(struct file *file)
{
	unsigned int i;

	for (i = 0; i < 100 && file_count(file) > 1; i++)
		msleep(20);
	return file_count(file) == 1;
}

/* Whatever was done, nothing of it holds the file. */
static void world_exit(struct kunit *test)
{
	struct world *w = test->priv;

	if (!w)
		return;
	if (w->hn)
		handshake_net_end(w->hn);
	KUNIT_EXPECT_TRUE(test, is_free(w->file));
	fput(w->file);
}

/* The oldest request, accepted by this task. */
static struct handshake_req *next(struct world *w)
{
	struct file *file;
	struct handshake_req *req = handshake_req_next(w->hn, TLSHD, &file);

	if (req)
		fput(file);
	return req;
}

/* ---- submission ---- */

static void test_no_file(struct kunit *test)
{
	struct world *w = test->priv;
	struct socket *bare;

	KUNIT_ASSERT_EQ(test, 0, sock_create_kern(&init_net, PF_INET,
						  SOCK_STREAM, IPPROTO_TCP,
						  &bare));
	KUNIT_EXPECT_EQ(test, -EINVAL, submit_on(w, bare, &w->heard));
	KUNIT_EXPECT_EQ(test, -EINVAL, submit_on(w, NULL, &w->heard));
	sock_release(bare);
	KUNIT_EXPECT_EQ(test, w->heard.calls, 0);
}

/* A kernel socket of another namespace than the initial one, unless its owner
 * has made it hold that.
 */
static void test_holds_no_net(struct kunit *test)
{
	struct world *w = test->priv;
	struct net *other = kunit_kzalloc(test, sizeof(*other), GFP_KERNEL);
	struct tls_handshake_args args = {
		.ta_sock = w->sock, .ta_done = no_done,
	};
	struct sock *sk = w->sock->sk;

	KUNIT_ASSERT_NOT_NULL(test, other);
	KUNIT_ASSERT_FALSE(test, sk->sk_net_refcnt);
	write_pnet(&sk->sk_net, other);
	KUNIT_EXPECT_EQ(test, -EINVAL, tls_client_hello_anon(&args, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, -EINVAL, tls_server_hello_x509(&args, GFP_KERNEL));
	write_pnet(&sk->sk_net, &init_net);
	/* that one is taken as far as it goes without an agent */
	KUNIT_EXPECT_EQ(test, -ESRCH, tls_client_hello_anon(&args, GFP_KERNEL));
}

static void test_busy(struct kunit *test)
{
	struct world *w = test->priv;
	struct heard other;

	listen_anew(&other);
	KUNIT_ASSERT_EQ(test, 0, submit(w, &w->heard));
	KUNIT_EXPECT_EQ(test, -EBUSY, submit(w, &other));
	KUNIT_EXPECT_TRUE(test, handshake_req_cancel(w->sock->sk));
	KUNIT_EXPECT_EQ(test, other.calls + w->heard.calls, 0);
}

static void test_too_many(struct kunit *test)
{
	struct world *w = test->priv;
	unsigned int i, n = w->hn->max_queued;
	struct socket *socks[50];
	struct file *files[50];

	KUNIT_EXPECT_GE(test, n, 3);
	KUNIT_ASSERT_LE(test, n, 50);
	for (i = 0; i < n; i++) {
		files[i] = make_socket(&socks[i]);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, files[i]);
		KUNIT_EXPECT_EQ(test, 0, submit_on(w, socks[i], &w->heard));
	}
	KUNIT_EXPECT_EQ(test, -EAGAIN, submit(w, &w->heard));
	/* One that is accepted makes room. */
	handshake_req_put(next(w));
	KUNIT_EXPECT_EQ(test, 0, submit(w, &w->heard));
	handshake_net_end(w->hn);
	KUNIT_EXPECT_EQ(test, w->heard.calls, n + 1);
	for (i = 0; i < n; i++) {
		KUNIT_EXPECT_EQ(test, file_count(files[i]), 1);
		fput(files[i]);
	}
	w->hn = NULL;
}

static void test_too_many_accepted(struct kunit *test)
{
	struct world *w = test->priv;
	struct handshake_req *first;
	struct socket *sock;
	struct file *file = make_socket(&sock);
	struct heard other;

	listen_anew(&other);
	w->hn->max_accepted = 1;
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	KUNIT_ASSERT_EQ(test, 0, submit(w, &w->heard));
	KUNIT_ASSERT_EQ(test, 0, submit_on(w, sock, &other));
	first = next(w);
	KUNIT_ASSERT_NOT_NULL(test, first);
	KUNIT_EXPECT_NULL(test, next(w));
	KUNIT_EXPECT_TRUE(test, handshake_req_complete(first, 0, 0));
	handshake_req_put(first);
	first = next(w);
	KUNIT_ASSERT_NOT_NULL(test, first);
	KUNIT_EXPECT_TRUE(test, handshake_req_complete(first, -EIO, 0));
	handshake_req_put(first);
	KUNIT_EXPECT_EQ(test, other.status, -EIO);
	fput(file);
}

/* ---- the ways to end ---- */

static void test_complete(struct kunit *test)
{
	struct world *w = test->priv;
	struct handshake_req *req;

	KUNIT_ASSERT_EQ(test, 0, submit(w, &w->heard));
	req = handshake_req_lookup(w->sock->sk);
	KUNIT_ASSERT_NOT_NULL(test, req);
	KUNIT_EXPECT_FALSE(test, handshake_req_complete(req, 0, 7));
	handshake_req_put(req);
	KUNIT_EXPECT_NULL(test, handshake_req_next(w->hn, TLSHD + 1, NULL));
	req = next(w);
	KUNIT_ASSERT_NOT_NULL(test, req);
	KUNIT_EXPECT_EQ(test, file_count(w->file), 2);
	KUNIT_EXPECT_TRUE(test, handshake_req_complete(req, -EACCES, 7));
	KUNIT_EXPECT_FALSE(test, handshake_req_complete(req, 0, 8));
	KUNIT_EXPECT_FALSE(test, handshake_req_cancel(w->sock->sk));
	KUNIT_EXPECT_EQ(test, w->heard.calls, 1);
	KUNIT_EXPECT_EQ(test, w->heard.status, -EACCES);
	KUNIT_EXPECT_EQ(test, w->heard.peerid, 7);
	KUNIT_EXPECT_NULL(test, handshake_req_lookup(w->sock->sk));
	handshake_req_put(req);
}

static void test_cancel(struct kunit *test)
{
	struct world *w = test->priv;
	struct handshake_req *req;

	KUNIT_EXPECT_FALSE(test, handshake_req_cancel(w->sock->sk));
	KUNIT_ASSERT_EQ(test, 0, submit(w, &w->heard));
	KUNIT_EXPECT_TRUE(test, handshake_req_cancel(w->sock->sk));
	KUNIT_EXPECT_FALSE(test, handshake_req_cancel(w->sock->sk));
	KUNIT_EXPECT_NULL(test, next(w));

	KUNIT_ASSERT_EQ(test, 0, submit(w, &w->heard));
	req = next(w);
	KUNIT_ASSERT_NOT_NULL(test, req);
	KUNIT_EXPECT_TRUE(test, handshake_req_cancel(w->sock->sk));
	KUNIT_EXPECT_FALSE(test, handshake_req_complete(req, 0, 0));
	handshake_req_requeue(req, -EAGAIN);
	KUNIT_EXPECT_NULL(test, next(w));
	handshake_req_put(req);
	KUNIT_EXPECT_EQ(test, w->heard.calls, 0);
}

static void test_requeue(struct kunit *test)
{
	struct world *w = test->priv;
	struct handshake_req *req, *again;

	KUNIT_ASSERT_EQ(test, 0, submit(w, &w->heard));
	req = next(w);
	KUNIT_ASSERT_NOT_NULL(test, req);
	handshake_req_requeue(req, -EAGAIN);
	KUNIT_EXPECT_FALSE(test, handshake_req_complete(req, 0, 0));
	again = next(w);
	KUNIT_EXPECT_PTR_EQ(test, req, again);
	KUNIT_EXPECT_TRUE(test, handshake_req_complete(again, 0, 0));
	KUNIT_EXPECT_EQ(test, w->heard.calls, 1);
	handshake_req_put(again);
	handshake_req_put(req);
}

static void test_again(struct kunit *test)
{
	struct world *w = test->priv;
	struct handshake_req *req;
	unsigned int i;

	for (i = 1; i <= 3; i++) {
		KUNIT_ASSERT_EQ(test, 0, submit(w, &w->heard));
		req = next(w);
		KUNIT_ASSERT_NOT_NULL(test, req);
		KUNIT_EXPECT_TRUE(test, handshake_req_complete(req, 0, i));
		handshake_req_put(req);
		KUNIT_EXPECT_EQ(test, w->heard.calls, i);
	}
	/* and from within the callback */
	w->heard.again = true;
	w->heard.submitted = 1;
	KUNIT_ASSERT_EQ(test, 0, submit(w, &w->heard));
	req = next(w);
	KUNIT_ASSERT_NOT_NULL(test, req);
	KUNIT_EXPECT_TRUE(test, handshake_req_complete(req, 0, 0));
	handshake_req_put(req);
	KUNIT_EXPECT_EQ(test, w->heard.submitted, 0);
	KUNIT_EXPECT_TRUE(test, handshake_req_cancel(w->sock->sk));
}

/* A namespace goes that has one in the queue and one with an agent. */
static void test_net_end(struct kunit *test)
{
	struct world *w = test->priv;
	struct handshake_req *req;
	struct socket *sock;
	struct file *file = make_socket(&sock);
	struct heard other;

	listen_anew(&other);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	KUNIT_ASSERT_EQ(test, 0, submit(w, &w->heard));
	req = next(w);
	KUNIT_ASSERT_NOT_NULL(test, req);
	KUNIT_ASSERT_EQ(test, 0, submit_on(w, sock, &other));
	kref_get(&w->hn->ref);	/* for the exit of the test */
	handshake_net_end(w->hn);
	KUNIT_EXPECT_EQ(test, w->heard.calls, 1);
	KUNIT_EXPECT_EQ(test, w->heard.status, -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, other.calls, 1);
	KUNIT_EXPECT_EQ(test, other.status, -ETIMEDOUT);
	KUNIT_EXPECT_FALSE(test, handshake_req_complete(req, 0, 0));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, submit(w, &w->heard));
	KUNIT_EXPECT_EQ(test, file_count(file), 1);
	handshake_req_put(req);
	fput(file);
}

/* ---- the agent dies ---- */

enum agent_does { DIES, COMPLETES };

struct agent {
	struct world	*w;
	enum agent_does	does;
	bool		had_it;
	struct completion accepted;
	struct completion go;
	struct completion ended;
};

static int agent_thread(void *arg)
{
	struct agent *agent = arg;
	struct handshake_req *req = next(agent->w);

	agent->had_it = req;
	complete(&agent->accepted);
	wait_for_completion(&agent->go);
	if (req && agent->does != DIES)
		handshake_req_complete(req, 0, 3);
	if (req)
		handshake_req_put(req);
	/* what it has accepted ends with it, and not before */
	kthread_complete_and_exit(&agent->ended, 0);
}

static struct task_struct *start_agent(struct agent *agent, struct world *w,
				       enum agent_does does)
{
	struct task_struct *task;

	agent->w = w;
	agent->does = does;
	init_completion(&agent->accepted);
	init_completion(&agent->go);
	init_completion(&agent->ended);
	task = kthread_run(agent_thread, agent, "handshake_agent");
	if (!IS_ERR(task))
		wait_for_completion(&agent->accepted);
	return task;
}

static void test_agent_dies(struct kunit *test)
{
	struct world *w = test->priv;
	struct agent agent;

	KUNIT_ASSERT_EQ(test, 0, submit(w, &w->heard));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, start_agent(&agent, w, DIES));
	KUNIT_EXPECT_TRUE(test, agent.had_it);
	msleep(20);
	KUNIT_EXPECT_EQ(test, w->heard.calls, 0);
	complete(&agent.go);
	wait_for_completion(&agent.ended);
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&w->heard.done, WAIT));
	KUNIT_EXPECT_EQ(test, w->heard.status, -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, w->heard.calls, 1);
}

static void test_agent_completes(struct kunit *test)
{
	struct world *w = test->priv;
	struct agent agent;

	KUNIT_ASSERT_EQ(test, 0, submit(w, &w->heard));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, start_agent(&agent, w, COMPLETES));
	complete(&agent.go);
	wait_for_completion(&agent.ended);
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&w->heard.done, WAIT));
	msleep(50);
	KUNIT_EXPECT_EQ(test, w->heard.status, 0);
	KUNIT_EXPECT_EQ(test, w->heard.calls, 1);
}

/* Its end and a cancel at once, again and again: one of them ends the request. */
static void test_agent_dies_often(struct kunit *test)
{
	struct world *w = test->priv;
	unsigned int i, told = 0, cancelled = 0;
	struct agent agent;

	for (i = 0; i < DEATHS; i++) {
		listen_anew(&w->heard);
		KUNIT_ASSERT_EQ(test, 0, submit(w, &w->heard));
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, start_agent(&agent, w, DIES));
		complete(&agent.go);
		if (i % 4)
			usleep_range(i % 4 * 200, i % 4 * 400);
		if (handshake_req_cancel(w->sock->sk))
			cancelled++;
		else if (wait_for_completion_timeout(&w->heard.done, WAIT))
			told++;
		wait_for_completion(&agent.ended);
		if (w->heard.calls > 1 || told + cancelled != i + 1)
			break;
	}
	kunit_info(test, "%u deaths: %u told, %u cancelled\n", i, told, cancelled);
	KUNIT_EXPECT_EQ(test, i, DEATHS);
	KUNIT_EXPECT_GT(test, told, 0);
	KUNIT_EXPECT_GT(test, cancelled, 0);
}

/* ---- two ends at once ---- */

enum racer_does { COMPLETE, CANCEL, REQUEUE, N_RACER_DOES };

struct racer {
	struct handshake_req	*req;
	struct sock		*sk;
	enum racer_does		does;
	unsigned int		won;
	struct completion	go;
	struct completion	finished;
	bool			stop;
};

static int racer_thread(void *arg)
{
	struct racer *r = arg;

	for (;;) {
		wait_for_completion(&r->go);
		if (r->stop)
			break;
		ndelay(prandom_u32_max(500));
		r->won = 0;
		switch (r->does) {
		case COMPLETE:
			r->won = handshake_req_complete(r->req, 0, 0);
			break;
		case CANCEL:
			r->won = handshake_req_cancel(r->sk);
			break;
		default:
			handshake_req_requeue(r->req, -EAGAIN);
		}
		complete(&r->finished);
	}
	complete(&r->finished);
	return 0;
}

/* Returns false when not just one of them ended it. */
static bool race(struct world *w, struct racer *racers, unsigned int n,
		 unsigned int *told)
{
	unsigned int i, won = 0;
	struct handshake_req *req;

	listen_anew(&w->heard);
	if (submit(w, &w->heard))
		return false;
	req = next(w);
	if (!req)
		return false;
	for (i = 0; i < n; i++) {
		racers[i].req = req;
		racers[i].does = prandom_u32_max(N_RACER_DOES);
	}
	for (i = 0; i < n; i++)
		complete(&racers[i].go);
	for (i = 0; i < n; i++) {
		wait_for_completion(&racers[i].finished);
		won += racers[i].won;
	}
	/* What nobody has ended is still there to be. */
	if (!won)
		won = handshake_req_cancel(w->sock->sk);
	handshake_req_put(req);
	*told += w->heard.calls;
	return won == 1 && w->heard.calls <= 1 &&
	       file_count(w->file) == 1 &&
	       !handshake_req_lookup(w->sock->sk);
}

static void test_races(struct kunit *test)
{
	struct world *w = test->priv;
	struct racer racers[2] = { };
	unsigned int i, rounds, told = 0;

	for (i = 0; i < ARRAY_SIZE(racers); i++) {
		racers[i].sk = w->sock->sk;
		init_completion(&racers[i].go);
		init_completion(&racers[i].finished);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test,
					     kthread_run(racer_thread, &racers[i],
							 "handshake_race"));
	}
	for (rounds = 0; rounds < ROUNDS; rounds++)
		if (!race(w, racers, ARRAY_SIZE(racers), &told))
			break;
	for (i = 0; i < ARRAY_SIZE(racers); i++) {
		racers[i].stop = true;
		complete(&racers[i].go);
		wait_for_completion(&racers[i].finished);
	}
	kunit_info(test, "%u races, %u told\n", rounds, told);
	KUNIT_EXPECT_EQ(test, rounds, ROUNDS);
	KUNIT_EXPECT_EQ(test, w->hn->n_queued + w->hn->n_accepted, 0);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_no_file),
	KUNIT_CASE(test_holds_no_net),
	KUNIT_CASE(test_busy),
	KUNIT_CASE(test_too_many),
	KUNIT_CASE(test_too_many_accepted),
	KUNIT_CASE(test_complete),
	KUNIT_CASE(test_cancel),
	KUNIT_CASE(test_requeue),
	KUNIT_CASE(test_again),
	KUNIT_CASE(test_net_end),
	KUNIT_CASE(test_agent_dies),
	KUNIT_CASE(test_agent_completes),
	KUNIT_CASE(test_agent_dies_often),
	KUNIT_CASE(test_races),
	{}
};

static struct kunit_suite suite = {
	.name		= "handshake",
	.init		= world_init,
	.exit		= world_exit,
	.test_cases	= cases,
};

kunit_test_suites(&suite);
