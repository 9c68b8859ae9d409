// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "build-config.h"
#include "leave-memory.h"
#include "tlshd/monitor/config.h"

#define CLIENT "[authenticate.client]\n"
#define SERVER "[authenticate.server]\n"

static char reason[1024];

static void collect(void *ctx, int priority, const char *text, const struct log_field *fields,
		    size_t n_fields)
{
	g_string_append_printf(ctx, "<%d>%s\n", priority, text);
}

static struct log log_to(GString *text)
{
	return (struct log){ LOG_DEBUG, collect, text };
}

/* Parses @text; NULL when refused, with reason[]. @warnings takes what was logged. */
static struct config *parse_with(const char *text, size_t len, GString *warnings)
{
	const struct log log = log_to(warnings);
	struct config *config = NULL;
	int r;

	reason[0] = '\0';
	g_string_truncate(warnings, 0);
	r = config_parse(&config, text, len, "/x.conf", &log, reason, sizeof(reason));
	g_assert_cmpint(r, <=, 0);
	if (r < 0) {
		g_assert_null(config);
		g_assert_true(g_str_has_prefix(reason, "/x.conf:"));
		return NULL;
	}
	g_assert_nonnull(config);
	g_assert_cmpstr(reason, ==, "");
	return config;
}

/* For texts that must be taken without a word. */
static struct config *parse_quiet(const char *text)
{
	g_autoptr(GString) warnings = g_string_new(NULL);
	struct config *config = parse_with(text, strlen(text), warnings);

	g_assert_cmpstr(reason, ==, "");
	g_assert_cmpstr(warnings->str, ==, "");
	return config;
}

static void assert_defaults(const struct config *config)
{
	unsigned int role, i;

	g_assert_cmpint(config->log_level, ==, LOG_INFO);
	g_assert_cmpuint(config->tls_debug, ==, 0);
	g_assert_cmpuint(config->netlink_debug, ==, 0);
	g_assert_cmpuint(config->delay_done, ==, 0);
	g_assert_nonnull(config->keyrings);
	g_assert_null(config->keyrings[0]);
	g_assert_cmpuint(config->workers, ==,
			 CLAMP((unsigned int)sysconf(_SC_NPROCESSORS_ONLN), 2u, 8u));
	g_assert_cmpuint(config->max_handshakes, ==, 4096);
	g_assert_cmpuint(config->max_handshakes_per_peer, ==, 1024);
	g_assert_cmpuint(config->watch, ==, 1);
	for (role = 0; role < HS_N_ROLES; role++) {
		g_assert_null(config->role[role].truststore.path);
		g_assert_null(config->role[role].crl.path);
		for (i = 0; i < HS_N_IDENTITIES; i++) {
			g_assert_null(config->role[role].certificate[i].path);
			g_assert_null(config->role[role].private_key[i].path);
		}
	}
}

static void test_defaults(void)
{
	static const char *const texts[] = {
		"", "\n", "\n\n\n", "# only a comment", "[debug]", "[debug]\n[daemon]\n[debug]\n",
		"\xef\xbb\xbf", "\xef\xbb\xbf# comment\n", " \t \r\n", "#\xff\xfe not UTF-8\n",
		"[debug]\nloglevel=0\ntls=0\nnl=0\n\n[authenticate]\n#keyrings= <keyring>\n",
	};
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(texts); i++) {
		CLEANUP(config_freep) struct config *config = parse_quiet(texts[i]);

		assert_defaults(config);
		g_assert_cmpstr(config->path, ==, "/x.conf");
	}
	config_free(NULL);
}

