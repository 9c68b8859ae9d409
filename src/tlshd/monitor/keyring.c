// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keyrings are found by name in /proc/keys, which shows every key we may view,
 * wherever it hangs. libkeyutils has find_key_by_type_and_desc() for this; it
 * takes the first keyring of that name, whoever made it, and anybody may make
 * one of any name that does not begin with a dot. So the owner counts here.
 * Nor is a line of /proc/keys believed: descriptions are printed as they are,
 * and one with a newline in it continues with a line of its author's choice.
 *
 * Keys in such a keyring mostly grant everything to whoever possesses them,
 * which means: finds them below one of its own keyrings, and hardly anything to
 * the user root. A link in our process keyring makes us a possessor. It is made
 * for the time of use, because a keyring that was made after us must be found
 * as well as one that was there before, and because a key that its owner
 * unlinked everywhere would otherwise live on in ours. Workers and keepers
 * have process keyrings of their own, so nothing gets to them this way.
 */
#include "tlshd/monitor/keyring.h"

#include <errno.h>
#include <inttypes.h>
#include <keyutils.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/text.h"

#define PROC_KEYS "/proc/keys"
#define DEPTH_MAX 6		/* of keyrings in keyrings, KEYRING_SEARCH_MAX_DEPTH of the kernel */
#define TRIES_MAX 8		/* a key that changes between each two calls is not ours to wait for */
#define DESCRIBED_MAX (KEY_TYPE_MAX + KEY_DESCRIPTION_MAX + 64)

/* One line of /proc/keys, as proc_keys_show() of the kernel's security/keys/proc.c prints it. */
struct line {
	int32_t serial;
	char flags[8];		/* I R D Q U N i, or '-' */
	char timeout[8];	/* "perm", "expd", "5m" */
	uint32_t uid;
	char type[10];		/* cut to nine characters */
	const char *rest;	/* the description, mostly with ": " and more behind it */
};

#define FLAG_INSTANTIATED 0
#define FLAG_REVOKED 1
#define FLAG_DEAD 2
#define FLAG_NEGATIVE 5
#define FLAG_INVALIDATED 6

static void file_closep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static bool parse_line(const char *text, struct line *ret)
{
	unsigned int serial, perm, gid;
	int end = 0;

	if (sscanf(text, "%8x %7s %*d %7s %8x %u %u%n", &serial, ret->flags, ret->timeout, &perm,
		   &ret->uid, &gid, &end) != 6 || strlen(ret->flags) != 7)
		return false;
	/* Blank, type padded to nine, blank: and not one more, it would be the description's. */
	text += end;
	if (strnlen(text, 11) < 11 || text[0] != ' ' || text[10] != ' ')
		return false;
	memcpy(ret->type, text + 1, 9);
	ret->type[9] = '\0';
	ret->type[strcspn(ret->type, " ")] = '\0';
	ret->serial = (int32_t)serial;
	ret->rest = text + 11;
	return ret->serial > 0;
}

/* A description is followed by a number (of keys, of bytes) or, a keyring's, by "empty". */
static bool is_description(const char *rest, const char *description)
{
	size_t len = strlen(description);

	if (strncmp(rest, description, len) != 0 || strncmp(rest + len, ": ", 2) != 0)
		return false;
	rest += len + 2;
	return strcmp(rest, "empty") == 0 ||
	       (*rest && rest[strspn(rest, "0123456789")] == '\0');
}

bool keyring_parse_line(const char *text, const char *name, int32_t *ret_serial)
{
	struct line line;

	if (!parse_line(text, &line) || strcmp(line.type, "keyring") != 0 || line.uid != 0 ||
	    line.flags[FLAG_INSTANTIATED] != 'I' || line.flags[FLAG_REVOKED] != '-' ||
	    line.flags[FLAG_DEAD] != '-' || line.flags[FLAG_NEGATIVE] != '-' ||
	    line.flags[FLAG_INVALIDATED] != '-' || strcmp(line.timeout, "expd") == 0 ||
	    !is_description(line.rest, name))
		return false;
	*ret_serial = line.serial;
	return true;
}

