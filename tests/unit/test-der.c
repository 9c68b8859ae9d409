// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <string.h>

#include "common/der.h"

#define BYTES(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

static void test_sizes(void)
{
	static uint8_t big[70000];

	g_assert_cmpuint(der_sequence_size(BYTES(0x30, 0)), ==, 2);
	g_assert_cmpuint(der_sequence_size(BYTES(0x30, 1, 5)), ==, 3);
	g_assert_cmpuint(der_sequence_size(BYTES(0x30, 1, 5, 0x30, 0)), ==, 3);
	g_assert_cmpuint(der_sequence_size(BYTES(0x30, 0x81, 1, 5)), ==, 4);
	memcpy(big, "\x30\x83\x01\x00\x00", 5);
	g_assert_cmpuint(der_sequence_size(big, sizeof(big)), ==, 5 + 0x10000);
	g_assert_cmpuint(der_sequence_size(big, 5 + 0x10000), ==, 5 + 0x10000);
	g_assert_cmpuint(der_sequence_size(big, 5 + 0xffff), ==, 0);
}

static void test_none(void)
{
	g_assert_cmpuint(der_sequence_size(NULL, 0), ==, 0);
	g_assert_cmpuint(der_sequence_size(BYTES(0x30)), ==, 0);
	g_assert_cmpuint(der_sequence_size(BYTES(0x31, 0)), ==, 0);
	g_assert_cmpuint(der_sequence_size(BYTES(0x30, 2, 5)), ==, 0);
	g_assert_cmpuint(der_sequence_size(BYTES(0x30, 0x80, 5, 0, 0)), ==, 0);
	g_assert_cmpuint(der_sequence_size(BYTES(0x30, 0x82, 1)), ==, 0);
	g_assert_cmpuint(der_sequence_size(BYTES(0x30, 0x85, 0, 0, 0, 0, 1, 5)), ==, 0);
	g_assert_cmpuint(der_sequence_size(BYTES(0x30, 0x84, 0xff, 0xff, 0xff, 0xff)), ==, 0);
	g_assert_cmpuint(der_sequence_size(BYTES(0x30, 0xff, 0xff, 0xff, 0xff)), ==, 0);
}

static void test_random(void)
{
	g_autoptr(GRand) rng = g_rand_new_with_seed(20231123);

	for (unsigned int i = 0; i < 200000; i++) {
		size_t len = (size_t)g_rand_int_range(rng, 0, 20), size;
		g_autofree uint8_t *exact = g_malloc(len + 1);

		for (size_t j = 0; j < len; j++)
			exact[j] = (uint8_t)g_rand_int_range(rng, 0, 256);
		if (len)
			exact[0] = 0x30;
		if (len > 1 && i % 2)
			exact[1] = (uint8_t)(0x80 | i / 2 % 6);
		size = der_sequence_size(exact, len);
		g_assert_true(size == 0 || (size >= 2 && size <= len));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/der/sizes", test_sizes);
	g_test_add_func("/der/none", test_none);
	g_test_add_func("/der/random", test_random);
	return g_test_run();
}
