// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool when all goes well: generations, their takeover, and who gets the work. */
#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>

#include "pool-world.h"

static void test_start(struct world *w, gconstpointer unused)
{
	struct task *task;

	g_assert_null(give("ok"));
	g_assert_cmpint(reload(), ==, 0);
	g_assert_null(give("ok"));
	WAIT(w->n_reloaded);
	g_assert_cmpint(w->error, ==, 0);
	g_assert_cmpstr(w->reason, ==, "");
	/* Whoever waited for workers is told. */
	g_assert_cmpuint(w->n_writable, >, 0);
	g_assert_cmpuint(n_alive(), ==, 4);
	g_assert_true(logged("keeper["));
	g_assert_true(logged("ciphers f level 7"));
	task = give_for_sure("ok");
	WAIT(done(task));
	g_assert_cmpuint(task->n_results, ==, 1);
	g_assert_cmpint(task->outcome, ==, HS_OK);
	g_assert_cmpuint(w->n_died, ==, 0);
}

/* One that is not ready holds the whole generation. */
static void test_takeover_waits(struct world *w, gconstpointer kind)
{
	gint64 before = g_get_monotonic_time();

	plan(GPOINTER_TO_UINT(kind), START_READY);
	plan(GPOINTER_TO_UINT(kind), START_LATE);
	start(3);
	g_assert_cmpint(g_get_monotonic_time() - before, >=, LATE_MS * 1000);
	g_assert_cmpuint(w->n_reloaded, ==, 1);
}

static void test_takeover(struct world *w, gconstpointer unused)
{
	struct task *old, *meanwhile, *fresh;

	start(2);
	old = give_for_sure("hold");
	plan(CHILD_WORKER, START_LATE);
	w->n_workers = 3;
	g_assert_cmpint(reload(), ==, 0);
	meanwhile = give_for_sure("ok");
	WAIT(done(meanwhile));
	g_assert_cmpuint(w->n_reloaded, ==, 1);
	g_assert_false(done(old));
	WAIT(w->n_reloaded == 2);
	g_assert_cmpint(w->error, ==, 0);
	fresh = give_for_sure("ok");
	WAIT(done(fresh) && done(old));
	/* The former ones end what they have, then themselves. */
	g_assert_cmpuint(old->n_results, ==, 1);
	WAIT(n_alive() == 6);
	g_assert_cmpuint(w->n_died, ==, 0);
	for (unsigned int i = 0; i < 2; i++) {
		pid_t pid = g_array_index(w->pids[CHILD_WORKER], pid_t, i);

		g_assert_cmpint(fresh->pid, !=, pid);
		g_assert_cmpint(kill(pid, 0), ==, -1);
	}
	g_assert_false(logged("<3>"));
}

/* A reload while one is under way replaces that one; one answer for both. */
static void test_superseded(struct world *w, gconstpointer unused)
{
	start(2);
	plan(CHILD_WORKER, START_NEVER);
	g_assert_cmpint(reload(), ==, 0);
	run_for(20);
	w->n_workers = 3;
	g_assert_cmpint(reload(), ==, 0);
	WAIT(w->n_reloaded == 2);
	g_assert_cmpint(w->error, ==, 0);
	WAIT(n_alive() == 6);
	run_for(50);
	g_assert_cmpuint(w->n_reloaded, ==, 2);
	g_assert_cmpuint(n_alive(), ==, 6);
	g_assert_false(logged("<3>"));
}

static void test_superseded_many(struct world *w, gconstpointer unused)
{
	struct task *task;

	for (unsigned int i = 0; i < 10; i++) {
		g_assert_cmpint(reload(), ==, 0);
		if (i % 3 == 0)
			run_for(3);
	}
	WAIT(w->n_reloaded && n_alive() == 4);
	task = give_for_sure("ok");
	WAIT(done(task));
	g_assert_cmpint(w->error, ==, 0);
}

