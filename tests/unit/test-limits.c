// SPDX-License-Identifier: GPL-2.0-or-later
/* The limits on handshakes in flight: who is counted as whom, and what the log says. */
#include <arpa/inet.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tlshd/monitor/limits.h"

#define MINUTE 60	/* ms, of this test */

static struct {
	sd_event *event;
	struct log log;
	struct limits *limits;
	GPtrArray *lines;
} world;

/* A thousand times faster. */
int __real_sd_event_source_set_time_relative(sd_event_source *source, uint64_t usec);
int __wrap_sd_event_source_set_time_relative(sd_event_source *source, uint64_t usec);
int __wrap_sd_event_source_set_time_relative(sd_event_source *source, uint64_t usec)
{
	g_assert_cmpuint(usec, ==, 60000000);
	return __real_sd_event_source_set_time_relative(source, usec / 1000);
}

static void sink(void *ctx, int priority, const char *text, const struct log_field *fields,
		 size_t n_fields)
{
	g_assert_cmpint(priority, ==, LOG_WARNING);
	g_ptr_array_add(world.lines, g_strdup(text));
}

static void set_up(unsigned int max, unsigned int max_per_peer)
{
	world.log = (struct log){ LOG_DEBUG, sink, NULL };
	world.lines = g_ptr_array_new_with_free_func(g_free);
	g_assert_cmpint(sd_event_new(&world.event), >=, 0);
	g_assert_cmpint(limits_new(&world.limits, world.event, &world.log), ==, 0);
	limits_set(world.limits, max, max_per_peer);
}

static void tear_down(void)
{
	limits_free(world.limits);
	sd_event_unref(world.event);
	g_ptr_array_unref(world.lines);
}

static const char *line(unsigned int n)
{
	g_assert_cmpuint(n, <, world.lines->len);
	return g_ptr_array_index(world.lines, n);
}

/* A socket of this family that is connected to one with @address; sets @end to that one. */
static int connected(int family, const char *address, int *end)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} a = { .sa.sa_family = (sa_family_t)family };
	socklen_t len = family == AF_INET ? sizeof(a.in) : sizeof(a.in6);
	int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

	g_assert_cmpint(inet_pton(family, address, family == AF_INET ? (void *)&a.in.sin_addr
							: (void *)&a.in6.sin6_addr), ==, 1);
	g_assert_no_errno(bind(listener, &a.sa, len));
	g_assert_no_errno(listen(listener, 1));
	g_assert_no_errno(getsockname(listener, &a.sa, &len));
	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_no_errno(connect(fd, &a.sa, len));
	*end = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	g_assert_no_errno(*end);
	close(listener);
	return fd;
}

static bool take(struct limits_entry *entry, int family, const char *address)
{
	int end, fd = connected(family, address, &end);
	bool ok = limits_take(world.limits, entry, fd, address);

	g_assert_cmpint(ok, ==, entry->counted);
	close(fd);
	close(end);
	return ok;
}

static void wait_minutes(unsigned int n)
{
	gint64 end = g_get_monotonic_time() + n * MINUTE * 1000 + 20000;

	while (g_get_monotonic_time() < end)
		sd_event_run(world.event, 5000);
}

static void test_addresses(void)
{
	struct limits_entry a[3] = { 0 }, b = { 0 }, six[3] = { 0 };
	struct limits_entry mapped[2] = { 0 }, none[3] = { 0 };
	int end, fd;

	set_up(100, 2);
	g_assert_true(take(&a[0], AF_INET, "127.0.0.2"));
	g_assert_true(take(&a[1], AF_INET, "127.0.0.2"));
	g_assert_false(take(&a[2], AF_INET, "127.0.0.2"));
	g_assert_true(take(&b, AF_INET, "127.0.0.3"));
	/* What is given back is free, and for that peer only. */
	limits_give_back(world.limits, &b);
	g_assert_false(take(&a[2], AF_INET, "127.0.0.2"));
	limits_give_back(world.limits, &a[0]);
	g_assert_true(take(&a[2], AF_INET, "127.0.0.2"));
	/* Through a socket of IPv6 it is the same peer. */
	g_assert_false(take(&mapped[0], AF_INET6, "::ffff:127.0.0.2"));
	g_assert_true(take(&mapped[1], AF_INET6, "::ffff:127.0.0.3"));
	/* Those whose address cannot be had any more are together, and not with the others. */
	for (unsigned int i = 0; i < 3; i++) {
		fd = connected(AF_INET, "127.0.0.4", &end);
		g_assert_no_errno(shutdown(fd, SHUT_RDWR));
		close(end);
		close(fd);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		g_assert_cmpint(limits_take(world.limits, &none[i], fd, "unknown peer"), ==, i < 2);
		close(fd);
	}
	g_assert_true(take(&b, AF_INET, "127.0.0.4"));
	for (unsigned int i = 0; i < 3 && access("/proc/net/if_inet6", R_OK) == 0; i++)
		g_assert_cmpint(take(&six[i], AF_INET6, "::1"), ==, i < 2);
	/* Once more is not twice. */
	limits_give_back(world.limits, &mapped[0]);
	limits_give_back(world.limits, &b);
	limits_give_back(world.limits, &b);
	g_assert_true(take(&b, AF_INET, "127.0.0.4"));
	tear_down();
}

