// SPDX-License-Identifier: GPL-2.0-or-later
/* What tlshd --probe leaves for the daemon. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/ktls.h"
#include "tlshd/monitor/probe.h"

/* The linker puts this in ktls_probe()'s place (--wrap). */
int __wrap_ktls_probe(uint32_t *ret_mask);
static int probe_error;

int __wrap_ktls_probe(uint32_t *ret_mask)
{
	if (!probe_error)
		*ret_mask = 1u << KTLS_AES_128_GCM;
	return probe_error;
}

static void test_round_trip(void)
{
	for (uint32_t mask = 0; mask < 1u << KTLS_N_CIPHERS; mask++) {
		uint32_t got = ~mask;
		char text[256];

		probe_format(mask, text, sizeof(text));
		g_assert_cmpint(probe_parse(text, &got), ==, 0);
		g_assert_cmphex(got, ==, mask);
		/* No beginning of it means anything: it is whole or nothing. */
		for (size_t len = strlen(text) - 1; len > 0; len--) {
			text[len] = '\0';
			g_assert_cmpint(probe_parse(text, &got), ==, -EBADMSG);
		}
	}
}

static void test_text(void)
{
	char text[256];

	probe_format(1u << KTLS_AES_128_GCM | 1u << KTLS_CHACHA20_POLY1305, text, sizeof(text));
	g_assert_cmpstr(text, ==, "ciphers=AES-128-GCM,CHACHA20-POLY1305\n");
	probe_format(0, text, sizeof(text));
	g_assert_cmpstr(text, ==, "ciphers=\n");
}

static void test_refused(gconstpointer text)
{
	uint32_t mask = 0;

	g_assert_cmpint(probe_parse(text, &mask), ==, -EBADMSG);
	g_assert_cmphex(mask, ==, 0);
}

struct place {
	char *dir, *file;
};

static void place_open(struct place *p, const char *content)
{
	p->dir = g_dir_make_tmp("tlshd-test-XXXXXX", NULL);
	g_assert_nonnull(p->dir);
	p->file = g_build_filename(p->dir, PROBE_FILE, NULL);
	if (content)
		g_assert_true(g_file_set_contents(p->file, content, -1, NULL));
	g_setenv("RUNTIME_DIRECTORY", p->dir, TRUE);
}

static void place_close(struct place *p)
{
	g_unsetenv("RUNTIME_DIRECTORY");
	g_unlink(p->file);
	g_assert_cmpint(g_rmdir(p->dir), ==, 0);
	g_free(p->file);
	g_free(p->dir);
	probe_error = 0;
}

/* The kernel itself is asked where it can be, whatever the file says. */
static void test_kernel_first(void)
{
	struct place p;
	uint32_t mask = 0;

	place_open(&p, "ciphers=CHACHA20-POLY1305\n");
	g_assert_cmpint(probe_ciphers(&mask), ==, 0);
	g_assert_cmphex(mask, ==, 1u << KTLS_AES_128_GCM);
	place_close(&p);
}

static void test_file(void)
{
	struct place p;
	uint32_t mask = 0;

	place_open(&p, "ciphers=CHACHA20-POLY1305\n");
	probe_error = -EAFNOSUPPORT;
	g_assert_cmpint(probe_ciphers(&mask), ==, 0);
	g_assert_cmphex(mask, ==, 1u << KTLS_CHACHA20_POLY1305);
	/* Any other failure is no reason to believe a file. */
	probe_error = -EMFILE;
	g_assert_cmpint(probe_ciphers(&mask), ==, -EMFILE);
	place_close(&p);
}

static void test_no_file(void)
{
	struct place p;
	uint32_t mask = 0;

	place_open(&p, NULL);
	probe_error = -EAFNOSUPPORT;
	g_assert_cmpint(probe_ciphers(&mask), ==, -ENOENT);
	place_close(&p);
	probe_error = -EAFNOSUPPORT;
	g_assert_cmpint(probe_ciphers(&mask), ==, -EAFNOSUPPORT);
	probe_error = 0;
}

/* A shortage must not pass for a kernel that lacks something: the unit gives up after that. */
static void test_shortage(void)
{
	static const int shortages[] = { ENOMEM, ENOBUFS, EMFILE, ENFILE, EAGAIN };
	static const struct log quiet = { .level = -1 };
	uint32_t mask = 0;
	struct place p;

	for (size_t i = 0; i < G_N_ELEMENTS(shortages); i++) {
		probe_error = -shortages[i];
		g_assert_true(probe_is_shortage(probe_error));
		g_assert_cmpint(probe_main(NULL, &quiet), ==, EX_TEMPFAIL);
	}
	probe_error = -ENETUNREACH;
	g_assert_false(probe_is_shortage(probe_error));
	g_assert_cmpint(probe_main(NULL, &quiet), ==, EX_OSERR);
	g_assert_false(probe_is_shortage(0));
	/* The daemon of the unit, which cannot try for itself, hears of it. */
	place_open(&p, NULL);
	probe_error = -ENOMEM;
	g_assert_cmpint(probe_main(p.file, &quiet), ==, EX_TEMPFAIL);
	probe_error = -EAFNOSUPPORT;
	g_assert_true(probe_is_shortage(probe_ciphers(&mask)));
	place_close(&p);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/probe/round-trip", test_round_trip);
	g_test_add_func("/probe/text", test_text);
	g_test_add_data_func("/probe/refused/empty", "", test_refused);
	g_test_add_data_func("/probe/refused/unknown", "ciphers=AES-512-GCM\n", test_refused);
	g_test_add_data_func("/probe/refused/part-of-a-name", "ciphers=AES\n", test_refused);
	g_test_add_data_func("/probe/refused/more", "ciphers=AES-128-GCM\nx", test_refused);
	g_test_add_data_func("/probe/refused/comma", "ciphers=,\n", test_refused);
	g_test_add_data_func("/probe/refused/other", "cipher=AES-128-GCM\n", test_refused);
	g_test_add_func("/probe/kernel-first", test_kernel_first);
	g_test_add_func("/probe/file", test_file);
	g_test_add_func("/probe/no-file", test_no_file);
	g_test_add_func("/probe/shortage", test_shortage);
	return g_test_run();
}