/* A replacement is given what its generation was, whatever the files hold by then. */
static void test_files(struct world *w, gconstpointer unused)
{
	g_autofree char *dir = g_dir_make_tmp("test-pool-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "trust.pem", NULL);
	struct task *task;

	g_assert_true(g_file_set_contents(path, "A", 1, NULL));
	g_assert_no_errno(g_chmod(path, 0644));
	g_free(w->config);
	w->config = g_strdup_printf("[authenticate.client]\nx509.truststore = %s\n", path);
	start(2);
	g_assert_true(logged("file 0: A"));
	g_assert_true(g_file_set_contents(path, "B", 1, NULL));
	g_assert_no_errno(g_chmod(path, 0644));
	clear_log();
	task = give_for_sure("exit");
	WAIT(done(task));
	WAIT(logged("file 0: A"));
	g_assert_false(logged("file 0: B"));
	g_assert_no_errno(g_chmod(path, 0644));
	start(2);
	g_assert_true(logged("file 0: B"));
	g_assert_no_errno(g_unlink(path));
	g_assert_no_errno(g_rmdir(dir));
}

static void test_least_busy(struct world *w, gconstpointer unused)
{
	struct task *tasks[12], *next;

	start(3);
	for (unsigned int i = 0; i < 12; i++)
		tasks[i] = give_for_sure("hold");
	for (unsigned int i = 0; i < 3; i++) {
		pid_t pid;
		unsigned int n = 0;

		WAIT(tasks[i]->pid);
		pid = tasks[i]->pid;
		for (unsigned int k = 0; k < 12; k++) {
			WAIT(tasks[k]->pid);
			n += tasks[k]->pid == pid;
		}
		g_assert_cmpuint(n, ==, 4);
	}
	forget(tasks[5]);
	WAIT(logged("is cancelled"));
	next = give_for_sure("hold");
	WAIT(next->pid);
	g_assert_cmpint(next->pid, ==, tasks[5]->pid);
}

/* Those with as many jobs take turns. */
static void test_turns(struct world *w, gconstpointer unused)
{
	pid_t pids[12];

	start(3);
	for (unsigned int i = 0; i < G_N_ELEMENTS(pids); i++) {
		struct task *task = give_for_sure("ok");

		WAIT(done(task));
		pids[i] = task->pid;
		if (i >= 3)
			g_assert_cmpint(pids[i], ==, pids[i - 3]);
		else if (i)
			g_assert_cmpint(pids[i], !=, pids[i - 1]);
	}
	g_assert_cmpint(pids[0], !=, pids[2]);
}

/* --- those that fail what they are given --- */

static unsigned int give_many(unsigned int n, uint64_t every)
{
	unsigned int n_busy = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct task *task = give_for_sure("ok");

		WAIT(done(task));
		n_busy += task->outcome == HS_BUSY;
		world->later += every;
	}
	return n_busy;
}

/* It is always the least busy: the others get the jobs, however many they have. */
static void test_failing(struct world *w, gconstpointer unused)
{
	unsigned int n_busy, n_held = 0;
	pid_t failing;

	plan(CHILD_WORKER, START_READY);
	plan(CHILD_WORKER, START_READY);
	plan(CHILD_WORKER, START_BUSY);
	start(3);
	failing = g_array_index(w->pids[CHILD_WORKER], pid_t, 2);
	n_busy = give_many(200, 0);
	g_assert_cmpuint(n_busy, >, 0);
	g_assert_cmpuint(n_busy, <, 10);
	for (unsigned int i = 0; i < 40; i++) {
		struct task *task = give_for_sure("hold");

		WAIT(task->pid);
		n_held += task->pid != failing;
	}
	g_assert_cmpuint(n_held, >, 35);
	/* It is tried now and then, for 10 minutes here. */
	n_busy = give_many(600, SECOND);
	g_test_message("%u of 600 jobs", n_busy);
	g_assert_cmpuint(n_busy, >, 3);
	g_assert_cmpuint(n_busy, <, 30);
	g_assert_cmpuint(w->n_died, ==, 0);
}

/* All of them, as when the machine is short of something: none is given up, all go on to get jobs. */
static void test_all_failing(struct world *w, gconstpointer unused)
{
	unsigned int n[2] = { 0 };

	plan(CHILD_WORKER, START_BUSY);
	plan(CHILD_WORKER, START_BUSY);
	start(2);
	g_assert_cmpuint(give_many(200, SECOND / 10), ==, 200);
	for (unsigned int i = 0; i < w->tasks->len; i++) {
		const struct task *task = g_ptr_array_index(w->tasks, i);

		n[task->pid == g_array_index(w->pids[CHILD_WORKER], pid_t, 0)]++;
	}
	g_assert_cmpuint(n[0], >, 50);
	g_assert_cmpuint(n[1], >, 50);
	g_assert_cmpuint(w->n_died, ==, 0);
	g_assert_cmpuint(w->pids[CHILD_WORKER]->len, ==, 2);
}

