// SPDX-License-Identifier: GPL-2.0-or-later
#include "tlshd/monitor/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "common/cleanup.h"
#include "common/ktls.h"
#include "common/log.h"
#include "common/passing.h"
#include "tlshd/monitor/netlink.h"

#define PREFIX "ciphers="
#define SHORTAGE "shortage\n"	/* instead: nothing is known, for want of something */
#define TEXT_MAX 256	/* bytes of the file, NUL included */

/* Names of the ciphers in @mask, with @separator between them. */
static void names(uint32_t mask, const char *separator, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (unsigned int i = 0; i < KTLS_N_CIPHERS; i++) {
		if (mask & 1u << i && len < size)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? separator : "",
						ktls_cipher_name(i));
	}
}

void probe_format(uint32_t mask, char *buf, size_t size)
{
	char list[TEXT_MAX];

	names(mask, ",", list, sizeof(list));
	snprintf(buf, size, PREFIX "%s\n", list);
}

static int find_cipher(const char *name, size_t len)
{
	for (unsigned int i = 0; i < KTLS_N_CIPHERS; i++) {
		if (strlen(ktls_cipher_name(i)) == len && !strncmp(ktls_cipher_name(i), name, len))
			return (int)i;
	}
	return -1;
}

int probe_parse(const char *text, uint32_t *ret_mask)
{
	const char *p = text + strlen(PREFIX);
	uint32_t mask = 0;

	if (strncmp(text, PREFIX, strlen(PREFIX)))
		return -EBADMSG;
	while (*p != '\n') {
		size_t len = strcspn(p, ",\n");
		int cipher = find_cipher(p, len);

		/* Also at the end of a text without newline, which is not whole. */
		if (cipher < 0 || !p[len])
			return -EBADMSG;
		mask |= 1u << cipher;
		p += len + (p[len] == ',');
	}
	if (p[1])
		return -EBADMSG;
	*ret_mask = mask;
	return 0;
}

static int read_file(const char *path, uint32_t *ret_mask)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[TEXT_MAX];
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return strcmp(text, SHORTAGE) ? probe_parse(text, ret_mask) : -EAGAIN;
}

int probe_ciphers(uint32_t *ret_mask)
{
	const char *dir = getenv("RUNTIME_DIRECTORY");
	CLEANUP_FREE char *path = NULL;
	int r = ktls_probe(ret_mask);

	if (r != -EAFNOSUPPORT || !dir)
		return r;
	if (asprintf(&path, "%s/" PROBE_FILE, dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return read_file(path, ret_mask);
}

bool probe_is_shortage(int error)
{
	return is_passing(error) || error == -ENOBUFS;
}

static int write_file(const char *path, const char *text)
{
	CLEANUP_FREE char *temporary = NULL;
	CLEANUP_FD int fd = -1;
	ssize_t n;

	if (!path[0])
		return -ENOENT;
	if (asprintf(&temporary, "%s.new", path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	if (n != (ssize_t)strlen(text))
		return n < 0 ? -errno : -ENOSPC;
	return rename(temporary, path) < 0 ? -errno : 0;
}

int probe_main(const char *path, const struct log *log)
{
	char text[TEXT_MAX], list[TEXT_MAX];
	uint32_t mask = 0;
	int family = netlink_family_exists();
	int r = ktls_probe(&mask);

	if (family < 0 || r < 0) {
		r = family < 0 ? family : r;
		log_error(log, "cannot ask the kernel what it can do: %s", strerror(-r));
		if (!probe_is_shortage(r))
			return EX_OSERR;
		/* The daemon, too, is to be started again. */
		if (path)
			write_file(path, SHORTAGE);
		return EX_TEMPFAIL;
	}
	names(mask, ", ", list, sizeof(list));
	printf("handshake upcall: %s\n", family ? "yes" : "no: it needs Linux 6.4 or later with CONFIG_NET_HANDSHAKE=y, or on 6.1 the module handshake");
	printf("TLS of TCP sockets: %s\n", mask ? list : "no: it needs CONFIG_TLS and the module \"tls\" (modprobe tls, as root)");
	if (path) {
		probe_format(mask, text, sizeof(text));
		r = write_file(path, text);
		if (r < 0) {
			log_error(log, "%s cannot be written: %s", path[0] ? path : "a file without a name",
				  strerror(-r));
			return EX_CANTCREAT;
		}
	}
	return family && mask ? EX_OK : EX_UNAVAILABLE;
}
