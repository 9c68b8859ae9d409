// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The two fences that stand behind the filter, which hides them. So the child does what
 * sandbox_enter() does before the filter: the program is linked with --wrap=sandbox_filter,
 * which leaves it out.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "build-config.h"
#include "sandbox-child.h"

static const char *const role_names[] = { "worker", "keeper", "keeper-token" };

int __wrap_sandbox_filter(enum sandbox_role role, const char **ret_step);

int __wrap_sandbox_filter(enum sandbox_role role, const char **ret_step)
{
	return 0;
}

/* ---- limits ------------------------------------------------------------------------------- */

static bool mappable(size_t size, int prot)
{
	void *map = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return map != MAP_FAILED && munmap(map, size) == 0;
}

/* Those of this process, which a child begins with. */
static struct rlimit before[RLIM_NLIMITS];

static rlim_t highest(const struct have *h, int resource)
{
	switch (resource) {
	case RLIMIT_MSGQUEUE:
	case RLIMIT_NICE:
	case RLIMIT_RTPRIO:
	case RLIMIT_CORE:
		return 0;
	}
	/* Its module may have files, threads and memory. */
	if (h->role == SANDBOX_KEEPER_TOKEN)
		return RLIM_INFINITY;
	switch (resource) {
	case RLIMIT_NPROC:
	case RLIMIT_FSIZE:
		return 0;
	case RLIMIT_DATA:
		return h->data + (h->role == SANDBOX_WORKER ? 1024ul << 20 : 256ul << 20);
	case RLIMIT_AS:
		return h->all + (h->role == SANDBOX_WORKER ? 1024ul << 20 : 256ul << 20);
	case RLIMIT_NOFILE:
		return h->role == SANDBOX_WORKER ? 16448 : 64;
	default:
		return RLIM_INFINITY;
	}
}

/* It was measured here, and a moment later there; less than what is in use. */
#define DATA_SLACK (64ul << 10)

static bool is_limit(int resource, rlim_t value, rlim_t wanted)
{
	bool counts = resource == RLIMIT_DATA || resource == RLIMIT_AS;
	rlim_t slack = counts && wanted != RLIM_INFINITY ? DATA_SLACK : 0;

	if (value >= wanted - MIN(slack, wanted) && value <= wanted + slack)
		return true;
	dprintf(STDERR_FILENO, "limit %d is %#lx, not %#lx", resource, value, wanted);
	errno = ERANGE;
	return false;
}

static long look_at_limits(const struct have *h)
{
	struct rlimit l;

	for (int i = 0; i < (int)RLIM_NLIMITS; i++) {
		rlim_t most = highest(h, i);

		if (getrlimit((__rlimit_resource_t)i, &l) < 0 ||
		    !is_limit(i, l.rlim_max, MIN(before[i].rlim_max, most)) ||
		    !is_limit(i, l.rlim_cur, MIN(before[i].rlim_cur, most)))
			return -1;
	}
	if (h->role == SANDBOX_KEEPER_TOKEN)
		return 0;
	getrlimit(RLIMIT_DATA, &l);
	dprintf(STDERR_FILENO, "data: %lu KiB in use and %lu more", h->data >> 10,
		(l.rlim_max - h->data) >> 10);
	/* Some is there, and not all, nor what costs memory only by the size of its tables. */
	if (!mappable(200 << 20, PROT_READ | PROT_WRITE) ||
	    mappable(l.rlim_max, PROT_READ | PROT_WRITE) || errno != ENOMEM)
		return -1;
	return mappable((size_t)4 << 40, PROT_READ) || errno != ENOMEM ? -1 : 0;
}

static void test_limits(const void *role)
{
	g_autofree char *end = NULL;

	for (int i = 0; i < (int)RLIM_NLIMITS; i++)
		g_assert_no_errno(getrlimit((__rlimit_resource_t)i, &before[i]));
	/* Else this says nothing. */
	g_assert_cmpuint(before[RLIMIT_DATA].rlim_cur, >, 2ul << 30);
	g_assert_cmpuint(before[RLIMIT_NPROC].rlim_max, >, 0);
	g_assert_cmpuint(before[RLIMIT_FSIZE].rlim_max, >, 0);
	end = status_text(run(GPOINTER_TO_UINT(role), look_at_limits, NULL, 0));
	g_assert_cmpstr(end, ==, "status " G_STRINGIFY(CAME_BACK));
}

/* ---- Landlock ----------------------------------------------------------------------------- */

/*
 * One attempt for each right that is taken. The names are of a directory of the test's own, where
 * nothing else forbids what is tried: it is tried outside, too, where it may fail, but not so.
 */
static long do_execute(const struct have *h)
{
	char *const none[] = { NULL };

	return execve("/bin/true", none, none);
}

static long do_write(const struct have *h)
{
	return open("file", O_WRONLY);
}

static long do_read(const struct have *h)
{
	return open("file", O_RDONLY);
}

static long do_list(const struct have *h)
{
	return open(".", O_RDONLY | O_DIRECTORY);
}

static long do_rmdir(const struct have *h)
{
	return rmdir("empty");
}

static long do_unlink(const struct have *h)
{
	return unlink("file");
}

