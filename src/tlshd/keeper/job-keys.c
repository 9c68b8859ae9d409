// SPDX-License-Identifier: GPL-2.0-or-later
/* A list: mostly it has a handful of entries, and a search is nothing beside a signature. */
#include "tlshd/keeper/job-keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/secret.h"

struct job_key {
	struct job_key *next;
	uint64_t job;
	enum hs_role role;
	struct key *key;
};

/* What points to the entry of @job, or to NULL at the end. */
static struct job_key **find(struct job_keys *keys, uint64_t job)
{
	struct job_key **at = &keys->first;

	while (*at && (*at)->job != job)
		at = &(*at)->next;
	return at;
}

static struct key *take_out(struct job_keys *keys, struct job_key **at)
{
	struct job_key *entry = *at;
	struct key *key = entry->key;

	*at = entry->next;
	keys->n--;
	free(entry);
	return key;
}

struct key *job_keys_take(struct job_keys *keys, uint64_t job, enum hs_role role)
{
	struct job_key **at = find(keys, job);

	return *at && (*at)->role == role ? take_out(keys, at) : NULL;
}

void job_keys_forget(struct job_keys *keys, uint64_t job)
{
	struct job_key **at = find(keys, job);

	if (*at)
		key_free(take_out(keys, at));
}

void job_keys_clear(struct job_keys *keys)
{
	while (keys->first)
		key_free(take_out(keys, &keys->first));
}

static int check(const struct key *key, const struct wire_key *what, int cert_fd, char *reason,
		 size_t size)
{
	struct stat st;
	void *certs;
	int r;

	if (fstat(cert_fd, &st) < 0 || st.st_size <= 0) {
		snprintf(reason, size, "%s is empty", what->certificate_label);
		return -EBADMSG;
	}
	certs = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, cert_fd, 0);
	if (certs == MAP_FAILED) {
		snprintf(reason, size, "%s cannot be mapped: %s", what->certificate_label,
			 strerror(errno));
		return -ENOMEM;
	}
	r = key_check_certificate(key, certs, (size_t)st.st_size, what->label,
				  what->certificate_label, reason, size);
	munmap(certs, (size_t)st.st_size);
	return r;
}

static int load(struct job_keys *keys, struct wire_key *what, int cert_fd, char *reason,
		size_t size)
{
	CLEANUP(key_freep) struct key *key = NULL;
	struct job_key *entry;
	int r = key_load_memory(&key, what->data, what->len, what->label, reason, size);

	explicit_bzero(what->data, sizeof(what->data));
	if (!r)
		r = check(key, what, cert_fd, reason, size);
	if (r < 0)
		return r;
	entry = malloc(sizeof(*entry));
	if (!entry) {
		snprintf(reason, size, "%s: out of memory", what->label);
		return -ENOMEM;
	}
	*entry = (struct job_key){ keys->first, what->job, what->role, TAKE_PTR(key) };
	keys->first = entry;
	keys->n++;
	return 0;
}

int job_keys_load(struct job_keys *keys, struct wire_key *what, int cert_fd,
		  enum hs_outcome *ret_outcome, char *reason, size_t reason_size)
{
	int r;

	if (*find(keys, what->job))
		return -EEXIST;
	if (keys->n >= JOB_KEYS_MAX) {
		snprintf(reason, reason_size, "the keeper has %u keys of requests, as many as it takes",
			 keys->n);
		*ret_outcome = HS_BUSY;
		return -EBADMSG;
	}
	r = load(keys, what, cert_fd, reason, reason_size);
	if (r < 0)
		*ret_outcome = r == -ENOMEM ? HS_INTERNAL : HS_KEY_UNUSABLE;
	secret_burn_stack();
	return r < 0 ? -EBADMSG : 0;
}
