// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "key-world.h"
#include "tlshd/monitor/keyring.h"

/* --- the kernel, where it has to misbehave in time --- */

static void (*before_read)(int32_t serial, bool length_only);
static bool always_longer;
static bool match_beginning;	/* keys of type "user" are as those of type "psk" */

long __real_keyctl_read(int32_t serial, char *buf, size_t size);
long __wrap_keyctl_read(int32_t serial, char *buf, size_t size);
long __wrap_keyctl_read(int32_t serial, char *buf, size_t size)
{
	if (before_read)
		before_read(serial, !buf);
	if (always_longer && buf)
		return (long)size + 1;
	return __real_keyctl_read(serial, buf, size);
}

static unsigned int n_scans;	/* of all keys of the system */
static unsigned int n_described;

long __real_keyctl_describe(int32_t serial, char *buf, size_t size);
long __wrap_keyctl_describe(int32_t serial, char *buf, size_t size);
long __wrap_keyctl_describe(int32_t serial, char *buf, size_t size)
{
	long n = __real_keyctl_describe(serial, buf, size);

	n_described++;
	if (!match_beginning || n < 0 || !g_str_has_prefix(buf, "user;"))
		return n;
	memmove(buf, "psk;", 4);
	memmove(buf + 4, buf + 5, (size_t)n - 5);
	return n - 1;
}

/* What fopen() is with _FILE_OFFSET_BITS=64. */
FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode)
{
	n_scans += strcmp(path, "/proc/keys") == 0;
	return __real_fopen64(path, mode);
}

/* The kernel has type "psk" with its NVMe modules only: tests/vm runs this on one that does. */
static long search_beginning(int32_t keyring, const char *description)
{
	long n = __real_keyctl_read(keyring, NULL, 0);
	g_autofree int32_t *serials = g_malloc((size_t)n);
	struct key_info info;
	int why = -ENOKEY;

	g_assert_cmpint(__real_keyctl_read(keyring, (char *)serials, (size_t)n), ==, n);
	for (long i = 0; i < n / (long)sizeof(*serials); i++) {
		int r = key_describe(serials[i], &info);

		if (r < 0)
			why = r;
		else if (!strcmp(info.type, "psk") && g_str_has_prefix(info.description, description))
			return serials[i];
	}
	errno = -why;
	return -1;
}

long __real_keyctl_search(int32_t keyring, const char *type, const char *description, int32_t to);
long __wrap_keyctl_search(int32_t keyring, const char *type, const char *description, int32_t to);
long __wrap_keyctl_search(int32_t keyring, const char *type, const char *description, int32_t to)
{
	g_assert_cmpint(to, ==, 0);
	if (match_beginning)
		return search_beginning(keyring, description);
	return __real_keyctl_search(keyring, type, description, to);
}

/* --- keys --- */

static struct keyring_suspect suspect;

static int search(int32_t ring, const char *type, const char *description, int32_t *ret)
{
	suspect.serial = -1;
	return keyring_search(ring, type, description, ret, &suspect);
}

static void assert_suspect(int32_t serial, int error)
{
	g_assert_cmpint(suspect.serial, ==, serial);
	g_assert_cmpint(suspect.error, ==, error);
}