/* One that could not for a moment is one of them again after its next success. */
static void test_recovered(struct world *w, gconstpointer unused)
{
	struct task *busy, *task;
	unsigned int n = 0;
	gint64 before;

	start(2);
	before = g_get_monotonic_time();
	busy = give_for_sure("busy");
	WAIT(done(busy));
	for (unsigned int i = 0; i < 5; i++) {
		task = give_for_sure("ok");
		WAIT(done(task));
		/* It is tried after 100 ms, which on a slow host may be now. */
		if (g_get_monotonic_time() - before < (gint64)SECOND / 10)
			g_assert_cmpint(task->pid, !=, busy->pid);
	}
	w->later += SECOND;
	for (unsigned int i = 0; i < 30; i++) {
		task = give_for_sure("ok");
		WAIT(done(task));
		n += task->pid == busy->pid;
	}
	g_assert_cmpuint(n, ==, 15);
}

/* Jobs that last: each of the three gets a third of them. */
static void check_spread(void)
{
	struct task *tasks[12];

	for (unsigned int i = 0; i < G_N_ELEMENTS(tasks); i++)
		tasks[i] = give_for_sure("hold");
	for (unsigned int i = 0; i < G_N_ELEMENTS(tasks); i++) {
		unsigned int n = 0;

		for (unsigned int k = 0; k < G_N_ELEMENTS(tasks); k++)
			n += tasks[k]->pair == tasks[i]->pair;
		g_assert_cmpuint(n, ==, G_N_ELEMENTS(tasks) / 3);
	}
	for (unsigned int i = 0; i < G_N_ELEMENTS(tasks); i++) {
		WAIT(tasks[i]->pid);
		forget(tasks[i]);
	}
}

/* A shortage of the whole machine, for so long, us: all of the three fail 12 times. */
static void fail_all(uint64_t length)
{
	for (unsigned int i = 0; i < 36; i++) {
		struct task *task = give_for_sure("busy");

		WAIT(done(task));
		world->later += length / 36;
	}
}

/* Who has a success first after a shortage does not get all that comes then. */
static void test_failed_all(struct world *w, gconstpointer length)
{
	struct task *task;

	start(3);
	fail_all(GPOINTER_TO_UINT(length) * SECOND);
	/* Nobody is better than the others yet, be it that the time of one is over, as after the long one. */
	w->later += 10 * SECOND;
	check_spread();
	task = give_for_sure("ok");
	WAIT(done(task));
	check_spread();
	g_assert_cmpuint(give_many(12, 0), ==, 0);
	g_assert_cmpuint(w->n_died, ==, 0);
}

/* Jobs that fail together tell of one moment, however many they are. */
static void test_failed_at_once(struct world *w, gconstpointer unused)
{
	struct task *first, *task;
	unsigned int n = 0;

	start(2);
	first = give_for_sure("busy");
	/* The loop does not turn: they take turns, and every other one is with the first. */
	for (unsigned int i = 1; i < 40; i++) {
		task = give_for_sure(i % 2 ? "ok" : "busy");
		g_assert_true((task->pair == first->pair) == (i % 2 == 0));
	}
	WAIT(all_done());
	w->later += SECOND;
	for (unsigned int i = 0; i < 30; i++) {
		task = give_for_sure("ok");
		WAIT(done(task));
		n += task->pid == first->pid;
	}
	g_assert_cmpuint(n, ==, 15);
}

/* Nor does one that has started since, and has had no time to fail. */
static void test_failed_others(struct world *w, gconstpointer unused)
{
	unsigned int before;

	start(3);
	fail_all(120 * SECOND);
	before = w->n_writable;
	give_for_sure("exit");
	WAIT(w->n_writable > before);
	g_assert_cmpuint(w->pids[CHILD_WORKER]->len, ==, 4);
	check_spread();
}

/* Who does not read gets no more; the others do, and it again when it reads. */
static void test_full(struct world *w, gconstpointer unused)
{
	struct task *stopped, *task;
	unsigned int before;

	start(2);
	stopped = give_and_stop();
	fill(stopped);
	before = w->n_writable;
	run_for(50);
	g_assert_cmpuint(w->n_writable, ==, before);
	g_assert_no_errno(kill(stopped->pid, SIGCONT));
	WAIT(w->n_writable > before);
	/* It has fewer than the other. */
	task = give_for_sure("hold");
	WAIT(task->pid);
	g_assert_cmpint(task->pid, ==, stopped->pid);
	g_assert_cmpuint(w->n_died, ==, 0);
}

