// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vectors are written by hand from include/uapi/linux/tls.h (version,
 * cipher type, iv, key, salt, rec_seq), so that a wrong table is not compared
 * with itself. Numbers of 16 bits are in the host's byte order.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "common/ktls.h"

#define FD 4711
#define ULP 31			/* TCP_ULP */
#define TX 1			/* TLS_TX */
#define RX 2			/* TLS_RX */
#define MAX_PAYLOAD 5		/* TLS_TX_MAX_PAYLOAD_LEN */
#define LE16(v) ((v) & 0xff), ((v) >> 8)

/* --- a setsockopt() that writes down what it is asked --- */

#define CALLS_MAX 8

static struct {
	int level, name;
	uint8_t val[64];
	socklen_t len;
} calls[CALLS_MAX];

static unsigned int n_calls, fail_at;	/* fail_at: from 1; 0: never */
static int fail_with;

static int record(int fd, int level, int name, const void *val, socklen_t len)
{
	g_assert_cmpint(fd, ==, FD);
	g_assert_cmpuint(n_calls, <, CALLS_MAX);
	g_assert_cmpuint(len, <=, sizeof(calls[0].val));
	calls[n_calls].level = level;
	calls[n_calls].name = name;
	calls[n_calls].len = len;
	memcpy(calls[n_calls].val, val, len);
	n_calls++;
	errno = fail_with;
	return n_calls == fail_at ? -1 : 0;
}

static int install(const struct ktls_session *s, enum ktls_result *result, const char **step)
{
	memset(calls, 0, sizeof(calls));
	n_calls = 0;
	return ktls_install(FD, s, record, result, step);
}

static void assert_call(unsigned int i, int level, int name, const void *val, size_t len)
{
	g_assert_cmpuint(i, <, n_calls);
	g_assert_cmpint(calls[i].level, ==, level);
	g_assert_cmpint(calls[i].name, ==, name);
	g_assert_cmpmem(calls[i].val, calls[i].len, val, len);
}

/* --- byte for byte --- */

static const struct ktls_keys tx_keys = {
	.key = {
		0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d,
		0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b,
		0x1c, 0x1d, 0x1e, 0x1f,
	},
	.nonce = { 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab },
	.seq = 0x0123456789abcdef,
};

static const struct ktls_keys rx_keys = {
	.key = {
		0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9, 0xf8, 0xf7, 0xf6, 0xf5, 0xf4, 0xf3, 0xf2,
		0xf1, 0xf0, 0xef, 0xee, 0xed, 0xec, 0xeb, 0xea, 0xe9, 0xe8, 0xe7, 0xe6, 0xe5, 0xe4,
		0xe3, 0xe2, 0xe1, 0xe0,
	},
	.nonce = { 0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xbb },
	.seq = 1,
};

struct vector {
	enum ktls_cipher cipher;
	size_t len;
	uint8_t tx[56], rx[56];
};

#define TX_IV8 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab
#define RX_IV8 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xbb
#define TX_SALT 0xa0, 0xa1, 0xa2, 0xa3
#define RX_SALT 0xb0, 0xb1, 0xb2, 0xb3
#define TX_KEY16 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, \
		 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f
#define TX_KEY32 TX_KEY16, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, \
		 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f
#define RX_KEY16 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9, 0xf8, \
		 0xf7, 0xf6, 0xf5, 0xf4, 0xf3, 0xf2, 0xf1, 0xf0
#define RX_KEY32 RX_KEY16, 0xef, 0xee, 0xed, 0xec, 0xeb, 0xea, 0xe9, 0xe8, \
		 0xe7, 0xe6, 0xe5, 0xe4, 0xe3, 0xe2, 0xe1, 0xe0
#define TX_SEQ 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef
#define RX_SEQ 0, 0, 0, 0, 0, 0, 0, 1

