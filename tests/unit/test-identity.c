// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/wire.h"
#include "key-world.h"
#include "tlshd/monitor/identity.h"
#include "fds.h"

#define CERTIFICATE "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
#define PRIVATE_KEY "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"
#define USER_MAX 32767		/* bytes of a key of type "user", include/keys/user-type.h */

static int32_t must_not_be_read;
static size_t pretend;		/* length of every key, as of a type that can be so long */

long __real_keyctl_read(int32_t serial, char *buf, size_t size);
long __wrap_keyctl_read(int32_t serial, char *buf, size_t size);
long __wrap_keyctl_read(int32_t serial, char *buf, size_t size)
{
	if (buf)
		g_assert_cmpint(serial, !=, must_not_be_read);
	if (!pretend || serial < 0)
		return __real_keyctl_read(serial, buf, size);
	if (buf && size >= pretend)
		memset(buf, 'c', pretend);
	return (long)pretend;
}

/* A keyring as .nfs, for one test. */
struct fixture {
	char *name;
	int32_t ring;
	const char *keyrings[2];
	unsigned int n_fds;
	struct own_identity own;
	char reason[HS_TEXT_MAX];
};

static void set_up(struct fixture *f, gconstpointer unused)
{
	g_assert_no_errno(keyctl_clear(KEY_SPEC_SESSION_KEYRING));
	f->name = unique_name("nfs");
	f->ring = keyring_elsewhere(f->name, 0);
	f->keyrings[0] = f->name;
	f->own.certificate_fd = -1;
	f->n_fds = count_fds();
	must_not_be_read = 0;
	pretend = 0;
}

static void tear_down(struct fixture *f, gconstpointer unused)
{
	own_identity_clear(&f->own);
	g_assert_cmpuint(count_fds(), ==, f->n_fds);
	g_assert_cmpuint(count_links(), ==, 0);
	key_world_drop(f->ring);
	g_free(f->name);
}

static enum hs_outcome read_in(struct fixture *f, int32_t certificate, int32_t private_key,
			       int32_t keyring)
{
	enum hs_outcome outcome;

	own_identity_clear(&f->own);
	f->reason[0] = '\0';
	outcome = own_identity_read(&f->own, certificate, private_key, keyring, f->keyrings,
				    f->reason, sizeof(f->reason));
	if (outcome == HS_OK)
		return outcome;
	g_test_message("%s", f->reason);
	/* Nothing is left of it, no descriptor and no secret. */
	g_assert_cmpint(f->own.certificate_fd, ==, -1);
	g_assert_null(f->own.private_key);
	g_assert_cmpuint(count_fds(), ==, f->n_fds);
	return outcome;
}

static enum hs_outcome read_keys(struct fixture *f, int32_t certificate, int32_t private_key)
{
	return read_in(f, certificate, private_key, 0);
}

static void assert_reason(const struct fixture *f, const char *what, int32_t serial,
			  const char *part)
{
	g_autofree char *name = g_strdup_printf("%s key 0x%08x ", what, (unsigned int)serial);

	g_assert_true(g_str_has_prefix(f->reason, name));
	g_assert_nonnull(strstr(f->reason, part));
}

static int32_t text_key(const char *name, const char *content, int32_t keyring)
{
	return user_key(name, content, strlen(content), keyring);
}

