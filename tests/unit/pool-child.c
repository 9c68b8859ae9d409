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
#define BREATHS 20000	/* lines without a byte */
#define MUMBLED 450	/* bytes without an end of line */
#define PATIENCE_MS 1000	/* with keys, once the worker is to end */

struct held {
	uint64_t id[HELD_MAX];
	unsigned int n;
};

static bool always_busy;	/* as it was started: START_BUSY */

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

static void say_failed(int error)
{
	child_report_start(CHANNEL, error, "it is a test");
}

static void say_outcome(uint64_t id, enum hs_outcome outcome)
{
	struct wire_message msg = {
		.type = WIRE_RESULT, .result = { .id = id, .outcome = outcome },
	};

	g_snprintf(msg.result.reason, sizeof(msg.result.reason), "%d", getpid());
	say(&msg);
}

static void say_result(uint64_t id)
{
	say_outcome(id, HS_OK);
}

static void say_ask(uint64_t id, const char *identity)
{
	struct wire_message msg = { .type = WIRE_ASK, .ask.job = id };

	g_strlcpy(msg.ask.identity, identity, sizeof(msg.ask.identity));
	say(&msg);
}

static void say_loaded(uint64_t id)
{
	say(&(struct wire_message){ .type = WIRE_KEY_LOADED, .key_loaded = id });
}

static void say_refused(uint64_t id, enum hs_outcome outcome)
{
	say(&(struct wire_message){
		.type = WIRE_REFUSED,
		.refused = { .job = id, .outcome = outcome, .reason = "it is a test" },
	});
}

static void mutter(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) != (ssize_t)strlen(text))
		_exit(0);
}

static char first_byte(int fd)
{
	char byte;

	return fd >= 0 && pread(fd, &byte, 1, 0) == 1 ? byte : '-';
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
		say_failed(-EBADMSG);
	else if (!strcmp(what, "sign"))
		say(&(struct wire_message){ .type = WIRE_SIGN, .sign.algorithm = "x" });
	else if (!strcmp(what, "made-up"))
		say_result(POOL_CHILD_NO_ID);
	else if (!strcmp(what, "loaded"))
		say_loaded(POOL_CHILD_NO_ID);
	else if (!strcmp(what, "refused"))
		say_refused(POOL_CHILD_NO_ID, HS_KEY_UNUSABLE);
	else
		_exit(98);
}

static void ask(struct held *asked, const struct hs_job *job)
{
	if (asked->n == HELD_MAX)
		_exit(93);
	asked->id[asked->n++] = job->id;
	say_log(LOG_INFO, "job %u asks", (unsigned int)job->id);
	for (unsigned int i = 0; i < (strstr(job->peername, "many") ? ASKS : 1); i++)
		say_ask(job->id, job->peername);
	if (strstr(job->peername, "quit"))
		_exit(7);
}

static void work(struct held *held, const struct hs_job *job)
{
	const char *what = job->peername;

	if (!strcmp(what, "busy") || always_busy) {
		say_outcome(job->id, HS_BUSY);
	} else if (!strcmp(what, "hold") && held->n < HELD_MAX) {
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
	} else if (!strcmp(what, "twice")) {
		say_result(job->id);
		say_result(job->id);
	} else if (!strcmp(what, "another's")) {
		say_result(job->id - 1);
	} else if (g_str_has_prefix(what, "chat ")) {
		for (int i = atoi(what + 5); i > 0; i--)
			say_log(LOG_INFO, "chat");
		say_result(job->id);
	} else if (g_str_has_prefix(what, "mutter ")) {
		for (int i = atoi(what + 7); i > 0; i--)
			mutter("<0>mut\033ter\n");
		say_result(job->id);
	} else if (!strcmp(what, "breathe")) {
		for (unsigned int i = 0; i < BREATHS; i++)
			mutter("\n");
		say_result(job->id);
	} else if (!strcmp(what, "mumble")) {
		for (int i = 0; i < MUMBLED; i++)
			mutter("x");
		say_result(job->id);
	} else if (!strcmp(what, "groan")) {
		mutter("free(): invalid\npointer");
		die(SIGABRT);
	} else if (g_str_has_prefix(what, "wonder ")) {
		g_usleep(LATE_MS * 1000);
		for (int i = atoi(what + 7); i > 0; i--)
			say_ask(POOL_CHILD_NO_ID, "");
	} else if (!strcmp(what, "urgent")) {
		say_log(LOG_EMERG, "fire");
		say_result(job->id);
	} else if (!strcmp(what, "stop")) {
		raise(SIGSTOP);
	} else if (!strcmp(what, "crash")) {
		die(SIGABRT);
	} else if (!strcmp(what, "exit")) {
		_exit(7);
	} else if (!strcmp(what, "linger")) {
		close_range(3, ~0U, 0);
		g_usleep(LATE_MS * 1000);
		_exit(7);
	} else if (!strcmp(what, "flood")) {
		flood();
	} else {
		violate(what);
	}
}