static void test_search(void)
{
	int32_t ring = add_key("keyring", "search", NULL, 0, KEY_SPEC_SESSION_KEYRING);
	int32_t below = add_key("keyring", "below", NULL, 0, ring);
	int32_t a = user_key("a", "1", 1, ring), b = user_key("b", "1", 1, below), found = 0, key;

	g_assert_cmpint(search(ring, "user", "a", &found), ==, 0);
	g_assert_cmpint(found, ==, a);
	g_assert_cmpint(search(ring, "user", "b", &found), ==, 0);
	g_assert_cmpint(found, ==, b);
	found = 0;
	g_assert_cmpint(search(below, "user", "a", &found), ==, -ENOKEY);
	g_assert_cmpint(search(ring, "user", "", &found), ==, -ENOKEY);
	g_assert_cmpint(search(ring, "logon", "a", &found), ==, -ENOKEY);
	g_assert_cmpint(search(ring, "no-such-type", "a", &found), ==, -ENOKEY);
	g_assert_cmpint(search(a, "user", "a", &found), ==, -ENOTDIR);

	key = user_key("gone", "1", 1, ring);
	g_assert_no_errno(keyctl_invalidate(key));
	g_assert_cmpint(search(ring, "user", "gone", &found), <, 0);
	key = user_key("revoked", "1", 1, ring);
	g_assert_no_errno(keyctl_revoke(key));
	g_assert_cmpint(search(ring, "user", "revoked", &found), ==, -EKEYREVOKED);
	assert_suspect(key, -EKEYREVOKED);
	g_assert_cmpint(search(below, "user", "revoked", &found), ==, -ENOKEY);
	assert_suspect(0, 0);
	g_assert_cmpint(search(ring, "user", "revok", &found), ==, -ENOKEY);
	assert_suspect(0, 0);
	g_assert_cmpint(search(ring, "logon", "revoked", &found), ==, -ENOKEY);
	assert_suspect(0, 0);

	key = user_key("expired", "1", 1, below);
	g_assert_no_errno(keyctl_set_timeout(key, 1));
	g_usleep(2100000);
	g_assert_cmpint(search(ring, "user", "expired", &found), ==, -EKEYEXPIRED);
	assert_suspect(key, -EKEYEXPIRED);

	key = user_key("denied", "1", 1, ring);
	g_assert_no_errno(keyctl_setperm(key, KEY_USR_VIEW | KEY_USR_SETATTR));
	g_assert_cmpint(search(ring, "user", "denied", &found), ==, -EACCES);
	assert_suspect(key, -EACCES);
	g_assert_cmpint(found, ==, 0);
	/* One that cannot even be viewed is not named; and of two revoked ones it is not known which. */
	g_assert_no_errno(keyctl_setperm(key, KEY_USR_SETATTR));
	g_assert_cmpint(search(ring, "user", "denied", &found), ==, -EACCES);
	assert_suspect(0, 0);
	g_assert_no_errno(keyctl_unlink(key, ring));
	key = user_key("another", "1", 1, below);
	g_assert_no_errno(keyctl_revoke(key));
	g_assert_cmpint(search(ring, "user", "revoked", &found), ==, -EKEYREVOKED);
	assert_suspect(0, 0);
	g_assert_cmpint(search(below, "user", "another", &found), ==, -EKEYREVOKED);
	assert_suspect(key, -EKEYREVOKED);

	/* A good one further down counts more than a bad one. */
	b = user_key("revoked", "1", 1, below);
	g_assert_cmpint(search(ring, "user", "revoked", &found), ==, 0);
	g_assert_cmpint(found, ==, b);
	keyctl_unlink(ring, KEY_SPEC_SESSION_KEYRING);
}

static int32_t psk_key(const char *description, int32_t keyring)
{
	int32_t serial = add_key(match_beginning ? "user" : "psk", description, "secret", 6, keyring);

	g_assert_no_errno(serial);
	return serial;
}

