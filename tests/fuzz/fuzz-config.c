// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The configuration file: what is refused has a reason that names the file,
 * what is accepted is within the limits of config.h, and the same twice.
 */
#include "fuzz.h"
#include "tlshd/monitor/config-table.h"
#include "tlshd/monitor/config.h"

#define NAME "/x.conf"

static void check_file(const struct config_file *file)
{
	g_assert_true(!file->path || (file->path[0] && file->line > 0));
	if (file->path)
		g_assert_true(file->path[0] == '/' || config_is_url(file->path));
}

static void check(const struct config *config)
{
	g_assert_true(config->log_level == LOG_INFO || config->log_level == LOG_DEBUG);
	g_assert_cmpuint(config->tls_debug, <=, 9);
	g_assert_cmpuint(config->netlink_debug, <=, 7);
	g_assert_cmpuint(config->workers, >=, 2);
	g_assert_cmpuint(config->workers, <=, 64);
	g_assert_cmpuint(config->max_handshakes, >=, 16);
	g_assert_cmpuint(config->max_handshakes, <=, 16384);
	g_assert_cmpuint(config->max_handshakes_per_peer, >=, 16);
	g_assert_cmpuint(config->max_handshakes_per_peer, <=, 16384);
	g_assert_nonnull(config->keyrings);
	for (unsigned int role = 0; role < HS_N_ROLES; role++) {
		const struct config_role *r = &config->role[role];

		check_file(&r->truststore);
		check_file(&r->crl);
		for (unsigned int id = 0; id < HS_N_IDENTITIES; id++) {
			check_file(&r->certificate[id]);
			check_file(&r->private_key[id]);
			/* One without the other is an error of the file. */
			g_assert_true(!r->certificate[id].path == !r->private_key[id].path);
		}
	}
}

static void same_files(const struct config_file *a, const struct config_file *b)
{
	g_assert_cmpstr(a->path, ==, b->path);
	g_assert_cmpuint(a->line, ==, b->line);
}

static void same(const struct config *a, const struct config *b)
{
	g_assert_true(g_strv_equal((const char *const *)a->keyrings,
				   (const char *const *)b->keyrings));
	g_assert_cmpuint(a->workers, ==, b->workers);
	g_assert_cmpuint(a->max_handshakes, ==, b->max_handshakes);
	g_assert_cmpuint(a->max_handshakes_per_peer, ==, b->max_handshakes_per_peer);
	g_assert_cmpuint(a->delay_done, ==, b->delay_done);
	for (unsigned int role = 0; role < HS_N_ROLES; role++) {
		same_files(&a->role[role].truststore, &b->role[role].truststore);
		same_files(&a->role[role].crl, &b->role[role].crl);
	}
}

static struct config *parse(const char *text, size_t size)
{
	struct config *config = NULL;
	char reason[512] = "";
	int r = config_parse(&config, text, size, NAME, &fuzz_log, reason, sizeof(reason));

	if (r == 0) {
		g_assert_nonnull(config);
		return config;
	}
	g_assert_cmpint(r, <, 0);
	g_assert_null(config);
	g_assert_true(g_str_has_prefix(reason, NAME ":"));
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(config_freep) struct config *first = parse((const char *)data, size);
	CLEANUP(config_freep) struct config *second = NULL;

	if (!first)
		return 0;
	check(first);
	second = parse((const char *)data, size);
	g_assert_nonnull(second);
	same(first, second);
	return 0;
}
