/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many handshakes may be in flight, in all and with one peer address, and
 * what is said of those that may not: a line at once and then one a minute, for
 * whoever can make us refuse can do so a thousand times a second.
 */
#ifndef TLSHD_MONITOR_LIMITS_H
#define TLSHD_MONITOR_LIMITS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "common/log.h"

struct limits;

/* A handshake that may be counted: part of a request, all 0 at first. */
struct limits_entry {
	LIST_ENTRY(limits_entry) link;
	uint8_t address[16];	/* of its peer; IPv4 as ::ffff:a.b.c.d; all 0: none is known */
	bool counted;
};

/* No limits at first. Pointers are borrowed for its life. Returns 0 or a negative errno. */
int limits_new(struct limits **ret, sd_event *event, const struct log *log);
/* Says what was refused and not yet said. NULL is fine. */
void limits_free(struct limits *limits);

/* Handshakes in flight at once: in all, and with one address. */
void limits_set(struct limits *limits, unsigned int max, unsigned int max_per_peer);

/*
 * Counts one more, whose socket is @fd; @peer is its peer's address as text.
 * Returns false when a limit forbids it: that is noted for the log, or said, and
 * @entry is not counted. Needs no memory.
 */
bool limits_take(struct limits *limits, struct limits_entry *entry, int fd, const char *peer);
/* It is over. Fine for one that is not counted. */
void limits_give_back(struct limits *limits, struct limits_entry *entry);

DEFINE_CLEANUP(struct limits, limits_free);

#endif