/* Type "psk" finds by a beginning; only the whole description counts. */
static void check_beginning(void)
{
	int32_t ring = add_key("keyring", "beginning", NULL, 0, KEY_SPEC_SESSION_KEYRING);
	int32_t below = add_key("keyring", "below", NULL, 0, ring);
	int32_t longest = psk_key("host disk22", ring), found = 0;
	int32_t longer, exact;

	g_assert_cmpint(search(ring, "psk", "host disk2", &found), ==, -ENOKEY);
	g_assert_cmpint(search(ring, "psk", "host", &found), ==, -ENOKEY);
	g_assert_cmpint(search(ring, "psk", "", &found), ==, -ENOKEY);
	g_assert_cmpint(found, ==, 0);
	longer = psk_key("host disk2", below);
	g_assert_cmpint(search(ring, "psk", "host disk", &found), ==, -ENOKEY);
	exact = psk_key("host disk", below);
	g_assert_cmpint(search(ring, "psk", "host disk", &found), ==, 0);
	g_assert_cmpint(found, ==, exact);
	g_assert_cmpint(search(ring, "psk", "host disk2", &found), ==, 0);
	g_assert_cmpint(found, ==, longer);
	g_assert_cmpint(search(ring, "psk", "host disk22", &found), ==, 0);
	g_assert_cmpint(found, ==, longest);
	keyctl_unlink(ring, KEY_SPEC_SESSION_KEYRING);
}

/* Where descriptions match by their beginning it is not known of a dead key what it was called. */
static void check_exact_error(void)
{
	int32_t ring = add_key("keyring", "exact", NULL, 0, KEY_SPEC_SESSION_KEYRING), found = 0;
	int32_t gone = psk_key("disk1", ring), longer = psk_key("disk10", ring);

	g_assert_cmpint(search(ring, "psk", "disk1", &found), ==, 0);
	g_assert_cmpint(found, ==, gone);
	assert_suspect(0, 0);
	g_assert_no_errno(keyctl_revoke(gone));
	g_assert_cmpint(search(ring, "psk", "disk1", &found), ==, -ENOKEY);
	assert_suspect(gone, -EKEYREVOKED);
	g_assert_no_errno(keyctl_unlink(gone, ring));
	g_assert_cmpint(search(ring, "psk", "disk1", &found), ==, -ENOKEY);
	assert_suspect(0, 0);
	g_assert_cmpint(search(ring, "psk", "disk10", &found), ==, 0);
	g_assert_cmpint(found, ==, longer);
	g_assert_no_errno(keyctl_revoke(longer));
	g_assert_cmpint(search(ring, "psk", "disk10", &found), ==, -ENOKEY);
	assert_suspect(longer, -EKEYREVOKED);
	g_assert_cmpint(search(ring, "psk", "disk", &found), ==, -ENOKEY);
	assert_suspect(longer, -EKEYREVOKED);
	/* One that may be viewed is known for sure, whatever else is dead there. */
	gone = psk_key("disk1", ring);
	g_assert_no_errno(keyctl_setperm(gone, KEY_USR_VIEW | KEY_USR_SETATTR));
	g_assert_cmpint(search(ring, "psk", "disk1", &found), ==, match_beginning ? 0 : -EACCES);
	if (!match_beginning)
		assert_suspect(gone, -EACCES);
	keyctl_unlink(ring, KEY_SPEC_SESSION_KEYRING);
}

static void test_exact_error(void)
{
	match_beginning = true;
	n_scans = 0;
	check_exact_error();
	match_beginning = false;
	g_assert_cmpuint(n_scans, ==, 0);
}

/* A stranger's "N" has a keyring gone through, but not without end, and not the whole system. */
static void test_search_cost(void)
{
	int32_t ring = add_key("keyring", "cost", NULL, 0, KEY_SPEC_SESSION_KEYRING), found = 0;
	const unsigned int many = KEYRING_LOOKED_AT + 100;
	gint64 begin;
	int r;

	for (unsigned int i = 0; i < many; i++) {
		g_autofree char *name = g_strdup_printf("NVMe%u", i);

		r = add_key("user", name, "1", 1, ring);
		if (r < 0 && errno == EDQUOT) {
			g_test_skip("there is no quota for so many keys");
			goto out;
		}
		g_assert_no_errno(r);
	}
	match_beginning = true;
	n_scans = n_described = 0;
	begin = g_get_monotonic_time();
	g_assert_cmpint(search(ring, "psk", "N", &found), ==, -ENOKEY);
	assert_suspect(0, -E2BIG);
	g_test_message("%u keys in %" G_GINT64_FORMAT " us", n_described,
		       g_get_monotonic_time() - begin);
	/* And what the stand-in does, and the one that it found. */
	g_assert_cmpuint(n_described, <=, KEYRING_LOOKED_AT + 2);
	g_assert_cmpuint(n_scans, ==, 0);
	match_beginning = false;
	/* What the kernel's search finds needs no going through. */
	n_described = 0;
	g_assert_cmpint(search(ring, "user", "NVMe2050", &found), ==, 0);
	g_assert_cmpuint(n_described, ==, 1);
out:
	keyctl_unlink(ring, KEY_SPEC_SESSION_KEYRING);
}

