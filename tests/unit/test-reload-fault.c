// SPDX-License-Identifier: GPL-2.0-or-later
/* Changes that are not good, for a while or for longer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "leave-memory.h"
#include "reload-world.h"

/* --- faults --- */

static const struct fault {
	const char *name, *make, *said, *heal;
} faults[] = {
	{ "misfit", "printf 2 > c.pem", "c.key " MISFIT, "printf 1 > c.pem" },
	{ "missing", "mv c.pem away", "c.pem cannot be opened", "mv away c.pem" },
	{ "mode", "chmod 666 c.key", "c.key has mode 0666", "chmod 600 c.key" },
	{ "writable", "chmod 622 c.pem", "c.pem has mode 0622", "chmod 600 c.pem" },
	{ "directory", "mv c.pem away && mkdir c.pem", "c.pem is a directory",
	  "rmdir c.pem && mv away c.pem" },
	{ "fifo", "mv c.pem away && mkfifo c.pem", "c.pem is not a regular file",
	  "mv away c.pem" },
	{ "dangling", "mv c.pem away && ln -s nowhere c.pem", "c.pem cannot be opened",
	  "mv -f away c.pem" },
	{ "loop", "mv c.pem away && ln -s c.pem c.pem", "c.pem cannot be opened",
	  "mv -f away c.pem" },
	{ "empty", "cp -p c.pem away && : > c.pem", "c.key " MISFIT, "mv away c.pem" },
	{ "empty-configuration", "cp -p conf away && : > conf", "conf is empty: ", "mv away conf" },
	{ "line", "cp conf away && echo nonsense >> conf", "conf:6: ", "mv away conf" },
	{ "no-configuration", "mv conf away", "conf cannot be opened", "mv away conf" },
	{ "directory-gone", "mkdir d && mv c.pem d && ln -s d/c.pem c.pem && mv d e",
	  "c.pem cannot be opened", "mv -f e/c.pem c.pem" },
};

/* It lasts: said once, whatever happens besides, and so is its end. */
static void test_fault(struct world *w, gconstpointer data)
{
	const struct fault *f = data;
	gint64 begin_time = g_get_monotonic_time();
	unsigned int n_begun;

	sh(w, f->make);
	WAIT(w, n_logged(w, KEPT));
	g_assert_cmpint(g_get_monotonic_time() - begin_time, >=, RELOAD_GRACE / SPEED);
	g_assert_cmpuint(n_logged(w, f->said), ==, 1);
	g_assert_cmpuint(w->n_reports[RELOAD_REFUSED], ==, 1);
	n_begun = w->n_begun;
	for (unsigned int i = 0; i < 3; i++) {
		sh(w, "touch -c c.pem conf 2>/dev/null; touch -ch c.pem conf; : > other && rm other");
		run_for(w, 2 * MS(WATCH_QUIET));
	}
	settle(w);
	g_assert_cmpuint(n_logged(w, KEPT), ==, 1);
	g_assert_cmpuint(w->n_begun, ==, n_begun);
	g_assert_true(is_in_force(w, "1"));
	sh(w, f->heal);
	WAIT(w, w->n_reports[RELOAD_TAKEN] == 1);
	settle(w);
	g_assert_true(is_in_force(w, "1"));
	g_assert_cmpuint(n_logged(w, RELOADED) + n_logged(w, "is mended"), ==, 1);
	g_assert_cmpuint(n_logged(w, "<3>"), ==, 1);
	g_assert_cmpuint(n_logged(w, "<4>"), ==, 0);
}

/* It heals before its time is over: nobody learns of it. */
static void test_passes(struct world *w, gconstpointer data)
{
	const struct fault *f = data;
	unsigned int n_begun = w->n_begun;

	sh(w, f->make);
	/* It is seen, and if only by a trial. */
	run_for(w, 2 * MS(WATCH_QUIET));
	sh(w, f->heal);
	settle(w);
	g_assert_true(is_in_force(w, "1"));
	g_assert_cmpuint(n_logged(w, "<3>") + n_logged(w, "is mended"), ==, 0);
	g_assert_cmpuint(w->n_reports[RELOAD_REFUSED], ==, 0);
	g_assert_cmpuint(w->n_begun, <=, n_begun + 2);
}

