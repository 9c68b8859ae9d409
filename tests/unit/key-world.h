/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys and keyrings of the running kernel, for tests. What is made here is gone
 * when the test ends, however it ends.
 */
#ifndef TLSHD_TESTS_KEY_WORLD_H
#define TLSHD_TESTS_KEY_WORLD_H

#include <glib.h>
#include <keyutils.h>
#include <stdbool.h>
#include <stdint.h>

#define STRANGER 54321u	/* a user id that is nobody's */

/*
 * A session keyring of this process's own, without links to others. Returns
 * false, and why, where keys cannot be made: not root, or no permission.
 */
bool key_world_open(const char **ret_why);

/* As g_test_add_func(); skips the test if there is a reason to. */
void add(const char *path, GTestFunc test, const char *why_not);

/*
 * A keyring that hangs somewhere else, as .nvme does, with its permissions: root
 * may link, search and write it, and this process does not possess it. @uid: who
 * makes it. Ends with the test program or key_world_drop().
 */
int32_t keyring_elsewhere(const char *name, uint32_t uid);
/* Takes that keyring away: nobody has it any more. */
void key_world_drop(int32_t keyring);

/* Adds a key of type "user"; of a permission such that only a possessor may read it. */
int32_t user_key(const char *description, const void *data, size_t len, int32_t keyring);
/* "tlshd-test-PID-N-@word", another at each call, to be freed. */
char *unique_name(const char *word);

/* Lines of /proc/keys: of the whole system, where others may add a few. */
unsigned int count_keys(void);
/* Once what was dropped is really gone, there are hardly more than @before. */
void assert_no_growth(unsigned int before);
/* The links in our process keyring. */
unsigned int count_links(void);
bool is_linked(int32_t keyring);

#endif
