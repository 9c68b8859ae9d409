/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The signatures that are due: one for each handshake that the monitor has told
 * of, with a configured key (WIRE_GRANT) or with one of the handshake's own, a key
 * of a keyring (WIRE_KEY). What a worker asks for besides is not signed.
 */
#ifndef TLSHD_KEEPER_GRANTS_H
#define TLSHD_KEEPER_GRANTS_H

#include <stdint.h>

#include "common/handshake.h"
#include "common/wire.h"
#include "tlshd/keeper/key.h"

#define GRANTS_MAX 16384	/* at once: the monitor has no more requests for all its workers */
/*
 * Keys of handshakes at once. They fill the locked memory; by default the monitor
 * has as many requests as this.
 */
#define GRANT_KEYS_MAX 4096
#define GRANT_BUCKETS 1024

struct grant;

/* All zeros: none. */
struct grants {
	struct grant *bucket[GRANT_BUCKETS];
	unsigned int n, n_keys;
	uint64_t n_unused;	/* that ended without a signature, less those asked for since */
};

/*
 * One signature for @job as @role with a configured key. Returns 0; -EEXIST: the
 * job has a grant; -ENOSPC or -ENOMEM: there is no room, and the job counts as
 * ended.
 */
int grants_add(struct grants *grants, uint64_t job, enum hs_role role);

/*
 * The same with the key in @what, when it belongs to the first certificate in
 * @cert_fd (a sealed memfd; stays the caller's). @what's copy is wiped as soon
 * as it is read; where it is not read, that is left to the caller. Returns 0;
 * -EEXIST: the job has a grant already, which stays; -EBADMSG: refused, with the
 * outcome in *@ret_outcome and a sentence in @reason.
 */
int grants_add_key(struct grants *grants, struct wire_key *what, int cert_fd,
		   enum hs_outcome *ret_outcome, char *reason, size_t reason_size);

enum grant_verdict {
	GRANT_GIVEN,	/* sign */
	/*
	 * It may be one of those that have ended: a deadline passes here while the
	 * worker asks there. No signature, and no harm. Not more often than there
	 * are such handshakes.
	 */
	GRANT_ENDED,
	GRANT_NEVER,	/* no worker that keeps the rules asks for this */
};

/*
 * Takes out what @request is for. With GRANT_GIVEN *@ret_key is the handshake's
 * own key, the caller's, or NULL: the configured one.
 */
enum grant_verdict grants_take(struct grants *grants, const struct wire_sign *request,
			       struct key **ret_key);

/* @job has ended, whether or not there is a grant. */
void grants_end(struct grants *grants, uint64_t job);

void grants_clear(struct grants *grants);

#endif
