// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "key-world.h"
#include "tlshd/monitor/keyring.h"

#define SEED 20240611u

/* --- /proc/keys --- */

#define LINE(flags, usage, timeout, perm, uid, type, rest) \
	"0f9aa287 " flags " " usage " " timeout " " perm " " uid "     0 " type " " rest
#define GOOD(rest) LINE("I--Q---", "    1", "perm", "3f010000", "    0", "keyring  ", rest)

static unsigned int n_scans;
static int fopen_error;		/* 0: it works */

/* What fopen() is with _FILE_OFFSET_BITS=64. */
FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode)
{
	n_scans += strcmp(path, "/proc/keys") == 0;
	if (fopen_error) {
		errno = fopen_error;
		return NULL;
	}
	return __real_fopen64(path, mode);
}

static void test_line(void)
{
	static const struct {
		const char *line, *name;
		bool good;
	} cases[] = {
		{ GOOD("foo: empty"), "foo", true },
		{ GOOD("foo: 1"), "foo", true },
		{ GOOD("foo: 4294967295"), "foo", true },
		{ "165bfab3 I------     1 perm 0f0b0000     0     0 keyring   .nvme: empty",
		  ".nvme", true },
		{ "7fffffff I------ 12345  59s 0f0b0000     0 65534 keyring   .nvme: 12",
		  ".nvme", true },
		{ "165bfab3 I------ 123456  10w 0f0b0000     0 1000000 keyring   .nvme: 12",
		  ".nvme", true },
		/* names in names */
		{ GOOD("foo: 1"), "fo", false },
		{ GOOD("foo: 1"), "oo", false },
		{ GOOD("foo: 1"), "foo: 1", false },
		{ GOOD("foo: 1: 2"), "foo: 1", true },
		{ GOOD("foo: 1: 2"), "foo", false },
		{ GOOD("foo: empty: 2"), "foo", false },
		{ GOOD("foo: empty: 2"), "foo: empty", true },
		{ GOOD("foo: empty: empty"), "foo: empty", true },
		{ GOOD(" foo: 1"), "foo", false },
		{ GOOD(" foo: 1"), " foo", true },
		{ GOOD("foo : 1"), "foo", false },
		{ GOOD("a b; c: 1"), "a b; c", true },
		{ GOOD("foo: 1 "), "foo", false },
		{ GOOD("foo: x"), "foo", false },
		{ GOOD("foo: "), "foo", false },
		{ GOOD("foo:"), "foo", false },
		{ GOOD("foo"), "foo", false },
		{ GOOD(""), "foo", false },
		{ GOOD(": 1"), "", true },
		/* not ours, not good */
		{ LINE("I--Q---", "    1", "perm", "3f010000", " 1000", "keyring  ", "foo: 1"), "foo", false },
		{ LINE("I--Q---", "    1", "perm", "3f010000", "65534", "keyring  ", "foo: 1"), "foo", false },
		{ LINE("I--Q---", "    1", "perm", "3f010000", "   -1", "keyring  ", "foo: 1"), "foo", false },
		{ LINE("I--Q---", "    1", "expd", "3f010000", "    0", "keyring  ", "foo: 1"), "foo", false },
		{ LINE("IR-Q---", "    1", "perm", "3f010000", "    0", "keyring  ", "foo: 1"), "foo", false },
		{ LINE("I-DQ---", "    1", "perm", "3f010000", "    0", "keyring  ", "foo: 1"), "foo", false },
		{ LINE("I--Q-N-", "    1", "perm", "3f010000", "    0", "keyring  ", "foo: 1"), "foo", false },
		{ LINE("I--Q--i", "    1", "perm", "3f010000", "    0", "keyring  ", "foo: 1"), "foo", false },
		{ LINE("---Q---", "    1", "perm", "3f010000", "    0", "keyring  ", "foo: 1"), "foo", false },
		{ LINE("---QU--", "    1", "perm", "3f010000", "    0", "keyring  ", "foo: 1"), "foo", false },
		{ LINE("I--Q---", "    1", "perm", "3f010000", "    0", "user     ", "foo: 1"), "foo", false },
		{ LINE("I--Q---", "    1", "perm", "3f010000", "    0", "keyrings ", "foo: 1"), "foo", false },
		{ LINE("I--Q---", "    1", "perm", "3f010000", "    0", "keyring", "foo: 1"), "foo", false },
		{ LINE("I--Q--", "    1", "perm", "3f010000", "    0", "keyring  ", "foo: 1"), "foo", false },
		{ "00000000 I--Q---     1 perm 3f010000     0     0 keyring   foo: 1", "foo", false },
		{ "ffffffff I--Q---     1 perm 3f010000     0     0 keyring   foo: 1", "foo", false },
		{ "", "foo", false },
		{ "foo: 1", "foo", false },
	};
	int32_t serial;

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_test_message("%s", cases[i].line);
		serial = 0;
		g_assert_cmpint(keyring_parse_line(cases[i].line, cases[i].name, &serial), ==,
				cases[i].good);
		g_assert_cmpint(serial != 0, ==, cases[i].good);
	}
	g_assert_true(keyring_parse_line(cases[3].line, ".nvme", &serial));
	g_assert_cmphex(serial, ==, 0x165bfab3);
}

