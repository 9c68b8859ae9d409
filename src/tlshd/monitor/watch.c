// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A path is walked as the kernel would, name by name, and each directory on
 * the way is watched for the name that is looked up in it, links included. A
 * directory is watched before the name is looked up, so that whatever happens
 * after the look is an event. Only events with such a name count: other files
 * of these directories may change as they like.
 *
 * The file at the end is watched as well: it may be written by another name (a
 * hard link, or a bind mount of the file alone, as containers have them), of
 * which the directory learns nothing.
 *
 * A regular file that has just been created is empty, or half of what it is to be: it counts when
 * its writer closes it, or when something else happens to its name. Until then nothing is told, but
 * not for ever: who links an unnamed file to a name (O_TMPFILE) closes it under none.
 *
 * Nothing is walked again while events come, only once they have been told.
 * What a directory got that came meanwhile is seen then.
 */
#include "tlshd/monitor/watch.h"

#include <errno.h>
#include <glib.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <time.h>

#define LINKS_MAX 40	/* as in the kernel (path_resolution(7)) */
#define ITSELF (IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_DONT_FOLLOW)
#define OF_DIRECTORY (ITSELF | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | \
		      IN_DELETE | IN_ONLYDIR)
#define OF_FILE (ITSELF | IN_CLOSE_WRITE)

/* A directory, with the names that are looked up in it, or a file. */
struct node {
	struct watch *watch;
	char *path;
	GHashTable *names;	/* char * to bool *: it was created and is not closed yet; NULL: a file */
	sd_event_source *source;
};

struct watch {
	sd_event *event;
	void (*changed)(void *ctx);
	void *ctx;
	GHashTable *nodes;	/* by path, without links in it */
	GHashTable *former;	/* those of before watch_begin() */
	int error;
	unsigned int n_writing;	/* files that were created and are not closed yet */
	uint64_t writing_until;	/* they are waited for, CLOCK_MONOTONIC, us */
	uint64_t first;		/* of the events not told yet, CLOCK_MONOTONIC, us */
	sd_event_source *timer;	/* runs when there are such */
};

static void node_free(void *p)
{
	struct node *node = p;

	sd_event_source_disable_unref(node->source);
	if (node->names)
		g_hash_table_unref(node->names);
	g_free(node->path);
	g_free(node);
}

static GHashTable *new_nodes(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, node_free);
}

/* --- events --- */

static int on_quiet(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct watch *w = ctx;

	w->changed(w->ctx);
	return 0;
}

static void tell_soon(struct watch *w)
{
	uint64_t now = 0;

	sd_event_now(w->event, CLOCK_MONOTONIC, &now);
	if (sd_event_source_get_enabled(w->timer, NULL) <= 0)
		w->first = now;
	sd_event_source_set_time(w->timer, w->n_writing ? w->writing_until :
				 MIN(now + WATCH_QUIET, w->first + WATCH_LONGEST));
	sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

/*
 * Is the file that has just been created one that somebody writes now? Links are there at once, as
 * is a file that has another name. This may not allocate memory.
 */
static bool is_being_written(const struct node *node, const struct inotify_event *event)
{
	char path[PATH_MAX];
	struct stat st;
	int n;

	if (!(event->mask & IN_CREATE))
		return false;
	n = snprintf(path, sizeof(path), "%s/%s", node->path, event->name);
	return n > 0 && n < (int)sizeof(path) &&
	       fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode) && st.st_nlink == 1;
}

/* @event has a name that is looked up in @node; @writing is what is known of that. */
static void note_writing(struct node *node, const struct inotify_event *event, bool *writing)
{
	struct watch *w = node->watch;
	uint64_t now = 0;

	if (is_being_written(node, event)) {
		sd_event_now(w->event, CLOCK_MONOTONIC, &now);
		w->writing_until = now + WATCH_WRITING;
		w->n_writing += !*writing;
		*writing = true;
	} else if (event->mask & ~(uint32_t)IN_ATTRIB && *writing) {
		w->n_writing -= w->n_writing > 0;
		*writing = false;
	}
}

static int on_event(sd_event_source *source, const struct inotify_event *event, void *ctx)
{
	struct node *node = ctx;
	bool *writing;

	/* Without a name: of the directory or file itself, or events were lost. */
	if (event->len && node->names) {
		writing = g_hash_table_lookup(node->names, event->name);
		if (!writing)
			return 0;
		note_writing(node, event, writing);
	}
	tell_soon(node->watch);
	return 0;
}

/* --- the walk --- */

