// SPDX-License-Identifier: GPL-2.0-or-later
/* Names and addresses: what is understood, what matches, and what random bytes do. */
#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tlshd/worker/peername.h"

static void test_parse(void)
{
	static const struct {
		const char *text;
		const char *name;	/* NULL: refused */
		bool address;
	} cases[] = {
		{ "nfs.example.com", "nfs.example.com", false },
		{ "NFS.Example.COM.", "nfs.example.com", false },
		{ "localhost", "localhost", false },
		{ "a_b.example", "a_b.example", false },
		{ "1host.2net.example", "1host.2net.example", false },
		{ "3com", "3com", false },
		{ "xn--bcher-kva.example", "xn--bcher-kva.example", false },
		{ "b\xc3\xbc" "cher.example", "xn--bcher-kva.example", false },
		{ "B\xc3\x9c" "CHER.example", "xn--bcher-kva.example", false },
		{ "192.0.2.1", "192.0.2.1", true },
		{ "::ffff:192.0.2.1", "192.0.2.1", true },
		{ "[::ffff:c000:201]", "192.0.2.1", true },
		{ "2001:DB8:0:0::1", "2001:db8::1", true },
		{ "[2001:db8::1]", "2001:db8::1", true },
		{ "fe80::1%eth0", "fe80::1", true },
		{ "[fe80::1%2]", "fe80::1", true },
		{ "::", "::", true },
		{ "", NULL, false },
		{ ".", NULL, false },
		{ "..", NULL, false },
		{ "a..b", NULL, false },
		{ ".a", NULL, false },
		{ "a.b..", NULL, false },
		{ "-a.example", NULL, false },
		{ "a-.example", NULL, false },
		{ "*.example.com", NULL, false },
		{ "a b", NULL, false },
		{ "a/b", NULL, false },
		{ "a\n", NULL, false },
		{ "user@host", NULL, false },
		{ "host:2049", NULL, false },
		{ "127.1", NULL, false },
		{ "10.0.0.256", NULL, false },
		{ "192.0.2.01", NULL, false },
		{ "0x7f000001", NULL, false },
		{ "a.0x1f", NULL, false },
		{ "2130706433", NULL, false },
		{ "192.0.2.1.", NULL, false },
		{ "192.0.2.1%eth0", NULL, false },
		{ "[192.0.2.1]", NULL, false },
		{ "[::1", NULL, false },
		{ "::1]", NULL, false },
		{ "[", NULL, false },
		{ "[]", NULL, false },
		{ "[::1]:2049", NULL, false },
		{ "::1%", NULL, false },
		{ "1::2::3", NULL, false },
		/* Full-width digits and an ideographic full stop, which the mapping turns into an address. */
		{ "\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1", NULL, false },
		{ "127\xe3\x80\x82" "0\xe3\x80\x82" "0\xe3\x80\x82" "1", NULL, false },
		{ "\xff\xfe.example", NULL, false },
	};
	struct peername p;
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		int r = peername_parse(cases[i].text, &p);

		g_autofree char *shown = g_strescape(cases[i].text, NULL);

		g_test_message("\"%s\": %d", shown, r);
		if (!cases[i].name) {
			g_assert_cmpint(r, ==, -EINVAL);
			continue;
		}
		g_assert_cmpint(r, ==, 0);
		g_assert_cmpstr(p.name, ==, cases[i].name);
		g_assert_cmpint(p.is_address, ==, cases[i].address);
	}
}

static void test_lengths(void)
{
	char label[70], name[300];
	struct peername p;

	memset(label, 'a', sizeof(label));
	label[63] = '\0';
	g_snprintf(name, sizeof(name), "%s.%s.%s.%.61s", label, label, label, label);
	g_assert_cmpuint(strlen(name), ==, 253);
	g_assert_cmpint(peername_parse(name, &p), ==, 0);
	strcat(name, ".");
	g_assert_cmpint(peername_parse(name, &p), ==, 0);
	g_assert_cmpuint(strlen(p.name), ==, 253);
	g_snprintf(name, sizeof(name), "%s.%s.%s.%.62s", label, label, label, label);
	g_assert_cmpint(peername_parse(name, &p), ==, -EINVAL);
	g_snprintf(name, sizeof(name), "%sa.example", label);
	g_assert_cmpint(peername_parse(name, &p), ==, -EINVAL);
	memset(name, 'a', 299);
	name[299] = '\0';
	g_assert_cmpint(peername_parse(name, &p), ==, -EINVAL);
}

static bool match(const char *want, const char *san)
{
	struct peername p;

	g_assert_cmpint(peername_parse(want, &p), ==, 0);
	return peername_match_dns(&p, san, (unsigned int)strlen(san));
}