static void assert_own(const struct fixture *f, int32_t certificate, const char *content,
		       size_t len, int32_t private_key, const char *secret, size_t secret_len)
{
	g_autofree char *label = g_strdup_printf("certificate 0x%08x", (unsigned int)certificate);
	g_autofree char *key_label = g_strdup_printf("private key 0x%08x", (unsigned int)private_key);
	g_autofree char *copy = g_malloc(len + 1);
	int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

	g_assert_cmpstr(f->own.certificate_label, ==, label);
	g_assert_cmpstr(f->own.private_key_label, ==, key_label);
	g_assert_cmpint(read(f->own.certificate_fd, copy, len + 1), ==, (ssize_t)len);
	g_assert_cmpmem(copy, len, content, len);
	g_assert_cmpint(fcntl(f->own.certificate_fd, F_GET_SEALS) & seals, ==, seals);
	g_assert_cmpint(fcntl(f->own.certificate_fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
	g_assert_cmpmem(f->own.private_key->data, f->own.private_key->len, secret, secret_len);
}

static void test_read(struct fixture *f, gconstpointer unused)
{
	static const char der_certificate[] = "\x30\x82\x01\x00\x30\x81\xc0 and so on";
	static const char der_key[] = "\x30\x2e\x02\x01\x00 and so on";
	int32_t c = text_key("c", CERTIFICATE CERTIFICATE, f->ring);
	int32_t k = text_key("k", PRIVATE_KEY, f->ring);

	g_assert_cmpint(read_keys(f, c, k), ==, HS_OK);
	assert_own(f, c, CERTIFICATE CERTIFICATE, 2 * strlen(CERTIFICATE), k, PRIVATE_KEY,
		   strlen(PRIVATE_KEY));

	/* DER, with its NUL bytes. */
	c = user_key("dc", der_certificate, sizeof(der_certificate), f->ring);
	k = user_key("dk", der_key, sizeof(der_key), f->ring);
	g_assert_cmpint(read_keys(f, c, k), ==, HS_OK);
	assert_own(f, c, der_certificate, sizeof(der_certificate), k, der_key, sizeof(der_key));

	/* What is in no keyring of a name may be in the request's own. */
	f->keyrings[0] = NULL;
	g_assert_cmpint(read_keys(f, c, k), ==, HS_KEY_DENIED);
	assert_reason(f, "certificate", c, "setperm");
	g_assert_cmpint(read_in(f, c, k, f->ring), ==, HS_OK);
}

static void test_halves(struct fixture *f, gconstpointer unused)
{
	int32_t c = text_key("c", CERTIFICATE, f->ring), k = text_key("k", PRIVATE_KEY, f->ring);
	const int32_t pairs[][2] = { { c, 0 }, { 0, k }, { 0, 0 } };

	must_not_be_read = k;
	for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
		g_assert_cmpint(read_keys(f, pairs[i][0], pairs[i][1]), ==, HS_KEY_MISSING);
		g_assert_nonnull(strstr(f->reason, "cert_serial="));
		g_assert_nonnull(strstr(f->reason, "privkey_serial="));
	}
}

static void fault(struct fixture *f, int32_t bad, enum hs_outcome outcome, const char *part)
{
	int32_t c = text_key("c", CERTIFICATE, KEY_SPEC_SESSION_KEYRING);
	int32_t k = text_key("k", PRIVATE_KEY, KEY_SPEC_SESSION_KEYRING);

	g_assert_cmpint(read_keys(f, c, bad), ==, outcome);
	assert_reason(f, "private", bad, part);
	/* The private key is not touched when the certificate is no good. */
	must_not_be_read = k;
	g_assert_cmpint(read_keys(f, bad, k), ==, outcome);
	assert_reason(f, "certificate", bad, part);
	must_not_be_read = 0;
}

static void test_faults(struct fixture *f, gconstpointer unused)
{
	int32_t key;

	fault(f, 0x7ffffff0, HS_KEY_MISSING, "does not exist");
	fault(f, KEY_SPEC_PROCESS_KEYRING, HS_KEY_MISSING, "does not exist");
	fault(f, f->ring, HS_KEY_UNUSABLE, "type keyring");
	key = add_key("logon", "a:b", "x", 1, f->ring);
	fault(f, key, HS_KEY_UNUSABLE, "keyctl padd user");
	key = text_key("denied", "x", KEY_SPEC_SESSION_KEYRING);
	g_assert_no_errno(keyctl_setperm(key, KEY_USR_VIEW | KEY_USR_SETATTR));
	fault(f, key, HS_KEY_DENIED, "setperm");
	key = text_key("revoked", "x", KEY_SPEC_SESSION_KEYRING);
	g_assert_no_errno(keyctl_revoke(key));
	fault(f, key, HS_KEY_REVOKED, "revoked");
	key = text_key("gone", "x", KEY_SPEC_SESSION_KEYRING);
	g_assert_no_errno(keyctl_invalidate(key));
	fault(f, key, HS_KEY_MISSING, "does not exist");
	key = text_key("expired", "x", KEY_SPEC_SESSION_KEYRING);
	g_assert_no_errno(keyctl_set_timeout(key, 1));
	g_usleep(2100000);
	fault(f, key, HS_KEY_EXPIRED, "expired");
}

static void test_length(struct fixture *f, gconstpointer unused)
{
	g_autofree char *longest = g_strnfill(USER_MAX, 'x');
	int32_t c = user_key("c", longest, USER_MAX, f->ring);
	int32_t k = user_key("k", longest, WIRE_KEY_MAX, f->ring);
	int32_t longer = user_key("l", longest, WIRE_KEY_MAX + 1, f->ring);

	g_assert_cmpint(read_keys(f, c, k), ==, HS_OK);
	assert_own(f, c, longest, USER_MAX, k, longest, WIRE_KEY_MAX);
	must_not_be_read = longer;
	g_assert_cmpint(read_keys(f, c, longer), ==, HS_KEY_UNUSABLE);
	assert_reason(f, "private", longer, "16384 bytes");

	/* Type "big_key" can be as long as this; not every kernel has it. */
	must_not_be_read = 0;
	pretend = IDENTITY_CERTIFICATE_MAX + 1;
	g_assert_cmpint(read_keys(f, c, k), ==, HS_KEY_UNUSABLE);
	assert_reason(f, "certificate", c, "262144 bytes");
	pretend = IDENTITY_CERTIFICATE_MAX;
	g_assert_cmpint(read_keys(f, c, k), ==, HS_KEY_UNUSABLE);
	assert_reason(f, "private", k, "16384 bytes");
}

/* What would give a private key to a worker. */
static void test_swapped(struct fixture *f, gconstpointer unused)
{
	static const struct {
		const char *content;
		size_t len;
		bool secret;
	} cases[] = {
#define CASE(text, secret) { text, sizeof(text) - 1, secret }
		CASE(PRIVATE_KEY, true),
		CASE(CERTIFICATE PRIVATE_KEY, true),
		CASE("-----BEGIN RSA PRIVATE KEY-----\n", true),
		CASE("-----BEGIN EC PRIVATE KEY-----\n", true),
		CASE("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", true),
		CASE("\x30\x2e\x02\x01\x00\x30", true),
		CASE("\x30\x81\xff\x02\x01\x01", true),
		CASE("\x30\x82\x04\xbe\x02\x01\x00", true),
		CASE("\x30\x83\x00\x04\xbe\x02\x01\x00", true),
		CASE("\x30\x80\x02\x01\x00", true),
		/* behind something else, which alone the keeper looks at */
		CASE("\x30\x02\x30\x00" "\x30\x03\x02\x01\x00", true),
		CASE("\x30\x02\x30\x00" "\x30\x02\x30\x00" "\x30\x82\x04\xbe\x02\x01\x00", true),
		CASE("\x30\x02\x30\x00" "\n\x30\x03\x02\x01\x00", true),
		CASE(CERTIFICATE "\x30\x03\x02\x01\x00", true),
		CASE("\x30\x02\x30\x00" "\x30\x02\x30\x00", false),
		CASE("CN = \xc3\xa4\t\r\n" CERTIFICATE, false),
		CASE(CERTIFICATE, false),
		CASE("\x30\x82\x04\xbe\x30\x82", false),
		CASE("\x30\x82\x04\xbe", false),
		CASE("\x30\xff\x02\x02", false),
		CASE("\x30", false),
		CASE("\x02\x01\x00", false),
		CASE("\x02\x01\x02\x02", false),
#undef CASE
	};
	int32_t k = text_key("k", PRIVATE_KEY, f->ring);

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *name = g_strdup_printf("c%zu", i);
		int32_t c = user_key(name, cases[i].content, cases[i].len, f->ring);

		must_not_be_read = cases[i].secret ? k : 0;
		g_assert_cmpint(read_keys(f, c, k), ==, cases[i].secret ? HS_KEY_UNUSABLE : HS_OK);
		if (cases[i].secret)
			assert_reason(f, "certificate", c, "wrong way round");
	}
	must_not_be_read = 0;
	g_assert_cmpint(read_keys(f, k, k), ==, HS_KEY_UNUSABLE);
}