static void set_error(struct watch *w, int error)
{
	/* It went between the walk's look and ours: the directory above tells of that. */
	if (error == -ENOENT || error == -ENOTDIR || error == -ELOOP) {
		tell_soon(w);
		return;
	}
	if (!w->error)
		w->error = error;
}

static struct node *node_at(struct watch *w, const char *path, bool directory)
{
	struct node *node = g_hash_table_lookup(w->nodes, path);
	int r;

	/* What was a file a moment ago may be a directory now. */
	if (node && (node->names || !directory))
		return node;
	node = g_new0(struct node, 1);
	node->watch = w;
	node->path = g_strdup(path);
	if (directory)
		node->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
						    g_free);
	g_hash_table_replace(w->nodes, g_strdup(path), node);
	r = sd_event_add_inotify(w->event, &node->source, path,
				 directory ? OF_DIRECTORY : OF_FILE, on_event, node);
	if (r < 0)
		set_error(w, r);
	return node;
}

/* Takes the first name off @rest. Returns NULL when there is none. */
static char *next_name(char **rest)
{
	char *name = *rest + strspn(*rest, "/");

	if (!*name)
		return NULL;
	*rest = name + strcspn(name, "/");
	if (**rest)
		*(*rest)++ = '\0';
	return name;
}

static void go_up(GString *at)
{
	const char *slash = strrchr(at->str, '/');

	g_string_truncate(at, slash ? (gsize)(slash - at->str) : 0);
}

/* Follows the link at @at, which is below the directory it counts from. Returns what is to be walked. */
static char *follow(GString *at, const char *rest)
{
	g_autofree char *target = g_file_read_link(at->str, NULL);

	if (!target)
		return NULL;
	if (target[0] == '/')
		g_string_truncate(at, 0);
	else
		go_up(at);
	return g_strconcat(target, "/", rest, NULL);
}

/* @at is "" for the root directory. Returns false when there is nothing to go on with. */
static bool step(struct watch *w, GString *at, const char *name, char **rest, char **text,
		 unsigned int *links)
{
	struct node *node = node_at(w, at->len ? at->str : "/", true);
	struct stat st;
	char *more;

	if (!g_hash_table_contains(node->names, name))
		g_hash_table_insert(node->names, g_strdup(name), g_new0(bool, 1));
	g_string_append_printf(at, "/%s", name);
	if (at->len >= PATH_MAX || lstat(at->str, &st) < 0)
		return false;
	if (S_ISDIR(st.st_mode))
		return true;
	if (!S_ISLNK(st.st_mode)) {
		node_at(w, at->str, false);
		return false;
	}
	more = ++*links <= LINKS_MAX ? follow(at, *rest) : NULL;
	if (!more)
		return false;
	g_free(*text);
	*rest = *text = more;
	return true;
}

void watch_path(struct watch *w, const char *path)
{
	char *text = g_strdup(path), *rest = text, *name;
	g_autoptr(GString) at = g_string_new("");
	unsigned int links = 0;

	while ((name = next_name(&rest))) {
		g_autofree char *copy = g_strdup(name);

		if (!strcmp(copy, "."))
			continue;
		if (!strcmp(copy, ".."))
			go_up(at);
		else if (!step(w, at, copy, &rest, &text, &links))
			break;
	}
	g_free(text);
}

/* --- all of it --- */

void watch_begin(struct watch *w)
{
	/* What is watched twice stays watched; sd-event keeps one watch for an inode. */
	if (w->former)
		g_hash_table_unref(w->nodes);
	else
		w->former = w->nodes;
	w->nodes = new_nodes();
	w->error = 0;
	w->n_writing = 0;
	sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
}

int watch_end(struct watch *w)
{
	g_clear_pointer(&w->former, g_hash_table_unref);
	return w->error;
}

int watch_new(struct watch **ret, sd_event *event, void (*changed)(void *ctx), void *ctx)
{
	struct watch *w = g_new0(struct watch, 1);

	w->event = sd_event_ref(event);
	w->changed = changed;
	w->ctx = ctx;
	w->nodes = new_nodes();
	if (sd_event_add_time_relative(event, &w->timer, CLOCK_MONOTONIC, 0, 1, on_quiet, w) < 0 ||
	    sd_event_source_set_enabled(w->timer, SD_EVENT_OFF) < 0) {
		watch_free(w);
		return -ENOMEM;
	}
	*ret = w;
	return 0;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	watch_end(w);
	g_hash_table_unref(w->nodes);
	sd_event_source_disable_unref(w->timer);
	sd_event_unref(w->event);
	g_free(w);
}
