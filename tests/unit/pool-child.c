// SPDX-License-Identifier: GPL-2.0-or-later
#include "pool-child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/child.h"
#include "common/demote.h"

#define CHANNEL CHILD_FD_MONITOR
#define HELD_MAX 4096

struct held {
	uint64_t id[HELD_MAX];
	unsigned int n;
};

static void die(int signal_number)
{
	static const struct rlimit none;

	setrlimit(RLIMIT_CORE, &none);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
	_exit(99);
}

static void say(const struct wire_message *msg)
{
	if (child_send(CHANNEL, msg) < 0)
		_exit(0);
}

static void say_type(enum wire_type type)
{
	const struct wire_message msg = { .type = type };

	say(&msg);
}

static void say_log(int priority, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static void say_log(int priority, const char *fmt, ...)
{
	struct wire_message msg = { .type = WIRE_LOG, .text.priority = priority };
	va_list ap;

	va_start(ap, fmt);
	g_vsnprintf(msg.text.text, sizeof(msg.text.text), fmt, ap);
	va_end(ap);
	say(&msg);
}

static void say_failed(void)
{
	child_report_start(CHANNEL, "it is a test");
}

static void say_result(uint64_t id)
{
	struct wire_message msg = {
		.type = WIRE_RESULT, .result = { .id = id, .outcome = HS_OK },
	};

	g_snprintf(msg.result.reason, sizeof(msg.result.reason), "%d", getpid());
	say(&msg);
}

static void say_bytes(size_t size)
{
	uint8_t bytes[WIRE_MAX + 100];

	memset(bytes, 0xff, sizeof(bytes));
	send(CHANNEL, bytes, size, MSG_NOSIGNAL);
}

static void say_stray(void)
{
	const struct wire_message msg = {
		.type = WIRE_LOG, .text = { .priority = LOG_INFO, .text = "with a descriptor" },
	};

	channel_send(CHANNEL, &msg, CHANNEL);
}

static void answer_held(struct held *held)
{
	for (unsigned int i = 0; i < held->n; i++)
		say_result(held->id[i]);
	held->n = 0;
}

static void flood(void)
{
	if (fork())
		_exit(5);
	alarm(20);
	for (;;)
		say_log(LOG_DEBUG, "and more");
}

static void violate(const char *what)
{
	if (!strcmp(what, "garbage"))
		say_bytes(50);
	else if (!strcmp(what, "long"))
		say_bytes(WIRE_MAX + 1);
	else if (!strcmp(what, "stray"))
		say_stray();
	else if (!strcmp(what, "ready"))
		say_type(WIRE_READY);
	else if (!strcmp(what, "failed"))
		say_failed();
	else if (!strcmp(what, "sign"))
		say(&(struct wire_message){ .type = WIRE_SIGN, .sign.algorithm = "x" });
	else
		_exit(98);
}

static void work(struct held *held, const struct hs_job *job)
{
	const char *what = job->peername;

	if (!strcmp(what, "hold") && held->n < HELD_MAX) {
		held->id[held->n++] = job->id;
		say_log(LOG_INFO, "job %u is held", (unsigned int)job->id);
	} else if (!strcmp(what, "ok")) {
		say_result(job->id);
	} else if (!strcmp(what, "slow")) {
		g_usleep(LATE_MS * 1000);
		say_result(job->id);
	} else if (!strcmp(what, "answer-exit")) {
		answer_held(held);
		say_result(job->id);
		_exit(0);
	} else if (!strcmp(what, "urgent")) {
		say_log(LOG_EMERG, "fire");
		say_result(job->id);
	} else if (!strcmp(what, "stop")) {
		raise(SIGSTOP);
	} else if (!strcmp(what, "crash")) {
		die(SIGABRT);
	} else if (!strcmp(what, "exit")) {
		_exit(7);
	} else if (!strcmp(what, "flood")) {
		flood();
	} else {
		violate(what);
	}
}

static void cancel(struct held *held, uint64_t id)
{
	for (unsigned int i = 0; i < held->n; i++) {
		if (held->id[i] == id) {
			held->id[i] = held->id[--held->n];
			say_log(LOG_INFO, "job %u is cancelled", (unsigned int)id);
			return;
		}
	}
}

static void worker(void)
{
	static struct held held;
	struct wire_message msg;

	for (;;) {
		int fd = -1;

		channel_wait(CHANNEL, -1);
		if (channel_recv(CHANNEL, &msg, &fd) < 0)
			_exit(0);
		if ((msg.type == WIRE_JOB) != (fd >= 0))
			_exit(97);
		fd_close(fd);
		if (msg.type == WIRE_JOB) {
			work(&held, &msg.job);
		} else if (msg.type == WIRE_CANCEL) {
			cancel(&held, msg.cancel);
		} else if (msg.type == WIRE_DRAIN) {
			answer_held(&held);
			_exit(0);
		} else {
			_exit(96);
		}
	}
}

/* Until its worker or the monitor has gone. Whose end is seen first is chance, unless one waits. */
static void keeper(void)
{
	struct pollfd p[] = { { .fd = CHANNEL, .events = POLLIN },
			      { .fd = CHILD_FD_PEER, .events = POLLIN } };

	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	if (!world->hasty_keepers)
		g_usleep(20000);
	_exit(0);
}

/* Says what it was given: the test finds it in the log. */
static void receive(enum child_kind kind)
{
	struct child_files files;
	char byte;

	if (child_receive_files(CHANNEL, &files) < 0)
		_exit(0);
	for (size_t i = 0; i < files.n; i++) {
		ssize_t len = pread(files.file[i].fd, &byte, 1, 0);

		say_log(LOG_DEBUG, "file %u: %c", files.file[i].what.use, len == 1 ? byte : '-');
	}
	say_log(LOG_DEBUG, "ciphers %x level %d", files.start.ciphers, files.start.log_level);
	child_files_free(&files);
}

static void begin(enum start start)
{
	switch (start) {
	case START_READY:
		break;
	case START_LATE:
		g_usleep(LATE_MS * 1000);
		break;
	case START_FAILED:
		say_failed();
		pause();
		break;
	case START_EXIT:
		_exit(3);
	case START_CRASH:
		die(SIGABRT);
		break;
	case START_NEVER:
		for (;;)
			pause();
	case START_GARBAGE:
		say_bytes(50);
		break;
	case START_RESULT:
		say_result(POOL_CHILD_NO_ID);
		break;
	case START_TWICE:
	case START_REGRET:
	case START_READY_RESULT:
		break;
	}
	child_report_start(CHANNEL, NULL);
	if (start == START_TWICE)
		child_report_start(CHANNEL, NULL);
	else if (start == START_REGRET)
		say_failed();
	else if (start == START_READY_RESULT)
		say_result(POOL_CHILD_NO_ID);
}

void pool_child(enum child_kind kind, enum start start, int monitor_fd, int peer_fd)
{
	int monitor = fcntl(monitor_fd, F_DUPFD, 100), peer = fcntl(peer_fd, F_DUPFD, 100);
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	child_ignore_signals();
	if (dup2(monitor, CHANNEL) < 0 || dup2(peer, CHILD_FD_PEER) < 0)
		_exit(95);
	/* As exec would: no end of another child's channel may stay open here. */
	close_range(CHILD_FD_END, ~0u, 0);
	receive(kind);
	begin(start);
	if (kind == CHILD_WORKER)
		worker();
	keeper();
	_exit(94);
}
