// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A job's socket is shared with the monitor and with the kernel's consumer:
 * closing our descriptor does not take it out of epoll, and leaving it open
 * keeps the connection from ending. So the event source goes first, then the
 * descriptor, then the result is sent.
 */
#include "tlshd/worker/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sysexits.h>
#include <systemd/sd-event.h>

#include "build-config.h"
#include "common/channel.h"
#include "common/child.h"
#include "common/cleanup.h"
#include "common/demote.h"
#include "common/event-loop.h"
#include "common/secret.h"
#include "common/text.h"
#include "tlshd/worker/hostile.h"
#include "tlshd/worker/session.h"
#include "tlshd/worker/signer.h"

#define BATCH 32	/* jobs taken before those that run get their turn */
#define USEC_PER_MSEC UINT64_C(1000)

struct worker {
	int monitor;		/* channel */
	struct log log;
	struct signer signer;
	sd_event *event;
	struct engine *engine;
	struct job *jobs;
	bool draining;
};

struct job {
	struct worker *worker;
	struct job *next, **prev;	/* prev: what points to us */
	struct session *session;
	uint64_t id;
	int fd;
	sd_event_source *io, *timer;
#if TLSHD_HOSTILE_WORKER
	struct hs_job what;
#endif
};

static void job_free(struct job *job)
{
	*job->prev = job->next;
	if (job->next)
		job->next->prev = job->prev;
	sd_event_source_disable_unref(job->io);
	sd_event_source_disable_unref(job->timer);
	session_free(job->session);
	fd_close(job->fd);
	free(job);
}

static int end_if_drained(struct worker *w)
{
	return w->draining && !w->jobs ? sd_event_exit(w->event, EX_OK) : 0;
}

/* Frees @job, which may be NULL, and reports. Returns a negative errno when the monitor has gone. */
static int finish(struct worker *w, struct job *job, uint64_t id, const struct hs_result *result)
{
	struct wire_message msg = { .type = WIRE_RESULT, .result = *result };
	int r;

	msg.result.id = id;
	if (job)
		job_free(job);
	r = child_send(w->monitor, &msg);
	return r < 0 ? r : end_if_drained(w);
}

/* finish() of what failed with @error on our side. */
static int give_up(struct worker *w, struct job *job, uint64_t id, int error)
{
	struct hs_result result = { .outcome = hs_is_shortage(error) ? HS_BUSY : HS_INTERNAL };

	snprintf(result.reason, sizeof(result.reason), "the worker cannot go on with the handshake: %s",
		 strerror(-error));
	return finish(w, job, id, &result);
}

/* The socket is left alone until the answer is there: its readiness is level-triggered. */
static int ask_for_keys(struct job *job)
{
	struct wire_message msg = { .type = WIRE_ASK, .ask.job = job->id };
	int r = sd_event_source_set_enabled(job->io, SD_EVENT_OFF);

	text_copy(msg.ask.identity, sizeof(msg.ask.identity), session_psk_identity(job->session));
	return r < 0 ? r : child_send(job->worker->monitor, &msg);
}

/* For tests of what the others do about it; in no build that can be installed. */
static void turn_hostile(const struct job *job, const struct hs_result *result)
{
#if TLSHD_HOSTILE_WORKER
	const struct worker *w = job->worker;
	const struct hostile h = { w->monitor, w->signer.keeper, &w->log };

	hostile_act(&h, &job->what, result);
#endif
}

/* Returns a negative errno when this worker cannot go on. */
static int run(struct job *job)
{
	struct hs_result result = { 0 };
	int r;

	switch (session_step(job->session, &result)) {
	case SESSION_WANT_READ:
		r = sd_event_source_set_io_events(job->io, EPOLLIN);
		break;
	case SESSION_WANT_WRITE:
		r = sd_event_source_set_io_events(job->io, EPOLLOUT);
		break;
	case SESSION_WANT_KEYS:
		return ask_for_keys(job);
	case SESSION_ENDED:
	default:
		/* The library derived keys there, and the kernel got them from there. */
		secret_burn_stack();
		turn_hostile(job, &result);
		return finish(job->worker, job, job->id, &result);
	}
	return r < 0 ? give_up(job->worker, job, job->id, r) : 0;
}

/*
 * An error of a handler would only switch its source off, and what it was for
 * would wait for ever: a worker that cannot report ends, and is answered for.
 */
static int end_if_failed(struct worker *w, int r)
{
	return r < 0 ? sd_event_exit(w->event, EX_IOERR) : 0;
}

