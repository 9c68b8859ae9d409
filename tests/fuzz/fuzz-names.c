// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Short texts that decide whom or what we trust: names of peers and of
 * certificates, PSK identities, lines of /proc/keys. The first byte says which.
 */
#include <errno.h>

#include "fuzz.h"
#include "tlshd/monitor/keyring.h"
#include "tlshd/monitor/psk.h"
#include "tlshd/worker/peername.h"

static void check_name(const struct peername *name)
{
	size_t len = strlen(name->name);

	g_assert_cmpuint(len, <, HS_NAME_MAX);
	g_assert_cmpuint(len, >, 0);
	for (size_t i = 0; i < len; i++) {
		g_assert_true(name->name[i] > ' ' && name->name[i] < 0x7f);
		g_assert_false(g_ascii_isupper(name->name[i]));
	}
	if (name->is_address)
		return;
	g_assert_true(name->name[len - 1] != '.');
	/* A name is its own certificate's, in either case of letters. */
	if (!strchr(name->name, '*')) {
		g_autofree char *upper = g_ascii_strup(name->name, -1);

		g_assert_true(peername_match_dns(name, name->name, (unsigned int)len));
		g_assert_true(peername_match_dns(name, upper, (unsigned int)len));
	}
}

/*
 * Does @san, as RFC 9525 has it, stand for @want? Written anew: only whole
 * labels, "*" only for the first of three or more.
 */
static bool stands_for(const char *want, const char *san, size_t len)
{
	g_autofree char *text = NULL;
	const char *rest;

	if (memchr(san, 0, len))
		return false;
	text = g_ascii_strdown(san, (gssize)len);
	if (g_str_has_suffix(text, "."))
		text[strlen(text) - 1] = '\0';
	if (strcmp(text, want) == 0)
		return true;
	rest = strchr(want, '.');
	return text[0] == '*' && text[1] == '.' && rest && strchr(rest + 1, '.') &&
	       strcmp(text + 1, rest) == 0;
}

static void match(const struct peername *want, const uint8_t *san, size_t len)
{
	bool matches = peername_match_dns(want, (const char *)san, (unsigned int)len);

	g_assert_true(!matches || !want->is_address);
	if (matches)
		g_assert_true(stands_for(want->name, (const char *)san, len));
	if (peername_match_ip(want, san, (unsigned int)len)) {
		g_assert_true(want->is_address);
		g_assert_true(len == 4 || len == 16);
		g_assert_true(memcmp(want->addr + 16 - len, san, len) == 0);
	}
}

/* The wanted name up to a NUL, what a certificate has behind it. */
static void on_peername(struct input *in)
{
	g_autofree char *text = g_strndup((const char *)in->at, in->left);
	size_t len = strlen(text), used = len < in->left ? len + 1 : len;
	g_autofree uint8_t *san = exact_copy(in->at + used, in->left - used);
	struct peername want, address;

	if (peername_parse(text, &want) == 0) {
		check_name(&want);
		match(&want, san, in->left - used);
	}
	if (peername_from_bytes(san, (unsigned int)(in->left - used), &address) == 0) {
		g_assert_true(address.is_address);
		check_name(&address);
		g_assert_true(peername_match_ip(&address, san, (unsigned int)(in->left - used)));
		/* The text of an address is that address. */
		g_assert_cmpint(peername_parse(address.name, &want), ==, 0);
		g_assert_cmpmem(want.addr, 16, address.addr, 16);
	}
}

static void on_identity(struct input *in)
{
	g_autofree char *text = g_strndup((const char *)in->at, in->left);
	struct psk_identity identity = { .max = 12345 };
	char reason[HS_TEXT_MAX] = "";
	int r = psk_identity_parse(text, &identity, reason, sizeof(reason));

	if (r < 0) {
		g_assert_cmpint(r, ==, -EINVAL);
		g_assert_cmpstr(reason, !=, "");
		g_assert_cmpuint(strnlen(reason, sizeof(reason)), <, sizeof(reason));
		return;
	}
	g_assert_cmpuint(strlen(text), >, 0);
	g_assert_cmpuint(strlen(text), <, HS_PSK_IDENTITY_MAX);
	g_assert_cmpuint(identity.min, <=, identity.max);
	g_assert_cmpuint(identity.max, <=, HS_PSK_MAX);
	g_assert_cmpuint(identity.min, >=, 16);
	g_assert_cmpuint(identity.hash, <, HS_N_PSK_HASHES);
	g_assert_true(identity.nvme == (g_str_has_prefix(text, "NVMe") && g_ascii_isdigit(text[4])));
	if (identity.nvme)
		g_assert_cmpuint(identity.version, <=, 1);
}

/* The name of a keyring up to a NUL, the line behind it. */
static void on_line(struct input *in)
{
	g_autofree char *name = g_strndup((const char *)in->at, in->left);
	size_t len = strlen(name), used = len < in->left ? len + 1 : len;
	g_autofree char *line = g_strndup((const char *)in->at + used, in->left - used);
	int32_t serial = 0;

	if (!keyring_parse_line(line, name, &serial))
		return;
	g_assert_cmpint(serial, >, 0);
	g_assert_nonnull(strstr(line, name));
	g_assert_nonnull(strstr(line, "keyring"));
	/* R or D: revoked or dead */
	g_assert_cmpint((int32_t)g_ascii_strtoull(line, NULL, 16), ==, serial);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	switch (take_u8(&in) % 3) {
	case 0:
		on_peername(&in);
		break;
	case 1:
		on_identity(&in);
		break;
	default:
		on_line(&in);
	}
	return 0;
}
