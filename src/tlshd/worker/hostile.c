// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A deed is one thing a stranger would try. System calls are made as such, so that
 * the one that is meant is the first that a filter sees.
 */
#include "tlshd/worker/hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/child.h"
#include "common/cleanup.h"
#include "common/text.h"

#define ANSWER_MS 3000
#define ONE_JOB ((uint64_t)1 << 16)	/* to a number of which there is no job */

struct deed {
	const char *name;
	/* Returns 0 when it has what it wanted, or a negative errno. */
	int (*act)(const struct hostile *h, const struct hs_job *job, const char *argument);
};

/* --- files, processes, sockets, keys --- */

static int as_errno(long r)
{
	return r < 0 ? -errno : 0;
}

static int read_path(const char *path)
{
	CLEANUP_FD int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	char byte;

	if (fd < 0)
		return -errno;
	return read(fd, &byte, 1) == 1 ? 0 : errno ? -errno : -EIO;
}

static int open_file(const struct hostile *h, const struct hs_job *job, const char *path)
{
	return read_path(path);
}

static int open_process(const struct hostile *h, const struct hs_job *job, const char *pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s", pid);
	return read_path(path);
}

static int open_socket(const struct hostile *h, const struct hs_job *job, const char *domain)
{
	CLEANUP_FD int fd = socket(atoi(domain), SOCK_RAW | SOCK_CLOEXEC, 16);

	if (fd < 0 && errno == EPERM)
		return -EPERM;
	if (fd < 0)
		fd = socket(atoi(domain), SOCK_STREAM | SOCK_CLOEXEC, 0);
	return as_errno(fd);
}

static int send_signal(const struct hostile *h, const struct hs_job *job, const char *pid)
{
	return as_errno(kill(atoi(pid), SIGTERM));
}

static int trace(const struct hostile *h, const struct hs_job *job, const char *pid)
{
	return as_errno(ptrace(PTRACE_ATTACH, atoi(pid), NULL, NULL));
}

static int read_memory(const struct hostile *h, const struct hs_job *job, const char *pid)
{
	char byte;
	struct iovec here = { &byte, 1 }, there = { (void *)(uintptr_t)&job->id, 1 };

	return as_errno(process_vm_readv(atoi(pid), &here, 1, &there, 1, 0));
}

static int run_program(const struct hostile *h, const struct hs_job *job, const char *path)
{
	pid_t pid = fork();

	if (!pid) {
		execl(path, path, NULL);
		_exit(1);
	}
	return as_errno(pid);
}

static int read_key(const struct hostile *h, const struct hs_job *job, const char *serial)
{
	char key[64];

	return as_errno(syscall(SYS_keyctl, KEYCTL_READ, atol(serial), key, sizeof(key)));
}

/* For 2 s, by a call that is allowed: sleep() ends us itself. */
static void wait_for_end(void)
{
	poll(NULL, 0, 2000);
}

/* --- signatures --- */

static int ask_signature(const struct hostile *h, uint64_t id, enum hs_role role, char first)
{
	struct wire_message msg = {
		.type = WIRE_SIGN, .sign = { .job = id, .role = role, .len = 64 + 34 + 32 },
	};
	CLEANUP_FD int stray = -1;
	int r;

	text_copy(msg.sign.algorithm, sizeof(msg.sign.algorithm), "ECDSA-SECP256R1-SHA256");
	memset(msg.sign.data, ' ', 64);
	msg.sign.data[0] = (uint8_t)first;
	memcpy(msg.sign.data + 64, role == HS_SERVER ? "TLS 1.3, server CertificateVerify" :
						       "TLS 1.3, client CertificateVerify", 34);
	r = channel_send(h->keeper, &msg, -1);
	if (!r)
		r = channel_wait(h->keeper, ANSWER_MS);
	if (!r)
		r = channel_recv(h->keeper, &msg, &stray);
	if (r == -EPIPE || r == -ECONNRESET)
		wait_for_end();	/* before the result */
	if (r < 0)
		return r;
	return msg.signed_.error ? -(int)msg.signed_.error : 0;
}

/* Nor does it ask for its signature. */
static int do_nothing(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	return -ECANCELED;
}

/* The one it is due: a control, without which the others would prove nothing. */
static int sign_own(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	return ask_signature(h, job->id, job->role, ' ');
}

static int sign_again(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	int r = ask_signature(h, job->id, job->role, ' ');

	if (r < 0) {
		log_error(h->log, "hostile: the first signature failed: %s", strerror(-r));
		return r;
	}
	return ask_signature(h, job->id, job->role, ' ');
}

static int sign_as_server(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	return ask_signature(h, job->id, HS_SERVER, ' ');
}

static int sign_anything(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	return ask_signature(h, job->id, job->role, 'x');
}

static int sign_next(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	return ask_signature(h, job->id + ONE_JOB, job->role, ' ');
}

/* --- what it says to the monitor; it does not answer, but may end us --- */

static int say(const struct hostile *h, const struct wire_message *msg, int fd)
{
	int r = channel_send(h->monitor, msg, fd);

	/* Were we to live, the deed would not be a violation: then this is in the log. */
	wait_for_end();
	return r;
}

static int say_success(const struct hostile *h, uint64_t id)
{
	return say(h, &(struct wire_message){
		.type = WIRE_RESULT,
		.result = { .id = id, .outcome = HS_OK, .peer_verified = true, .reason = "hostile" },
	}, -1);
}

static int ask_keys(const struct hostile *h, uint64_t id, const char *identity)
{
	struct wire_message msg = { .type = WIRE_ASK, .ask.job = id };

	text_copy(msg.ask.identity, sizeof(msg.ask.identity), identity);
	return say(h, &msg, -1);
}

