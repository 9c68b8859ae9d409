// SPDX-License-Identifier: GPL-2.0-or-later
/* What a person is told about a configuration file that is wrong, or odd. */
#include <glib.h>
#include <string.h>

#include "tlshd/monitor/config.h"

#define CLIENT "[authenticate.client]\n"
#define SERVER "[authenticate.server]\n"

static void collect(void *ctx, int priority, const char *text, const struct log_field *fields,
		    size_t n_fields)
{
	g_string_append_printf(ctx, "<%d>%s\n", priority, text);
}

/* NULL when refused; @reason then says why. @warnings takes what was logged. */
static struct config *parse(const char *text, size_t len, GString *warnings, char reason[512])
{
	const struct log log = { LOG_DEBUG, collect, warnings };
	struct config *config = NULL;
	int r;

	reason[0] = '\0';
	r = config_parse(&config, text, len, "/x.conf", &log, reason, 512);
	g_assert_cmpint(r, ==, config ? 0 : -EINVAL);
	return config;
}

#define TEXT(s) s, sizeof(s) - 1

static const struct {
	const char *name, *text;
	size_t len;
	unsigned int line;
	const char *word;	/* that the reason must have */
} errors[] = {
	{ "no-group", TEXT("loglevel=1\n"), 1, "above the first [group]" },
	{ "not-a-line", TEXT("[debug]\nloglevel\n"), 2, "neither [group] nor key = value" },
	{ "no-key", TEXT("[debug]\n\n= 5\n"), 3, "neither" },
	{ "semicolon", TEXT("[debug]\n; no comment\n"), 2, "begin a comment with #" },
	{ "junk-in-unknown-group", TEXT("[what]\njunk\n"), 2, "neither" },
	{ "group-open", TEXT("[debug\n"), 1, "is not a group" },
	{ "group-empty", TEXT("[]\n"), 1, "is not a group" },
	{ "group-comment", TEXT("[debug] # x\n"), 1, "is not a group" },
	{ "nul", TEXT("[debug]\nlog\0level=1\n"), 2, "NUL" },
	{ "nul-in-comment", TEXT("# a\0b\n"), 1, "NUL" },
	{ "utf-16", TEXT("\xff\xfe[\0d\0e\0b\0u\0g\0]\0"), 1, "NUL" },
	{ "mac-line-ends", TEXT("# comment\r[debug]\rloglevel=1\r"), 1, "carriage return" },
	{ "not-utf-8", TEXT(CLIENT "x509.crl=/\xff\xfe\n"), 2, "UTF-8" },
	{ "list-not-utf-8", TEXT("[authenticate]\nkeyrings=\xff;a\n"), 2, "UTF-8" },
	{ "escape", TEXT(CLIENT "x509.crl=/a\\qb\n"), 2, "backslash" },
	{ "escape-at-end", TEXT(CLIENT "x509.crl=/a\\\n"), 2, "backslash" },
	{ "number-empty", TEXT("[daemon]\nworkers=\n"), 2, "whole number from 2 to 64" },
	{ "number-low", TEXT("[daemon]\nworkers=1\n"), 2, "from 2 to 64" },
	{ "number-high", TEXT("[daemon]\nworkers=65\n"), 2, "from 2 to 64" },
	{ "number-huge", TEXT("[daemon]\nworkers=99999999999999999999\n"), 2, "from 2 to 64" },
	{ "number-wraps", TEXT("[daemon]\nworkers=4294967298\n"), 2, "from 2 to 64" },
	{ "number-negative", TEXT("[debug]\nloglevel=-1\n"), 2, "from 0 to 9" },
	{ "number-word", TEXT("[debug]\nloglevel=yes\n"), 2, "from 0 to 9" },
	{ "number-fraction", TEXT("[debug]\nloglevel=1.5\n"), 2, "from 0 to 9" },
	{ "number-hex", TEXT("[debug]\nloglevel=0x1\n"), 2, "from 0 to 9" },
	{ "number-comment", TEXT("[debug]\nloglevel=1 # x\n"), 2, "from 0 to 9" },
	{ "delay", TEXT("[debug]\ndelay_done=3601\n"), 2, "from 0 to 3600" },
	{ "handshakes", TEXT("[daemon]\nmax_handshakes=15\n"), 2, "from 16 to 16384" },
	{ "per-peer", TEXT("[daemon]\nmax_handshakes_per_peer=0\n"), 2, "from 16 to 16384" },
	{ "path-empty", TEXT(CLIENT "x509.crl=\n"), 2, "is empty" },
	{ "path-blank", TEXT(CLIENT "x509.crl=  \t\n"), 2, "is empty" },
	{ "path-relative", TEXT(CLIENT "x509.crl=a.pem\n"), 2, "must be absolute" },
	{ "path-tilde", TEXT(CLIENT "x509.crl=~/a.pem\n"), 2, "must be absolute" },
	{ "path-quoted", TEXT(CLIENT "x509.crl=\"/a.pem\"\n"), 2, "must be absolute" },
	{ "path-url", TEXT(CLIENT "x509.truststore=pkcs11:a\n"), 2, "only a private key" },
	{ "key-relative", TEXT(CLIENT "x509.private_key=key\n"), 2, "pkcs11:" },
	{ "key-file-url", TEXT(CLIENT "x509.private_key=file:///key\n"), 2, "must be absolute" },
	{ "first-of-two", TEXT("[debug]\nloglevel=-1\ntls=-1\n"), 2, "loglevel" },
	{ "bad-then-good", TEXT("[debug]\nloglevel=-1\nloglevel=1\n"), 2, "loglevel" },
	{ "cert-alone", TEXT(CLIENT "\nx509.certificate=/c\n"), 3, "needs x509.private_key" },
	{ "key-alone", TEXT(SERVER "x509.private_key=/k\n"), 2,
	  "x509.private_key needs x509.certificate in the same group [authenticate.server]" },
	{ "pq-cert-alone", TEXT(CLIENT "x509.pq.certificate=/c\nx509.crl=/a\n"), 2,
	  "x509.pq.certificate needs x509.pq.private_key" },
	{ "pq-key-alone", TEXT(CLIENT "x509.certificate=/c\nx509.private_key=/k\n"
			       "x509.pq.private_key=/q\n"), 4, "needs x509.pq.certificate" },
	{ "pair-apart", TEXT(CLIENT "x509.certificate=/c\n" SERVER "x509.private_key=/k\n"), 2,
	  "[authenticate.client]" },
};

