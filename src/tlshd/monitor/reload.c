// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * look() compares what the files hold with what is in force and with what was
 * found bad last, and ends in one of: all is well, still the same fault, another
 * fault, a trial. Nothing is tried twice (but keys that were opened right after
 * a change), so a fault costs one trial, and files that are written again as
 * they were cost none.
 *
 * What a fault is about may be half of a change, so it is looked at again when
 * its time is over, and said then.
 *
 * GLib, here and in watch.c, gets memory that was asked for before; what is
 * done at other times does without.
 */
#include "tlshd/monitor/reload.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>
#include <time.h>

#include "build-config.h"
#include "common/passing.h"
#include "common/text.h"
#include "tlshd/monitor/reserve.h"
#include "tlshd/monitor/watch.h"

#define RETRY_MIN UINT64_C(1000000)	/* us; after a fault that is not the files' */
#define RETRY_MAX UINT64_C(60000000)
#define NO_MEMORY "no memory to read the configuration"

/* A configuration and what was read of its files. */
struct set {
	struct config *config;
	struct material *material;
};

/* What reading it had to say, until it is known whether that matters. */
struct remark {
	int priority;
	char *text;
};

struct reload {
	sd_event *event;
	const struct log *log;
	char *path;		/* absolute; NULL: one of the two by default */
	bool may_watch, stopped;
	const struct reload_callbacks *callbacks;
	void *ctx;

	struct set in_force, coming, bad;
	bool trying;		/* coming is on trial */
	bool coming_asked;	/* by somebody */
	bool coming_tried;	/* it may be what was found bad last */
	bool asked, again;	/* a look is due: by somebody, or at all */
	bool waits;		/* it is, when there is room */

	char fault[LOG_TEXT_MAX];	/* why the files are not in force; "": they are */
	bool said;		/* it has been */
	bool passing;		/* the fault is not the files' */
	uint64_t since;		/* there is a fault, or the last one was said, CLOCK_MONOTONIC, us */
	uint64_t due;		/* when it is to be said */
	uint64_t retry;		/* delay of the next trial of what failed for a passing fault */

	struct watch *watch;
	int watch_error;	/* said */
	sd_event_source *soon, *timer;
};

static void look(struct reload *r);

static uint64_t now_of(const struct reload *r)
{
	uint64_t t = 0;

	sd_event_now(r->event, CLOCK_MONOTONIC, &t);
	return t;
}

static void set_clear(struct set *set)
{
	config_free(set->config);
	material_free(set->material);
	*set = (struct set){ 0 };
}

static void set_move(struct set *to, struct set *from)
{
	set_clear(to);
	*to = *from;
	*from = (struct set){ 0 };
}

static bool set_same(const struct set *a, const struct set *b)
{
	return a->config && b->config && config_same(a->config, b->config) &&
	       material_same(a->material, b->material);
}

static bool set_may_be_same(const struct set *a, const struct set *b)
{
	return a->config && b->config && config_same(a->config, b->config) &&
	       material_may_be_same(a->material, b->material);
}

/* --- reading --- */

static void remark(void *ctx, int priority, const char *text, const struct log_field *fields,
		   size_t n_fields)
{
	struct remark r = { .priority = priority, .text = g_strdup(text) };

	g_array_append_val((GArray *)ctx, r);
}

static void remark_clear(void *p)
{
	g_free(((struct remark *)p)->text);
}

static GArray *remarks_new(void)
{
	GArray *remarks = g_array_new(FALSE, FALSE, sizeof(struct remark));

	g_array_set_clear_func(remarks, remark_clear);
	return remarks;
}

static void say_remarks(const struct reload *r, const GArray *remarks)
{
	for (guint i = 0; i < remarks->len; i++) {
		const struct remark *one = &g_array_index(remarks, struct remark, i);

		log_msg(r->log, one->priority, "%s", one->text);
	}
}