static void test_all_keys(void)
{
	CLEANUP(config_freep) struct config *config = parse_quiet(
		"[debug]\nloglevel = 1\ntls = 9\nnl = 7\ndelay_done = 3\n"
		"[daemon]\nworkers=64\nmax_handshakes=16\n"
		"[authenticate]\nkeyrings=.one; two ;;three;\n"
		CLIENT "x509.truststore=/c/ca.pem\nx509.crl=/c/crl.pem\n"
		"x509.certificate=/c/cert.pem\nx509.private_key=/c/key.pem\n"
		"x509.pq.certificate=/c/pq.pem\nx509.pq.private_key=/c/pq.key\n"
		SERVER "x509.truststore=/s/ca.pem\nx509.crl=/s/crl.pem\n"
		"x509.certificate=/s/cert.pem\nx509.private_key=pkcs11:token=a;object=b?c=1\n"
		"x509.pq.certificate=/s/pq.pem\nx509.pq.private_key=TPMKEY:uuid=7\n"
		"[daemon]\nwatch=0\nmax_handshakes_per_peer=17\n");
	const struct config_role *c = &config->role[HS_CLIENT], *s = &config->role[HS_SERVER];

	g_assert_cmpint(config->log_level, ==, LOG_DEBUG);
	g_assert_cmpuint(config->tls_debug, ==, 9);
	g_assert_cmpuint(config->netlink_debug, ==, 7);
	g_assert_cmpuint(config->delay_done, ==, 3);
	g_assert_cmpuint(config->workers, ==, 64);
	g_assert_cmpuint(config->max_handshakes, ==, 16);
	g_assert_cmpuint(config->max_handshakes_per_peer, ==, 17);
	g_assert_cmpuint(config->watch, ==, 0);
	g_assert_cmpuint(g_strv_length(config->keyrings), ==, 3);
	g_assert_cmpstr(config->keyrings[0], ==, ".one");
	g_assert_cmpstr(config->keyrings[1], ==, "two");
	g_assert_cmpstr(config->keyrings[2], ==, "three");
	g_assert_cmpstr(c->truststore.path, ==, "/c/ca.pem");
	g_assert_cmpuint(c->truststore.line, ==, 12);
	g_assert_cmpstr(c->crl.path, ==, "/c/crl.pem");
	g_assert_cmpstr(c->certificate[HS_IDENTITY_X509].path, ==, "/c/cert.pem");
	g_assert_cmpstr(c->private_key[HS_IDENTITY_X509].path, ==, "/c/key.pem");
	g_assert_cmpstr(c->certificate[HS_IDENTITY_X509_PQ].path, ==, "/c/pq.pem");
	g_assert_cmpstr(c->private_key[HS_IDENTITY_X509_PQ].path, ==, "/c/pq.key");
	g_assert_cmpuint(c->private_key[HS_IDENTITY_X509_PQ].line, ==, 17);
	g_assert_cmpstr(s->truststore.path, ==, "/s/ca.pem");
	g_assert_cmpstr(s->crl.path, ==, "/s/crl.pem");
	g_assert_cmpstr(s->certificate[HS_IDENTITY_X509].path, ==, "/s/cert.pem");
	g_assert_cmpstr(s->private_key[HS_IDENTITY_X509].path, ==,
			"pkcs11:token=a;object=b?c=1");
	g_assert_cmpstr(s->certificate[HS_IDENTITY_X509_PQ].path, ==, "/s/pq.pem");
	g_assert_cmpstr(s->private_key[HS_IDENTITY_X509_PQ].path, ==, "TPMKEY:uuid=7");
	g_assert_cmpuint(s->private_key[HS_IDENTITY_X509_PQ].line, ==, 24);
}

