// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A hash table by the job's number, whose lower part is the slot of the monitor's
 * table: those that are there at the same time differ in it.
 */
#include "tlshd/keeper/grants.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/secret.h"

struct grant {
	struct grant *next;
	uint64_t job;
	enum hs_role role;
	struct key *key;	/* NULL: a configured one */
};

/* What points to the entry of @job, or to NULL at the end of its chain. */
static struct grant **find(struct grants *grants, uint64_t job)
{
	struct grant **at = &grants->bucket[job % GRANT_BUCKETS];

	while (*at && (*at)->job != job)
		at = &(*at)->next;
	return at;
}

static struct key *take_out(struct grants *grants, struct grant **at)
{
	struct grant *grant = *at;
	struct key *key = grant->key;

	*at = grant->next;
	grants->n--;
	grants->n_keys -= !!key;
	free(grant);
	return key;
}

/* Takes @key when it returns 0. */
static int put_in(struct grants *grants, uint64_t job, enum hs_role role, struct key *key)
{
	struct grant **at = find(grants, job), *grant;

	if (grants->n >= GRANTS_MAX)
		return -ENOSPC;
	grant = malloc(sizeof(*grant));
	if (!grant)
		return -ENOMEM;
	*grant = (struct grant){ *at, job, role, key };
	*at = grant;
	grants->n++;
	grants->n_keys += !!key;
	return 0;
}

int grants_add(struct grants *grants, uint64_t job, enum hs_role role)
{
	int r;

	if (*find(grants, job))
		return -EEXIST;
	r = put_in(grants, job, role, NULL);
	if (r < 0)
		grants->n_unused++;
	return r;
}

enum grant_verdict grants_take(struct grants *grants, const struct wire_sign *request,
			       struct key **ret_key)
{
	struct grant **at = find(grants, request->job);

	if (*at) {
		bool own = request->identity == HS_IDENTITY_JOB;

		if ((*at)->role != request->role || own != !!(*at)->key)
			return GRANT_NEVER;
		*ret_key = take_out(grants, at);
		return GRANT_GIVEN;
	}
	if (!grants->n_unused)
		return GRANT_NEVER;
	grants->n_unused--;
	return GRANT_ENDED;
}

void grants_end(struct grants *grants, uint64_t job)
{
	struct grant **at = find(grants, job);

	if (!*at)
		return;
	key_free(take_out(grants, at));
	grants->n_unused++;
}

void grants_clear(struct grants *grants)
{
	for (unsigned int i = 0; i < GRANT_BUCKETS; i++) {
		while (grants->bucket[i])
			key_free(take_out(grants, &grants->bucket[i]));
	}
}

static int check(struct key *key, const struct wire_key *what, int cert_fd, char *reason,
		 size_t size)
{
	/* Not fstat(): with some C libraries that is a call that can look at any path. */
	off_t end = lseek(cert_fd, 0, SEEK_END);
	void *certs;
	int r;

	if (end <= 0) {
		snprintf(reason, size, "%s is empty", what->certificate_label);
		return -EBADMSG;
	}
	certs = mmap(NULL, (size_t)end, PROT_READ, MAP_PRIVATE, cert_fd, 0);
	if (certs == MAP_FAILED) {
		snprintf(reason, size, "%s cannot be mapped: %s", what->certificate_label,
			 strerror(errno));
		return -ENOMEM;
	}
	r = key_check_certificate(key, certs, (size_t)end, what->label,
				  what->certificate_label, reason, size);
	munmap(certs, (size_t)end);
	return r;
}

static int load(struct grants *grants, struct wire_key *what, int cert_fd, char *reason,
		size_t size)
{
	CLEANUP(key_freep) struct key *key = NULL;
	int r = key_load_memory(&key, what->data, what->len, what->label, reason, size);

	explicit_bzero(what->data, sizeof(what->data));
	if (!r)
		r = check(key, what, cert_fd, reason, size);
	if (r < 0)
		return r;
	r = put_in(grants, what->job, what->role, key);
	if (r < 0) {
		snprintf(reason, size, "%s: %s", what->label,
			 r == -ENOMEM ? "out of memory" : "too many handshakes");
		return r;
	}
	key = NULL;
	return 0;
}

int grants_add_key(struct grants *grants, struct wire_key *what, int cert_fd,
		   enum hs_outcome *ret_outcome, char *reason, size_t reason_size)
{
	int r;

	if (*find(grants, what->job))
		return -EEXIST;
	if (grants->n_keys >= GRANT_KEYS_MAX) {
		snprintf(reason, reason_size, "the keeper has %u keys of requests, as many as it takes",
			 grants->n_keys);
		*ret_outcome = HS_BUSY;
		return -EBADMSG;
	}
	r = load(grants, what, cert_fd, reason, reason_size);
	if (r < 0)
		*ret_outcome = r == -ENOMEM || r == -ENOSPC ? HS_BUSY : HS_KEY_UNUSABLE;
	secret_burn_stack();
	return r < 0 ? -EBADMSG : 0;
}