/* Certificate first, key a moment later. */
static void test_one_by_one(struct world *w, gconstpointer unused)
{
	sh(w, "printf 2 > c.pem");
	WAIT(w, w->n_begun == 2 && !w->trial);
	sh(w, "printf 2 > c.key");
	WAIT(w, is_in_force(w, "2"));
	settle(w);
	g_assert_cmpuint(w->n_begun, ==, 3);
	g_assert_cmpuint(n_logged(w, "<3>"), ==, 0);
	g_assert_cmpuint(n_logged(w, RELOADED), ==, 1);
}

static void test_other_fault(struct world *w, gconstpointer unused)
{
	sh(w, "printf 2 > c.pem");
	WAIT(w, n_logged(w, MISFIT) == 1);
	/* The same words of another content, then other words, then those of before. */
	sh(w, "printf 3 > c.pem");
	WAIT(w, n_logged(w, MISFIT) == 2);
	sh(w, "mv c.pem away");
	WAIT(w, n_logged(w, "cannot be opened") == 1);
	sh(w, "mv away c.pem");
	WAIT(w, n_logged(w, MISFIT) == 3);
	sh(w, "printf 3 > c.key");
	WAIT(w, is_in_force(w, "3"));
	g_assert_cmpuint(n_logged(w, "<3>"), ==, 4);
	g_assert_cmpuint(n_logged(w, RELOADED), ==, 1);
}

/* What was said long ago is mended step by step: the steps have their time, too. */
static void test_mended_in_steps(struct world *w, gconstpointer unused)
{
	sh(w, "printf 2 > c.pem");
	WAIT(w, n_logged(w, MISFIT) == 1);
	run_for(w, 2 * MS(RELOAD_GRACE_LONGEST));
	sh(w, "rm c.pem");
	run_for(w, 2 * MS(WATCH_QUIET));
	sh(w, "printf 3 > c.pem");
	WAIT(w, w->n_begun == 3 && !w->trial);
	sh(w, "printf 3 > c.key");
	WAIT(w, is_in_force(w, "3"));
	settle(w);
	g_assert_cmpuint(n_logged(w, "<3>"), ==, 1);
}

/*
 * Somebody asks right after a key was written, so that its dates could not show another change: it
 * is tried again, and is no news.
 */
static void test_asked_at_once(struct world *w, gconstpointer unused)
{
	sh(w, "printf 2 > c.key");
	reload_ask(w->reload);
	WAIT(w, n_logged(w, MISFIT) == 1);
	settle(w);
	sh(w, "touch conf");
	settle(w);
	g_assert_cmpuint(n_logged(w, KEPT), ==, 1);
	g_assert_cmpuint(w->n_reports[RELOAD_REFUSED], ==, 1);
	g_assert_true(is_in_force(w, "1"));
	/* Whoever asks again is answered again. */
	reload_ask(w->reload);
	WAIT(w, n_logged(w, MISFIT) == 2);
	sh(w, "printf 2 > c.pem");
	WAIT(w, is_in_force(w, "2"));
	settle(w);
	g_assert_cmpuint(n_logged(w, "<3>"), ==, 2);
}

/* Another fault before each is due: somebody learns of it all the same. */
static void test_changing_faults(struct world *w, gconstpointer unused)
{
	gint64 begin_time = g_get_monotonic_time();
	unsigned int n = 1;

	while (!n_logged(w, KEPT)) {
		g_autofree char *line = g_strdup_printf("printf 1%u > c.pem", n++);

		sh(w, line);
		run_for(w, 2 * MS(WATCH_QUIET));
		g_assert_cmpint(g_get_monotonic_time() - begin_time, <, PATIENCE_MS * 1000);
	}
	g_assert_cmpint(g_get_monotonic_time() - begin_time, >=, RELOAD_GRACE_LONGEST / SPEED);
	g_test_message("said after %u faults", n);
	g_assert_cmpuint(n, >, 2);
}

