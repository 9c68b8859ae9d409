// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "common/cleanup.h"
#include "common/file.h"

struct fixture {
	char *dir, *path;
	char reason[512];
};

static void set_up(struct fixture *f, gconstpointer unused)
{
	f->dir = g_dir_make_tmp("tlshd-file-XXXXXX", NULL);
	g_assert_nonnull(f->dir);
	f->path = g_build_filename(f->dir, "file.pem", NULL);
	g_assert_true(g_file_set_contents(f->path, "hello", -1, NULL));
	f->reason[0] = '\0';
	alarm(20);	/* nothing here may wait */
}

static void tear_down(struct fixture *f, gconstpointer unused)
{
	alarm(0);
	g_remove(f->path);
	g_rmdir(f->dir);
	g_free(f->path);
	g_free(f->dir);
}

static int try_open(struct fixture *f, const char *path, enum file_kind kind)
{
	f->reason[0] = '\0';
	return file_open(path, kind, f->reason, sizeof(f->reason));
}

static void assert_refused(struct fixture *f, const char *path, int error, const char *word)
{
	g_assert_cmpint(try_open(f, path, FILE_PUBLIC), ==, -error);
	g_assert_nonnull(strstr(f->reason, path));
	g_assert_nonnull(strstr(f->reason, word));
}

/* Every mode there is, against the rule of the header. */
static void test_modes(struct fixture *f, gconstpointer unused)
{
	g_autofree char *shown = NULL;
	unsigned int mode, bad;
	enum file_kind kind;
	int fd;

	for (mode = 0; mode < 01000; mode++) {
		if (geteuid() != 0 && !(mode & 0400))
			continue;
		g_assert_no_errno(chmod(f->path, mode));
		for (kind = FILE_PUBLIC; kind <= FILE_PRIVATE; kind++) {
			bad = mode & (kind == FILE_PRIVATE ? 026u : 022u);
			fd = try_open(f, f->path, kind);
			if (!bad) {
				g_assert_cmpint(fd, >=, 0);
				g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
				close(fd);
				continue;
			}
			g_assert_cmpint(fd, ==, -EPERM);
			g_free(shown);
			shown = g_strdup_printf("mode %04o", mode);
			g_assert_nonnull(strstr(f->reason, shown));
			g_assert_nonnull(strstr(f->reason, f->path));
		}
	}
}

static void test_chmod_words(struct fixture *f, gconstpointer unused)
{
	static const struct {
		mode_t mode;
		enum file_kind kind;
		const char *words;
	} cases[] = {
		{ 0644, FILE_PRIVATE, "chmod o-r /" },
		{ 0602, FILE_PRIVATE, "chmod o-w /" },
		{ 0606, FILE_PRIVATE, "chmod o-rw /" },
		{ 0660, FILE_PRIVATE, "chmod g-w /" },
		{ 0666, FILE_PRIVATE, "chmod g-w,o-rw /" },
		{ 0664, FILE_PUBLIC, "chmod g-w /" },
		{ 0646, FILE_PUBLIC, "chmod o-w /" },
		{ 0666, FILE_PUBLIC, "chmod g-w,o-w /" },
	};
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_assert_no_errno(chmod(f->path, cases[i].mode));
		g_assert_cmpint(try_open(f, f->path, cases[i].kind), ==, -EPERM);
		/* Of a public file 0666 wants o-w only: everyone may read it. */
		g_assert_nonnull(strstr(f->reason, cases[i].words));
	}
}

static void test_kinds(struct fixture *f, gconstpointer unused)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	CLEANUP_FD int sock = -1;

	assert_refused(f, f->dir, EISDIR, "directory");
	assert_refused(f, "/dev/null", EINVAL, "not a regular file");

	g_remove(f->path);
	assert_refused(f, f->path, ENOENT, "No such file");
	g_assert_no_errno(mkfifo(f->path, 0600));
	assert_refused(f, f->path, EINVAL, "not a regular file");
	g_remove(f->path);

	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpuint(strlen(f->path), <, sizeof(sa.sun_path));
	strcpy(sa.sun_path, f->path);
	g_assert_no_errno(bind(sock, (struct sockaddr *)&sa, sizeof(sa)));
	assert_refused(f, f->path, ENXIO, "socket");
}

static void test_symlink(struct fixture *f, gconstpointer unused)
{
	g_autofree char *link = g_build_filename(f->dir, "link", NULL);
	g_autofree char *chain = g_build_filename(f->dir, "chain", NULL);
	int fd;

	g_assert_no_errno(chmod(f->path, 0600));
	g_assert_no_errno(symlink("file.pem", link));
	g_assert_no_errno(symlink("link", chain));
	fd = try_open(f, chain, FILE_PRIVATE);
	g_assert_cmpint(fd, >=, 0);
	close(fd);

	g_assert_no_errno(chmod(f->path, 0644));
	g_assert_cmpint(try_open(f, chain, FILE_PRIVATE), ==, -EPERM);
	g_remove(link);
	assert_refused(f, chain, ENOENT, "symbolic link");
	g_assert_no_errno(symlink("chain", link));
	assert_refused(f, chain, ELOOP, "symbolic link");
	g_remove(link);
	g_remove(chain);
}

