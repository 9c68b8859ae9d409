// SPDX-License-Identifier: GPL-2.0-or-later
#include "tlshd/monitor/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/handshake.h"
#include "common/text.h"

#define SAID_EVERY UINT64_C(60000000)	/* us */
#define N_BUCKETS 1024			/* of addresses */

LIST_HEAD(bucket, limits_entry);

/* One limit, and what it has refused. */
struct limit {
	const char *name;		/* in the configuration */
	unsigned int max;
	uint64_t n_unsaid;		/* refused since the last line */
	bool saying;			/* there was a line within the last minute */
	char last[HS_ADDR_MAX];		/* the last peer that was refused */
};

enum { IN_ALL, PER_PEER, N_LIMITS };

struct limits {
	const struct log *log;
	sd_event_source *minute;
	struct limit limit[N_LIMITS];
	unsigned int count;
	struct bucket buckets[N_BUCKETS];
};

static void say(struct limits *l, struct limit *limit)
{
	if (limit->n_unsaid == 1 && !limit->saying)
		log_warn(l->log, "the handshake with %s was refused: %u %sare in progress, as many as %s allows; its consumer may try again; further refusals are counted and said once a minute",
			 limit->last, limit->max,
			 limit == &l->limit[PER_PEER] ? "with this peer " : "", limit->name);
	else
		log_warn(l->log, "handshakes refused within the last minute: %" PRIu64 ", the last with %s; %s allows no more than %u at once",
			 limit->n_unsaid, limit->last, limit->name, limit->max);
	limit->n_unsaid = 0;
}

static int on_minute(sd_event_source *source, uint64_t usec, void *ctx)
{
	struct limits *l = ctx;
	bool again = false;

	for (unsigned int i = 0; i < N_LIMITS; i++) {
		struct limit *limit = &l->limit[i];

		limit->saying = limit->n_unsaid > 0;
		if (limit->saying)
			say(l, limit);
		again |= limit->saying;
	}
	sd_event_source_set_time_relative(l->minute, SAID_EVERY);
	sd_event_source_set_enabled(l->minute, again ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
	return 0;
}

int limits_new(struct limits **ret, sd_event *event, const struct log *log)
{
	CLEANUP(limits_freep) struct limits *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->log = log;
	l->limit[IN_ALL] = (struct limit){ .name = "max_handshakes", .max = UINT_MAX };
	l->limit[PER_PEER] = (struct limit){ .name = "max_handshakes_per_peer", .max = UINT_MAX };
	r = sd_event_add_time(event, &l->minute, CLOCK_MONOTONIC, 0, 0, on_minute, l);
	if (r >= 0)
		r = sd_event_source_set_enabled(l->minute, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(l);
	return 0;
}

void limits_free(struct limits *l)
{
	if (!l)
		return;
	for (unsigned int i = 0; i < N_LIMITS; i++) {
		if (l->limit[i].n_unsaid)
			say(l, &l->limit[i]);
	}
	sd_event_source_disable_unref(l->minute);
	free(l);
}

void limits_set(struct limits *l, unsigned int max, unsigned int max_per_peer)
{
	l->limit[IN_ALL].max = max;
	l->limit[PER_PEER].max = max_per_peer;
}

static void learn_address(uint8_t address[16], int fd)
{
	union address a;

	memset(address, 0, 16);
	address_of_peer(fd, &a);
	if (a.any.sa_family == AF_INET6) {
		memcpy(address, &a.in6.sin6_addr, 16);
	} else if (a.any.sa_family == AF_INET) {
		memset(address + 10, 0xff, 2);
		memcpy(address + 12, &a.in.sin_addr, 4);
	}
}

/*
 * Who chooses addresses so that they meet in one bucket has to have that many,
 * and makes us compare no more than are in flight.
 */
static struct bucket *bucket_of(struct limits *l, const uint8_t address[16])
{
	uint32_t hash = 2166136261u;	/* FNV-1a */

	for (unsigned int i = 0; i < 16; i++)
		hash = (hash ^ address[i]) * 16777619u;
	return &l->buckets[hash % N_BUCKETS];
}

static unsigned int count_peer(const struct bucket *bucket, const uint8_t address[16])
{
	const struct limits_entry *e;
	unsigned int n = 0;

	LIST_FOREACH(e, bucket, link)
		n += !memcmp(e->address, address, sizeof(e->address));
	return n;
}

static void refuse(struct limits *l, struct limit *limit, const char *peer)
{
	text_copy(limit->last, sizeof(limit->last), peer);
	limit->n_unsaid++;
	if (limit->saying)
		return;
	say(l, limit);
	limit->saying = true;
	/* The other limit may have begun the minute: then the two share it. */
	if (l->limit[IN_ALL].saying && l->limit[PER_PEER].saying)
		return;
	sd_event_source_set_time_relative(l->minute, SAID_EVERY);
	sd_event_source_set_enabled(l->minute, SD_EVENT_ONESHOT);
}

bool limits_take(struct limits *l, struct limits_entry *entry, int fd, const char *peer)
{
	struct bucket *bucket;

	learn_address(entry->address, fd);
	bucket = bucket_of(l, entry->address);
	if (l->count >= l->limit[IN_ALL].max) {
		refuse(l, &l->limit[IN_ALL], peer);
		return false;
	}
	if (count_peer(bucket, entry->address) >= l->limit[PER_PEER].max) {
		refuse(l, &l->limit[PER_PEER], peer);
		return false;
	}
	LIST_INSERT_HEAD(bucket, entry, link);
	entry->counted = true;
	l->count++;
	return true;
}

void limits_give_back(struct limits *l, struct limits_entry *entry)
{
	if (!entry->counted)
		return;
	LIST_REMOVE(entry, link);
	entry->counted = false;
	l->count--;
}
