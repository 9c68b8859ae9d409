// SPDX-License-Identifier: GPL-2.0-or-later
/* Children of dead parents are reaped, and no others. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "tlshd/monitor/orphans.h"

#define N 20

struct family {
	sd_event *event;
	pid_t known[N];
	sd_event_source *sources[N];
	unsigned int n_reaped;	/* by their own sources */
};

static bool known(void *ctx, pid_t pid)
{
	const struct family *f = ctx;

	for (unsigned int i = 0; i < N; i++) {
		if (f->known[i] == pid)
			return true;
	}
	return false;
}

static int on_known(sd_event_source *source, const siginfo_t *si, void *ctx)
{
	struct family *f = ctx;

	g_assert_cmpint(si->si_code, ==, CLD_EXITED);
	g_assert_cmpint(si->si_status, ==, 7);
	f->n_reaped++;
	return 0;
}

static bool is_there(pid_t pid)
{
	return kill(pid, 0) == 0;
}

/* Its parent is gone when this returns; it ends when it has read a byte. */
static pid_t make_orphan(int until)
{
	int fds[2];
	pid_t pid;

	g_assert_no_errno(pipe(fds));
	pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		char c;

		pid = fork();
		if (pid)
			_exit(write(fds[1], &pid, sizeof(pid)) < 0);
		_exit(read(until, &c, 1) < 0);
	}
	g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
	g_assert_cmpint(read(fds[0], &pid, sizeof(pid)), ==, sizeof(pid));
	close(fds[0]);
	close(fds[1]);
	return pid;
}

static void test_orphans(void)
{
	struct family f = { 0 };
	struct orphans *o = NULL;
	pid_t orphans[N];
	unsigned int left = N;
	int until[2];

	g_assert_no_errno(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	g_assert_cmpint(sd_event_new(&f.event), >=, 0);
	g_assert_cmpint(orphans_new(&o, f.event, known, &f), ==, 0);
	g_assert_no_errno(pipe2(until, O_CLOEXEC));
	/* In turn, so that each kind stands in the way of the other. */
	for (unsigned int i = 0; i < N; i++) {
		orphans[i] = make_orphan(until[0]);
		f.known[i] = fork();
		if (f.known[i] == 0) {
			char c;

			_exit(read(until[0], &c, 1) == 1 ? 7 : 1);
		}
		g_assert_cmpint(sd_event_add_child(f.event, &f.sources[i], f.known[i], WEXITED,
						   on_known, &f), >=, 0);
		sd_event_source_set_enabled(f.sources[i], SD_EVENT_OFF);
	}
	for (unsigned int i = 0; i < 2 * N; i++)
		g_assert_cmpint(write(until[1], "", 1), ==, 1);
	/* As long as nobody wants to know of them, the known ones stay. */
	for (unsigned int i = 0; i < 20; i++)
		g_assert_cmpint(sd_event_run(f.event, 20000), >=, 0);
	for (unsigned int i = 0; i < N; i++) {
		siginfo_t si;

		g_assert_no_errno(waitid(P_PID, f.known[i], &si, WEXITED | WNOWAIT));
		sd_event_source_set_enabled(f.sources[i], SD_EVENT_ONESHOT);
	}
	for (unsigned int i = 0; i < 1000 && (f.n_reaped < N || left); i++) {
		g_assert_cmpint(sd_event_run(f.event, 20000), >=, 0);
		left = 0;
		for (unsigned int j = 0; j < N; j++)
			left += is_there(orphans[j]);
	}
	g_assert_cmpuint(f.n_reaped, ==, N);
	g_assert_cmpuint(left, ==, 0);
	g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
	g_assert_cmpint(errno, ==, ECHILD);
	for (unsigned int i = 0; i < N; i++)
		sd_event_source_unref(f.sources[i]);
	orphans_free(o);
	orphans_free(NULL);
	sd_event_unref(f.event);
	close(until[0]);
	close(until[1]);
}

int main(int argc, char **argv)
{
	sigset_t mask;

	g_test_init(&argc, &argv, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	g_test_add_func("/orphans/reaped", test_orphans);
	return g_test_run();
}
