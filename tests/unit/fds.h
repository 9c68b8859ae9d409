/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors of this process: a test that ends with as many as it began with has lost none. */
#ifndef TLSHD_TESTS_FDS_H
#define TLSHD_TESTS_FDS_H

#include <dirent.h>
#include <glib.h>

/* Entries of the directory, which are three more than descriptors: what counts is the difference. */
static inline unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	g_assert_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

#endif