/* Of the request before ours, which another worker has. */
static uint64_t victim(const struct hs_job *job)
{
	return job->id - ONE_JOB - 1;
}

static int result_other(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	return say_success(h, victim(job));
}

static int result_own(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	return say_success(h, job->id);
}

static int result_guess(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	return say_success(h, job->id + ONE_JOB);
}

static int result_twice(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	const struct wire_message msg = {
		.type = WIRE_RESULT, .result = { .id = job->id, .outcome = HS_CERT_INVALID },
	};

	channel_send(h->monitor, &msg, -1);
	return say(h, &msg, -1);
}

static int ask_other(const struct hostile *h, const struct hs_job *job, const char *identity)
{
	return ask_keys(h, victim(job), identity);
}

static int ask_own(const struct hostile *h, const struct hs_job *job, const char *identity)
{
	return ask_keys(h, job->id, identity);
}

/* What it may have, whatever the peer offered: the key of one identity for each of its jobs. */
static int ask_chosen(const struct hostile *h, const struct hs_job *job, const char *identity)
{
	struct wire_message msg = { .type = WIRE_ASK, .ask.job = job->id };
	CLEANUP_FD int stray = -1;
	int r;

	text_copy(msg.ask.identity, sizeof(msg.ask.identity), identity);
	r = channel_send(h->monitor, &msg, -1);
	if (!r)
		r = channel_wait(h->monitor, ANSWER_MS);
	if (!r)
		r = channel_recv(h->monitor, &msg, &stray);
	if (r < 0)
		return r;
	return msg.type == WIRE_PSK && !strcmp(msg.psk.identity, identity) ? 0 : -ENOKEY;
}

static int ask_again(const struct hostile *h, const struct hs_job *job, const char *identity)
{
	int r = ask_chosen(h, job, identity);

	if (r < 0) {
		log_error(h->log, "hostile: the first key was not given: %s", strerror(-r));
		return r;
	}
	return ask_keys(h, job->id, identity);
}

static int ready_again(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	return say(h, &(struct wire_message){ .type = WIRE_READY }, -1);
}

static int with_descriptor(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	return say(h, &(struct wire_message){
		.type = WIRE_LOG, .text = { .priority = LOG_INFO, .text = "with a descriptor" },
	}, h->keeper);
}

static int oversized(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	char bytes[WIRE_MAX + 1];
	struct iovec iov = { bytes, sizeof(bytes) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	memset(bytes, 0xff, sizeof(bytes));
	sendmsg(h->monitor, &mh, MSG_NOSIGNAL);
	wait_for_end();
	return 0;
}

static int flood(const struct hostile *h, const struct hs_job *job, const char *unused)
{
	const struct wire_message msg = {
		.type = WIRE_LOG, .text = { .priority = LOG_EMERG, .text = "flood\n\033[31mflood" },
	};

	for (unsigned int i = 0; i < 1000000; i++)
		child_send(h->monitor, &msg);
	return 0;
}

static const struct deed deeds[] = {
	{ "nothing", do_nothing },
	{ "open", open_file },
	{ "process", open_process },
	{ "socket", open_socket },
	{ "kill", send_signal },
	{ "ptrace", trace },
	{ "memory", read_memory },
	{ "exec", run_program },
	{ "key", read_key },
	{ "sign-own", sign_own },
	{ "sign-again", sign_again },
	{ "sign-as-server", sign_as_server },
	{ "sign-anything", sign_anything },
	{ "sign-next", sign_next },
	{ "result-other", result_other },
	{ "result-own", result_own },
	{ "result-guess", result_guess },
	{ "result-twice", result_twice },
	{ "ask-other", ask_other },
	{ "ask-own", ask_own },
	{ "ask-chosen", ask_chosen },
	{ "ask-again", ask_again },
	{ "ready", ready_again },
	{ "descriptor", with_descriptor },
	{ "oversized", oversized },
	{ "flood", flood },
};

/* Returns false for any other peer name. @argument points into @name. */
static bool find_deed(const char *peername, char name[HS_NAME_MAX], const char **argument)
{
	static const char blank[] = "hostile ", suffix[] = ".hostile.test";
	size_t len = strlen(peername);
	char *end;

	*argument = "";
	if (strncmp(peername, blank, strlen(blank)) == 0) {
		text_copy(name, HS_NAME_MAX, peername + strlen(blank));
		end = strchr(name, ' ');
	} else if (len > strlen(suffix) && !strcmp(peername + len - strlen(suffix), suffix)) {
		text_copy(name, HS_NAME_MAX, peername);
		name[len - strlen(suffix)] = '\0';
		end = strstr(name, "--");
	} else {
		return false;
	}
	if (end) {
		*argument = end + (*end == '-' ? 2 : 1);
		*end = '\0';
	}
	return true;
}

void hostile_act(const struct hostile *h, const struct hs_job *job, const struct hs_result *result)
{
	char name[HS_NAME_MAX];
	const char *argument;

	if (!find_deed(job->peername, name, &argument))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(deeds); i++) {
		int r;

		if (strcmp(deeds[i].name, name) != 0)
			continue;
		log_info(h->log, "hostile %s: tries, after \"%s\"", name,
			 hs_outcome_name(result->outcome));
		errno = 0;
		r = deeds[i].act(h, job, argument);
		log_info(h->log, "hostile %s: %s", name, r < 0 ? strerror(-r) : "MADE IT");
		return;
	}
	log_error(h->log, "hostile: no deed is called \"%s\"", name);
}