static long do_char_device(const struct have *h)
{
	return mknod("new", S_IFCHR | 0600, makedev(1, 3));
}

static long do_mkdir(const struct have *h)
{
	return mkdir("new", 0700);
}

static long do_create(const struct have *h)
{
	return mknod("new", S_IFREG | 0600, 0);
}

static long do_socket(const struct have *h)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "new" };

	return bind(h->unix_socket, (struct sockaddr *)&addr, sizeof(addr));
}

static long do_fifo(const struct have *h)
{
	return mkfifo("new", 0600);
}

static long do_block_device(const struct have *h)
{
	return mknod("new", S_IFBLK | 0600, makedev(7, 0));
}

static long do_symlink(const struct have *h)
{
	return symlink("file", "new");
}

static long do_hard_link(const struct have *h)
{
	return link("file", "new");
}

/* To another directory. */
static long do_rename(const struct have *h)
{
	return rename("file", "empty/file");
}

static long do_truncate(const struct have *h)
{
	return truncate("file", 0);
}

static long do_bind(const struct have *h)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	return bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&addr, sizeof(addr));
}

/* To a port where, at the most, somebody discards what comes. */
static long do_connect(const struct have *h)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(9),
	};

	return connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&addr, sizeof(addr));
}

/* Neither to read nor to write, which is another right. ENOTTY where it is asked. */
static long do_ioctl(const struct have *h)
{
	struct termios t;
	int fd = open("/dev/null", O_WRONLY | O_RDWR);

	if (fd < 0)
		_exit(SET_UP_FAILED);
	return ioctl(fd, TCGETS, &t);
}

static struct sockaddr_un abstract = { .sun_family = AF_UNIX };	/* somebody listens there */

static long do_abstract(const struct have *h)
{
	return connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&abstract,
		       sizeof(abstract));
}

static long do_signal(const struct have *h)
{
	return kill(h->other, 0);
}

static long do_trace(const struct have *h)
{
	return ptrace(PTRACE_SEIZE, h->other, NULL, NULL);
}

struct fenced {
	const char *name;
	long (*fn)(const struct have *h);
	int error;
	int abi;	/* from which on */
};

static const struct fenced fenced[] = {
	{ "execute", do_execute, EACCES, 1 },
	{ "write", do_write, EACCES, 1 },
	{ "read", do_read, EACCES, 1 },
	{ "list", do_list, EACCES, 1 },
	{ "rmdir", do_rmdir, EACCES, 1 },
	{ "unlink", do_unlink, EACCES, 1 },
	{ "character-device", do_char_device, EACCES, 1 },
	{ "mkdir", do_mkdir, EACCES, 1 },
	{ "create", do_create, EACCES, 1 },
	{ "socket", do_socket, EACCES, 1 },
	{ "fifo", do_fifo, EACCES, 1 },
	{ "block-device", do_block_device, EACCES, 1 },
	{ "symlink", do_symlink, EACCES, 1 },
	{ "link", do_hard_link, EACCES, 1 },
	{ "rename", do_rename, EACCES, 2 },	/* before, EXDEV */
	{ "trace", do_trace, EPERM, 1 },
	{ "truncate", do_truncate, EACCES, 3 },
	{ "bind", do_bind, EACCES, 4 },
	{ "connect", do_connect, EACCES, 4 },
	{ "ioctl", do_ioctl, EACCES, 5 },
	{ "abstract-socket", do_abstract, EPERM, 6 },
	{ "signal", do_signal, EPERM, 6 },
};

static const struct fenced *tried;

/* Something else may be in the way: who is not root makes no devices. */
static long outside(const struct have *h)
{
	if (tried->fn(h) < 0 && errno == tried->error)
		_exit(tried->error);
	return 0;
}

/* In a directory with "file" and "empty". */
static char *try_in_directory(enum sandbox_role role, long (*fn)(const struct have *h))
{
	static const char *const names[] = { "empty/file", "empty", "file", "new" };
	g_autofree char *dir = g_dir_make_tmp("tlshd-fences-XXXXXX", NULL);
	int status;

	g_assert_nonnull(dir);
	g_assert_no_errno(chdir(dir));
	g_assert_true(g_file_set_contents("file", "content", -1, NULL));
	g_assert_no_errno(mkdir("empty", 0700));
	status = run(role, fn, NULL, 0);
	for (unsigned int i = 0; i < G_N_ELEMENTS(names); i++)
		remove(names[i]);
	g_assert_no_errno(chdir("/"));
	g_assert_no_errno(rmdir(dir));
	return status_text(status);
}

static int listen_abstract(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_snprintf(abstract.sun_path + 1, sizeof(abstract.sun_path) - 1, "tlshd-fences-%d",
		   getpid());
	g_assert_no_errno(bind(fd, (struct sockaddr *)&abstract, sizeof(abstract)));
	g_assert_no_errno(listen(fd, 16));
	return fd;
}

