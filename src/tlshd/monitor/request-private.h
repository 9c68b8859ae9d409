/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What request.c (the life of a request) and request-keys.c (what its handshake
 * asks for meanwhile) know of each other. Nobody else includes it.
 */
#ifndef TLSHD_MONITOR_REQUEST_PRIVATE_H
#define TLSHD_MONITOR_REQUEST_PRIVATE_H

#include "common/wire.h"
#include "tlshd/monitor/limits.h"
#include "tlshd/monitor/request.h"

/*
 * Where a handshake is with the keys it asks for. The _DUE states are those of
 * a message that is still to be sent, where there was no room for it.
 */
enum asking {
	NOT_ASKED,
	KEYS_DUE,		/* are to be read and sent: the PSK, or to the keeper */
	AT_KEEPER,		/* it has the private key and is to say whether it is good */
	CERTIFICATE_DUE,	/* it is: the worker is to be told */
	REFUSAL_DUE,		/* it is not */
	ANSWERED,
};

/* What can be short; each is complained of by itself. */
enum shortage {
	SHORT_OF_MEMORY,
	SHORT_OF_DESCRIPTORS,
	SHORT_OF_KERNEL_MEMORY,
	SHORT_OF_QUOTA,
	N_SHORTAGES,
};

struct request {
	struct requests *table;
	struct request *next_waiting;	/* not given to a worker yet; oldest first */
	uint64_t id;
	struct netlink_request nl;
	struct pair *pair;		/* who works on it; NULL: waiting, or answered by its worker */
	uint64_t accepted;		/* CLOCK_MONOTONIC, us, by the event loop */
	uint64_t taken;			/* the same by the clock, not sooner than that */
	uint32_t timeout_ms;
	sd_event_source *timer;		/* the deadline; the wait before DONE, or the next try of it */
	struct hs_result *delayed;	/* the result that waits for delay_done */
	struct limits_entry limits;
	bool over;			/* it has its outcome: what its worker says now is late */
	bool unanswered;		/* ... but the answer had to wait */
	unsigned int status;		/* which is this, and */
	uint32_t remote_auth;
	enum asking asking;
	char *identity;			/* of the PSK: what the client offered or we do; or NULL */
	int32_t key;			/* the PSK it was given, 0: none */
	int certificate_fd;		/* while the keeper has the private key; or -1 */
	struct wire_refused *refused;	/* by the keeper */
	bool denied;			/* its worker was told that we have no keys for it */
	char peer[HS_ADDR_MAX];
};

struct requests {
	sd_event *event;
	const struct log *log;
	struct netlink *netlink;
	struct pool *pool;
	struct request *slots[REQUESTS_MAX];
	struct request *waiting, **waiting_end;
	sd_event_source *resume;	/* ACCEPT again: there was no room or no memory before */
	const char *const *keyrings;
	struct limits *limits;
	bool open;			/* nobody has called requests_close() */
	bool paused;			/* until what else there is to do has had its turn */
	unsigned int count, room, delay_done;
	unsigned int n_linked;		/* requests whose ACCEPT may have linked a keyring */
	unsigned int n_due;		/* requests in a _DUE state */
	unsigned int next_slot;
	int spare_fd;			/* to see by whether another descriptor is to be had */
	uint64_t complained[N_SHORTAGES];	/* when last, CLOCK_MONOTONIC, us; 0: not yet */
	uint64_t n_ok, n_failed;
};

/* request.c */

/* NULL: none, or one that has been answered. */
struct request *request_find(const struct requests *requests, uint64_t id);
/* Ends a request for a reason of ours. */
void request_fail(struct request *req, enum hs_outcome outcome, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* request-short.c */

/* Says what is short and what happens meanwhile: not for each handshake. */
void requests_complain(struct requests *requests, enum shortage what);

/* request-keys.c */

/* Sends what there was no room for before. */
void requests_answer_keys(struct requests *requests);
/* Has its handshake got the keys without which it cannot succeed? */
bool request_has_keys(const struct request *req);
/* Releases what it holds about keys. */
void request_free_keys(struct request *req);

#endif
