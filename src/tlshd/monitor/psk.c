// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The description of a key is its identity on the wire. For NVMe/TCP it says
 * all that is to be known before the key is read: a secret that cannot be used
 * is never read. Which cipher suites may be offered follows from the hash.
 *
 * Type "psk" is the kernel's own for NVMe/TCP and there once its module is
 * loaded; type "user" does for others, and for tests without that module.
 */
#include "tlshd/monitor/psk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build-config.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "tlshd/monitor/keyring.h"

#define NQN_MAX 223		/* bytes; NVM Express Base Specification 2.0, 4.5 */
#define OTHER_KEY_MIN 16	/* of identities that say nothing: 128 bits */
#define PREFIX_LEN 8		/* "NVMe0R01" */
#define QUOTED_MAX 320		/* of an identity in a reason; two usual NQNs take 150 */
#define SEARCHED_MAX 160	/* of the list of keyrings in a reason */

static const char *const own_keyrings[] = { ".nvme", NULL };
static const char *const types[] = { "psk", "user" };

/* The hashes an NVMe identity may name: the number, a key's bytes, a digest's in base64. */
static const struct {
	char digits[3];
	size_t key, digest, padding;
} hashes[HS_N_PSK_HASHES] = {
	[HS_PSK_SHA256] = { "01", 32, 44, 1 },
	[HS_PSK_SHA384] = { "02", 48, 64, 0 },
};

