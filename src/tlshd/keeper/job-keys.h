/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The private keys that requests name themselves (keys of a keyring). Each is
 * for one job and for one signature.
 */
#ifndef TLSHD_KEEPER_JOB_KEYS_H
#define TLSHD_KEEPER_JOB_KEYS_H

#include <stdint.h>

#include "common/handshake.h"
#include "common/wire.h"
#include "tlshd/keeper/key.h"

/*
 * At once. The monitor sends no more than max_handshakes to all its workers, by
 * default as many as this; it is here so that jobs it forgets to cancel are
 * found, and do not fill the locked memory.
 */
#define JOB_KEYS_MAX 4096

struct job_keys {
	struct job_key *first;
	unsigned int n;
};

/*
 * Keeps the key in @what for its job, when it belongs to the first certificate
 * in @cert_fd (a sealed memfd; stays the caller's). @what's copy is wiped as soon
 * as it is read; where it is not read, that is left to the caller. Returns 0;
 * -EEXIST: the job has one already, which stays; -EBADMSG: refused, with the
 * outcome in *@ret_outcome and a sentence in @reason.
 */
int job_keys_load(struct job_keys *keys, struct wire_key *what, int cert_fd,
		  enum hs_outcome *ret_outcome, char *reason, size_t reason_size);

/* Takes the key of @job out; the caller's. NULL: there is none, or it is for another role and stays. */
struct key *job_keys_take(struct job_keys *keys, uint64_t job, enum hs_role role);

/* Nothing happens when there is none. */
void job_keys_forget(struct job_keys *keys, uint64_t job);

void job_keys_clear(struct job_keys *keys);

#endif