/* The workers cannot be started now: nothing of the files has to change for another try. */
static void test_passing_fault(struct world *w, gconstpointer at_once)
{
	int *error = at_once ? &w->begin_error : &w->trial_error;

	*error = at_once ? -EAGAIN : -ECHILD;
	sh(w, "printf 2 > c.key && printf 2 > c.pem");
	WAIT(w, w->n_begun >= 6);
	g_assert_cmpuint(n_logged(w, KEPT), ==, 1);
	*error = 0;
	WAIT(w, is_in_force(w, "2"));
	settle(w);
	g_assert_cmpuint(n_logged(w, KEPT), ==, 1);
	g_assert_cmpuint(n_logged(w, RELOADED), ==, 1);
	/* No more than once a second, less often later. */
	g_assert_cmpuint(w->n_begun, <=, 10);
}

/* --- no memory --- */

enum end { WENT_ON, SAID, HUNG, N_ENDS };

static void sink_without_memory(void *ctx, int priority, const char *text,
				const struct log_field *fields, size_t n_fields)
{
	if (!strstr(text, KEPT))
		return;
	*(enum end *)ctx = strstr(text, "cannot start the workers") ? WENT_ON :
			   strstr(text, "memory") ? SAID : HUNG;
}

/* In a process of its own: a reload with no more than @extra bytes, and the stop. Returns its status. */
static int reload_with(struct world *w, unsigned long extra)
{
	pid_t pid = fork();
	enum end end = N_ENDS;
	int status;

	g_assert_cmpint(pid, >=, 0);
	if (!pid) {
		if (sd_event_new(&w->event) < 0)
			_exit(N_ENDS);
		read_first(w);
		WAIT(w, is_in_force(w, "1") && reload_config(w->reload));
		w->log.sink = sink_without_memory;
		w->log.ctx = &end;
		/* So that the trial needs no memory for the test. */
		w->begin_error = -EAGAIN;
		leave_memory(extra);
		reload_ask(w->reload);
		for (unsigned int i = 0; i < 1000 && end == N_ENDS; i++)
			sd_event_run(w->event, 10000);
		reload_stop(w->reload);
		_exit((int)end);
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	return status;
}

/* GLib would end the process: with however little memory, it goes on. */
static void test_no_memory(struct world *w, gconstpointer unused)
{
	unsigned int n[HUNG] = { 0 };

#ifdef __SANITIZE_ADDRESS__
	g_test_skip("AddressSanitizer needs memory of its own");
	return;
#endif
	for (unsigned long extra = 0; extra < 80; extra++) {
		int status = reload_with(w, extra << 15);

		g_assert_true(WIFEXITED(status));
		g_assert_cmpint(WEXITSTATUS(status), <, HUNG);
		n[WEXITSTATUS(status)]++;
	}
	g_test_message("went on %u times, said that memory is short %u times", n[WENT_ON], n[SAID]);
	g_assert_cmpuint(n[WENT_ON], >, 0);
	g_assert_cmpuint(n[SAID], >, 0);
}

/* --- anything --- */

static const char *const operations[] = {
	"printf @ > c.pem && printf @ > c.key",
	"printf @ > .c && printf @ > .k && mv .c c.pem && mv .k c.key",
	"printf @ > c.pem",
	"printf @ > c.key",
	"rm -rf c.pem && mkdir c.pem # @",
	"rm -rf c.pem # @",
	"chmod 666 c.key # @",
	"chmod 600 c.key # @",
	"mv conf conf.away # @",
	"mv conf.away conf # @",
	"cp -p c.pem c.key # @",
	"touch c.pem # @",
};

static char *file(const struct world *w, const char *name)
{
	g_autofree char *path = g_build_filename(w->dir, name, NULL);
	char *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) ? text : g_strdup("none");
}

