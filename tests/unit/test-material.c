// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "common/channel.h"
#include "common/child.h"
#include "tlshd/monitor/material.h"
#include "fds.h"

#define CONFIG "[authenticate.client]\n"			\
	       "x509.truststore=@/ca.pem\n"			\
	       "x509.crl=@/crl.pem\n"				\
	       "x509.certificate=@/client.pem\n"		\
	       "x509.private_key=@/client.key\n"		\
	       "[authenticate.server]\n"			\
	       "x509.truststore=@/ca.pem\n"			\
	       "x509.certificate=@/server.pem\n"		\
	       "x509.private_key=pkcs11:token=a;object=b\n"	\
	       "x509.pq.certificate=@/pq.pem\n"			\
	       "x509.pq.private_key=@/pq.key\n"

/* Lines of CONFIG. */
enum { TRUSTSTORE_LINE = 2, CRL_LINE, CLIENT_CERT_LINE, CLIENT_KEY_LINE };

static const char *const names[] = {
	"ca.pem", "crl.pem", "client.pem", "client.key", "server.pem", "pq.pem", "pq.key",
};

struct fixture {
	char *dir;
	struct config *config;
	struct material *material;
	char reason[1024];
	unsigned int n_fds;
};

static char *path_of(struct fixture *f, const char *name)
{
	return g_build_filename(f->dir, name, NULL);
}

static void write_file(struct fixture *f, const char *name, const char *content, int mode)
{
	g_autofree char *path = path_of(f, name);

	g_remove(path);
	g_assert_true(g_file_set_contents(path, content, -1, NULL));
	g_assert_no_errno(g_chmod(path, mode));
}

/* @text with the directory in place of each @ */
static struct config *parse(struct fixture *f, const char *text)
{
	g_auto(GStrv) parts = g_strsplit(text, "@", -1);
	g_autofree char *full = g_strjoinv(f->dir, parts);
	struct config *config = NULL;

	g_assert_cmpint(config_parse(&config, full, strlen(full), "/etc/x.conf", NULL, f->reason,
				     sizeof(f->reason)), ==, 0);
	return config;
}

static void set_up(struct fixture *f, gconstpointer unused)
{
	alarm(20);	/* nothing here may wait */
	f->dir = g_dir_make_tmp("tlshd-material-XXXXXX", NULL);
	g_assert_nonnull(f->dir);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *content = g_strdup_printf("<%s>", names[i]);

		write_file(f, names[i], content, g_str_has_suffix(names[i], ".key") ? 0600 : 0644);
	}
	f->config = parse(f, CONFIG);
	f->n_fds = count_fds();
}

static void tear_down(struct fixture *f, gconstpointer unused)
{
	material_free(f->material);
	g_assert_cmpuint(count_fds(), ==, f->n_fds);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = path_of(f, names[i]);

		g_remove(path);
	}
	g_rmdir(f->dir);
	g_free(f->dir);
	config_free(f->config);
	alarm(0);
}

static int try_open(struct fixture *f)
{
	return material_open(&f->material, f->config, f->reason, sizeof(f->reason));
}

static void open_all(struct fixture *f)
{
	g_assert_cmpint(try_open(f), ==, 0);
	g_assert_nonnull(f->material);
}

/* What @who is sent, through the function that reads it at the other end. */
static void receive(struct fixture *f, enum material_receiver who, struct child_files *ret)
{
	const struct wire_message start = { .type = WIRE_START };
	int ends[2];

	g_assert_cmpint(channel_pair(ends), ==, 0);
	g_assert_cmpint(material_send(f->material, who, ends[0]), ==, 0);
	g_assert_cmpint(channel_send(ends[0], &start, -1), ==, 0);
	g_assert_cmpint(child_receive_files(ends[1], ret), ==, 0);
	close(ends[0]);
	close(ends[1]);
}

static const struct child_file *find(const struct child_files *files, enum hs_role role,
				     enum wire_file_use use, enum hs_identity identity)
{
	const struct child_file *found = NULL;

	for (size_t i = 0; i < files->n; i++) {
		const struct wire_file *what = &files->file[i].what;

		if (what->role != role || what->use != use || what->identity != identity)
			continue;
		g_assert_null(found);
		found = &files->file[i];
	}
	return found;
}

static void assert_file(const struct child_files *files, enum hs_role role, enum wire_file_use use,
			enum hs_identity identity, const char *content)
{
	const struct child_file *file = find(files, role, use, identity);
	char buf[64];