static void test_syntax(void)
{
	static const struct {
		const char *text, *path;
		unsigned int line;
	} cases[] = {
		{ CLIENT "x509.crl=/a", "/a", 2 },			/* no final newline */
		{ CLIENT "x509.crl = /a\n", "/a", 2 },
		{ CLIENT "  x509.crl\t=\t/a \t \n", "/a", 2 },		/* blanks at the end */
		{ "[authenticate.client]\r\nx509.crl=/a\r\n", "/a", 2 },
		{ "[authenticate.client]\r\n\r\nx509.crl=/a\r", "/a", 3 },
		{ "\xef\xbb\xbf" CLIENT "x509.crl=/a\n", "/a", 2 },
		{ "  [authenticate.client]  \nx509.crl=/a\n", "/a", 2 },
		{ "# c\n\n" CLIENT "#x509.crl=/b\n  # c\nx509.crl=/a\n", "/a", 6 },
		{ CLIENT "x509.crl=/a b\\sc\\td\\\\e\n", "/a b c\td\\e", 2 },
		{ CLIENT "x509.crl=/a\\s\n", "/a ", 2 },
		{ CLIENT "x509.crl=/a=b#c;d[e]\n", "/a=b#c;d[e]", 2 },
		{ CLIENT "x509.crl=/gr\xc3\xbc\xc3\x9f\x65\n", "/gr\xc3\xbc\xc3\x9f\x65", 2 },
		{ CLIENT "[debug]\n" CLIENT "x509.crl=/a\n", "/a", 4 },	/* a group again */
	};
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		CLEANUP(config_freep) struct config *config = parse_quiet(cases[i].text);

		g_assert_cmpstr(config->role[HS_CLIENT].crl.path, ==, cases[i].path);
		g_assert_cmpuint(config->role[HS_CLIENT].crl.line, ==, cases[i].line);
	}
}

static void test_lists(void)
{
	static const struct {
		const char *value, *joined;
	} cases[] = {
		{ "", "" }, { ";", "" }, { " ; ;", "" }, { "a", "a" }, { "a;", "a" }, { ";a", "a" },
		{ "a;b", "a|b" }, { " a ; b ", "a|b" }, { "a\\;b;c", "a;b|c" }, { "a b", "a b" },
	};
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *text = g_strconcat("[authenticate]\nkeyrings=", cases[i].value,
						    NULL);
		CLEANUP(config_freep) struct config *config = parse_quiet(text);
		g_autofree char *joined = g_strjoinv("|", config->keyrings);

		g_assert_cmpstr(joined, ==, cases[i].joined);
	}
}

#define TEXT(s) s, sizeof(s) - 1

static void test_last_wins(void)
{
	g_autoptr(GString) warnings = g_string_new(NULL);
	static const char text[] =
		"[debug]\ntls=1\ntls=2\n[authenticate]\nkeyrings=a\nkeyrings=b;c\n"
		CLIENT "x509.crl=/a\nx509.crl=/b\n[debug]\nnl=100\nloglevel=100\n";
	CLEANUP(config_freep) struct config *config = parse_with(TEXT(text), warnings);

	g_assert_nonnull(config);
	g_assert_cmpuint(config->tls_debug, ==, 2);
	g_assert_cmpuint(g_strv_length(config->keyrings), ==, 2);
	g_assert_cmpstr(config->keyrings[0], ==, "b");
	g_assert_cmpstr(config->role[HS_CLIENT].crl.path, ==, "/b");
	g_assert_cmpuint(config->role[HS_CLIENT].crl.line, ==, 9);
	g_assert_cmpuint(config->netlink_debug, ==, 7);
	g_assert_cmpint(config->log_level, ==, LOG_DEBUG);
}