static const struct vector vectors[] = {
	{
		KTLS_AES_128_GCM, 40,
		{ LE16(0x0304), LE16(51), TX_IV8, TX_KEY16, TX_SALT, TX_SEQ },
		{ LE16(0x0304), LE16(51), RX_IV8, RX_KEY16, RX_SALT, RX_SEQ },
	}, {
		KTLS_AES_256_GCM, 56,
		{ LE16(0x0304), LE16(52), TX_IV8, TX_KEY32, TX_SALT, TX_SEQ },
		{ LE16(0x0304), LE16(52), RX_IV8, RX_KEY32, RX_SALT, RX_SEQ },
	}, {
		KTLS_AES_128_CCM, 40,
		{ LE16(0x0304), LE16(53), TX_IV8, TX_KEY16, TX_SALT, TX_SEQ },
		{ LE16(0x0304), LE16(53), RX_IV8, RX_KEY16, RX_SALT, RX_SEQ },
	}, {
		KTLS_CHACHA20_POLY1305, 56,
		{ LE16(0x0304), LE16(54), TX_SALT, TX_IV8, TX_KEY32, TX_SEQ },
		{ LE16(0x0304), LE16(54), RX_SALT, RX_IV8, RX_KEY32, RX_SEQ },
	},
};
G_STATIC_ASSERT(G_N_ELEMENTS(vectors) == KTLS_N_CIPHERS);

/* The vectors above are little-endian in their first four bytes. */
static void to_host_order(uint8_t *v)
{
	if (G_BYTE_ORDER == G_BIG_ENDIAN) {
		uint8_t swapped[] = { v[1], v[0], v[3], v[2] };

		memcpy(v, swapped, sizeof(swapped));
	}
}

static struct ktls_session session(enum ktls_cipher cipher)
{
	return (struct ktls_session){
		.cipher = cipher, .record_limit = KTLS_RECORD_MAX, .tx = tx_keys, .rx = rx_keys,
	};
}

static void test_vectors(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(vectors); i++) {
		struct vector v = vectors[i];
		struct ktls_session s = session(v.cipher);
		enum ktls_result result = KTLS_NO_ULP;
		const char *step;

		fail_at = 0;
		to_host_order(v.tx);
		to_host_order(v.rx);
		g_assert_cmpint(install(&s, &result, &step), ==, 0);
		g_assert_cmpint(result, ==, KTLS_OK);
		g_assert_cmpuint(n_calls, ==, 3);
		assert_call(0, IPPROTO_TCP, ULP, "tls", 3);
		assert_call(1, 282, TX, v.tx, v.len);
		assert_call(2, 282, RX, v.rx, v.len);
	}
}

static void test_record_limit(void)
{
	static const unsigned int limits[] = { 64, 512, 4096, KTLS_RECORD_MAX - 1 };
	struct ktls_session s = session(KTLS_AES_128_GCM);
	enum ktls_result result = KTLS_NO_ULP;
	const char *step;

	fail_at = 0;
	for (size_t i = 0; i < G_N_ELEMENTS(limits); i++) {
		uint16_t value = (uint16_t)limits[i];

		s.record_limit = limits[i];
		g_assert_cmpint(install(&s, &result, &step), ==, 0);
		g_assert_cmpint(result, ==, KTLS_OK);
		g_assert_cmpuint(n_calls, ==, 4);
		assert_call(0, IPPROTO_TCP, ULP, "tls", 3);
		assert_call(1, 282, MAX_PAYLOAD, &value, 2);
		g_assert_cmpint(calls[2].name, ==, TX);
		g_assert_cmpint(calls[3].name, ==, RX);
	}
	s.record_limit = KTLS_RECORD_MAX;
	g_assert_cmpint(install(&s, &result, &step), ==, 0);
	g_assert_cmpuint(n_calls, ==, 3);
}

/* --- what the kernel answers --- */

static const struct step {
	unsigned int call;
	const char *name;
	enum ktls_result missing;
} steps[] = {
	{ 1, "TCP_ULP", KTLS_NO_ULP },
	{ 2, "TLS_TX_MAX_PAYLOAD_LEN", KTLS_NO_RECORD_LIMIT },
	{ 3, "TLS_TX", KTLS_NO_CIPHER },
	{ 4, "TLS_RX", KTLS_NO_CIPHER },
};

