/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time that stands still, and random numbers that are the same each time. Needs -Wl,--wrap=time. */
#ifndef TLSHD_TESTS_FUZZ_STEADY_H
#define TLSHD_TESTS_FUZZ_STEADY_H

#include <stddef.h>
#include <stdint.h>

/* At the start of each run. */
void steady_reset(void);

/* Each end has numbers of its own: so ours are the same whether there is a peer or not. */
enum steady_stream { STEADY_OURS, STEADY_PEER, STEADY_N_STREAMS };

void steady_use(enum steady_stream which);

#endif
