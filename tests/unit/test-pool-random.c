// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool, everything at once: reloads, deaths, shortages and work in random order. */
#include <errno.h>
#include <signal.h>

#include "pool-world.h"

static void random_event(GRand *rng)
{
	static const char *const names[] = {
		"ok", "ok", "hold", "hold", "hold", "slow", "crash", "exit", "garbage", "answer-exit",
		"ask psk", "ask psk", "ask key", "ask key", "ask key", "ask key, refuse", "ask psk, quit",
		"ask key, crash", "ask key, garbage",
	};
	struct task *task;

	switch (g_rand_int_range(rng, 0, 12)) {
	case 0:
		if (g_rand_boolean(rng))
			plan(g_rand_int_range(rng, 0, N_CHILDREN),
			     g_rand_int_range(rng, START_READY, N_STARTS));
		world->n_workers = (unsigned int)g_rand_int_range(rng, 2, 5);
		reload();
		break;
	case 1:
		if (g_rand_int_range(rng, 0, 4) == 0) {
			world->spawn_error = -EAGAIN;
			world->spawn_faults = 1;
		}
		break;
	case 2:
		world->send_error = g_rand_boolean(rng) ? -ENOBUFS : -EAGAIN;
		world->send_faults = (unsigned int)g_rand_int_range(rng, 0, 3);
		break;
	case 3:
		run_for((unsigned int)g_rand_int_range(rng, 0, 30));
		break;
	default:
		task = give(names[g_rand_int_range(rng, 0, G_N_ELEMENTS(names))]);
		if (g_rand_int_range(rng, 0, 4) == 0)
			run_for(2);
		if (task && task->pair && g_rand_int_range(rng, 0, 10) == 0)
			forget(task);
	}
}

/* Whatever happens, each job ends once, and in the end there are workers again. */
static void test_random(struct world *w, gconstpointer unused)
{
	g_autoptr(GRand) rng = g_rand_new_with_seed(20240229);
	struct task *task;

	start(2);
	w->speed = 20;
	w->answers = true;
	for (unsigned int i = 0; i < 600; i++)
		random_event(rng);
	w->send_faults = w->spawn_faults = 0;
	for (unsigned int i = 0; i < N_CHILDREN; i++)
		g_queue_clear(w->plans[i]);
	w->speed = 1;
	while (reload() < 0)
		run_for(10);
	/* All that drain answer; what came first may have replaced it. */
	run_for(1500);
	start(2);
	WAIT(all_done());
	task = give_for_sure("ok");
	WAIT(done(task));
	WAIT(n_alive() == 4);
}

int main(int argc, char **argv)
{
	sigset_t mask;

	g_test_init(&argc, &argv, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	g_test_add("/pool/random", struct world, NULL, set_up, test_random, tear_down);
	return g_test_run();
}
