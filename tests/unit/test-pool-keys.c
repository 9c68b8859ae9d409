// SPDX-License-Identifier: GPL-2.0-or-later
/* The pool between a handshake that asks for keys and whoever has them: pool_tell(), `keys'. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "pool-world.h"

#define FULL 5000	/* messages that no channel takes */

/* --- all goes well --- */

static void check_answer(const char *peername, enum hs_outcome outcome, unsigned int n_keys)
{
	struct task *task = give_for_sure(peername);
	unsigned int before = world->n_keys;

	WAIT(done(task));
	g_assert_cmpuint(task->n_results, ==, 1);
	g_assert_cmpint(task->outcome, ==, outcome);
	g_assert_cmpuint(world->n_keys - before, ==, n_keys);
}

static void test_answers(struct world *w, gconstpointer unused)
{
	start(2);
	w->answers = true;
	check_answer("ask psk", HS_OK, 1);
	g_assert_true(logged(": PSK ask psk shared\n"));
	g_assert_false(logged("CANCEL"));
	check_answer("ask key", HS_OK, 2);
	/* With the descriptor that belongs to it, to both. */
	g_assert_true(logged(": KEY ask key private c\n"));
	g_assert_true(logged(": CERTIFICATE its certificate c\n"));
	WAIT(logged("job 2: CANCEL"));
	check_answer("ask key, refuse", HS_KEY_UNUSABLE, 2);
	g_assert_true(logged("job 3: REFUSED"));
	WAIT(logged("job 3: CANCEL"));
	g_assert_cmpuint(w->n_died, ==, 0);
	g_assert_false(logged("<3>"));
}

/* Each gets its own, whatever the order. */
static void test_many(struct world *w, gconstpointer unused)
{
	static const char *const names[] = { "ask psk", "ask key", "ask key, refuse" };

	start(3);
	w->answers = true;
	for (unsigned int i = 0; i < 60; i++) {
		give_for_sure(names[i % 3]);
		run_for(i % 10 ? 0 : 2);
	}
	WAIT(all_done());
	for (unsigned int i = 0; i < 60; i++) {
		const struct task *task = g_ptr_array_index(w->tasks, i);

		g_assert_cmpuint(task->n_results, ==, 1);
		g_assert_cmpint(task->outcome, ==, i % 3 == 2 ? HS_KEY_UNUSABLE : HS_OK);
	}
	g_assert_cmpuint(w->n_keys, ==, 20 + 40 + 40);
	g_assert_cmpuint(w->n_died, ==, 0);
}

/*
 * What the monitor lacks is no fault of the pair, which gets jobs as before. What its keeper lacks
 * may be lacking there only: it is avoided for that.
 */
static void test_excused(struct world *w, gconstpointer what)
{
	bool keepers = strstr(what, "refuse");
	struct task *denied, *task;
	unsigned int n = 0;
	gint64 since;

	start(2);
	w->answers = true;
	denied = give_for_sure(what);
	WAIT(done(denied));
	since = g_get_monotonic_time();
	g_assert_cmpint(denied->outcome, ==, HS_BUSY);
	for (unsigned int i = 0; i < 20; i++) {
		task = give_for_sure("ok");
		WAIT(done(task));
		n += task->pid == denied->pid;
		/* For 100 ms; but on a busy host 20 jobs may take longer. */
		if (keepers && g_get_monotonic_time() - since < 90000)
			g_assert_cmpuint(n, ==, 0);
	}
	if (!keepers)
		g_assert_cmpuint(n, ==, 10);
	g_assert_cmpuint(w->n_died, ==, 0);
}

/* A handshake of a former generation gets its keys, too. */
static void test_former(struct world *w, gconstpointer unused)
{
	struct task *psk, *key;

	start(2);
	psk = give_for_sure("ask psk");
	key = give_for_sure("ask key");
	WAIT(psk->due && key->due);
	start(2);
	g_assert_cmpint(tell(psk), ==, 0);
	g_assert_cmpint(tell(key), ==, 0);
	w->answers = true;
	WAIT(all_done());
	g_assert_cmpuint(psk->n_results, ==, 1);
	g_assert_cmpuint(key->n_results, ==, 1);
	g_assert_cmpint(key->outcome, ==, HS_OK);
	g_assert_cmpuint(w->n_died, ==, 0);
	WAIT(n_alive() == 4);
	g_assert_false(logged("<3>"));
}

