/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files a configuration names, opened once: what the workers and keepers
 * of one generation are given, and those that replace them. The monitor reads
 * no private key; it hands the descriptor on.
 */
#ifndef TLSHD_MONITOR_MATERIAL_H
#define TLSHD_MONITOR_MATERIAL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/cleanup.h"
#include "common/wire.h"
#include "tlshd/monitor/config.h"

struct material;

/*
 * Opens every file of @config; all but private keys are copied to sealed
 * memory, so that later changes to the files do not reach this generation.
 * Returns 0, or a negative errno with "conf:line: ..." in @reason.
 */
int material_open(struct material **ret, const struct config *config,
		  char *reason, size_t reason_size);
/* For one more owner, who calls material_free(), too. Returns @material. */
struct material *material_ref(struct material *material);
/* NULL is fine. */
void material_free(struct material *material);

/*
 * Would the same be loaded from both? Compares what is configured, the content
 * of what was copied, and the inodes and dates of private keys. A key whose
 * dates could not show another change is never the same.
 */
bool material_same(const struct material *a, const struct material *b);
/* Is there nothing that tells them apart? So are two whose keys' dates could not show a change. */
bool material_may_be_same(const struct material *a, const struct material *b);

enum material_receiver {
	MATERIAL_WORKER,	/* everything but private keys */
	MATERIAL_KEEPER,	/* private keys, and the certificates they belong to */
};

/* Sends one WIRE_FILE for each file @receiver gets. Returns 0 or channel_send()'s errors. */
int material_send(const struct material *material, enum material_receiver receiver, int channel);

DEFINE_CLEANUP(struct material, material_free);

#endif
