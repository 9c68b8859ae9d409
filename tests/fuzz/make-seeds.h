/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of make-seeds share. */
#ifndef TLSHD_TESTS_FUZZ_MAKE_SEEDS_H
#define TLSHD_TESTS_FUZZ_MAKE_SEEDS_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

/* Writes an input of @fuzzer. */
void seed(const char *fuzzer, const char *name, const GByteArray *bytes);

/* As fuzz.h takes them. */
void put(GByteArray *to, const void *bytes, size_t len);
void put_u8(GByteArray *to, unsigned int value);
void put_u16(GByteArray *to, unsigned int value);

/* make-seeds-more.c: those that are sequences. */
void more_seeds(void);

#endif
