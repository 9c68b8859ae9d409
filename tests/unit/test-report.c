// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/cleanup.h"
#include "tlshd/monitor/report.h"

/* --- a sink that keeps what it is given --- */

struct seen {
	unsigned int n;
	int priority;
	char *text;
	GHashTable *fields;
};

static void keep(void *ctx, int priority, const char *text, const struct log_field *fields,
		 size_t n_fields)
{
	struct seen *s = ctx;

	s->n++;
	s->priority = priority;
	g_free(s->text);
	s->text = g_strdup(text);
	g_hash_table_remove_all(s->fields);
	for (size_t i = 0; i < n_fields; i++) {
		if (fields[i].value)
			g_assert_true(g_hash_table_insert(s->fields, g_strdup(fields[i].name),
							  g_strdup(fields[i].value)));
	}
}

static void set_up(struct seen *s, gconstpointer unused)
{
	s->fields = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

static void tear_down(struct seen *s, gconstpointer unused)
{
	g_free(s->text);
	g_hash_table_unref(s->fields);
}

static void report(struct seen *s, const struct report *r)
{
	const struct log log = { LOG_DEBUG, keep, s };

	s->n = 0;
	report_handshake(&log, r);
	g_assert_cmpuint(s->n, ==, 1);
}

/* @fields: "NAME=value" in any order, NULL at the end; there are no others. */
static void assert_fields(struct seen *s, const char *const *fields)
{
	unsigned int n = 0;

	for (; fields[n]; n++) {
		g_auto(GStrv) pair = g_strsplit(fields[n], "=", 2);

		g_assert_cmpstr(g_hash_table_lookup(s->fields, pair[0]), ==, pair[1]);
	}
	g_assert_cmpuint(g_hash_table_size(s->fields), ==, n);
}

/* --- the line --- */

static const struct hs_result success = {
	.outcome = HS_OK,
	.peer_verified = true,
	.protocol = "TLS 1.3",
	.cipher = "AES-256-GCM",
	.group = "X25519",
	.subject = "CN=nfs.example.net,O=Example",
	.matched = "DNS:nfs.example.net",
};

static void test_client_success(struct seen *s, gconstpointer unused)
{
	static const char *const fields[] = {
		"TLSHD_ROLE=client", "TLSHD_AUTH=unauth", "TLSHD_PEER=192.0.2.1:2049",
		"TLSHD_PEERNAME=nfs.example.net", "TLSHD_OUTCOME=ok", "TLSHD_STATUS=0",
		"TLSHD_DURATION_USEC=12345", "TLSHD_PROTOCOL=TLS 1.3", "TLSHD_CIPHER=AES-256-GCM",
		"TLSHD_GROUP=X25519", "TLSHD_SUBJECT=CN=nfs.example.net,O=Example",
		"TLSHD_MATCHED=DNS:nfs.example.net", NULL
	};
	const struct report r = {
		.role = HS_CLIENT, .auth = HS_AUTH_UNAUTH, .peer = "192.0.2.1:2049",
		.peername = "nfs.example.net", .duration_us = 12345, .result = &success,
	};

	report(s, &r);
	g_assert_cmpint(s->priority, ==, LOG_INFO);
	g_assert_cmpstr(s->text, ==,
		"client handshake with 192.0.2.1:2049 (nfs.example.net), unauth, ok: TLS 1.3, "
		"AES-256-GCM, X25519, server certificate \"CN=nfs.example.net,O=Example\" matched "
		"DNS:nfs.example.net; 12.3 ms");
	assert_fields(s, fields);
}

static void test_server_no_certificate(struct seen *s, gconstpointer unused)
{
	static const char *const fields[] = {
		"TLSHD_ROLE=server", "TLSHD_AUTH=x509", "TLSHD_PEER=[2001:db8::1]:800",
		"TLSHD_OUTCOME=ok", "TLSHD_STATUS=0", "TLSHD_DURATION_USEC=1000000",
		"TLSHD_PROTOCOL=TLS 1.3", "TLSHD_CIPHER=AES-128-GCM", "TLSHD_GROUP=X25519", NULL
	};
	const struct hs_result result = {
		.outcome = HS_OK, .protocol = "TLS 1.3", .cipher = "AES-128-GCM", .group = "X25519",
	};
	const struct report r = {
		.role = HS_SERVER, .auth = HS_AUTH_X509, .peer = "[2001:db8::1]:800",
		.peername = "", .duration_us = 1000000, .result = &result,
	};

	report(s, &r);
	g_assert_cmpint(s->priority, ==, LOG_INFO);
	g_assert_cmpstr(s->text, ==,
		"server handshake with [2001:db8::1]:800, x509, ok: TLS 1.3, AES-128-GCM, X25519, "
		"no client certificate; 1000.0 ms");
	assert_fields(s, fields);
}

static void test_server_verified(struct seen *s, gconstpointer unused)
{
	struct hs_result result = success;
	const struct report r = {
		.role = HS_SERVER, .auth = HS_AUTH_X509, .peer = "192.0.2.7:700",
		.peername = "", .duration_us = 99, .result = &result,
	};

	result.matched[0] = '\0';
	report(s, &r);
	g_assert_cmpstr(s->text, ==,
		"server handshake with 192.0.2.7:700, x509, ok: TLS 1.3, AES-256-GCM, X25519, "
		"client certificate \"CN=nfs.example.net,O=Example\"; 0.0 ms");
	g_assert_null(g_hash_table_lookup(s->fields, "TLSHD_MATCHED"));
	g_assert_cmpstr(g_hash_table_lookup(s->fields, "TLSHD_SUBJECT"), ==,
			"CN=nfs.example.net,O=Example");
}

static void test_psk(struct seen *s, gconstpointer unused)
{
	const struct hs_result result = {
		.outcome = HS_OK, .protocol = "TLS 1.3", .cipher = "AES-128-GCM", .group = "X25519",
	};
	const struct report r = {
		.role = HS_SERVER, .auth = HS_AUTH_PSK, .peer = "192.0.2.7:4420", .peername = "",
		.duration_us = 5432, .result = &result,
		.psk_identity = "NVMe0R01 \"host\" sub\n", .key = 0x1a2b3c,
	};
	struct report unknown = r;

	/* Where no certificate is due, none is missed. */
	report(s, &r);
	g_assert_cmpstr(s->text, ==,
		"server handshake with 192.0.2.7:4420, psk, ok: TLS 1.3, AES-128-GCM, X25519, "
		"identity \"NVMe0R01 \\x22host\\x22 sub\\x0a\", key 0x001a2b3c; 5.4 ms");
	g_assert_cmpstr(g_hash_table_lookup(s->fields, "TLSHD_PSK_IDENTITY"), ==, r.psk_identity);
	g_assert_cmpstr(g_hash_table_lookup(s->fields, "TLSHD_KEY"), ==, "0x001a2b3c");

	unknown.psk_identity = NULL;
	unknown.key = 0;
	report(s, &unknown);
	g_assert_cmpstr(s->text, ==,
		"server handshake with 192.0.2.7:4420, psk, ok: TLS 1.3, AES-128-GCM, X25519; "
		"5.4 ms");
	g_assert_null(g_hash_table_lookup(s->fields, "TLSHD_PSK_IDENTITY"));
	g_assert_null(g_hash_table_lookup(s->fields, "TLSHD_KEY"));
}

/* Which key of two that differ: the line has to say it when it fails, too. */
static void test_psk_failure(struct seen *s, gconstpointer unused)
{
	const struct hs_result result = { .outcome = HS_PSK_MISMATCH, .reason = "not the same key" };
	struct report r = {
		.role = HS_SERVER, .auth = HS_AUTH_PSK, .peer = "192.0.2.7:4420", .peername = "",
		.duration_us = 5432, .status = 13, .result = &result,
		.psk_identity = "NVMe0R01 host sub", .key = 0x1a2b3c,
	};

	report(s, &r);
	g_assert_cmpstr(s->text, ==,
		"server handshake with 192.0.2.7:4420, psk, failed: not the same key (psk-mismatch), "
		"identity \"NVMe0R01 host sub\", key 0x001a2b3c; 5.4 ms");
	r.key = 0;	/* then the reason has it */
	report(s, &r);
	g_assert_cmpstr(s->text, ==,
		"server handshake with 192.0.2.7:4420, psk, failed: not the same key (psk-mismatch); "
		"5.4 ms");
	g_assert_cmpstr(g_hash_table_lookup(s->fields, "TLSHD_PSK_IDENTITY"), ==, r.psk_identity);
}

static void test_failure(struct seen *s, gconstpointer unused)
{
	static const char *const fields[] = {
		"TLSHD_ROLE=client", "TLSHD_AUTH=x509", "TLSHD_PEER=192.0.2.1:2049",
		"TLSHD_PEERNAME=192.0.2.1", "TLSHD_OUTCOME=cert-expired", "TLSHD_STATUS=13",
		"TLSHD_DURATION_USEC=20050", "TLSHD_SUBJECT=CN=old",
		"TLSHD_REASON=the server's certificate \"CN=old\" expired on 2020-01-01", NULL
	};
	const struct hs_result result = {
		.outcome = HS_CERT_EXPIRED, .subject = "CN=old",
		.reason = "the server's certificate \"CN=old\" expired on 2020-01-01",
	};
	const struct report r = {
		.role = HS_CLIENT, .auth = HS_AUTH_X509, .peer = "192.0.2.1:2049",
		.peername = "192.0.2.1", .duration_us = 20050, .status = EACCES, .result = &result,
	};

	report(s, &r);
	g_assert_cmpint(s->priority, ==, LOG_WARNING);
	g_assert_cmpstr(s->text, ==,
		"client handshake with 192.0.2.1:2049 (192.0.2.1), x509, failed: the server's "
		"certificate \"CN=old\" expired on 2020-01-01 (cert-expired); 20.0 ms");
	assert_fields(s, fields);
}

static void test_hostile(struct seen *s, gconstpointer unused)
{
	const char *name = "a\nclient handshake with 198.51.100.1:1, x509, ok \x1b[2J\"\\ \xff";
	struct hs_result result = { .outcome = HS_CLOSED, .reason = "gone\r\n\x1b[1A" };
	const struct report r = {
		.role = HS_CLIENT, .auth = HS_AUTH_UNAUTH, .peer = "192.0.2.1:2049",
		.peername = name, .status = ETIMEDOUT, .result = &result,
	};

	report(s, &r);
	g_assert_cmpstr(s->text, ==,
		"client handshake with 192.0.2.1:2049 (a\\x0aclient handshake with 198.51.100.1:1, "
		"x509, ok \\x1b[2J\\x22\\x5c \\xff), unauth, failed: gone\\x0d\\x0a\\x1b[1A "
		"(closed); 0.0 ms");
	/* The journal holds any bytes: there it stays as it was. */
	g_assert_cmpstr(g_hash_table_lookup(s->fields, "TLSHD_PEERNAME"), ==, name);
}

/* Everything as long as it may be: still one line, cut where it is too long, and marked as cut. */
static void test_longest(struct seen *s, gconstpointer unused)
{
	g_autofree char *name = g_strnfill(HS_NAME_MAX - 1, '\x01');
	g_autofree char *peer = g_strnfill(HS_ADDR_MAX - 1, '9');
	struct hs_result result = success;
	const struct report r = {
		.role = HS_SERVER, .auth = HS_AUTH_X509, .peer = peer, .peername = name,
		.duration_us = UINT64_MAX, .result = &result,
	};

	memset(result.subject, 's', sizeof(result.subject) - 1);
	memset(result.matched, 'm', sizeof(result.matched) - 1);
	memset(result.protocol, 'p', sizeof(result.protocol) - 1);
	memset(result.cipher, 'c', sizeof(result.cipher) - 1);
	memset(result.group, 'g', sizeof(result.group) - 1);
	report(s, &r);
	g_assert_cmpuint(strlen(s->text), ==, LOG_TEXT_MAX - 1);
	g_assert_true(g_str_has_suffix(s->text, "..."));
	g_assert_cmpstr(g_hash_table_lookup(s->fields, "TLSHD_DURATION_USEC"), ==,
			"18446744073709551615");
	g_assert_cmpstr(g_hash_table_lookup(s->fields, "TLSHD_SUBJECT"), ==, result.subject);
}

static void test_severity(struct seen *s, gconstpointer unused)
{
	for (enum hs_outcome o = HS_OK; o < HS_N_OUTCOMES; o++) {
		const struct hs_result result = { .outcome = o, .reason = "why" };
		const struct report r = {
			.peer = "p", .peername = "", .status = hs_outcome_errno(o),
			.result = &result,
		};
		g_autofree char *status = g_strdup_printf("%u", hs_outcome_errno(o));
		bool ours = o == HS_WORKER_DIED || o == HS_NO_IDENTITY || o == HS_KEY_FAILED ||
			    o == HS_KTLS || o == HS_INTERNAL;

		report(s, &r);
		g_assert_cmpint(s->priority, ==,
				o == HS_OK ? LOG_INFO : ours ? LOG_ERR : LOG_WARNING);
		g_assert_cmpstr(g_hash_table_lookup(s->fields, "TLSHD_OUTCOME"), ==,
				hs_outcome_name(o));
		g_assert_cmpstr(g_hash_table_lookup(s->fields, "TLSHD_STATUS"), ==, status);
		g_assert_true((strstr(s->text, ", failed: why (") != NULL) == (o != HS_OK));
	}
}

/* --- the peer's address --- */

#define FAKE_FD 471100
static struct sockaddr_in6 fake_peer;

/* In the C library's place: not every host has a link-local address to connect to. */
int getpeername(int fd, __SOCKADDR_ARG addr, socklen_t *restrict len)
{
	if (fd != FAKE_FD)
		return (int)syscall(SYS_getpeername, fd, addr.__sockaddr__, len);
	g_assert_cmpuint(*len, >=, sizeof(fake_peer));
	memcpy(addr.__sockaddr__, &fake_peer, sizeof(fake_peer));
	*len = sizeof(fake_peer);
	return 0;
}

/* A connection over loopback from an address of our choice, so that the peer is known. */
static void assert_peer(const struct sockaddr *sa, socklen_t len, const char *fmt)
{
	struct sockaddr_storage from, to;
	socklen_t from_len = sizeof(from), to_len = sizeof(to);
	int listener = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), near, far;
	g_autofree char *want = NULL;
	char got[HS_ADDR_MAX];

	g_assert_no_errno(listener);
	g_assert_no_errno(bind(listener, sa, len));
	g_assert_no_errno(listen(listener, 1));
	g_assert_no_errno(getsockname(listener, (struct sockaddr *)&to, &to_len));
	near = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_no_errno(connect(near, (struct sockaddr *)&to, to_len));
	far = accept4(listener, (struct sockaddr *)&from, &from_len, SOCK_CLOEXEC);
	g_assert_no_errno(far);
	/* sin_port and sin6_port are at the same place. */
	want = g_strdup_printf("%s:%u", fmt, ntohs(((struct sockaddr_in *)&from)->sin_port));
	g_assert_true(report_peer(far, got, sizeof(got)) == got);
	g_assert_cmpstr(got, ==, want);
	close(near);
	close(far);
	close(listener);
}

