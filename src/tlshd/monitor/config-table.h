/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which groups and keys a configuration file may have; for config.c and its tests. */
#ifndef TLSHD_MONITOR_CONFIG_TABLE_H
#define TLSHD_MONITOR_CONFIG_TABLE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define CONFIG_NAME_MAX 64	/* bytes of a name that is compared with known ones, NUL included */
#define CONFIG_DEFAULT_CPUS UINT_MAX	/* default: as many as CPUs, from the minimum to 8 */

enum config_type {
	CONFIG_NUMBER,		/* unsigned int, min to max */
	CONFIG_DEBUG,		/* the same, but above max means max: other agents allow more */
	CONFIG_LOG_LEVEL,	/* a CONFIG_DEBUG that is kept as int, a syslog priority */
	CONFIG_PATH_PUBLIC,	/* struct config_file, an absolute path */
	CONFIG_PATH_PRIVATE,	/* struct config_file, an absolute path or a URL */
	CONFIG_LIST,		/* char **, separated by ';' */
};

struct config_key {
	const char *group;
	const char *key;
	enum config_type type;
	size_t offset;			/* in struct config */
	unsigned int min, max, def;	/* numbers only */
};

extern const struct config_key config_keys[];
extern const size_t config_n_keys;

/* Returns NULL when there is no such key in @group. */
const struct config_key *config_key_find(const char *group, const char *key);

bool config_group_known(const char *group);

/*
 * Writes to @hint (@size bytes) what may have been meant by a @key that @group
 * does not have, as the end of a sentence (" (did you mean ...?)"), or "" when
 * nothing is near. With @key NULL it is @group that is not known.
 */
void config_hint(const char *group, const char *key, char *hint, size_t size);

#endif
