/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asks the keeper for signatures. */
#ifndef TLSHD_WORKER_SIGNER_H
#define TLSHD_WORKER_SIGNER_H

#include <stddef.h>
#include <stdint.h>

#include "common/handshake.h"
#include "common/log.h"

struct signer {
	int keeper;		/* channel */
	const struct log *log;	/* borrowed */
};

/*
 * An engine_sign_fn; @ctx is a struct signer. Blocks until
 * the answer is there: the library cannot go on with another handshake
 * meanwhile, and each worker has a keeper of its own, so nobody else waits.
 * Ends the process when the keeper has gone or does not answer within 4 s: its
 * monitor then answers all our requests as interrupted instead of as failed, and
 * replaces us both.
 */
int signer_sign(void *ctx, uint64_t job, enum hs_role role, enum hs_identity identity,
		const char *algorithm, const void *data, size_t len,
		void *signature, size_t size);

#endif