static void test_peer_ipv4(struct seen *s, gconstpointer unused)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	assert_peer((struct sockaddr *)&in, sizeof(in), "127.0.0.1");
}

static bool no_ipv6(void)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	CLEANUP_FD int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&in6, sizeof(in6)) == 0)
		return false;
	g_test_skip("no IPv6 on the loopback interface here");
	return true;
}

static void test_peer_ipv6(struct seen *s, gconstpointer unused)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	if (!no_ipv6())
		assert_peer((struct sockaddr *)&in6, sizeof(in6), "[::1]");
}

/* An IPv4 client of a socket that listens to both: the kernel calls it ::ffff:127.0.0.1. */
static void test_peer_mapped(struct seen *s, gconstpointer unused)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	if (no_ipv6())
		return;
	g_assert_cmpint(inet_pton(AF_INET6, "::ffff:127.0.0.1", &in6.sin6_addr), ==, 1);
	assert_peer((struct sockaddr *)&in6, sizeof(in6), "[::ffff:127.0.0.1]");
}

/* A link-local address says nothing without its interface. */
static void test_peer_scope(struct seen *s, gconstpointer unused)
{
	char name[IF_NAMESIZE], got[HS_ADDR_MAX];
	g_autofree char *want = NULL;

	g_assert_nonnull(if_indextoname(1, name));	/* loopback, as it is called here */
	want = g_strdup_printf("[fe80::5%%%s]:2049", name);
	fake_peer = (struct sockaddr_in6){
		.sin6_family = AF_INET6, .sin6_port = htons(2049), .sin6_scope_id = 1,
	};
	g_assert_cmpint(inet_pton(AF_INET6, "fe80::5", &fake_peer.sin6_addr), ==, 1);
	g_assert_cmpstr(report_peer(FAKE_FD, got, sizeof(got)), ==, want);
	fake_peer.sin6_scope_id = 0x7fffffff;	/* an interface that has gone */
	g_assert_cmpstr(report_peer(FAKE_FD, got, sizeof(got)), ==, "[fe80::5]:2049");
}