static int on_socket(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct job *job = ctx;
	struct worker *w = job->worker;

	return end_if_failed(w, run(job));
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct job *job = ctx;
	struct worker *w = job->worker;
	struct hs_result result = { 0 };

	session_timeout(job->session, &result);
	return end_if_failed(w, finish(w, job, job->id, &result));
}

static int start_job(struct worker *w, const struct hs_job *what, int fd)
{
	struct job *job = calloc(1, sizeof(*job));
	int r;

	if (!job) {
		fd_close(fd);
		return give_up(w, NULL, what->id, -ENOMEM);
	}
	job->worker = w;
	job->id = what->id;
#if TLSHD_HOSTILE_WORKER
	job->what = *what;
#endif
	job->fd = fd;
	job->next = w->jobs;
	job->prev = &w->jobs;
	if (job->next)
		job->next->prev = &job->next;
	w->jobs = job;

	r = session_new(&job->session, w->engine, what, fd);
	if (r >= 0)
		r = sd_event_add_io(w->event, &job->io, fd, EPOLLIN, on_socket, job);
	if (r >= 0)
		r = sd_event_add_time(w->event, &job->timer, CLOCK_MONOTONIC,
				      clock_now() + what->timeout_ms * USEC_PER_MSEC, 1,
				      on_deadline, job);
	return r < 0 ? give_up(w, job, what->id, r) : run(job);
}

static struct job *find_job(const struct worker *w, uint64_t id)
{
	struct job *job = w->jobs;

	while (job && job->id != id)
		job = job->next;
	return job;
}

/* Nobody waits for the result, but the monitor counts: each job is reported once. */
static int cancel_job(struct worker *w, uint64_t id)
{
	const struct hs_result result = { .outcome = HS_TIMEOUT };
	struct job *job = find_job(w, id);

	return job ? finish(w, job, id, &result) : 0;
}

static int use_certificate(struct job *job, const char *label, int fd)
{
	struct engine_file file = { .label = label };
	/* Not fstat(): with some C libraries that is a call that can look at any path. */
	off_t size = lseek(fd, 0, SEEK_END);
	void *data;
	int r;

	if (size <= 0)
		return -EBADMSG;
	data = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	file.data = data;
	file.size = (size_t)size;
	r = session_set_certificate(job->session, &file);
	munmap(data, file.size);
	return r;
}

/* The monitor's answer to ask_for_keys(). Its job may have ended meanwhile. */
static int on_keys(struct worker *w, uint64_t id, const struct wire_message *msg, int fd)
{
	struct job *job = find_job(w, id);
	int r = 0;

	if (!job)
		return 0;
	if (msg->type == WIRE_PSK)
		r = session_set_psk(job->session, msg->psk.hash, msg->psk.identity, msg->psk.key,
				    msg->psk.len);
	else if (msg->type == WIRE_CERTIFICATE)
		r = use_certificate(job, msg->certificate.label, fd);
	else
		session_refuse(job->session, msg->refused.outcome, msg->refused.reason);
	if (r >= 0)
		r = sd_event_source_set_enabled(job->io, SD_EVENT_ON);
	return r < 0 ? give_up(w, job, id, r) : run(job);
}

/* What came without its descriptor, for which this process has no room: its job fails, no other. */
static int on_lost_descriptor(struct worker *w, const struct wire_message *msg)
{
	struct job *job;

	if (msg->type == WIRE_JOB)
		return give_up(w, NULL, msg->job.id, -EMFILE);
	if (msg->type != WIRE_CERTIFICATE)
		return -EBADMSG;
	job = find_job(w, msg->certificate.job);
	return job ? give_up(w, job, job->id, -EMFILE) : 0;
}

/* Takes @fd. */
static int handle(struct worker *w, const struct wire_message *msg, int fd)
{
	CLEANUP_FD int owned = fd;

	switch (msg->type) {
	case WIRE_JOB:
		return fd < 0 ? -EBADMSG : start_job(w, &msg->job, TAKE_FD(owned));
	case WIRE_CANCEL:
		return cancel_job(w, msg->cancel);
	case WIRE_DRAIN:
		w->draining = true;
		return 0;
	case WIRE_PSK:
		return on_keys(w, msg->psk.job, msg, -1);
	case WIRE_CERTIFICATE:
		return fd < 0 ? -EBADMSG : on_keys(w, msg->certificate.job, msg, fd);
	case WIRE_REFUSED:
		return on_keys(w, msg->refused.job, msg, -1);
	default:
		return -EBADMSG;
	}
}

