// SPDX-License-Identifier: GPL-2.0
/*
 * Agents that end between ACCEPT and DONE. Our module ends their requests at
 * once; upstream's leaves them to the patience of their consumers.
 */
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "upcall.h"

/* What a consumer has to wait where nobody tells it; where somebody does. */
#define WAIT_MS		PATIENCE_MS
#define OURS_WAIT_MS	20000
/* "At once", on an emulated machine with other work. */
#define AT_ONCE_MS	2000
#define MANY		3

static struct nl nl;

static void begin(struct call *call)
{
	call_open(call);
	call->hs.wait_ms = ours ? OURS_WAIT_MS : WAIT_MS;
	call_start(call);
}

static void check_end(struct call *call, uint64_t death, const char *how)
{
	long ms;

	is(call_end(call), -ETIMEDOUT, "%s: the consumer is told", how);
	ms = (long)(now_ms() - death);
	if (ours) {
		is((long)call->hs.callbacks, 1, "%s: by a callback", how);
		ok(ms <= AT_ONCE_MS, "%s: at once (%ld ms, limit %d ms; of the %u it would wait)",
		   how, ms, AT_ONCE_MS, call->hs.wait_ms);
	} else {
		is((long)call->hs.callbacks, 0, "%s: by its own clock", how);
		ok(call->hs.elapsed_us >= WAIT_MS * 1000ULL, "%s: not before", how);
	}
	call_close(call);
}

static void accept_and_wait(struct child *child)
{
	struct accepted acc;
	struct nl own;

	child->shared->ret = nl_open(&own) ?: accept_wait(&own, &acc, 3000);
	child_stage(child, 1);
	child_wait_go(child, 1);
}

static void start_agent(struct child *child, void (*run)(struct child *), const char *what)
{
	child_start(child, run);
	ok(child_wait_stage(child, 1, 5000) && !child->shared->ret, "%s: it has accepted", what);
}

static void killed(void)
{
	struct child child;
	struct call call;
	uint64_t death;

	begin(&call);
	start_agent(&child, accept_and_wait, "killed");
	/* Not waited for: it is dead as a zombie, too. */
	death = now_ms();
	kill(child.pid, SIGKILL);
	check_end(&call, death, "killed");
	child_end(&child, 0);
}

static void ends(void)
{
	struct child child;
	struct call call;
	uint64_t death;

	begin(&call);
	start_agent(&child, accept_and_wait, "ends without DONE");
	death = now_ms();
	child_go(&child, 1);
	check_end(&call, death, "ends without DONE");
	child_end(&child, 0);
}

/* Its number is free at once. */
static void reaped_by_nobody(void)
{
	struct child child;
	struct call call;
	uint64_t death;

	signal(SIGCHLD, SIG_IGN);
	begin(&call);
	start_agent(&child, accept_and_wait, "killed, and nobody asks");
	death = now_ms();
	kill(child.pid, SIGKILL);
	check_end(&call, death, "killed, and nobody asks");
	child_end(&child, 0);
	signal(SIGCHLD, SIG_DFL);
}

static void accept_many(struct child *child)
{
	struct accepted acc;
	struct nl own;
	int i;

	nl_open(&own);
	for (i = 0; i < MANY; i++)
		child->shared->ret |= accept_wait(&own, &acc, 3000);
	child_stage(child, 1);
	child_wait_go(child, 1);
}

static void killed_with_many(void)
{
	struct call calls[MANY];
	struct child child;
	uint64_t death;
	int i;

	for (i = 0; i < MANY; i++)
		begin(&calls[i]);
	start_agent(&child, accept_many, "killed with several");
	death = now_ms();
	kill(child.pid, SIGKILL);
	for (i = 0; i < MANY; i++)
		check_end(&calls[i], death, "killed with several");
	child_end(&child, 0);
}

static void *wait_for_go(void *arg)
{
	struct child *child = arg;

	child_wait_go(child, 1);
	return NULL;
}

/* The first thread, which has accepted, ends long before the last one. */
static void accept_and_leave(struct child *child)
{
	struct accepted acc;
	pthread_t thread;
	struct nl own;

	child->shared->ret = nl_open(&own) ?: accept_wait(&own, &acc, 3000) ?:
			     pthread_create(&thread, NULL, wait_for_go, child);
	child_stage(child, 1);
	syscall(SYS_exit, 0);
}

static void last_thread(void)
{
	struct child child;
	struct call call;
	uint64_t death;

	begin(&call);
	start_agent(&child, accept_and_leave, "the last thread ends");
	ok(!call_over(&call, 200), "the last thread: not the first");
	death = now_ms();
	child_go(&child, 1);
	check_end(&call, death, "the last thread ends");
	child_end(&child, 0);
}

static void *become_sleep(void *arg)
{
	child_stage(arg, 1);
	execl("/bin/sleep", "sleep", "1", NULL);
	_exit(1);
}

static void accept_and_exec(struct child *child)
{
	struct accepted acc;
	struct nl own;

	child->shared->ret = nl_open(&own) ?: accept_wait(&own, &acc, 3000);
	become_sleep(child);
}

/* Such a thread takes the place of the first one. */
static void accept_and_exec_in_thread(struct child *child)
{
	struct accepted acc;
	pthread_t thread;
	struct nl own;

	child->shared->ret = nl_open(&own) ?: accept_wait(&own, &acc, 3000) ?:
			     pthread_create(&thread, NULL, become_sleep, child);
	pause_ms(10000);
}

static void another_program(void (*run)(struct child *), const char *what)
{
	struct child child;
	struct call call;
	uint64_t start;

	begin(&call);
	start_agent(&child, run, what);
	start = now_ms();
	ok(!call_over(&call, 400), "%s becomes another program: the request goes on", what);
	is(call_end(&call), -ETIMEDOUT, "%s becomes another program: the end", what);
	if (ours)
		ok(now_ms() - start < 1000 + AT_ONCE_MS,
		   "%s becomes another program: the end comes with its own", what);
	call_close(&call);
	child_end(&child, 0);
}

/* What is queued does not die with an agent. */
static void queued_request(void)
{
	struct call first, call;
	struct accepted acc;
	struct child child;

	begin(&first);
	start_agent(&child, accept_and_wait, "a queued request: of another one");
	call_open(&call);
	ok(call_queue(&call, &nl), "a queued request: READY");
	child_end(&child, SIGKILL);
	is(accept_wait(&nl, &acc, 3000), 0, "a queued request: the next agent has it");
	is(call_finish(&call, &nl, &acc), 0, "a queued request: the end");
	call_close(&first);
}

void test_death(void)
{
	if (nl_open(&nl) || nl_listen(&nl))
		bail_out("no netlink socket");
	killed();
	ends();
	reaped_by_nobody();
	killed_with_many();
	last_thread();
	another_program(accept_and_exec, "a process");
	another_program(accept_and_exec_in_thread, "a thread");
	queued_request();
	nl_close(&nl);
}
