// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pre-shared keys as keyrings have them: what a key is described as, what it contains, and that
 * both may change between two looks. Any user can add keys, and a client says which one it means.
 *
 * The input is a byte that says who asks (bit 0: a server) and whether there is a /proc/keys
 * (bit 1), then up to four keys, then the identity that a server looks up, up to a NUL, and the
 * lines of /proc/keys.
 */
#include <errno.h>
#include <keyutils.h>
#include <stdio.h>

#include "build-config.h"
#include "fuzz.h"
#include "tlshd/monitor/keyring.h"
#include "tlshd/monitor/psk.h"

#define KEYS 4
#define KEYRING 1000
#define CONTENT_MAX 80
#define DESCRIBED_MAX 1200

/* Bits of a key's first byte. */
enum {
	HAS_HEAD = 1, IS_PSK = 2, FOREIGN = 4, GROWS = 8, IN_RING = 16, RING_IN_RING = 32,
	SHRINKS = 64,
};

struct fake_key {
	uint8_t how, errors;	/* errors: low and high half, of describing and of reading */
	char described[DESCRIBED_MAX + 64];
	size_t len;		/* without a NUL */
	uint8_t content[CONTENT_MAX];
	size_t size;
	unsigned int reads;
};

static struct {
	struct fake_key key[KEYS];
	unsigned int n;
	const char *proc;
	bool has_proc;
} world;

static const int errors[16] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, ENOKEY, EKEYEXPIRED, EKEYREVOKED, EACCES, ENOMEM, EOPNOTSUPP,
	ENODATA,
};

static long fail(int error)
{
	errno = error;
	return -1;
}

static struct fake_key *find(key_serial_t id)
{
	return id >= 1 && id <= (key_serial_t)world.n ? &world.key[id - 1] : NULL;
}

long __wrap_keyctl_describe(key_serial_t id, char *buf, size_t size);
long __wrap_keyctl_read(key_serial_t id, char *buf, size_t size);
key_serial_t __wrap_keyctl_search(key_serial_t ring, const char *type, const char *description,
				  key_serial_t to);
long __wrap_keyctl_link(key_serial_t id, key_serial_t ring);
long __wrap_keyctl_unlink(key_serial_t id, key_serial_t ring);
FILE *__wrap_fopen64(const char *path, const char *mode);

long __wrap_keyctl_describe(key_serial_t id, char *buf, size_t size)
{
	struct fake_key *k = find(id);

	if (!k)
		return fail(ENOKEY);
	if (errors[k->errors & 15])
		return fail(errors[k->errors & 15]);
	if (buf && size > k->len)
		memcpy(buf, k->described, k->len + 1);
	return (long)k->len + 1;
}

static long read_ring(char *buf, size_t size)
{
	int32_t serials[KEYS + 1];
	unsigned int n = 0;

	for (unsigned int i = 0; i < world.n; i++) {
		if (world.key[i].how & IN_RING)
			serials[n++] = (int32_t)i + 1;
		if (world.key[i].how & RING_IN_RING && n < KEYS)
			serials[n++] = KEYRING;
	}
	if (n > 0 && buf && size >= n * sizeof(*serials))
		memcpy(buf, serials, n * sizeof(*serials));
	return (long)(n * sizeof(*serials));
}

/* Like the kernel, it says how long the key is, and writes nothing where that does not fit. */
long __wrap_keyctl_read(key_serial_t id, char *buf, size_t size)
{
	struct fake_key *k = find(id);
	size_t len, change;

	if (id == KEYRING)
		return read_ring(buf, size);
	if (id == KEY_SPEC_PROCESS_KEYRING)
		return 0;
	if (!k)
		return fail(ENOKEY);
	if (errors[k->errors >> 4])
		return fail(errors[k->errors >> 4]);
	change = 8 * k->reads++;
	len = k->how & SHRINKS ? k->size - MIN(change, k->size)
			       : MIN(k->size + (k->how & GROWS ? change : 0), sizeof(k->content));
	if (buf && size >= len)
		memcpy(buf, k->content, len);
	return (long)len;
}

/* The kernel compares type and description; what is behind the fourth semicolon. */
static bool is_called(const struct fake_key *k, const char *type, const char *description)
{
	const char *at = k->described;

	if (strncmp(at, type, strlen(type)) != 0 || at[strlen(type)] != ';')
		return false;
	for (unsigned int i = 0; i < 4; i++) {
		at = strchr(at, ';');
		if (!at)
			return false;
		at++;
	}
	return strcmp(at, description) == 0;
}