static void test_match_dns(void)
{
	struct peername p;

	g_assert_true(match("nfs.example.com", "nfs.example.com"));
	g_assert_true(match("nfs.example.com", "NFS.EXAMPLE.com"));
	g_assert_true(match("nfs.example.com.", "nfs.example.com"));
	g_assert_true(match("nfs.example.com", "*.example.com"));
	g_assert_true(match("nfs.example.com", "*.EXAMPLE.com"));
	g_assert_true(match("localhost", "localhost"));
	g_assert_false(match("nfs.example.com", "nfs.example.com."));
	g_assert_false(match("nfs.example.com", "nfs.example.co"));
	g_assert_false(match("nfs.example.com", "fs.example.com"));
	g_assert_false(match("nfs.example.com", "*.com"));
	g_assert_false(match("example.com", "*.com"));
	g_assert_false(match("example.com", "*.example.com"));
	g_assert_false(match("a.nfs.example.com", "*.example.com"));
	g_assert_false(match("nfs.example.com", "n*.example.com"));
	g_assert_false(match("nfs.example.com", "*fs.example.com"));
	g_assert_false(match("nfs.example.com", "nfs.*.com"));
	g_assert_false(match("nfs.example.com", "*.*.com"));
	g_assert_false(match("nfs.example.com", "*"));
	g_assert_false(match("nfs.example.com", "*."));
	g_assert_false(match("nfs.example.com", "*.."));
	g_assert_false(match("nfs.example.com", ""));
	g_assert_false(match("localhost", "*"));
	g_assert_false(match("nfs.example.com", " nfs.example.com"));
	g_assert_false(match("192.0.2.1", "192.0.2.1"));
	g_assert_false(match("192.0.2.1", "*.0.2.1"));
	g_assert_cmpint(peername_parse("nfs.example.com", &p), ==, 0);
	g_assert_false(peername_match_dns(&p, "nfs.example.com\0.evil.example", 29));
	g_assert_false(peername_match_dns(&p, "nfs.example.com\0", 16));
}

static void test_match_ip(void)
{
	static const uint8_t v4[] = { 192, 0, 2, 1 };
	uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 1 };
	struct peername p;

	g_assert_cmpint(peername_parse("192.0.2.1", &p), ==, 0);
	g_assert_true(peername_match_ip(&p, v4, 4));
	g_assert_true(peername_match_ip(&p, mapped, 16));
	g_assert_false(peername_match_ip(&p, mapped, 15));
	g_assert_false(peername_match_ip(&p, mapped, 0));
	mapped[15] = 2;
	g_assert_false(peername_match_ip(&p, mapped, 16));
	g_assert_cmpint(peername_parse("::c000:201", &p), ==, 0);	/* compatible is not mapped */
	g_assert_false(peername_match_ip(&p, v4, 4));
	g_assert_cmpint(peername_parse("host", &p), ==, 0);
	g_assert_false(peername_match_ip(&p, v4, 4));
	g_assert_false(peername_match_ip(&p, p.addr, 16));
}

static void test_from_socket(void)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	struct peername p;
	int pair[2];

	g_assert_cmpint(bind(listener, (struct sockaddr *)&addr, len), ==, 0);
	g_assert_cmpint(listen(listener, 1), ==, 0);
	g_assert_cmpint(getsockname(listener, (struct sockaddr *)&addr, &len), ==, 0);
	g_assert_cmpint(peername_from_socket(fd, &p), ==, -ENOTCONN);
	g_assert_cmpint(connect(fd, (struct sockaddr *)&addr, len), ==, 0);
	g_assert_cmpint(peername_from_socket(fd, &p), ==, 0);
	g_assert_true(p.is_address);
	g_assert_cmpstr(p.name, ==, "127.0.0.1");
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
	g_assert_cmpint(peername_from_socket(pair[0], &p), ==, -EAFNOSUPPORT);
	g_assert_cmpint(peername_from_socket(-1, &p), ==, -EBADF);
	close(pair[0]);
	close(pair[1]);
	close(listener);
	close(fd);
}

static void random_text(char *dst, size_t size, const char *alphabet)
{
	size_t i, len = (size_t)g_test_rand_int_range(0, (int)size), n = strlen(alphabet);

	for (i = 0; i < len; i++)
		dst[i] = alphabet[g_test_rand_int_range(0, (int)n)];
	dst[len] = '\0';
}

/*
 * Whatever is understood, is understood the same when said again, matches itself, and, if a
 * name, the wildcard of its parent and nothing one label deeper.
 */
