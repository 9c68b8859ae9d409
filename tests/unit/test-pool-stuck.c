// SPDX-License-Identifier: GPL-2.0-or-later
/* Those that do not read, or do not answer: what they are to be told, and their end. */
#include <signal.h>
#include <string.h>

#include "pool-world.h"

#define FULL 20000	/* more jobs than a channel takes messages */

static unsigned int count(const char *who, pid_t pid, const char *what)
{
	g_autofree char *prefix = g_strdup_printf("%s[%d]: job ", who, pid);
	unsigned int n = 0;

	for (const char *p = world->text->str; (p = strstr(p, prefix)); p++) {
		const char *end = strchr(p, '\n');

		n += end && g_strstr_len(p, end - p, what);
	}
	return n;
}

/* Jobs are given until the keeper of @first, which is stopped, can be told of no more. */
static void fill_keeper(const struct task *first)
{
	unsigned int n = 0;

	while (pool_can_tell(first->pair)) {
		n += give_for_sure("hold")->pair == first->pair;
		g_assert_cmpuint(world->tasks->len, <, FULL);
		/* Workers read theirs. */
		run_for(world->tasks->len % 20 ? 0 : 5);
	}
	g_assert_cmpuint(n, >, 10);
}

/* No end is lost, however full the channel is: each grant is taken back. */
static void test_ends(struct world *w, gconstpointer unused)
{
	struct task *first;
	struct pair *pair;
	unsigned int n = 0;
	pid_t keeper;

	start(2);
	first = give_for_sure("hold");
	WAIT(first->pid);
	pair = first->pair;
	keeper = keeper_of(first->pid);
	stop(keeper);
	fill_keeper(first);
	for (unsigned int i = 0; i < w->tasks->len; i++) {
		struct task *task = g_ptr_array_index(w->tasks, i);

		if (task->pair != pair)
			continue;
		forget(task);
		n++;
	}
	run_for(50);
	g_assert_cmpuint(count("keeper", keeper, "CANCEL"), ==, 0);
	g_assert_no_errno(kill(keeper, SIGCONT));
	WAIT(count("keeper", keeper, "CANCEL") >= n);
	g_assert_cmpuint(count("keeper", keeper, "GRANT"), ==, n);
	g_assert_cmpuint(count("keeper", keeper, "CANCEL"), ==, n);
	g_test_message("%u grants, all taken back", n);
	g_assert_cmpuint(w->n_died, ==, 0);
	g_assert_false(logged("<3>"));
}

static void test_full(struct world *w, gconstpointer unused)
{
	struct task *first;

	start(2);
	first = give_for_sure("hold");
	WAIT(first->pid);
	stop(keeper_of(first->pid));
	w->fast_from = 10 * SECOND;
	w->speed = 100;
	fill_keeper(first);
	WAIT(done(first));
	g_assert_cmpuint(first->n_deaths, ==, 1);
	g_assert_true(g_str_has_prefix(w->why, "keeper["));
	g_assert_nonnull(strstr(w->why, "does not read what it is told"));
	WAIT(n_alive() == 4);
}

/* It has got a key, and says nothing; its worker is well. */
static void test_silent(struct world *w, gconstpointer unused)
{
	struct task *task, *other;
	struct pair *pair;

	start(2);
	task = give_for_sure("ask key");
	WAIT(task->due && task->pid);
	pair = task->pair;
	do {
		other = give_for_sure("hold");
	} while (other->pair != pair);
	WAIT(other->pid);
	stop(keeper_of(task->pid));
	g_assert_cmpint(tell(task), ==, 0);
	w->fast_from = 5 * SECOND;
	w->speed = 10;
	forget(task);
	pool_overdue(w->pool, pair);
	WAIT(done(other));
	g_assert_cmpuint(other->n_deaths, ==, 1);
	g_assert_true(g_str_has_prefix(w->why, "keeper["));
	g_assert_nonnull(strstr(w->why, "does not answer"));
	WAIT(n_alive() == 4);
}

/* A worker passes a deadline, and then only asks for the keys of what is over. */
static void test_asking(struct world *w, gconstpointer unused)
{
	struct task *task;
	struct pair *pair;

	start(2);
	for (unsigned int i = 0; i < 4; i++) {
		task = give_for_sure("hold");
		WAIT(task->pid);
	}
	task = give_for_sure("wonder 1");
	pair = task->pair;
	run_for(20);
	w->fast_from = 5 * SECOND;
	w->speed = 5;
	forget(task);
	pool_overdue(w->pool, pair);
	WAIT(w->n_keys == 1);
	g_assert_cmpuint(w->n_died, ==, 0);
	WAIT(w->n_died == 1);
	g_assert_true(g_str_has_prefix(w->why, "worker["));
	g_assert_nonnull(strstr(w->why, "does not answer"));
	WAIT(n_alive() == 4);
}

#define ADD(name, fn) g_test_add("/pool/stuck/" name, struct world, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	sigset_t mask;

	g_test_init(&argc, &argv, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	ADD("ends", test_ends);
	ADD("full", test_full);
	ADD("silent", test_silent);
	ADD("asking", test_asking);
	return g_test_run();
}
