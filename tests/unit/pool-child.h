/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The children of pool-world.h: how they start and what they do with a job is said there. */
#ifndef TLSHD_TESTS_POOL_CHILD_H
#define TLSHD_TESTS_POOL_CHILD_H

#include "pool-world.h"

#define POOL_CHILD_NO_ID 0x7fffffff	/* a job nobody gave */

/* The whole life of a child, in its process. The descriptors are as spawn_child() gets them. */
_Noreturn void pool_child(enum child_kind kind, enum start start, int monitor_fd, int peer_fd);

#endif