/* From an exact copy, for the sanitizer to see a byte too many. */
static bool parse_copy(const char *line, const char *name, int32_t *ret)
{
	g_autofree char *copy = g_strdup(line);

	return keyring_parse_line(copy, name, ret);
}

/* Made of what the format is made of. */
static char *any_name(GRand *rng)
{
	static const char *const words[] = {
		":", ": ", " ", "empty", "1", "20", "keyring", "a", "\t", "perm", ";", ".", "I--Q---",
	};
	GString *name = g_string_new("");

	for (int n = g_rand_int_range(rng, 0, 4); n; n--)
		g_string_append(name, words[g_rand_int_range(rng, 0, G_N_ELEMENTS(words))]);
	return g_string_free(name, FALSE);
}

/* Each line is the one its name finds, and no other's. */
static void test_line_random(void)
{
	g_autoptr(GRand) rng = g_rand_new_with_seed(SEED);
	unsigned int n_found = 0;

	for (unsigned int i = 0; i < 20000; i++) {
		g_autofree char *name = any_name(rng), *other = any_name(rng), *line = NULL;
		uint32_t serial = 1 + g_rand_int(rng) % INT32_MAX;
		int32_t found = 0;

		line = g_strdup_printf("%08x I--Q--- %5d perm %08x %5d %5d %-9.9s %s: %s", serial,
				       g_rand_int_range(rng, 0, 200000), g_rand_int(rng), 0,
				       g_rand_int_range(rng, 0, 200000), "keyring", name,
				       g_rand_boolean(rng) ? "empty" : "17");
		g_assert_true(parse_copy(line, name, &found));
		g_assert_cmpint(found, ==, (int32_t)serial);
		g_assert_cmpint(parse_copy(line, other, &found), ==,
				!strcmp(name, other));

		/* Cut or changed it is another line; whatever is found has the name. */
		line[g_rand_int_range(rng, 0, (gint32)strlen(line))] =
			g_rand_boolean(rng) ? '\0' : (char)g_rand_int_range(rng, 1, 256);
		if (parse_copy(line, name, &found)) {
			g_assert_nonnull(strstr(line, name));
			g_assert_cmpint(found, >, 0);
			n_found++;
		}
	}
	g_test_message("%u of 20000 changed lines are still found", n_found);
	g_assert_cmpuint(n_found, >, 100);	/* else this test looks at nothing */
}

/* --- keyrings --- */

