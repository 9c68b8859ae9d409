// SPDX-License-Identifier: GPL-2.0-or-later
#include "sandbox-child.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/child.h"
#include "common/demote.h"

static void connection(int *ret_fd)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	*ret_fd = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&addr, len) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) < 0 ||
	    connect(*ret_fd, (struct sockaddr *)&addr, len) < 0 ||
	    accept(listener, NULL, NULL) < 0)
		_exit(SET_UP_FAILED);
}

/* @monitor and @peer become the descriptors that a worker has. */
static void get(struct have *h, int monitor, int peer, int err)
{
	if (dup2(monitor, CHILD_FD_MONITOR) < 0 || dup2(peer, CHILD_FD_PEER) < 0 ||
	    dup2(err, STDERR_FILENO) < 0)
		_exit(SET_UP_FAILED);
	h->memfd = memfd_create("certificate", 0);
	h->unix_socket = socket(AF_UNIX, SOCK_DGRAM, 0);
	h->epoll = epoll_create1(0);
	h->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	connection(&h->tcp);
	if (h->memfd < 0 || h->unix_socket < 0 || h->epoll < 0 || h->timer < 0 ||
	    write(h->memfd, "content", 7) != 7 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(SET_UP_FAILED);
	child_ignore_signals();
}

static void note_memory(struct have *h)
{
	int fd = open("/proc/self/statm", O_RDONLY);
	const unsigned long page = (unsigned long)sysconf(_SC_PAGESIZE);
	unsigned long all, data;
	char text[128] = "";

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0 || close(fd) < 0 ||
	    sscanf(text, "%lu %*u %*u %*u %*u %lu", &all, &data) != 2)
		_exit(SET_UP_FAILED);
	h->all = all * page;
	h->data = data * page;
}

static void enter(enum sandbox_role role)
{
	const char *step = "none";
	int r;

	if (role == NOBODY)
		return;
	r = sandbox_enter(role, &step);
	if (r < 0) {
		dprintf(STDERR_FILENO, "%s: %s", step, strerror(-r));
		_exit(SET_UP_FAILED);
	}
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	g_assert_no_errno(pid);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		signal(SIGABRT, SIG_IGN);
		for (;;)
			pause();
	}
	return pid;
}

/* Not a file, which would have no room: RLIMIT_FSIZE. */
static void read_stderr(int fd)
{
	char text[512];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	if (n > 0)
		g_test_message("%s", g_strchomp(text));
	close(fd);
}

/* What -Dsandbox=trap told of it, "" for nothing. */
static void read_told(int channel, char *told, size_t size)
{
	struct wire_message msg;
	int fd = -1;

	told[0] = '\0';
	while (channel_recv(channel, &msg, &fd) == 0)
		if (msg.type == WIRE_LOG)
			g_strlcpy(told, msg.text.text, size);
}

/* Out of the way of the numbers that one end of each is to get. */
static int move_away(int fd)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, 20);

	g_assert_cmpint(moved, >=, 0);
	close(fd);
	return moved;
}

int run(enum sandbox_role role, long (*fn)(const struct have *h), char *told, size_t size)
{
	struct have h = { .role = role, .other = sleeper() };
	int monitor[2], peer[2], err[2], status;
	pid_t pid;

	g_assert_no_errno(pipe(err));
	g_assert_cmpint(channel_pair(monitor), ==, 0);
	g_assert_cmpint(channel_pair(peer), ==, 0);
	for (int i = 0; i < 2; i++) {
		monitor[i] = move_away(monitor[i]);
		peer[i] = move_away(peer[i]);
		err[i] = move_away(err[i]);
	}
	pid = fork();
	g_assert_no_errno(pid);
	if (pid == 0) {
		alarm(30);
		get(&h, monitor[1], peer[1], err[1]);
		note_memory(&h);
		enter(role);
		_exit(fn(&h) < 0 && role != NOBODY ? errno & 0x3f : CAME_BACK);
	}
	close(err[1]);
	g_assert_no_errno(waitpid(pid, &status, 0));
	read_stderr(err[0]);
	if (told)
		read_told(monitor[0], told, size);
	for (int i = 0; i < 2; i++) {
		close(monitor[i]);
		close(peer[i]);
	}
	kill(h.other, SIGKILL);
	waitpid(h.other, NULL, 0);
	return status;
}

char *status_text(int status)
{
	return WIFSIGNALED(status) ? g_strdup_printf("killed by signal %d", WTERMSIG(status)) :
				     g_strdup_printf("status %d", WEXITSTATUS(status));
}
