// SPDX-License-Identifier: GPL-2.0-or-later
#include "tlshd/keeper/keeper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <systemd/sd-event.h>

#include "common/channel.h"
#include "common/child.h"
#include "common/cleanup.h"
#include "common/demote.h"
#include "common/event-loop.h"
#include "common/secret.h"
#include "common/text.h"
#include "tlshd/keeper/grants.h"
#include "tlshd/keeper/key.h"

#define TELL_EVERY UINT64_C(60000000)	/* us between messages about what is refused */
#define UNREAD_MAX 1024			/* messages: more than a channel holds */

struct keeper {
	int monitor, worker;	/* channels */
	struct log log;
	sd_event *event;
	struct key *keys[HS_N_ROLES][HS_N_IDENTITIES];
	struct grants grants;
	uint64_t told;		/* when something refused was last told of, us; 0: never */
	unsigned int n_untold;
	enum sandbox_role confined_as;
};

/* Once a minute: who asks for what is refused may do so often. */
static void tell_of_refusal(struct keeper *k, const char *why)
{
	uint64_t now = 0;

	k->n_untold++;
	sd_event_now(k->event, CLOCK_MONOTONIC, &now);
	if (k->told && now - k->told < TELL_EVERY)
		return;
	log_warn(&k->log, "no signature: %s; refused since the last such message: %u", why,
		 k->n_untold);
	k->told = now;
	k->n_untold = 0;
}

static int sign(const struct key *key, const struct wire_sign *request, struct wire_signed *ret)
{
	int r = -ENOKEY;

	if (key)
		r = key_sign(key, request->role, request->algorithm, request->data,
			     request->len, ret->signature, sizeof(ret->signature));
	secret_burn_stack();
	return r;
}

/*
 * A handshake signs once: whatever comes of it, its grant and its own key are not
 * needed again. Returns -EPROTO when no worker that keeps the rules asks for this.
 */
static int answer(struct keeper *k, const struct wire_sign *request, struct wire_signed *ret)
{
	CLEANUP(key_freep) struct key *once = NULL;
	int r;

	switch (grants_take(&k->grants, request, &once)) {
	case GRANT_GIVEN:
		r = sign(once ? once : k->keys[request->role][request->identity], request, ret);
		break;
	case GRANT_ENDED:
		tell_of_refusal(k, "it was asked for after the handshake had ended, or there was no room for that");
		r = -ENOBUFS;	/* who asks for one that has ended does not listen any more */
		break;
	default:
		log_error(&k->log, "the worker asks for a signature as a %s for which it has no handshake",
			  hs_role_name(request->role));
		return -EPROTO;
	}
	if (r == -EPERM) {
		log_error(&k->log, "the worker asks to sign what is not a handshake");
		return -EPROTO;
	}
	ret->job = request->job;
	ret->error = r < 0 ? -r : 0;
	ret->len = r < 0 ? 0 : r;
	if (r < 0 && r != -ENOBUFS)
		log_error(&k->log, "no signature with %s: %s", request->algorithm, strerror(-r));
	return 0;
}

/* Returns a negative errno when the monitor broke the protocol or has gone. */
static int take_key(struct keeper *k, struct wire_key *what, int cert_fd)
{
	struct wire_message reply = { .type = WIRE_KEY_LOADED, .key_loaded = what->job };
	enum hs_outcome outcome = HS_KEY_UNUSABLE;
	char reason[LOG_TEXT_MAX];
	int r = grants_add_key(&k->grants, what, cert_fd, &outcome, reason, sizeof(reason));

	if (r == -EEXIST)
		return r;
	if (r < 0) {
		reply.type = WIRE_REFUSED;
		reply.refused = (struct wire_refused){ .job = what->job, .outcome = outcome };
		text_copy(reply.refused.reason, sizeof(reply.refused.reason), reason);
	}
	return child_send(k->monitor, &reply);
}

/* A key came without its certificate, for which this process has no room. */
static int refuse_key(struct keeper *k, uint64_t job)
{
	struct wire_message reply = {
		.type = WIRE_REFUSED,
		.refused = { .job = job, .outcome = HS_BUSY,
			     .reason = "the keeper has no descriptor left" },
	};

	return child_send(k->monitor, &reply);
}

static int take_grant(struct keeper *k, const struct wire_grant *grant)
{
	int r = grants_add(&k->grants, grant->job, grant->role);

	if (r == -ENOSPC || r == -ENOMEM) {
		tell_of_refusal(k, "there are more handshakes than the keeper can keep in mind");
		return 0;
	}
	return r;
}

/* Returns 0, -EAGAIN when there is no message, or why this process is to end. */
static int hear_monitor(struct keeper *k)
{
	struct wire_message msg;
	CLEANUP_FD int fd = -1;
	int r = channel_recv(k->monitor, &msg, &fd);

	if (r == -EAGAIN)
		return r;
	if (r == 0 && msg.type == WIRE_KEY && fd >= 0)
		r = take_key(k, &msg.key, fd);
	else if (r == -EMFILE && msg.type == WIRE_KEY)
		r = refuse_key(k, msg.key.job);
	else if (r == 0 && msg.type == WIRE_GRANT && fd < 0)
		r = take_grant(k, &msg.grant);
	else if (r == 0 && msg.type == WIRE_CANCEL && fd < 0)
		grants_end(&k->grants, msg.cancel);
	else if (r == 0)
		r = -EBADMSG;
	/* Also what did not decode may be a key. */
	explicit_bzero(&msg, sizeof(msg));
	if (r < 0)
		sd_event_exit(k->event, r == -EPIPE ? EX_OK : EX_IOERR);
	return r;
}