static void test_outcomes(void)
{
	static const int missing[] = { ENOENT, ENOPROTOOPT, EINVAL, EOPNOTSUPP };
	struct ktls_session s = session(KTLS_AES_256_GCM);

	s.record_limit = 1024;
	for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
		for (size_t j = 0; j < G_N_ELEMENTS(missing); j++) {
			enum ktls_result result = KTLS_OK;
			const char *step;

			fail_at = steps[i].call;
			fail_with = missing[j];
			g_assert_cmpint(install(&s, &result, &step), ==, 0);
			g_assert_cmpint(result, ==, steps[i].missing);
			/* Nothing more is tried. */
			g_assert_cmpuint(n_calls, ==, steps[i].call);
		}
	}
}

static void test_errors(void)
{
	static const int errors[] = {
		EBADF, ENOTCONN, EEXIST, EBUSY, ENOMEM, EPERM, EFAULT, ENOTSOCK, EKEYREJECTED,
	};
	struct ktls_session s = session(KTLS_CHACHA20_POLY1305);

	s.record_limit = 1024;
	for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
		for (size_t j = 0; j < G_N_ELEMENTS(errors); j++) {
			enum ktls_result result = (enum ktls_result)77;
			const char *step = NULL;

			fail_at = steps[i].call;
			fail_with = errors[j];
			g_assert_cmpint(install(&s, &result, &step), ==, -errors[j]);
			g_assert_cmpstr(step, ==, steps[i].name);
			g_assert_cmpint((int)result, ==, 77);
			g_assert_cmpuint(n_calls, ==, steps[i].call);
		}
	}
}

static void test_names(void)
{
	g_assert_cmpuint(ktls_key_len(KTLS_AES_128_GCM), ==, 16);
	g_assert_cmpuint(ktls_key_len(KTLS_AES_256_GCM), ==, 32);
	g_assert_cmpuint(ktls_key_len(KTLS_AES_128_CCM), ==, 16);
	g_assert_cmpuint(ktls_key_len(KTLS_CHACHA20_POLY1305), ==, 32);
	g_assert_cmpstr(ktls_cipher_name(KTLS_AES_128_GCM), ==, "AES-128-GCM");
	g_assert_cmpstr(ktls_cipher_name(KTLS_AES_256_GCM), ==, "AES-256-GCM");
	g_assert_cmpstr(ktls_cipher_name(KTLS_AES_128_CCM), ==, "AES-128-CCM");
	g_assert_cmpstr(ktls_cipher_name(KTLS_CHACHA20_POLY1305), ==, "CHACHA20-POLY1305");
	g_assert_cmpstr(ktls_cipher_name(KTLS_N_CIPHERS), ==, "unknown");
}

/* --- this kernel --- */

static void connect_pair(int fds[2])
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_assert_no_errno(bind(listener, (struct sockaddr *)&addr, len));
	g_assert_no_errno(listen(listener, 1));
	g_assert_no_errno(getsockname(listener, (struct sockaddr *)&addr, &len));
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_no_errno(connect(fds[0], (struct sockaddr *)&addr, len));
	fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	g_assert_no_errno(fds[1]);
	close(listener);
}

static bool kernel_has_tls(void)
{
	int fds[2], r;

	connect_pair(fds);
	r = setsockopt(fds[0], IPPROTO_TCP, TCP_ULP, "tls", 3);
	close(fds[0]);
	close(fds[1]);
	return r == 0;
}

/* --- a kernel that is short of something, and other users of the host --- */

#define STRANGERS_MAX 200
static bool fake;		/* setsockopt() needs no TLS of the kernel */
static unsigned int n_faults, n_sets;
static int fault;		/* what the next @n_faults of TLS_RX say */
static unsigned int n_strangers, n_probes;	/* who are there before us, at the first probe */
static int strangers[STRANGERS_MAX];