static void check_properties(const char *text)
{
	struct peername p, again;
	const char *dot;
	char san[HS_NAME_MAX + 8];

	if (peername_parse(text, &p) < 0)
		return;
	g_assert_cmpint(peername_parse(p.name, &again), ==, 0);
	g_assert_cmpstr(again.name, ==, p.name);
	g_assert_cmpint(again.is_address, ==, p.is_address);
	g_assert_cmpmem(again.addr, sizeof(again.addr), p.addr, sizeof(p.addr));
	if (p.is_address) {
		g_assert_true(peername_match_ip(&p, p.addr, sizeof(p.addr)));
		g_assert_false(peername_match_dns(&p, p.name, (unsigned int)strlen(p.name)));
		return;
	}
	g_assert_true(peername_match_dns(&p, p.name, (unsigned int)strlen(p.name)));
	dot = strchr(p.name, '.');
	if (!dot)
		return;
	g_snprintf(san, sizeof(san), "*%s", dot);
	g_assert_cmpint(peername_match_dns(&p, san, (unsigned int)strlen(san)), ==,
			strchr(dot + 1, '.') != NULL);
	g_snprintf(san, sizeof(san), "*.%s", p.name);
	g_assert_false(peername_match_dns(&p, san, (unsigned int)strlen(san)));
}

static void test_random_parse(void)
{
	static const char *const alphabets[] = {
		"ab.-_", "aB9.", "0123456789.x", "0123456789abcdef:.[]%", "a.\x01\x7f *\\\"",
		"a.\xc3\xbc\xe3\x80\x82\xff",
	};
	char text[300];
	int i;

	for (i = 0; i < 60000; i++) {
		const char *alphabet = alphabets[i % G_N_ELEMENTS(alphabets)];

		random_text(text, i % 10 ? 24 : sizeof(text), alphabet);
		check_properties(text);
	}
}

/* Against the rule written the slow way: label by label. */
static bool slow_match(const char *want, const char *san, size_t len)
{
	g_auto(GStrv) w = g_strsplit(want, ".", -1);
	g_autofree char *copy = g_strndup(san, len);
	g_auto(GStrv) s = NULL;
	guint i, n = g_strv_length(w);

	if (strlen(copy) != len)
		return false;
	s = g_strsplit(copy, ".", -1);
	if (g_strv_length(s) != n)
		return false;
	for (i = 0; i < n; i++) {
		if (i == 0 && n >= 3 && strcmp(s[0], "*") == 0)
			continue;
		if (g_ascii_strcasecmp(w[i], s[i]) != 0)
			return false;
	}
	return true;
}

static void test_random_match(void)
{
	unsigned int matches = 0;
	char want[24], san[24];
	struct peername p;
	int i;

	for (i = 0; i < 200000; i++) {
		bool expected;
		size_t len;

		random_text(want, i % 2 ? 6 : 10, "aA.");
		random_text(san, i % 2 ? 7 : 11, i % 3 ? "aA.*" : "a*.\x01-");
		if (peername_parse(want, &p) < 0)
			continue;
		len = strlen(san);
		expected = slow_match(p.name, san, len);
		matches += expected;
		if (peername_match_dns(&p, san, (unsigned int)len) != expected)
			g_error("\"%s\" and \"%s\": expected %d", p.name, san, expected);
	}
	g_test_message("%u matches", matches);
	g_assert_cmpuint(matches, >, 500);
}

static void test_random_bytes(void)
{
	uint8_t san[40];
	struct peername p;
	int i;

	for (i = 0; i < 20000; i++) {
		size_t j, len = (size_t)g_test_rand_int_range(0, sizeof(san));

		for (j = 0; j < len; j++)
			san[j] = (uint8_t)g_test_rand_int_range(0, 256);
		g_assert_cmpint(peername_parse(i % 2 ? "nfs.example.com" : "192.0.2.1", &p), ==, 0);
		g_assert_false(peername_match_dns(&p, (char *)san, (unsigned int)len));
		if (len != 4 && len != 16)
			g_assert_cmpint(peername_from_bytes(san, (unsigned int)len, &p), ==,
					-EINVAL);
		else
			g_assert_cmpint(peername_from_bytes(san, (unsigned int)len, &p), ==, 0);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/peername/parse", test_parse);
	g_test_add_func("/peername/lengths", test_lengths);
	g_test_add_func("/peername/match-dns", test_match_dns);
	g_test_add_func("/peername/match-ip", test_match_ip);
	g_test_add_func("/peername/from-socket", test_from_socket);
	g_test_add_func("/peername/random-parse", test_random_parse);
	g_test_add_func("/peername/random-match", test_random_match);
	g_test_add_func("/peername/random-bytes", test_random_bytes);
	return g_test_run();
}
