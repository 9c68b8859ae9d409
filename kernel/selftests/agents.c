// SPDX-License-Identifier: GPL-2.0
/*
 * Agents that are more than one thread with one socket: whoever has the
 * descriptor may send DONE, while the process lives that sent ACCEPT.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "upcall.h"

static struct nl nl;
static int channel[2];

/* Whatever happened to a part of its agent, the request is under way. */
static void goes_on(struct call *call, const char *what)
{
	ok(!call_over(call, 300), "%s: the request goes on", what);
}

static void end_here(struct call *call, int fd, const char *what)
{
	is(done(&nl, fd, 0), 0, "%s: DONE", what);
	is(call_end(call), 0, "%s: the request ends well", what);
	call_close(call);
	close(fd);
}

static void *thread_accepts(void *arg)
{
	struct accepted *acc = arg;
	struct nl own;

	if (!nl_open(&own)) {
		accept_wait(&own, acc, 3000);
		nl_close(&own);
	}
	return NULL;
}

static void thread_ends(void)
{
	struct accepted acc = { .fd = -1 };
	struct call call;
	pthread_t thread;

	call_open(&call);
	call_start(&call);
	pthread_create(&thread, NULL, thread_accepts, &acc);
	pthread_join(thread, NULL);
	ok(acc.fd >= 0, "a thread accepts, and ends");
	goes_on(&call, "a thread ends");
	end_here(&call, acc.fd, "a thread ends");
}

static void another_socket(void)
{
	struct accepted acc;
	struct call call;
	struct nl own;

	if (nl_open(&own))
		bail_out("no netlink socket");
	call_begin(&call, &own, &acc);
	nl_close(&own);
	goes_on(&call, "the socket of ACCEPT is closed");
	end_here(&call, acc.fd, "the socket of ACCEPT is closed");
}

static void *second_thread(void *arg)
{
	struct child *child = arg;

	child_wait_go(child, 1);
	child->shared->ret = done(&nl, child->shared->ret, 0);
	_exit(0);
}

static void first_thread_accepts(struct child *child)
{
	struct accepted acc;
	pthread_t thread;

	nl_open(&nl);
	accept_wait(&nl, &acc, 3000);
	child->shared->ret = acc.fd;
	if (pthread_create(&thread, NULL, second_thread, child))
		return;
	child_stage(child, 1);
	syscall(SYS_exit, 0);
}

static void first_thread_ends(void)
{
	struct child child;
	struct call call;

	call_open(&call);
	call_start(&call);
	child_start(&child, first_thread_accepts);
	ok(child_wait_stage(&child, 1, 5000), "a process's first thread accepts, and ends");
	goes_on(&call, "the first thread ends");
	child_go(&child, 1);
	is(call_end(&call), 0, "the first thread ends: another one ends the request");
	is(child_end(&child, 0), 0, "the first thread ends: DONE");
	call_close(&call);
}

static void accept_and_finish(struct child *child)
{
	struct accepted acc;
	struct nl own;
	int ret;

	ret = nl_open(&own) ?: accept_wait(&own, &acc, 3000);
	child->shared->ret = ret ?: done(&own, acc.fd, 0);
}

static void child_of_agent(void)
{
	struct child child;
	struct call call;

	call_open(&call);
	call_start(&call);
	child_start(&child, accept_and_finish);
	is(child_end(&child, 0), 0, "a child: ACCEPT and DONE");
	is(call_end(&call), 0, "a child: the request ends well");
	call_close(&call);
}

/* The descriptor is given to the process that sends, whosever socket it is. */
static void accept_on_parents_socket(struct child *child)
{
	struct accepted acc;
	int ret;

	ret = accept_wait(&nl, &acc, 3000);
	child->shared->ret = ret ?: done(&nl, acc.fd, 0);
}

static void socket_of_parent(void)
{
	struct child child;
	struct call call;

	call_open(&call);
	call_start(&call);
	child_start(&child, accept_on_parents_socket);
	is(child_end(&child, 0), 0, "a child on its parent's socket: ACCEPT and DONE");
	is(call_end(&call), 0, "a child on its parent's socket: the request ends well");
	call_close(&call);
}

static int send_fd(int to, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec vec = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &vec, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(to, &msg, 0) < 0 ? -errno : 0;
}

static int receive_fd(int from)
{
	char byte, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec vec = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &vec, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd = -1;

	if (recvmsg(from, &msg, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void accept_and_pass_on(struct child *child)
{
	struct accepted acc;
	struct nl own;

	if (nl_open(&own) || accept_wait(&own, &acc, 3000))
		return;
	send_fd(channel[1], acc.fd);
	close(acc.fd);
	child_stage(child, 1);
	child_wait_go(child, 1);
}

/* Returns the descriptor of a request that @child has accepted. */
static int passed_on(struct child *child, struct call *call)
{
	int fd;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel))
		bail_out("no channel");
	call_open(call);
	if (!ours)
		call->hs.wait_ms = 2000;
	call_start(call);
	child_start(child, accept_and_pass_on);
	fd = receive_fd(channel[0]);
	close(channel[0]);
	close(channel[1]);
	child_wait_stage(child, 1, 5000);
	return fd;
}

static void passed_to_another_process(void)
{
	struct child child;
	struct call call;
	const char *what;
	int fd;

	fd = passed_on(&child, &call);
	ok(fd >= 0, "the descriptor goes to another process");
	goes_on(&call, "another process has it");
	end_here(&call, fd, "another process has it");
	child_go(&child, 1);
	child_end(&child, 0);

	/* The one that accepted answers for the handshake. */
	what = "another process has it, its giver ends";
	fd = passed_on(&child, &call);
	child_go(&child, 1);
	child_end(&child, 0);
	if (ours) {
		ok(call_over(&call, 2000), "%s: the request ends", what);
		is(call_end(&call), -ETIMEDOUT, "%s: the status", what);
		is(done(&nl, fd, 0), -EBUSY, "%s: DONE", what);
		call_close(&call);
		close(fd);
		return;
	}
	goes_on(&call, what);
	end_here(&call, fd, what);
}

void test_agents(void)
{
	if (nl_open(&nl) || nl_listen(&nl))
		bail_out("no netlink socket");
	thread_ends();
	another_socket();
	first_thread_ends();
	child_of_agent();
	socket_of_parent();
	passed_to_another_process();
	nl_close(&nl);
}