static int on_monitor(sd_event_source *source, int channel, uint32_t revents, void *ctx)
{
	struct worker *w = ctx;
	struct wire_message msg;
	int r = 0;

	for (unsigned int i = 0; i < BATCH && r >= 0; i++) {
		int fd = -1;

		r = channel_recv(channel, &msg, &fd);
		if (r == -EAGAIN)
			break;
		if (r >= 0)
			r = handle(w, &msg, fd);
		else if (r == -EMFILE)
			r = on_lost_descriptor(w, &msg);
	}
	explicit_bzero(&msg, sizeof(msg));	/* it may have been a key */
	if (r < 0 && r != -EAGAIN)
		return sd_event_exit(w->event, r == -EPIPE ? EX_OK : EX_IOERR);
	return end_if_drained(w);
}

/* The keeper speaks only when asked: anything else is its end. */
static int on_keeper(sd_event_source *source, int channel, uint32_t revents, void *ctx)
{
	struct worker *w = ctx;

	return sd_event_exit(w->event, EX_IOERR);
}

static void use_file(struct engine_config *config, const struct child_file *f)
{
	struct engine_role *role = &config->role[f->what.role];
	/* An empty file is configured all the same: not NULL, or the system's store would take its place. */
	struct engine_file ef = {
		.data = f->data ? f->data : "", .size = f->size, .label = f->what.label,
	};

	switch (f->what.use) {
	case WIRE_FILE_TRUSTSTORE:
		role->truststore = ef;
		break;
	case WIRE_FILE_CRL:
		role->crl = ef;
		break;
	case WIRE_FILE_CERTIFICATE:
		role->certificate[f->what.identity] = ef;
		break;
	default:
		break;
	}
}

static int load(struct worker *w, char *reason, size_t size)
{
	struct engine_config config = {
		.log = &w->log, .sign = signer_sign, .sign_ctx = &w->signer,
	};
	struct child_files files;
	int r = child_receive_files(w->monitor, &files);

	if (r < 0) {
		snprintf(reason, size, "the worker could not read what to load: %s%s", strerror(-r),
			 r == -EAGAIN || r == -ENOMEM ?
			 " (its memory is locked: " SECRET_LIMIT_HINT ")" : "");
		return r;
	}
	for (size_t i = 0; i < files.n; i++)
		use_file(&config, &files.file[i]);
	config.ciphers = files.start.ciphers;
	config.debug = files.start.tls_debug;
	config.in_use = files.start.in_use;
	w->log.level = files.start.log_level;
	r = engine_new(&w->engine, &config, reason, size);
	child_files_free(&files);
	return r;
}

/* sd-event makes its timer with the first deadline, when it would be too late. */
static int make_timer(sd_event *event)
{
	sd_event_source *source = NULL;
	int r = sd_event_add_time(event, &source, CLOCK_MONOTONIC, UINT64_MAX, 1, NULL, NULL);

	sd_event_source_disable_unref(source);
	return r;
}

static int serve(struct worker *w)
{
	const struct wire_message ready = {
		.type = WIRE_READY, .ready = *engine_dates(w->engine),
	};
	int r = sd_event_new(&w->event);

	if (r >= 0)
		r = sd_event_add_io(w->event, NULL, w->monitor, EPOLLIN, on_monitor, w);
	if (r >= 0)
		r = sd_event_add_io(w->event, NULL, w->signer.keeper, 0, on_keeper, w);
	if (r >= 0)
		r = make_timer(w->event);
	if (r >= 0)
		r = child_confine(w->monitor, &w->log, SANDBOX_WORKER);
	if (r >= 0)
		r = child_send(w->monitor, &ready);
	if (r >= 0)
		r = event_loop(w->event);
	while (w->jobs)
		job_free(w->jobs);
	sd_event_unref(w->event);
	return r < 0 ? EX_IOERR : r;
}

int worker_main(uid_t uid, gid_t gid)
{
	struct worker w = { .monitor = CHILD_FD_MONITOR };
	char reason[LOG_TEXT_MAX];
	const char *step;
	int r;

	child_ignore_signals();
	w.log = (struct log){ .level = LOG_INFO, .sink = log_sink_channel, .ctx = &w.monitor };
	w.signer = (struct signer){ .keeper = CHILD_FD_PEER, .log = &w.log };
	r = demote(uid, gid, DEMOTE_LOCK_MEMORY, &step);
	if (r < 0) {
		snprintf(reason, sizeof(reason), "a worker could not give up its privileges: %s: %s",
			 step, strerror(-r));
		child_report_start(w.monitor, r, reason);
		return EX_OSERR;
	}
	r = load(&w, reason, sizeof(reason));
	if (r < 0) {
		child_report_start(w.monitor, r, reason);
		return EX_CONFIG;
	}
	r = serve(&w);
	engine_free(w.engine);
	return r;
}
