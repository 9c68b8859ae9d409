// SPDX-License-Identifier: GPL-2.0-or-later
#include "tlshd/monitor/material.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <time.h>

#include "common/channel.h"
#include "common/file.h"

#define ITEMS_MAX (HS_N_ROLES * (2 + 2 * HS_N_IDENTITIES))
#define CHUNK 8192
#define NSEC_PER_SEC INT64_C(1000000000)
/* Dates of files go on with the kernel's ticks, of 10 ms at most: two changes may have the same. */
#define DATE_STEP (NSEC_PER_SEC / 10)

struct item {
	struct wire_file file;
	int fd;		/* -1: a URL */
	struct stat st;	/* when it was opened */
	bool young;	/* changed right before that */
};

struct material {
	unsigned int owners;
	struct item items[ITEMS_MAX];
	size_t n_items;
};

static int64_t nsec(const struct timespec *t)
{
	return t->tv_sec * NSEC_PER_SEC + t->tv_nsec;
}

static int note_state(struct item *item, int fd)
{
	struct timespec now;

	if (fstat(fd, &item->st) < 0)
		return -errno;
	clock_gettime(CLOCK_REALTIME, &now);
	item->young = nsec(&item->st.st_ctim) > nsec(&now) - DATE_STEP;
	return 0;
}

static int open_item(struct item *item, const char *path, const char *where,
		     char *reason, size_t reason_size)
{
	bool private = item->file.use == WIRE_FILE_PRIVATE_KEY;
	char why[LOG_TEXT_MAX];
	CLEANUP_FD int fd = -1;

	item->fd = -1;
	if (private && config_is_url(path)) {
		if (strlen(path) >= sizeof(item->file.url)) {
			snprintf(reason, reason_size, "%s: the URL is too long", where);
			return -ENAMETOOLONG;
		}
		strcpy(item->file.url, path);
		return 0;
	}
	fd = file_open(path, private ? FILE_PRIVATE : FILE_PUBLIC, why, sizeof(why));
	if (fd < 0) {
		snprintf(reason, reason_size, "%s: %s", where, why);
		return fd;
	}
	item->fd = note_state(item, fd);
	if (item->fd == 0)
		item->fd = private ? TAKE_FD(fd) : file_to_memfd(fd, path);
	if (item->fd < 0) {
		snprintf(reason, reason_size, "%s: %s: %s", where, path, strerror(-item->fd));
		return item->fd;
	}
	return 0;
}

static int add(struct material *m, const struct config *config, const struct config_file *file,
	       struct wire_file what, char *reason, size_t reason_size)
{
	struct item *item = &m->items[m->n_items];
	char where[WIRE_PATH_MAX];
	int shown, r;

	if (!file->path)
		return 0;
	/* Behind the question mark of a URL may be a PIN (RFC 7512 2.4): not for the log. */
	shown = config_is_url(file->path) ? strcspn(file->path, "?") : strlen(file->path);
	snprintf(where, sizeof(where), "%s:%u", config->path, file->line);
	item->file = what;
	if ((size_t)snprintf(item->file.label, sizeof(item->file.label), "%.*s (%s)", shown,
			     file->path, where) >= sizeof(item->file.label)) {
		snprintf(reason, reason_size, "%s: the path is too long", where);
		return -ENAMETOOLONG;
	}
	r = open_item(item, file->path, where, reason, reason_size);
	if (r < 0)
		return r;
	m->n_items++;
	return 0;
}

static int add_role(struct material *m, const struct config *config, enum hs_role role,
		    char *reason, size_t reason_size)
{
	const struct config_role *c = &config->role[role];
	int r;

	r = add(m, config, &c->truststore,
		(struct wire_file){ .role = role, .use = WIRE_FILE_TRUSTSTORE },
		reason, reason_size);
	if (r == 0)
		r = add(m, config, &c->crl,
			(struct wire_file){ .role = role, .use = WIRE_FILE_CRL },
			reason, reason_size);
	for (unsigned int i = 0; r == 0 && i < HS_N_IDENTITIES; i++) {
		struct wire_file what = {
			.role = role, .identity = i, .use = WIRE_FILE_CERTIFICATE,
		};

		r = add(m, config, &c->certificate[i], what, reason, reason_size);
		what.use = WIRE_FILE_PRIVATE_KEY;
		if (r == 0)
			r = add(m, config, &c->private_key[i], what, reason, reason_size);
	}
	return r;
}

