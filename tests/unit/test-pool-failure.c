// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool when children fail, die, hang or lie, and when memory is short. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "common/channel.h"
#include "pool-world.h"

/* --- before they are ready --- */

static const struct bad_start {
	enum child_kind kind;
	enum start start;
	int error;
	const char *reason;	/* part of it */
} bad_starts[] = {
	{ CHILD_WORKER, START_FAILED, -EINVAL, "it is a test" },
	{ CHILD_KEEPER, START_FAILED, -EINVAL, "it is a test" },
	{ CHILD_WORKER, START_SHORT, -EAGAIN, "it is a test" },
	{ CHILD_KEEPER, START_SHORT, -EAGAIN, "it is a test" },
	{ CHILD_WORKER, START_EXIT, -ECHILD, "ended with status 3" },
	{ CHILD_KEEPER, START_EXIT, -ECHILD, "ended with status 3" },
	{ CHILD_WORKER, START_CRASH, -ECHILD, "was killed by signal 6 (SIGABRT)" },
	{ CHILD_KEEPER, START_CRASH, -ECHILD, "was killed by signal 6 (SIGABRT)" },
	{ CHILD_WORKER, START_GARBAGE, -ECHILD, "broke the protocol" },
	{ CHILD_KEEPER, START_GARBAGE, -ECHILD, "broke the protocol" },
	{ CHILD_WORKER, START_RESULT, -ECHILD, "broke the protocol" },
	{ CHILD_KEEPER, START_RESULT, -ECHILD, "broke the protocol" },
};

static void check_failed(const struct bad_start *bad, unsigned int n_reloaded)
{
	g_assert_cmpuint(world->n_reloaded, ==, n_reloaded);
	g_assert_cmpint(world->error, ==, bad->error);
	g_assert_nonnull(strstr(world->reason, bad->reason));
	if (bad->error == -ECHILD)
		g_assert_true(g_str_has_prefix(world->reason, spawn_kind_name(bad->kind)));
	else
		g_assert_cmpstr(world->reason, ==, bad->reason);
	/* Said by the one who asked for it, not here. */
	g_assert_false(logged("<3>"));
}

static void test_bad_start(struct world *w, gconstpointer data)
{
	const struct bad_start *bad = data;
	struct task *task;

	/* With nothing before it ... */
	plan(bad->kind, bad->start);
	g_assert_cmpint(reload(), ==, 0);
	WAIT(w->n_reloaded);
	check_failed(bad, 1);
	g_assert_null(give("ok"));
	WAIT(n_alive() == 0);
	/* ... and with others at work. */
	start(2);
	task = give_for_sure("hold");
	plan(bad->kind, START_READY);
	plan(bad->kind, bad->start);
	w->n_workers = 3;
	g_assert_cmpint(reload(), ==, 0);
	WAIT(w->n_reloaded == 3);
	check_failed(bad, 3);
	WAIT(n_alive() == 4);
	g_assert_false(done(task));
	task = give_for_sure("ok");
	WAIT(done(task));
	run_for(20);
	g_assert_cmpuint(w->n_reloaded, ==, 3);
	g_assert_cmpuint(w->n_died, ==, 0);
}

/* A keeper follows its worker: what is said must be of the one that failed. */
static void test_blame(struct world *w, gconstpointer unused)
{
	w->hasty_keepers = true;
	plan(CHILD_WORKER, START_CRASH);
	g_assert_cmpint(reload(), ==, 0);
	for (unsigned int i = 0; i < N_CHILDREN; i++)
		wait_for_end(g_array_index(w->pids[i], pid_t, 0));
	WAIT(w->n_reloaded);
	g_assert_cmpstr(w->reason, !=, "");
	g_assert_true(g_str_has_prefix(w->reason, "worker["));
	g_assert_nonnull(strstr(w->reason, "SIGABRT"));
}

static void test_never_ready(struct world *w, gconstpointer kind)
{
	uint64_t longest = 0;

	start(2);
	plan(GPOINTER_TO_UINT(kind), START_NEVER);
	w->speed = 100;
	g_assert_cmpint(reload(), ==, 0);
	WAIT(w->n_reloaded == 2);
	g_assert_cmpint(w->error, ==, -ETIMEDOUT);
	g_assert_nonnull(strstr(w->reason, "30 s"));
	for (unsigned int i = 0; i < w->delays->len; i++)
		longest = MAX(longest, g_array_index(w->delays, uint64_t, i));
	g_assert_cmpuint(longest, ==, 30 * SECOND);
	WAIT(n_alive() == 4);
	g_assert_nonnull(give("ok"));
}