	g_assert_nonnull(file);
	g_assert_cmpstr(file->what.url, ==, "");
	g_assert_cmpint(pread(file->fd, buf, sizeof(buf), 0), ==, (gint64)strlen(content));
	g_assert_cmpmem(buf, strlen(content), content, strlen(content));
	/* Nobody gets a way to write. */
	g_assert_cmpint(pwrite(file->fd, "x", 1, 0), ==, -1);
}

static void test_worker(struct fixture *f, gconstpointer unused)
{
	struct child_files files;

	open_all(f);
	receive(f, MATERIAL_WORKER, &files);
	g_assert_cmpuint(files.n, ==, 6);
	assert_file(&files, HS_CLIENT, WIRE_FILE_TRUSTSTORE, HS_IDENTITY_X509, "<ca.pem>");
	assert_file(&files, HS_CLIENT, WIRE_FILE_CRL, HS_IDENTITY_X509, "<crl.pem>");
	assert_file(&files, HS_CLIENT, WIRE_FILE_CERTIFICATE, HS_IDENTITY_X509, "<client.pem>");
	assert_file(&files, HS_SERVER, WIRE_FILE_TRUSTSTORE, HS_IDENTITY_X509, "<ca.pem>");
	assert_file(&files, HS_SERVER, WIRE_FILE_CERTIFICATE, HS_IDENTITY_X509, "<server.pem>");
	assert_file(&files, HS_SERVER, WIRE_FILE_CERTIFICATE, HS_IDENTITY_X509_PQ, "<pq.pem>");
	for (size_t i = 0; i < files.n; i++)
		g_assert_cmpint(files.file[i].what.use, !=, WIRE_FILE_PRIVATE_KEY);
	child_files_free(&files);
}

static void test_keeper(struct fixture *f, gconstpointer unused)
{
	const struct child_file *url;
	struct child_files files;

	open_all(f);
	receive(f, MATERIAL_KEEPER, &files);
	g_assert_cmpuint(files.n, ==, 6);
	assert_file(&files, HS_CLIENT, WIRE_FILE_CERTIFICATE, HS_IDENTITY_X509, "<client.pem>");
	assert_file(&files, HS_CLIENT, WIRE_FILE_PRIVATE_KEY, HS_IDENTITY_X509, "<client.key>");
	assert_file(&files, HS_SERVER, WIRE_FILE_CERTIFICATE, HS_IDENTITY_X509, "<server.pem>");
	assert_file(&files, HS_SERVER, WIRE_FILE_CERTIFICATE, HS_IDENTITY_X509_PQ, "<pq.pem>");
	assert_file(&files, HS_SERVER, WIRE_FILE_PRIVATE_KEY, HS_IDENTITY_X509_PQ, "<pq.key>");
	url = find(&files, HS_SERVER, WIRE_FILE_PRIVATE_KEY, HS_IDENTITY_X509);
	g_assert_nonnull(url);
	g_assert_cmpint(url->fd, ==, -1);
	g_assert_cmpstr(url->what.url, ==, "pkcs11:token=a;object=b");
	child_files_free(&files);
}

/* Two pairs, and any that replace them, are given the same. */
static void test_again(struct fixture *f, gconstpointer unused)
{
	struct child_files files;

	open_all(f);
	for (unsigned int i = 0; i < 4; i++) {
		receive(f, i % 2 ? MATERIAL_KEEPER : MATERIAL_WORKER, &files);
		g_assert_cmpuint(files.n, ==, 6);
		assert_file(&files, HS_CLIENT, WIRE_FILE_CERTIFICATE, HS_IDENTITY_X509,
			    "<client.pem>");
		child_files_free(&files);
	}
}

static void test_labels(struct fixture *f, gconstpointer unused)
{
	g_autofree char *want = g_strdup_printf("%s/crl.pem (/etc/x.conf:%d)", f->dir, CRL_LINE);
	const struct child_file *file;
	struct child_files files;

	open_all(f);
	receive(f, MATERIAL_WORKER, &files);
	file = find(&files, HS_CLIENT, WIRE_FILE_CRL, HS_IDENTITY_X509);
	g_assert_nonnull(file);
	g_assert_cmpstr(file->what.label, ==, want);
	child_files_free(&files);
	receive(f, MATERIAL_KEEPER, &files);
	file = find(&files, HS_SERVER, WIRE_FILE_PRIVATE_KEY, HS_IDENTITY_X509);
	g_assert_nonnull(file);
	g_assert_cmpstr(file->what.label, ==, "pkcs11:token=a;object=b (/etc/x.conf:9)");
	child_files_free(&files);
}

#define PIN "7531"
#define TOKEN "pkcs11:token=a;object=b"

