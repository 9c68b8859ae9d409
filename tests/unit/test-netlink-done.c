// SPDX-License-Identifier: GPL-2.0-or-later
/* DONE with and without its optional attributes, and when the kernel is asked anew. */
#include <glib.h>

#include "netlink-world.h"
#include "tlshd/monitor/netlink.c"

static void set_up(struct world *w, gconstpointer unused)
{
	world_set_up(w);
	w->commands = w->nl->commands;
}

static void tear_down(struct world *w, gconstpointer unused)
{
	world_tear_down(w);
}

/* Asks anew. Returns what is known now. */
static const struct netlink_policy *join(struct world *w)
{
	world_join(w);
	return &w->nl->policy;
}

/* Whatever a later kernel lists: what it means is not known, and nothing of it is sent. */
static void test_more(struct world *w, gconstpointer unused)
{
	static const struct listed more[] = {
		{ 4, NL_ATTR_TYPE_NUL_STRING }, { 1, NL_ATTR_TYPE_U32 }, { 2, NL_ATTR_TYPE_S32 },
		{ 3, NL_ATTR_TYPE_U32 }, { 5, NL_ATTR_TYPE_NESTED }, { 6, 4711 },
		{ 31, NL_ATTR_TYPE_U64 }, { 32, NL_ATTR_TYPE_U32 }, { 9999, NL_ATTR_TYPE_U8 }, { 0 }
	};

	w->listed = more;
	g_assert_cmpint(join(w)->remote_auth, ==, NETLINK_TAKEN);
	g_assert_cmpuint(w->n_probes, ==, 0);
	assert_said(w->debug, ": 1 u32, 2 s32, 3 u32, 4 string, 5 nest, 6 other, 31 u64; ");
	g_assert_cmpint(netlink_done(w->nl, 5, 0, AUTH), ==, 0);
	g_assert_cmpuint(w->n_done, ==, 1);
	g_assert_true(w->last_had_auth);
	g_assert_cmpuint(w->n_warnings, ==, 0);
}

static void test_fewer(struct world *w, gconstpointer unused)
{
	w->listed = no_remote_auth;
	g_assert_cmpint(join(w)->remote_auth, ==, NETLINK_REFUSED);
	g_assert_cmpuint(w->n_probes, ==, 0);
	assert_said(w->debug, ": 1 u32, 2 s32; remote-auth is not sent");
	/* The answer itself goes out, at once and without. */
	w->with = -EINVAL;
	g_assert_cmpint(netlink_done(w->nl, 5, 0, AUTH), ==, 0);
	g_assert_cmpuint(w->n_done, ==, 1);
	g_assert_false(w->last_had_auth);
	g_assert_cmpuint(w->n_warnings, ==, 1);
	assert_said(w->warnings, "takes that client for unauthenticated");
	/* Without an identity there is nothing to warn of. */
	g_assert_cmpint(netlink_done(w->nl, 5, 0, 0), ==, 0);
	g_assert_cmpuint(w->n_warnings, ==, 1);
}

/* Not told: tried, and without it if it must be. */
static void test_retry(struct world *w, gconstpointer unused)
{
	static const int refusals[] = {
		-EINVAL, -EOPNOTSUPP, -ERANGE, -E2BIG, -EMSGSIZE, -ENOKEY, -EACCES, -EKEYREJECTED,
	};

	w->nl->family = FAMILY;
	for (int takes = NETLINK_UNTOLD; takes <= NETLINK_TAKEN; takes++) {
		w->nl->policy.remote_auth = takes;
		for (size_t i = 0; i < G_N_ELEMENTS(refusals); i++) {
			w->n_done = w->n_warnings = 0;
			w->with = refusals[i];
			g_assert_cmpint(netlink_done(w->nl, 5, 0, AUTH), ==, 0);
			g_assert_cmpuint(w->n_done, ==, 2);
			g_assert_false(w->last_had_auth);
			g_assert_cmpuint(w->n_warnings, ==, 1);
			assert_said(w->warnings, g_strerror(-refusals[i]));
			assert_said(w->warnings, "an NVMe host refuses the connection");
		}
	}
	/* It was not the attributes: once more, not for ever, and the caller is told. */
	w->n_done = w->n_warnings = 0;
	w->with = w->without = -EINVAL;
	g_assert_cmpint(netlink_done(w->nl, 5, 0, AUTH), ==, -EINVAL);
	g_assert_cmpuint(w->n_done, ==, 2);
	w->without = -EBUSY;
	g_assert_cmpint(netlink_done(w->nl, 5, 0, AUTH), ==, -EBUSY);
	w->without = SILENT;
	g_assert_cmpint(netlink_done(w->nl, 5, 0, AUTH), ==, -ENOBUFS);
	g_assert_cmpuint(w->n_warnings, ==, 0);
}