static void test_search_beginning(void)
{
	match_beginning = true;
	n_scans = 0;
	check_beginning();
	match_beginning = false;
	g_assert_cmpuint(n_scans, ==, 0);
}

/* The type itself, where the kernel has it. */
static void test_type_psk(void)
{
	int32_t ring = add_key("keyring", "psk", NULL, 0, KEY_SPEC_SESSION_KEYRING), found = 0;
	int32_t key = add_key("psk", "host disk", "secret", 6, ring);
	CLEANUP(secret_freep) struct secret *secret = NULL;
	struct key_info info;

	if (key < 0) {
		g_assert_cmpint(errno, ==, ENODEV);
		g_test_skip("this kernel has no keys of type psk (module \"nvme-keyring\")");
		return;
	}
	g_assert_cmpint(key_describe(key, &info), ==, 0);
	g_assert_cmpstr(info.type, ==, "psk");
	g_assert_cmpstr(info.description, ==, "host disk");
	g_assert_cmpint(key_length(key), ==, 6);
	g_assert_cmpint(key_read(key, 6, &secret), ==, 0);
	g_assert_cmpmem(secret->data, secret->len, "secret", 6);
	g_assert_no_errno(keyctl_revoke(key));
	g_assert_cmpint(search(ring, "psk", "host disk", &found), ==, -ENOKEY);
	assert_suspect(key, -EKEYREVOKED);
	keyctl_unlink(ring, KEY_SPEC_SESSION_KEYRING);
	check_beginning();
	check_exact_error();
}

