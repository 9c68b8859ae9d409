// SPDX-License-Identifier: GPL-2.0-or-later
#include "reload-world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/child.h"
#include "fds.h"

/* us of the real clock that commands took, which a busy machine makes long: they do not count. */
static uint64_t paused;

int __real_sd_event_now(sd_event *event, clockid_t clock, uint64_t *usec);
int __wrap_sd_event_now(sd_event *event, clockid_t clock, uint64_t *usec);
int __wrap_sd_event_now(sd_event *event, clockid_t clock, uint64_t *usec)
{
	int r = __real_sd_event_now(event, clock, usec);

	*usec = (*usec - paused) * SPEED;
	return r;
}

int __real_sd_event_source_set_time(sd_event_source *source, uint64_t usec);
int __wrap_sd_event_source_set_time(sd_event_source *source, uint64_t usec);
int __wrap_sd_event_source_set_time(sd_event_source *source, uint64_t usec)
{
	return __real_sd_event_source_set_time(source, usec / SPEED + paused);
}

/* --- the trial --- */

static char *content(const struct child_files *files, enum wire_file_use use)
{
	char buf[64] = "";

	for (size_t i = 0; i < files->n; i++) {
		if (files->file[i].what.use == use)
			g_assert_cmpint(pread(files->file[i].fd, buf, sizeof(buf) - 1, 0), >=, 0);
	}
	return g_strdup(buf);
}

static char *receive(const struct material *material, enum material_receiver who,
		     enum wire_file_use use)
{
	const struct wire_message start = { .type = WIRE_START };
	struct child_files files;
	char *text;
	int ends[2];

	g_assert_cmpint(channel_pair(ends), ==, 0);
	g_assert_cmpint(material_send(material, who, ends[0]), ==, 0);
	g_assert_cmpint(channel_send(ends[0], &start, -1), ==, 0);
	g_assert_cmpint(child_receive_files(ends[1], &files), ==, 0);
	text = content(&files, use);
	child_files_free(&files);
	close(ends[0]);
	close(ends[1]);
	return text;
}

static int on_trial(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct world *w = ctx;
	int error = w->trial_error ? w->trial_error : w->fits ? 0 : -EINVAL;

	w->trial = sd_event_source_disable_unref(w->trial);
	if (!error) {
		g_free(w->in_force);
		w->in_force = g_steal_pointer(&w->on_trial);
	}
	reload_tried(w->reload, error, w->trial_error ? "the worker died" : "c.key " MISFIT);
	return 0;
}

static int begin(void *ctx, const struct config *config, struct material *material, bool no_worse)
{
	struct world *w = ctx;
	g_autofree char *key = NULL;

	/* Never two at once: the second would take the first one's place. */
	g_assert_null(w->trial);
	g_assert_false(w->crowded);
	w->n_begun++;
	w->no_worse = no_worse;
	if (w->begin_error) {
		material_free(material);
		return w->begin_error;
	}
	g_free(w->on_trial);
	w->on_trial = receive(material, MATERIAL_WORKER, WIRE_FILE_CERTIFICATE);
	key = receive(material, MATERIAL_KEEPER, WIRE_FILE_PRIVATE_KEY);
	w->fits = !strcmp(w->on_trial, key);
	material_free(material);
	g_assert_cmpint(sd_event_add_time_relative(w->event, &w->trial, CLOCK_MONOTONIC,
						   w->trial_ms * 1000, 1, on_trial, w), >=, 0);
	return 0;
}

static bool crowded(void *ctx)
{
	return ((struct world *)ctx)->crowded;
}

static void adopt(void *ctx, const struct config *config)
{
	struct world *w = ctx;

	w->n_adopted++;
	w->config = config;
}

static void report(void *ctx, enum reload_report what)
{
	((struct world *)ctx)->n_reports[what]++;
}

static void sink(void *ctx, int priority, const char *text, const struct log_field *fields,
		 size_t n_fields)
{
	struct world *w = ctx;

	g_string_append_printf(w->text, "<%d>%s\n", priority, text);
}

/* --- the world --- */

void sh(const struct world *w, const char *line)
{
	g_autofree char *command = g_strdup_printf("umask 077; cd '%s' && %s", w->dir, line);
	gint64 begin_time = g_get_monotonic_time();
	int status = system(command);

	if (status)
		g_error("status %d of: %s", status, line);
	paused += (uint64_t)(g_get_monotonic_time() - begin_time);
}

void run_for(struct world *w, unsigned int ms)
{
	gint64 end = g_get_monotonic_time() + ms * 1000, left;

	while ((left = end - g_get_monotonic_time()) > 0)
		g_assert_cmpint(sd_event_run(w->event, (uint64_t)left), >=, 0);
}

void settle(struct world *w)
{
	run_for(w, 3 * MS(WATCH_QUIET) + MS(RELOAD_GRACE));
}

unsigned int n_logged(const struct world *w, const char *what)
{
	unsigned int n = 0;

	for (const char *p = w->text->str; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

bool is_in_force(const struct world *w, const char *what)
{
	return !w->trial && w->in_force && !strcmp(w->in_force, what);
}

static const struct reload_callbacks callbacks = {
	.crowded = crowded, .begin = begin, .adopt = adopt, .report = report,
};

void read_first(struct world *w)
{
	g_autofree char *path = g_build_filename(w->dir, "conf", NULL);
	const struct config *config = NULL;
	char reason[512] = "";

	g_assert_cmpint(reload_new(&w->reload, w->event, &w->log, path, true, &callbacks, w), ==,
			0);
	g_assert_cmpint(reload_read_first(w->reload, &config, reason, sizeof(reason)), ==, 0);
	g_assert_nonnull(config);
	g_assert_null(reload_config(w->reload));
	g_assert_cmpint(reload_begin_first(w->reload), ==, 0);
}

static void set_up_with(struct world *w, const char *extra)
{
	g_autofree char *conf = NULL;

	w->n_fds = count_fds();
	w->dir = g_dir_make_tmp("tlshd-reload-XXXXXX", NULL);
	g_assert_nonnull(w->dir);
	w->text = g_string_new("");
	w->log = (struct log){ LOG_DEBUG, sink, w };
	w->trial_ms = 1;
	conf = g_strdup_printf("printf '[daemon]\\n%s\\n[authenticate.server]\\n"
			       "x509.certificate=%s/c.pem\\nx509.private_key=%s/c.key\\n' > conf && "
			       "printf 1 > c.pem && printf 1 > c.key",
			       extra, w->dir, w->dir);
	sh(w, conf);
	g_usleep(200000);	/* the key's dates are to say something */
	g_assert_cmpint(sd_event_new(&w->event), >=, 0);
	read_first(w);
	WAIT(w, is_in_force(w, "1"));
	g_assert_true(reload_config(w->reload) == w->config);
}

void set_up(struct world *w, gconstpointer unused)
{
	set_up_with(w, "");
}

void set_up_unwatched(struct world *w, gconstpointer unused)
{
	set_up_with(w, "watch=0");
}

void tear_down(struct world *w, gconstpointer unused)
{
	g_autofree char *command = g_strdup_printf("rm -rf '%s'", w->dir);

	sd_event_source_disable_unref(w->trial);
	reload_free(w->reload);
	reload_free(NULL);
	sd_event_unref(w->event);
	g_assert_cmpuint(count_fds(), ==, w->n_fds);
	g_assert_cmpint(system(command), ==, 0);
	g_string_free(w->text, TRUE);
	g_free(w->in_force);
	g_free(w->on_trial);
	g_free(w->dir);
}
