// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A worker and a keeper say READY when they are confined, and not sooner: what comes then is a
 * stranger's. Each is a whole process, made by spawn_child(), which runs this program again; the
 * test is its monitor. Both messages come by one channel, in the order in which they were sent.
 */
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "build-config.h"
#include "common/channel.h"
#include "common/child.h"
#include "tlshd/keeper/keeper.h"
#include "tlshd/monitor/spawn.h"
#include "tlshd/worker/worker.h"

static int child(char **argv)
{
	uid_t uid = (uid_t)atoi(argv[2]);
	gid_t gid = (gid_t)atoi(argv[3]);

	return strcmp(argv[1], "--role=worker") == 0 ? worker_main(uid, gid) :
						       keeper_main(uid, gid);
}

static void receive(int channel, struct wire_message *ret)
{
	int fd = -1;

	g_assert_cmpint(channel_wait(channel, 60000), ==, 0);
	g_assert_cmpint(channel_recv(channel, ret, &fd), ==, 0);
	g_assert_cmpint(fd, ==, -1);
}

/* Returns whether it said that it is confined, by then. */
static bool until_ready(int channel)
{
	struct wire_message msg;
	bool confined = false;

	for (receive(channel, &msg); msg.type != WIRE_READY; receive(channel, &msg)) {
		if (msg.type == WIRE_FAILED)
			g_error("%s", msg.failed.reason);
		g_assert_cmpint(msg.type, ==, WIRE_LOG);
		g_test_message("before READY: %s", msg.text.text);
		confined |= g_str_has_prefix(msg.text.text, "confined, with Landlock ");
	}
	return confined;
}

/* The kernel's word for it: a filter is in force. */
static bool is_filtered(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/status", pid);
	g_autofree char *text = NULL;

	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	return strstr(text, "\nSeccomp:\t2\n");
}

static void test_ready(const void *data)
{
	const struct wire_message start = {
		.type = WIRE_START, .start = { .ciphers = 15, .log_level = LOG_DEBUG },
	};
	const struct spawn_user user = { 54321, 54320 };
	int monitor[2], peer[2], status;
	pid_t pid;

	g_assert_cmpint(channel_pair(monitor), ==, 0);
	g_assert_cmpint(channel_pair(peer), ==, 0);
	pid = spawn_child(GPOINTER_TO_UINT(data), &user, monitor[1], peer[1],
			  STDERR_FILENO);
	g_assert_cmpint(pid, >, 0);
	close(monitor[1]);
	close(peer[1]);
	g_assert_cmpint(child_send(monitor[0], &start), ==, 0);
	g_assert_true(until_ready(monitor[0]));
	g_assert_cmpint(is_filtered(pid), ==, !TLSHD_SANDBOX_OFF);
	close(monitor[0]);
	close(peer[0]);
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, EX_OK);
}

int main(int argc, char **argv)
{
	/* The leak sanitizer cannot look at a process that cannot be traced. */
	if (argc > 3 && g_str_has_prefix(argv[1], "--role="))
		_exit(child(argv));
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/ready/worker", GUINT_TO_POINTER(CHILD_WORKER), test_ready);
	g_test_add_data_func("/ready/keeper", GUINT_TO_POINTER(CHILD_KEEPER), test_ready);
	return g_test_run();
}