/*
 * Errors of another kind, and all errors of a DONE that had nothing optional,
 * are the caller's: for want of memory the identity must not get lost.
 */
static void test_no_retry(struct world *w, gconstpointer unused)
{
	static const int errors[] = {
		-EBADF, -ENOTSOCK, -EBUSY, -ENOENT, -EPERM, -ENOMEM, -ENOBUFS, SILENT,
	};
	unsigned int n = 0;

	w->nl->family = FAMILY;
	for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
		int want = errors[i] == SILENT ? -ENOBUFS : errors[i];

		w->with = errors[i];
		g_assert_cmpint(netlink_done(w->nl, 5, 0, AUTH), ==, want);
		g_assert_cmpuint(w->n_done, ==, ++n);
		g_assert_true(w->last_had_auth);
	}
	for (int error = 2; error < 134; error++) {
		w->without = -error;
		g_assert_cmpint(netlink_done(w->nl, 5, 0, 0), ==, -error);
		g_assert_cmpuint(w->n_done, ==, ++n);
	}
	g_assert_cmpuint(w->n_warnings, ==, 0);
}

static void test_anew(struct world *w, gconstpointer unused)
{
	assert_linux_6_12(join(w));
	g_assert_cmpuint(w->n_debug, ==, 1);
	/* Other families' coming asks anew, and is not worth a line. */
	assert_linux_6_12(join(w));
	g_assert_cmpuint(w->n_dumps, ==, 1);
	g_assert_cmpuint(w->n_debug, ==, 1);
	/* Gone, and back unseen; then seen. */
	w->listed = no_remote_auth;
	g_assert_cmpint(join(w)->remote_auth, ==, NETLINK_REFUSED);
	g_assert_cmpuint(w->n_debug, ==, 2);
	w->family = -ENOENT;
	g_assert_cmpint(join(w)->remote_auth, ==, NETLINK_UNTOLD);
	g_assert_false(w->nl->policy.dumped);
	g_assert_cmpuint(w->n_dumps, ==, 0);
	g_assert_cmpint(netlink_done(w->nl, 5, 0, AUTH), ==, -ENOENT);
	w->family = FAMILY + 3;
	w->listed = linux_6_12;
	assert_linux_6_12(join(w));
	g_assert_cmpuint(w->n_dumps, ==, 1);
	g_assert_cmpuint(w->n_debug, ==, 3);
	/* The same as before, but of another family: said. */
	w->family = FAMILY;
	assert_linux_6_12(join(w));
	g_assert_cmpuint(w->n_debug, ==, 4);
	g_assert_cmpuint(w->n_warnings, ==, 0);
}

/*
 * Whether the family is still there cannot be found out just now, and every other family that comes
 * makes us ask: what was taken is answered all the same.
 */
static void test_not_told(struct world *w, gconstpointer unused)
{
	static const int errors[] = {
		SILENT, -ENOMEM, -ENOBUFS, -EMSGSIZE, -EINTR, -EAGAIN, -EBUSY, -EPERM, -ESRCH,
	};
	enum netlink_join joined = NETLINK_JOINED;

	join(w);
	for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
		w->family = errors[i];
		g_assert_cmpint(netlink_join(w->nl, &joined), <, 0);
		g_assert_cmpint(joined, ==, NETLINK_JOINED);
		w->family = FAMILY;
		w->n_done = 0;
		g_assert_cmpint(netlink_done(w->nl, 5, 0, AUTH), ==, 0);
		g_assert_cmpuint(w->n_done, ==, 1);
		g_assert_true(w->last_had_auth);
	}
}

#define ADD(name, fn) \
	g_test_add("/netlink-done/" name, struct world, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("more", test_more);
	ADD("fewer", test_fewer);
	ADD("retry", test_retry);
	ADD("no-retry", test_no_retry);
	ADD("anew", test_anew);
	ADD("not-told", test_not_told);
	return g_test_run();
}
