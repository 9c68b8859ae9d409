// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/event-loop.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <time.h>

#define SHORTAGE_RETRY_MS 10

uint64_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

int event_loop(sd_event *event)
{
	int code = 0, r;

	while (sd_event_get_state(event) != SD_EVENT_FINISHED) {
		r = sd_event_run(event, UINT64_MAX);
		/* Nothing is lost by that: what was ready still is, and timers are looked at anew. */
		if (r == -ENOMEM || r == -ENOBUFS)
			poll(NULL, 0, SHORTAGE_RETRY_MS);
		else if (r < 0)
			return r;
	}
	r = sd_event_get_exit_code(event, &code);
	return r < 0 ? r : code;
}
