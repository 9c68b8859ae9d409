/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The privileged process: talks to the kernel and to its children, answers
 * every request, writes the log. It never reads a byte that came from the
 * network and never holds a private key of a file.
 */
#ifndef TLSHD_MONITOR_MONITOR_H
#define TLSHD_MONITOR_MONITOR_H

#include <stdbool.h>

#include "common/log.h"

struct monitor_options {
	const char *config_path;	/* NULL: the default places */
	bool wait;			/* stay when the kernel has no handshake upcall yet */
	bool test_config;		/* load everything, say whether it is right, end */
};

/*
 * Runs until SIGTERM or SIGINT. @log is ours to change (its level follows the
 * configuration). Returns the exit status, one of sysexits.h.
 */
int monitor_run(const struct monitor_options *options, struct log *log);

#endif