static void test_find(void)
{
	g_autofree char *name = unique_name("find"), *longer = g_strconcat(name, ": 2", NULL);
	g_autofree char *longest = g_strnfill(KEY_DESCRIPTION_MAX - 1, '\xff');
	int32_t found = 0, keyring, other;

	g_assert_cmpint(keyring_find(name, &found), ==, -ENOKEY);
	g_assert_cmpint(keyring_find("", &found), ==, -ENOKEY);
	other = keyring_elsewhere(longer, 0);
	g_assert_cmpint(keyring_find(name, &found), ==, -ENOKEY);
	g_assert_cmpint(found, ==, 0);
	keyring = keyring_elsewhere(name, 0);
	g_assert_cmpint(keyring_find(name, &found), ==, 0);
	g_assert_cmpint(found, ==, keyring);
	user_key("k", "v", 1, keyring);
	user_key(longest, "v", 1, keyring);
	user_key(longest, "v", 1, KEY_SPEC_SESSION_KEYRING);
	g_assert_cmpint(keyring_find(name, &found), ==, 0);
	g_assert_cmpint(found, ==, keyring);
	g_assert_cmpint(keyring_find(longer, &found), ==, 0);
	g_assert_cmpint(found, ==, other);
	key_world_drop(keyring);
	key_world_drop(other);
	found = 0;
	for (unsigned int i = 0; i < 100 && keyring_find(name, &found) == 0; i++)
		g_usleep(20000);
	g_assert_cmpint(keyring_find(name, &found), ==, -ENOKEY);
}

static void test_find_owner(void)
{
	g_autofree char *name = unique_name("owner");
	int32_t strange = keyring_elsewhere(name, STRANGER), found = 0, ours;
	struct key_info info;

	/* We do see it: it is not taken because of its owner. */
	g_assert_cmpint(key_describe(strange, &info), ==, 0);
	g_assert_cmpuint(info.uid, ==, STRANGER);
	g_assert_cmpstr(info.description, ==, name);
	g_assert_cmpint(keyring_find(name, &found), ==, -ENOKEY);
	g_assert_cmpint(found, ==, 0);
	ours = keyring_elsewhere(name, 0);
	g_assert_cmpint(keyring_find(name, &found), ==, 0);
	g_assert_cmpint(found, ==, ours);
	key_world_drop(strange);
	key_world_drop(ours);
}

/* A key whose description continues with a line for /proc/keys. */
static void test_find_forged(void)
{
	g_autofree char *name = unique_name("forged");
	int32_t strange = keyring_elsewhere(name, STRANGER), found = 0, key, user;
	g_autofree char *line = g_strdup_printf(
		"%08x I------     1 perm 1f3f0000     0     0 keyring   %s: 1",
		(unsigned int)strange, name);
	g_autofree char *description = g_strdup_printf("x\n%s\n", line);
	g_autofree char *text = NULL;

	key = user_key(description, "v", 1, KEY_SPEC_SESSION_KEYRING);
	g_assert_true(g_file_get_contents("/proc/keys", &text, NULL, NULL));
	g_assert_nonnull(strstr(text, line));
	g_assert_true(keyring_parse_line(line, name, &found));
	g_assert_cmpint(found, ==, strange);
	found = 0;
	g_assert_cmpint(keyring_find(name, &found), ==, -ENOKEY);

	/* ... that points to a key of root's that is no keyring. */
	user = user_key(name, "v", 1, KEY_SPEC_SESSION_KEYRING);
	g_free(description);
	description = g_strdup_printf(
		"y\n%08x I------     1 perm 1f3f0000     0     0 keyring   %s: 1\n",
		(unsigned int)user, name);
	user_key(description, "v", 1, KEY_SPEC_SESSION_KEYRING);
	g_assert_cmpint(keyring_find(name, &found), ==, -ENOKEY);
	g_assert_cmpint(found, ==, 0);
	keyctl_unlink(key, KEY_SPEC_SESSION_KEYRING);
	key_world_drop(strange);
}