int __real_setsockopt(int fd, int level, int name, const void *val, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *val, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	struct sockaddr_in addr;
	socklen_t size = sizeof(addr);

	if (!fake)
		return __real_setsockopt(fd, level, name, val, len);
	if (level != SOL_TLS || name != RX)
		return 0;
	n_sets++;
	if (n_faults) {
		n_faults--;
		errno = fault;
		return -1;
	}
	/* As the kernel: nothing for a connection that was reset. */
	return getpeername(fd, (struct sockaddr *)&addr, &size);
}

int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	int r = __real_listen(fd, backlog);

	g_assert_no_errno(getsockname(fd, (struct sockaddr *)&addr, &len));
	for (unsigned int i = 0; i < n_strangers && n_probes == 0; i++) {
		strangers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		g_assert_no_errno(strangers[i]);
		if (connect(strangers[i], (struct sockaddr *)&addr, len) < 0)
			g_assert_cmpint(errno, ==, EINPROGRESS);
	}
	n_probes++;
	return r;
}

static int probe(uint32_t *mask)
{
	int r;

	fake = true;
	*mask = 1u << 31;
	n_sets = n_probes = 0;
	r = ktls_probe(mask);
	fake = false;
	for (unsigned int i = 0; i < n_strangers; i++)
		close(strangers[i]);
	return r;
}

/* A probe that fails tells nothing of the cipher. */
static void test_probe_fails(void)
{
	static const int errors[] = { ENOMEM, ENOTCONN, EMFILE, ENOBUFS };
	static const int missing[] = { ENOENT, ELIBBAD, EPERM };
	uint32_t mask;

	g_assert_cmpint(probe(&mask), ==, 0);
	g_assert_cmphex(mask, ==, (1u << KTLS_N_CIPHERS) - 1);
	g_assert_cmpuint(n_sets, ==, KTLS_N_CIPHERS);
	for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
		fault = errors[i];
		n_faults = 1;
		g_assert_cmpint(probe(&mask), ==, 0);
		g_assert_cmphex(mask, ==, (1u << KTLS_N_CIPHERS) - 1);
		n_faults = 1000;
		g_assert_cmpint(probe(&mask), ==, -errors[i]);
		g_assert_cmphex(mask, ==, 1u << 31);
		g_assert_cmpuint(n_sets, <, 10);
		n_faults = 0;
	}
	/* One cipher that is missing, or broken, is just that. */
	for (size_t i = 0; i < G_N_ELEMENTS(missing); i++) {
		fault = missing[i];
		n_faults = 1;
		g_assert_cmpint(probe(&mask), ==, 0);
		g_assert_cmphex(mask, ==, (1u << KTLS_N_CIPHERS) - 2);
	}
}

/* Anybody may connect to what listens on the loopback, before we do and until its queue is full. */
static void test_probe_strangers(gconstpointer number)
{
	gint64 begin = g_get_monotonic_time(), us;
	uint32_t mask;

	n_strangers = GPOINTER_TO_UINT(number);
	alarm(60);
	g_assert_cmpint(probe(&mask), ==, 0);
	alarm(0);
	us = g_get_monotonic_time() - begin;
	g_test_message("%u strangers: %" G_GINT64_FORMAT " ms", n_strangers, us / 1000);
	g_assert_cmphex(mask, ==, (1u << KTLS_N_CIPHERS) - 1);
	g_assert_cmpuint(n_probes, ==, KTLS_N_CIPHERS);
	g_assert_cmpint(us, <, 10 * G_USEC_PER_SEC);
	n_strangers = 0;
}

