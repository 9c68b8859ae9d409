// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-NAME DIRECTORY|FILE...: runs the target once over each file, without
 * libFuzzer. TAP: one point for each argument. A finding ends the program; the
 * last line says with which file, and that file alone as the argument repeats it.
 */
#include <stdio.h>

#include "fuzz.h"

/* Returns whether it could be read. */
static bool run_file(const char *path)
{
	g_autofree char *text = NULL;
	g_autofree uint8_t *copy = NULL;
	gsize size;

	if (!g_file_get_contents(path, &text, &size, NULL)) {
		printf("# %s cannot be read\n", path);
		return false;
	}
	printf("# %s\n", path);
	fflush(stdout);
	copy = exact_copy(text, size);
	g_assert_cmpint(LLVMFuzzerTestOneInput(copy, size), ==, 0);
	return true;
}

/* Returns how many were run, or -1. */
static int run_directory(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;
	int n = 0;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *file = g_build_filename(path, name, NULL);

		if (!run_file(file))
			return -1;
		n++;
	}
	return n;
}

int main(int argc, char **argv)
{
	int bad = 0;

	printf("1..%d\n", argc - 1);
	for (int i = 1; i < argc; i++) {
		bool dir = g_file_test(argv[i], G_FILE_TEST_IS_DIR);
		int n = dir ? run_directory(argv[i]) : run_file(argv[i]) ? 1 : -1;

		bad += n <= 0;
		printf("%s %d - %s: inputs run: %d\n", n > 0 ? "ok" : "not ok", i, argv[i], MAX(n, 0));
	}
	return bad > 0;
}
