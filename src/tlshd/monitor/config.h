/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration: an INI file, read once into an object that never changes
 * afterwards; a reload makes a new one. tlshd.conf(5) is its manual, the table
 * in config-table.c its definition.
 */
#ifndef TLSHD_MONITOR_CONFIG_H
#define TLSHD_MONITOR_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "common/cleanup.h"
#include "common/handshake.h"
#include "common/log.h"

#define CONFIG_MAX_HANDSHAKES 4096	/* in flight at once, where nothing is configured */
#define CONFIG_PATH "tlshd.conf"	/* below SYSCONFDIR, mostly /etc */
#define CONFIG_PATH_COMPAT "tlshd/config"

/* A file (or URL) and the line that named it. */
struct config_file {
	char *path;	/* NULL: not set */
	unsigned int line;
};

struct config_role {
	struct config_file truststore;	/* not set: the system's */
	struct config_file crl;
	struct config_file certificate[HS_N_IDENTITIES];
	struct config_file private_key[HS_N_IDENTITIES];	/* or URL: config_is_url() */
};

struct config {
	char *path;			/* of the file itself; NULL: none, all defaults */
	char *digest;			/* of its content; NULL: none */
	bool empty;			/* it has a path, and not a byte of content */
	int log_level;			/* syslog priority: LOG_INFO or LOG_DEBUG */
	unsigned int tls_debug;		/* GnuTLS's debug level, 0 to 9 */
	unsigned int netlink_debug;	/* libnl's debug level, 0 to 7 */
	unsigned int delay_done;	/* seconds from result to DONE; for tests */
	char **keyrings;		/* NULL-terminated; may be empty; never NULL */
	unsigned int workers;		/* 2 to 64 */
	unsigned int max_handshakes;	/* in flight at once, 16 to 16384 */
	unsigned int max_handshakes_per_peer;	/* ... with one address, 16 to 16384 */
	unsigned int watch;		/* 1: a change of the files is a reload */
	struct config_role role[HS_N_ROLES];
};

/*
 * Reads @path; NULL: SYSCONFDIR/tlshd.conf, else SYSCONFDIR/tlshd/config, else
 * no file and all defaults (said once at LOG_NOTICE). A named file that does
 * not exist is an error. Unknown groups and keys are warned of on @log with
 * file:line and the nearest known name; a bad value, a certificate without its
 * key (or the reverse) or a line that is none is an error: "file:line: what is
 * wrong, what would be right" in @reason. Returns 0 or a negative errno.
 */
int config_load(struct config **ret, const char *path, const struct log *log,
		char *reason, size_t reason_size);

/* The same from memory; @name stands for the path in messages. For tests and fuzzers. */
int config_parse(struct config **ret, const char *text, size_t len, const char *name,
		 const struct log *log, char *reason, size_t reason_size);

/* Are both what the same file says, with the same content? */
bool config_same(const struct config *a, const struct config *b);

/* NULL is fine. */
void config_free(struct config *config);

/* Is this private key a URL for the TLS library (pkcs11:, tpmkey:, system:) rather than a path? */
int config_is_url(const char *path);

DEFINE_CLEANUP(struct config, config_free);

#endif