static bool is_root_keyring(int32_t serial, const char *name)
{
	struct key_info info;

	return key_describe(serial, &info) == 0 && info.uid == 0 &&
	       strcmp(info.type, "keyring") == 0 && strcmp(info.description, name) == 0;
}

/* Fills in the serials of all named @uses in one pass. */
static int find_all(struct keyring_use *uses, unsigned int n)
{
	CLEANUP(file_closep) FILE *f = fopen(PROC_KEYS, "re");
	CLEANUP_FREE char *line = NULL;
	size_t size = 0;

	if (!f)
		return -errno;
	while (getline(&line, &size, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		for (unsigned int i = 0; i < n; i++) {
			int32_t serial;

			if (!uses[i].serial && uses[i].name &&
			    keyring_parse_line(line, uses[i].name, &serial) &&
			    is_root_keyring(serial, uses[i].name))
				uses[i].serial = serial;
		}
	}
	/* Neither at the end nor unreadable: getline() had no memory. */
	return feof(f) || ferror(f) ? 0 : -ENOMEM;
}

int keyring_find(const char *name, int32_t *ret_serial)
{
	struct keyring_use use = { .name = name };
	int r = find_all(&use, 1);

	if (r < 0)
		return r;
	if (!use.serial)
		return -ENOKEY;
	*ret_serial = use.serial;
	return 0;
}

/* The serials in a keyring, to be freed. Returns their number, or a negative errno. */
static int members(int32_t keyring, int32_t **ret)
{
	size_t size = 32 * sizeof(int32_t);

	for (unsigned int i = 0; i < TRIES_MAX; i++) {
		CLEANUP_FREE int32_t *serials = malloc(size);
		long n;

		if (!serials)
			return -ENOMEM;
		n = keyctl_read(keyring, (char *)serials, size);
		if (n < 0)
			return -errno;
		if ((size_t)n <= size) {
			*ret = TAKE_PTR(serials);
			return (int)((size_t)n / sizeof(int32_t));
		}
		size = (size_t)n;
	}
	return -EAGAIN;
}

/*
 * A keyring that ACCEPT has linked needs no search: before Linux 6.17 this is
 * how that of the request comes. So a stranger who talks to an NVMe target does
 * not make us go through all keys of the system, which takes 7 us each.
 * Returns how many of the named @uses are still to be found.
 */
static unsigned int find_present(struct keyring_use *uses, unsigned int n, const int32_t *present,
				 unsigned int n_present)
{
	unsigned int missing = 0;

	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int p = 0; p < n_present && !uses[i].serial; p++) {
			/* To read it shows that it is neither revoked nor expired. */
			if (is_root_keyring(present[p], uses[i].name) &&
			    keyctl_read(present[p], NULL, 0) >= 0)
				uses[i].serial = present[p];
		}
		missing += !uses[i].serial;
	}
	return missing;
}

/*
 * Links one keyring, unless it is there or would put out another one: of two
 * keyrings with one name the later link replaces the earlier.
 */
static void link_one(struct keyring_use *use, const int32_t *present, unsigned int n)
{
	struct key_info info, other;

	for (unsigned int i = 0; i < n; i++) {
		if (present[i] == use->serial)
			return;
	}
	use->error = key_describe(use->serial, &info);
	for (unsigned int i = 0; i < n && use->error == 0; i++) {
		if (key_describe(present[i], &other) == 0 && strcmp(other.type, "keyring") == 0 &&
		    strcmp(other.description, info.description) == 0)
			use->error = -EEXIST;
	}
	if (use->error < 0)
		return;
	if (keyctl_link(use->serial, KEY_SPEC_PROCESS_KEYRING) < 0)
		use->error = -errno;
	else
		use->linked = true;
}