/* --- no room, no memory --- */

/* Tells its keeper or worker again and again until it is full. Returns how often. */
static unsigned int tell_until_full(const struct task *task, enum pool_receiver who)
{
	const struct wire_message cancel = { .type = WIRE_CANCEL, .cancel = task->id };
	const struct wire_message psk = { .type = WIRE_PSK, .psk = { .job = task->id, .len = 1 } };
	unsigned int n = 0;
	int r;

	while (!(r = pool_tell(world->pool, task->pair, who,
			       who == POOL_KEEPER ? &cancel : &psk, -1)))
		g_assert_cmpuint(++n, <, FULL);
	g_assert_cmpint(r, ==, -EAGAIN);
	g_assert_cmpuint(n, >, 10);
	return n;
}

static unsigned int count_logged(const char *text)
{
	unsigned int n = 0;

	for (const char *p = world->text->str; (p = strstr(p, text)); p++)
		n++;
	return n;
}

static void test_full(struct world *w, gconstpointer data)
{
	enum pool_receiver who = GPOINTER_TO_UINT(data);
	struct task *task, *other;
	unsigned int n, before;
	g_autofree char *text = NULL;
	pid_t pid;

	start(2);
	task = give_for_sure("ask key");
	WAIT(task->due);
	other = give_for_sure("hold");
	WAIT(other->pid && task->pid);
	pid = who == POOL_KEEPER ? keeper_of(task->pid) : task->pid;
	stop(pid);
	n = tell_until_full(task, who);
	before = w->n_writable;
	/* No news, no turn of the loop spent on it, and no jobs meanwhile: the other takes them. */
	run_for(50);
	g_assert_cmpuint(w->n_writable, ==, before);
	for (unsigned int i = 0; i < 5; i++)
		g_assert_true(give_for_sure("hold")->pair == other->pair);
	g_assert_no_errno(kill(pid, SIGCONT));
	WAIT(w->n_writable > before);
	before = w->n_writable;
	run_for(50);
	g_assert_cmpuint(w->n_writable, ==, before);
	/* Its pair has fewer jobs and can take them again. */
	g_assert_true(give_for_sure("hold")->pair == task->pair || done(task));
	if (who == POOL_KEEPER)
		g_assert_cmpint(tell(task), ==, 0);
	w->answers = true;
	WAIT(done(task));
	g_assert_cmpuint(task->n_results, ==, 1);
	/* All that was taken got there, what was not did not. */
	text = g_strdup_printf("job 1: %s", who == POOL_KEEPER ? "CANCEL" : "PSK");
	if (who == POOL_KEEPER)
		n++;	/* the end of the job */
	WAIT(count_logged(text) >= n);
	run_for(20);
	g_assert_cmpuint(count_logged(text), ==, n);
	g_assert_cmpuint(w->n_died, ==, 0);
}

/* What could not be told is told when there is room, and a drain that had to wait is not lost. */
static void test_full_former(struct world *w, gconstpointer data)
{
	enum pool_receiver who = GPOINTER_TO_UINT(data);
	struct task *task;
	pid_t pid;

	start(2);
	task = give_for_sure("ask key");
	WAIT(task->due && task->pid);
	pid = who == POOL_KEEPER ? keeper_of(task->pid) : task->pid;
	stop(pid);
	tell_until_full(task, who);
	start(2);
	if (who == POOL_KEEPER)
		g_assert_cmpint(tell(task), ==, -EAGAIN);
	w->answers = true;
	g_assert_false(done(task));
	g_assert_no_errno(kill(pid, SIGCONT));
	WAIT(done(task));
	g_assert_cmpuint(task->n_results, ==, 1);
	WAIT(n_alive() == 4);
	g_assert_cmpuint(w->n_died, ==, 0);
	g_assert_false(logged("<3>"));
}

