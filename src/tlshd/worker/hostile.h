/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests: what a worker does that is in a stranger's hands. Only with
 * -Dhostile_worker=true, which cannot be installed and says so at each start.
 */
#ifndef TLSHD_WORKER_HOSTILE_H
#define TLSHD_WORKER_HOSTILE_H

#include "common/handshake.h"
#include "common/log.h"

struct hostile {
	int monitor, keeper;	/* channels */
	const struct log *log;
};

/*
 * When the peer name of @job is "DEED.hostile.test", "DEED--ARGUMENT.hostile.test"
 * or "hostile DEED ARGUMENT" (which is no name, and so ends the handshake before it
 * begins), does that deed, after the handshake, which ended with @result, and
 * before that is sent. To @h->log goes "hostile DEED: MADE IT" or why it failed,
 * unless it does not come back.
 */
void hostile_act(const struct hostile *h, const struct hs_job *job, const struct hs_result *result);

#endif