static bool is_shortage(int error)
{
	return error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

/*
 * Without /proc/keys there are no named keyrings: nothing is found, nothing granted. But what
 * cannot be looked for now may be there: no key is missing for that.
 */
static int find_named(struct keyring_use *uses, unsigned int n)
{
	CLEANUP_FREE int32_t *present = NULL;
	int n_present = members(KEY_SPEC_PROCESS_KEYRING, &present), r = 0;

	if (is_shortage(n_present))
		return n_present;
	if (find_present(uses, n, present, n_present < 0 ? 0 : (unsigned int)n_present) > 0)
		r = find_all(uses, n);
	return is_shortage(r) ? r : 0;
}

int keyring_scope_open(struct keyring_scope *scope, const char *const *names, int32_t keyring)
{
	unsigned int n = 0;
	int r;

	*scope = (struct keyring_scope){ 0 };
	while (names && names[n])
		n++;
	scope->uses = calloc(n + 1, sizeof(*scope->uses));
	if (!scope->uses)
		return -ENOMEM;
	if (keyring > 0)
		scope->uses[scope->n++].serial = keyring;
	for (unsigned int i = 0; i < n; i++)
		scope->uses[scope->n++].name = names[i];
	r = find_named(scope->uses, scope->n);

	for (unsigned int i = 0; r == 0 && i < scope->n; i++) {
		CLEANUP_FREE int32_t *present = NULL;
		int n_present;

		if (!scope->uses[i].serial)
			continue;
		n_present = members(KEY_SPEC_PROCESS_KEYRING, &present);
		link_one(&scope->uses[i], present, n_present < 0 ? 0 : (unsigned int)n_present);
		r = is_shortage(n_present) ? n_present :
		    is_shortage(scope->uses[i].error) ? scope->uses[i].error : 0;
	}
	if (r < 0)
		keyring_scope_close(scope);
	return r;
}

enum hs_outcome keyring_scope_fault(int error, char *reason, size_t reason_size)
{
	snprintf(reason, reason_size, "%s", error == -ENOMEM ? "out of memory" :
		 "no descriptor is left to look for keyrings (LimitNOFILE= of the unit)");
	return HS_BUSY;
}

void keyring_scope_explain(const struct keyring_scope *scope, char *reason, size_t reason_size)
{
	size_t len = strlen(reason);
	char name[64];

	for (unsigned int i = 0; i < scope->n; i++) {
		const struct keyring_use *use = &scope->uses[i];

		/* One of that name is there already, and nothing to be done about. */
		if (use->error >= 0 || use->error == -EEXIST || !use->name)
			continue;
		snprintf(reason + len, reason_size - len,
			 "; keyring \"%s\" could not be linked: %s: keyctl setperm 0x%08" PRIx32
			 " 0x3f1b0000", text_quote(name, sizeof(name), use->name, strlen(use->name)),
			 strerror(-use->error), (uint32_t)use->serial);
		return;
	}
}

void keyring_scope_close(struct keyring_scope *scope)
{
	for (unsigned int i = 0; i < scope->n; i++) {
		if (scope->uses[i].linked)
			keyctl_unlink(scope->uses[i].serial, KEY_SPEC_PROCESS_KEYRING);
	}
	free(scope->uses);
	*scope = (struct keyring_scope){ 0 };
}

const char **keyring_names(const char *const *own, const char *const *configured)
{
	unsigned int n_own = 0, n_configured = 0;
	const char **names;

	while (own && own[n_own])
		n_own++;
	while (configured && configured[n_configured])
		n_configured++;
	names = calloc(n_own + n_configured + 1, sizeof(*names));
	for (unsigned int i = 0; names && i < n_own + n_configured; i++)
		names[i] = i < n_own ? own[i] : configured[i - n_own];
	return names;
}

void keyring_drop_links(void)
{
	/* ENOKEY: there is no process keyring, so nothing in it. Nothing else can be done about. */
	keyctl_clear(KEY_SPEC_PROCESS_KEYRING);
}

static int negative(long r)
{
	return r < 0 ? -errno : (int)r;
}

/* The next field of @text, up to the semicolon, which is overwritten. NULL: there is none. */
static char *field(char **text)
{
	char *start = *text, *end = strchr(start, ';');

	if (!end)
		return NULL;
	*end = '\0';
	*text = end + 1;
	return start;
}

/* "type;uid;gid;perm;description", where the last may have semicolons, too. */
static int parse_described(char *text, struct key_info *ret)
{
	char *type = field(&text), *uid = type ? field(&text) : NULL;
	char *gid = uid ? field(&text) : NULL, *perm = gid ? field(&text) : NULL;

	if (!perm)
		return -EBADMSG;
	if (strlen(type) >= sizeof(ret->type) || strlen(text) >= sizeof(ret->description))
		return -EMSGSIZE;
	strcpy(ret->type, type);
	strcpy(ret->description, text);
	ret->uid = (uint32_t)strtoul(uid, NULL, 10);
	ret->perm = (uint32_t)strtoul(perm, NULL, 16);
	return 0;
}

int key_describe(int32_t serial, struct key_info *ret)
{
	char text[DESCRIBED_MAX];
	int n;

	if (serial <= 0)
		return -ENOKEY;
	n = negative(keyctl_describe(serial, text, sizeof(text)));
	if (n < 0)
		return n;
	if ((size_t)n > sizeof(text))
		return -EMSGSIZE;
	return parse_described(text, ret);
}

/* keyctl_read(), which says EACCES of a key that was invalidated: nobody possesses it any more. */
static int read_some(int32_t serial, void *buf, size_t size)
{
	struct key_info info;
	int r = negative(keyctl_read(serial, buf, size)), why;

	if (r != -EACCES)
		return r;
	why = key_describe(serial, &info);
	return why < 0 ? why : r;
}

int key_length(int32_t serial)
{
	return serial <= 0 ? -ENOKEY : read_some(serial, NULL, 0);
}

int key_read(int32_t serial, size_t max, struct secret **ret)
{
	int n = key_length(serial), r;

	for (unsigned int i = 0; i < TRIES_MAX; i++) {
		CLEANUP(secret_freep) struct secret *secret = NULL;

		if (n < 0)
			return n;
		if ((size_t)n > max)
			return -EFBIG;
		r = secret_new(&secret, (size_t)n);
		if (r < 0)
			return r;
		n = read_some(serial, secret->data, secret->cap);
		/* Longer than a moment ago, or than the limit although it fits the pages: as above. */
		if (n < 0 || (size_t)n > secret->cap || (size_t)n > max)
			continue;
		secret->len = (size_t)n;
		*ret = TAKE_PTR(secret);
		return 0;
	}
	return n < 0 ? n : -EAGAIN;
}

/* What keyring_search() goes through a keyring for. */
struct wanted {
	const char *type, *description;
	int32_t serial;			/* the key of this description; 0: none that can be viewed */
	struct keyring_suspect dead;	/* those that have expired or were revoked */
	int error;			/* which of the two that is; 0: both */
	unsigned int n_left;		/* keys that may still be looked at */
	bool blind;			/* not all could be seen */
};

/* Returns true when nothing more is to be looked for. */
static bool look_at(struct wanted *w, int32_t serial, int r, const struct key_info *info)
{
	if (r == -EACCES)
		w->blind = true;
	if ((r == -EKEYEXPIRED || r == -EKEYREVOKED) && (!w->error || r == w->error)) {
		if (!w->dead.n++)
			w->dead = (struct keyring_suspect){ serial, r, 1 };
	}
	if (r < 0 || strcmp(info->type, w->type) != 0 ||
	    strcmp(info->description, w->description) != 0)
		return false;
	w->serial = serial;
	return true;
}

/* Looks at what is in @keyring and below. Returns a negative errno when that could not be read. */
static int walk(int32_t keyring, unsigned int depth, struct wanted *w)
{
	CLEANUP_FREE int32_t *serials = NULL;
	struct key_info info;
	int n = members(keyring, &serials), r;

	for (int i = 0; serials && i < n && !w->serial; i++) {
		if (!w->n_left) {
			w->blind = true;
			return -E2BIG;
		}
		w->n_left--;
		r = key_describe(serials[i], &info);
		if (look_at(w, serials[i], r, &info))
			break;
		if (r < 0 || strcmp(info.type, "keyring") != 0 || depth >= DEPTH_MAX)
			continue;
		r = walk(serials[i], depth + 1, w);
		if (r < 0)
			w->blind = true;
		if (r == -E2BIG)
			return r;
	}
	return n < 0 ? n : 0;
}

/*
 * What it means that the kernel's search failed with @error. With type "psk" it is that of any
 * key there that has expired or was revoked: the kernel looks at that before the description.
 */
static int explain(int32_t keyring, struct wanted *w, int error, struct keyring_suspect *suspect)
{
	bool any = strcmp(w->type, "psk") == 0 && error != -EACCES;
	int r;

	w->error = any ? 0 : error;
	r = walk(keyring, 1, w);
	if (w->serial) {
		r = key_length(w->serial);
		r = r < 0 ? r : -EACCES;	/* it may be read, but not be searched for */
		*suspect = (struct keyring_suspect){ w->serial, r, 1 };
		return r;
	}
	if (any || (error != -EACCES && r >= 0 && !w->blind && w->dead.n == 1))
		*suspect = w->dead;
	return any ? -ENOKEY : error;
}

/*
 * The kernel compares descriptions as the type wants it, and type "psk" is content with a
 * beginning: the identity "NVMe0R01 host disk" finds the key of "NVMe0R01 host disk2", and "N",
 * which a stranger may send, finds any. So what is found has to be the one asked for, or the
 * keyring is gone through. The description of a key that has expired or was revoked is to be
 * had of /proc/keys only, which a stranger must not make us read: what is known of such a key is
 * that there is one.
 */
int keyring_search(int32_t keyring, const char *type, const char *description,
		   int32_t *ret_serial, struct keyring_suspect *suspect)
{
	struct wanted w = { .type = type, .description = description, .n_left = KEYRING_LOOKED_AT };
	struct key_info info;
	int serial, r;

	*suspect = (struct keyring_suspect){ 0 };
	if (keyring <= 0)
		return -ENOKEY;
	serial = negative(keyctl_search(keyring, type, description, 0));
	if (serial == -EKEYEXPIRED || serial == -EKEYREVOKED || serial == -EACCES)
		return explain(keyring, &w, serial, suspect);
	if (serial < 0)
		return serial;
	r = key_describe(serial, &info);
	if (!look_at(&w, serial, r, &info)) {
		w.dead.n = 0;	/* it may have died just now, and is come by again */
		r = walk(keyring, 1, &w);
	}
	if (!w.serial) {
		*suspect = w.dead;
		if (r == -E2BIG && !w.dead.n)
			suspect->error = r;
		return r < 0 && r != -E2BIG ? r : -ENOKEY;
	}
	*ret_serial = w.serial;
	return 0;
}

enum hs_outcome key_fault(const char *what, int32_t serial, int error, char *reason,
			  size_t reason_size)
{
	static const struct {
		int error;
		enum hs_outcome outcome;
		const char *text, *tail;	/* with the serial again between them */
	} faults[] = {
		{ ENOKEY, HS_KEY_MISSING,
		  "does not exist, or no longer; add it again and name its new serial" },
		{ EKEYEXPIRED, HS_KEY_EXPIRED,
		  "has expired; add it again, with a longer timeout (keyctl timeout) or none" },
		{ EKEYREVOKED, HS_KEY_REVOKED,
		  "has been revoked; add another (keyctl padd)" },
		{ EACCES, HS_KEY_DENIED,
		  "may not be read; allow it to root (keyctl setperm ", " 0x3f0b0000), or link it "
		  "to a keyring that tlshd looks in (tlshd.conf: keyrings)" },
		{ EKEYREJECTED, HS_KEY_UNUSABLE,
		  "was never given a content; add it again (keyctl padd)" },
		{ EOPNOTSUPP, HS_KEY_UNUSABLE,
		  "is of a type that cannot be read; add it again as type user (keyctl padd user)" },
		{ ENOMEM, HS_BUSY, "cannot be read: out of memory" },
		{ EAGAIN, HS_BUSY, "cannot be read now; if this stays, raise LimitMEMLOCK=" },
	};

	char name[16];

	snprintf(name, sizeof(name), "0x%08" PRIx32, (uint32_t)serial);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		if (faults[i].error != -error)
			continue;
		snprintf(reason, reason_size, "%s key %s %s%s%s", what, name, faults[i].text,
			 faults[i].tail ? name : "", faults[i].tail ? faults[i].tail : "");
		return faults[i].outcome;
	}
	snprintf(reason, reason_size, "%s key %s cannot be read: %s", what, name,
		 strerror(-error));
	return HS_INTERNAL;
}
