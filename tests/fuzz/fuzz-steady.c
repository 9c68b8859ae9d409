// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Time that stands still and random numbers that are none. The library takes its
 * randomness from ChaCha20 of libnettle, by a function that the dynamic linker
 * finds here first; the cipher suite of that name has another one.
 */
#include <gnutls/gnutls.h>
#include <time.h>

#include "fixtures.h"
#include "fuzz-steady.h"

static uint64_t states[STEADY_N_STREAMS];
static enum steady_stream stream;

void nettle_chacha_crypt(void *ctx, size_t length, uint8_t *dst, const uint8_t *src);
time_t __wrap_time(time_t *t);

/* xorshift64*, G. Marsaglia and S. Vigna: any will do. */
static uint8_t next_byte(void)
{
	uint64_t *state = &states[stream];

	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint8_t)((*state * UINT64_C(2685821657736338717)) >> 56);
}

void nettle_chacha_crypt(void *ctx, size_t length, uint8_t *dst, const uint8_t *src)
{
	for (size_t i = 0; i < length; i++)
		dst[i] = src[i] ^ next_byte();
}

time_t __wrap_time(time_t *t)
{
	if (t)
		*t = FUZZ_TIME;
	return FUZZ_TIME;
}

static time_t library_time(time_t *t)
{
	return __wrap_time(t);
}

void steady_reset(void)
{
	for (unsigned int i = 0; i < STEADY_N_STREAMS; i++)
		states[i] = 0x5eed + i;
	stream = STEADY_OURS;
	gnutls_global_set_time_function(library_time);
}

void steady_use(enum steady_stream which)
{
	stream = which;
}
