// SPDX-License-Identifier: GPL-2.0-or-later
#include "tlshd/monitor/material.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/channel.h"
#include "common/file.h"

#define ITEMS_MAX (HS_N_ROLES * (2 + 2 * HS_N_IDENTITIES))

struct item {
	struct wire_file file;
	int fd;		/* -1: a URL */
};

struct material {
	struct item items[ITEMS_MAX];
	size_t n_items;
};

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
	for (unsigned int role = 0; r == 0 && role < HS_N_ROLES; role++)
		r = add_role(m, config, role, reason, reason_size);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

void material_free(struct material *material)
{
	if (!material)
		return;
	for (size_t i = 0; i < material->n_items; i++)
		fd_close(material->items[i].fd);
	free(material);
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