static void test_find_dead(void)
{
	g_autofree char *name = unique_name("dead");
	int32_t found = 0, keyring;

	keyring = add_key("keyring", name, NULL, 0, KEY_SPEC_SESSION_KEYRING);
	g_assert_cmpint(keyring_find(name, &found), ==, 0);
	g_assert_no_errno(keyctl_revoke(keyring));
	g_assert_cmpint(keyring_find(name, &found), ==, -ENOKEY);

	keyring = add_key("keyring", name, NULL, 0, KEY_SPEC_SESSION_KEYRING);
	g_assert_cmpint(keyring_find(name, &found), ==, 0);
	g_assert_cmpint(found, ==, keyring);
	g_assert_no_errno(keyctl_set_timeout(keyring, 1));
	g_assert_cmpint(keyring_find(name, &found), ==, 0);
	g_usleep(2100000);
	g_assert_cmpint(keyring_find(name, &found), ==, -ENOKEY);

	keyring = add_key("keyring", name, NULL, 0, KEY_SPEC_SESSION_KEYRING);
	g_assert_cmpint(keyring_find(name, &found), ==, 0);
	g_assert_cmpint(found, ==, keyring);
	g_assert_no_errno(keyctl_invalidate(keyring));
	g_assert_cmpint(keyring_find(name, &found), ==, -ENOKEY);
}

/* --- the time of use --- */

static void open_scope(struct keyring_scope *scope, const char *a, const char *b, int32_t keyring)
{
	const char *names[] = { a, b, NULL };

	g_assert_cmpint(keyring_scope_open(scope, names, keyring), ==, 0);
}

/* What a possessor may do is possible while a scope is open, and only then. */
static void test_scope_possession(void)
{
	g_autofree char *name = unique_name("possess");
	int32_t keyring = keyring_elsewhere(name, 0), key = user_key("k", "secret", 6, keyring);
	struct secret *secret = NULL;
	struct keyring_scope scope;

	g_assert_cmpuint(count_links(), ==, 0);
	g_assert_cmpint(key_read(key, 64, &secret), ==, -EACCES);
	for (unsigned int i = 0; i < 2; i++) {
		open_scope(&scope, i ? "no such keyring" : name, i ? NULL : "no such keyring",
			   i ? keyring : 0);
		g_assert_cmpuint(count_links(), ==, 1);
		g_assert_true(is_linked(keyring));
		g_assert_cmpint(key_read(key, 64, &secret), ==, 0);
		g_assert_cmpmem(secret->data, secret->len, "secret", 6);
		secret_free(secret);
		keyring_scope_close(&scope);
		g_assert_cmpuint(count_links(), ==, 0);
		g_assert_cmpint(key_read(key, 64, &secret), ==, -EACCES);
		keyring_scope_close(&scope);
	}
	key_world_drop(keyring);
}