/* Neither is the other's: one that has no room does not keep the other from being told. */
static void test_full_other(struct world *w, gconstpointer data)
{
	enum pool_receiver full = GPOINTER_TO_UINT(data);
	struct task *task;
	pid_t pid;

	start(2);
	task = give_for_sure("ask key");
	WAIT(task->due && task->pid);
	pid = full == POOL_KEEPER ? keeper_of(task->pid) : task->pid;
	stop(pid);
	tell_until_full(task, full);
	if (full == POOL_WORKER) {
		g_assert_cmpint(tell(task), ==, 0);
		WAIT(logged("job 1: KEY"));
	} else {
		task->due = WIRE_PSK;
		g_assert_cmpint(tell(task), ==, 0);
		WAIT(logged("job 1: PSK"));
	}
	g_assert_no_errno(kill(pid, SIGCONT));
	WAIT(done(task));
	g_assert_cmpuint(task->n_results, ==, 1);
	g_assert_cmpuint(w->n_died, ==, 0);
}

static void test_shortage(struct world *w, gconstpointer error)
{
	unsigned int before;
	struct task *task;

	start(2);
	w->send_error = -GPOINTER_TO_INT(error);
	for (unsigned int i = 0; i < 2; i++) {
		task = give_for_sure(i ? "ask key" : "ask psk");
		WAIT(task->due);
		/* For longer than one moment, without a word. */
		for (unsigned int k = 0; k < 3; k++) {
			before = w->n_writable;
			w->send_faults = 1;
			g_assert_cmpint(tell(task), ==, -EAGAIN);
			g_assert_cmpuint(w->send_faults, ==, 0);
			g_assert_cmpuint(w->n_writable, ==, before);
			WAIT(w->n_writable > before);
		}
		g_assert_cmpint(tell(task), ==, 0);
		w->answers = true;
		WAIT(done(task));
		w->answers = false;
		g_assert_cmpuint(task->n_results, ==, 1);
	}
	g_assert_cmpuint(w->n_died, ==, 0);
	g_assert_false(logged("<3>"));
}

/* Whatever cannot be sent is the sender's concern, not the pair's. */
static void test_invalid(struct world *w, gconstpointer unused)
{
	struct wire_message msg = { .type = WIRE_PSK };
	struct task *task;

	start(2);
	task = give_for_sure("ask psk");
	WAIT(task->due);
	msg.psk.job = task->id;
	msg.psk.len = HS_PSK_MAX + 1;
	for (unsigned int i = 0; i < 2; i++)
		g_assert_cmpint(pool_tell(w->pool, task->pair, i ? POOL_KEEPER : POOL_WORKER, &msg,
					  i ? w->certificate : -1), ==, -EINVAL);
	w->send_error = -EMSGSIZE;
	w->send_faults = 1;
	msg.psk.len = 1;
	g_assert_cmpint(pool_tell(w->pool, task->pair, POOL_WORKER, &msg, -1), ==, -EMSGSIZE);
	g_assert_cmpint(tell(task), ==, 0);
	WAIT(done(task));
	g_assert_cmpuint(task->n_results, ==, 1);
	g_assert_cmpuint(w->n_died, ==, 0);
	g_assert_false(logged("<3>"));
}

/* --- who is to be told has gone --- */

/* What was on its way when the news of its death had not come yet. */
enum late {
	LATE_NOTHING,
	LATE_ASK,	/* another handshake's ASK: its answer finds the dead one, too */
	LATE_RESULT,	/* of the handshake itself */
	LATE_WORD = 3,
	LATE_KEEPER,	/* or: it is the keeper that died */
};

