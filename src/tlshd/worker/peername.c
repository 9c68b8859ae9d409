// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names are compared in one normal form: lower case A-labels. A text whose
 * last label is all digits (or a hexadecimal number) is never taken for a DNS
 * name: "127.1" or "10.0.0.256" is a mistyped address, and a resolver
 * elsewhere might read it as one. The rules are applied after the mapping of
 * U-labels, which can itself produce digits and dots.
 */
#include "tlshd/worker/peername.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "common/address.h"
#include "common/text.h"

#define DNS_NAME_MAX 253	/* RFC 1035 2.3.4, without the final dot */
#define DNS_LABEL_MAX 63

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };	/* RFC 4291 2.5.5.2 */

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f');
}

/* The underscore is no host name character, but names with it exist and are harmless. */
static bool is_name_char(char c)
{
	return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '-' || c == '_';
}

static void set_address(struct peername *p, const uint8_t addr[16])
{
	memset(p, 0, sizeof(*p));
	p->is_address = true;
	memcpy(p->addr, addr, sizeof(p->addr));
	if (memcmp(addr, mapped_prefix, sizeof(mapped_prefix)) == 0)
		inet_ntop(AF_INET, addr + sizeof(mapped_prefix), p->name, sizeof(p->name));
	else
		inet_ntop(AF_INET6, addr, p->name, sizeof(p->name));
}

static bool parse_ipv4(const char *text, struct peername *ret)
{
	uint8_t addr[16];

	memcpy(addr, mapped_prefix, sizeof(mapped_prefix));
	if (inet_pton(AF_INET, text, addr + sizeof(mapped_prefix)) != 1)
		return false;
	set_address(ret, addr);
	return true;
}

/* @text has a colon or begins with a bracket: an IPv6 literal or nothing. */
static int parse_ipv6(const char *text, struct peername *ret)
{
	char literal[HS_NAME_MAX];
	uint8_t addr[16];
	size_t len = strlen(text);
	char *scope;

	if (text[0] == '[') {
		if (text[len - 1] != ']')
			return -EINVAL;
		text++;
		len -= 2;
	}
	memcpy(literal, text, len);
	literal[len] = '\0';

	scope = strchr(literal, '%');
	if (scope) {
		if (scope[1] == '\0')
			return -EINVAL;
		*scope = '\0';
	}
	if (inet_pton(AF_INET6, literal, addr) != 1)
		return -EINVAL;
	set_address(ret, addr);
	return 0;
}

static bool is_number(const char *label, size_t len)
{
	size_t i;

	if (len > 1 && label[0] == '0' && lower(label[1]) == 'x') {
		for (i = 2; i < len; i++)
			if (!is_hex(label[i]))
				return false;
		return true;
	}
	for (i = 0; i < len; i++)
		if (!is_digit(label[i]))
			return false;
	return true;
}

static bool label_ok(const char *label, size_t len)
{
	size_t i;

	if (len == 0 || len > DNS_LABEL_MAX || label[0] == '-' || label[len - 1] == '-')
		return false;
	for (i = 0; i < len; i++)
		if (!is_name_char(label[i]))
			return false;
	return true;
}

static int parse_dns(const char *text, size_t len, struct peername *ret)
{
	const char *label = text, *end = text + len, *dot;
	size_t i;

	if (len > 0 && text[len - 1] == '.')
		end = text + --len;
	if (len == 0 || len > DNS_NAME_MAX)
		return -EINVAL;

	for (;;) {
		dot = memchr(label, '.', (size_t)(end - label));
		if (!label_ok(label, (size_t)((dot ? dot : end) - label)))
			return -EINVAL;
		if (!dot)
			break;
		label = dot + 1;
	}
	if (is_number(label, (size_t)(end - label)))
		return -EINVAL;

	memset(ret, 0, sizeof(*ret));
	for (i = 0; i < len; i++)
		ret->name[i] = lower(text[i]);
	return 0;
}

static int parse_international(const char *text, size_t len, struct peername *ret)
{
	gnutls_datum_t mapped = { NULL, 0 };
	int r;

	if (gnutls_idna_map(text, (unsigned int)len, &mapped, 0) < 0)
		return -EINVAL;
	r = parse_dns((const char *)mapped.data, mapped.size, ret);
	gnutls_free(mapped.data);
	return r;
}

int peername_parse(const char *text, struct peername *ret)
{
	size_t i, len = strlen(text);

	if (len == 0 || len >= HS_NAME_MAX)
		return -EINVAL;
	if (text[0] == '[' || strchr(text, ':'))
		return parse_ipv6(text, ret);
	if (parse_ipv4(text, ret))
		return 0;
	for (i = 0; i < len; i++)
		if ((unsigned char)text[i] >= 0x80)
			return parse_international(text, len, ret);
	return parse_dns(text, len, ret);
}

int peername_from_bytes(const uint8_t *addr, unsigned int len, struct peername *ret)
{
	uint8_t mapped[16];

	switch (len) {
	case 4:
		memcpy(mapped, mapped_prefix, sizeof(mapped_prefix));
		memcpy(mapped + sizeof(mapped_prefix), addr, 4);
		set_address(ret, mapped);
		return 0;
	case 16:
		set_address(ret, addr);
		return 0;
	default:
		return -EINVAL;
	}
}

int peername_from_socket(int fd, struct peername *ret)
{
	union address sa;
	int r = address_of_peer(fd, &sa);

	if (r < 0)
		return r;
	switch (sa.any.sa_family) {
	case AF_INET:
		return peername_from_bytes((const uint8_t *)&sa.in.sin_addr, 4, ret);
	case AF_INET6:
		return peername_from_bytes(sa.in6.sin6_addr.s6_addr, 16, ret);
	default:
		return -EAFNOSUPPORT;
	}
}

static bool equal_fold(const char *name, const char *san, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (name[i] != lower(san[i]))
			return false;
	return true;
}

bool peername_match_dns(const struct peername *want, const char *san, unsigned int len)
{
	const char *name = want->name, *dot;
	size_t name_len = strlen(name), i;

	if (want->is_address || len == 0)
		return false;
	if (len > 2 && san[0] == '*' && san[1] == '.') {
		dot = strchr(name, '.');
		if (!dot)
			return false;
		/* What is left of both begins at the dot: ".example.com". */
		name_len -= (size_t)(dot - name);
		name = dot;
		san++;
		len--;
		if (!memchr(san + 1, '.', len - 1))
			return false;
	}
	/* The wanted name has only valid characters, so equality refuses NUL and the like too. */
	for (i = 0; i < len; i++)
		if (!is_name_char(san[i]) && san[i] != '.')
			return false;
	return name_len == len && equal_fold(name, san, len);
}

bool peername_match_ip(const struct peername *want, const uint8_t *san, unsigned int len)
{
	if (!want->is_address)
		return false;
	if (len == 4)
		return memcmp(want->addr, mapped_prefix, sizeof(mapped_prefix)) == 0 &&
		       memcmp(want->addr + sizeof(mapped_prefix), san, 4) == 0;
	return len == sizeof(want->addr) && memcmp(want->addr, san, len) == 0;
}