static void test_probe_without(void)
{
	struct ktls_session s = session(KTLS_AES_128_GCM);
	enum ktls_result result = KTLS_OK;
	uint32_t mask = ~0u;
	const char *step;
	int fds[2];

	if (kernel_has_tls()) {
		g_test_skip("this kernel has TLS; what happens without is not seen here");
		return;
	}
	g_assert_cmpint(ktls_probe(&mask), ==, 0);
	g_assert_cmphex(mask, ==, 0);
	connect_pair(fds);
	g_assert_cmpint(ktls_install(fds[0], &s, setsockopt, &result, &step), ==, 0);
	g_assert_cmpint(result, ==, KTLS_NO_ULP);
	close(fds[0]);
	close(fds[1]);
}

/* Each cipher the probe found carries data both ways. */
static void talk(enum ktls_cipher cipher)
{
	struct ktls_session near = session(cipher), far = near;
	enum ktls_result result = KTLS_NO_ULP;
	const char *step;
	char buf[16];
	int fds[2];

	far.tx = near.rx;
	far.rx = near.tx;
	connect_pair(fds);
	g_assert_cmpint(ktls_install(fds[0], &near, setsockopt, &result, &step), ==, 0);
	g_assert_cmpint(result, ==, KTLS_OK);
	g_assert_cmpint(ktls_install(fds[1], &far, setsockopt, &result, &step), ==, 0);
	g_assert_cmpint(result, ==, KTLS_OK);
	for (unsigned int i = 0; i < 2; i++) {
		g_assert_cmpint(send(fds[i], "hello", 5, MSG_NOSIGNAL), ==, 5);
		g_assert_cmpint(recv(fds[!i], buf, sizeof(buf), 0), ==, 5);
		g_assert_cmpmem(buf, 5, "hello", 5);
	}
	/* Already done: broken, not "missing". */
	g_assert_cmpint(ktls_install(fds[0], &near, setsockopt, &result, &step), ==, -EEXIST);
	g_assert_cmpstr(step, ==, "TCP_ULP");
	close(fds[0]);
	close(fds[1]);
}

static void test_probe_with(void)
{
	uint32_t mask = 0;

	if (!kernel_has_tls()) {
		g_test_skip("this kernel has no TLS (module \"tls\"): nothing can be installed");
		return;
	}
	alarm(20);	/* a record that does not decrypt never comes */
	g_assert_cmpint(ktls_probe(&mask), ==, 0);
	g_test_message("ciphers: %#x", mask);
	g_assert_cmphex(mask & 1u << KTLS_AES_128_GCM, !=, 0);
	g_assert_cmphex(mask >> KTLS_N_CIPHERS, ==, 0);
	for (unsigned int i = 0; i < KTLS_N_CIPHERS; i++) {
		if (mask & 1u << i)
			talk(i);
	}
	alarm(0);
}

static void test_not_connected(void)
{
	struct ktls_session s = session(KTLS_AES_128_GCM);
	enum ktls_result result = KTLS_OK;
	const char *step = NULL;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_assert_cmpint(ktls_install(-1, &s, setsockopt, &result, &step), ==, -EBADF);
	g_assert_cmpstr(step, ==, "TCP_ULP");
	if (!kernel_has_tls())
		g_test_skip("this kernel has no TLS (module \"tls\")");
	else
		g_assert_cmpint(ktls_install(fd, &s, setsockopt, &result, &step), ==, -ENOTCONN);
	close(fd);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ktls/vectors", test_vectors);
	g_test_add_func("/ktls/record-limit", test_record_limit);
	g_test_add_func("/ktls/outcomes", test_outcomes);
	g_test_add_func("/ktls/errors", test_errors);
	g_test_add_func("/ktls/names", test_names);
	g_test_add_func("/ktls/probe/fails", test_probe_fails);
	g_test_add_data_func("/ktls/probe/stranger", GUINT_TO_POINTER(1), test_probe_strangers);
	g_test_add_data_func("/ktls/probe/strangers", GUINT_TO_POINTER(STRANGERS_MAX),
			     test_probe_strangers);
	g_test_add_func("/ktls/probe/without", test_probe_without);
	g_test_add_func("/ktls/probe/with", test_probe_with);
	g_test_add_func("/ktls/not-connected", test_not_connected);
	return g_test_run();
}
