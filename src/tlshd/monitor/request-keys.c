// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A handshake asks for its keys by WIRE_ASK, once. Pre-shared keys go to its
 * worker. A private key goes to the worker's keeper, which says whether it is
 * good; only then the worker gets the certificate that belongs to it.
 *
 * Where a channel is full, the request stays in a _DUE state, and the keys are
 * read when there is room: none waits in our memory.
 */
#include "tlshd/monitor/request-private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tlshd/monitor/keys.h"

static void set_asking(struct request *req, enum asking state)
{
	bool was = req->asking == KEYS_DUE || req->asking == CERTIFICATE_DUE ||
		   req->asking == REFUSAL_DUE;
	bool is = state == KEYS_DUE || state == CERTIFICATE_DUE || state == REFUSAL_DUE;

	req->table->n_due += (unsigned int)is - (unsigned int)was;
	req->asking = state;
}

/* After pool_tell(): when that has ended the pair, @req has gone with it, or will soon. */
static void sent(struct request *req, int r, enum asking next)
{
	if (r == 0)
		set_asking(req, next);
	else if (r == -EINVAL || r == -EMSGSIZE)
		request_fail(req, HS_INTERNAL, "the keys could not be handed over: %s", strerror(-r));
}

static void answer_keys(struct request *req)
{
	bool server = req->nl.role == HS_SERVER;
	struct requests *t = req->table;
	struct keys_answer a;
	enum asking next;
	int r;

	keys_answer(&a, &req->nl, req->id, server && req->identity ? req->identity : "",
		    t->keyrings, t->log);
	if (!server) {	/* for the report */
		free(req->identity);
		req->identity = a.msg.type == WIRE_PSK ? strdup(a.msg.psk.identity) : NULL;
	}
	next = a.msg.type == WIRE_KEY ? AT_KEEPER : ANSWERED;
	r = pool_tell(t->pool, req->pair, next == AT_KEEPER ? POOL_KEEPER : POOL_WORKER, &a.msg,
		      a.fd);
	if (r == 0) {
		req->denied = a.msg.type == WIRE_REFUSED;
		req->key = a.serial;
		req->certificate_fd = TAKE_FD(a.fd);
	}
	keys_clear(&a);
	sent(req, r, next);
}

static void answer_keeper(struct request *req)
{
	struct wire_message msg = { .type = WIRE_CERTIFICATE, .certificate.job = req->id };
	struct requests *t = req->table;
	int r;

	if (req->asking == REFUSAL_DUE) {
		msg.type = WIRE_REFUSED;
		msg.refused = *req->refused;
	} else {
		snprintf(msg.certificate.label, sizeof(msg.certificate.label),
			 "certificate 0x%08x", (unsigned int)req->nl.certificate);
	}
	r = pool_tell(t->pool, req->pair, POOL_WORKER, &msg,
		      msg.type == WIRE_CERTIFICATE ? req->certificate_fd : -1);
	sent(req, r, ANSWERED);
}

static void answer(struct request *req)
{
	/* Its worker is through with it, and the answer waits for delay_done. */
	if (!req->pair)
		return;
	/* Reading keys costs the more the more there are, and is done for all that wait at each job. */
	if (!pool_can_tell(req->pair))
		return;
	if (req->asking == KEYS_DUE)
		answer_keys(req);
	else if (req->asking == CERTIFICATE_DUE || req->asking == REFUSAL_DUE)
		answer_keeper(req);
}

static bool on_ask(struct request *req, const struct wire_ask *ask)
{
	bool by_identity = req->nl.auth == HS_AUTH_PSK && req->nl.role == HS_SERVER;

	if (req->asking != NOT_ASKED || !keys_needed(&req->nl) || by_identity != !!ask->identity[0])
		return false;
	if (by_identity && !(req->identity = strdup(ask->identity))) {
		request_fail(req, HS_BUSY, "out of memory");
		return true;
	}
	set_asking(req, KEYS_DUE);
	answer(req);
	return true;
}

static bool on_keeper(struct request *req, const struct wire_refused *refused)
{
	if (req->asking != AT_KEEPER)
		return false;
	if (refused && !(req->refused = malloc(sizeof(*refused)))) {
		request_fail(req, HS_BUSY, "out of memory");
		return true;
	}
	if (refused)
		*req->refused = *refused;
	set_asking(req, refused ? REFUSAL_DUE : CERTIFICATE_DUE);
	answer(req);
	return true;
}

enum pool_verdict requests_keys(struct requests *t, struct pair *pair,
				const struct wire_message *msg)
{
	uint64_t id = msg->type == WIRE_ASK ? msg->ask.job :
		      msg->type == WIRE_REFUSED ? msg->refused.job : msg->key_loaded;
	struct request *req = request_find(t, id);
	bool good;

	/* Answered before by deadline: nobody waits for it any more. */
	if (!req || req->delayed || req->over)
		return POOL_LATE;
	if (req->pair != pair)
		return POOL_VIOLATION;
	good = msg->type == WIRE_ASK ? on_ask(req, &msg->ask) :
	       on_keeper(req, msg->type == WIRE_REFUSED ? &msg->refused : NULL);
	return good ? POOL_FINE : POOL_VIOLATION;
}

void requests_answer_keys(struct requests *t)
{
	for (unsigned int i = 0; i < REQUESTS_MAX && t->n_due; i++) {
		if (t->slots[i])
			answer(t->slots[i]);
	}
}

bool request_has_keys(const struct request *req)
{
	if (!keys_needed(&req->nl))
		return true;
	if (req->nl.auth == HS_AUTH_PSK)
		return req->key != 0;
	return req->asking == ANSWERED && req->certificate_fd >= 0 && !req->refused;
}

void request_free_keys(struct request *req)
{
	set_asking(req, ANSWERED);
	req->certificate_fd = fd_close(req->certificate_fd);
	free(req->identity);
	free(req->refused);
}
