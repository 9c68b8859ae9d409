// SPDX-License-Identifier: GPL-2.0-or-later
/* Workers in a stranger's hands: what they say of jobs, and how much they say. */
#include <signal.h>
#include <string.h>

#include "common/log.h"
#include "pool-world.h"

#define LINES 100	/* of one process in a minute */

static void start_quietly(struct world *w, unsigned int workers)
{
	g_free(w->config);
	w->config = g_strdup("");
	start(workers);
}

/* Times @text is in the log. */
static unsigned int count(struct world *w, const char *text)
{
	unsigned int n = 0;

	for (const char *p = w->text->str; (p = strstr(p, text)); p++)
		n++;
	return n;
}

/* --- of jobs --- */

/* Its pair is ended, its other jobs are answered by that, and it has a successor. */
static void test_liar(struct world *w, gconstpointer what)
{
	struct task *held[4], *task;
	unsigned int n_results = 0;

	start(2);
	for (unsigned int i = 0; i < G_N_ELEMENTS(held); i++)
		held[i] = give_for_sure("hold");
	for (unsigned int i = 0; i < G_N_ELEMENTS(held); i++)
		WAIT(held[i]->pid);
	task = give_for_sure(what);
	WAIT(w->n_died == 1);
	g_assert_nonnull(strstr(w->why, "broke the protocol"));
	WAIT(done(task));
	/* Nobody's handshake succeeded by that, but perhaps its own. */
	for (unsigned int i = 0; i < G_N_ELEMENTS(held); i++)
		n_results += held[i]->n_results;
	g_assert_cmpuint(n_results, ==, 0);
	g_assert_cmpuint(task->n_results, ==, strcmp(what, "twice") ? 0 : 1);
	WAIT(n_alive() == 4);
	task = give_for_sure("ok");
	WAIT(done(task));
	g_assert_cmpuint(task->n_results, ==, 1);
	g_assert_cmpuint(w->n_died, ==, 1);
}

/* Answered otherwise while the worker works: its word comes late, once, and is none. */
static void test_late(struct world *w, gconstpointer unused)
{
	struct task *slow, *task;

	start(2);
	slow = give_for_sure("slow");
	run_for(20);
	forget(slow);
	run_for(2 * LATE_MS);
	for (unsigned int i = 0; i < 4; i++) {
		task = give_for_sure("ok");
		WAIT(done(task));
		g_assert_cmpuint(task->n_results, ==, 1);
	}
	g_assert_cmpuint(slow->n_results, ==, 0);
	g_assert_cmpuint(w->n_died, ==, 0);
}

/*
 * Each of those that were answered otherwise may have been asked about before its end was read, in
 * whatever order.
 */
static void test_late_asks(struct world *w, gconstpointer unused)
{
	struct task *task;

	start(2);
	for (unsigned int i = 0; i < 2; i++)
		give_for_sure("slow");
	for (unsigned int i = 0; i < 12; i++) {
		task = give_for_sure(i % 3 == 2 ? "hold" : "ask psk");
		/* Some are cancelled at once, some behind the next ones. */
		if (i % 4 < 2)
			forget(task);
	}
	for (unsigned int i = 0; i < w->tasks->len; i++) {
		task = g_ptr_array_index(w->tasks, i);
		if (!done(task))
			forget(task);
	}
	run_for(2 * LATE_MS);
	task = give_for_sure("ok");
	WAIT(done(task));
	g_assert_cmpuint(w->n_keys, ==, 8);
	g_assert_cmpuint(task->n_results, ==, 1);
	g_assert_cmpuint(w->n_died, ==, 0);
	g_assert_false(logged("<3>"));
}

/* One that was answered otherwise is no excuse for questions without end. */
static void test_wonder(struct world *w, gconstpointer unused)
{
	struct task *task;

	start(2);
	for (unsigned int i = 0; i < 4; i++) {
		task = give_for_sure("hold");
		WAIT(task->pid);
	}
	task = give_for_sure("wonder 2");
	run_for(20);
	forget(task);
	WAIT(w->n_died == 1);
	g_assert_nonnull(strstr(w->why, "broke the protocol"));
	WAIT(n_alive() == 4);
}

/* --- how much --- */

static void test_chat(struct world *w, gconstpointer unused)
{
	struct task *task;

	start_quietly(w, 2);
	task = give_for_sure("chat 100");
	WAIT(done(task));
	g_assert_cmpuint(count(w, ": chat"), ==, LINES);
	g_assert_cmpuint(count(w, "not written"), ==, 0);
	g_assert_cmpuint(w->n_died, ==, 0);
}