static bool release(struct held *held, uint64_t id)
{
	for (unsigned int i = 0; i < held->n; i++) {
		if (held->id[i] == id) {
			held->id[i] = held->id[--held->n];
			return true;
		}
	}
	return false;
}

/* Says what it got, wanted or not: the test finds it in the log. */
static void take_keys(struct held *asked, const struct wire_message *msg, int fd)
{
	enum hs_outcome outcome = HS_OK;
	uint64_t id;

	if (msg->type == WIRE_PSK) {
		id = msg->psk.job;
		say_log(LOG_INFO, "job %u: PSK %s %.*s", (unsigned int)id, msg->psk.identity,
			msg->psk.len, (const char *)msg->psk.key);
	} else if (msg->type == WIRE_CERTIFICATE) {
		id = msg->certificate.job;
		say_log(LOG_INFO, "job %u: CERTIFICATE %s %c", (unsigned int)id,
			msg->certificate.label, first_byte(fd));
	} else if (msg->type == WIRE_REFUSED) {
		id = msg->refused.job;
		outcome = msg->refused.outcome;
		say_log(LOG_INFO, "job %u: REFUSED", (unsigned int)id);
	} else {
		_exit(96);
	}
	if (release(asked, id))
		say_outcome(id, outcome);
}

static void worker(void)
{
	static struct held held, asked;
	struct wire_message msg;
	bool draining = false;

	while (!draining || asked.n) {
		int fd = -1;

		if (channel_wait(CHANNEL, draining ? PATIENCE_MS : -1) < 0)
			break;
		if (channel_recv(CHANNEL, &msg, &fd) < 0)
			_exit(0);
		if ((msg.type == WIRE_JOB || msg.type == WIRE_CERTIFICATE) != (fd >= 0))
			_exit(97);
		if (msg.type == WIRE_JOB && g_str_has_prefix(msg.job.peername, "ask")) {
			ask(&asked, &msg.job);
		} else if (msg.type == WIRE_JOB) {
			work(&held, &msg.job);
		} else if (msg.type == WIRE_CANCEL) {
			if (release(&held, msg.cancel) || release(&asked, msg.cancel)) {
				say_log(LOG_INFO, "job %u is cancelled", (unsigned int)msg.cancel);
				say_outcome(msg.cancel, HS_TIMEOUT);
			}
		} else if (msg.type == WIRE_DRAIN) {
			answer_held(&held);
			draining = true;
		} else {
			take_keys(&asked, &msg, fd);
		}
		fd_close(fd);
	}
	answer_held(&asked);	/* as a deadline would */
	_exit(0);
}

static void load(const struct wire_key *key, int fd)
{
	const char *what = key->label;

	say_log(LOG_INFO, "job %u: KEY %s %.*s %c", (unsigned int)key->job, what, key->len,
		(const char *)key->data, first_byte(fd));
	if (strstr(what, "refuse"))
		say_refused(key->job, strstr(what, "busy") ? HS_BUSY : HS_KEY_UNUSABLE);
	else if (strstr(what, "crash"))
		die(SIGABRT);
	else if (strstr(what, "exit"))
		_exit(7);
	else if (strstr(what, "ask-back"))
		say_ask(POOL_CHILD_NO_ID, "");
	else if (strstr(what, "result"))
		say_result(POOL_CHILD_NO_ID);
	else if (strstr(what, "garbage"))
		say_bytes(50);
	else if (strstr(what, "stray"))
		say_stray();
	else
		say_loaded(key->job);
}

