/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TLSHD_COMMON_EVENT_LOOP_H
#define TLSHD_COMMON_EVENT_LOOP_H

#include <systemd/sd-event.h>

/*
 * sd_event_loop(), which a moment without memory does not end: it goes on after
 * 10 ms. Returns the exit code or a negative errno.
 */
int event_loop(sd_event *event);

#endif