static void watch_files(struct reload *r, const struct config *config)
{
	for (unsigned int role = 0; role < HS_N_ROLES; role++) {
		const struct config_role *c = &config->role[role];
		const struct config_file *files[2 + 2 * HS_N_IDENTITIES] = {
			&c->truststore, &c->crl,
		};

		for (unsigned int i = 0; i < HS_N_IDENTITIES; i++) {
			files[2 + 2 * i] = &c->certificate[i];
			files[3 + 2 * i] = &c->private_key[i];
		}
		for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
			if (files[i]->path && !config_is_url(files[i]->path))
				watch_path(r->watch, files[i]->path);
		}
	}
}

static void watch_config(struct reload *r)
{
	watch_begin(r->watch);
	if (r->path) {
		watch_path(r->watch, r->path);
	} else {
		watch_path(r->watch, TLSHD_SYSCONFDIR "/" CONFIG_PATH);
		watch_path(r->watch, TLSHD_SYSCONFDIR "/" CONFIG_PATH_COMPAT);
	}
}

static void watch_done(struct reload *r, bool wanted)
{
	const char *hint = "";
	int error;

	/* Without memory some are watched still: no more than a look for nothing. */
	if (!wanted && reserve_memory())
		watch_begin(r->watch);
	error = watch_end(r->watch);
	if (error && error != r->watch_error) {
		if (error == -EMFILE)
			hint = " (fs.inotify.max_user_instances)";
		else if (error == -ENOSPC)
			hint = " (fs.inotify.max_user_watches)";
		log_warn(r->log, "the configuration and its files cannot be watched for changes: %s%s; a change counts from the next \"systemctl reload tlshd\"",
			 strerror(-error), hint);
	}
	r->watch_error = error;
}

/*
 * A file without a byte is what a full disk leaves of one that is written in place. It would put
 * all defaults into force: no certificate, and whatever authority the system trusts.
 */
static int check_emptied(const struct reload *r, const struct config *config, char *reason,
			 size_t size)
{
	char shown[LOG_TEXT_MAX / 2];

	if (!config->empty || !r->in_force.config || !r->in_force.config->digest ||
	    r->in_force.config->empty)
		return 0;
	text_quote(shown, sizeof(shown), config->path, strlen(config->path));
	snprintf(reason, size, "%s is empty: was it not written to its end (a full disk)? For a configuration of defaults only put a comment line (#) into it",
		 shown);
	return -EINVAL;
}

/* Whatever is watched is watched before it is read. Returns 0, or a negative errno with @reason. */
static int read_set(struct reload *r, struct set *ret, GArray *remarks, char *reason, size_t size)
{
	const struct log log = { .level = LOG_DEBUG, .sink = remark, .ctx = remarks };
	const struct config *named;
	int result;

	watch_config(r);
	result = config_load(&ret->config, r->path, &log, reason, size);
	if (result >= 0)
		result = check_emptied(r, ret->config, reason, size);
	named = result < 0 ? r->in_force.config : ret->config;
	/* What was at hand may be in the configuration now. */
	if (named && reserve_memory()) {
		watch_files(r, named);
	} else if (named && result >= 0) {
		snprintf(reason, size, NO_MEMORY);
		result = -ENOMEM;
	}
	if (result >= 0)
		result = material_open(&ret->material, ret->config, reason, size);
	watch_done(r, r->may_watch && named && named->watch);
	return result;
}

/* --- faults --- */

static void say_fault(struct reload *r)
{
	r->said = true;
	log_error(r->log, "%s; the former configuration stays in force", r->fault);
	if (!r->asked)
		r->callbacks->report(r->ctx, RELOAD_REFUSED);
}

static bool watches(const struct reload *r)
{
	return r->may_watch && r->in_force.config && r->in_force.config->watch;
}

