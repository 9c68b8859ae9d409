/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the reload logic lives in: real files, and in place of the workers a
 * trial that holds a certificate and a key to fit when their contents are the
 * same. The clock of the program runs SPEED times faster.
 *
 * Needs -Wl,--wrap=sd_event_source_set_time,--wrap=sd_event_now.
 */
#ifndef TLSHD_TESTS_RELOAD_WORLD_H
#define TLSHD_TESTS_RELOAD_WORLD_H

#include <glib.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "tlshd/monitor/reload.h"
#include "tlshd/monitor/watch.h"

#define SPEED 10
#define MS(us) ((us) / 1000 / SPEED)
#define PATIENCE_MS 20000
#define MISFIT "does not belong"
#define KEPT "the former configuration stays in force"
#define RELOADED "the configuration was reloaded"

struct world {
	sd_event *event;
	struct log log;
	struct reload *reload;
	char *dir;
	GString *text;		/* of the log: "<PRIORITY>TEXT\n" */
	char *in_force, *on_trial;	/* the certificate's content */
	const struct config *config;
	bool fits, no_worse, crowded;
	unsigned int n_begun, n_adopted, n_reports[RELOAD_WAITS + 1];
	unsigned int trial_ms;
	int begin_error, trial_error;
	sd_event_source *trial;
	unsigned int n_fds;
};

/* For g_test_add(). With the certificate and key "1" in force; the second without watch. */
void set_up(struct world *w, gconstpointer unused);
void set_up_unwatched(struct world *w, gconstpointer unused);
void tear_down(struct world *w, gconstpointer unused);

/* A line of shell in the directory, which must succeed. Has conf, c.pem and c.key. */
void sh(const struct world *w, const char *line);
/* Makes w->reload, and begins the first trial. */
void read_first(struct world *w);
void run_for(struct world *w, unsigned int ms);
/* As long as nothing is to be expected any more. */
void settle(struct world *w);
/* How often the log has it. */
unsigned int n_logged(const struct world *w, const char *what);
/* Is a certificate of this content in force, and no trial under way? */
bool is_in_force(const struct world *w, const char *what);

/* Runs the event loop until @condition. */
#define WAIT(w, condition)								\
	do {										\
		gint64 end_ = g_get_monotonic_time() + PATIENCE_MS * 1000;		\
		while (!(condition)) {							\
			if (g_get_monotonic_time() > end_)				\
				g_error("%s is not so; log:\n%s", #condition, (w)->text->str);	\
			g_assert_cmpint(sd_event_run((w)->event, 50000), >=, 0);	\
		}									\
	} while (0)

#endif