static void test_size(struct fixture *f, gconstpointer unused)
{
	int fd;

	g_assert_no_errno(chmod(f->path, 0600));
	g_assert_no_errno(truncate(f->path, FILE_SIZE_MAX));
	fd = try_open(f, f->path, FILE_PUBLIC);
	g_assert_cmpint(fd, >=, 0);
	close(fd);
	g_assert_no_errno(truncate(f->path, (off_t)FILE_SIZE_MAX + 1));
	assert_refused(f, f->path, EFBIG, "67108865");
	g_assert_no_errno(truncate(f->path, 0));
	fd = try_open(f, f->path, FILE_PUBLIC);
	g_assert_cmpint(fd, >=, 0);
	close(fd);
}

static void test_no_permission(struct fixture *f, gconstpointer unused)
{
	int status;
	pid_t pid;

	g_assert_no_errno(chmod(f->path, 0200));
	g_assert_no_errno(chmod(f->dir, 0711));
	pid = fork();
	g_assert_no_errno(pid);
	if (pid == 0) {
		if (geteuid() == 0 && setuid(65534) < 0)
			_exit(2);
		_exit(try_open(f, f->path, FILE_PUBLIC) == -EACCES &&
		      strstr(f->reason, "Permission denied") ? 0 : 1);
	}
	g_assert_no_errno(waitpid(pid, &status, 0));
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static void test_ugly_name(struct fixture *f, gconstpointer unused)
{
	char small[24];

	g_assert_cmpint(try_open(f, "/nonexistent/a\n\x1b[2J", FILE_PUBLIC), ==, -ENOENT);
	g_assert_nonnull(strstr(f->reason, "/nonexistent/a\\x0a\\x1b[2J"));
	g_assert_cmpint(file_open(f->dir, FILE_PUBLIC, small, sizeof(small)), ==, -EISDIR);
	g_assert_cmpuint(strlen(small), <, sizeof(small));
}

static void test_memfd(struct fixture *f, gconstpointer unused)
{
	CLEANUP_FD int fd = -1, memfd = -1;
	char buf[16];
	void *map;

	g_assert_no_errno(chmod(f->path, 0600));
	fd = try_open(f, f->path, FILE_PUBLIC);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(read(fd, buf, 2), ==, 2);	/* copied from the start */
	memfd = file_to_memfd(fd, "test");
	g_assert_cmpint(memfd, >=, 0);
	g_assert_cmpint(read(memfd, buf, sizeof(buf)), ==, 5);
	g_assert_cmpmem(buf, 5, "hello", 5);
	g_assert_cmpint(lseek(fd, 0, SEEK_CUR), ==, 2);

	g_assert_cmpint(fcntl(memfd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
	g_assert_cmpint(fcntl(memfd, F_GET_SEALS) & (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK),
			==, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK);
	g_assert_cmpint(pwrite(memfd, "x", 1, 0), ==, -1);
	g_assert_cmpint(errno, ==, EPERM);
	g_assert_cmpint(ftruncate(memfd, 0), ==, -1);
	g_assert_cmpint(ftruncate(memfd, 100), ==, -1);
	map = mmap(NULL, 5, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	g_assert_true(map == MAP_FAILED);
}

static void test_memfd_sizes(struct fixture *f, gconstpointer unused)
{
	static const size_t sizes[] = { 0, 1, 16383, 16384, 16385, 1000000 };
	size_t i, j;

	for (i = 0; i < G_N_ELEMENTS(sizes); i++) {
		g_autofree char *data = g_malloc(sizes[i] + 1);
		g_autofree char *back = g_malloc(sizes[i] + 1);
		CLEANUP_FD int fd = -1, memfd = -1;

		for (j = 0; j < sizes[i]; j++)
			data[j] = (char)g_test_rand_int();
		g_assert_true(g_file_set_contents(f->path, data, (gssize)sizes[i], NULL));
		fd = open(f->path, O_RDONLY | O_CLOEXEC);
		memfd = file_to_memfd(fd, "test");
		g_assert_cmpint(memfd, >=, 0);
		g_assert_cmpint(pread(memfd, back, sizes[i] + 1, 0), ==, (gint64)sizes[i]);
		g_assert_cmpmem(back, sizes[i], data, sizes[i]);
	}
}

static void test_memfd_long_name(struct fixture *f, gconstpointer unused)
{
	g_autofree char *name = g_strnfill(1000, 'n');
	CLEANUP_FD int fd = -1, memfd = -1;

	fd = open(f->path, O_RDONLY | O_CLOEXEC);
	memfd = file_to_memfd(fd, name);
	g_assert_cmpint(memfd, >=, 0);
}

static void test_memfd_errors(struct fixture *f, gconstpointer unused)
{
	CLEANUP_FD int fd = -1;

	g_assert_cmpint(file_to_memfd(-1, "test"), ==, -EBADF);
	/* A file that grew after it was opened. */
	fd = open(f->path, O_RDONLY | O_CLOEXEC);
	g_assert_no_errno(truncate(f->path, (off_t)FILE_SIZE_MAX + 1));
	g_assert_cmpint(file_to_memfd(fd, "test"), ==, -EFBIG);
}

#define ADD(name, fn) g_test_add("/file/" name, struct fixture, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("modes", test_modes);
	ADD("chmod-words", test_chmod_words);
	ADD("kinds", test_kinds);
	ADD("symlink", test_symlink);
	ADD("size", test_size);
	ADD("no-permission", test_no_permission);
	ADD("ugly-name", test_ugly_name);
	ADD("memfd", test_memfd);
	ADD("memfd/sizes", test_memfd_sizes);
	ADD("memfd/long-name", test_memfd_long_name);
	ADD("memfd/errors", test_memfd_errors);
	return g_test_run();
}