/* There is a fault: says it, or looks again later. */
static void consider_fault(struct reload *r, bool asked)
{
	uint64_t now = now_of(r), next = UINT64_MAX;

	if (asked || (!r->said && now >= r->due))
		say_fault(r);
	if (!r->said)
		next = r->due;
	if (r->passing && watches(r))
		next = MIN(next, now + r->retry);
	sd_event_source_set_time(r->timer, next);
	sd_event_source_set_enabled(r->timer, next == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

/* @news: the same words are about another content. */
static void set_fault(struct reload *r, bool asked, bool passing, bool news, const char *reason)
{
	uint64_t now = now_of(r);

	/* Another one after one that was said may be half of its mending. */
	if (!r->fault[0] || r->said)
		r->since = now;
	if (!r->fault[0] || news || strcmp(r->fault, reason) != 0) {
		text_copy(r->fault, sizeof(r->fault), reason);
		r->said = false;
		r->due = MIN(now + RELOAD_GRACE, r->since + RELOAD_GRACE_LONGEST);
	}
	r->passing = passing;
	if (passing)
		r->retry = MIN(r->retry ? 2 * r->retry : RETRY_MIN, RETRY_MAX);
	consider_fault(r, asked);
}

static void clear_fault(struct reload *r)
{
	r->fault[0] = '\0';
	set_clear(&r->bad);
	r->said = r->passing = false;
	r->retry = 0;
	sd_event_source_set_enabled(r->timer, SD_EVENT_OFF);
}

/* The files are as they were before the fault. */
static void mended(struct reload *r)
{
	bool said = r->said;

	r->waits = false;
	clear_fault(r);
	if (!said)
		return;
	log_notice(r->log, "the fault is mended: the files are those of the configuration in force");
	r->callbacks->report(r->ctx, RELOAD_TAKEN);
}

/* --- trials --- */

static void try_set(struct reload *r, struct set *set, bool asked, const GArray *remarks)
{
	char reason[LOG_TEXT_MAX];
	int error;

	if (r->callbacks->crowded(r->ctx)) {
		/* What was read will be old by then. */
		r->asked |= asked;
		r->again = true;
		if (!r->waits) {
			log_notice(r->log, "the new configuration waits until handshakes with former ones have ended");
			r->callbacks->report(r->ctx, RELOAD_WAITS);
		}
		r->waits = true;
		return;
	}
	r->waits = false;
	if (asked || !r->in_force.config || !config_same(set->config, r->in_force.config))
		say_remarks(r, remarks);
	error = r->callbacks->begin(r->ctx, set->config, material_ref(set->material), !asked);
	if (error < 0) {
		snprintf(reason, sizeof(reason), "cannot start the workers: %s", strerror(-error));
		set_fault(r, asked, true, false, reason);
		return;
	}
	r->coming_tried = set_may_be_same(set, &r->bad);
	set_move(&r->coming, set);
	r->coming_asked = asked;
	r->trying = true;
}

static void look(struct reload *r)
{
	g_autoptr(GArray) remarks = NULL;
	bool asked = r->asked;
	char reason[LOG_TEXT_MAX];
	struct set set = { 0 };
	int error;

	r->asked = r->again = false;
	if (!reserve_memory()) {
		set_fault(r, asked, true, false, NO_MEMORY);
		return;
	}
	remarks = remarks_new();
	error = read_set(r, &set, remarks, reason, sizeof(reason));
	if (error < 0) {
		if (asked)
			say_remarks(r, remarks);
		set_clear(&r->bad);
		set_fault(r, asked, is_passing(error), false, reason);
	} else if (!asked && set_same(&set, &r->in_force)) {
		mended(r);
	} else if (!asked && set_same(&set, &r->bad)) {
		consider_fault(r, false);
	} else {
		try_set(r, &set, asked, remarks);
	}
	set_clear(&set);
}

static int on_soon(sd_event_source *source, void *ctx)
{
	struct reload *r = ctx;

	if (!r->trying && (r->asked || r->again))
		look(r);
	return 0;
}

static void look_soon(struct reload *r)
{
	if (!r->stopped)
		sd_event_source_set_enabled(r->soon, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct reload *r = ctx;

	r->again = true;
	look_soon(r);
	return 0;
}

static void on_changed(void *ctx)
{
	struct reload *r = ctx;

	r->again = true;
	look_soon(r);
}

/* --- what others call --- */

void reload_ask(struct reload *r)
{
	r->asked = true;
	look_soon(r);
}

void reload_room(struct reload *r)
{
	if (r->waits)
		look_soon(r);
}

void reload_tried(struct reload *r, int error, const char *reason)
{
	bool asked = r->coming_asked;

	r->trying = false;
	if (error < 0) {
		bool news = error == -EINVAL && !r->coming_tried;

		set_clear(&r->bad);
		if (error == -EINVAL)
			set_move(&r->bad, &r->coming);
		set_clear(&r->coming);
		set_fault(r, asked, error != -EINVAL, news, reason);
	} else {
		bool first = !r->in_force.config;
		struct set former = r->in_force;

		r->in_force = r->coming;
		r->coming = (struct set){ 0 };
		clear_fault(r);
		r->callbacks->adopt(r->ctx, r->in_force.config);
		set_clear(&former);
		if (!first) {
			log_notice(r->log, "the configuration was reloaded");
			if (!r->asked)
				r->callbacks->report(r->ctx, RELOAD_TAKEN);
		}
	}
	look_soon(r);
}

int reload_read_first(struct reload *r, const struct config **ret, char *reason, size_t size)
{
	g_autoptr(GArray) remarks = remarks_new();
	int error = read_set(r, &r->coming, remarks, reason, size);

	say_remarks(r, remarks);
	if (error < 0)
		return error;
	*ret = r->coming.config;
	return 0;
}

int reload_begin_first(struct reload *r)
{
	int error = r->callbacks->begin(r->ctx, r->coming.config, material_ref(r->coming.material),
					false);

	r->trying = error >= 0;
	return error;
}

void reload_stop(struct reload *r)
{
	r->stopped = true;
	sd_event_source_set_enabled(r->soon, SD_EVENT_OFF);
	sd_event_source_set_enabled(r->timer, SD_EVENT_OFF);
	/* What is watched still does no harm: nobody looks any more. */
	if (!reserve_memory())
		return;
	watch_begin(r->watch);
	watch_end(r->watch);
}

const struct config *reload_config(const struct reload *r)
{
	return r->in_force.config;
}

bool reload_is_asked(const struct reload *r)
{
	return r->asked || (r->trying && r->coming_asked);
}

static char *absolute(const char *path)
{
	g_autofree char *here = NULL;

	if (!path || path[0] == '/')
		return g_strdup(path);
	here = g_get_current_dir();
	return g_strconcat(here, "/", path, NULL);
}

int reload_new(struct reload **ret, sd_event *event, const struct log *log, const char *path,
	       bool watch, const struct reload_callbacks *callbacks, void *ctx)
{
	CLEANUP(reload_freep) struct reload *r = g_new0(struct reload, 1);

	r->event = sd_event_ref(event);
	r->log = log;
	r->path = absolute(path);
	r->may_watch = watch;
	r->callbacks = callbacks;
	r->ctx = ctx;
	if (watch_new(&r->watch, event, on_changed, r) < 0 ||
	    sd_event_add_defer(event, &r->soon, on_soon, r) < 0 ||
	    sd_event_source_set_enabled(r->soon, SD_EVENT_OFF) < 0 ||
	    sd_event_add_time_relative(event, &r->timer, CLOCK_MONOTONIC, 0, 1, on_timer, r) < 0 ||
	    sd_event_source_set_enabled(r->timer, SD_EVENT_OFF) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(r);
	return 0;
}

void reload_free(struct reload *r)
{
	if (!r)
		return;
	set_clear(&r->in_force);
	set_clear(&r->coming);
	set_clear(&r->bad);
	watch_free(r->watch);
	sd_event_source_disable_unref(r->soon);
	sd_event_source_disable_unref(r->timer);
	sd_event_unref(r->event);
	g_free(r->path);
	g_free(r);
}