static void test_describe(void)
{
	static const char odd[] = "a;b;1000;0;3f\nx;\x01\xff \"";
	char longest[KEY_DESCRIPTION_MAX];
	struct key_info info;
	int32_t key;

	key = user_key(odd, "1", 1, KEY_SPEC_SESSION_KEYRING);
	g_assert_no_errno(keyctl_setperm(key, KEY_POS_ALL | KEY_USR_VIEW | KEY_OTH_READ));
	g_assert_cmpint(key_describe(key, &info), ==, 0);
	g_assert_cmpstr(info.type, ==, "user");
	g_assert_cmpstr(info.description, ==, odd);
	g_assert_cmpuint(info.uid, ==, 0);
	g_assert_cmphex(info.perm, ==, KEY_POS_ALL | KEY_USR_VIEW | KEY_OTH_READ);

	memset(longest, 'd', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	key = user_key(longest, "1", 1, KEY_SPEC_SESSION_KEYRING);
	g_assert_cmpint(key_describe(key, &info), ==, 0);
	g_assert_cmpstr(info.description, ==, longest);

	g_assert_no_errno(keyctl_setperm(key, KEY_USR_READ));
	g_assert_cmpint(key_describe(key, &info), ==, -EACCES);
}

static int32_t changing;
static unsigned int n_changes;

/* Another content for the same serial. */
static void change(const char *content, size_t len)
{
	g_assert_cmpint(user_key("changing", content, len, KEY_SPEC_SESSION_KEYRING), ==, changing);
}

/* Three times, each longer than the pages that were made for it. */
static void grow(int32_t serial, bool length_only)
{
	static const char content[3 * 4096 + 1] = "grown";

	if (serial == changing && !length_only && n_changes < 3)
		change(content, 4096 * ++n_changes + 1);
}

/* With room in the page. */
static void fatten(int32_t serial, bool length_only)
{
	static const char content[65] = "fat";

	if (serial == changing && !length_only)
		change(content, sizeof(content));
}

static void shrink(int32_t serial, bool length_only)
{
	if (serial == changing && !length_only)
		change("new", 3);
}

static void test_read(void)
{
	char content[16384];
	struct secret *secret = NULL;
	int32_t key;

	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (char)(i * 7);
	for (size_t len = 1; len <= sizeof(content); len = len * 2 + (len & 1)) {
		key = user_key("read", content, len, KEY_SPEC_SESSION_KEYRING);
		g_assert_cmpint(key_length(key), ==, (int)len);
		g_assert_cmpint(key_read(key, len, &secret), ==, 0);
		g_assert_cmpmem(secret->data, secret->len, content, len);
		g_clear_pointer(&secret, secret_free);
		g_assert_cmpint(key_read(key, len - 1, &secret), ==, -EFBIG);
		g_assert_null(secret);
	}

	key = add_key("logon", "tlshd:read", "1", 1, KEY_SPEC_SESSION_KEYRING);
	g_assert_cmpint(key_read(key, 64, &secret), ==, -EOPNOTSUPP);
	g_assert_null(secret);
}

static void test_read_changing(void)
{
	struct secret *secret = NULL;

	changing = user_key("changing", "1234", 4, KEY_SPEC_SESSION_KEYRING);
	before_read = grow;
	g_assert_cmpint(key_read(changing, 3 * 4096 + 1, &secret), ==, 0);
	g_assert_cmpuint(n_changes, ==, 3);
	g_assert_cmpuint(secret->len, ==, 3 * 4096 + 1);
	g_assert_cmpstr((char *)secret->data, ==, "grown");
	g_clear_pointer(&secret, secret_free);

	/* Longer than the limit by now. */
	for (size_t max = 4; max <= 2 * 4096 + 1; max += 4096) {
		before_read = NULL;
		change("1234", 4);
		before_read = grow;
		n_changes = 0;
		g_assert_cmpint(key_read(changing, max, &secret), ==, -EFBIG);
		g_assert_null(secret);
		g_assert_cmpuint(n_changes, >, 0);
	}

	before_read = NULL;
	change("1234", 4);
	before_read = fatten;
	g_assert_cmpint(key_read(changing, 64, &secret), ==, -EFBIG);
	g_assert_null(secret);
	before_read = NULL;
	change("123456789", 9);
	before_read = shrink;
	g_assert_cmpint(key_read(changing, 64, &secret), ==, 0);
	g_assert_cmpmem(secret->data, secret->len, "new", 3);
	g_clear_pointer(&secret, secret_free);

	before_read = NULL;
	always_longer = true;
	g_assert_cmpint(key_read(changing, 1 << 20, &secret), ==, -EAGAIN);
	g_assert_null(secret);
	always_longer = false;
}

static void test_gone(void)
{
	struct secret *secret = NULL;
	struct key_info info;
	int32_t key = user_key("gone", "1", 1, KEY_SPEC_SESSION_KEYRING);

	g_assert_no_errno(keyctl_revoke(key));
	g_assert_cmpint(key_describe(key, &info), ==, -EKEYREVOKED);
	g_assert_cmpint(key_length(key), ==, -EKEYREVOKED);
	g_assert_cmpint(key_read(key, 64, &secret), ==, -EKEYREVOKED);
	key = user_key("gone", "1", 1, KEY_SPEC_SESSION_KEYRING);
	g_assert_no_errno(keyctl_set_timeout(key, 1));
	g_usleep(2100000);
	g_assert_cmpint(key_describe(key, &info), ==, -EKEYEXPIRED);
	g_assert_cmpint(key_read(key, 64, &secret), ==, -EKEYEXPIRED);
	/* It is still there for a moment, which is not always met. */
	for (unsigned int i = 0; i < 200; i++) {
		key = user_key("gone", "1", 1, KEY_SPEC_SESSION_KEYRING);
		g_assert_no_errno(keyctl_invalidate(key));
		g_assert_cmpint(key_read(key, 64, &secret), ==, -ENOKEY);
		g_assert_cmpint(key_describe(key, &info), ==, -ENOKEY);
	}
	g_assert_null(secret);
}

/* Keyrings of the caller, by their negative numbers, are nobody's business here. */
static void test_special(void)
{
	static const int32_t special[] = { 0, -1, -2, -3, -4, -5, -6, -7, -8, INT32_MIN };
	struct secret *secret = NULL;
	struct key_info info;
	int32_t found = 0;

	user_key("special", "1", 1, KEY_SPEC_SESSION_KEYRING);
	for (size_t i = 0; i < G_N_ELEMENTS(special); i++) {
		g_assert_cmpint(key_describe(special[i], &info), ==, -ENOKEY);
		g_assert_cmpint(key_length(special[i]), ==, -ENOKEY);
		g_assert_cmpint(key_read(special[i], 4096, &secret), ==, -ENOKEY);
		g_assert_cmpint(search(special[i], "user", "special", &found), ==, -ENOKEY);
	}
	g_assert_null(secret);
	g_assert_cmpint(found, ==, 0);
}

static void test_fault(void)
{
	static const struct {
		int error;
		enum hs_outcome outcome;
		const char *part;
	} cases[] = {
		{ ENOKEY, HS_KEY_MISSING, "does not exist" },
		{ EKEYEXPIRED, HS_KEY_EXPIRED, "expired" },
		{ EKEYREVOKED, HS_KEY_REVOKED, "revoked" },
		{ EACCES, HS_KEY_DENIED, "(keyctl setperm 0x0000000a 0x3f0b0000)" },
		{ EKEYREJECTED, HS_KEY_UNUSABLE, "content" },
		{ EOPNOTSUPP, HS_KEY_UNUSABLE, "keyctl padd user" },
		{ ENOMEM, HS_BUSY, "memory" },
		{ EAGAIN, HS_BUSY, "LimitMEMLOCK" },
		{ EIO, HS_INTERNAL, "Input/output" },
		{ EPERM, HS_INTERNAL, "permitted" },
	};
	char reason[HS_TEXT_MAX], small[16];

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_assert_cmpint(key_fault("private", 0x0a, -cases[i].error, reason, sizeof(reason)),
				==, cases[i].outcome);
		g_assert_true(g_str_has_prefix(reason, "private key 0x0000000a "));
		g_assert_nonnull(strstr(reason, cases[i].part));
		g_assert_cmpuint(strlen(reason), <, sizeof(reason) - 1);
		key_fault("private", 0x0a, -cases[i].error, small, sizeof(small));
		g_assert_cmpuint(strlen(small), ==, sizeof(small) - 1);
	}
}

int main(int argc, char **argv)
{
	const char *why = NULL;

	g_test_init(&argc, &argv, NULL);
	key_world_open(&why);
	add("/keyring-keys/exact-error", test_exact_error, why);
	add("/keyring-keys/search-cost", test_search_cost, why);
	g_test_add_func("/keyring-keys/fault", test_fault);
	add("/keyring-keys/search", test_search, why);
	add("/keyring-keys/search-beginning", test_search_beginning, why);
	add("/keyring-keys/type-psk", test_type_psk, why);
	add("/keyring-keys/describe", test_describe, why);
	add("/keyring-keys/read", test_read, why);
	add("/keyring-keys/read-changing", test_read_changing, why);
	add("/keyring-keys/gone", test_gone, why);
	add("/keyring-keys/special", test_special, why);
	return g_test_run();
}