static void test_peer_none(struct seen *s, gconstpointer unused)
{
	CLEANUP_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char got[HS_ADDR_MAX], small[6];
	int ends[2];

	g_assert_cmpstr(report_peer(fd, got, sizeof(got)), ==, "unknown peer");
	g_assert_cmpstr(report_peer(-1, got, sizeof(got)), ==, "unknown peer");
	g_assert_cmpstr(report_peer(fd, small, sizeof(small)), ==, "unkno");
	g_assert_no_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
	g_assert_cmpstr(report_peer(ends[0], got, sizeof(got)), ==,
			"a peer of unknown address family");
	close(ends[0]);
	close(ends[1]);
}

#define ADD(name, fn) g_test_add("/report/" name, struct seen, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("client-success", test_client_success);
	ADD("server/no-certificate", test_server_no_certificate);
	ADD("server/verified", test_server_verified);
	ADD("psk", test_psk);
	ADD("psk-failure", test_psk_failure);
	ADD("failure", test_failure);
	ADD("hostile", test_hostile);
	ADD("longest", test_longest);
	ADD("severity", test_severity);
	ADD("peer/ipv4", test_peer_ipv4);
	ADD("peer/ipv6", test_peer_ipv6);
	ADD("peer/mapped", test_peer_mapped);
	ADD("peer/scope", test_peer_scope);
	ADD("peer/none", test_peer_none);
	return g_test_run();
}