static void test_growth(struct fixture *f, gconstpointer unused)
{
	int32_t c = text_key("c", CERTIFICATE, f->ring), k = text_key("k", PRIVATE_KEY, f->ring);
	unsigned int before;

	g_assert_cmpint(read_keys(f, c, k), ==, HS_OK);
	own_identity_clear(&f->own);
	before = count_keys();
	for (unsigned int i = 0; i < 1000; i++) {
		g_assert_cmpint(read_in(f, c, k, i % 2 ? f->ring : 0), ==, HS_OK);
		g_assert_cmpint(read_keys(f, c, f->ring), ==, HS_KEY_UNUSABLE);
	}
	assert_no_growth(before);
}

static void test_clear(void)
{
	struct own_identity own = { .certificate_fd = -1 };

	own_identity_clear(&own);
	own.certificate_fd = memfd_create("x", MFD_CLOEXEC);
	g_assert_cmpint(secret_new(&own.private_key, 1), ==, 0);
	own_identity_clear(&own);
	g_assert_cmpint(own.certificate_fd, ==, -1);
	g_assert_null(own.private_key);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *path;
		void (*test)(struct fixture *f, gconstpointer unused);
	} tests[] = {
		{ "/identity/read", test_read },
		{ "/identity/halves", test_halves },
		{ "/identity/faults", test_faults },
		{ "/identity/length", test_length },
		{ "/identity/swapped", test_swapped },
		{ "/identity/growth", test_growth },
	};
	const char *why = NULL;

	g_test_init(&argc, &argv, NULL);
	key_world_open(&why);
	g_test_add_func("/identity/clear", test_clear);
	for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
		if (why)
			add(tests[i].path, NULL, why);
		else
			g_test_add(tests[i].path, struct fixture, NULL, set_up, tests[i].test,
				   tear_down);
	}
	return g_test_run();
}