/* What the loader says is heard, whichever of them is seen to end first. */
static void test_groan(struct world *w, gconstpointer unused)
{
	start(2);
	for (unsigned int i = 0; i < 3; i++)
		plan(CHILD_WORKER, START_GROAN);
	w->n_workers = 3;
	g_assert_cmpint(reload(), ==, 0);
	WAIT(w->n_reloaded == 2);
	g_assert_cmpint(w->error, ==, -ECHILD);
	g_assert_nonnull(strstr(w->reason, "ended with status 127"));
	g_assert_true(logged(": on standard error: \"no such library\""));
	WAIT(n_alive() == 4);
	/* Only the first of them may say what all say, but this is no such message. */
	plan(CHILD_WORKER, START_READY);
	plan(CHILD_WORKER, START_GROAN);
	g_string_truncate(w->text, 0);
	w->n_workers = 2;
	g_assert_cmpint(reload(), ==, 0);
	WAIT(w->n_reloaded == 3);
	g_assert_true(logged(": on standard error: \"no such library\""));
}

/* A second word about the start: before or after the rest of its generation is ready. */
static void test_ready_and_more(struct world *w, gconstpointer data)
{
	plan(CHILD_WORKER, GPOINTER_TO_UINT(data));
	g_assert_cmpint(reload(), ==, 0);
	WAIT(logged("broke the protocol") || w->error);
	if (w->error)
		g_assert_nonnull(strstr(w->reason, "broke the protocol"));
	else
		WAIT(w->pids[CHILD_WORKER]->len == 3);
	g_assert_cmpuint(w->n_reloaded, ==, 1);
	g_assert_cmpuint(w->n_died, ==, 0);
}

static void test_keeper_result(struct world *w, gconstpointer unused)
{
	plan(CHILD_KEEPER, START_READY_RESULT);
	/* Before or after its worker is ready. */
	g_assert_cmpint(reload(), ==, 0);
	WAIT(logged("broke the protocol") || w->error);
	g_assert_true(w->error ? w->error == -ECHILD : logged("keeper["));
}

static void test_no_spawn(struct world *w, gconstpointer unused)
{
	char reason[128] = "";
	struct pool *pool = NULL;

	start(2);
	w->spawn_error = -EAGAIN;
	for (unsigned int i = 0; i < 4; i++) {
		w->spawn_faults = 1;
		w->spawn_after = i;
		g_assert_cmpint(reload(), ==, -EAGAIN);
		g_assert_cmpuint(w->spawn_faults, ==, 0);
		WAIT(n_alive() == 4);
	}
	run_for(20);
	g_assert_cmpuint(w->n_reloaded, ==, 1);
	g_assert_nonnull(give("ok"));
	/* One that is under way is not harmed either. */
	plan(CHILD_WORKER, START_LATE);
	g_assert_cmpint(reload(), ==, 0);
	w->spawn_faults = 1;
	w->spawn_after = 1;
	g_assert_cmpint(reload(), ==, -EAGAIN);
	WAIT(w->n_reloaded == 2);
	g_assert_cmpint(w->error, ==, 0);
	WAIT(n_alive() == 4);

	w->spawn_faults = 1;
	w->spawn_error = -ENOENT;
	g_assert_cmpint(pool_new(&pool, w->event, &w->log, 0, NULL, NULL, reason, sizeof(reason)),
			==, -ENOENT);
	g_assert_cmpstr(reason, ==, "nobody is there");
	w->spawn_faults = 0;
}

/* --- at work --- */

static unsigned int count_deaths(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < world->tasks->len; i++)
		n += ((struct task *)g_ptr_array_index(world->tasks, i))->n_deaths;
	return n;
}

/* What a worker does to end, and what is said of it. */
static const struct bad_job {
	const char *peername, *why;
} bad_jobs[] = {
	{ "crash", "was killed by signal 6 (SIGABRT)" },
	{ "exit", "ended with status 7" },
	{ "garbage", "broke the protocol" },
	{ "long", "broke the protocol" },
	{ "stray", "broke the protocol" },
	{ "ready", "broke the protocol" },
	{ "failed", "broke the protocol" },
	{ "sign", "broke the protocol" },
};

