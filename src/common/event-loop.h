/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TLSHD_COMMON_EVENT_LOOP_H
#define TLSHD_COMMON_EVENT_LOOP_H

#include <stdint.h>
#include <systemd/sd-event.h>

/*
 * sd_event_loop(), which a moment without memory does not end: it goes on after
 * 10 ms. Returns the exit code or a negative errno.
 */
int event_loop(sd_event *event);

/*
 * CLOCK_MONOTONIC in us, as it is now. sd_event_now() is when this turn of the
 * loop began: on a busy host, or with much done in it, long ago.
 */
uint64_t clock_now(void);

#endif
