/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the sources of hostile-peers. */
#ifndef TLSHD_TESTS_HOSTILE_PEERS_H
#define TLSHD_TESTS_HOSTILE_PEERS_H

#include "hostile-conn.h"

/* A check: @fault is NULL, or says what is wrong. */
void say_result(const char *name, enum hs_role ours, const char *fault);

/* What follows, or comes together with, the Finished. */
void finished(struct world *w);

#endif