static void test_error(gconstpointer data)
{
	g_autoptr(GString) warnings = g_string_new(NULL);
	size_t i = GPOINTER_TO_SIZE(data);
	g_autofree char *prefix = g_strdup_printf("/x.conf:%u: ", errors[i].line);
	char reason[512];

	g_assert_null(parse(errors[i].text, errors[i].len, warnings, reason));
	g_test_message("%s", reason);
	g_assert_true(g_str_has_prefix(reason, prefix));
	g_assert_nonnull(strstr(reason, errors[i].word));
	g_assert_null(strchr(reason, '\n'));
}

static const struct {
	const char *name, *text, *warning;
} warned[] = {
	{ "typo", "[debug]\nlogleve=1\n",
	  "2: unknown key \"logleve\" in [debug] is ignored (did you mean \"loglevel\" in "
	  "[debug]?)" },
	{ "capitals", "[debug]\nLogLevel=1\n",
	  "2: unknown key \"LogLevel\" in [debug] is ignored (did you mean \"loglevel\" in "
	  "[debug]?)" },
	{ "all-capitals", "[Daemon]\n",
	  "1: unknown group [Daemon] is ignored with all its keys (did you mean [daemon]?)" },
	{ "shouted", "[debug]\nDELAY_DONE=1\n",
	  "2: unknown key \"DELAY_DONE\" in [debug] is ignored (did you mean \"delay_done\" in "
	  "[debug]?)" },
	{ "elsewhere", "[debug]\nworkers=2\n",
	  "2: unknown key \"workers\" in [debug] is ignored (it belongs in [daemon])" },
	{ "two-groups", "[authenticate]\nx509.crl=/a\n",
	  "2: unknown key \"x509.crl\" in [authenticate] is ignored (it belongs in "
	  "[authenticate.client] or [authenticate.server])" },
	{ "part", SERVER "truststore=/a\n",
	  "2: unknown key \"truststore\" in [authenticate.server] is ignored (did you mean "
	  "\"x509.truststore\" in [authenticate.server]?)" },
	{ "far", "[debug]\nfrobnicate=1\n", "2: unknown key \"frobnicate\" in [debug] is ignored" },
	{ "language", "[debug]\nloglevel[de]=1\n",
	  "2: unknown key \"loglevel[de]\" in [debug] is ignored" },
	{ "encoding", "[debug]\nEncoding=UTF-8\n",
	  "2: unknown key \"Encoding\" in [debug] is ignored" },
	{ "ugly", "[debug]\nx\x1b\xff=1\n",
	  "2: unknown key \"x\\x1b\\xff\" in [debug] is ignored" },
	{ "group", "[authenticate.sever]\nx509.crl=/a\nwhat=ever\n",
	  "1: unknown group [authenticate.sever] is ignored with all its keys (did you mean "
	  "[authenticate.server]?)" },
	{ "group-far", "\n[frobnicate]\n",
	  "2: unknown group [frobnicate] is ignored with all its keys" },
	{ "twice", "[debug]\ntls=1\n\n[debug]\ntls=2\n",
	  "5: tls in [debug] stands on line 2 already; this one counts" },
	{ "above", "[debug]\ntls=99\n", "2: tls is at most 9; taken as that" },
};

static void test_warning(gconstpointer data)
{
	g_autoptr(GString) warnings = g_string_new(NULL);
	size_t i = GPOINTER_TO_SIZE(data);
	g_autofree char *want = g_strdup_printf("<%d>/x.conf:%s\n", LOG_WARNING, warned[i].warning);
	CLEANUP(config_freep) struct config *config = NULL;
	char reason[512];

	config = parse(warned[i].text, strlen(warned[i].text), warnings, reason);
	g_assert_cmpstr(reason, ==, "");
	g_assert_nonnull(config);
	g_assert_cmpstr(warnings->str, ==, want);
}

static void add_table(const char *prefix, const char *name, size_t i, GTestDataFunc fn)
{
	g_autofree char *path = g_strconcat(prefix, name, NULL);

	g_test_add_data_func(path, GSIZE_TO_POINTER(i), fn);
}

int main(int argc, char **argv)
{
	size_t i;

	g_test_init(&argc, &argv, NULL);
	for (i = 0; i < G_N_ELEMENTS(errors); i++)
		add_table("/config-messages/error/", errors[i].name, i, test_error);
	for (i = 0; i < G_N_ELEMENTS(warned); i++)
		add_table("/config-messages/warning/", warned[i].name, i, test_warning);
	return g_test_run();
}
