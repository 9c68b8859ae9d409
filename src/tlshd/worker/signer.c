// SPDX-License-Identifier: GPL-2.0-or-later
#include "tlshd/worker/signer.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/channel.h"
#include "common/child.h"
#include "common/cleanup.h"
#include "common/event-loop.h"
#include "common/text.h"

/* A TPM takes a few hundred; less than any usual deadline, so that requests are answered at once. */
#define ANSWER_LIMIT_MS 4000
#define USEC_PER_MSEC UINT64_C(1000)

/* The answer to @job; one to an earlier request that we no longer wait for is passed over. */
static int receive(int channel, uint64_t job, struct wire_message *msg)
{
	uint64_t now = clock_now(), end = now + ANSWER_LIMIT_MS * USEC_PER_MSEC;

	for (; now < end; now = clock_now()) {
		CLEANUP_FD int stray = -1;
		uint64_t left = (end - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC;
		int r = channel_wait(channel, (int)left);

		if (!r)
			r = channel_recv(channel, msg, &stray);
		if (r == -EAGAIN)
			continue;
		if (r < 0)
			return r;
		if (msg->type != WIRE_SIGNED)
			return -EBADMSG;
		if (msg->signed_.job == job)
			return 0;
	}
	return -ETIMEDOUT;
}

int signer_sign(void *ctx, uint64_t job, enum hs_role role, enum hs_identity identity,
		const char *algorithm, const void *data, size_t len,
		void *signature, size_t size)
{
	const struct signer *signer = ctx;
	struct wire_message msg = {
		.type = WIRE_SIGN,
		.sign = { .job = job, .role = role, .identity = identity, .len = len },
	};
	int r;

	if (len > sizeof(msg.sign.data))
		return -EMSGSIZE;
	text_copy(msg.sign.algorithm, sizeof(msg.sign.algorithm), algorithm);
	memcpy(msg.sign.data, data, len);
	r = child_send(signer->keeper, &msg);
	if (!r)
		r = receive(signer->keeper, job, &msg);
	if (r == -ETIMEDOUT) {
		log_error(signer->log, "the keeper does not answer within %d s", ANSWER_LIMIT_MS / 1000);
		_exit(EX_TEMPFAIL);
	}
	if (r == -EPIPE || r == -ECONNRESET || r == -EBADMSG)
		_exit(EX_IOERR);
	if (r < 0)
		return r;
	if (msg.signed_.error)
		return -(int)msg.signed_.error;
	if (msg.signed_.len > size)
		return -EMSGSIZE;
	memcpy(signature, msg.signed_.signature, msg.signed_.len);
	return msg.signed_.len;
}