static void test_scope_uses(void)
{
	g_autofree char *a = unique_name("a"), *b = unique_name("b");
	int32_t asked = keyring_elsewhere("whatever", 0), ring_a = keyring_elsewhere(a, 0), ring_b;
	struct keyring_scope scope;

	open_scope(&scope, b, a, asked);
	g_assert_cmpuint(scope.n, ==, 3);
	g_assert_null(scope.uses[0].name);
	g_assert_cmpint(scope.uses[0].serial, ==, asked);
	g_assert_cmpstr(scope.uses[1].name, ==, b);
	g_assert_cmpint(scope.uses[1].serial, ==, 0);
	g_assert_false(scope.uses[1].linked);
	g_assert_cmpstr(scope.uses[2].name, ==, a);
	g_assert_cmpint(scope.uses[2].serial, ==, ring_a);
	g_assert_cmpuint(count_links(), ==, 2);
	keyring_scope_close(&scope);
	g_assert_cmpuint(scope.n, ==, 0);

	/* One that is made later is found without a restart; one that goes is gone. */
	ring_b = keyring_elsewhere(b, 0);
	open_scope(&scope, b, a, 0);
	g_assert_cmpint(scope.uses[0].serial, ==, ring_b);
	g_assert_cmpuint(count_links(), ==, 2);
	keyring_scope_close(&scope);
	key_world_drop(ring_a);
	for (unsigned int i = 0; i < 100 && keyring_find(a, &ring_a) == 0; i++)
		g_usleep(20000);
	open_scope(&scope, b, a, 0);
	g_assert_cmpint(scope.uses[1].serial, ==, 0);
	g_assert_cmpuint(count_links(), ==, 1);
	keyring_scope_close(&scope);

	g_assert_cmpint(keyring_scope_open(&scope, NULL, 0), ==, 0);
	g_assert_cmpuint(scope.n, ==, 0);
	keyring_scope_close(&scope);
	g_assert_cmpint(keyring_scope_open(&scope, NULL, KEY_SPEC_USER_KEYRING), ==, 0);
	g_assert_cmpuint(scope.n, ==, 0);
	keyring_scope_close(&scope);
	g_assert_cmpuint(count_links(), ==, 0);
	key_world_drop(asked);
	key_world_drop(ring_b);
}

/* What was linked by another stays linked, and is not put out by one of its name. */
static void test_scope_others(void)
{
	g_autofree char *name = unique_name("others");
	int32_t first = keyring_elsewhere(name, 0), second = keyring_elsewhere(name, 0);
	int32_t low = MIN(first, second), high = MAX(first, second);
	struct keyring_scope outer, inner;

	g_assert_no_errno(keyctl_link(high, KEY_SPEC_PROCESS_KEYRING));
	open_scope(&outer, name, name, high);
	g_assert_false(outer.uses[0].linked);
	g_assert_cmpint(outer.uses[0].error, ==, 0);
	g_assert_cmpint(outer.uses[1].serial, ==, high);	/* of two, the one that is there */
	g_assert_cmpint(outer.uses[1].error, ==, 0);
	g_assert_false(outer.uses[1].linked);
	g_assert_true(is_linked(high));
	g_assert_cmpuint(count_links(), ==, 1);
	keyring_scope_close(&outer);
	g_assert_true(is_linked(high));
	g_assert_no_errno(keyctl_unlink(high, KEY_SPEC_PROCESS_KEYRING));

	open_scope(&outer, name, name, 0);
	g_assert_true(outer.uses[0].linked);
	g_assert_false(outer.uses[1].linked);
	open_scope(&inner, name, NULL, low);
	keyring_scope_close(&inner);
	g_assert_true(is_linked(low));
	keyring_scope_close(&outer);
	g_assert_cmpuint(count_links(), ==, 0);
	key_world_drop(first);
	key_world_drop(second);
}

static void test_scope_denied(void)
{
	g_autofree char *name = unique_name("closed");
	int32_t keyring;
	struct keyring_scope scope;

	keyring = add_key("keyring", name, NULL, 0, KEY_SPEC_SESSION_KEYRING);
	g_assert_no_errno(keyctl_setperm(keyring, KEY_USR_VIEW | KEY_USR_SETATTR));
	open_scope(&scope, name, NULL, 0);
	g_assert_cmpint(scope.uses[0].serial, ==, keyring);
	g_assert_cmpint(scope.uses[0].error, ==, -EACCES);
	g_assert_false(scope.uses[0].linked);
	keyring_scope_close(&scope);
	g_assert_cmpuint(count_links(), ==, 0);
	keyctl_unlink(keyring, KEY_SPEC_SESSION_KEYRING);
}

