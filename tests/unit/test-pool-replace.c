// SPDX-License-Identifier: GPL-2.0-or-later
/* When the pool replaces pairs that have ended. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "pool-world.h"

/* At once, then later and later; after a good while at once again. */
static void test_replacement_delay(struct world *w, gconstpointer unused)
{
	static const unsigned int want[] = {
		0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000,
	};

	start(2);
	w->speed = 1000;
	for (unsigned int i = 0; i < G_N_ELEMENTS(want) + 1; i++) {
		struct task *task = give_for_sure("crash");
		unsigned int before = w->n_writable, n = w->delays->len;
		uint64_t delay;

		if (i == G_N_ELEMENTS(want))
			w->later += 11 * SECOND;
		WAIT(done(task));
		delay = g_array_index(w->delays, uint64_t, n);
		g_assert_cmpuint(delay, ==, i < G_N_ELEMENTS(want) ? want[i] * 1000 : 0);
		w->speed = 1;	/* for the limit of the start */
		WAIT(w->n_writable > before);
		w->speed = 1000;
	}
	g_assert_cmpuint(w->n_died, ==, G_N_ELEMENTS(want) + 1);
}

/*
 * With nobody left requests wait in the monitor: not longer than a second, unless those who should
 * serve them do not even start.
 */
static void test_replacement_delay_alone(struct world *w, gconstpointer unused)
{
	static const unsigned int want[] = { 0, 200, 800, 1000, 1000, 1000 };

	start(2);
	w->speed = 1000;
	for (unsigned int i = 0; i < G_N_ELEMENTS(want); i++) {
		unsigned int last = w->pids[CHILD_WORKER]->len - 1, before, n = w->delays->len;
		uint64_t delay;

		for (unsigned int j = 0; j < 2; j++)
			kill(g_array_index(w->pids[CHILD_WORKER], pid_t, last - j), SIGKILL);
		for (unsigned int j = 0; j < 2; j++)
			wait_for_end(g_array_index(w->pids[CHILD_WORKER], pid_t, last - j));
		WAIT(w->pids[CHILD_WORKER]->len == last + 1 + 2);
		/* behind the delays come the limits of the two starts */
		delay = g_array_index(w->delays, uint64_t, w->delays->len - 3);
		g_assert_cmpuint(w->delays->len - n, >=, 3);
		g_assert_cmpuint(delay, ==, want[i] * 1000);
		before = w->n_writable;
		w->speed = 1;
		WAIT(w->n_writable >= before + 2);
		w->speed = 1000;
	}
	g_assert_nonnull(give("ok"));
}

static void test_replacement_delay_no_start(struct world *w, gconstpointer unused)
{
	uint64_t longest = 0;
	unsigned int last;

	start(2);
	w->speed = 1000;
	for (unsigned int i = 0; i < 20; i++)
		plan(CHILD_WORKER, START_EXIT);
	last = w->pids[CHILD_WORKER]->len - 1;
	for (unsigned int j = 0; j < 2; j++)
		kill(g_array_index(w->pids[CHILD_WORKER], pid_t, last - j), SIGKILL);
	while (longest < 10 * SECOND && w->pids[CHILD_WORKER]->len < last + 20) {
		unsigned int n = w->delays->len;

		WAIT(w->delays->len > n);
		for (; n < w->delays->len; n++) {
			uint64_t delay = g_array_index(w->delays, uint64_t, n);

			if (delay <= 10 * SECOND)
				longest = MAX(longest, delay);
		}
	}
	g_assert_cmpuint(longest, ==, 10 * SECOND);
}

static void test_replacement_fails(struct world *w, gconstpointer unused)
{
	unsigned int before;

	start(2);
	w->spawn_error = -EAGAIN;
	w->spawn_faults = 3;
	w->spawn_after = 1;
	before = w->n_writable;
	give_for_sure("crash");
	WAIT(logged("trying again each second"));
	g_assert_true(logged(strerror(EAGAIN)));
	clear_log();	/* once is enough */
	WAIT(logged("workers can be started again"));
	g_assert_false(logged("<3>cannot start a worker"));
	g_assert_cmpuint(w->spawn_faults, ==, 0);
	WAIT(w->n_writable > before);
	WAIT(n_alive() == 4);
	/* A successor that cannot start is said, and tried again. */
	clear_log();
	plan(CHILD_WORKER, START_FAILED);
	plan(CHILD_WORKER, START_EXIT);
	before = w->n_writable;
	give_for_sure("crash");
	WAIT(logged("it is a test") && logged("ended with status 3"));
	WAIT(w->n_writable > before);
	WAIT(n_alive() == 4);
	g_assert_cmpuint(w->n_reloaded, ==, 1);
	g_assert_cmpuint(w->n_died, ==, 2);
}

#define ADD(name, fn) \
	g_test_add("/pool/replacement/" name, struct world, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	sigset_t mask;

	g_test_init(&argc, &argv, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	ADD("delay", test_replacement_delay);
	ADD("delay-alone", test_replacement_delay_alone);
	ADD("delay-no-start", test_replacement_delay_no_start);
	ADD("fails", test_replacement_fails);
	return g_test_run();
}