static void test_much(struct world *w, gconstpointer unused)
{
	struct pair *pair;
	struct task *task;

	start_quietly(w, 2);
	task = give_for_sure("chat 500");
	pair = task->pair;
	WAIT(done(task));
	g_assert_cmpuint(task->n_results, ==, 1);
	g_assert_cmpuint(count(w, ": chat"), <=, LINES);
	g_assert_cmpuint(w->n_died, ==, 0);
	/* A minute later it may speak again, and how much was left out is said, once. */
	w->later += 61 * SECOND;
	do {
		task = give_for_sure("chat 1");
		WAIT(done(task));
	} while (count(w, "not written: 4") == 0);
	g_assert_cmpuint(count(w, "wrote too many messages"), ==, 1);
	g_assert_true(pair != NULL);
}

static void test_flood(struct world *w, gconstpointer unused)
{
	struct task *held[4], *task;

	start_quietly(w, 2);
	for (unsigned int i = 0; i < G_N_ELEMENTS(held); i++)
		held[i] = give_for_sure("hold");
	for (unsigned int i = 0; i < G_N_ELEMENTS(held); i++)
		WAIT(held[i]->pid);
	task = give_for_sure("chat 20000");
	WAIT(w->n_died == 1);
	g_assert_nonnull(strstr(w->why, "floods the log"));
	g_assert_cmpuint(task->n_results, ==, 0);
	g_assert_cmpuint(count(w, ": chat"), <=, LINES);
	WAIT(n_alive() == 4);
	task = give_for_sure("ok");
	WAIT(done(task));
	g_assert_cmpuint(task->n_results, ==, 1);
}

/* --- on standard error --- */

/* No byte of it gets into the log as it is, and no more than of what it says. */
static void test_mutter(struct world *w, gconstpointer unused)
{
	struct task *task;

	start_quietly(w, 2);
	task = give_for_sure("mutter 500");
	WAIT(done(task) && count(w, "mut") >= LINES);
	run_for(20);
	g_assert_cmpuint(count(w, "<3>"), ==, LINES);
	g_assert_cmpuint(count(w, ": on standard error: \"<0>mut\\x1bter\""), ==, LINES);
	g_assert_cmpuint(w->n_died, ==, 0);
}

static void test_mumble(struct world *w, gconstpointer unused)
{
	struct task *task;

	start_quietly(w, 2);
	task = give_for_sure("mumble");
	WAIT(done(task));
	run_for(20);
	g_assert_cmpuint(count(w, "on standard error: \"xxx"), ==, 2);	/* and 50 bytes wait */
	g_assert_cmpuint(w->n_died, ==, 0);
}

/* Lines without a byte are some, too. */
static void test_mutter_flood(struct world *w, gconstpointer what)
{
	start_quietly(w, 2);
	give_for_sure(what);
	WAIT(w->n_died == 1);
	g_assert_nonnull(strstr(w->why, "floods the log"));
	g_assert_cmpuint(count(w, "mut"), <=, LINES);
	WAIT(n_alive() == 4);
}

/* What the C library says before it gives up is heard, and before the end itself. */
static void test_groan(struct world *w, gconstpointer unused)
{
	start(2);
	give_for_sure("groan");
	WAIT(w->n_died == 1);
	g_assert_nonnull(strstr(w->why, "SIGABRT"));
	g_assert_true(logged(": on standard error: \"free(): invalid\""));
	g_assert_true(logged(": on standard error: \"pointer\""));
}

#define ADD(name, data, fn) \
	g_test_add("/pool/hostile/" name, struct world, data, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	sigset_t mask;

	g_test_init(&argc, &argv, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	ADD("made-up", "made-up", test_liar);
	ADD("twice", "twice", test_liar);
	ADD("another's", "another's", test_liar);
	ADD("late", NULL, test_late);
	ADD("late-asks", NULL, test_late_asks);
	ADD("wonder", NULL, test_wonder);
	ADD("chat", NULL, test_chat);
	ADD("much", NULL, test_much);
	ADD("flood", NULL, test_flood);
	ADD("mutter", NULL, test_mutter);
	ADD("mumble", NULL, test_mumble);
	ADD("mutter-flood", "mutter 20000", test_mutter_flood);
	ADD("mutter-flood/empty", "breathe", test_mutter_flood);
	ADD("groan", NULL, test_groan);
	return g_test_run();
}