static void test_scope_growth(void)
{
	g_autofree char *a = unique_name("grow-a"), *b = unique_name("grow-b");
	int32_t ring_a = keyring_elsewhere(a, 0), ring_b = keyring_elsewhere(b, 0);
	struct keyring_scope scope;
	unsigned int before;

	open_scope(&scope, a, b, ring_a);	/* makes the process keyring itself */
	keyring_scope_close(&scope);
	before = count_keys();
	for (unsigned int i = 0; i < 2000; i++) {
		open_scope(&scope, a, b, i % 3 ? ring_a : 0);
		g_assert_cmpuint(count_links(), ==, 2);
		keyring_scope_close(&scope);
		g_assert_cmpuint(count_links(), ==, 0);
	}
	assert_no_growth(before);
	key_world_drop(ring_a);
	key_world_drop(ring_b);
}

/* What could not be looked for is not said to be missing; where nothing is to be seen, it is. */
static void test_scope_shortage(void)
{
	static const int short_of[] = { ENOMEM, EMFILE, ENFILE };
	g_autofree char *name = unique_name("shortage");
	const char *const names[] = { name, NULL };
	struct keyring_scope scope;
	char reason[128];

	keyring_elsewhere(name, 0);
	for (unsigned int i = 0; i < G_N_ELEMENTS(short_of); i++) {
		fopen_error = short_of[i];
		g_assert_cmpint(keyring_scope_open(&scope, names, 0), ==, -short_of[i]);
		g_assert_null(scope.uses);
		g_assert_cmpint(keyring_scope_fault(-short_of[i], reason, sizeof(reason)), ==,
				HS_BUSY);
		g_assert_nonnull(strstr(reason, short_of[i] == ENOMEM ? "memory" : "descriptor"));
	}
	fopen_error = ENOENT;
	g_assert_cmpint(keyring_scope_open(&scope, names, 0), ==, 0);
	g_assert_cmpint(scope.uses[0].serial, ==, 0);
	keyring_scope_close(&scope);
	fopen_error = 0;
	keyring_drop_links();
}

/* All of /proc/keys is not read for what the kernel has linked, unless that is of no use. */
static void test_scope_present(void)
{
	g_autofree char *name = unique_name("present");
	const char *const names[] = { name, NULL };
	int32_t ring = keyring_elsewhere(name, 0), stranger, dead;
	struct keyring_scope scope;

	n_scans = 0;
	g_assert_cmpint(keyring_scope_open(&scope, names, 0), ==, 0);
	g_assert_cmpint(scope.uses[0].serial, ==, ring);
	g_assert_cmpuint(n_scans, ==, 1);
	keyring_scope_close(&scope);

	g_assert_no_errno(keyctl_link(ring, KEY_SPEC_PROCESS_KEYRING));
	g_assert_cmpint(keyring_scope_open(&scope, names, 0), ==, 0);
	g_assert_cmpint(scope.uses[0].serial, ==, ring);
	g_assert_false(scope.uses[0].linked);
	g_assert_cmpuint(n_scans, ==, 1);
	keyring_scope_close(&scope);
	keyring_drop_links();

	stranger = keyring_elsewhere(name, STRANGER);
	g_assert_no_errno(keyctl_link(stranger, KEY_SPEC_PROCESS_KEYRING));
	g_assert_cmpint(keyring_scope_open(&scope, names, 0), ==, 0);
	g_assert_cmpint(scope.uses[0].serial, ==, ring);
	g_assert_cmpint(scope.uses[0].error, ==, -EEXIST);
	g_assert_true(is_linked(stranger));
	g_assert_cmpuint(n_scans, ==, 2);
	keyring_scope_close(&scope);
	keyring_drop_links();

	dead = keyring_elsewhere(name, 0);
	g_assert_no_errno(keyctl_link(dead, KEY_SPEC_PROCESS_KEYRING));
	g_assert_no_errno(keyctl_revoke(dead));
	g_assert_cmpint(keyring_scope_open(&scope, names, 0), ==, 0);
	g_assert_cmpint(scope.uses[0].serial, ==, ring);
	g_assert_cmpuint(n_scans, ==, 3);
	keyring_scope_close(&scope);
	keyring_drop_links();
	key_world_drop(dead);
	key_world_drop(stranger);
	key_world_drop(ring);
}

