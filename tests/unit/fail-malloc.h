/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * malloc() and its kin in place of libc's, for all libraries of the program: a
 * chosen call fails. To be tried for each n until fail_malloc_end() says that
 * there were less than n.
 */
#ifndef TLSHD_TESTS_FAIL_MALLOC_H
#define TLSHD_TESTS_FAIL_MALLOC_H

#include <stdbool.h>

enum fail_malloc {
	FAIL_ONCE,	/* only that call */
	FAIL_FROM,	/* that one and all after it */
};

/* From now on the @n-th call (from 1) fails; 0: none, they are only counted. */
void fail_malloc_begin(unsigned long n, enum fail_malloc how);
/* None fails any more. Returns whether one has. */
bool fail_malloc_end(void);
/* Calls between begin and end. */
unsigned long fail_malloc_calls(void);
/* Between these the caller's own calls neither fail nor count. May be nested. */
void fail_malloc_pause(void);
void fail_malloc_go_on(void);

#endif