/* The PIN in a URL (RFC 7512 2.4) is the keeper's alone: no label, and so no message, has it. */
static void test_pin(struct fixture *f, gconstpointer unused)
{
	static const char *const urls[] = {
		TOKEN "?pin-value=" PIN,
		TOKEN "?module-name=c&pin-value=" PIN "&pin-source=d",
		"PKCS11:token=a;object=b?pin-value=" PIN,
	};

	for (size_t i = 0; i < G_N_ELEMENTS(urls); i++) {
		g_autofree char *text = g_strconcat("[authenticate.server]\n"
						    "x509.certificate=@/server.pem\n"
						    "x509.private_key=", urls[i], "\n", NULL);
		const struct child_file *key;
		struct child_files files;

		config_free(f->config);
		f->config = parse(f, text);
		open_all(f);
		receive(f, MATERIAL_KEEPER, &files);
		key = find(&files, HS_SERVER, WIRE_FILE_PRIVATE_KEY, HS_IDENTITY_X509);
		g_assert_nonnull(key);
		g_assert_cmpstr(key->what.url, ==, urls[i]);
		g_assert_cmpint(g_ascii_strcasecmp(key->what.label, TOKEN " (/etc/x.conf:3)"), ==,
				0);
		child_files_free(&files);
		receive(f, MATERIAL_WORKER, &files);
		g_assert_cmpuint(files.n, ==, 1);
		g_assert_null(memmem(&files.file[0].what, sizeof(files.file[0].what), PIN,
				     strlen(PIN)));
		child_files_free(&files);
		g_clear_pointer(&f->material, material_free);
	}
}

/* The URL where none may be: the refusal shows what was written, but for the PIN. */
static void test_pin_refused(struct fixture *f, gconstpointer unused)
{
	static const char *const keys[] = { "truststore", "crl", "certificate" };
	struct config *config = NULL;

	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
		g_autofree char *text = g_strdup_printf("[authenticate.server]\nx509.%s=" TOKEN
							"?pin-value=" PIN "\n", keys[i]);

		g_assert_cmpint(config_parse(&config, text, strlen(text), "/etc/x.conf", NULL,
					     f->reason, sizeof(f->reason)), <, 0);
		g_test_message("%s", f->reason);
		g_assert_nonnull(strstr(f->reason, TOKEN));
		g_assert_null(strstr(f->reason, PIN));
	}
}

/* The generation has what was there when it was made, whatever happens to the files. */
static void test_later_change(struct fixture *f, gconstpointer unused)
{
	static const char *const changed[] = { "ca.pem", "crl.pem", "client.pem" };
	struct child_files files;

	open_all(f);
	for (size_t i = 0; i < G_N_ELEMENTS(changed); i++) {
		g_autofree char *path = path_of(f, changed[i]);
		int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);	/* the same inode */

		g_assert_no_errno(fd);
		g_assert_cmpint(write(fd, "other", 5), ==, 5);
		close(fd);
	}
	write_file(f, "server.pem", "replaced", 0644);
	receive(f, MATERIAL_WORKER, &files);
	assert_file(&files, HS_CLIENT, WIRE_FILE_TRUSTSTORE, HS_IDENTITY_X509, "<ca.pem>");
	assert_file(&files, HS_CLIENT, WIRE_FILE_CRL, HS_IDENTITY_X509, "<crl.pem>");
	assert_file(&files, HS_CLIENT, WIRE_FILE_CERTIFICATE, HS_IDENTITY_X509, "<client.pem>");
	assert_file(&files, HS_SERVER, WIRE_FILE_CERTIFICATE, HS_IDENTITY_X509, "<server.pem>");
	child_files_free(&files);
}

/* A private key stays in its file: the monitor makes no copy of it. */
static void test_key_not_copied(struct fixture *f, gconstpointer unused)
{
	g_autofree char *path = path_of(f, "client.key");
	const struct child_file *key;
	struct child_files files;
	struct stat file, sent;

	open_all(f);
	receive(f, MATERIAL_KEEPER, &files);
	g_assert_no_errno(stat(path, &file));
	key = find(&files, HS_CLIENT, WIRE_FILE_PRIVATE_KEY, HS_IDENTITY_X509);
	g_assert_nonnull(key);
	g_assert_no_errno(fstat(key->fd, &sent));
	g_assert_cmpuint(file.st_ino, ==, sent.st_ino);
	g_assert_cmpuint(file.st_dev, ==, sent.st_dev);
	child_files_free(&files);
}