static void test_all_full(struct world *w, gconstpointer unused)
{
	struct task *slow[2];
	unsigned int n = 0, before;

	start(2);
	for (unsigned int i = 0; i < 2; i++)
		slow[i] = give_for_sure("slow");
	while (give("ok"))
		g_assert_cmpuint(++n, <, 20000);
	g_assert_cmpuint(n, >, 20);
	before = w->n_writable;
	WAIT(w->n_writable > before);
	g_assert_nonnull(give("ok"));
	WAIT(all_done());
	g_assert_cmpuint(slow[0]->n_results + slow[1]->n_results, ==, 2);
	g_assert_cmpuint(w->n_died, ==, 0);
}

/* A former worker with a full channel is told to drain when it reads again. */
static void test_drain_full(struct world *w, gconstpointer unused)
{
	struct task *stopped;

	start(2);
	stopped = give_and_stop();
	fill(stopped);
	start(2);
	run_for(50);
	g_assert_false(done(stopped));
	g_assert_no_errno(kill(stopped->pid, SIGCONT));
	WAIT(all_done());
	WAIT(n_alive() == 4);
	g_assert_cmpuint(w->n_died, ==, 0);
	g_assert_false(logged("<3>"));
}

/* ... and is not waited for longer than any handshake may take. */
static void test_drain_never(struct world *w, gconstpointer unused)
{
	struct task *stopped;

	start(2);
	stopped = give_and_stop();
	/* request.c allows up to 600 s. */
	w->fast_from = 600 * SECOND;
	w->speed = 5000;
	start(2);
	WAIT(done(stopped));
	g_assert_cmpuint(stopped->n_deaths, ==, 1);
	g_assert_cmpuint(w->n_died, ==, 1);
	g_assert_true(logged("did not end; handshakes that end with it: 1"));
	WAIT(n_alive() == 4);
}

/* What a worker wrote before its end counts, however much there was. */
static void test_last_words(struct world *w, gconstpointer unused)
{
	struct task *last;

	start(1 + 1);
	for (unsigned int i = 0; i < 200; i++)
		give_for_sure("hold");
	last = give_for_sure("answer-exit");
	WAIT(done(last));
	WAIT(n_alive() == 4 && w->pids[CHILD_WORKER]->len == 3);
	g_assert_cmpuint(w->n_died, ==, 0);
	for (unsigned int i = 0; i < w->tasks->len; i++) {
		const struct task *task = g_ptr_array_index(w->tasks, i);

		g_assert_cmpuint(task->n_results, ==, task->pid == last->pid);
	}
	/* But a worker of the present generation has no business to end. */
	g_assert_true(logged("ended with status 0"));
}

#define ADD(name, data, fn) \
	g_test_add("/pool/" name, struct world, data, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	sigset_t mask;

	g_test_init(&argc, &argv, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	ADD("start", NULL, test_start);
	ADD("takeover/waits/worker", GUINT_TO_POINTER(CHILD_WORKER), test_takeover_waits);
	ADD("takeover/waits/keeper", GUINT_TO_POINTER(CHILD_KEEPER), test_takeover_waits);
	ADD("takeover", NULL, test_takeover);
	ADD("superseded", NULL, test_superseded);
	ADD("superseded/many", NULL, test_superseded_many);
	ADD("files", NULL, test_files);
	ADD("least-busy", NULL, test_least_busy);
	ADD("turns", NULL, test_turns);
	ADD("failing", NULL, test_failing);
	ADD("failing/all", NULL, test_all_failing);
	ADD("failing/recovered", NULL, test_recovered);
	ADD("failed/all/short", GUINT_TO_POINTER(0), test_failed_all);
	ADD("failed/all/long", GUINT_TO_POINTER(800), test_failed_all);
	ADD("failed/at-once", NULL, test_failed_at_once);
	ADD("failed/others", NULL, test_failed_others);
	ADD("full", NULL, test_full);
	ADD("full/all", NULL, test_all_full);
	ADD("drain/full", NULL, test_drain_full);
	ADD("drain/never", NULL, test_drain_never);
	ADD("last-words", NULL, test_last_words);
	return g_test_run();
}