static void test_bad_job(struct world *w, gconstpointer data)
{
	const struct bad_job *bad = data;
	struct task *task, *others[4];

	start(2);
	for (unsigned int i = 0; i < 4; i++)
		others[i] = give_for_sure("hold");
	for (unsigned int i = 0; i < 4; i++)
		WAIT(others[i]->pid);
	task = give_for_sure(bad->peername);
	WAIT(done(task));
	/* Once for the pair, with all it had; the other one goes on. */
	g_assert_cmpuint(w->n_died, ==, 1);
	g_assert_cmpuint(count_deaths(), ==, 3);
	for (unsigned int i = 0; i < 4; i++)
		g_assert_false(done(others[i]) && others[i]->pair);
	g_assert_nonnull(strstr(w->why, bad->why));
	g_assert_true(g_str_has_prefix(w->why, "worker["));
	g_assert_true(logged("; handshakes that end with it: 3"));
	/* It has a successor, and the count is right again. */
	WAIT(n_alive() == 4 && w->pids[CHILD_WORKER]->len == 3);
	for (unsigned int i = 0; i < 4; i++) {
		task = give_for_sure("ok");
		WAIT(done(task));
		g_assert_cmpuint(task->n_results, ==, 1);
	}
	g_assert_cmpuint(w->n_died, ==, 1);
	g_assert_cmpuint(w->n_reloaded, ==, 1);
}

/* Its channels have ended, it has not: its keeper goes first, but is not the one to tell of. */
static void test_linger(struct world *w, gconstpointer unused)
{
	struct task *task;

	w->hasty_keepers = true;
	start(2);
	task = give_for_sure("linger");
	WAIT(done(task));
	g_assert_cmpuint(task->n_deaths, ==, 1);
	g_assert_true(g_str_has_prefix(w->why, "worker["));
	/* On a busy machine nobody knows how yet. */
	g_assert_true(strstr(w->why, "SIGKILL") || strstr(w->why, "has ended"));
	WAIT(n_alive() == 4);
}

static void test_keeper_death(struct world *w, gconstpointer unused)
{
	struct task *task;
	pid_t keeper;

	start(2);
	task = give_for_sure("hold");
	WAIT(task->pid);
	keeper = keeper_of(task->pid);
	g_assert_no_errno(kill(keeper, SIGKILL));
	WAIT(done(task));
	g_assert_cmpuint(task->n_deaths, ==, 1);
	g_assert_cmpuint(w->n_died, ==, 1);
	g_assert_true(g_str_has_prefix(w->why, "keeper["));
	g_assert_nonnull(strstr(w->why, "SIGKILL"));
	WAIT(n_alive() == 4);
	g_assert_cmpint(kill(task->pid, 0), ==, -1);
}

/* Both are gone before anybody looks, with others' jobs on the way. */
static void test_all_die(struct world *w, gconstpointer unused)
{
	unsigned int before;

	start(2);
	for (unsigned int i = 0; i < 10; i++)
		give_for_sure("hold");
	run_for(50);
	for (unsigned int kind = 0; kind < N_CHILDREN; kind++) {
		for (unsigned int i = 0; i < 2; i++)
			kill(g_array_index(w->pids[kind], pid_t, i), SIGKILL);
	}
	/* Told by the channel, or by the end of the process: the jobs are not lost. */
	g_usleep(20000);
	give("ok");
	WAIT(all_done());
	g_assert_cmpuint(w->n_died, ==, 2);
	before = w->n_writable;
	WAIT(n_alive() == 4 && w->n_writable > before);
	g_assert_nonnull(give("ok"));
}

/* --- stuck --- */

/* The limit is 5 s; here 1000 ms of the machine's time are that. */
static void overdue(struct world *w, struct task *task)
{
	struct pair *pair = task->pair;

	forget(task);
	w->speed = 5;
	pool_overdue(w->pool, pair);
	w->speed = 1;
	g_assert_cmpuint(w->n_died, ==, 0);	/* never at once */
}

/* A minute without a word, for its peers were silent: it answers what it is asked now. */
static void test_overdue(struct world *w, gconstpointer unused)
{
	struct task *silent, *others[4];

	start(2);
	silent = give_for_sure("hold");
	for (unsigned int i = 0; i < G_N_ELEMENTS(others); i++)
		others[i] = give_for_sure("hold");
	WAIT(silent->pid);
	w->later += 60 * SECOND;
	overdue(w, silent);
	run_for(2000);
	g_assert_cmpuint(w->n_died, ==, 0);
	g_assert_false(logged("does not answer"));
}

