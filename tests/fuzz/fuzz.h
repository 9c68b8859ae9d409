/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzzers share. Each fuzz-NAME.c has one LLVMFuzzerTestOneInput(); it
 * is built with libFuzzer (-Dfuzz=true, clang), which makes inputs, or with
 * run-corpus.c, which runs over those that are kept in corpus/NAME.
 *
 * A target ends the program (g_assert()) when a promise of a header is broken,
 * not only when memory is: most faults of a parser are wrong answers.
 */
#ifndef TLSHD_TESTS_FUZZ_H
#define TLSHD_TESTS_FUZZ_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes of an input that were not used yet. What is read beyond the end is 0. */
struct input {
	const uint8_t *at;
	size_t left;
};

static inline uint8_t take_u8(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

static inline uint16_t take_u16(struct input *in)
{
	uint16_t low = take_u8(in);

	return (uint16_t)(low | take_u8(in) << 8);
}

/* @len bytes, or those that are left; *@ret_len says how many. */
static inline const uint8_t *take_bytes(struct input *in, size_t len, size_t *ret_len)
{
	const uint8_t *at = in->at;

	*ret_len = len < in->left ? len : in->left;
	in->at += *ret_len;
	in->left -= *ret_len;
	return at;
}

/* Is it one line of valid UTF-8 that neither moves the cursor nor turns the text around? */
void check_line(const char *text, size_t size);

/* A log for the program under test: every message must pass check_line(). */
extern const struct log fuzz_log;

/*
 * A copy of @data that ends where its memory does, so that reading one byte
 * too much is seen; to be g_free()d. Not NULL, whatever @size.
 */
void *exact_copy(const void *data, size_t size);

/* Sends @bytes, and a duplicate of @fd (-1: none), over a channel; what does not fit is lost. */
void say_bytes(int end, const void *bytes, size_t len, int fd);

#endif