static void test_drop_links(void)
{
	int32_t rings[3];

	keyring_drop_links();
	g_assert_cmpuint(count_links(), ==, 0);
	for (unsigned int i = 0; i < G_N_ELEMENTS(rings); i++) {
		g_autofree char *name = g_strdup_printf("drop-%u", i);

		rings[i] = keyring_elsewhere(name, 0);
		g_assert_no_errno(keyctl_link(rings[i], KEY_SPEC_PROCESS_KEYRING));
	}
	g_assert_cmpuint(count_links(), ==, 3);
	keyring_drop_links();
	g_assert_cmpuint(count_links(), ==, 0);
	keyring_drop_links();
	for (unsigned int i = 0; i < G_N_ELEMENTS(rings); i++)
		key_world_drop(rings[i]);
}

/* The kernel's own, which nobody possesses. */
static void test_nvme(void)
{
	static const char *const names[] = { ".nvme", NULL };
	CLEANUP(keyring_scope_closep) struct keyring_scope scope = { 0 };
	struct key_info info;
	int32_t ring;

	if (keyring_find(".nvme", &ring) < 0) {
		g_test_skip("this kernel has no keyring .nvme (module \"nvme-keyring\")");
		return;
	}
	g_assert_cmpint(key_describe(ring, &info), ==, 0);
	g_assert_cmpstr(info.type, ==, "keyring");
	g_assert_cmpstr(info.description, ==, ".nvme");
	g_assert_cmpuint(info.uid, ==, 0);
	g_assert_cmpint(keyring_scope_open(&scope, names, 0), ==, 0);
	g_assert_cmpint(scope.uses[0].serial, ==, ring);
	g_assert_cmpint(scope.uses[0].error, ==, 0);
	g_assert_true(is_linked(ring));
	keyring_scope_close(&scope);
	g_assert_false(is_linked(ring));
}

static void test_names(void)
{
	static const char *const own[] = { ".a", ".b", NULL }, *const configured[] = { "c", NULL };
	CLEANUP_FREE const char **both = keyring_names(own, configured);
	CLEANUP_FREE const char **first = keyring_names(own, NULL);
	CLEANUP_FREE const char **none = keyring_names(NULL, NULL);

	g_assert_cmpstr(both[0], ==, ".a");
	g_assert_cmpstr(both[1], ==, ".b");
	g_assert_cmpstr(both[2], ==, "c");
	g_assert_null(both[3]);
	g_assert_cmpstr(first[1], ==, ".b");
	g_assert_null(first[2]);
	g_assert_null(none[0]);
}

int main(int argc, char **argv)
{
	const char *why = NULL;

	g_test_init(&argc, &argv, NULL);
	key_world_open(&why);
	g_test_message("seed %u", SEED);
	g_test_add_func("/keyring/line", test_line);
	g_test_add_func("/keyring/line-random", test_line_random);
	g_test_add_func("/keyring/names", test_names);
	add("/keyring/find", test_find, why);
	add("/keyring/find-owner", test_find_owner, why);
	add("/keyring/find-forged", test_find_forged, why);
	add("/keyring/find-dead", test_find_dead, why);
	add("/keyring/scope-possession", test_scope_possession, why);
	add("/keyring/scope-uses", test_scope_uses, why);
	add("/keyring/scope-others", test_scope_others, why);
	add("/keyring/scope-denied", test_scope_denied, why);
	add("/keyring/scope-growth", test_scope_growth, why);
	add("/keyring/scope-present", test_scope_present, why);
	add("/keyring/scope-shortage", test_scope_shortage, why);
	add("/keyring/nvme", test_nvme, why);
	add("/keyring/drop-links", test_drop_links, why);
	return g_test_run();
}
