// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * waitid() for any child shows one of those that have ended, the same one until
 * it is reaped. So a known one stands in the way of the others: its own event
 * source reaps it in this turn of the loop or the next, and we look again
 * after each.
 */
#include "tlshd/monitor/orphans.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

struct orphans {
	bool (*known)(void *ctx, pid_t pid);
	void *ctx;
	sd_event_source *signal, *post;
};

/* Only there to wake the loop. */
static int on_sigchld(sd_event_source *source, const struct signalfd_siginfo *si, void *ctx)
{
	return 0;
}

static int on_post(sd_event_source *source, void *ctx)
{
	struct orphans *o = ctx;

	for (;;) {
		siginfo_t si = { 0 };

		if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0 || !si.si_pid ||
		    o->known(o->ctx, si.si_pid))
			return 0;
		if (waitid(P_PID, si.si_pid, &si, WEXITED | WNOHANG) < 0)
			return 0;
	}
}

int orphans_new(struct orphans **ret, sd_event *event, bool (*known)(void *ctx, pid_t pid),
		void *ctx)
{
	CLEANUP(orphans_freep) struct orphans *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	o->known = known;
	o->ctx = ctx;
	r = sd_event_add_signal(event, &o->signal, SIGCHLD, on_sigchld, o);
	if (r >= 0)
		r = sd_event_add_post(event, &o->post, on_post, o);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(o);
	return 0;
}

void orphans_free(struct orphans *o)
{
	if (!o)
		return;
	sd_event_source_disable_unref(o->signal);
	sd_event_source_disable_unref(o->post);
	free(o);
}