static void assert_refused(struct fixture *f, int error, unsigned int line, const char *name,
			   const char *word)
{
	g_autofree char *where = g_strdup_printf("/etc/x.conf:%u: ", line);
	g_autofree char *path = path_of(f, name);

	f->reason[0] = '\0';
	g_assert_cmpint(try_open(f), ==, error);
	g_assert_null(f->material);
	g_test_message("%s", f->reason);
	g_assert_true(g_str_has_prefix(f->reason, where));
	g_assert_nonnull(strstr(f->reason, path));
	g_assert_nonnull(strstr(f->reason, word));
	g_assert_cmpuint(count_fds(), ==, f->n_fds);
}

/* The name of a file may have a question mark; it is shown whole. */
static void test_question_mark(struct fixture *f, gconstpointer unused)
{
	g_autofree char *path = path_of(f, "ca?1.pem");
	g_autofree char *want = g_strdup_printf("%s (/etc/x.conf:2)", path);
	struct child_files files;

	write_file(f, "ca?1.pem", "ca", 0644);
	config_free(f->config);
	f->config = parse(f, "[authenticate.client]\nx509.truststore=@/ca?1.pem\n");
	open_all(f);
	g_remove(path);
	receive(f, MATERIAL_WORKER, &files);
	g_assert_cmpuint(files.n, ==, 1);
	g_assert_cmpstr(files.file[0].what.label, ==, want);
	child_files_free(&files);
}

static void test_missing(struct fixture *f, gconstpointer unused)
{
	static const struct {
		const char *name;
		unsigned int line;
	} files[] = {
		{ "ca.pem", TRUSTSTORE_LINE }, { "crl.pem", CRL_LINE },
		{ "client.pem", CLIENT_CERT_LINE }, { "client.key", CLIENT_KEY_LINE },
		{ "server.pem", 8 }, { "pq.pem", 10 }, { "pq.key", 11 },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *path = path_of(f, files[i].name);

		g_remove(path);
		assert_refused(f, -ENOENT, files[i].line, files[i].name, "No such file");
		write_file(f, files[i].name, "back", 0600);
	}
	open_all(f);
}

static void test_modes(struct fixture *f, gconstpointer unused)
{
	static const int bad[] = { 0604, 0644, 0620, 0602, 0666 };

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		write_file(f, "client.key", "key", bad[i]);
		assert_refused(f, -EPERM, CLIENT_KEY_LINE, "client.key", "chmod");
	}
	write_file(f, "client.key", "key", 0640);
	/* The same modes are fine for what is public, as long as nobody else may write. */
	write_file(f, "ca.pem", "ca", 0664);
	assert_refused(f, -EPERM, TRUSTSTORE_LINE, "ca.pem", "chmod");
	write_file(f, "ca.pem", "ca", 0604);
	open_all(f);
}

/* Is what would be loaded now the same as what f->material has, or may it be? */
static bool compare_now(struct fixture *f, bool for_certain)
{
	struct material *now = NULL;
	bool same, may_be_same;

	g_assert_cmpint(material_open(&now, f->config, f->reason, sizeof(f->reason)), ==, 0);
	same = material_same(f->material, now);
	g_assert_cmpint(same, ==, material_same(now, f->material));
	may_be_same = material_may_be_same(f->material, now);
	g_assert_cmpint(may_be_same, ==, material_may_be_same(now, f->material));
	g_assert_true(!same || may_be_same);
	material_free(now);
	return for_certain ? same : may_be_same;
}

static bool same_now(struct fixture *f)
{
	return compare_now(f, true);
}

static void open_when_old(struct fixture *f)
{
	g_clear_pointer(&f->material, material_free);
	g_usleep(150000);
	open_all(f);
	g_assert_true(same_now(f));
}

static void test_same(struct fixture *f, gconstpointer unused)
{
	open_when_old(f);
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		bool private = g_str_has_suffix(names[i], ".key");
		g_autofree char *content = g_strdup_printf("<%s>", names[i]), *path = NULL;

		/* Another file with the same content: only of a private key nobody looks at that. */
		write_file(f, names[i], content, private ? 0600 : 0644);
		g_assert_cmpint(same_now(f), ==, !private);
		open_when_old(f);
		content[1]++;
		write_file(f, names[i], content, private ? 0600 : 0644);
		g_assert_false(same_now(f));
		open_when_old(f);
		/* Longer, by one byte. */
		path = path_of(f, names[i]);
		write_file(f, names[i], path, private ? 0600 : 0644);
		g_assert_false(same_now(f));
		open_when_old(f);
	}
	config_free(f->config);
	f->config = parse(f, "\n" CONFIG);
	/* Messages would name another line. */
	g_assert_false(same_now(f));
	config_free(f->config);
	f->config = parse(f, "");
	g_assert_false(same_now(f));
}

