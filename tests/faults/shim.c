// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For /etc/ld.so.preload: chosen calls of the daemon's processes fail as
 * faults.h says. What to do is in a page that is mapped before main(), so that
 * later no call of the shim's own is in the way of a system call filter.
 *
 * GLib ends the process when it gets no memory. Its calls are left alone here,
 * for what is asked is how the daemon's own code gets on; how it stays clear of
 * GLib's end without memory, test-config.c shows.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "faults.h"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);

static struct faults *faults;	/* NULL: not concerned */
static enum role role;
static uintptr_t glib_start, glib_end;

static int look_for_glib(struct dl_phdr_info *info, size_t size, void *data)
{
	if (!strstr(info->dlpi_name, "libglib-2.0"))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		if (info->dlpi_phdr[i].p_type != PT_LOAD)
			continue;
		if (!glib_start || start < glib_start)
			glib_start = start;
		if (start + info->dlpi_phdr[i].p_memsz > glib_end)
			glib_end = start + info->dlpi_phdr[i].p_memsz;
	}
	return 1;
}

__attribute__((constructor)) static void begin(int argc, char **argv, char **envp)
{
	struct faults *page;
	int fd;

	if (argc < 1 || !strstr(argv[0], "tlshd"))
		return;
	role = argc > 1 && !strcmp(argv[1], "--role=worker") ? ROLE_WORKER :
	       argc > 1 && !strcmp(argv[1], "--role=keeper") ? ROLE_KEEPER : ROLE_MONITOR;
	fd = open(FAULTS_FILE, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	dl_iterate_phdr(look_for_glib, NULL);
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (page != MAP_FAILED)
		faults = page;
}

static bool fails(enum call call)
{
	struct fault_plan *plan;
	unsigned int n, every, once;

	if (!faults)
		return false;
	plan = &faults->plan[role][call];
	n = ++plan->calls;
	every = plan->every;
	once = plan->once;
	if (!(every && n % every == 0) && !(once && n == once))
		return false;
	plan->failed++;
	errno = (int)plan->error;
	return true;
}

/* The real one, in the library after this. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* --- memory --- */

#define NO_MEMORY (!is_glib(__builtin_return_address(0)) && fails(CALL_MALLOC))

static bool is_glib(const void *caller)
{
	return (uintptr_t)caller >= glib_start && (uintptr_t)caller < glib_end;
}

void *malloc(size_t size)
{
	return NO_MEMORY ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return NO_MEMORY ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return NO_MEMORY ? NULL : __libc_realloc(p, size);
}

int posix_memalign(void **ret, size_t align, size_t size)
{
	void *p = NO_MEMORY ? NULL : __libc_memalign(align, size);

	if (!p)
		return ENOMEM;
	*ret = p;
	return 0;
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return fails(CALL_MMAP) ? MAP_FAILED : NEXT(mmap)(addr, len, prot, flags, fd, off);
}

/* With _FILE_OFFSET_BITS=64, as the daemon is built, that is mmap()'s name. */
void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	return fails(CALL_MMAP) ? MAP_FAILED : NEXT(mmap64)(addr, len, prot, flags, fd, off);
}

/* --- descriptors --- */

int socket(int domain, int type, int protocol)
{
	return fails(CALL_SOCKET) ? -1 : NEXT(socket)(domain, type, protocol);
}

int socketpair(int domain, int type, int protocol, int fds[2])
{
	return fails(CALL_SOCKET) ? -1 : NEXT(socketpair)(domain, type, protocol, fds);
}

int timerfd_create(clockid_t clock, int flags)
{
	return fails(CALL_SOCKET) ? -1 : NEXT(timerfd_create)(clock, flags);
}

int memfd_create(const char *name, unsigned int flags)
{
	return fails(CALL_SOCKET) ? -1 : NEXT(memfd_create)(name, flags);
}

int eventfd(unsigned int value, int flags)
{
	return fails(CALL_SOCKET) ? -1 : NEXT(eventfd)(value, flags);
}

static int do_open(int dir, const char *path, int flags, mode_t mode)
{
	return fails(CALL_OPEN) ? -1 : NEXT(openat)(dir, path, flags, mode);
}

#define OPENAT(name)								\
	int name(int dir, const char *path, int flags, ...)			\
	{									\
		mode_t mode = 0;						\
		va_list ap;							\
										\
		va_start(ap, flags);						\
		if (flags & (O_CREAT | O_TMPFILE))				\
			mode = va_arg(ap, mode_t);				\
		va_end(ap);							\
		return do_open(dir, path, flags, mode);				\
	}
#define OPEN(name)								\
	int name(const char *path, int flags, ...)				\
	{									\
		mode_t mode = 0;						\
		va_list ap;							\
										\
		va_start(ap, flags);						\
		if (flags & (O_CREAT | O_TMPFILE))				\
			mode = va_arg(ap, mode_t);				\
		va_end(ap);							\
		return do_open(AT_FDCWD, path, flags, mode);			\
	}

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* --- messages --- */

ssize_t sendmsg(int fd, const struct msghdr *mh, int flags)
{
	return fails(CALL_SEND) ? -1 : NEXT(sendmsg)(fd, mh, flags);
}

ssize_t recvmsg(int fd, struct msghdr *mh, int flags)
{
	return fails(CALL_RECV) ? -1 : NEXT(recvmsg)(fd, mh, flags);
}

ssize_t recv(int fd, void *buf, size_t size, int flags)
{
	return fails(CALL_RECV) ? -1 : NEXT(recv)(fd, buf, size, flags);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	return fails(CALL_WRITE) ? -1 : NEXT(writev)(fd, iov, n);
}

ssize_t write(int fd, const void *buf, size_t size)
{
	return fails(CALL_WRITE) ? -1 : NEXT(write)(fd, buf, size);
}

/* --- the event loop, processes --- */

/* The kernel takes out what is there in any case; libsystemd relies on it, and aborts later if not. */
int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return op != EPOLL_CTL_DEL && fails(CALL_EPOLL) ? -1 : NEXT(epoll_ctl)(epfd, op, fd, event);
}

int epoll_wait(int epfd, struct epoll_event *events, int n, int timeout)
{
	return fails(CALL_EPOLL) ? -1 : NEXT(epoll_wait)(epfd, events, n, timeout);
}

int epoll_pwait2(int epfd, struct epoll_event *events, int n, const struct timespec *timeout,
		 const sigset_t *mask)
{
	return fails(CALL_EPOLL) ? -1 : NEXT(epoll_pwait2)(epfd, events, n, timeout, mask);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *fa,
		const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	return fails(CALL_SPAWN) ? errno : NEXT(posix_spawn)(pid, path, fa, attr, argv, envp);
}
