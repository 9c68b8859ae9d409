// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Children that somebody traces, as strace(1) and gdb(1) do: their end is the tracer's to see
 * first, and as long as that does not look there is nothing to reap.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool-world.h"

#define NOTICED_LIMIT (5 * SECOND)	/* for what is done at once, on a busy host */
#define STOP_LIMIT (10 * SECOND)

struct tracer {
	pid_t pid;
	int channel;
};

/* It looks at nothing until its channel is closed; then it ends, which lets all go. */
static void hold(pid_t traced, int channel)
{
	char error = 0;

	if (ptrace(PTRACE_SEIZE, traced, 0, 0) < 0)
		error = (char)errno;
	if (write(channel, &error, 1) != 1 || read(channel, &error, 1) < 0)
		_exit(1);
	_exit(0);
}

/* Returns false when nobody may trace here; the test is skipped then. */
static bool trace(struct tracer *tracer, pid_t traced)
{
	int fds[2];
	char error = 0;

	g_assert_no_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
	tracer->pid = fork();
	g_assert_cmpint(tracer->pid, >=, 0);
	if (!tracer->pid) {
		close(fds[0]);
		hold(traced, fds[1]);
	}
	close(fds[1]);
	tracer->channel = fds[0];
	g_assert_cmpint(read(tracer->channel, &error, 1), ==, 1);
	if (error)
		g_test_skip(strerror(error));
	return !error;
}

static void let_go(struct tracer *tracer)
{
	close(tracer->channel);
	g_assert_cmpint(waitpid(tracer->pid, NULL, 0), ==, tracer->pid);
}

/* Of two workers one has it, and has said so. */
static struct task *held(void)
{
	struct task *task;

	start(2);
	task = give_for_sure("hold");
	WAIT(task->pid);
	return task;
}

/* Both have a successor, and the dead one is still to be reaped. */
static bool replaced(void)
{
	return world->pids[CHILD_WORKER]->len == 3 && n_alive() == 4 + 1;
}

static void finish(struct tracer *tracer)
{
	struct task *task;

	WAIT(replaced());
	let_go(tracer);
	WAIT(n_alive() == 4);
	for (unsigned int i = 0; i < 4; i++) {
		task = give_for_sure("ok");
		WAIT(done(task));
	}
	g_assert_cmpuint(world->n_died, ==, 1);
}

/* Which of a pair is traced, and which dies: its end is noticed at once, however it comes. */
static const struct traced {
	enum child_kind traced, victim;
} cases[] = {
	{ CHILD_WORKER, CHILD_WORKER },
	{ CHILD_WORKER, CHILD_KEEPER },
	{ CHILD_KEEPER, CHILD_WORKER },
	{ CHILD_KEEPER, CHILD_KEEPER },
};

static void test_death(struct world *w, gconstpointer data)
{
	const struct traced *c = data;
	pid_t pids[N_CHILDREN];
	struct tracer tracer;
	struct task *task;
	gint64 before;

	task = held();
	pids[CHILD_WORKER] = task->pid;
	pids[CHILD_KEEPER] = keeper_of(task->pid);
	if (trace(&tracer, pids[c->traced])) {
		before = g_get_monotonic_time();
		g_assert_no_errno(kill(pids[c->victim], SIGKILL));
		WAIT(done(task));
		g_assert_cmpuint(task->n_deaths, ==, 1);
		before = g_get_monotonic_time() - before;
		g_test_message("told after %d ms", (int)before / 1000);
		g_assert_cmpint(before, <, NOTICED_LIMIT);
		g_assert_true(g_str_has_prefix(w->why, spawn_kind_name(c->victim)));
		finish(&tracer);
	} else {
		let_go(&tracer);
	}
}

/* One that has nothing left to do ends without a word. */
static void test_drained(struct world *w, gconstpointer unused)
{
	struct tracer tracer;
	struct task *task;

	task = held();
	if (trace(&tracer, task->pid)) {
		start(2);
		WAIT(done(task));
		g_assert_cmpuint(task->n_results, ==, 1);
		WAIT(n_alive() == 4 + 1);
		run_for(500);
		g_assert_cmpuint(n_alive(), ==, 4 + 1);
		let_go(&tracer);
		WAIT(n_alive() == 4);
		g_assert_cmpuint(w->n_died, ==, 0);
		g_assert_false(logged("<3>"));
	} else {
		let_go(&tracer);
	}
}

/* Whoever ends the pool does not wait for a tracer. */
static void test_stop(struct world *w, gconstpointer unused)
{
	struct tracer tracer;
	struct task *task;
	gint64 before;

	task = held();
	if (trace(&tracer, task->pid)) {
		forget(task);
		before = g_get_monotonic_time();
		pool_free(w->pool);
		w->pool = NULL;
		g_assert_cmpint(g_get_monotonic_time() - before, <, STOP_LIMIT);
		g_assert_cmpuint(n_alive(), ==, 1);
		let_go(&tracer);
		g_assert_cmpint(waitpid(-1, NULL, 0), >, 0);
	} else {
		let_go(&tracer);
	}
}

int main(int argc, char **argv)
{
	sigset_t mask;

	g_test_init(&argc, &argv, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *name = g_strdup_printf("/pool/traced/%s/death-of-%s",
				spawn_kind_name(cases[i].traced), spawn_kind_name(cases[i].victim));

		g_test_add(name, struct world, &cases[i], set_up, test_death, tear_down);
	}
	g_test_add("/pool/traced/drained", struct world, NULL, set_up, test_drained, tear_down);
	g_test_add("/pool/traced/stop", struct world, NULL, set_up, test_stop, tear_down);
	return g_test_run();
}