/*
 * Written twice within a tick of the kernel's clock, in place, the dates and the size stay: right
 * after a change nothing is the same, not even what is.
 */
static void test_young(struct fixture *f, gconstpointer unused)
{
	g_autofree char *path = path_of(f, "client.key");
	unsigned int n_young = 0;

	for (unsigned int i = 0; i < 50 && !n_young; i++) {
		int fd = open(path, O_WRONLY | O_CLOEXEC);

		g_assert_no_errno(fd);
		g_assert_cmpint(pwrite(fd, i % 2 ? "a" : "b", 1, 0), ==, 1);
		close(fd);
		g_clear_pointer(&f->material, material_free);
		open_all(f);
		/* On a busy machine it may be old enough by now. */
		n_young += !same_now(f);
	}
	g_assert_cmpuint(n_young, >, 0);
	/* What it is later may be another thing. */
	g_usleep(150000);
	g_assert_false(same_now(f));
	/* But nothing tells them apart. */
	g_assert_true(compare_now(f, false));
	write_file(f, "client.key", "another", 0600);
	g_assert_false(compare_now(f, false));
	open_when_old(f);
}

/* As cp -p or rsync -t leave it: the date of the content says nothing, that of the change does. */
static void test_date_put_back(struct fixture *f, gconstpointer unused)
{
	g_autofree char *path = path_of(f, "client.key");
	struct timespec times[2];
	struct stat st;
	int fd;

	open_when_old(f);
	g_assert_no_errno(stat(path, &st));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	g_assert_no_errno(fd);
	g_assert_cmpint(pwrite(fd, "x", 1, 0), ==, 1);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	g_assert_no_errno(futimens(fd, times));
	close(fd);
	g_usleep(150000);
	g_assert_false(same_now(f));
	open_when_old(f);
}

static void test_owners(struct fixture *f, gconstpointer unused)
{
	struct child_files files;
	struct material *other;

	open_all(f);
	other = material_ref(f->material);
	g_assert_true(other == f->material);
	material_free(other);
	receive(f, MATERIAL_WORKER, &files);
	g_assert_cmpuint(files.n, ==, 6);
	child_files_free(&files);
}

static void test_nothing(struct fixture *f, gconstpointer unused)
{
	struct child_files files;

	config_free(f->config);
	f->config = parse(f, "");
	open_all(f);
	receive(f, MATERIAL_WORKER, &files);
	g_assert_cmpuint(files.n, ==, 0);
	receive(f, MATERIAL_KEEPER, &files);
	g_assert_cmpuint(files.n, ==, 0);
	material_free(NULL);
}

static void test_long_names(struct fixture *f, gconstpointer unused)
{
	g_autofree char *url = g_strnfill(WIRE_PATH_MAX - 1 - strlen("pkcs11:"), 'a');
	g_autofree char *text = g_strconcat("[authenticate.server]\nx509.certificate=@/server.pem\n"
					    "x509.private_key=pkcs11:", url, "\n", NULL);
	struct child_files files;

	config_free(f->config);
	f->config = parse(f, text);
	open_all(f);
	receive(f, MATERIAL_KEEPER, &files);
	g_assert_cmpuint(files.n, ==, 2);
	g_assert_cmpuint(strlen(files.file[1].what.url), ==, WIRE_PATH_MAX - 1);
	child_files_free(&files);
}

static void test_receiver_gone(struct fixture *f, gconstpointer unused)
{
	int ends[2];

	open_all(f);
	g_assert_cmpint(channel_pair(ends), ==, 0);
	close(ends[1]);
	g_assert_cmpint(material_send(f->material, MATERIAL_WORKER, ends[0]), ==, -EPIPE);
	close(ends[0]);
}

#define ADD(name, fn) g_test_add("/material/" name, struct fixture, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("worker", test_worker);
	ADD("keeper", test_keeper);
	ADD("again", test_again);
	ADD("labels", test_labels);
	ADD("pin", test_pin);
	ADD("pin-refused", test_pin_refused);
	ADD("question-mark", test_question_mark);
	ADD("later-change", test_later_change);
	ADD("key-not-copied", test_key_not_copied);
	ADD("missing", test_missing);
	ADD("modes", test_modes);
	ADD("same", test_same);
	ADD("young", test_young);
	ADD("date-put-back", test_date_put_back);
	ADD("owners", test_owners);
	ADD("nothing", test_nothing);
	ADD("long-names", test_long_names);
	ADD("receiver-gone", test_receiver_gone);
	return g_test_run();
}
