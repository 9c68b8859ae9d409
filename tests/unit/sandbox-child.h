/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A sandbox cannot be left, so each thing is tried by a child of its own: it opens what
 * it needs, enters, tries, and ends.
 */
#ifndef TESTS_SANDBOX_CHILD_H
#define TESTS_SANDBOX_CHILD_H

#include "common/sandbox.h"
#include "sandbox-attempts.h"

#define CAME_BACK 77	/* the child's status */
#define SET_UP_FAILED 99
#define NOBODY SANDBOX_N_ROLES	/* without a sandbox */

/*
 * Calls @fn in such a child. Returns its status, as waitpid() has it: where it ended by itself
 * CAME_BACK, or the errno with which @fn failed (CAME_BACK for NOBODY), or SET_UP_FAILED. What
 * -Dsandbox=trap told of it is in @told, "" for nothing; NULL where that is not asked for.
 */
int run(enum sandbox_role role, long (*fn)(const struct have *h), char *told, size_t size);

/* Such a status, for people. To be freed. */
char *status_text(int status);

#endif
