// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keys are read at the moment a handshake needs them and sent off at once, so
 * that a key added, replaced or revoked a second ago counts, and none stays
 * here. All memory of this process is locked.
 */
#include "tlshd/monitor/keys.h"

#include <string.h>

#include "common/text.h"
#include "tlshd/monitor/identity.h"
#include "tlshd/monitor/psk.h"

static void refuse(struct wire_message *msg, uint64_t job, enum hs_outcome outcome,
		   const char *reason)
{
	msg->type = WIRE_REFUSED;
	msg->refused.job = job;
	msg->refused.outcome = outcome;
	text_copy(msg->refused.reason, sizeof(msg->refused.reason), reason);
}

static void answer_psk(struct keys_answer *ret, const struct netlink_request *nl, uint64_t job,
		       const char *identity, const char *const *keyrings, const struct log *log)
{
	struct wire_message *msg = &ret->msg;
	char reason[HS_TEXT_MAX] = "";
	struct psk psk = { 0 };
	enum hs_outcome outcome;

	if (nl->role == HS_CLIENT)
		outcome = psk_choose(&psk, nl->peer_ids, nl->n_peer_ids, keyrings, log, reason,
				     sizeof(reason));
	else
		outcome = psk_find(&psk, identity, nl->keyring, keyrings, reason, sizeof(reason));
	if (outcome != HS_OK) {
		refuse(msg, job, outcome, reason);
		return;
	}
	msg->type = WIRE_PSK;
	msg->psk.job = job;
	msg->psk.hash = psk.hash;
	text_copy(msg->psk.identity, sizeof(msg->psk.identity), psk.identity);
	memcpy(msg->psk.key, psk.key->data, psk.key->len);
	msg->psk.len = psk.key->len;
	ret->serial = psk.serial;
	psk_clear(&psk);
}

static void answer_identity(struct keys_answer *ret, const struct netlink_request *nl,
			    uint64_t job, const char *const *keyrings)
{
	struct wire_key *key = &ret->msg.key;
	char reason[HS_TEXT_MAX] = "";
	struct own_identity own;
	enum hs_outcome outcome;

	outcome = own_identity_read(&own, nl->certificate, nl->private_key, nl->keyring, keyrings,
				    reason, sizeof(reason));
	if (outcome != HS_OK) {
		refuse(&ret->msg, job, outcome, reason);
		return;
	}
	ret->msg.type = WIRE_KEY;
	key->job = job;
	key->role = nl->role;
	text_copy(key->label, sizeof(key->label), own.private_key_label);
	text_copy(key->certificate_label, sizeof(key->certificate_label), own.certificate_label);
	memcpy(key->data, own.private_key->data, own.private_key->len);
	key->len = own.private_key->len;
	ret->fd = TAKE_FD(own.certificate_fd);
	own_identity_clear(&own);
}

void keys_answer(struct keys_answer *ret, const struct netlink_request *nl, uint64_t job,
		 const char *identity, const char *const *keyrings, const struct log *log)
{
	memset(ret, 0, sizeof(*ret));
	ret->fd = -1;
	if (nl->auth == HS_AUTH_PSK)
		answer_psk(ret, nl, job, identity, keyrings, log);
	else
		answer_identity(ret, nl, job, keyrings);
}

void keys_clear(struct keys_answer *answer)
{
	explicit_bzero(&answer->msg, sizeof(answer->msg));
	answer->fd = fd_close(answer->fd);
}