static void test_dead(struct world *w, gconstpointer data)
{
	unsigned int late = GPOINTER_TO_UINT(data) & LATE_WORD;
	enum child_kind dead = GPOINTER_TO_UINT(data) & LATE_KEEPER ? CHILD_KEEPER : CHILD_WORKER;
	const char *name = dead == CHILD_KEEPER ? "ask key" : "ask psk";
	struct task *task, *second = NULL;
	struct pair *pair;
	pid_t pid;

	start(1 + 1);
	task = give_for_sure(name);
	WAIT(task->due && task->pid);
	pair = task->pair;
	pid = dead == CHILD_KEEPER ? keeper_of(task->pid) : task->pid;
	w->answers = true;
	while (late != LATE_NOTHING && !second) {
		struct task *t = give_for_sure(late == LATE_ASK ? name : "ok");

		if (t->pair == pair)
			second = t;
	}
	/* What it says to that stays in the channel, for the loop does not turn. */
	g_usleep(50000);
	g_assert_no_errno(kill(pid, SIGKILL));
	wait_for_end(pid);
	g_assert_cmpint(tell(task), ==, -EPIPE);
	g_assert_cmpuint(task->n_deaths, ==, 1);
	g_assert_cmpuint(w->n_died, ==, 1);
	g_assert_true(g_str_has_prefix(w->why, spawn_kind_name(dead)));
	g_assert_nonnull(strstr(w->why, "was killed by signal 9 (SIGKILL)"));
	if (second) {
		g_assert_cmpuint(second->n_results, ==, late == LATE_RESULT);
		g_assert_cmpuint(second->n_deaths, ==, late == LATE_ASK);
	}
	/* And so it stays, until it is reaped: nothing is tried. */
	w->send_error = -EAGAIN;
	w->send_faults = 1;
	g_assert_cmpint(pool_tell(w->pool, pair, POOL_WORKER,
				  &(struct wire_message){ .type = WIRE_DRAIN }, -1), ==, -EPIPE);
	g_assert_cmpuint(w->send_faults, ==, 1);
	w->send_faults = 0;
	WAIT(n_alive() == 4 && w->pids[CHILD_WORKER]->len == 3);
	WAIT(all_done());
	g_assert_cmpuint(w->n_died, ==, 1);
	check_answer(name, HS_OK, dead == CHILD_KEEPER ? 2 : 1);
}

/* Asked and died at once: whoever looks first, the answer finds nobody. */
static void test_ask_and_exit(struct world *w, gconstpointer name)
{
	struct task *task;

	start(2);
	w->answers = true;
	for (unsigned int i = 0; i < 5; i++) {
		unsigned int before = w->n_writable;

		task = give_for_sure(name);
		WAIT(done(task));
		g_assert_cmpuint(task->n_deaths, ==, 1);
		g_assert_cmpuint(w->n_died, ==, i + 1);
		w->later += 20 * SECOND;	/* so that the next one is there at once */
		WAIT(w->n_writable > before && n_alive() == 4);
	}
	check_answer("ask psk", HS_OK, 1);
}

/* The last handshake that died with a pair takes its key back from nobody. */
static void test_cancelled(struct world *w, gconstpointer unused)
{
	struct task *task;

	start(2);
	task = give_for_sure("ask key");
	WAIT(task->due);
	g_assert_cmpint(tell(task), ==, 0);
	WAIT(task->due == WIRE_CERTIFICATE && task->pid);
	/* It dies with nothing to do, but the keeper is to forget a key. */
	g_assert_no_errno(kill(keeper_of(task->pid), SIGKILL));
	wait_for_end(keeper_of(task->pid));
	forget(task);
	g_assert_true(logged("was killed by signal 9 (SIGKILL)"));
	WAIT(n_alive() == 4 && w->pids[CHILD_WORKER]->len == 3);
	g_assert_cmpuint(w->n_died, ==, 0);
	/* Without an accident it is told; the answer to what was asked finds nobody, too. */
	task = give_for_sure("ask key");
	WAIT(task->due);
	g_assert_cmpint(tell(task), ==, 0);
	forget(task);
	WAIT(logged("job 2: CANCEL"));
	run_for(20);
	g_assert_cmpuint(w->n_keys, ==, 4);
	g_assert_cmpuint(w->n_died, ==, 0);
}

/* --- those who say what they must not --- */

