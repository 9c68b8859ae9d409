// SPDX-License-Identifier: GPL-2.0-or-later
/* Changes that are good, and what is asked for. */
#include <stdlib.h>
#include <string.h>

#include "reload-world.h"

/* --- changes that are good --- */

static void test_first(struct world *w, gconstpointer unused)
{
	settle(w);
	g_assert_cmpuint(w->n_begun, ==, 1);
	g_assert_cmpuint(w->n_adopted, ==, 1);
	g_assert_cmpuint(w->n_reports[RELOAD_TAKEN], ==, 0);
	g_assert_cmpstr(w->text->str, ==, "");
	g_assert_false(reload_is_asked(w->reload));
}

static void test_noticed(struct world *w, gconstpointer unused)
{
	sh(w, "printf 2 > .k && mv .k c.key && printf 2 > .c && mv .c c.pem");
	WAIT(w, is_in_force(w, "2"));
	settle(w);
	g_assert_cmpuint(w->n_begun, ==, 2);
	g_assert_true(w->no_worse);
	g_assert_cmpuint(n_logged(w, RELOADED), ==, 1);
	g_assert_cmpuint(w->n_reports[RELOAD_TAKEN], ==, 1);
	g_assert_cmpuint(n_logged(w, "<3>"), ==, 0);
	g_assert_true(reload_config(w->reload) == w->config);
}

/* What would be loaded is what is in force. */
static void test_no_change(struct world *w, gconstpointer unused)
{
	static const char *const lines[] = {
		"printf 1 > c.pem", "printf 1 > .c && mv .c c.pem", "touch c.pem", "chmod 640 c.pem",
		"cp conf .n && mv .n conf", "printf 2 > c.pem; sleep 0.02; printf 1 > c.pem",
		"mv c.pem x && mv x c.pem", "cat c.key c.pem conf > /dev/null",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
		sh(w, lines[i]);
		run_for(w, 2 * MS(WATCH_QUIET));
	}
	settle(w);
	g_assert_cmpuint(w->n_begun, ==, 1);
	g_assert_cmpstr(w->text->str, ==, "");
}

static void test_key_state(struct world *w, gconstpointer unused)
{
	/* The same size and, as far as dates go, the same time; nobody reads its content here. */
	sh(w, "cp -p c.key .k && printf 1 > .k && touch -r c.key .k && mv .k c.key");
	WAIT(w, w->n_begun == 2);
	WAIT(w, is_in_force(w, "1"));
	g_usleep(200000);
	sh(w, "touch c.pem");
	settle(w);
	/* At most once more, had it been too young to be sure. */
	g_assert_cmpuint(w->n_begun, <=, 3);
}

static void test_configuration(struct world *w, gconstpointer unused)
{
	sh(w, "printf 7 > d.pem && printf 7 > d.key && sed -i s/c\\\\./d./ conf");
	WAIT(w, is_in_force(w, "7"));
	/* Its files count from now on, and the former do not. */
	sh(w, "printf 8 > c.pem && printf 8 > c.key");
	settle(w);
	g_assert_true(is_in_force(w, "7"));
	g_assert_cmpuint(w->n_begun, ==, 2);
	sh(w, "printf 9 > d.pem && printf 9 > d.key");
	WAIT(w, is_in_force(w, "9"));
}

/* Its warnings are said when it is tried, not whenever somebody looks. */
static void test_warnings(struct world *w, gconstpointer unused)
{
	sh(w, "echo '[nonsense]' >> conf");
	WAIT(w, w->n_adopted == 2);
	for (unsigned int i = 0; i < 3; i++) {
		sh(w, "touch conf c.pem");
		run_for(w, 2 * MS(WATCH_QUIET));
	}
	sh(w, "printf 3 > c.key && printf 3 > c.pem");
	WAIT(w, is_in_force(w, "3"));
	g_assert_cmpuint(n_logged(w, "unknown group [nonsense]"), ==, 1);
	reload_ask(w->reload);
	WAIT(w, w->n_adopted == 4);
	g_assert_cmpuint(n_logged(w, "unknown group [nonsense]"), ==, 2);
}

/* --- somebody asks --- */

static void test_asked(struct world *w, gconstpointer unused)
{
	reload_ask(w->reload);
	g_assert_true(reload_is_asked(w->reload));
	WAIT(w, w->n_adopted == 2);
	g_assert_false(reload_is_asked(w->reload));
	/* Also of files that are as they were, and whatever they say. */
	g_assert_cmpuint(w->n_begun, ==, 2);
	g_assert_false(w->no_worse);
	g_assert_cmpuint(w->n_reports[RELOAD_TAKEN], ==, 1);
	/* A fault is said at once, each time. */
	for (unsigned int i = 1; i < 4; i++) {
		gint64 begin_time = g_get_monotonic_time();

		sh(w, "printf 2 > c.pem");
		reload_ask(w->reload);
		WAIT(w, n_logged(w, KEPT) == i);
		g_assert_cmpuint(w->n_reports[RELOAD_REFUSED], ==, i);
		if (i == 1)
			g_test_message("said after %d us", (int)(g_get_monotonic_time() - begin_time));
	}
	settle(w);
	g_assert_cmpuint(n_logged(w, KEPT), ==, 3);
}

