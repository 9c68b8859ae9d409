/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Valid messages of every type, at random, and the two directions with checks. */
#ifndef TLSHD_TESTS_ANY_MESSAGE_H
#define TLSHD_TESTS_ANY_MESSAGE_H

#include <glib.h>

#include "common/wire.h"

/* Of the test, seeded by it. */
extern GRand *rng;

/* 0 to @end - 1. */
unsigned int below(unsigned int end);

/* A valid message of @type. All that is not a field of it is zero, so that memcmp() can compare. */
void any_message(enum wire_type type, struct wire_message *m);

/* Returns the length. @buf has WIRE_MAX bytes. */
size_t encode(const struct wire_message *m, uint8_t *buf);
/* From a buffer that ends where the message does, for the sanitizer to see a byte too many. */
int decode(const uint8_t *buf, size_t len, struct wire_message *ret);
void assert_refused(const uint8_t *buf, size_t len);

#endif