static void test_landlock(const void *data)
{
	const struct fenced *f = data;
	long abi = syscall(444, NULL, 0, 1);	/* landlock_create_ruleset(2) */
	g_autofree char *refused = g_strdup_printf("status %d", f->error);
	g_autofree char *free_end = NULL;
	int listener;

	g_test_message("Landlock %ld", abi);
	if (abi < f->abi) {
		g_test_skip("this kernel has no such Landlock");
		return;
	}
	listener = listen_abstract();
	for (unsigned int role = SANDBOX_WORKER; role <= SANDBOX_KEEPER; role++) {
		g_autofree char *end = try_in_directory(role, f->fn);

		g_assert_cmpstr(end, ==, refused);
	}
	tried = f;
	free_end = try_in_directory(NOBODY, outside);
	close(listener);
	if (f->fn == do_trace && strcmp(free_end, refused) == 0) {
		g_test_skip("here nobody may trace another, with Landlock or without");
		return;
	}
	g_assert_cmpstr(free_end, ==, f->fn == do_execute ? "status 0" :
				      "status " G_STRINGIFY(CAME_BACK));
}

/* ---- what is asked of a kernel that is not here --------------------------------------------- */

#define CREATE_RULESET 444
#define RESTRICT_SELF 446
#define RULESET_FD 1000

static int pretended;	/* the kernel's ABI, or a negative errno; 0 for the real one */
static uint64_t asked[4];	/* as landlock(7) has them, and how often it was put in force */

static long landlock_of(int abi, long nr, const void *attr, size_t size, long flags)
{
	if (nr == RESTRICT_SELF) {
		asked[3]++;
		return (long)(intptr_t)attr == RULESET_FD && size == 0 ? 0 : -1;
	}
	if (abi < 0 || (abi < 4 && size > 8) || (abi < 6 && size > 16) || size > 24) {
		errno = abi < 0 ? -abi : E2BIG;
		return -1;
	}
	if (flags == 1)
		return abi;
	memcpy(asked, attr, size);
	return RULESET_FD;
}

long __real_syscall(long nr, ...);
long __wrap_syscall(long nr, ...);

/* More than were given are read, as the C library does. */
long __wrap_syscall(long nr, ...)
{
	long arg[6];
	va_list args;

	va_start(args, nr);
	for (unsigned int i = 0; i < G_N_ELEMENTS(arg); i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	if (pretended && (nr == CREATE_RULESET || nr == RESTRICT_SELF))
		return landlock_of(pretended, nr, (const void *)arg[0], (size_t)arg[1], arg[2]);
	return __real_syscall(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

static long look_at_asked(const struct have *h)
{
	static const uint64_t wanted[][3] = {
		{ 0 }, { 0x1fff }, { 0x3fff }, { 0x7fff }, { 0x7fff, 3 }, { 0xffff, 3 },
		{ 0xffff, 3, 3 }, { 0xffff, 3, 3 },
	};

	dprintf(STDERR_FILENO, "of %d: files %#lx, TCP %#lx, scopes %#lx", pretended, asked[0],
		asked[1], asked[2]);
	errno = EINVAL;
	return memcmp(asked, wanted[MAX(pretended, 0)], sizeof(wanted[0])) != 0 ||
	       asked[3] != (pretended > 0) ? -1 : 0;
}

/*
 * All that each version has. Of some rights nothing is seen while others are taken, too: a program
 * that cannot be read is not executed either, and what cannot be removed not moved.
 */
static void test_versions(void)
{
	static const int abis[] = { -ENOSYS, -EOPNOTSUPP, 1, 2, 3, 4, 5, 6, 7 };

	for (unsigned int i = 0; i < G_N_ELEMENTS(abis); i++) {
		g_autofree char *end = NULL;

		pretended = abis[i];
		end = status_text(run(SANDBOX_WORKER, look_at_asked, NULL, 0));
		g_assert_cmpstr(end, ==, "status " G_STRINGIFY(CAME_BACK));
	}
	pretended = 0;
}

/* Anything else that the kernel says is no reason to go on without. */
static void test_failure(void)
{
	g_autofree char *end = NULL;

	pretended = -ENOMEM;
	end = status_text(run(SANDBOX_WORKER, look_at_asked, NULL, 0));
	pretended = 0;
	g_assert_cmpstr(end, ==, "status " G_STRINGIFY(SET_UP_FAILED));
}

static void test_off(void)
{
	g_test_skip("this build has no sandbox: the sanitizers need system calls of their own");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (TLSHD_SANDBOX_OFF) {
		g_test_add_func("/sandbox-fences/off", test_off);
		return g_test_run();
	}
	for (unsigned int role = 0; role < SANDBOX_N_ROLES; role++) {
		g_autofree char *path = g_strdup_printf("/sandbox-fences/limits/%s",
							role_names[role]);

		g_test_add_data_func(path, GUINT_TO_POINTER(role), test_limits);
	}
	for (unsigned int i = 0; i < G_N_ELEMENTS(fenced); i++) {
		g_autofree char *path = g_strdup_printf("/sandbox-fences/landlock/%s",
							fenced[i].name);

		g_test_add_data_func(path, &fenced[i], test_landlock);
	}
	g_test_add_func("/sandbox-fences/versions", test_versions);
	g_test_add_func("/sandbox-fences/failure", test_failure);
	return g_test_run();
}
