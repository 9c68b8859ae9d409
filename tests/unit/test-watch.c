// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The waits are a tenth of what they are in the daemon. What the watch has told
 * is what the file was when it was looked at then: `seen'.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fds.h"
#include "tlshd/monitor/watch.h"

#define SPEED 10
#define QUIET_MS (WATCH_QUIET / 1000 / SPEED)
#define PATIENCE_MS 20000

struct world {
	sd_event *event;
	struct watch *watch;
	char *dir;
	const char *path;	/* that is watched, below dir */
	char *seen;
	unsigned int n_told, n_fds;
	int error;
};

/* The clock of the program under test runs so much faster. */
int __real_sd_event_now(sd_event *event, clockid_t clock, uint64_t *usec);
int __wrap_sd_event_now(sd_event *event, clockid_t clock, uint64_t *usec);
int __wrap_sd_event_now(sd_event *event, clockid_t clock, uint64_t *usec)
{
	int r = __real_sd_event_now(event, clock, usec);

	*usec *= SPEED;
	return r;
}

int __real_sd_event_source_set_time(sd_event_source *source, uint64_t usec);
int __wrap_sd_event_source_set_time(sd_event_source *source, uint64_t usec);
int __wrap_sd_event_source_set_time(sd_event_source *source, uint64_t usec)
{
	return __real_sd_event_source_set_time(source, usec / SPEED);
}

/* --- files --- */

static char *at(const struct world *w, const char *name)
{
	return g_build_filename(w->dir, name, NULL);
}

/* Runs a line of shell in the directory. */
static void sh(const struct world *w, const char *line)
{
	g_autofree char *command = g_strdup_printf("cd '%s' && %s", w->dir, line);
	int status = system(command);

	if (status)
		g_error("status %d of: %s", status, line);
}

/* The content of the file, or what hinders. */
static char *observe(const struct world *w)
{
	g_autofree char *path = at(w, w->path);
	char buf[64] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	char *seen = n < 0 ? g_strdup(strerrorname_np(errno)) : g_strdup(buf);

	if (fd >= 0)
		close(fd);
	return seen;
}

static void look(struct world *w)
{
	g_autofree char *path = at(w, w->path);

	watch_begin(w->watch);
	watch_path(w->watch, path);
	g_free(w->seen);
	w->seen = observe(w);
	w->error = watch_end(w->watch);
}

static void on_changed(void *ctx)
{
	struct world *w = ctx;

	w->n_told++;
	look(w);
}

static void run_for(struct world *w, unsigned int ms)
{
	gint64 end = g_get_monotonic_time() + ms * 1000, left;

	while ((left = end - g_get_monotonic_time()) > 0)
		g_assert_cmpint(sd_event_run(w->event, (uint64_t)left), >=, 0);
}

#define WAIT(w, condition)								\
	do {										\
		gint64 end_ = g_get_monotonic_time() + PATIENCE_MS * 1000;		\
		while (!(condition)) {							\
			g_assert_cmpint(g_get_monotonic_time(), <, end_);		\
			g_assert_cmpint(sd_event_run((w)->event, 50000), >=, 0);	\
		}									\
	} while (0)

static void set_up(struct world *w, gconstpointer unused)
{
	w->n_fds = count_fds();
	w->dir = g_dir_make_tmp("tlshd-watch-XXXXXX", NULL);
	g_assert_nonnull(w->dir);
	g_assert_cmpint(sd_event_new(&w->event), >=, 0);
	g_assert_cmpint(watch_new(&w->watch, w->event, on_changed, w), ==, 0);
}

static void tear_down(struct world *w, gconstpointer unused)
{
	g_autofree char *command = g_strdup_printf("rm -rf '%s'", w->dir);

	watch_free(w->watch);
	watch_free(NULL);
	sd_event_unref(w->event);
	g_assert_cmpuint(count_fds(), ==, w->n_fds);
	g_assert_cmpint(system(command), ==, 0);
	g_free(w->seen);
	g_free(w->dir);
}

/* How many inodes this process watches (proc_pid_fdinfo(5)). */
static unsigned int n_watches(void)
{
	g_autoptr(GDir) fds = g_dir_open("/proc/self/fdinfo", 0, NULL);
	unsigned int n = 0;
	const char *fd;

	while ((fd = g_dir_read_name(fds))) {
		g_autofree char *path = g_build_filename("/proc/self/fdinfo", fd, NULL);
		g_autofree char *text = NULL;

		if (!g_file_get_contents(path, &text, NULL, NULL))
			continue;
		for (const char *p = text; (p = strstr(p, "inotify wd")); p++)
			n++;
	}
	return n;
}

/* --- what is noticed --- */

static const struct change {
	const char *name, *before, *path, *change, *after;
} changes[] = {
	{ "rename", "echo a > f", "f", "echo b > .f && mv .f f", "b\n" },
	{ "in-place", "echo a > f", "f", "echo b > f", "b\n" },
	{ "truncated", "echo a > f", "f", ": > f", "" },
	{ "appended", "echo a > f", "f", "echo b >> f", "a\nb\n" },
	{ "created", ":", "f", "echo b > f", "b\n" },
	{ "linked-in", "echo b > g", "f", "ln g f", "b\n" },
	{ "moved-in", "mkdir -p d && echo b > d/f", "f", "mv d/f f", "b\n" },
	{ "deleted", "echo a > f", "f", "rm f", "ENOENT" },
	{ "moved-away", "echo a > f", "f", "mv f g", "ENOENT" },
	{ "directory-instead", "echo a > f", "f", "rm f && mkdir f", "EISDIR" },
	{ "file-instead-of-directory", "mkdir f", "f", "rmdir f && echo b > f", "b\n" },
	{ "fifo-instead", "echo a > f", "f", "rm f && mkfifo f", "" },
	{ "other-hard-link", "mkdir d && echo a > d/g && ln d/g f", "f", "echo b > d/g", "b\n" },
	{ "link-swapped", "echo a > a && echo b > b && ln -s a f", "f", "ln -s b .f && mv -T .f f",
	  "b\n" },
	{ "link-target", "mkdir d && echo a > d/a && ln -s d/a f", "f", "echo b > d/a", "b\n" },
	{ "link-target-renamed", "mkdir d && echo a > d/a && ln -s d/a f", "f",
	  "echo b > d/b && mv d/b d/a", "b\n" },
	{ "link-to-nothing", "ln -s d/e/a f", "f", "mkdir -p d/e && echo b > d/e/a", "b\n" },
	{ "link-dangles", "mkdir d && echo a > d/a && ln -s d/a f", "f", "rm d/a", "ENOENT" },
	{ "absolute-link", "mkdir d e && echo a > d/a && ln -s \"$PWD/d/a\" e/f", "e/f",
	  "echo b > d/b && mv d/b d/a", "b\n" },
	{ "middle-of-chain", "mkdir d e && echo a > a && echo b > b && ln -s ../a d/l && "
	  "ln -s ../d/l e/l && ln -s e/l f", "f", "ln -s ../b d/n && mv -T d/n d/l", "b\n" },
	{ "loop-opened", "ln -s g f && ln -s f g", "f", "echo b > b && mv b g", "b\n" },
	{ "certbot", "mkdir -p live/host archive/host && echo a > archive/host/cert1.pem && "
	  "ln -s ../../archive/host/cert1.pem live/host/cert.pem", "live/host/cert.pem",
	  "echo b > archive/host/cert2.pem && ln -sf ../../archive/host/cert2.pem live/host/cert.pem",
	  "b\n" },
	{ "kubernetes", "mkdir d1 d2 && echo a > d1/f && echo b > d2/f && ln -s d1 data && "
	  "ln -s data/f f", "f", "ln -s d2 .data && mv -T .data data", "b\n" },
	{ "directory-replaced", "mkdir d e && echo a > d/f && echo b > e/f", "d/f",
	  "mv d old && mv e d", "b\n" },
	{ "grandparent-replaced", "mkdir -p d/x e/x && echo a > d/x/f && echo b > e/x/f", "d/x/f",
	  "mv d old && mv e d", "b\n" },
	{ "directory-moved-away", "mkdir d && echo a > d/f", "d/f", "mv d e", "ENOENT" },
	{ "directory-deleted", "mkdir d && echo a > d/f", "d/f", "rm -r d", "ENOENT" },
	{ "directories-made", ":", "a/b/c/f", "mkdir -p a/b/c && echo b > a/b/c/f", "b\n" },
	{ "directory-becomes-link", "mkdir d e && echo a > d/f && echo b > e/f", "d/f",
	  "mv d old && ln -s e d", "b\n" },
	{ "dots", "mkdir -p d/e && echo a > f", "d/./e/../..//f", "echo b > f", "b\n" },
	{ "dots-behind-link", "mkdir -p d/e && echo a > d/f && ln -s d/e l", "l/../f",
	  "echo b > d/f", "b\n" },
};

static void test_noticed(struct world *w, gconstpointer data)
{
	const struct change *c = data;
	g_autofree char *before = NULL;

	sh(w, c->before);
	w->path = c->path;
	look(w);
	g_assert_cmpint(w->error, ==, 0);
	before = g_strdup(w->seen);
	sh(w, c->change);
	WAIT(w, !strcmp(w->seen, c->after));
	g_assert_cmpstr(before, !=, w->seen);
	g_assert_cmpuint(w->n_told, >, 0);
	/* And again, of what it is now: it was watched from then on. */
	sh(w, "rm -rf f l/../f 2>/dev/null; true");
	if (!strcmp(c->path, "f"))
		WAIT(w, !strcmp(w->seen, "ENOENT"));
}

/* Half of a file is none, whatever else happens; it is told when its writer has closed it. */
static void test_half(struct world *w, gconstpointer before)
{
	g_autofree char *path = at(w, "f");
	gint64 closed;
	int fd;

	sh(w, before);
	w->path = "f";
	look(w);
	g_unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	g_assert_cmpint(fd, >=, 0);
	for (unsigned int i = 0; i < 4; i++) {
		g_assert_cmpint(write(fd, "x", 1), ==, 1);
		g_assert_cmpint(fchmod(fd, 0600 + 4 * i), ==, 0);
		run_for(w, 2 * QUIET_MS);
		g_assert_cmpuint(w->n_told, ==, 0);
	}
	close(fd);
	closed = g_get_monotonic_time();
	WAIT(w, !strcmp(w->seen, "xxxx"));
	g_assert_cmpuint(w->n_told, ==, 1);
	g_assert_cmpint(g_get_monotonic_time() - closed, <, WATCH_WRITING / SPEED / 2);
}

/* One that nobody is seen to close is looked at all the same. */
static void test_unnamed(struct world *w, gconstpointer unused)
{
	g_autofree char *path = at(w, "f"), *self = NULL;
	gint64 begin = g_get_monotonic_time();
	int fd = open(w->dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0) {
		g_test_skip("the file system has no unnamed files");
		return;
	}
	self = g_strdup_printf("/proc/self/fd/%d", fd);
	w->path = "f";
	look(w);
	g_assert_cmpint(write(fd, "b", 1), ==, 1);
	g_assert_no_errno(linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW));
	close(fd);
	WAIT(w, !strcmp(w->seen, "b"));
	g_test_message("after %d ms", (int)(g_get_monotonic_time() - begin) / 1000);
}

/* A directory has gone, another comes, and in that the file changes once more. */
static void test_follows(struct world *w, gconstpointer unused)
{
	sh(w, "mkdir d && echo 0 > d/f");
	w->path = "d/f";
	look(w);
	for (unsigned int i = 1; i < 6; i++) {
		g_autofree char *gone = g_strdup_printf("mv d old%u", i);
		g_autofree char *there = g_strdup_printf("mkdir d && echo %u > d/f", i);
		g_autofree char *later = g_strdup_printf("echo %u0 > d/f", i);
		g_autofree char *want = g_strdup_printf("%u\n", i);
		g_autofree char *last = g_strdup_printf("%u0\n", i);

		sh(w, gone);
		if (i % 2)
			WAIT(w, !strcmp(w->seen, "ENOENT"));
		sh(w, there);
		WAIT(w, !strcmp(w->seen, want));
		sh(w, later);
		WAIT(w, !strcmp(w->seen, last));
	}
}

/* --- what is not --- */

static void test_noise(struct world *w, gconstpointer unused)
{
	sh(w, "mkdir d e && echo a > d/f && ln -s d/f l");
	w->path = "l";
	look(w);
	for (unsigned int i = 0; i < 5; i++) {
		sh(w, "echo x >> d/log && echo x > d/.f && mv d/.f d/g && rm d/g && chmod 600 d/log && "
		      "echo x > f && rm f && echo x > e/f && cat d/f l >/dev/null && ls d >/dev/null");
		run_for(w, 2 * QUIET_MS);
	}
	g_assert_cmpuint(w->n_told, ==, 0);
	sh(w, "echo b > d/f");
	WAIT(w, !strcmp(w->seen, "b\n"));
}

static void test_debounced(struct world *w, gconstpointer unused)
{
	g_autofree char *path = NULL;
	gint64 begin, elapsed;
	unsigned int n = 0;

	sh(w, "echo 0 > f");
	w->path = "f";
	path = at(w, "f");
	look(w);
	begin = g_get_monotonic_time();
	/* Closer than the quiet time, for longer than the longest delay: some are told meanwhile. */
	while (w->n_told < 3) {
		g_autofree char *text = g_strdup_printf("%u", ++n);

		g_assert_true(g_file_set_contents(path, text, -1, NULL));
		run_for(w, 2);
		g_assert_cmpint(g_get_monotonic_time() - begin, <, PATIENCE_MS * 1000);
	}
	elapsed = (g_get_monotonic_time() - begin) / 1000;
	g_test_message("%u changes in %" G_GINT64_FORMAT " ms, told %u times", n, elapsed, w->n_told);
	g_assert_cmpint(elapsed, >=, (gint64)(3 * QUIET_MS));
	g_assert_cmpuint(n, >, 3 * w->n_told);
	run_for(w, 4 * QUIET_MS);
	g_assert_cmpint(atoi(w->seen), ==, (int)n);
}

/* --- what is in the way --- */

static void test_overflow(struct world *w, gconstpointer unused)
{
	g_autofree char *limit = NULL, *x = at(w, "x"), *y = at(w, "y"), *path = at(w, "f");
	const char *const names[2] = { x, y };
	gint64 max;

	g_assert_true(g_file_get_contents("/proc/sys/fs/inotify/max_queued_events", &limit, NULL,
					  NULL));
	max = g_ascii_strtoll(limit, NULL, 10);
	if (max > 200000) {
		g_test_skip("the queue of inotify is too long to be filled");
		return;
	}
	/* Nothing but its directory can tell of it. */
	sh(w, ": > x && : > y");
	w->path = "f";
	look(w);
	/* Two in turn: an event like the one before it takes no place in the queue. */
	for (gint64 i = 0; i <= max; i++) {
		int r = g_chmod(names[i % 2], 0600);

		g_assert_no_errno(r);
	}
	g_assert_true(g_file_set_contents(path, "b", -1, NULL));
	WAIT(w, !strcmp(w->seen, "b"));
	/* It goes on as before. */
	sh(w, "echo c > f");
	WAIT(w, !strcmp(w->seen, "c\n"));
}

static void test_no_instance(struct world *w, gconstpointer unused)
{
	struct rlimit before, none;

	sh(w, "echo a > f");
	w->path = "f";
	getrlimit(RLIMIT_NOFILE, &before);
	none = (struct rlimit){ .rlim_cur = 3, .rlim_max = before.rlim_max };
	setrlimit(RLIMIT_NOFILE, &none);
	look(w);
	setrlimit(RLIMIT_NOFILE, &before);
	g_assert_cmpint(w->error, ==, -EMFILE);
	/* Nothing is broken by it. */
	look(w);
	g_assert_cmpint(w->error, ==, 0);
	sh(w, "echo b > f");
	WAIT(w, !strcmp(w->seen, "b\n"));
}

static void test_no_leak(struct world *w, gconstpointer unused)
{
	unsigned int n_watched, n_fds, n_above = 0;

	sh(w, "mkdir d && echo a > d/f && ln -s d/f l");
	w->path = "l";
	look(w);
	run_for(w, 1);	/* the loop closes some of its own only then */
	n_watched = n_watches();
	n_fds = count_fds();
	/* The root, those down to dir, dir, d, and the file. */
	for (const char *p = w->dir; *p; p++)
		n_above += *p == '/';
	g_assert_cmpuint(n_watched, ==, n_above + 3);
	for (unsigned int i = 0; i < 200; i++) {
		if (i % 10 == 0)
			sh(w, "mkdir e && echo a > e/f && rm -r d && mv e d");
		look(w);
		sd_event_run(w->event, 0);
	}
	run_for(w, 2 * QUIET_MS);
	g_assert_cmpuint(n_watches(), ==, n_watched);
	g_assert_cmpuint(count_fds(), ==, n_fds);
	/* Nothing named, nothing watched; a beginning without an end is one with the next. */
	watch_begin(w->watch);
	watch_path(w->watch, w->dir);
	watch_begin(w->watch);
	watch_end(w->watch);
	g_assert_cmpuint(n_watches(), ==, 0);
}

/* --- any order of anything --- */

/* @ is a number, another one each time, so that no two states look alike. */
static const char *const operations[] = {
	"echo @ > archive/cert1.pem",
	"echo @ > archive/cert2.pem",
	"echo @ > archive/.new && mv archive/.new archive/cert1.pem",
	"ln -sfn ../../archive/cert1.pem live/host/cert.pem # @",
	"ln -sfn ../../archive/cert2.pem live/host/cert.pem # @",
	"ln -s ../../archive/cert2.pem live/host/.l && mv -T live/host/.l live/host/cert.pem # @",
	"rm -f live/host/cert.pem && echo @ > live/host/cert.pem",
	"rm -rf live/host/cert.pem # @",
	"rm -rf live/host/cert.pem && mkdir live/host/cert.pem # @",
	"mv live gone.@",
	"mv archive gone.a.@",
	"mkdir -p live/host archive # @",
	"mkdir -p t.@/host && echo @ > t.@/host/cert.pem && rm -rf live && mv t.@ live",
	"mkdir -p r.@/host && echo @ > r.@/host/cert.pem && rm -rf live && ln -s r.@ live",
	"rm -rf archive && mkdir -p b.@ && echo @ > b.@/cert2.pem && ln -s b.@ archive",
	"rm -rf live && echo @ > live",
	"rm -rf archive && ln -s archive archive # @",
	"echo @ > noise && mv noise live/host/noise",
	"chmod 600 live/host/cert.pem # @",
	"ln -f archive/cert1.pem hard && echo @ > hard",
};

static void test_random(struct world *w, gconstpointer unused)
{
	unsigned int rounds = 250, n = 0, n_looks = 0;

	sh(w, "mkdir -p live/host archive && echo 0 > archive/cert1.pem && "
	      "ln -s ../../archive/cert1.pem live/host/cert.pem");
	w->path = "live/host/cert.pem";
	look(w);
	for (unsigned int round = 0; round < rounds; round++) {
		unsigned int burst = (unsigned int)g_test_rand_int_range(1, 5);
		g_autofree char *now = NULL;

		for (unsigned int i = 0; i < burst; i++) {
			const char *form = operations[g_test_rand_int_range(0,
					(gint32)G_N_ELEMENTS(operations))];
			g_autofree char *number = g_strdup_printf("%u", ++n);
			g_auto(GStrv) parts = g_strsplit(form, "@", -1);
			g_autofree char *line = g_strjoinv(number, parts);
			/* It may make no sense now. */
			g_autofree char *either_way = g_strdup_printf("{ { %s\n } 2>/dev/null; true; }",
								      line);

			sh(w, either_way);
			if (g_test_rand_int_range(0, 3) == 0)
				run_for(w, (unsigned int)g_test_rand_int_range(0, 2 * QUIET_MS));
		}
		now = observe(w);
		WAIT(w, !strcmp(w->seen, now));
		n_looks += strcmp(now, "ENOENT") != 0;
	}
	g_test_message("%u operations, told %u times; in %u of %u rounds there was a file in the end", n,
		       w->n_told, n_looks, rounds);
	g_assert_cmpuint(n_looks, >, rounds / 10);
}

#define ADD(name, fn) g_test_add("/watch/" name, struct world, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
		g_autofree char *name = g_strconcat("/watch/noticed/", changes[i].name, NULL);

		g_test_add(name, struct world, &changes[i], set_up, test_noticed, tear_down);
	}
	g_test_add("/watch/half/new", struct world, ":", set_up, test_half, tear_down);
	g_test_add("/watch/half/other", struct world, "echo a > f", set_up, test_half, tear_down);
	ADD("unnamed", test_unnamed);
	ADD("follows", test_follows);
	ADD("noise", test_noise);
	ADD("debounced", test_debounced);
	ADD("overflow", test_overflow);
	ADD("no-instance", test_no_instance);
	ADD("no-leak", test_no_leak);
	ADD("random", test_random);
	return g_test_run();
}
