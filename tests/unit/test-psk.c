// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "build-config.h"
#include "key-world.h"
#include "tlshd/monitor/psk.h"

#define SEED 20240907u
#define HOST "nqn.2014-08.org.nvmexpress:uuid:befdec4c-2234-11b2-a85c-ca77c773af36"
#define SUBSYS "nqn.io-1"
#define NQNS HOST " " SUBSYS
#define DIGEST32 "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789+/AbCdE="
#define DIGEST48 "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789+/AbCdEfGhIjKlMnOpQrStUvWxYz"
#define N223 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" \
	     "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" \
	     "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" \
	     "nnnnnnnn"

static const uint8_t secret_bytes[] =
	"0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789ABCDEF....";

/* --- what an identity says --- */

static void test_identity(void)
{
	static const struct {
		const char *identity;
		struct psk_identity facts;
	} cases[] = {
		{ "NVMe0R01 " NQNS, { true, 0, false, HS_PSK_SHA256, 32, 32 } },
		{ "NVMe0G01 " NQNS, { true, 0, true, HS_PSK_SHA256, 32, 32 } },
		{ "NVMe0R02 " NQNS, { true, 0, false, HS_PSK_SHA384, 48, 48 } },
		{ "NVMe1R01 " NQNS " " DIGEST32, { true, 1, false, HS_PSK_SHA256, 32, 32 } },
		{ "NVMe1G02 " NQNS " " DIGEST48, { true, 1, true, HS_PSK_SHA384, 48, 48 } },
		{ "NVMe0R01 a b", { true, 0, false, HS_PSK_SHA256, 32, 32 } },
		{ "NVMe0R01 " N223 " " N223, { true, 0, false, HS_PSK_SHA256, 32, 32 } },
		{ "NVMe1R02 " N223 " " N223 " " DIGEST48, { true, 1, false, HS_PSK_SHA384, 48, 48 } },
		{ "client1", { false, 0, false, HS_PSK_SHA256, 16, HS_PSK_MAX } },
		{ "a", { false, 0, false, HS_PSK_SHA256, 16, HS_PSK_MAX } },
		{ "\x01\xff\n", { false, 0, false, HS_PSK_SHA256, 16, HS_PSK_MAX } },
		{ "NVMe", { false, 0, false, HS_PSK_SHA256, 16, HS_PSK_MAX } },
		{ "NVMeR01 a b", { false, 0, false, HS_PSK_SHA256, 16, HS_PSK_MAX } },
		{ "nvme0R01 a b", { false, 0, false, HS_PSK_SHA256, 16, HS_PSK_MAX } },
		{ " NVMe0R01", { false, 0, false, HS_PSK_SHA256, 16, HS_PSK_MAX } },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		const struct psk_identity *want = &cases[i].facts;
		struct psk_identity id;
		char reason[256] = "";

		g_assert_cmpint(psk_identity_parse(cases[i].identity, &id, reason, sizeof(reason)),
				==, 0);
		g_assert_cmpstr(reason, ==, "");
		g_assert_cmpint(id.nvme, ==, want->nvme);
		g_assert_cmpuint(id.version, ==, want->version);
		g_assert_cmpint(id.generated, ==, want->generated);
		g_assert_cmpint(id.hash, ==, want->hash);
		g_assert_cmpuint(id.min, ==, want->min);
		g_assert_cmpuint(id.max, ==, want->max);
	}
}

