// SPDX-License-Identifier: GPL-2.0-or-later
/* What a generation knows of the former one, and how many former ones there may be. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "pool-world.h"

#define DAY 86400

static void set_dates(int64_t certificate, int64_t crl)
{
	world->dates = (struct hs_dates){
		.certificate[HS_SERVER][HS_IDENTITY_X509] = certificate, .crl[HS_CLIENT] = crl,
	};
}

static void assert_in_use(int64_t certificate, int64_t crl)
{
	g_autofree char *text = g_strdup_printf("in use %d %d\n", (int)certificate, (int)crl);

	WAIT(logged("in use "));
	if (!logged(text))
		g_error("\"%s\" is not in:\n%s", text, world->text->str);
	clear_log();
}

static void test_dates(struct world *w, gconstpointer unused)
{
	int64_t day = time(NULL) + DAY;

	/* At the start there is nothing to be as good as. */
	w->no_worse = true;
	set_dates(day, day + 1);
	start(2);
	assert_in_use(0, 0);
	/* Who asks for it gets it; who does not, is told what there is. */
	w->no_worse = false;
	start(2);
	assert_in_use(0, 0);
	w->no_worse = true;
	/* A keeper has nothing to tell of, whenever it is ready. */
	plan(CHILD_KEEPER, START_LATE);
	plan(CHILD_KEEPER, START_LATE);
	start(2);
	assert_in_use(day, day + 1);
	/* What has ended, or will presently, is nothing to insist on. */
	set_dates(time(NULL) - 1, time(NULL) + 30);
	start(2);
	assert_in_use(day, day + 1);
	start(2);
	assert_in_use(0, 0);
}

/* One that takes another's place must load whatever has ended meanwhile. */
static void test_dates_of_replaced(struct world *w, gconstpointer unused)
{
	int64_t day = time(NULL) + DAY;
	struct task *task;

	set_dates(day, day);
	start(2);
	w->no_worse = true;
	start(2);
	WAIT(n_alive() == 4);
	clear_log();
	task = give_for_sure("exit");
	WAIT(done(task) && n_alive() == 4);
	assert_in_use(0, 0);
}

/* A trial that failed leaves the dates of the present generation. */
static void test_dates_after_failure(struct world *w, gconstpointer unused)
{
	int64_t day = time(NULL) + DAY;

	set_dates(day, day);
	start(2);
	w->no_worse = true;
	set_dates(1, 1);
	plan(CHILD_KEEPER, START_FAILED);
	g_assert_cmpint(reload(), ==, 0);
	WAIT(w->n_reloaded == 2);
	g_assert_cmpint(w->error, ==, -EINVAL);
	WAIT(n_alive() == 4);
	clear_log();
	start(2);
	assert_in_use(day, day);
}

static void test_crowded(struct world *w, gconstpointer unused)
{
	struct task *stuck[POOL_FORMER_MAX];
	unsigned int n_gone;

	start(2);
	for (unsigned int i = 0; i < POOL_FORMER_MAX; i++) {
		g_assert_false(pool_crowded(w->pool));
		stuck[i] = give_and_stop();
		start(2);
	}
	/* Of each former one the pair with the handshake is left. */
	WAIT(n_alive() == 2 * (2 + POOL_FORMER_MAX));
	g_assert_true(pool_crowded(w->pool));
	/* One that is given up does not count, neither before nor after its end. */
	plan(CHILD_WORKER, START_FAILED);
	g_assert_cmpint(reload(), ==, 0);
	WAIT(w->n_reloaded == POOL_FORMER_MAX + 2);
	WAIT(n_alive() == 2 * (2 + POOL_FORMER_MAX));
	g_assert_true(pool_crowded(w->pool));

	n_gone = w->n_gone;
	g_assert_no_errno(kill(stuck[1]->pid, SIGCONT));
	WAIT(w->n_gone > n_gone);
	g_assert_true(done(stuck[1]));
	g_assert_false(pool_crowded(w->pool));
	for (unsigned int i = 0; i < POOL_FORMER_MAX; i++)
		if (i != 1)
			g_assert_no_errno(kill(stuck[i]->pid, SIGCONT));
	WAIT(all_done());
	WAIT(n_alive() == 4);
	for (unsigned int i = 0; i < POOL_FORMER_MAX; i++)
		g_assert_cmpuint(stuck[i]->n_results, ==, 1);
	g_assert_cmpuint(w->n_died, ==, 0);
}

/* Former ones without a handshake are not there for long, however many. */
static void test_idle_former(struct world *w, gconstpointer unused)
{
	start(2);
	for (unsigned int i = 0; i < 3 * POOL_FORMER_MAX; i++) {
		WAIT(!pool_crowded(w->pool));
		start(2);
	}
	WAIT(n_alive() == 4);
	g_assert_false(pool_crowded(w->pool));
}

/* --- a worker that ends at the very moment at which it is to be told to drain --- */

static void let_all_end(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct task *held = g_ptr_array_index(world->tasks, i);

		g_assert_no_errno(kill(held->pid, SIGCONT));
		wait_for_end(held->pid);
	}
}

static void kill_all(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct task *held = g_ptr_array_index(world->tasks, i);

		g_assert_no_errno(kill(held->pid, SIGKILL));
		wait_for_end(held->pid);
	}
}

/* Each holds a job and has another before it, of the name @last; and is stopped. */
static void stop_all_with(const char *last)
{
	struct task *held[2];

	start(2);
	for (unsigned int i = 0; i < 2; i++)
		held[i] = give_for_sure("hold");
	for (unsigned int i = 0; i < 2; i++)
		WAIT(held[i]->pid);
	g_assert_cmpint(held[0]->pid, !=, held[1]->pid);
	for (unsigned int i = 0; i < 2; i++)
		stop(held[i]->pid);
	for (unsigned int i = 0; i < 2; i++)
		give_for_sure(last);
}

/* What it has said before counts, although nobody has read it. */
static void test_drain_ended(struct world *w, gconstpointer unused)
{
	stop_all_with("answer-exit");
	w->before_drain = let_all_end;
	start(2);
	WAIT(n_alive() == 4);
	for (unsigned int i = 0; i < w->tasks->len; i++) {
		const struct task *task = g_ptr_array_index(w->tasks, i);

		g_assert_cmpuint(task->n_results, ==, 1);
		g_assert_cmpint(task->outcome, ==, HS_OK);
	}
	g_assert_cmpuint(w->n_died, ==, 0);
	/* They have done what they were to do. */
	g_assert_false(logged("<3>"));
}

/* And where it ended without its answers, the log says how. */
static void test_drain_killed(struct world *w, gconstpointer unused)
{
	stop_all_with("ok");
	w->before_drain = kill_all;
	start(2);
	WAIT(n_alive() == 4);
	g_assert_cmpuint(w->n_died, ==, 2);
	g_assert_true(logged("was killed by signal 9 (SIGKILL); handshakes that end with it: 2"));
	for (unsigned int i = 0; i < w->tasks->len; i++) {
		const struct task *task = g_ptr_array_index(w->tasks, i);

		g_assert_cmpuint(task->n_deaths, ==, 1);
	}
}

#define ADD(name, fn) g_test_add("/pool/" name, struct world, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	g_test_init(&argc, &argv, NULL);
	ADD("dates", test_dates);
	ADD("dates-of-replaced", test_dates_of_replaced);
	ADD("dates-after-failure", test_dates_after_failure);
	ADD("crowded", test_crowded);
	ADD("idle-former", test_idle_former);
	ADD("drain/ended", test_drain_ended);
	ADD("drain/killed", test_drain_killed);
	return g_test_run();
}