/* Before it is ready, both kinds, all three words. */
static void test_too_early(struct world *w, gconstpointer unused)
{
	for (unsigned int kind = 0; kind < N_CHILDREN; kind++) {
		for (enum start s = START_ASK; s <= START_REFUSED; s++) {
			unsigned int before = w->n_reloaded;

			plan(kind, s);
			g_assert_cmpint(reload(), ==, 0);
			WAIT(w->n_reloaded > before);
			g_assert_cmpint(w->error, ==, -ECHILD);
			g_assert_true(g_str_has_prefix(w->reason, spawn_kind_name(kind)));
			g_assert_nonnull(strstr(w->reason, "broke the protocol"));
			WAIT(n_alive() == 0);
		}
	}
	g_assert_cmpuint(w->n_keys, ==, 0);
}

static const struct bad_word {
	const char *peername, *who;
	unsigned int n_keys;	/* words that were good */
} bad_words[] = {
	{ "loaded", "worker", 0 },
	{ "refused", "worker", 0 },
	{ "ask key, ask-back", "keeper", 1 },
	{ "ask key, result", "keeper", 1 },
	{ "ask key, garbage", "keeper", 1 },
	{ "ask key, stray", "keeper", 1 },
};

static void check_broken(const struct task *task, const char *who)
{
	WAIT(done(task));
	g_assert_cmpuint(task->n_deaths, ==, 1);
	g_assert_cmpuint(world->n_died, ==, 1);
	g_assert_true(g_str_has_prefix(world->why, who));
	g_assert_nonnull(strstr(world->why, "broke the protocol"));
	g_assert_true(logged("; handshakes that end with it: 1"));
	WAIT(n_alive() == 4 && world->pids[CHILD_WORKER]->len == 3);
}

static void test_bad_word(struct world *w, gconstpointer data)
{
	const struct bad_word *bad = data;

	start(2);
	w->answers = true;
	check_broken(give_for_sure(bad->peername), bad->who);
	g_assert_cmpuint(w->n_keys, ==, bad->n_keys);
}

/* What the callback does not want to hear ends the pair. */
static void test_forbidden(struct world *w, gconstpointer name)
{
	bool to_keeper = strstr(name, "key");
	struct task *task;

	start(2);
	w->forbids = !to_keeper;
	task = give_for_sure(name);
	if (to_keeper) {
		WAIT(task->due);
		w->forbids = true;
		g_assert_cmpint(tell(task), ==, 0);
	}
	check_broken(task, to_keeper ? "keeper" : "worker");
	g_assert_cmpuint(w->n_keys, ==, to_keeper ? 2 : 1);
	w->forbids = false;
	w->answers = true;
	check_answer("ask key", HS_OK, 2);
}

/* A keeper that dies over a key takes the handshake with it, once. */
static void test_keeper_ends(struct world *w, gconstpointer name)
{
	struct task *task;

	start(2);
	w->answers = true;
	task = give_for_sure(name);
	WAIT(done(task));
	g_assert_cmpuint(task->n_deaths, ==, 1);
	g_assert_cmpuint(w->n_died, ==, 1);
	g_assert_true(g_str_has_prefix(w->why, "keeper["));
	g_assert_nonnull(strstr(w->why, strstr(name, "crash") ? "SIGABRT" : "status 7"));
	WAIT(n_alive() == 4 && w->pids[CHILD_WORKER]->len == 3);
	check_answer("ask key", HS_OK, 2);
}

/* A keeper that speaks does not make its worker one that answers. */
static void test_overdue(struct world *w, gconstpointer unused)
{
	struct wire_message msg = { .type = WIRE_CANCEL };
	struct task *stopped;
	struct pair *pair;

	start(2);
	stopped = give_and_stop();
	pair = stopped->pair;
	/* Whether the first job or a later one is what it has not answered. */
	while (give_for_sure("hold")->pair != pair)
		;
	w->later += 4 * SECOND;
	msg.cancel = stopped->id;
	g_assert_cmpint(pool_tell(w->pool, pair, POOL_KEEPER, &msg, -1), ==, 0);
	WAIT(logged("job 1: CANCEL"));
	forget(stopped);
	w->speed = 5;
	pool_overdue(w->pool, pair);
	w->speed = 1;
	WAIT(w->n_died == 1);
	g_assert_true(logged("does not answer"));
}