/* What a full disk leaves of a configuration is none, whoever asks, but where there was nothing before. */
static void test_emptied(struct world *w, gconstpointer unused)
{
	sh(w, "cp conf saved && : > conf");
	for (unsigned int i = 1; i < 3; i++) {
		reload_ask(w->reload);
		WAIT(w, w->n_reports[RELOAD_REFUSED] == i);
		g_assert_cmpuint(n_logged(w, "conf is empty: "), ==, i);
	}
	settle(w);
	g_assert_cmpuint(w->n_begun, ==, 1);
	g_assert_nonnull(reload_config(w->reload)->role[HS_SERVER].certificate[0].path);
	/* This is how one says that everything is to have its default. */
	sh(w, "echo '# defaults' > conf");
	WAIT(w, w->n_adopted == 2);
	g_assert_null(reload_config(w->reload)->role[HS_SERVER].certificate[0].path);
	sh(w, ": > conf");
	reload_ask(w->reload);
	WAIT(w, w->n_reports[RELOAD_REFUSED] == 3);
	sh(w, "cp saved conf");
	WAIT(w, is_in_force(w, "1"));
}

/* At the start it means defaults, and so it does for as long as nothing else was there. */
static void test_empty_first(struct world *w, gconstpointer unused)
{
	reload_free(w->reload);
	sh(w, "cp conf saved && : > conf");
	read_first(w);
	WAIT(w, w->n_adopted == 2);
	reload_ask(w->reload);
	WAIT(w, w->n_adopted == 3);
	g_assert_cmpuint(n_logged(w, "is empty"), ==, 0);
	sh(w, "cp saved conf");
	WAIT(w, is_in_force(w, "1"));
}

static void test_asked_meanwhile(struct world *w, gconstpointer unused)
{
	w->trial_ms = 100;
	reload_ask(w->reload);
	WAIT(w, w->trial);
	for (unsigned int i = 0; i < 100; i++)
		reload_ask(w->reload);
	sh(w, "printf 2 > c.key && printf 2 > c.pem");
	WAIT(w, is_in_force(w, "2"));
	settle(w);
	/* One for all of them; who asked hears of it when the last word is said. */
	g_assert_cmpuint(w->n_begun, ==, 3);
	g_assert_cmpuint(w->n_reports[RELOAD_TAKEN], ==, 1);
}

static void test_asked_early(struct world *w, gconstpointer unused)
{
	reload_free(w->reload);
	w->n_adopted = 0;
	w->trial_ms = 1000;
	read_first(w);
	reload_ask(w->reload);
	sh(w, "printf 2 > c.key && printf 2 > c.pem");
	run_for(w, 50);
	g_assert_cmpuint(w->n_adopted, ==, 0);
	WAIT(w, w->n_adopted == 2);
	g_assert_true(is_in_force(w, "2"));
}

static void test_not_watched(struct world *w, gconstpointer unused)
{
	sh(w, "printf 2 > c.key && printf 2 > c.pem");
	settle(w);
	g_assert_cmpuint(w->n_begun, ==, 1);
	reload_ask(w->reload);
	WAIT(w, is_in_force(w, "2"));
	/* It can be switched on, and off. */
	sh(w, "sed -i s/watch.*/watch=1/ conf");
	settle(w);
	reload_ask(w->reload);
	WAIT(w, w->n_adopted == 3);
	sh(w, "printf 3 > c.key && printf 3 > c.pem");
	WAIT(w, is_in_force(w, "3"));
	sh(w, "sed -i s/watch.*/watch=0/ conf");
	WAIT(w, w->n_adopted == 5);
	sh(w, "printf 4 > c.key && printf 4 > c.pem");
	settle(w);
	g_assert_true(is_in_force(w, "3"));
}

static void test_stopped(struct world *w, gconstpointer unused)
{
	sh(w, "printf 2 > c.key && printf 2 > c.pem");
	reload_stop(w->reload);
	reload_ask(w->reload);
	settle(w);
	g_assert_cmpuint(w->n_begun, ==, 1);
}

/* --- no room --- */

static void test_crowded(struct world *w, gconstpointer unused)
{
	w->crowded = true;
	sh(w, "printf 2 > c.key && printf 2 > c.pem");
	WAIT(w, w->n_reports[RELOAD_WAITS] == 1);
	reload_room(w->reload);
	sh(w, "printf 3 > c.key && printf 3 > c.pem");
	settle(w);
	g_assert_cmpuint(w->n_begun, ==, 1);
	g_assert_cmpuint(n_logged(w, "waits until"), ==, 1);
	w->crowded = false;
	reload_room(w->reload);
	WAIT(w, is_in_force(w, "3"));
	g_assert_cmpuint(w->n_begun, ==, 2);
	/* What is as it was by then needs no room. */
	w->crowded = true;
	sh(w, "printf 4 > c.pem");
	WAIT(w, w->n_reports[RELOAD_WAITS] == 2);
	sh(w, "printf 3 > c.pem");
	settle(w);
	w->crowded = false;
	reload_room(w->reload);
	settle(w);
	g_assert_cmpuint(w->n_begun, ==, 2);
	/* Who asks waits, too, and is not forgotten. */
	w->crowded = true;
	reload_ask(w->reload);
	settle(w);
	g_assert_true(reload_is_asked(w->reload));
	w->crowded = false;
	reload_room(w->reload);
	WAIT(w, w->n_begun == 3);
	g_assert_false(w->no_worse);
}

#define ADD(name, fn) g_test_add("/reload/" name, struct world, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("first", test_first);
	ADD("noticed", test_noticed);
	ADD("no-change", test_no_change);
	ADD("key-state", test_key_state);
	ADD("configuration", test_configuration);
	ADD("warnings", test_warnings);
	ADD("asked", test_asked);
	ADD("emptied", test_emptied);
	ADD("empty-first", test_empty_first);
	ADD("asked-meanwhile", test_asked_meanwhile);
	ADD("asked-early", test_asked_early);
	g_test_add("/reload/not-watched", struct world, NULL, set_up_unwatched, test_not_watched,
		   tear_down);
	ADD("stopped", test_stopped);
	ADD("crowded", test_crowded);
	return g_test_run();
}