static void test_overdue_silent(struct world *w, gconstpointer unused)
{
	struct task *stopped, *second;

	start(2);
	stopped = give_and_stop();
	give_for_sure("hold");
	second = give_for_sure("hold");
	while (second->pair != stopped->pair)
		second = give_for_sure("hold");
	overdue(w, stopped);
	WAIT(w->n_died == 1);
	g_assert_cmpuint(second->n_deaths, ==, 1);
	g_assert_nonnull(strstr(w->why, "does not answer"));
	WAIT(n_alive() == 4 && w->pids[CHILD_WORKER]->len == 3);
}

/* Silent through one job after the other: the limit begins with the first. */
static void test_overdue_one_by_one(struct world *w, gconstpointer unused)
{
	struct task *task[3];
	struct pair *pair;

	start(2);
	task[0] = give_and_stop();
	pair = task[0]->pair;
	for (unsigned int i = 1; i < G_N_ELEMENTS(task); i++) {
		do {
			task[i] = give_for_sure("hold");
		} while (task[i]->pair != pair);
	}
	overdue(w, task[0]);
	for (unsigned int i = 1; i < G_N_ELEMENTS(task); i++) {
		forget(task[i]);
		pool_overdue(w->pool, pair);
	}
	run_for(2000);	/* the real limit, of a later one, would be longer */
	g_assert_cmpuint(w->n_died, ==, 0);	/* there was nothing left for it to lose */
	g_assert_true(logged("does not answer"));
}

/* --- shortage, and a worker that is not what it seems --- */

static void test_shortage(struct world *w, gconstpointer error)
{
	struct task *task;
	unsigned int before;

	start(2);
	w->send_error = -GPOINTER_TO_INT(error);
	/* One has no memory for it, the other has. */
	w->send_faults = 1;
	give_for_sure("ok");
	WAIT(all_done());
	/* None has: again in a moment, without a word. */
	run_for(400);
	before = w->n_writable;
	w->send_faults = 2;
	g_assert_null(give("ok"));
	g_assert_cmpuint(w->send_faults, ==, 0);
	WAIT(w->n_writable > before);
	task = give_for_sure("ok");
	WAIT(done(task));
	g_assert_cmpuint(w->n_died, ==, 0);
	g_assert_false(logged("<3>"));
}

/* The first one is dead and we have not been told: the other takes the job. */
static void test_dispatch_to_dead(struct world *w, gconstpointer unused)
{
	struct task *first, *second, *task;

	start(2);
	first = give_for_sure("hold");
	WAIT(first->pid);
	second = give_for_sure("hold");
	WAIT(second->pid);
	second = give_for_sure("hold");
	WAIT(second->pid);
	if (second->pair == first->pair)
		give_for_sure("hold");
	for (unsigned int i = 0; i < 2; i++) {
		if (g_array_index(w->pids[CHILD_WORKER], pid_t, i) != first->pid)
			continue;
		g_assert_no_errno(kill(first->pid, SIGKILL));
		wait_for_end(first->pid);
	}
	for (unsigned int i = 0; i < 3; i++) {
		task = give_for_sure("ok");
		WAIT(done(task));
		g_assert_cmpuint(task->n_results, ==, 1);
	}
	WAIT(done(first));
	g_assert_cmpuint(first->n_deaths, ==, 1);
}

/* It has answered, then died, and the next job comes before the news of either. */
static void test_dispatch_to_answered(struct world *w, gconstpointer unused)
{
	struct task *first, *other, *last;
	pid_t pid;

	start(2);
	first = give_for_sure("hold");
	WAIT(first->pid);
	other = give_for_sure("hold");
	WAIT(other->pid);
	g_assert_true(first->pair != other->pair);
	last = give_for_sure("answer-exit");
	pid = last->pair == first->pair ? first->pid : other->pid;
	if (last->pair != first->pair)
		first = other;
	wait_for_end(pid);
	/* One of the two finds the dead one. */
	give_for_sure("ok");
	give_for_sure("ok");
	WAIT(done(first) && done(last));
	g_assert_cmpuint(first->n_results, ==, 1);
	g_assert_cmpuint(last->n_results, ==, 1);
	g_assert_cmpuint(w->n_died, ==, 0);
}

static void test_urgent(struct world *w, gconstpointer unused)
{
	struct task *task;

	start(2);
	task = give_for_sure("urgent");
	WAIT(done(task));
	g_assert_true(logged("<3>worker["));
	g_assert_true(logged("]: fire"));
	g_assert_false(logged("<0>"));
}