/* By the files alone. */
static bool is_good(const struct world *w)
{
	g_autofree char *certificate = file(w, "c.pem"), *key = file(w, "c.key"), *conf = NULL;
	g_autofree char *path = g_build_filename(w->dir, "c.key", NULL);
	struct stat st;

	conf = file(w, "conf");
	return strcmp(conf, "none") != 0 && strcmp(certificate, "none") != 0 &&
	       !strcmp(certificate, key) && stat(path, &st) == 0 && !(st.st_mode & 066);
}

static void one_round(struct world *w, unsigned int *n)
{
	for (int i = g_test_rand_int_range(1, 5); i > 0; i--) {
		const char *form = operations[g_test_rand_int_range(0,
				(gint32)G_N_ELEMENTS(operations))];
		g_autofree char *number = g_strdup_printf("%u", ++*n);
		g_auto(GStrv) parts = g_strsplit(form, "@", -1);
		g_autofree char *line = g_strjoinv(number, parts);
		g_autofree char *either_way = g_strdup_printf("{ { %s\n } 2>/dev/null; true; }", line);

		sh(w, either_way);
		if (g_test_rand_int_range(0, 8) == 0)
			reload_ask(w->reload);
		if (g_test_rand_int_range(0, 2) == 0)
			run_for(w, (unsigned int)g_test_rand_int_range(0, 100));
	}
}

/* What lasts is in force in the end, or said to be faulty. */
static void test_random(struct world *w, gconstpointer unused)
{
	unsigned int n = 100, n_good = 0, rounds = 20;

	for (unsigned int round = 0; round < rounds; round++) {
		g_autofree char *certificate = NULL;
		bool good;

		/* The last word counts: that of a fault comes last when it lasts. */
		g_string_truncate(w->text, 0);
		sh(w, "rm -rf c.pem; mv conf.away conf 2>/dev/null; printf S > c.pem; printf S > c.key; "
		      "chmod 600 c.key");
		WAIT(w, is_in_force(w, "S"));
		settle(w);
		g_string_truncate(w->text, 0);
		w->trial_ms = (unsigned int)g_test_rand_int_range(0, 80);
		one_round(w, &n);
		if (g_test_rand_int_range(0, 2) == 0)
			sh(w, "rm -rf c.pem; mv conf.away conf 2>/dev/null; chmod 600 c.key 2>/dev/null; "
			      "cp -p c.key c.pem; chmod 600 c.pem");
		certificate = file(w, "c.pem");
		good = is_good(w);
		n_good += good;
		if (good)
			WAIT(w, is_in_force(w, certificate));
		else
			WAIT(w, g_str_has_suffix(w->text->str, KEPT "\n"));
	}
	g_test_message("%u operations, %u trials, in %u of %u rounds all was well in the end", n - 100,
		       w->n_begun, n_good, rounds);
	sh(w, "rm -rf c.pem; mv conf.away conf 2>/dev/null; chmod 600 c.key 2>/dev/null; "
	      "printf Z > c.pem && printf Z > c.key && chmod 600 c.pem");
	WAIT(w, is_in_force(w, "Z"));
}

#define ADD(name, fn) g_test_add("/reload/" name, struct world, NULL, set_up, fn, tear_down)

static void add_fault(const char *kind, const struct fault *f,
		      void (*test)(struct world *, gconstpointer))
{
	g_autofree char *name = g_strconcat("/reload/", kind, "/", f->name, NULL);

	g_test_add(name, struct world, f, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(faults); i++) {
		add_fault("fault", &faults[i], test_fault);
		add_fault("passes", &faults[i], test_passes);
	}
	ADD("one-by-one", test_one_by_one);
	ADD("other-fault", test_other_fault);
	ADD("mended-in-steps", test_mended_in_steps);
	ADD("changing-faults", test_changing_faults);
	ADD("asked-at-once", test_asked_at_once);
	ADD("passing-fault", test_passing_fault);
	g_test_add("/reload/passing-fault-at-once", struct world, "", set_up, test_passing_fault,
		   tear_down);
	ADD("no-memory", test_no_memory);
	ADD("random", test_random);
	return g_test_run();
}