/*
 * It asked many times and ended. To answer the first finds that out, and what
 * else it wrote is read: that must not be answered from within.
 */
static void test_asked_and_ended(struct world *w, gconstpointer unused)
{
	struct task *task;

	start(2);
	w->answers = w->repeats = true;
	task = give_for_sure("ask psk, many, quit");
	g_assert_no_errno(waitid(P_ALL, 0, &(siginfo_t){ 0 }, WEXITED | WNOWAIT));
	WAIT(done(task));
	g_assert_cmpuint(task->n_deaths, ==, 1);
	g_assert_cmpuint(w->n_keys, >, 1);
	g_assert_cmpuint(w->deepest, <=, 2);
}

#define ADD(name, data, fn) \
	g_test_add("/pool/keys/" name, struct world, data, set_up, fn, tear_down)

static void add_refused(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(bad_words); i++) {
		g_autofree char *name = g_strconcat("/pool/keys/bad-word/", bad_words[i].peername, NULL);

		g_test_add(name, struct world, &bad_words[i], set_up, test_bad_word, tear_down);
	}
	ADD("asked-and-ended", NULL, test_asked_and_ended);
	ADD("too-early", NULL, test_too_early);
	ADD("forbidden/ask", "ask psk", test_forbidden);
	ADD("forbidden/loaded", "ask key", test_forbidden);
	ADD("forbidden/refused", "ask key, refuse", test_forbidden);
	ADD("keeper-ends/crash", "ask key, crash", test_keeper_ends);
	ADD("keeper-ends/exit", "ask key, exit", test_keeper_ends);
}

static void add_dead(void)
{
	static const char *const late[] = { "", "/ask", "/result" };

	for (unsigned int i = 0; i < 2 * G_N_ELEMENTS(late); i++) {
		unsigned int l = i / 2, keeper = i % 2 ? LATE_KEEPER : 0;
		g_autofree char *name = g_strdup_printf("/pool/keys/dead/%s%s",
							keeper ? "keeper" : "worker", late[l]);

		g_test_add(name, struct world, GUINT_TO_POINTER(l | keeper), set_up, test_dead,
			   tear_down);
	}
	ADD("ask-and-exit/psk", "ask psk, quit", test_ask_and_exit);
	ADD("ask-and-exit/key", "ask key, quit", test_ask_and_exit);
	ADD("cancelled", NULL, test_cancelled);
	ADD("overdue", NULL, test_overdue);
}

int main(int argc, char **argv)
{
	sigset_t mask;

	g_test_init(&argc, &argv, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	ADD("answers", NULL, test_answers);
	ADD("many", NULL, test_many);
	ADD("excused/monitor", "ask key, none", test_excused);
	ADD("excused/keeper", "ask key, refuse, busy", test_excused);
	ADD("former", NULL, test_former);
	ADD("full/worker", GUINT_TO_POINTER(POOL_WORKER), test_full);
	ADD("full/keeper", GUINT_TO_POINTER(POOL_KEEPER), test_full);
	ADD("full/worker/former", GUINT_TO_POINTER(POOL_WORKER), test_full_former);
	ADD("full/keeper/former", GUINT_TO_POINTER(POOL_KEEPER), test_full_former);
	ADD("full/worker/other", GUINT_TO_POINTER(POOL_WORKER), test_full_other);
	ADD("full/keeper/other", GUINT_TO_POINTER(POOL_KEEPER), test_full_other);
	ADD("shortage/memory", GINT_TO_POINTER(ENOMEM), test_shortage);
	ADD("shortage/buffers", GINT_TO_POINTER(ENOBUFS), test_shortage);
	ADD("shortage/descriptors", GINT_TO_POINTER(ETOOMANYREFS), test_shortage);
	ADD("invalid", NULL, test_invalid);
	add_refused();
	add_dead();
	return g_test_run();
}