/* A process a worker left behind says more than can be read: it does not hold us. */
static void test_flood(struct world *w, gconstpointer unused)
{
	struct task *task;
	gint64 before;

	start(2);
	before = g_get_monotonic_time();
	task = give_for_sure("flood");
	WAIT(done(task));
	g_assert_cmpint(g_get_monotonic_time() - before, <, 5000000);
	g_assert_cmpuint(task->n_deaths, ==, 1);
	task = give_for_sure("ok");
	WAIT(done(task));
}

/* --- the end --- */

enum stage {
	STAGE_NOTHING, STAGE_COMING, STAGE_WORK, STAGE_BOTH, STAGE_DRAIN, STAGE_DYING, N_STAGES,
};

/* tear_down() finds what is left. */
static void test_free(struct world *w, gconstpointer stage)
{
	enum stage s = GPOINTER_TO_UINT(stage);

	if (s == STAGE_NOTHING)
		return;
	if (s == STAGE_COMING) {
		g_assert_cmpint(reload(), ==, 0);
		return;
	}
	start(3);
	for (unsigned int i = 0; i < 10; i++)
		give_for_sure("hold");
	if (s == STAGE_BOTH) {
		plan(CHILD_KEEPER, START_NEVER);
		g_assert_cmpint(reload(), ==, 0);
		run_for(10);
	} else if (s == STAGE_DRAIN) {
		give_and_stop();
		start(2);
	} else if (s == STAGE_DYING) {
		give_for_sure("garbage");
		give_for_sure("crash");
		WAIT(w->n_died);
	}
}

#define ADD(name, data, fn) \
	g_test_add("/pool/" name, struct world, data, set_up, fn, tear_down)

static void add_tables(void)
{
	static const char *const stages[N_STAGES] = {
		"nothing", "coming", "work", "both", "drain", "dying",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(bad_starts); i++) {
		g_autofree char *name = g_strdup_printf("/pool/bad-start/%s/%u",
				spawn_kind_name(bad_starts[i].kind), bad_starts[i].start);

		g_test_add(name, struct world, &bad_starts[i], set_up, test_bad_start, tear_down);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(bad_jobs); i++) {
		g_autofree char *name = g_strconcat("/pool/bad-job/", bad_jobs[i].peername, NULL);

		g_test_add(name, struct world, &bad_jobs[i], set_up, test_bad_job, tear_down);
	}
	for (unsigned int i = 0; i < N_STAGES; i++) {
		g_autofree char *name = g_strconcat("/pool/free/", stages[i], NULL);

		g_test_add(name, struct world, GUINT_TO_POINTER(i), set_up, test_free, tear_down);
	}
}

int main(int argc, char **argv)
{
	sigset_t mask;

	g_test_init(&argc, &argv, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	add_tables();
	ADD("blame", NULL, test_blame);
	ADD("never-ready/worker", GUINT_TO_POINTER(CHILD_WORKER), test_never_ready);
	ADD("never-ready/keeper", GUINT_TO_POINTER(CHILD_KEEPER), test_never_ready);
	ADD("ready-twice", GUINT_TO_POINTER(START_TWICE), test_ready_and_more);
	ADD("ready-then-failed", GUINT_TO_POINTER(START_REGRET), test_ready_and_more);
	ADD("groan", NULL, test_groan);
	ADD("keeper-result", NULL, test_keeper_result);
	ADD("no-spawn", NULL, test_no_spawn);
	ADD("keeper-death", NULL, test_keeper_death);
	ADD("linger", NULL, test_linger);
	ADD("all-die", NULL, test_all_die);
	ADD("overdue", NULL, test_overdue);
	ADD("overdue/silent", NULL, test_overdue_silent);
	ADD("overdue/one-by-one", NULL, test_overdue_one_by_one);
	ADD("shortage/memory", GINT_TO_POINTER(ENOMEM), test_shortage);
	ADD("shortage/buffers", GINT_TO_POINTER(ENOBUFS), test_shortage);
	ADD("shortage/descriptors", GINT_TO_POINTER(ETOOMANYREFS), test_shortage);
	ADD("dispatch/dead", NULL, test_dispatch_to_dead);
	ADD("dispatch/answered", NULL, test_dispatch_to_answered);
	ADD("urgent", NULL, test_urgent);
	ADD("flood", NULL, test_flood);
	return g_test_run();
}