static void test_limits(void)
{
	g_autofree char *mib = g_strnfill((1 << 20) + 1, '\n');
	g_autofree char *path = g_strnfill(2000, 'p');
	g_autofree char *blanks = g_strnfill(9000, ' ');
	g_autofree char *flood = g_malloc0(1 << 20);
	g_autoptr(GString) warnings = g_string_new(NULL);
	struct config *config = NULL;
	g_autofree char *text = NULL;
	size_t i;

	config = parse_with(mib, 1 << 20, warnings);
	g_assert_nonnull(config);
	config_free(config);
	config = NULL;
	g_assert_cmpint(config_parse(&config, mib, (1 << 20) + 1, "/x.conf", NULL, reason,
				     sizeof(reason)), ==, -EFBIG);
	g_assert_null(config);
	g_assert_nonnull(strstr(reason, "1048576"));

	g_assert_null(parse_with(blanks, 8193, warnings));
	g_assert_true(g_str_has_prefix(reason, "/x.conf:1: the line is longer than 8192"));
	config = parse_with(blanks, 8192, warnings);
	g_assert_nonnull(config);
	config_free(config);

	path[0] = '/';
	text = g_strconcat(CLIENT "x509.crl=", path, NULL);
	text[strlen(CLIENT "x509.crl=") + 1023] = '\0';
	config = parse_with(text, strlen(text), warnings);
	g_assert_nonnull(config);
	config_free(config);
	g_free(text);
	text = g_strconcat(CLIENT "x509.crl=", path, NULL);
	text[strlen(CLIENT "x509.crl=") + 1024] = '\0';
	g_assert_null(parse_with(text, strlen(text), warnings));
	g_assert_nonnull(strstr(reason, "longer than 1023"));

	/* As many unknown keys as fit do not fill the log. */
	strcpy(flood, "[debug]\n");
	for (i = strlen(flood); i + 3 < 1 << 20; i += 3)
		memcpy(flood + i, "a=\n", 3);
	config = parse_with(flood, i, warnings);
	g_assert_nonnull(config);
	config_free(config);
	g_assert_cmpuint(warnings->len, <, 20 * 200);
	g_assert_nonnull(strstr(warnings->str, "further warnings are left out"));
}

static void test_small_reason(void)
{
	static const char text[] = "[debug]\nloglevel=-1\n";
	struct config *config = NULL;
	char small[16];

	g_assert_cmpint(config_parse(&config, TEXT(text), "/x.conf", NULL, small, sizeof(small)),
			==, -EINVAL);
	g_assert_cmpuint(strlen(small), ==, sizeof(small) - 1);
}

static void test_urls(void)
{
	g_assert_true(config_is_url("pkcs11:token=x"));
	g_assert_true(config_is_url("PKCS11:token=x"));
	g_assert_true(config_is_url("tpmkey:file=/x"));
	g_assert_true(config_is_url("system:uuid=1"));
	g_assert_false(config_is_url("/etc/pkcs11:x"));
	g_assert_false(config_is_url("pkcs11"));
	g_assert_false(config_is_url("file:///x"));
	g_assert_false(config_is_url(""));
}

/* --- files --- */

struct fixture {
	char *dir, *path;
	GString *logged;
	struct log log;
};

static void set_up(struct fixture *f, gconstpointer unused)
{
	f->dir = g_dir_make_tmp("tlshd-config-XXXXXX", NULL);
	g_assert_nonnull(f->dir);
	f->path = g_build_filename(f->dir, "my.conf", NULL);
	f->logged = g_string_new(NULL);
	f->log = log_to(f->logged);
	reason[0] = '\0';
	alarm(60);
}

static void tear_down(struct fixture *f, gconstpointer unused)
{
	alarm(0);
	g_remove(f->path);
	g_rmdir(f->dir);
	g_free(f->path);
	g_free(f->dir);
	g_string_free(f->logged, TRUE);
}

static void put(const char *path, const char *text, mode_t mode)
{
	g_assert_true(g_file_set_contents(path, text, -1, NULL));
	g_assert_no_errno(chmod(path, mode));
}

static void test_load(struct fixture *f, gconstpointer unused)
{
	CLEANUP(config_freep) struct config *config = NULL;

	put(f->path, "[debug]\nloglevel=1\n", 0644);
	g_assert_cmpint(config_load(&config, f->path, &f->log, reason, sizeof(reason)), ==, 0);
	g_assert_cmpstr(config->path, ==, f->path);
	g_assert_cmpint(config->log_level, ==, LOG_DEBUG);
	g_assert_cmpstr(f->logged->str, ==, "");
}

static void assert_load_fails(struct fixture *f, int error, const char *word)
{
	struct config *config = NULL;

	g_assert_cmpint(config_load(&config, f->path, &f->log, reason, sizeof(reason)), ==, -error);
	g_assert_null(config);
	g_assert_nonnull(strstr(reason, f->path));
	g_assert_nonnull(strstr(reason, word));
}