static void test_identity_refused(void)
{
	static const struct {
		const char *identity, *part;
	} cases[] = {
		{ "", "empty" },
		{ "NVMe0", "R or G" },
		{ "NVMe0X01 a b", "R or G" },
		{ "NVMe0R0", "hash 0" },
		{ "NVMe2R01 " NQNS, "version 2" },
		{ "NVMe9R01 " NQNS " " DIGEST32, "version 9" },
		{ "NVMe0R00 " NQNS, "hash 00" },
		{ "NVMe0R03 " NQNS, "hash 03" },
		{ "NVMe0R10 " NQNS, "hash 10" },
		{ "NVMe0R01", "host" },
		{ "NVMe0R01 ", "host" },
		{ "NVMe0R01x " NQNS, "host" },
		{ "NVMe0R011 " NQNS, "host" },
		{ "NVMe0R01 a", "subsystem" },
		{ "NVMe0R01 a ", "subsystem" },
		{ "NVMe0R01 a  b", "subsystem" },
		{ "NVMe0R01  a b", "host" },
		{ "NVMe0R01 a b ", "two NQNs" },
		{ "NVMe0R01 a b c", "two NQNs" },
		{ "NVMe0R01 " NQNS " " DIGEST32, "two NQNs" },
		{ "NVMe0R01 " N223 "n b", "224" },
		{ "NVMe0R01 a " N223 "n", "224" },
		{ "NVMe1R01 " NQNS, "44" },
		{ "NVMe1R01 " NQNS " ", "44" },
		{ "NVMe1R01 " NQNS " " DIGEST48, "44" },
		{ "NVMe1R02 " NQNS " " DIGEST32, "64" },
		{ "NVMe1R01 " NQNS " " DIGEST32 "=", "44" },
		{ "NVMe1R01 " NQNS " " DIGEST32 " ", "44" },
		{ "NVMe1R01 " NQNS " AbCdEfGhIjKlMnOpQrStUvWxYz0123456789+/AbCd==", "44" },
		{ "NVMe1R01 " NQNS " AbCdEfGhIjKlMnOpQrStUvWxYz0123456789+/AbCdEE", "44" },
		{ "NVMe1R01 " NQNS " AbCdEfGhIjKlMnOpQrStUvWxYz0123456789+_AbCdE=", "44" },
		{ "NVMe1R01 " NQNS " AbCdEfGh=jKlMnOpQrStUvWxYz0123456789+/AbCdE=", "44" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct psk_identity id = { .min = 4711 };
		char reason[256] = "";

		g_test_message("%s", cases[i].identity);
		g_assert_cmpint(psk_identity_parse(cases[i].identity, &id, reason, sizeof(reason)),
				==, -EINVAL);
		g_assert_nonnull(strstr(reason, cases[i].part));
		g_assert_cmpuint(id.min, ==, 4711);
	}
}

/* Against another description of the same language. */
static void test_identity_random(void)
{
	static const char *const words[] = {
		"NVMe0R01", "NVMe1G01", "NVMe1R02", "NVMe", "0", "R", "01", " ", " ", " ", " a",
		" b", " " N223, "n", " " DIGEST32, " " DIGEST48, "=", "\n", "\t",
	};
	g_autoptr(GRegex) begins = g_regex_new("\\ANVMe[0-9]", G_REGEX_RAW, 0, NULL);
	g_autoptr(GRegex) whole = g_regex_new(
		"\\ANVMe(0[RG]0[12]( [^ ]{1,223}){2}|"
		"1[RG]01( [^ ]{1,223}){2} [A-Za-z0-9+/]{43}=|"
		"1[RG]02( [^ ]{1,223}){2} [A-Za-z0-9+/]{64})\\z", G_REGEX_RAW, 0, NULL);
	g_autoptr(GRand) rng = g_rand_new_with_seed(SEED);
	unsigned int n[2] = { 0 };

	for (unsigned int i = 0; i < 50000; i++) {
		g_autoptr(GString) text = g_string_new(words[g_rand_int_range(rng, 0, 4)]);
		g_autofree char *exact = NULL;
		struct psk_identity id;
		char reason[256];
		bool nvme, good;

		for (int j = g_rand_int_range(rng, 0, 6); j; j--)
			g_string_append(text, words[g_rand_int_range(rng, 0, G_N_ELEMENTS(words))]);
		if (g_rand_int_range(rng, 0, 4) == 0)
			text->str[g_rand_int_range(rng, 0, (gint32)text->len)] =
				(char)g_rand_int_range(rng, 1, 256);
		exact = g_strdup(text->str);
		nvme = g_regex_match(begins, exact, 0, NULL);
		good = nvme ? g_regex_match(whole, exact, 0, NULL) : strlen(exact) < 1024;
		if (good == (psk_identity_parse(exact, &id, reason, sizeof(reason)) < 0))
			g_error("'%s' should be %s", exact, good ? "taken" : "refused");
		if (good)
			g_assert_cmpint(id.nvme, ==, nvme);
		n[nvme && good]++;
	}
	g_test_message("%u good ones of NVMe", n[1]);
	g_assert_cmpuint(n[1], >, 500);
}

static void test_identity_length(void)
{
	g_autofree char *text = g_strnfill(HS_PSK_IDENTITY_MAX, 'i');
	struct psk_identity id;
	char reason[256];

	g_assert_cmpint(psk_identity_parse(text, &id, reason, sizeof(reason)), ==, -EINVAL);
	g_assert_nonnull(strstr(reason, "1024"));
	g_assert_cmpint(psk_identity_parse(text + 1, &id, reason, sizeof(reason)), ==, 0);
}

/* --- which key --- */

static int32_t must_not_be_read;

long __real_keyctl_read(int32_t serial, char *buf, size_t size);
long __wrap_keyctl_read(int32_t serial, char *buf, size_t size);
long __wrap_keyctl_read(int32_t serial, char *buf, size_t size)
{
	if (buf)
		g_assert_cmpint(serial, !=, must_not_be_read);
	return __real_keyctl_read(serial, buf, size);
}

/* A keyring as .nvme, for one test. */
struct fixture {
	char *name, *other_name;
	int32_t ring, other;
	const char *keyrings[3];
	GPtrArray *lines;	/* of the log, "priority text" */
	struct log log;
	struct psk psk;
	char reason[HS_TEXT_MAX];
};

static void sink(void *ctx, int priority, const char *text, const struct log_field *fields,
		 size_t n_fields)
{
	g_ptr_array_add(ctx, g_strdup_printf("%d %s", priority, text));
}

static void set_up(struct fixture *f, gconstpointer unused)
{
	g_assert_no_errno(keyctl_clear(KEY_SPEC_SESSION_KEYRING));
	f->name = unique_name("one");
	f->other_name = unique_name("other");
	f->ring = keyring_elsewhere(f->name, 0);
	f->other = keyring_elsewhere(f->other_name, 0);
	f->keyrings[0] = f->name;
	f->keyrings[1] = f->other_name;
	f->lines = g_ptr_array_new_with_free_func(g_free);
	f->log = (struct log){ LOG_DEBUG, sink, f->lines };
	must_not_be_read = 0;
}

static void tear_down(struct fixture *f, gconstpointer unused)
{
	psk_clear(&f->psk);
	g_assert_cmpuint(count_links(), ==, 0);
	key_world_drop(f->ring);
	key_world_drop(f->other);
	g_ptr_array_unref(f->lines);
	g_free(f->name);
	g_free(f->other_name);
}

static enum hs_outcome choose(struct fixture *f, const int32_t *serials, unsigned int n)
{
	psk_clear(&f->psk);
	f->reason[0] = '\0';
	g_ptr_array_set_size(f->lines, 0);
	return psk_choose(&f->psk, serials, n, f->keyrings, &f->log, f->reason, sizeof(f->reason));
}

static enum hs_outcome find(struct fixture *f, const char *identity, int32_t keyring)
{
	psk_clear(&f->psk);
	f->reason[0] = '\0';
	return psk_find(&f->psk, identity, keyring, f->keyrings, f->reason, sizeof(f->reason));
}

static void assert_psk(const struct fixture *f, int32_t serial, const char *identity, size_t len)
{
	g_assert_cmpint(f->psk.serial, ==, serial);
	g_assert_cmpstr(f->psk.identity, ==, identity);
	g_assert_cmpint(f->psk.hash, ==, HS_PSK_SHA256);
	g_assert_cmpmem(f->psk.key->data, f->psk.key->len, secret_bytes, len);
}

/* Nothing but a sentence, which names the key and has @part in it. */
static void assert_refused(const struct fixture *f, int32_t serial, const char *part)
{
	g_autofree char *name = g_strdup_printf("key 0x%08x", (unsigned int)serial);

	g_test_message("%s", f->reason);
	g_assert_null(f->psk.key);
	g_assert_cmpint(f->psk.serial, ==, 0);
	g_assert_nonnull(strstr(f->reason, name));
	g_assert_nonnull(strstr(f->reason, part));
}

static void refuse_one(struct fixture *f, int32_t serial, enum hs_outcome outcome, const char *part)
{
	enum hs_outcome got = choose(f, &serial, 1);

	assert_refused(f, serial, part);
	g_assert_cmpint(got, ==, outcome);
	g_assert_cmpuint(f->lines->len, ==, 0);
}

static int32_t psk_key(const char *identity, size_t len, int32_t keyring)
{
	return user_key(identity, secret_bytes, len, keyring);
}

/* Keys that only a possessor may read, in a keyring of a configured name. */
static void test_choose(struct fixture *f, gconstpointer unused)
{
	int32_t serials[] = {
		psk_key("NVMe0R01 " NQNS, 32, f->ring), psk_key("client1", 16, f->other),
		psk_key("client2", 64, f->other),
	};
	int32_t wrong = psk_key("NVMe0R01 a b", 48, f->ring);

	g_assert_cmpint(choose(f, serials, 3), ==, HS_OK);
	assert_psk(f, serials[0], "NVMe0R01 " NQNS, 32);
	g_assert_cmpuint(f->lines->len, ==, 0);
	g_assert_cmpint(choose(f, serials + 1, 2), ==, HS_OK);
	assert_psk(f, serials[1], "client1", 16);
	g_assert_cmpint(choose(f, serials + 2, 1), ==, HS_OK);
	assert_psk(f, serials[2], "client2", 64);

	/* Those that are passed over are said. */
	serials[0] = wrong;
	must_not_be_read = wrong;
	g_assert_cmpint(choose(f, serials, 3), ==, HS_OK);
	assert_psk(f, serials[1], "client1", 16);
	g_assert_cmpuint(f->lines->len, ==, 1);
	g_assert_true(g_str_has_prefix(g_ptr_array_index(f->lines, 0), "5 passed over: pre-shared key 0x"));

	/* Where the keyrings are not looked in, nobody may read them. */
	f->keyrings[0] = NULL;
	refuse_one(f, serials[1], HS_KEY_DENIED, "setperm");
}

static void test_choose_none(struct fixture *f, gconstpointer unused)
{
	int32_t serials[] = {
		psk_key("short", 15, f->ring), psk_key("NVMe0R01 a b", 31, f->ring), 0x7ffffff0,
	};

	g_assert_cmpint(choose(f, serials, 3), ==, HS_KEY_UNUSABLE);
	assert_refused(f, serials[0], "15 bytes");
	g_assert_cmpuint(f->lines->len, ==, 3);
	g_assert_nonnull(strstr(g_ptr_array_index(f->lines, 1), "31 bytes"));
	g_assert_nonnull(strstr(g_ptr_array_index(f->lines, 2), "key 0x7ffffff0"));

	g_assert_cmpint(choose(f, serials, 0), ==, HS_KEY_MISSING);
	g_assert_nonnull(strstr(f->reason, "names no"));
	g_assert_null(f->psk.key);
	serials[0] = 0;
	g_assert_cmpint(choose(f, serials, 1), ==, HS_KEY_MISSING);
	serials[0] = KEY_SPEC_SESSION_KEYRING;
	g_assert_cmpint(choose(f, serials, 1), ==, HS_KEY_MISSING);
}

static void test_choose_faults(struct fixture *f, gconstpointer unused)
{
	g_autofree char *longest = g_strnfill(HS_PSK_IDENTITY_MAX - 1, 'i');
	g_autofree char *longer = g_strnfill(HS_PSK_IDENTITY_MAX, 'i');
	int32_t key;

	refuse_one(f, 0x7ffffff0, HS_KEY_MISSING, "does not exist");
	refuse_one(f, f->ring, HS_KEY_UNUSABLE, "type keyring");
	key = add_key("logon", "a:b", secret_bytes, 32, f->ring);
	refuse_one(f, key, HS_KEY_UNUSABLE, "type logon");
	refuse_one(f, psk_key("NVMe0R09 a b", 32, f->ring), HS_KEY_UNUSABLE, "hash 09");
	refuse_one(f, psk_key("NVMe0R01 a b", 31, f->ring), HS_KEY_UNUSABLE, "31 bytes");
	refuse_one(f, psk_key("NVMe0R01 a c", 33, f->ring), HS_KEY_UNUSABLE, "NVMe0R01, which needs 32");
	refuse_one(f, psk_key("x", 15, f->ring), HS_KEY_UNUSABLE, "16 to 64");
	refuse_one(f, psk_key("y", 65, f->ring), HS_KEY_UNUSABLE, "16 to 64");
	refuse_one(f, psk_key(longer, 32, f->ring), HS_KEY_UNUSABLE, "1024 bytes");
	key = psk_key(longest, 32, f->ring);
	g_assert_cmpint(choose(f, &key, 1), ==, HS_OK);
	assert_psk(f, key, longest, 32);

	key = psk_key("denied", 32, KEY_SPEC_SESSION_KEYRING);
	g_assert_no_errno(keyctl_setperm(key, KEY_USR_VIEW | KEY_USR_SETATTR));
	refuse_one(f, key, HS_KEY_DENIED, "setperm");
	g_assert_no_errno(keyctl_setperm(key, KEY_USR_READ));
	refuse_one(f, key, HS_KEY_DENIED, "setperm");
	key = psk_key("revoked", 32, KEY_SPEC_SESSION_KEYRING);
	g_assert_no_errno(keyctl_revoke(key));
	refuse_one(f, key, HS_KEY_REVOKED, "revoked");
	key = psk_key("expired", 32, KEY_SPEC_SESSION_KEYRING);
	g_assert_no_errno(keyctl_set_timeout(key, 1));
	g_usleep(2100000);
	refuse_one(f, key, HS_KEY_EXPIRED, "expired");
	key = psk_key("gone", 32, KEY_SPEC_SESSION_KEYRING);
	g_assert_no_errno(keyctl_invalidate(key));
	refuse_one(f, key, HS_KEY_MISSING, "does not exist");
}

/* As the library can or cannot; the secret is not touched where it cannot. */
static void test_sha384(struct fixture *f, gconstpointer unused)
{
	static const char identity[] = "NVMe0R02 " NQNS;
	int32_t serials[] = {
		psk_key(identity, 48, f->ring), psk_key("NVMe0R01 " NQNS, 32, f->ring),
	};

#if TLSHD_PSK_SHA384
	g_assert_cmpint(choose(f, serials, 2), ==, HS_OK);
	g_assert_cmpint(f->psk.serial, ==, serials[0]);
	g_assert_cmpint(f->psk.hash, ==, HS_PSK_SHA384);
	g_assert_cmpmem(f->psk.key->data, f->psk.key->len, secret_bytes, 48);
	g_assert_cmpint(find(f, identity, 0), ==, HS_OK);
	g_assert_cmpint(f->psk.hash, ==, HS_PSK_SHA384);
	refuse_one(f, psk_key("NVMe0R02 a b", 32, f->ring), HS_KEY_UNUSABLE, "needs 48");
#else
	must_not_be_read = serials[0];
	g_assert_cmpint(choose(f, serials, 2), ==, HS_OK);
	assert_psk(f, serials[1], "NVMe0R01 " NQNS, 32);
	g_assert_cmpuint(f->lines->len, ==, 1);
	g_assert_true(g_str_has_prefix(g_ptr_array_index(f->lines, 0), "7 passed over: "));
	refuse_one(f, serials[0], HS_UNSUPPORTED, "3.8.11");
	g_assert_nonnull(strstr(f->reason, "built with " TLSHD_GNUTLS_VERSION));
	g_assert_nonnull(strstr(f->reason, "32 bytes"));
	g_assert_cmpint(find(f, identity, 0), ==, HS_UNSUPPORTED);
	assert_refused(f, serials[0], "3.8.11");
#endif
	g_assert_cmpint(find(f, "NVMe0R02 a unknown", 0), ==, HS_PSK_UNKNOWN);
}

/* --- a server --- */

static void test_find(struct fixture *f, gconstpointer unused)
{
	g_autofree char *later = unique_name("later");
	int32_t a = psk_key("NVMe0R01 " NQNS, 32, f->ring), b = psk_key("both", 17, f->other), c;
	int32_t asked = keyring_elsewhere("asked", 0), d = psk_key("asked only", 18, asked);

	g_assert_cmpint(find(f, "NVMe0R01 " NQNS, 0), ==, HS_OK);
	assert_psk(f, a, "NVMe0R01 " NQNS, 32);
	g_assert_cmpint(find(f, "both", 0), ==, HS_OK);
	assert_psk(f, b, "both", 17);
	c = psk_key("both", 19, f->ring);
	g_assert_cmpint(find(f, "both", 0), ==, HS_OK);
	assert_psk(f, c, "both", 19);

	/* The request's keyring is the only one where there is one. */
	g_assert_cmpint(find(f, "asked only", asked), ==, HS_OK);
	assert_psk(f, d, "asked only", 18);
	g_assert_cmpint(find(f, "both", asked), ==, HS_PSK_UNKNOWN);
	g_assert_null(f->psk.key);
	g_assert_null(strstr(f->reason, f->name));
	g_assert_cmpint(find(f, "both", f->other), ==, HS_OK);
	assert_psk(f, b, "both", 17);
	g_assert_cmpint(find(f, "asked only", 0), ==, HS_PSK_UNKNOWN);
	g_assert_cmpint(find(f, "both", KEY_SPEC_SESSION_KEYRING), ==, HS_PSK_UNKNOWN);
	g_assert_cmpint(find(f, "both", 0x7ffffff0), ==, HS_PSK_UNKNOWN);
	key_world_drop(asked);

	/* A keyring that comes later is found. */
	f->keyrings[1] = later;
	g_assert_cmpint(find(f, "asked only", 0), ==, HS_PSK_UNKNOWN);
	asked = keyring_elsewhere(later, 0);
	d = psk_key("asked only", 18, asked);
	g_assert_cmpint(find(f, "asked only", 0), ==, HS_OK);
	assert_psk(f, d, "asked only", 18);
	key_world_drop(asked);
}

static void test_find_unknown(struct fixture *f, gconstpointer unused)
{
	static const char *const strange[] = {
		"N", "NVMe0R01 " HOST, "NVMe0R01 " NQNS "x", "a\"b\\\n\x1b[31m", "%s%n", "both ", "",
	};
	char small[24];

	psk_key("NVMe0R01 " NQNS, 32, f->ring);
	psk_key("both", 32, f->ring);
	f->keyrings[1] = "is not there";
	for (size_t i = 0; i < G_N_ELEMENTS(strange); i++) {
		g_assert_cmpint(find(f, strange[i], 0), ==, HS_PSK_UNKNOWN);
		g_test_message("%s", f->reason);
		g_assert_null(f->psk.key);
		g_assert_null(strpbrk(f->reason, "\n\x1b"));
		psk_find(&f->psk, strange[i], 0, f->keyrings, small, sizeof(small));
		g_assert_cmpuint(strlen(small), ==, sizeof(small) - 1);
	}
	find(f, "NVMe0R01 " NQNS "x", 0);
	g_assert_nonnull(strstr(f->reason, "\"NVMe0R01 " NQNS "x\""));
	g_assert_nonnull(strstr(f->reason, ".nvme"));
	g_assert_nonnull(strstr(f->reason, f->name));
	g_assert_nonnull(strstr(f->reason, "is not there (does not exist)"));
	find(f, "NVMe0R01 " N223 " " N223, 0);
	g_assert_nonnull(strstr(f->reason, "..."));
	g_assert_nonnull(strstr(f->reason, f->name));
	find(f, "NVMe0R01 x", 0);
	g_assert_nonnull(strstr(f->reason, "malformed"));
}

static void find_refused(struct fixture *f, const char *identity, int32_t key,
			 enum hs_outcome outcome, const char *part)
{
	g_assert_cmpint(find(f, identity, 0), ==, outcome);
	assert_refused(f, key, part);
}

/* A bad key counts only where no keyring has a good one. */
static void test_find_faults(struct fixture *f, gconstpointer unused)
{
	static const char *const identities[] = { "expired", "revoked", "denied", "short" };
	int32_t keys[4], good;

	for (unsigned int i = 0; i < G_N_ELEMENTS(identities); i++)
		keys[i] = psk_key(identities[i], i == 3 ? 15 : 32, KEY_SPEC_SESSION_KEYRING);
	g_assert_no_errno(keyctl_set_timeout(keys[0], 1));
	for (unsigned int i = 0; i < G_N_ELEMENTS(identities); i++)
		g_assert_no_errno(keyctl_link(keys[i], f->ring));
	g_assert_no_errno(keyctl_revoke(keys[1]));
	g_assert_no_errno(keyctl_setperm(keys[2], KEY_USR_VIEW | KEY_USR_SETATTR));
	g_usleep(2100000);

	find_refused(f, "expired", keys[0], HS_KEY_EXPIRED, "expired");
	g_assert_nonnull(strstr(f->reason, "identity is \"expired\""));
	find_refused(f, "revoked", keys[1], HS_KEY_REVOKED, "revoked");
	find_refused(f, "denied", keys[2], HS_KEY_DENIED, "setperm");
	find_refused(f, "short", keys[3], HS_KEY_UNUSABLE, "15 bytes");
	/* Of two bad ones the first. */
	good = psk_key("revoked", 15, f->other);
	find_refused(f, "revoked", keys[1], HS_KEY_REVOKED, "revoked");
	g_assert_no_errno(keyctl_unlink(good, f->other));
	for (unsigned int i = 0; i < G_N_ELEMENTS(identities); i++) {
		good = psk_key(identities[i], 32, f->other);
		g_assert_cmpint(find(f, identities[i], 0), ==, HS_OK);
		assert_psk(f, good, identities[i], 32);
		/* ... and in the keyring itself it is that one's. */
		g_assert_cmpint(find(f, identities[i], f->ring), !=, HS_OK);
	}
	keyctl_clear(KEY_SPEC_SESSION_KEYRING);
}

static void test_find_denied_keyring(struct fixture *f, gconstpointer unused)
{
	g_autofree char *name = unique_name("closed");
	int32_t ring = add_key("keyring", name, NULL, 0, KEY_SPEC_SESSION_KEYRING);

	psk_key("inside", 32, ring);
	g_assert_no_errno(keyctl_setperm(ring, KEY_USR_VIEW));
	f->keyrings[1] = name;
	find_refused(f, "inside", ring, HS_KEY_DENIED, name);
	g_assert_cmpint(find(f, "inside", ring), ==, HS_KEY_DENIED);
	keyctl_clear(KEY_SPEC_SESSION_KEYRING);
}

static void test_growth(struct fixture *f, gconstpointer unused)
{
	int32_t serials[] = { 0x7ffffff0, psk_key("good", 32, f->ring) };
	unsigned int before;

	g_assert_cmpint(find(f, "good", 0), ==, HS_OK);
	before = count_keys();
	for (unsigned int i = 0; i < 1000; i++) {
		g_assert_cmpint(find(f, "good", i % 2 ? f->ring : 0), ==, HS_OK);
		g_assert_cmpint(find(f, "bad", i % 2 ? f->ring : 0), ==, HS_PSK_UNKNOWN);
		g_assert_cmpint(choose(f, serials, 2), ==, HS_OK);
	}
	assert_no_growth(before);
}

static void test_clear(void)
{
	struct psk psk = { 0 };

	psk_clear(&psk);
	g_assert_cmpint(secret_new(&psk.key, 1), ==, 0);
	psk.serial = 1;
	strcpy(psk.identity, "x");
	psk_clear(&psk);
	g_assert_null(psk.key);
	g_assert_cmpint(psk.serial, ==, 0);
	g_assert_cmpstr(psk.identity, ==, "");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *path;
		void (*test)(struct fixture *f, gconstpointer unused);
	} tests[] = {
		{ "/psk/choose", test_choose },
		{ "/psk/choose-none", test_choose_none },
		{ "/psk/choose-faults", test_choose_faults },
		{ "/psk/sha384", test_sha384 },
		{ "/psk/find", test_find },
		{ "/psk/find-unknown", test_find_unknown },
		{ "/psk/find-faults", test_find_faults },
		{ "/psk/find-denied-keyring", test_find_denied_keyring },
		{ "/psk/growth", test_growth },
	};
	const char *why = NULL;

	g_test_init(&argc, &argv, NULL);
	key_world_open(&why);
	g_test_message("seed %u", SEED);
	g_test_add_func("/psk/identity", test_identity);
	g_test_add_func("/psk/identity-refused", test_identity_refused);
	g_test_add_func("/psk/identity-random", test_identity_random);
	g_test_add_func("/psk/identity-length", test_identity_length);
	g_test_add_func("/psk/clear", test_clear);
	for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
		if (why)
			add(tests[i].path, NULL, why);
		else
			g_test_add(tests[i].path, struct fixture, NULL, set_up, tests[i].test,
				   tear_down);
	}
	return g_test_run();
}