static int on_monitor(sd_event_source *source, int channel, uint32_t revents, void *ctx)
{
	hear_monitor(ctx);
	return 0;
}

/* The grant was sent before the worker got the job: when that asks, it is here. */
static int hear_of_grants(struct keeper *k)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < UNREAD_MAX; i++)
		r = hear_monitor(k);
	return r == -EAGAIN ? 0 : r;
}

static int on_worker(sd_event_source *source, int channel, uint32_t revents, void *ctx)
{
	struct keeper *k = ctx;
	struct wire_message msg, reply = { .type = WIRE_SIGNED };
	CLEANUP_FD int stray = -1;
	int r = channel_recv(channel, &msg, &stray);

	if (r == -EAGAIN)
		return 0;
	if (r == 0 && (msg.type != WIRE_SIGN || stray >= 0))
		r = -EBADMSG;
	if (r == -EBADMSG)
		log_error(&k->log, "the worker broke the protocol");
	if (r == 0 && hear_of_grants(k) < 0)
		return 0;
	if (r == 0)
		r = answer(k, &msg.sign, &reply.signed_);
	if (r == 0)
		r = child_send(channel, &reply);
	/* Without its worker a keeper has no use; a worker that breaks the rules loses its keys. */
	if (r == -EPROTO || r == -EBADMSG)
		return sd_event_exit(k->event, EX_PROTOCOL);
	return r < 0 ? sd_event_exit(k->event, r == -EPIPE ? EX_OK : EX_IOERR) : 0;
}

static const struct child_file *certificate_of(const struct child_files *files,
					       const struct wire_file *key)
{
	for (size_t i = 0; i < files->n; i++) {
		const struct wire_file *what = &files->file[i].what;

		if (what->use == WIRE_FILE_CERTIFICATE && what->role == key->role &&
		    what->identity == key->identity)
			return &files->file[i];
	}
	return NULL;
}

static int load_key(struct keeper *k, const struct child_files *files,
		    const struct child_file *file, char *reason, size_t size)
{
	const struct wire_file *what = &file->what;
	const struct child_file *cert = certificate_of(files, what);
	CLEANUP(key_freep) struct key *key = NULL;
	int r;

	if (!cert) {
		snprintf(reason, size, "%s: a private key without a certificate", what->label);
		return -EINVAL;
	}
	/* The worker passes it over, too, and tells. */
	if (what->identity == HS_IDENTITY_X509_PQ && !key_knows_certificate(cert->data, cert->size))
		return 0;
	r = key_load(&key, file->fd, what->url, what->label, reason, size);
	if (r < 0)
		return r;
	r = key_check_certificate(key, cert->data, cert->size, what->label, cert->what.label,
				  reason, size);
	if (r < 0)
		return r;
	key_free(k->keys[what->role][what->identity]);
	k->keys[what->role][what->identity] = TAKE_PTR(key);
	return 0;
}

static int load(struct keeper *k, char *reason, size_t size)
{
	struct child_files files;
	int r = child_receive_files(k->monitor, &files);

	if (r < 0) {
		snprintf(reason, size, "the keeper could not read what to load: %s%s", strerror(-r),
			 r == -EAGAIN || r == -ENOMEM ?
			 " (its memory is locked: " SECRET_LIMIT_HINT ")" : "");
		return r;
	}
	k->log.level = files.start.log_level;
	k->confined_as = SANDBOX_KEEPER;
	for (size_t i = 0; r == 0 && i < files.n; i++) {
		if (files.file[i].what.use != WIRE_FILE_PRIVATE_KEY)
			continue;
		if (files.file[i].what.url[0])
			k->confined_as = SANDBOX_KEEPER_TOKEN;
		r = load_key(k, &files, &files.file[i], reason, size);
	}
	child_files_free(&files);
	return r;
}

static int serve(struct keeper *k)
{
	int r = sd_event_new(&k->event);

	if (r >= 0)
		r = sd_event_add_io(k->event, NULL, k->monitor, EPOLLIN, on_monitor, k);
	if (r >= 0)
		r = sd_event_add_io(k->event, NULL, k->worker, EPOLLIN, on_worker, k);
	if (r >= 0)
		r = child_confine(k->monitor, &k->log, k->confined_as);
	if (r >= 0)
		r = child_report_start(k->monitor, 0, NULL);
	if (r >= 0)
		r = event_loop(k->event);
	sd_event_unref(k->event);
	return r < 0 ? EX_IOERR : r;
}

int keeper_main(uid_t uid, gid_t gid)
{
	struct keeper k = { .monitor = CHILD_FD_MONITOR, .worker = CHILD_FD_PEER };
	char reason[LOG_TEXT_MAX];
	const char *step;
	int r;

	child_ignore_signals();
	k.log = (struct log){ .level = LOG_INFO, .sink = log_sink_channel, .ctx = &k.monitor };
	r = demote(uid, gid, DEMOTE_LOCK_MEMORY, &step);
	if (r < 0) {
		snprintf(reason, sizeof(reason), "a keeper could not give up its privileges: %s: %s",
			 step, strerror(-r));
		child_report_start(k.monitor, r, reason);
		return EX_OSERR;
	}
	r = load(&k, reason, sizeof(reason));
	if (r < 0) {
		child_report_start(k.monitor, r, reason);
		return EX_CONFIG;
	}
	secret_burn_stack();
	r = serve(&k);
	grants_clear(&k.grants);
	for (unsigned int role = 0; role < HS_N_ROLES; role++) {
		for (unsigned int i = 0; i < HS_N_IDENTITIES; i++)
			key_free(k.keys[role][i]);
	}
	return r;
}