/* In a process of its own, which may get no more than @extra bytes. Returns its status. */
static int load_with(const char *path, const struct log *log, unsigned long extra)
{
	pid_t pid = fork();
	int status;

	g_assert_cmpint(pid, >=, 0);
	if (!pid) {
		struct config *config = NULL;
		int r;

		leave_memory(extra);
		r = config_load(&config, path, log, reason, sizeof(reason));
		_exit(r == 0 ? 0 : r == -ENOMEM && strstr(reason, "memory") ? 1 : 2);
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	return status;
}

/* GLib would end the process: with however little memory, there is an answer. */
static void test_no_memory(struct fixture *f, gconstpointer unused)
{
	const struct log nowhere = { LOG_DEBUG, NULL, NULL };
	g_autoptr(GString) text = g_string_new("[authenticate]\nkeyrings = ");
	unsigned int n[2] = { 0 };

#ifdef __SANITIZE_ADDRESS__
	g_test_skip("AddressSanitizer needs memory of its own");
	return;
#endif
	for (unsigned int i = 0; i < 1500; i++)
		g_string_append(text, "a1;");
	g_string_append(text, "\n" CLIENT "x509.truststore = /tmp/store\n");
	g_assert_true(g_file_set_contents(f->path, text->str, -1, NULL));
	g_assert_no_errno(chmod(f->path, 0600));
	for (unsigned long extra = 0; extra < 80; extra++) {
		int status = load_with(f->path, &nowhere, extra << 15);

		g_assert_true(WIFEXITED(status));
		g_assert_cmpint(WEXITSTATUS(status), <=, 1);
		n[WEXITSTATUS(status)]++;
	}
	g_test_message("loaded %u times, refused for want of memory %u times", n[0], n[1]);
	g_assert_cmpuint(n[0], >, 0);
	g_assert_cmpuint(n[1], >, 0);
}

static void test_load_errors(struct fixture *f, gconstpointer unused)
{
	g_autofree char *mib = g_strnfill((1 << 20) + 1, '\n');

	assert_load_fails(f, ENOENT, "No such file");
	put(f->path, "[debug]\n", 0664);
	assert_load_fails(f, EPERM, "chmod g-w");
	put(f->path, "[debug]\n", 0646);
	assert_load_fails(f, EPERM, "chmod o-w");
	put(f->path, "[debug]\nloglevel=x\n", 0644);
	assert_load_fails(f, EINVAL, ":2: loglevel");
	put(f->path, mib, 0644);
	assert_load_fails(f, EFBIG, "1048576");
	g_remove(f->path);
	g_assert_no_errno(mkfifo(f->path, 0600));
	assert_load_fails(f, EINVAL, "not a regular file");
	g_remove(f->path);
	g_assert_no_errno(symlink("nowhere", f->path));
	assert_load_fails(f, ENOENT, "symbolic link");
}

/* Runs @fn with f->dir as the root directory; skips where that is not allowed. */
static void in_root(struct fixture *f, void (*fn)(struct fixture *f))
{
	int status;
	pid_t pid;

	pid = fork();
	g_assert_no_errno(pid);
	if (pid == 0) {
		if (geteuid() != 0)
			unshare(CLONE_NEWUSER);
		if (chroot(f->dir) < 0 || chdir("/") < 0)
			_exit(77);
		fn(f);
		_exit(0);
	}
	g_assert_no_errno(waitpid(pid, &status, 0));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		g_test_skip("chroot() needs root or user namespaces");
		return;
	}
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static int try_default(struct fixture *f, struct config **ret)
{
	*ret = NULL;
	g_string_truncate(f->logged, 0);
	return config_load(ret, NULL, &f->log, reason, sizeof(reason));
}

static struct config *load_default(struct fixture *f)
{
	struct config *config;

	g_assert_cmpint(try_default(f, &config), ==, 0);
	return config;
}

static void default_locations(struct fixture *f)
{
	static const char first[] = TLSHD_SYSCONFDIR "/tlshd.conf";
	static const char dir[] = TLSHD_SYSCONFDIR "/tlshd";
	static const char second[] = TLSHD_SYSCONFDIR "/tlshd/config";
	struct config *config;

	config = load_default(f);
	g_assert_null(config->path);
	assert_defaults(config);
	g_assert_true(g_str_has_prefix(f->logged->str, "<5>neither "));
	config_free(config);

	g_assert_no_errno(g_mkdir_with_parents(dir, 0755));
	put(second, "[debug]\ntls=2\n", 0644);
	config = load_default(f);
	g_assert_cmpstr(config->path, ==, second);
	g_assert_cmpuint(config->tls_debug, ==, 2);
	g_assert_cmpstr(f->logged->str, ==, "");
	config_free(config);

	put(first, "[debug]\ntls=1\n", 0644);
	config = load_default(f);
	g_assert_cmpstr(config->path, ==, first);
	g_assert_cmpuint(config->tls_debug, ==, 1);
	g_assert_nonnull(strstr(f->logged->str, second));
	config_free(config);

	/* A first file that cannot be used never leads to the second or to the defaults. */
	put(first, "[debug]\ntls=x\n", 0644);
	g_assert_cmpint(try_default(f, &config), <, 0);
	g_remove(first);
	g_assert_no_errno(symlink("/nowhere", first));
	g_assert_cmpint(try_default(f, &config), <, 0);
	g_remove(first);
	put(second, "[debug]\n", 0666);
	g_assert_cmpint(try_default(f, &config), <, 0);
	g_remove(second);
	g_rmdir(dir);
	g_rmdir(TLSHD_SYSCONFDIR);
}

static void test_default_locations(struct fixture *f, gconstpointer unused)
{
	in_root(f, default_locations);
}

/* --- the file that is installed --- */

static char *installed_file(void)
{
	const char *root = g_getenv("TLSHD_SOURCE_ROOT");
	g_autofree char *path = NULL;
	char *text = NULL;

	if (!root)
		return NULL;
	path = g_build_filename(root, "etc", "tlshd.conf", NULL);
	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	return text;
}

static void test_installed(void)
{
	g_autofree char *text = installed_file();
	CLEANUP(config_freep) struct config *config = NULL;
	CLEANUP(config_freep) struct config *all = NULL;
	g_autofree char *uncommented = NULL;
	g_auto(GStrv) lines = NULL;
	size_t i;

	if (!text) {
		g_test_skip("TLSHD_SOURCE_ROOT is not set to the source directory");
		return;
	}
	config = parse_quiet(text);
	assert_defaults(config);

	/* "#key = value": taken in, every line is right and every key is there. */
	lines = g_strsplit(text, "\n", -1);
	for (i = 0; lines[i]; i++)
		if (lines[i][0] == '#' && g_ascii_isalpha(lines[i][1]))
			lines[i][0] = ' ';
	uncommented = g_strjoinv("\n", lines);
	all = parse_quiet(uncommented);
	g_assert_nonnull(all->role[HS_CLIENT].crl.path);
	g_assert_nonnull(all->role[HS_SERVER].private_key[HS_IDENTITY_X509_PQ].path);
}

#define ADD(name, fn) g_test_add("/config/" name, struct fixture, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/config/defaults", test_defaults);
	g_test_add_func("/config/all-keys", test_all_keys);
	g_test_add_func("/config/syntax", test_syntax);
	g_test_add_func("/config/lists", test_lists);
	g_test_add_func("/config/last-wins", test_last_wins);
	g_test_add_func("/config/limits", test_limits);
	g_test_add_func("/config/small-reason", test_small_reason);
	g_test_add_func("/config/urls", test_urls);
	ADD("load", test_load);
	ADD("load/errors", test_load_errors);
	ADD("load/no-memory", test_no_memory);
	ADD("load/default-locations", test_default_locations);
	g_test_add_func("/config/installed", test_installed);
	return g_test_run();
}