static void test_in_all(void)
{
	struct limits_entry a[4] = { 0 };

	set_up(3, 2);
	g_assert_true(take(&a[0], AF_INET, "127.0.0.2"));
	g_assert_true(take(&a[1], AF_INET, "127.0.0.2"));
	g_assert_true(take(&a[2], AF_INET, "127.0.0.3"));
	g_assert_false(take(&a[3], AF_INET, "127.0.0.4"));
	limits_give_back(world.limits, &a[0]);
	g_assert_true(take(&a[3], AF_INET, "127.0.0.4"));
	g_assert_false(take(&a[0], AF_INET, "127.0.0.5"));
	/* Raised and lowered. */
	limits_set(world.limits, 4, 1);
	g_assert_false(take(&a[0], AF_INET, "127.0.0.2"));
	g_assert_true(take(&a[0], AF_INET, "127.0.0.5"));
	tear_down();
}

/* One line at once, one a minute as long as it lasts, and none of what did not happen. */
static void test_lines(void)
{
	struct limits_entry first = { 0 }, more = { 0 };

	set_up(1, 1);
	g_assert_true(take(&first, AF_INET, "127.0.0.2"));
	g_assert_cmpuint(world.lines->len, ==, 0);
	g_assert_false(take(&more, AF_INET, "127.0.0.3"));
	g_assert_cmpuint(world.lines->len, ==, 1);
	g_assert_nonnull(strstr(line(0), "the handshake with 127.0.0.3 was refused: 1 are in progress"));
	g_assert_nonnull(strstr(line(0), "max_handshakes allows"));
	for (unsigned int i = 0; i < 500; i++)
		g_assert_false(take(&more, AF_INET, i < 499 ? "127.0.0.2" : "127.0.0.7"));
	g_assert_cmpuint(world.lines->len, ==, 1);
	wait_minutes(1);
	g_assert_cmpuint(world.lines->len, ==, 2);
	g_assert_nonnull(strstr(line(1), "the last minute: 500, the last with 127.0.0.7; max_handshakes "));
	/* A minute without, and the next is said at once again. */
	wait_minutes(3);
	g_assert_cmpuint(world.lines->len, ==, 2);
	g_assert_false(take(&more, AF_INET, "127.0.0.2"));
	g_assert_cmpuint(world.lines->len, ==, 3);
	/* The other limit has lines of its own, and shares the minute. */
	limits_set(world.limits, 10, 1);
	g_assert_false(take(&more, AF_INET, "127.0.0.2"));
	g_assert_cmpuint(world.lines->len, ==, 4);
	g_assert_nonnull(strstr(line(3), "1 with this peer are in progress"));
	g_assert_nonnull(strstr(line(3), "max_handshakes_per_peer allows"));
	g_assert_false(take(&more, AF_INET, "127.0.0.2"));
	g_assert_cmpuint(world.lines->len, ==, 4);
	wait_minutes(1);
	g_assert_cmpuint(world.lines->len, ==, 5);
	g_assert_nonnull(strstr(line(4), "the last minute: 1, "));
	/* The end leaves nothing unsaid. */
	g_assert_false(take(&more, AF_INET, "127.0.0.2"));
	g_assert_cmpuint(world.lines->len, ==, 5);
	limits_free(world.limits);
	world.limits = NULL;
	g_assert_cmpuint(world.lines->len, ==, 6);
	tear_down();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/limits/addresses", test_addresses);
	g_test_add_func("/limits/in-all", test_in_all);
	g_test_add_func("/limits/lines", test_lines);
	return g_test_run();
}
