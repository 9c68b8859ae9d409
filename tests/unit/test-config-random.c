// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Properties of the parser, on texts made at random (repeat a run with
 * --seed): it never crashes, what it refuses it gives a reason for, and what
 * it accepts, written out and read again, is the same configuration.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "tlshd/monitor/config-table.h"
#include "tlshd/monitor/config.h"

static void collect(void *ctx, int priority, const char *text, const struct log_field *fields,
		    size_t n_fields)
{
	g_string_append_printf(ctx, "%s\n", text);
}

/* NULL when refused; @said takes the reason or the warnings. */
static struct config *parse(const char *text, size_t len, GString *said)
{
	const struct log log = { LOG_DEBUG, collect, said };
	struct config *config = NULL;
	char reason[512] = "";
	int r;

	g_string_truncate(said, 0);
	r = config_parse(&config, text, len, "/x.conf", &log, reason, sizeof(reason));
	if (r == 0) {
		g_assert_nonnull(config);
		g_assert_cmpstr(reason, ==, "");
		return config;
	}
	g_assert_cmpint(r, <, 0);
	g_assert_null(config);
	g_assert_true(g_str_has_prefix(reason, "/x.conf:"));
	g_assert_true(g_utf8_validate(reason, -1, NULL) || strlen(reason) == sizeof(reason) - 1);
	g_string_assign(said, reason);
	return NULL;
}

static void append_escaped(GString *out, const char *text, char separator)
{
	static const char special[] = " \t\n\r\\", escape[] = "stnr\\";
	const char *at;

	for (; *text; text++) {
		at = strchr(special, *text);
		if (at)
			g_string_append_printf(out, "\\%c", escape[at - special]);
		else if (*text == separator)
			g_string_append_printf(out, "\\%c", separator);
		else
			g_string_append_c(out, *text);
	}
}

static void write_value(GString *out, const struct config *config, const struct config_key *key)
{
	const char *field = (const char *)config + key->offset;
	const struct config_file *file;
	char **list;

	switch (key->type) {
	case CONFIG_NUMBER:
	case CONFIG_DEBUG:
		g_string_append_printf(out, "%s=%u\n", key->key, *(const unsigned int *)field);
		break;
	case CONFIG_LOG_LEVEL:
		g_string_append_printf(out, "%s=%d\n", key->key,
				       *(const int *)field == LOG_DEBUG);
		break;
	case CONFIG_LIST:
		g_string_append_printf(out, "%s=", key->key);
		for (list = *(char ***)(uintptr_t)field; *list; list++) {
			append_escaped(out, *list, ';');
			g_string_append_c(out, ';');
		}
		g_string_append_c(out, '\n');
		break;
	case CONFIG_PATH_PUBLIC:
	case CONFIG_PATH_PRIVATE:
		file = (const struct config_file *)field;
		if (!file->path)
			break;
		g_string_append_printf(out, "%s=", key->key);
		append_escaped(out, file->path, '\0');
		g_string_append_c(out, '\n');
		break;
	}
}

/* The whole of @config as a file. */
static char *write_config(const struct config *config)
{
	GString *out = g_string_new(NULL);
	size_t i;

	for (i = 0; i < config_n_keys; i++) {
		g_string_append_printf(out, "[%s]\n", config_keys[i].group);
		write_value(out, config, &config_keys[i]);
	}
	return g_string_free(out, FALSE);
}

static bool check_roundtrip(const char *text, size_t len, GString *said)
{
	CLEANUP(config_freep) struct config *config = parse(text, len, said);
	CLEANUP(config_freep) struct config *again = NULL;
	g_autofree char *first = NULL, *second = NULL;

	if (!config)
		return false;
	first = write_config(config);
	again = parse(first, strlen(first), said);
	g_assert_cmpstr(said->str, ==, "");
	second = write_config(again);
	g_assert_cmpstr(first, ==, second);
	return true;
}

static void test_random_bytes(void)
{
	g_autoptr(GString) said = g_string_new(NULL);
	char text[300];
	size_t len, i;
	int n;

	for (n = 0; n < 20000; n++) {
		len = (size_t)g_test_rand_int_range(0, sizeof(text));
		for (i = 0; i < len; i++)
			text[i] = (char)g_test_rand_int();
		check_roundtrip(text, len, said);
	}
}

/* Made of what files are made of, so that many are accepted. */
static void test_random_files(void)
{
	static const char *const values[] = {
		"0", "1", "9", "16", "64", "100", "-1", "x", "", " ", "/a", "/b c", "/d\\s",
		"/\\\\e\\n", "pkcs11:a;b", "a;b", "a\\;b ;", ";;", "/f\\",
		"/\xc3\xbc", "/\xff", "/\r", "rel",
	};
	static const char *const extras[] = {
		"#x", "", "[debug]", "[what]", "a=b", "junk", "tls[x]=1",
	};
	g_autoptr(GString) said = g_string_new(NULL);
	unsigned int accepted = 0, n;
	size_t lines, i;

	for (n = 0; n < 20000; n++) {
		g_autoptr(GString) text = g_string_new(NULL);

		lines = (size_t)g_test_rand_int_range(0, 6);
		for (i = 0; i < lines; i++) {
			const struct config_key *key =
				&config_keys[g_test_rand_int_range(0, (gint32)config_n_keys)];

			g_string_append_printf(text, "[%s]\n%s=%s%s", key->group, key->key,
				values[g_test_rand_int_range(0, G_N_ELEMENTS(values))],
				g_test_rand_int_range(0, 9) ? "\n" : "\r\n");
			if (!g_test_rand_int_range(0, 12))
				g_string_append_printf(text, "%s\n",
					extras[g_test_rand_int_range(0, G_N_ELEMENTS(extras))]);
		}
		accepted += check_roundtrip(text->str, text->len, said);
	}
	g_test_message("%u of %u accepted", accepted, n);
	g_assert_cmpuint(accepted, >, n / 10);
	g_assert_cmpuint(accepted, <, n);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/config-random/bytes", test_random_bytes);
	g_test_add_func("/config-random/files", test_random_files);
	return g_test_run();
}