int material_open(struct material **ret, const struct config *config,
		  char *reason, size_t reason_size)
{
	CLEANUP(material_freep) struct material *m = calloc(1, sizeof(*m));
	int r = 0;

	if (!m) {
		snprintf(reason, reason_size, "out of memory");
		return -ENOMEM;
	}
	m->owners = 1;
	for (unsigned int role = 0; r == 0 && role < HS_N_ROLES; role++)
		r = add_role(m, config, role, reason, reason_size);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

struct material *material_ref(struct material *material)
{
	material->owners++;
	return material;
}

void material_free(struct material *material)
{
	if (!material || --material->owners)
		return;
	for (size_t i = 0; i < material->n_items; i++)
		fd_close(material->items[i].fd);
	free(material);
}

static bool same_content(int a, int b)
{
	char in_a[CHUNK], in_b[CHUNK];
	off_t at = 0;
	ssize_t n;

	do {
		n = pread(a, in_a, sizeof(in_a), at);
		if (n < 0 || pread(b, in_b, sizeof(in_b), at) != n || memcmp(in_a, in_b, n) != 0)
			return false;
		at += n;
	} while (n > 0);
	return true;
}

static bool same_state(const struct item *a, const struct item *b)
{
	return a->st.st_dev == b->st.st_dev &&
	       a->st.st_ino == b->st.st_ino && a->st.st_size == b->st.st_size &&
	       nsec(&a->st.st_mtim) == nsec(&b->st.st_mtim) &&
	       nsec(&a->st.st_ctim) == nsec(&b->st.st_ctim);
}

static bool same_item(const struct item *a, const struct item *b, bool for_certain)
{
	if (a->file.role != b->file.role || a->file.use != b->file.use ||
	    a->file.identity != b->file.identity || strcmp(a->file.label, b->file.label) != 0 ||
	    strcmp(a->file.url, b->file.url) != 0 || (a->fd < 0) != (b->fd < 0))
		return false;
	if (a->fd < 0)
		return true;
	if (a->file.use != WIRE_FILE_PRIVATE_KEY)
		return same_content(a->fd, b->fd);
	return same_state(a, b) && !(for_certain && (a->young || b->young));
}

static bool same_items(const struct material *a, const struct material *b, bool for_certain)
{
	if (a->n_items != b->n_items)
		return false;
	for (size_t i = 0; i < a->n_items; i++) {
		if (!same_item(&a->items[i], &b->items[i], for_certain))
			return false;
	}
	return true;
}

bool material_same(const struct material *a, const struct material *b)
{
	return same_items(a, b, true);
}

bool material_may_be_same(const struct material *a, const struct material *b)
{
	return same_items(a, b, false);
}

static bool wants(enum material_receiver receiver, enum wire_file_use use)
{
	switch (use) {
	case WIRE_FILE_CERTIFICATE:
		return true;
	case WIRE_FILE_PRIVATE_KEY:
		return receiver == MATERIAL_KEEPER;
	default:
		return receiver == MATERIAL_WORKER;
	}
}

int material_send(const struct material *material, enum material_receiver receiver, int channel)
{
	for (size_t i = 0; i < material->n_items; i++) {
		const struct item *item = &material->items[i];
		struct wire_message msg = { .type = WIRE_FILE, .file = item->file };
		int r;

		if (!wants(receiver, item->file.use))
			continue;
		r = channel_send(channel, &msg, item->fd);
		if (r < 0)
			return r;
	}
	return 0;
}