key_serial_t __wrap_keyctl_search(key_serial_t ring, const char *type, const char *description,
				  key_serial_t to)
{
	g_assert_cmpint(to, ==, 0);	/* nothing is linked by the way */
	for (unsigned int i = 0; ring == KEYRING && i < world.n; i++) {
		struct fake_key *k = &world.key[i];

		if (!(k->how & IN_RING) || !is_called(k, type, description))
			continue;
		return errors[k->errors & 15] ? (key_serial_t)fail(errors[k->errors & 15])
					      : (key_serial_t)i + 1;
	}
	return (key_serial_t)fail(ENOKEY);
}

long __wrap_keyctl_link(key_serial_t id, key_serial_t ring)
{
	g_assert_cmpint(ring, ==, KEY_SPEC_PROCESS_KEYRING);
	return id == KEYRING ? 0 : fail(ENOKEY);
}

long __wrap_keyctl_unlink(key_serial_t id, key_serial_t ring)
{
	g_assert_cmpint(ring, ==, KEY_SPEC_PROCESS_KEYRING);
	return 0;
}

FILE *__wrap_fopen64(const char *path, const char *mode)
{
	if (!world.has_proc || !*world.proc)
		return NULL;
	return fmemopen((void *)(uintptr_t)world.proc, strlen(world.proc), "r");
}

static void take_key(struct input *in, struct fake_key *k)
{
	const uint8_t *bytes;
	size_t len;

	memset(k, 0, sizeof(*k));
	k->how = take_u8(in);
	k->errors = take_u8(in);
	if (k->how & HAS_HEAD)
		k->len = (size_t)g_snprintf(k->described, sizeof(k->described), "%s;%u;0;3f0b0000;",
					    k->how & IS_PSK ? "psk" : "user",
					    k->how & FOREIGN ? 1000u : 0u);
	bytes = take_bytes(in, take_u16(in) % DESCRIBED_MAX, &len);
	for (size_t i = 0; i < len && bytes[i]; i++)
		k->described[k->len++] = (char)bytes[i];
	bytes = take_bytes(in, take_u8(in) % (CONTENT_MAX + 1), &k->size);
	if (k->size > 0)
		memcpy(k->content, bytes, k->size);
}

/* Never another than was meant, never one that its own identity does not allow. */
static void check_key(const struct psk *psk, const char *wanted)
{
	const struct fake_key *k = find(psk->serial);
	struct psk_identity id;
	char reason[HS_TEXT_MAX];

	g_assert_nonnull(k);
	g_assert_nonnull(psk->key);
	g_assert_true(!wanted || strcmp(psk->identity, wanted) == 0);
	g_assert_true(is_called(k, "psk", psk->identity) || is_called(k, "user", psk->identity));
	g_assert_cmpint(psk_identity_parse(psk->identity, &id, reason, sizeof(reason)), ==, 0);
	g_assert_cmpuint(psk->key->len, >=, id.min);
	g_assert_cmpuint(psk->key->len, <=, id.max);
	g_assert_cmpuint(psk->key->len, <=, HS_PSK_MAX);
	g_assert_cmpint(psk->hash, ==, id.hash);
	g_assert_true(psk->hash == HS_PSK_SHA256 || TLSHD_PSK_SHA384);
	g_assert_cmpmem(psk->key->data, psk->key->len, k->content, psk->key->len);
	g_assert_true(psk->key->len == k->size || k->how & (GROWS | SHRINKS));
	g_assert_false(errors[k->errors & 15]);
	g_assert_false(errors[k->errors >> 4]);
}

static void check(enum hs_outcome outcome, struct psk *psk, const char *wanted,
		  const char *reason)
{
	if (outcome == HS_OK) {
		check_key(psk, wanted);
		psk_clear(psk);
		return;
	}
	g_assert_cmpint(outcome, >, HS_OK);
	g_assert_cmpint(outcome, <, HS_N_OUTCOMES);
	g_assert_null(psk->key);
	g_assert_cmpstr(reason, !=, "");
	check_line(reason, HS_TEXT_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int32_t serials[KEYS] = { 1, 2, 3, 4 };
	static const char *const keyrings[] = { "some ring", NULL };
	struct input in = { data, size };
	uint8_t who = take_u8(&in);
	char reason[HS_TEXT_MAX] = "";
	g_autofree char *identity = NULL, *proc = NULL;
	struct psk psk = { 0 };
	size_t used;

	world.n = 1 + (who >> 2) % KEYS;
	world.has_proc = who & 2;
	for (unsigned int i = 0; i < world.n; i++)
		take_key(&in, &world.key[i]);
	identity = g_strndup((const char *)in.at, in.left);
	used = MIN(strlen(identity) + 1, in.left);
	proc = g_strndup((const char *)in.at + used, in.left - used);
	world.proc = proc;
	if (who & 1)
		check(psk_find(&psk, identity, KEYRING, keyrings, reason, sizeof(reason)), &psk,
		      identity, reason);
	else
		check(psk_choose(&psk, serials, world.n, keyrings, &fuzz_log, reason,
				 sizeof(reason)), &psk, NULL, reason);
	return 0;
}
