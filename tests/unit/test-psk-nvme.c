// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pre-shared keys of the kernel's own type in the kernel's own keyring, where it
 * has them (module nvme-keyring): only a possessor may read them, and nobody is.
 */
#include <errno.h>
#include <string.h>

#include "key-world.h"
#include "tlshd/monitor/keyring.h"
#include "tlshd/monitor/psk.h"

/* Nobody's: the test may run where .nvme is in use. */
#define IDENTITY "NVMe0R01 nqn.2014-08.org.nvmexpress:uuid:00000000-0000-0000-0000-00007e570001 nqn.test"

static const char bytes[] = "between the two of them, for now";	/* 32 and a NUL */

struct fixture {
	int32_t ring;
	struct psk psk;
	char reason[HS_TEXT_MAX];
};

static int32_t add_psk(const struct fixture *f, const char *identity)
{
	int32_t key = add_key("psk", identity, bytes, sizeof(bytes) - 1, f->ring);

	g_assert_no_errno(key);
	return key;
}

/* To revoke it or to change its permissions takes its possession. */
static void possess(const struct fixture *f, bool yes)
{
	if (yes)
		g_assert_no_errno(keyctl_link(f->ring, KEY_SPEC_SESSION_KEYRING));
	else
		g_assert_no_errno(keyctl_unlink(f->ring, KEY_SPEC_SESSION_KEYRING));
}

static enum hs_outcome find(struct fixture *f, const char *identity)
{
	psk_clear(&f->psk);
	f->reason[0] = '\0';
	return psk_find(&f->psk, identity, 0, NULL, f->reason, sizeof(f->reason));
}

static enum hs_outcome choose(struct fixture *f, int32_t serial)
{
	static const struct log quiet = { .level = -1 };

	psk_clear(&f->psk);
	f->reason[0] = '\0';
	return psk_choose(&f->psk, &serial, 1, NULL, &quiet, f->reason, sizeof(f->reason));
}

static void assert_psk(const struct fixture *f, int32_t serial, const char *identity)
{
	g_assert_cmpint(f->psk.serial, ==, serial);
	g_assert_cmpstr(f->psk.identity, ==, identity);
	g_assert_cmpmem(f->psk.key->data, f->psk.key->len, bytes, sizeof(bytes) - 1);
	g_assert_cmpuint(count_links(), ==, 0);
}

static void test_usable(struct fixture *f, int32_t key, int32_t longer)
{
	g_assert_cmpint(keyctl_read(key, NULL, 0), ==, -1);
	g_assert_cmpint(errno, ==, EACCES);
	g_assert_cmpint(find(f, IDENTITY), ==, HS_OK);
	assert_psk(f, key, IDENTITY);
	g_assert_cmpint(find(f, IDENTITY "x"), ==, HS_OK);
	assert_psk(f, longer, IDENTITY "x");
	g_assert_cmpint(choose(f, key), ==, HS_OK);
	assert_psk(f, key, IDENTITY);
	psk_clear(&f->psk);
}

static void test_revoked(struct fixture *f, int32_t key)
{
	g_autofree char *name = g_strdup_printf("key 0x%08x", (unsigned int)key);

	possess(f, true);
	g_assert_no_errno(keyctl_revoke(key));
	possess(f, false);
	/* Which identity a revoked key had can only be guessed. */
	g_assert_cmpint(find(f, IDENTITY), ==, HS_PSK_UNKNOWN);
	g_test_message("%s", f->reason);
	g_assert_nonnull(strstr(f->reason, name));
	g_assert_nonnull(strstr(f->reason, " there has been revoked"));
	g_assert_cmpint(find(f, IDENTITY "y"), ==, HS_PSK_UNKNOWN);
	g_assert_cmpint(choose(f, key), ==, HS_KEY_REVOKED);
	g_assert_nonnull(strstr(f->reason, name));
	g_assert_null(f->psk.key);
}

static void test_nvme(void)
{
	struct fixture f = { 0 };
	int32_t key, longer;

	if (keyring_find(".nvme", &f.ring) < 0) {
		g_test_skip("this kernel has no keyring .nvme (module \"nvme-keyring\")");
		return;
	}
	/* The type is content with a beginning; we are not. */
	longer = add_psk(&f, IDENTITY "x");
	g_assert_cmpint(find(&f, IDENTITY), ==, HS_PSK_UNKNOWN);
	g_assert_nonnull(strstr(f.reason, ".nvme"));
	key = add_psk(&f, IDENTITY);
	test_usable(&f, key, longer);
	test_revoked(&f, key);
	g_assert_no_errno(keyctl_unlink(longer, f.ring));
	g_assert_no_errno(keyctl_unlink(key, f.ring));
	g_assert_cmpint(find(&f, IDENTITY), ==, HS_PSK_UNKNOWN);
	g_assert_cmpint(find(&f, IDENTITY "x"), ==, HS_PSK_UNKNOWN);
}

int main(int argc, char **argv)
{
	const char *why = NULL;

	g_test_init(&argc, &argv, NULL);
	key_world_open(&why);
	add("/psk-nvme", test_nvme, why);
	return g_test_run();
}