void psk_clear(struct psk *psk)
{
	secret_free(psk->key);
	*psk = (struct psk){ 0 };
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_nvme(const char *identity)
{
	return strncmp(identity, "NVMe", 4) == 0 && is_digit(identity[4]);
}

static bool is_digest(const char *text, size_t len, enum hs_psk_hash hash)
{
	size_t digits = hashes[hash].digest - hashes[hash].padding;

	return len == hashes[hash].digest &&
	       strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") ==
		       digits &&
	       strspn(text + digits, "=") == hashes[hash].padding;
}

__attribute__((format(printf, 3, 4)))
static int refuse(char *reason, size_t reason_size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, reason_size, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* What follows the prefix: blank, NQN, blank, NQN and, in version 1, blank, digest. */
static int parse_names(const char *rest, const struct psk_identity *id, char *reason,
		       size_t reason_size)
{
	static const char *const whose[] = { "host", "subsystem" };

	for (unsigned int i = 0; i < ARRAY_SIZE(whose); i++) {
		size_t len = *rest == ' ' ? strcspn(rest + 1, " ") : 0;

		if (len == 0)
			return refuse(reason, reason_size, "the NQN of its %s is missing", whose[i]);
		if (len > NQN_MAX)
			return refuse(reason, reason_size,
				      "the NQN of its %s has %zu bytes, at most %d are allowed",
				      whose[i], len, NQN_MAX);
		rest += 1 + len;
	}
	if (id->version == 0)
		return *rest ? refuse(reason, reason_size,
				      "there is more than two NQNs, which version 0 has") : 0;
	if (*rest != ' ' || !is_digest(rest + 1, strlen(rest + 1), id->hash))
		return refuse(reason, reason_size,
			      "version 1 ends in a digest of %zu characters in base64",
			      hashes[id->hash].digest);
	return 0;
}

static int parse_nvme(const char *identity, struct psk_identity *ret, char *reason,
		      size_t reason_size)
{
	struct psk_identity id = {
		.nvme = true,
		.version = (unsigned int)(identity[4] - '0'),
		.generated = identity[5] == 'G',
		.hash = HS_N_PSK_HASHES,
	};
	char quoted[16];
	int r;

	if (id.version > 1)
		return refuse(reason, reason_size, "version %u is unknown, use 0 or 1", id.version);
	if (identity[5] != 'R' && identity[5] != 'G')
		return refuse(reason, reason_size, "after the version comes R or G");
	for (unsigned int i = 0; i < HS_N_PSK_HASHES; i++) {
		if (strncmp(identity + 6, hashes[i].digits, 2) == 0)
			id.hash = i;
	}
	if (id.hash == HS_N_PSK_HASHES)
		return refuse(reason, reason_size,
			      "hash %s is unknown, use 01 (SHA-256) or 02 (SHA-384)",
			      text_quote(quoted, sizeof(quoted), identity + 6,
					 strnlen(identity + 6, 2)));
	r = parse_names(identity + PREFIX_LEN, &id, reason, reason_size);
	if (r < 0)
		return r;
	id.min = id.max = hashes[id.hash].key;
	*ret = id;
	return 0;
}

int psk_identity_parse(const char *identity, struct psk_identity *ret, char *reason,
		       size_t reason_size)
{
	size_t len = strlen(identity);

	if (len == 0)
		return refuse(reason, reason_size, "it is empty");
	if (len >= HS_PSK_IDENTITY_MAX)
		return refuse(reason, reason_size, "it has %zu bytes, at most %d are taken", len,
			      HS_PSK_IDENTITY_MAX - 1);
	if (is_nvme(identity))
		return parse_nvme(identity, ret, reason, reason_size);
	*ret = (struct psk_identity){
		.hash = HS_PSK_SHA256, .min = OTHER_KEY_MIN, .max = HS_PSK_MAX,
	};
	return 0;
}

/* Why a hash cannot be used by the library this was built with; NULL: it can. */
static const char *hash_fault(enum hs_psk_hash hash)
{
	if (hash == HS_PSK_SHA384 && !TLSHD_PSK_SHA384)
		return "needs SHA-384, for which tlshd has to be built with GnuTLS 3.8.11 or later "
		       "and was built with " TLSHD_GNUTLS_VERSION "; meanwhile use a key of 32 "
		       "bytes with SHA-256, NVMe0R01 or NVMe1R01";
	return NULL;
}

__attribute__((format(printf, 5, 6)))
static enum hs_outcome fault(enum hs_outcome outcome, int32_t serial, char *reason,
			     size_t reason_size, const char *fmt, ...)
{
	int n = snprintf(reason, reason_size, "pre-shared key 0x%08" PRIx32 " ", (uint32_t)serial);
	va_list ap;

	va_start(ap, fmt);
	if (n > 0 && (size_t)n < reason_size)
		vsnprintf(reason + n, reason_size - (size_t)n, fmt, ap);
	va_end(ap);
	return outcome;
}

static enum hs_outcome check_length(int32_t serial, const struct psk_identity *id, size_t len,
				    char *reason, size_t reason_size)
{
	if (len >= id->min && len <= id->max)
		return HS_OK;
	if (id->min == id->max)
		return fault(HS_KEY_UNUSABLE, serial, reason, reason_size,
			     "has %zu bytes, but its identity says NVMe%u%c%s, which needs %zu; add "
			     "it again with the right length or the right identity", len,
			     id->version, id->generated ? 'G' : 'R', hashes[id->hash].digits,
			     id->min);
	return fault(HS_KEY_UNUSABLE, serial, reason, reason_size,
		     "has %zu bytes; add one of %zu to %zu", len, id->min, id->max);
}

/* All that can be said of a key without reading it. */
static enum hs_outcome check(int32_t serial, struct psk *psk, struct psk_identity *id,
			     char *reason, size_t reason_size)
{
	char why[128], quoted[64];
	struct key_info info;
	int r = key_describe(serial, &info);

	if (r < 0)
		return key_fault("pre-shared", serial, r, reason, reason_size);
	if (strcmp(info.type, types[0]) != 0 && strcmp(info.type, types[1]) != 0)
		return fault(HS_KEY_UNUSABLE, serial, reason, reason_size,
			     "is of type %s; add it again as type psk or user",
			     text_quote(quoted, sizeof(quoted), info.type, strlen(info.type)));
	if (psk_identity_parse(info.description, id, why, sizeof(why)) < 0)
		return fault(HS_KEY_UNUSABLE, serial, reason, reason_size,
			     "has a description that is no identity of a pre-shared key: %s; add it "
			     "again under the right one", why);
	if (hash_fault(id->hash))
		return fault(HS_UNSUPPORTED, serial, reason, reason_size, "%s",
			     hash_fault(id->hash));
	r = key_length(serial);
	if (r < 0)
		return key_fault("pre-shared", serial, r, reason, reason_size);
	psk->serial = serial;
	psk->hash = id->hash;
	text_copy(psk->identity, sizeof(psk->identity), info.description);
	return check_length(serial, id, (size_t)r, reason, reason_size);
}

static enum hs_outcome load(struct psk *ret, int32_t serial, char *reason, size_t reason_size)
{
	struct psk psk = { 0 };
	struct psk_identity id;
	enum hs_outcome outcome = check(serial, &psk, &id, reason, reason_size);
	int r;

	if (outcome != HS_OK)
		return outcome;
	r = key_read(serial, id.max, &psk.key);
	if (r == -EFBIG)
		return fault(HS_KEY_UNUSABLE, serial, reason, reason_size,
			     "became too long while it was read");
	if (r < 0)
		return key_fault("pre-shared", serial, r, reason, reason_size);
	/* It may have been updated since its length was asked for. */
	outcome = check_length(serial, &id, psk.key->len, reason, reason_size);
	if (outcome != HS_OK) {
		psk_clear(&psk);
		return outcome;
	}
	*ret = psk;
	return HS_OK;
}

static enum hs_outcome choose(struct psk *ret, const int32_t *serials, unsigned int n,
			      const struct log *log, char *reason, size_t reason_size)
{
	enum hs_outcome first = HS_KEY_MISSING, outcome;
	char why[HS_TEXT_MAX];

	snprintf(reason, reason_size, "the request names no pre-shared key");
	for (unsigned int i = 0; i < n; i++) {
		outcome = load(ret, serials[i], why, sizeof(why));
		if (outcome == HS_OK)
			return HS_OK;
		if (i == 0) {
			first = outcome;
			text_copy(reason, reason_size, why);
		}
		if (n > 1)
			log_msg(log, outcome == HS_UNSUPPORTED ? LOG_DEBUG : LOG_NOTICE,
				"passed over: %s", why);
	}
	return first;
}

enum hs_outcome psk_choose(struct psk *ret, const int32_t *serials, unsigned int n,
			   const char *const *keyrings, const struct log *log, char *reason,
			   size_t reason_size)
{
	CLEANUP(keyring_scope_closep) struct keyring_scope scope = { 0 };
	CLEANUP_FREE const char **names = keyring_names(own_keyrings, keyrings);
	enum hs_outcome outcome;
	int r = names ? keyring_scope_open(&scope, names, 0) : -ENOMEM;

	if (r < 0)
		return keyring_scope_fault(r, reason, reason_size);
	outcome = choose(ret, serials, n, log, reason, reason_size);
	if (outcome == HS_KEY_DENIED)
		keyring_scope_explain(&scope, reason, reason_size);
	return outcome;
}

/* How a keyring is called in a reason. */
static const char *use_name(const struct keyring_use *use, char *buf, size_t size)
{
	if (use->name)
		return text_quote(buf, size, use->name, strlen(use->name));
	snprintf(buf, size, "0x%08" PRIx32, (uint32_t)use->serial);
	return buf;
}

static enum hs_outcome search_fault(const struct keyring_use *use, const char *identity, int error,
				    int32_t culprit, char *reason, size_t reason_size)
{
	char quoted[QUOTED_MAX], name[64], why[HS_TEXT_MAX];
	enum hs_outcome outcome = key_fault("pre-shared", culprit, error, why, sizeof(why));

	text_quote(quoted, sizeof(quoted), identity, strlen(identity));
	if (culprit)
		snprintf(reason, reason_size, "%s; its identity is \"%s\"", why, quoted);
	else
		snprintf(reason, reason_size, "looking in keyring %s (key 0x%08" PRIx32 ") for "
			 "identity \"%s\" failed: %s; see keyctl describe of the keyring and its keys",
			 use_name(use, name, sizeof(name)), (uint32_t)use->serial, quoted,
			 strerror(-error));
	return outcome;
}

/*
 * In one keyring. HS_PSK_UNKNOWN, without a reason: it is not there; @suspect is changed where
 * there is one.
 */
static enum hs_outcome find_in(struct psk *ret, const struct keyring_use *use,
			       const char *identity, struct keyring_suspect *suspect, char *reason,
			       size_t reason_size)
{
	enum hs_outcome outcome = HS_PSK_UNKNOWN;

	for (unsigned int i = 0; i < ARRAY_SIZE(types) && outcome != HS_OK; i++) {
		struct keyring_suspect other;
		char why[HS_TEXT_MAX];
		enum hs_outcome next;
		int32_t serial;
		int r = keyring_search(use->serial, types[i], identity, &serial, &other);

		if (r == -ENOKEY && other.error)
			*suspect = other;
		if (r == -ENOKEY)
			continue;
		if (r < 0)
			next = search_fault(use, identity, r, other.serial, why, sizeof(why));
		else
			next = load(ret, serial, why, sizeof(why));
		if (next != HS_OK && outcome != HS_PSK_UNKNOWN)
			continue;
		outcome = next;
		if (next != HS_OK)
			text_copy(reason, reason_size, why);
	}
	return outcome;
}

static void say_unknown(const struct keyring_scope *scope, const char *identity,
			const struct keyring_suspect *suspect, char *reason, size_t reason_size)
{
	char quoted[QUOTED_MAX], name[64], list[SEARCHED_MAX] = "";
	size_t len = 0;

	for (unsigned int i = 0; i < scope->n && len < sizeof(list); i++) {
		const struct keyring_use *use = &scope->uses[i];
		int n = snprintf(list + len, sizeof(list) - len, "%s%s%s", i ? ", " : "",
				 use_name(use, name, sizeof(name)),
				 use->serial ? "" : " (does not exist)");

		len += n > 0 ? (size_t)n : 0;
	}
	text_quote(quoted, sizeof(quoted), identity, strlen(identity));
	snprintf(reason, reason_size, "identity \"%s\" is unknown; looked in keyring %s", quoted,
		 *list ? list : "none");
	len = strlen(reason);
	if (suspect->n > 1)
		snprintf(reason + len, reason_size - len, "; %u keys there have expired or been revoked, "
			 "the first is 0x%08" PRIx32 ": one of them may have been it", suspect->n,
			 (uint32_t)suspect->serial);
	else if (suspect->n)
		snprintf(reason + len, reason_size - len, "; key 0x%08" PRIx32 " there %s: it may have "
			 "been it", (uint32_t)suspect->serial,
			 suspect->error == -EKEYEXPIRED ? "has expired" : "has been revoked");
	else if (suspect->error)
		snprintf(reason + len, reason_size - len, "; of the keys there only %d were looked at",
			 KEYRING_LOOKED_AT);
}

enum hs_outcome psk_find(struct psk *ret, const char *identity, int32_t keyring,
			 const char *const *keyrings, char *reason, size_t reason_size)
{
	CLEANUP(keyring_scope_closep) struct keyring_scope scope = { 0 };
	CLEANUP_FREE const char **names = keyring_names(own_keyrings, keyrings);
	enum hs_outcome outcome = HS_PSK_UNKNOWN;
	char quoted[QUOTED_MAX], why[HS_TEXT_MAX];
	struct keyring_suspect suspect = { 0 };
	struct psk_identity id;
	int r;

	if (psk_identity_parse(identity, &id, why, sizeof(why)) < 0) {
		text_quote(quoted, sizeof(quoted), identity, strlen(identity));
		snprintf(reason, reason_size, "identity \"%s\" is malformed: %s", quoted, why);
		return HS_PSK_UNKNOWN;
	}
	r = names ? keyring_scope_open(&scope, keyring ? NULL : names, keyring) : -ENOMEM;
	if (r < 0)
		return keyring_scope_fault(r, reason, reason_size);
	for (unsigned int i = 0; i < scope.n; i++) {
		enum hs_outcome next = HS_PSK_UNKNOWN;

		if (scope.uses[i].serial)
			next = find_in(ret, &scope.uses[i], identity, &suspect, why,
				       sizeof(why));
		if (next == HS_OK)
			return HS_OK;
		if (outcome != HS_PSK_UNKNOWN || next == HS_PSK_UNKNOWN)
			continue;
		outcome = next;
		text_copy(reason, reason_size, why);
	}
	if (outcome == HS_PSK_UNKNOWN)
		say_unknown(&scope, identity, &suspect, reason, reason_size);
	if (outcome == HS_PSK_UNKNOWN || outcome == HS_KEY_DENIED)
		keyring_scope_explain(&scope, reason, reason_size);
	return outcome;
}
