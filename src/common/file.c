// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is checked is what was opened: fstat() on the descriptor, never stat()
 * on the name, which could be another file by then. The owner of a file is not
 * checked: who may replace it is decided by its directory, and sites keep keys
 * in directories of other accounts (certificate clients).
 */
#include "common/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/text.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U	/* include/uapi/linux/memfd.h, since Linux 6.3 */
#endif

#define PATH_SHOWN 1024	/* bytes of a path in a message */
#define COPY_CHUNK 16384
#define MEMFD_NAME_MAX 250	/* bytes, NUL included; longer is EINVAL, memfd_create(2) */

static const struct {
	mode_t refused;
	const char *rule;
} kinds[] = {
	[FILE_PUBLIC] = { S_IWGRP | S_IWOTH, "nobody but its owner may write it" },
	[FILE_PRIVATE] = { S_IWGRP | S_IWOTH | S_IROTH,
			   "a private file may be written by its owner only and not be read "
			   "by everyone" },
};

/* The argument of chmod(1) that takes @bits away. */
static const char *chmod_words(mode_t bits, char words[static 16])
{
	mode_t other = bits & (S_IROTH | S_IWOTH);

	snprintf(words, 16, "%s%s%s%s%s", bits & S_IWGRP ? "g-w" : "",
		 bits & S_IWGRP && other ? "," : "", other ? "o-" : "",
		 other & S_IROTH ? "r" : "", other & S_IWOTH ? "w" : "");
	return words;
}

static int check(const struct stat *st, enum file_kind kind, const char *shown,
		 char *reason, size_t reason_size)
{
	mode_t bad = st->st_mode & kinds[kind].refused;
	char words[16];

	if (S_ISDIR(st->st_mode)) {
		snprintf(reason, reason_size, "%s is a directory; name a file", shown);
		return -EISDIR;
	}
	if (!S_ISREG(st->st_mode)) {
		snprintf(reason, reason_size,
			 "%s is not a regular file; FIFOs and devices are not read", shown);
		return -EINVAL;
	}
	if (bad) {
		snprintf(reason, reason_size, "%s has mode %04o, but %s; run: chmod %s %s", shown,
			 st->st_mode & 07777u, kinds[kind].rule, chmod_words(bad, words), shown);
		return -EPERM;
	}
	if (st->st_size > (off_t)FILE_SIZE_MAX) {
		snprintf(reason, reason_size, "%s has %lld bytes; at most %u are read", shown,
			 (long long)st->st_size, FILE_SIZE_MAX);
		return -EFBIG;
	}
	return 0;
}

static const char *open_hint(int error)
{
	switch (error) {
	case ENOENT:
		return "; check the name, and where a symbolic link points";
	case EACCES:
		return "; this process may not read it: check its mode and its directories' (a file of another user: tlshd(8), Confinement)";
	case ENXIO:
		return "; it is a socket or a device, name a regular file";
	case ELOOP:
		return "; symbolic links point at each other";
	default:
		return "";
	}
}

int file_open(const char *path, enum file_kind kind, char *reason, size_t reason_size)
{
	CLEANUP_FD int fd = -1;
	char shown[PATH_SHOWN];
	struct stat st;
	int r;

	text_quote(shown, sizeof(shown), path, strlen(path));
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		snprintf(reason, reason_size, "%s cannot be opened: %s%s", shown, strerror(-r),
			 open_hint(-r));
		return r;
	}
	r = check(&st, kind, shown, reason, reason_size);
	return r < 0 ? r : TAKE_FD(fd);
}

static int write_all(int fd, const char *buf, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, buf, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

/* By pread(), because @from may be shared; with a limit, because it may grow under our hands. */
static int copy(int from, int to)
{
	char buf[COPY_CHUNK];
	off_t at = 0;
	ssize_t n;
	int r;

	for (;;) {
		n = pread(from, buf, sizeof(buf), at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return lseek(to, 0, SEEK_SET) < 0 ? -errno : 0;
		at += n;
		if (at > (off_t)FILE_SIZE_MAX)
			return -EFBIG;
		r = write_all(to, buf, (size_t)n);
		if (r < 0)
			return r;
	}
}

static int memfd_new(const char *name)
{
	char shown[MEMFD_NAME_MAX];
	int fd;

	text_copy(shown, sizeof(shown), name);
	fd = memfd_create(shown, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(shown, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

static int seal(int memfd)
{
	int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

	return fcntl(memfd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

int file_to_memfd(int fd, const char *name)
{
	CLEANUP_FD int memfd = memfd_new(name);
	int r;

	if (memfd < 0)
		return memfd;
	r = copy(fd, memfd);
	if (r == 0)
		r = seal(memfd);
	return r < 0 ? r : TAKE_FD(memfd);
}

int file_memfd_from(const void *data, size_t len, const char *name)
{
	CLEANUP_FD int memfd = -1;
	int r;

	if (len > FILE_SIZE_MAX)
		return -EFBIG;
	memfd = memfd_new(name);
	if (memfd < 0)
		return memfd;
	r = write_all(memfd, data, len);
	if (r == 0 && lseek(memfd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r == 0)
		r = seal(memfd);
	return r < 0 ? r : TAKE_FD(memfd);
}
