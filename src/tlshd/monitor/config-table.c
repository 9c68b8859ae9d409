// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The definition of the configuration. tests/style/config-docs reads the rows
 * of config_keys[] from this text and holds tlshd.conf(5) and etc/tlshd.conf
 * to them, so a row begins with { "group", "key", TYPE and stands alone.
 */
#include "tlshd/monitor/config-table.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "tlshd/monitor/config.h"

#define AT(field) offsetof(struct config, field)

const struct config_key config_keys[] = {
	{ "debug", "loglevel", CONFIG_LOG_LEVEL, AT(log_level), 0, 9, 0 },
	{ "debug", "tls", CONFIG_DEBUG, AT(tls_debug), 0, 9, 0 },
	{ "debug", "nl", CONFIG_DEBUG, AT(netlink_debug), 0, 7, 0 },
	{ "debug", "delay_done", CONFIG_NUMBER, AT(delay_done), 0, 3600, 0 },

	{ "daemon", "workers", CONFIG_NUMBER, AT(workers), 2, 64, CONFIG_DEFAULT_CPUS },
	{ "daemon", "max_handshakes", CONFIG_NUMBER, AT(max_handshakes), 16, 16384,
	  CONFIG_MAX_HANDSHAKES },
	{ "daemon", "max_handshakes_per_peer", CONFIG_NUMBER, AT(max_handshakes_per_peer),
	  16, 16384, 1024 },
	{ "daemon", "watch", CONFIG_NUMBER, AT(watch), 0, 1, 1 },

	{ "authenticate", "keyrings", CONFIG_LIST, AT(keyrings) },

	{ "authenticate.client", "x509.truststore", CONFIG_PATH_PUBLIC,
	  AT(role[HS_CLIENT].truststore) },
	{ "authenticate.client", "x509.crl", CONFIG_PATH_PUBLIC,
	  AT(role[HS_CLIENT].crl) },
	{ "authenticate.client", "x509.certificate", CONFIG_PATH_PUBLIC,
	  AT(role[HS_CLIENT].certificate[HS_IDENTITY_X509]) },
	{ "authenticate.client", "x509.private_key", CONFIG_PATH_PRIVATE,
	  AT(role[HS_CLIENT].private_key[HS_IDENTITY_X509]) },
	{ "authenticate.client", "x509.pq.certificate", CONFIG_PATH_PUBLIC,
	  AT(role[HS_CLIENT].certificate[HS_IDENTITY_X509_PQ]) },
	{ "authenticate.client", "x509.pq.private_key", CONFIG_PATH_PRIVATE,
	  AT(role[HS_CLIENT].private_key[HS_IDENTITY_X509_PQ]) },

	{ "authenticate.server", "x509.truststore", CONFIG_PATH_PUBLIC,
	  AT(role[HS_SERVER].truststore) },
	{ "authenticate.server", "x509.crl", CONFIG_PATH_PUBLIC,
	  AT(role[HS_SERVER].crl) },
	{ "authenticate.server", "x509.certificate", CONFIG_PATH_PUBLIC,
	  AT(role[HS_SERVER].certificate[HS_IDENTITY_X509]) },
	{ "authenticate.server", "x509.private_key", CONFIG_PATH_PRIVATE,
	  AT(role[HS_SERVER].private_key[HS_IDENTITY_X509]) },
	{ "authenticate.server", "x509.pq.certificate", CONFIG_PATH_PUBLIC,
	  AT(role[HS_SERVER].certificate[HS_IDENTITY_X509_PQ]) },
	{ "authenticate.server", "x509.pq.private_key", CONFIG_PATH_PRIVATE,
	  AT(role[HS_SERVER].private_key[HS_IDENTITY_X509_PQ]) },
};
const size_t config_n_keys = ARRAY_SIZE(config_keys);

const struct config_key *config_key_find(const char *group, const char *key)
{
	size_t i;

	for (i = 0; i < config_n_keys; i++)
		if (!strcmp(config_keys[i].group, group) && !strcmp(config_keys[i].key, key))
			return &config_keys[i];
	return NULL;
}

bool config_group_known(const char *group)
{
	size_t i;

	for (i = 0; i < config_n_keys; i++)
		if (!strcmp(config_keys[i].group, group))
			return true;
	return false;
}

/* Insertions, deletions and replacements between @a and @b, which are < CONFIG_NAME_MAX. */
static unsigned int edit_distance(const char *a, const char *b)
{
	unsigned int row[CONFIG_NAME_MAX], diagonal, above, best;
	size_t len = strlen(b), j;
	unsigned int i;

	for (j = 0; j <= len; j++)
		row[j] = (unsigned int)j;
	for (i = 1; a[i - 1]; i++) {
		diagonal = row[0];
		row[0] = i;
		for (j = 1; j <= len; j++) {
			above = row[j];
			best = diagonal + (g_ascii_tolower(a[i - 1]) != g_ascii_tolower(b[j - 1]));
			best = MIN(best, above + 1);
			row[j] = MIN(best, row[j - 1] + 1);
			diagonal = above;
		}
	}
	return row[len];
}

/*
 * How far @known is from the @given name: the lower, the likelier it was
 * meant; UINT_MAX: it was not. A known name with a part left out
 * ("certificate" for "x509.certificate") is near however long that part is.
 */
static unsigned int distance(const char *given, const char *known)
{
	unsigned int d;

	if (strlen(given) >= CONFIG_NAME_MAX)
		return UINT_MAX;
	d = edit_distance(given, known);
	if (d <= MAX(2, strlen(known) / 4) && d < strlen(known))
		return d;
	return strlen(given) >= 4 && strstr(known, given) ? d : UINT_MAX;
}

/* The groups that have exactly @key, "[a] or [b]"; "" when there is none. */
static void groups_with(const char *key, char *list, size_t size)
{
	size_t i, len = 0;
	int n;

	list[0] = '\0';
	for (i = 0; i < config_n_keys; i++) {
		if (strcmp(config_keys[i].key, key))
			continue;
		n = snprintf(list + len, size - len, "%s[%s]", len ? " or " : "",
			     config_keys[i].group);
		if (n < 0 || (size_t)n >= size - len)
			return;
		len += (size_t)n;
	}
}

void config_hint(const char *group, const char *key, char *hint, size_t size)
{
	const struct config_key *near = NULL;
	unsigned int d, best = UINT_MAX;
	char list[4 * CONFIG_NAME_MAX];
	size_t i;

	hint[0] = '\0';
	groups_with(key ? key : "", list, sizeof(list));
	if (list[0]) {
		snprintf(hint, size, " (it belongs in %s)", list);
		return;
	}
	for (i = 0; i < config_n_keys; i++) {
		d = key ? distance(key, config_keys[i].key) : distance(group, config_keys[i].group);
		/* At the same distance the key of the same group is the likelier one. */
		if (d < best ||
		    (near && d == best && !strcmp(config_keys[i].group, group))) {
			best = d;
			near = &config_keys[i];
		}
	}
	if (near && key)
		snprintf(hint, size, " (did you mean \"%s\" in [%s]?)", near->key, near->group);
	else if (near)
		snprintf(hint, size, " (did you mean [%s]?)", near->group);
}