static void keep(const struct wire_message *msg, int fd)
{
	if ((msg->type == WIRE_KEY) != (fd >= 0))
		_exit(97);
	if (msg->type == WIRE_KEY)
		load(&msg->key, fd);
	else if (msg->type == WIRE_CANCEL)
		say_log(LOG_INFO, "job %u: CANCEL", (unsigned int)msg->cancel);
	else if (msg->type == WIRE_GRANT)
		say_log(LOG_INFO, "job %u: GRANT", (unsigned int)msg->grant.job);
	else
		_exit(96);
}

/* Until its worker or the monitor has gone. Whose end is seen first is chance, unless one waits. */
static void keeper(void)
{
	struct pollfd p[] = { { .fd = CHANNEL, .events = POLLIN },
			      { .fd = CHILD_FD_PEER, .events = POLLIN } };

	while (!p[1].revents) {
		struct wire_message msg;
		int fd = -1;

		if (poll(p, 2, -1) < 0 || !p[0].revents)
			continue;
		if (channel_recv(CHANNEL, &msg, &fd) < 0)
			break;
		keep(&msg, fd);
		fd_close(fd);
	}
	if (!world->hasty_keepers)
		g_usleep(20000);
	_exit(0);
}

/* Says what it was given: the test finds it in the log. */
static void receive(enum child_kind kind)
{
	struct child_files files;

	if (child_receive_files(CHANNEL, &files) < 0)
		_exit(0);
	for (size_t i = 0; i < files.n; i++)
		say_log(LOG_DEBUG, "file %u: %c", files.file[i].what.use,
			first_byte(files.file[i].fd));
	say_log(LOG_DEBUG, "ciphers %x level %d", files.start.ciphers, files.start.log_level);
	say_log(LOG_DEBUG, "in use %d %d",
		(int)files.start.in_use.certificate[HS_SERVER][HS_IDENTITY_X509],
		(int)files.start.in_use.crl[HS_CLIENT]);
	child_files_free(&files);
}

static void say_ready(enum child_kind kind)
{
	struct wire_message msg = { .type = WIRE_READY };

	if (kind == CHILD_WORKER)
		msg.ready = world->dates;
	say(&msg);
}

static void begin(enum child_kind kind, enum start start)
{
	switch (start) {
	case START_READY:
		break;
	case START_LATE:
		g_usleep(LATE_MS * 1000);
		break;
	case START_FAILED:
	case START_SHORT:
		say_failed(start == START_SHORT ? -ENOMEM : -EBADMSG);
		pause();
		break;
	case START_EXIT:
		_exit(3);
	case START_CRASH:
		die(SIGABRT);
		break;
	case START_GROAN:
		mutter("no such library\n");
		_exit(127);
	case START_NEVER:
		for (;;)
			pause();
	case START_GARBAGE:
		say_bytes(50);
		break;
	case START_RESULT:
		say_result(POOL_CHILD_NO_ID);
		break;
	case START_ASK:
		say_ask(POOL_CHILD_NO_ID, "");
		break;
	case START_LOADED:
		say_loaded(POOL_CHILD_NO_ID);
		break;
	case START_REFUSED:
		say_refused(POOL_CHILD_NO_ID, HS_KEY_UNUSABLE);
		break;
	case START_TWICE:
	case START_REGRET:
	case START_READY_RESULT:
	case N_STARTS:
		break;
	case START_BUSY:
		always_busy = true;
		break;
	}
	say_ready(kind);
	if (start == START_TWICE)
		say_ready(kind);
	else if (start == START_REGRET)
		say_failed(-EBADMSG);
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
	begin(kind, start);
	if (kind == CHILD_WORKER)
		worker();
	keeper();
	_exit(94);
}
