// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>

#include "any-message.h"

#define SEED 20231123u
#define ROUNDS 1000	/* for each message type */

static void test_round_trip(void)
{
	struct wire_message m, before, back;
	uint8_t buf[WIRE_MAX];

	for (enum wire_type type = WIRE_FILE; type < WIRE_N_TYPES; type++) {
		for (unsigned int i = 0; i < ROUNDS; i++) {
			size_t len;

			any_message(type, &m);
			before = m;
			len = encode(&m, buf);
			g_assert_cmpmem(&m, sizeof(m), &before, sizeof(before));
			g_assert_cmpint(decode(buf, len, &back), ==, 0);
			g_assert_cmpmem(&back, sizeof(back), &m, sizeof(m));
		}
	}
}

static void test_truncated(void)
{
	uint8_t buf[WIRE_MAX];
	struct wire_message m;

	for (enum wire_type type = WIRE_FILE; type < WIRE_N_TYPES; type++) {
		for (unsigned int i = 0; i < 20; i++) {
			size_t len;

			any_message(type, &m);
			len = encode(&m, buf);
			for (size_t cut = 0; cut < len; cut++)
				assert_refused(buf, cut);
		}
	}
}

static void test_trailing(void)
{
	uint8_t buf[WIRE_MAX + 64];
	struct wire_message m;

	for (enum wire_type type = WIRE_FILE; type < WIRE_N_TYPES; type++) {
		for (unsigned int i = 0; i < 100; i++) {
			size_t len;

			any_message(type, &m);
			len = encode(&m, buf);
			memset(buf + len, (int)below(256), 64);
			assert_refused(buf, len + 1);
			assert_refused(buf, len + 1 + below(64));
		}
	}
}

/* What another implementation would have to send; a change here is a change of docs/PROTOCOL.md. */
static void test_vectors(void)
{
	static const uint8_t job[] = {
		5, 0,  8, 7, 6, 5, 4, 3, 2, 1,  1, 0,  2, 0,  0x10, 0x27, 0, 0,  1, 0,
		4, 0, 'h', 'o', 's', 't',
	};
	static const uint8_t start[] = {
		2, 0,  0x0f, 0, 0, 0,  9, 0, 0, 0,  6, 0, 0, 0,
		1, 0, 0, 0, 0, 0, 0, 0,  2, 0, 0, 0, 0, 0, 0, 0,  3, 0, 0, 0, 0, 0, 0, 0,
		4, 0, 0, 0, 0, 0, 0, 0,  5, 0, 0, 0, 0, 0, 0, 0,  6, 0, 0, 0, 0, 0, 0, 0x80,
	};
	static const uint8_t sign[] = {
		10, 0,  1, 0, 0, 0, 0, 0, 0, 0x80,  0, 0,  1, 0,  1, 0, 'a',  2, 0, 0, 0xff,
	};
	static const uint8_t ready[] = {
		3, 0,  0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,  0xff, 0, 0, 0, 0, 0, 0, 0,
	};
	struct wire_message m;
	uint8_t buf[WIRE_MAX];

	g_assert_cmpint(decode(job, sizeof(job), &m), ==, 0);
	g_assert_cmpint(m.type, ==, WIRE_JOB);
	g_assert_cmphex(m.job.id, ==, 0x0102030405060708);
	g_assert_cmpint(m.job.role, ==, HS_SERVER);
	g_assert_cmpint(m.job.auth, ==, HS_AUTH_X509);
	g_assert_cmpuint(m.job.timeout_ms, ==, 10000);
	g_assert_true(m.job.own_identity);
	g_assert_cmpstr(m.job.peername, ==, "host");
	g_assert_cmpmem(buf, encode(&m, buf), job, sizeof(job));

	g_assert_cmpint(decode(start, sizeof(start), &m), ==, 0);
	g_assert_cmpuint(m.start.ciphers, ==, 15);
	g_assert_cmpuint(m.start.tls_debug, ==, 9);
	g_assert_cmpint(m.start.log_level, ==, LOG_INFO);
	g_assert_cmpint(m.start.in_use.certificate[HS_SERVER][HS_IDENTITY_X509_PQ], ==, 5);
	g_assert_cmpint(m.start.in_use.crl[HS_SERVER], ==, INT64_MIN + 6);
	g_assert_cmpmem(buf, encode(&m, buf), start, sizeof(start));

	g_assert_cmpint(decode(sign, sizeof(sign), &m), ==, 0);
	g_assert_cmphex(m.sign.job, ==, 0x8000000000000001);
	g_assert_cmpint(m.sign.identity, ==, HS_IDENTITY_X509_PQ);
	g_assert_cmpstr(m.sign.algorithm, ==, "a");
	g_assert_cmpmem(m.sign.data, m.sign.len, sign + sizeof(sign) - 2, 2);
	g_assert_cmpmem(buf, encode(&m, buf), sign, sizeof(sign));

	g_assert_cmpint(decode(ready, sizeof(ready), &m), ==, 0);
	g_assert_cmpmem(buf, encode(&m, buf), ready, sizeof(ready));
}

static void test_vectors_keys(void)
{
	static const uint8_t ask[] = {
		12, 0,  8, 7, 6, 5, 4, 3, 2, 1,  2, 0, 'i', 'd',
	};
	static const uint8_t psk[] = {
		13, 0,  1, 0, 0, 0, 0, 0, 0, 0,  1, 0,  1, 0, 'i',  3, 0, 1, 0, 0xff,
	};
	static const uint8_t certificate[] = {
		14, 0,  2, 0, 0, 0, 0, 0, 0, 0,  1, 0, 'l',
	};
	static const uint8_t refused[] = {
		15, 0,  3, 0, 0, 0, 0, 0, 0, 0,  2, 0,  3, 0, 'w', 'h', 'y',
	};
	static const uint8_t key[] = {
		16, 0,  4, 0, 0, 0, 0, 0, 0, 0,  1, 0,  1, 0, 'k',  1, 0, 'c',  2, 0, 0x30, 0,
	};
	static const uint8_t key_loaded[] = { 17, 0,  0, 0, 0, 0, 0, 0, 0, 0x80 };
	struct wire_message m;
	uint8_t buf[WIRE_MAX];

	g_assert_cmpint(decode(ask, sizeof(ask), &m), ==, 0);
	g_assert_cmpint(m.type, ==, WIRE_ASK);
	g_assert_cmphex(m.ask.job, ==, 0x0102030405060708);
	g_assert_cmpstr(m.ask.identity, ==, "id");
	g_assert_cmpmem(buf, encode(&m, buf), ask, sizeof(ask));

	g_assert_cmpint(decode(psk, sizeof(psk), &m), ==, 0);
	g_assert_cmpint(m.type, ==, WIRE_PSK);
	g_assert_cmphex(m.psk.job, ==, 1);
	g_assert_cmpint(m.psk.hash, ==, HS_PSK_SHA384);
	g_assert_cmpstr(m.psk.identity, ==, "i");
	g_assert_cmpmem(m.psk.key, m.psk.len, psk + sizeof(psk) - 3, 3);
	g_assert_cmpmem(buf, encode(&m, buf), psk, sizeof(psk));

	g_assert_cmpint(decode(certificate, sizeof(certificate), &m), ==, 0);
	g_assert_cmpint(m.type, ==, WIRE_CERTIFICATE);
	g_assert_cmphex(m.certificate.job, ==, 2);
	g_assert_cmpstr(m.certificate.label, ==, "l");
	g_assert_cmpmem(buf, encode(&m, buf), certificate, sizeof(certificate));

	g_assert_cmpint(decode(refused, sizeof(refused), &m), ==, 0);
	g_assert_cmpint(m.type, ==, WIRE_REFUSED);
	g_assert_cmphex(m.refused.job, ==, 3);
	g_assert_cmpint(m.refused.outcome, ==, HS_CLOSED);
	g_assert_cmpstr(m.refused.reason, ==, "why");
	g_assert_cmpmem(buf, encode(&m, buf), refused, sizeof(refused));

	g_assert_cmpint(decode(key, sizeof(key), &m), ==, 0);
	g_assert_cmpint(m.type, ==, WIRE_KEY);
	g_assert_cmphex(m.key.job, ==, 4);
	g_assert_cmpint(m.key.role, ==, HS_SERVER);
	g_assert_cmpstr(m.key.label, ==, "k");
	g_assert_cmpstr(m.key.certificate_label, ==, "c");
	g_assert_cmpmem(m.key.data, m.key.len, key + sizeof(key) - 2, 2);
	g_assert_cmpmem(buf, encode(&m, buf), key, sizeof(key));

	g_assert_cmpint(decode(key_loaded, sizeof(key_loaded), &m), ==, 0);
	g_assert_cmpint(m.type, ==, WIRE_KEY_LOADED);
	g_assert_cmphex(m.key_loaded, ==, UINT64_C(0x8000000000000000));
	g_assert_cmpmem(buf, encode(&m, buf), key_loaded, sizeof(key_loaded));
}

static void test_type(void)
{
	static const unsigned int bad[] = {
		0, WIRE_N_TYPES, WIRE_N_TYPES + 1, 0x0101, 0x0300, 0xffff,
	};
	uint8_t buf[WIRE_MAX] = { 0 };
	struct wire_message m = { 0 };

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		buf[0] = (uint8_t)bad[i];
		buf[1] = (uint8_t)(bad[i] >> 8);
		for (size_t len = 0; len < 64; len++)
			assert_refused(buf, len);
		m.type = bad[i];
		g_assert_cmpint(wire_encode(&m, buf), ==, -EINVAL);
	}
	m.type = 0x10003;	/* READY when cut to 16 bits */
	g_assert_cmpint(wire_encode(&m, buf), ==, -EINVAL);
}

/* Where the enums of a message stand, where they begin and where they end. */
static const struct choice {
	enum wire_type type;
	size_t offset;
	unsigned int begin, end;
} choices[] = {
	{ WIRE_FILE, 2, 0, HS_N_ROLES },
	{ WIRE_FILE, 4, 0, WIRE_N_FILE_USES },
	{ WIRE_FILE, 6, 0, HS_N_IDENTITIES },
	{ WIRE_FAILED, 2, 0, 2 },
	{ WIRE_JOB, 10, 0, HS_N_ROLES },
	{ WIRE_JOB, 12, 0, HS_N_AUTHS },
	{ WIRE_JOB, 18, 0, 2 },
	{ WIRE_RESULT, 10, 0, HS_N_OUTCOMES },
	{ WIRE_RESULT, 12, 0, 2 },
	{ WIRE_SIGN, 10, 0, HS_N_ROLES },
	{ WIRE_SIGN, 12, 0, HS_IDENTITY_END },
	{ WIRE_PSK, 10, 0, HS_N_PSK_HASHES },
	{ WIRE_REFUSED, 10, HS_OK + 1, HS_N_OUTCOMES },
	{ WIRE_KEY, 10, 0, HS_N_ROLES },
	{ WIRE_GRANT, 10, 0, HS_N_ROLES },
};

static void test_choices(void)
{
	struct wire_message m, back;
	uint8_t buf[WIRE_MAX];
	size_t len;

	for (size_t i = 0; i < G_N_ELEMENTS(choices); i++) {
		const struct choice *c = &choices[i];

		any_message(c->type, &m);
		len = encode(&m, buf);
		for (unsigned int v = 0; v < 0x10000; v += v < 300 ? 1 : 251) {
			buf[c->offset] = (uint8_t)v;
			buf[c->offset + 1] = (uint8_t)(v >> 8);
			g_assert_cmpint(decode(buf, len, &back), ==,
					v >= c->begin && v < c->end ? 0 : -EBADMSG);
		}
	}
}

static void test_encode_choices(void)
{
	struct wire_message m;
	uint8_t buf[WIRE_MAX];

#define REFUSED(message_type, field, value) do {			\
	any_message(message_type, &m);					\
	m.field = (value);						\
	g_assert_cmpint(wire_encode(&m, buf), ==, -EINVAL);		\
} while (0)
	REFUSED(WIRE_FILE, file.role, HS_N_ROLES);
	REFUSED(WIRE_FILE, file.use, WIRE_N_FILE_USES);
	REFUSED(WIRE_FILE, file.identity, HS_N_IDENTITIES);
	REFUSED(WIRE_JOB, job.role, HS_N_ROLES);
	REFUSED(WIRE_JOB, job.auth, HS_N_AUTHS);
	REFUSED(WIRE_JOB, job.auth, 0x10000);	/* 0 when cut to 16 bits */
	REFUSED(WIRE_RESULT, result.outcome, HS_N_OUTCOMES);
	REFUSED(WIRE_SIGN, sign.role, HS_N_ROLES);
	REFUSED(WIRE_SIGN, sign.identity, HS_IDENTITY_END);
	REFUSED(WIRE_SIGN, sign.len, WIRE_SIGN_DATA_MAX + 1);
	REFUSED(WIRE_SIGN, sign.len, 0xffff);
	REFUSED(WIRE_SIGNED, signed_.len, WIRE_SIGNATURE_MAX + 1);
	REFUSED(WIRE_SIGNED, signed_, ((struct wire_signed){ .error = WIRE_ERRNO_MAX + 1 }));
	REFUSED(WIRE_PSK, psk.hash, HS_N_PSK_HASHES);
	REFUSED(WIRE_PSK, psk.len, HS_PSK_MAX + 1);
	REFUSED(WIRE_REFUSED, refused.outcome, HS_OK);
	REFUSED(WIRE_REFUSED, refused.outcome, HS_N_OUTCOMES);
	REFUSED(WIRE_KEY, key.role, HS_N_ROLES);
	REFUSED(WIRE_GRANT, grant.role, HS_N_ROLES);
	REFUSED(WIRE_KEY, key.len, WIRE_KEY_MAX + 1);
#undef REFUSED
}

static void test_priority(void)
{
	static const int32_t bad[] = { -1, LOG_DEBUG + 1, 0x100, INT32_MAX, INT32_MIN };
	struct wire_message m;
	uint8_t buf[WIRE_MAX];

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		size_t len;

		any_message(WIRE_LOG, &m);
		len = encode(&m, buf);
		for (unsigned int j = 0; j < 4; j++)
			buf[2 + j] = (uint8_t)((uint32_t)bad[i] >> 8 * j);
		assert_refused(buf, len);
		m.text.priority = bad[i];
		g_assert_cmpint(wire_encode(&m, buf), ==, -EINVAL);
		any_message(WIRE_START, &m);
		m.start.log_level = bad[i];
		g_assert_cmpint(wire_encode(&m, buf), ==, -EINVAL);
	}
}

/* Each text field of each message. */
static const struct text_field {
	enum wire_type type;
	size_t in_struct, size;
} text_fields[] = {
#define TEXT(type, field) \
	{ type, offsetof(struct wire_message, field), sizeof(((struct wire_message *)0)->field) }
	TEXT(WIRE_FILE, file.label),
	TEXT(WIRE_FILE, file.url),
	TEXT(WIRE_FAILED, failed.reason),
	TEXT(WIRE_LOG, text.text),
	TEXT(WIRE_JOB, job.peername),
	TEXT(WIRE_RESULT, result.protocol),
	TEXT(WIRE_RESULT, result.cipher),
	TEXT(WIRE_RESULT, result.group),
	TEXT(WIRE_RESULT, result.subject),
	TEXT(WIRE_RESULT, result.matched),
	TEXT(WIRE_RESULT, result.reason),
	TEXT(WIRE_SIGN, sign.algorithm),
	TEXT(WIRE_ASK, ask.identity),
	TEXT(WIRE_PSK, psk.identity),
	TEXT(WIRE_CERTIFICATE, certificate.label),
	TEXT(WIRE_REFUSED, refused.reason),
	TEXT(WIRE_KEY, key.label),
	TEXT(WIRE_KEY, key.certificate_label),
#undef TEXT
};

/* A message whose one text is @mark times @n and whose other texts are empty. */
static size_t encode_text(const struct text_field *f, size_t n, uint8_t *buf)
{
	struct wire_message m = { .type = f->type };

	if (f->type == WIRE_REFUSED)
		m.refused.outcome = HS_INTERNAL;
	memset((char *)&m + f->in_struct, 'T', n);
	return encode(&m, buf);
}

static uint8_t *find_text(uint8_t *buf, size_t len)
{
	uint8_t *t = memchr(buf, 'T', len);

	g_assert_nonnull(t);
	return t;
}

static void test_text(void)
{
	uint8_t buf[WIRE_MAX], longer[WIRE_MAX + 1];
	struct wire_message back, m;

	for (size_t i = 0; i < G_N_ELEMENTS(text_fields); i++) {
		const struct text_field *f = &text_fields[i];
		size_t max = f->size - 1, len = encode_text(f, max, buf), at;
		uint8_t *t = find_text(buf, len);

		g_assert_cmpint(decode(buf, len, &back), ==, 0);
		at = (size_t)(t - buf);
		g_assert_cmpuint(t[-2] | t[-1] << 8, ==, max);

		/* One more byte, told of in its length. */
		memcpy(longer, buf, at);
		longer[at] = 'T';
		memcpy(longer + at + 1, t, len - at);
		longer[at - 2] = (uint8_t)f->size;
		longer[at - 1] = (uint8_t)(f->size >> 8);
		assert_refused(longer, len + 1);

		/* A NUL anywhere. */
		for (size_t j = 0; j < max; j++) {
			t[j] = 0;
			assert_refused(buf, len);
			t[j] = 'T';
		}
		g_assert_cmpint(decode(buf, len, &back), ==, 0);

		/* The sender's own text without an end. */
		m = back;
		memset((char *)&m + f->in_struct, 'T', f->size);
		g_assert_cmpint(wire_encode(&m, buf), ==, -EINVAL);
	}
}

/* Each field of bytes: what there is before its length, and its end. */
static const struct bytes_field {
	enum wire_type type;
	size_t in_struct, offset, max;
} bytes_fields[] = {
	/* type 2, job 8, role 2, identity 2, empty algorithm 2 */
	{ WIRE_SIGN, offsetof(struct wire_message, sign.len), 16, WIRE_SIGN_DATA_MAX },
	/* type 2, job 8, error 4 */
	{ WIRE_SIGNED, offsetof(struct wire_message, signed_.len), 14, WIRE_SIGNATURE_MAX },
	/* type 2, job 8, hash 2, empty identity 2 */
	{ WIRE_PSK, offsetof(struct wire_message, psk.len), 14, HS_PSK_MAX },
	/* type 2, job 8, role 2, two empty labels 4 */
	{ WIRE_KEY, offsetof(struct wire_message, key.len), 16, WIRE_KEY_MAX },
};

static void test_bytes(void)
{
	struct wire_message m, back;
	uint8_t buf[WIRE_MAX + 8];

	for (size_t i = 0; i < G_N_ELEMENTS(bytes_fields); i++) {
		const struct bytes_field *f = &bytes_fields[i];
		uint16_t max = (uint16_t)f->max;
		size_t len;

		memset(&m, 0, sizeof(m));
		m.type = f->type;
		memcpy((char *)&m + f->in_struct, &max, sizeof(max));
		len = encode(&m, buf);
		g_assert_cmpuint(len, ==, f->offset + 2 + f->max);
		g_assert_cmpint(decode(buf, len, &back), ==, 0);
		g_assert_cmpuint(buf[f->offset] | buf[f->offset + 1] << 8, ==, f->max);

		memset(buf + len, 0, 8);
		buf[f->offset] = (uint8_t)(f->max + 1);
		buf[f->offset + 1] = (uint8_t)((f->max + 1) >> 8);
		assert_refused(buf, len + 1);
		buf[f->offset] = buf[f->offset + 1] = 0xff;
		assert_refused(buf, len);
	}
}

static void fill(char *text, size_t size)
{
	memset(text, 'x', size - 1);
}

static void test_longest(void)
{
	struct wire_message m = { 0 };
	uint8_t buf[WIRE_MAX];

	m.type = WIRE_FILE;
	fill(m.file.label, sizeof(m.file.label));
	fill(m.file.url, sizeof(m.file.url));
	g_assert_cmpuint(encode(&m, buf), ==,
			 2 + 3 * 2 + 2 + WIRE_LABEL_MAX - 1 + 2 + WIRE_PATH_MAX - 1);

	memset(&m, 0, sizeof(m));
	m.type = WIRE_RESULT;
	fill(m.result.protocol, sizeof(m.result.protocol));
	fill(m.result.cipher, sizeof(m.result.cipher));
	fill(m.result.group, sizeof(m.result.group));
	fill(m.result.subject, sizeof(m.result.subject));
	fill(m.result.matched, sizeof(m.result.matched));
	fill(m.result.reason, sizeof(m.result.reason));
	g_assert_cmpuint(encode(&m, buf), ==, 2 + 8 + 2 * 2 + 6 * 2 + 3 * (HS_SHORT_MAX - 1) +
					      2 * (HS_TEXT_MAX - 1) + HS_NAME_MAX - 1);

	m = (struct wire_message){ .type = WIRE_FAILED };
	fill(m.failed.reason, sizeof(m.failed.reason));
	g_assert_cmpuint(encode(&m, buf), ==, 2 + 2 + 2 + LOG_TEXT_MAX - 1);

	m = (struct wire_message){ .type = WIRE_LOG };
	fill(m.text.text, sizeof(m.text.text));
	g_assert_cmpuint(encode(&m, buf), ==, 2 + 4 + 2 + LOG_TEXT_MAX - 1);

	m = (struct wire_message){ .type = WIRE_SIGN };
	fill(m.sign.algorithm, sizeof(m.sign.algorithm));
	m.sign.len = WIRE_SIGN_DATA_MAX;
	g_assert_cmpuint(encode(&m, buf), ==,
			 2 + 8 + 4 + 2 + WIRE_ALGORITHM_MAX - 1 + 2 + WIRE_SIGN_DATA_MAX);

	m = (struct wire_message){ .type = WIRE_SIGNED, .signed_.len = WIRE_SIGNATURE_MAX };
	g_assert_cmpuint(encode(&m, buf), ==, 2 + 8 + 4 + 2 + WIRE_SIGNATURE_MAX);
}

static void test_longest_keys(void)
{
	struct wire_message m = { .type = WIRE_ASK };
	uint8_t buf[WIRE_MAX];

	fill(m.ask.identity, sizeof(m.ask.identity));
	g_assert_cmpuint(encode(&m, buf), ==, 2 + 8 + 2 + HS_PSK_IDENTITY_MAX - 1);

	m = (struct wire_message){ .type = WIRE_PSK, .psk.len = HS_PSK_MAX };
	fill(m.psk.identity, sizeof(m.psk.identity));
	g_assert_cmpuint(encode(&m, buf), ==,
			 2 + 8 + 2 + 2 + HS_PSK_IDENTITY_MAX - 1 + 2 + HS_PSK_MAX);

	m = (struct wire_message){ .type = WIRE_CERTIFICATE };
	fill(m.certificate.label, sizeof(m.certificate.label));
	g_assert_cmpuint(encode(&m, buf), ==, 2 + 8 + 2 + WIRE_LABEL_MAX - 1);

	m = (struct wire_message){ .type = WIRE_REFUSED, .refused.outcome = HS_KTLS };
	fill(m.refused.reason, sizeof(m.refused.reason));
	g_assert_cmpuint(encode(&m, buf), ==, 2 + 8 + 2 + 2 + HS_TEXT_MAX - 1);

	m = (struct wire_message){ .type = WIRE_KEY, .key.len = WIRE_KEY_MAX };
	fill(m.key.label, sizeof(m.key.label));
	fill(m.key.certificate_label, sizeof(m.key.certificate_label));
	g_assert_cmpuint(encode(&m, buf), ==,
			 2 + 8 + 2 + 2 * (2 + WIRE_LABEL_MAX - 1) + 2 + WIRE_KEY_MAX);
}

/* Whatever decodes is the one encoding of what it decodes to. */
static bool check_canonical(const uint8_t *buf, size_t len)
{
	struct wire_message m;
	uint8_t again[WIRE_MAX];
	int r = decode(buf, len, &m);

	if (r < 0) {
		g_assert_cmpint(r, ==, -EBADMSG);
		return false;
	}
	g_assert_cmpmem(again, encode(&m, again), buf, len);
	return true;
}

static void test_random_bytes(void)
{
	uint8_t buf[WIRE_MAX];

	for (unsigned int i = 0; i < 100000; i++) {
		/* Small numbers make lengths that fit more often. */
		unsigned int spread = below(3) ? 4 : 256;
		size_t len = below(below(10) ? 64 : WIRE_MAX);

		for (size_t j = 0; j < len; j++)
			buf[j] = (uint8_t)below(spread);
		if (len > 1 && below(4)) {
			buf[0] = (uint8_t)(1 + below(WIRE_N_TYPES - 1));
			buf[1] = 0;
		}
		check_canonical(buf, len);
	}
}

static void test_mutated(void)
{
	unsigned int n_decoded = 0;
	uint8_t buf[2 * WIRE_MAX];
	struct wire_message m;

	for (unsigned int i = 0; i < 30000; i++) {
		size_t len, at;

		any_message(1 + below(WIRE_N_TYPES - 1), &m);
		len = encode(&m, buf);
		for (unsigned int n = 1 + below(3); n; n--) {
			at = below((unsigned int)len);
			if (below(3)) {
				buf[at] = (uint8_t)below(256);
			} else if (below(2)) {
				memmove(buf + at + 1, buf + at, len - at);
				len++;
			} else if (len > 1) {
				memmove(buf + at, buf + at + 1, len - at - 1);
				len--;
			}
		}
		if (len <= WIRE_MAX)
			n_decoded += check_canonical(buf, len);
	}
	g_test_message("%u of 30000 changed messages still decode", n_decoded);
	g_assert_cmpuint(n_decoded, >, 100);	/* else this test looks at nothing */
}

static void test_names(void)
{
	for (enum wire_type type = WIRE_FILE; type < WIRE_N_TYPES; type++) {
		g_assert_cmpstr(wire_type_name(type), !=, "unknown");
		for (enum wire_type other = WIRE_FILE; other < type; other++)
			g_assert_cmpstr(wire_type_name(type), !=, wire_type_name(other));
	}
	g_assert_cmpstr(wire_type_name(WIRE_JOB), ==, "JOB");
	g_assert_cmpstr(wire_type_name(0), ==, "unknown");
	g_assert_cmpstr(wire_type_name(WIRE_N_TYPES), ==, "unknown");
	g_assert_cmpstr(wire_type_name((enum wire_type)-1), ==, "unknown");
}

int main(int argc, char **argv)
{
	int r;

	g_test_init(&argc, &argv, NULL);
	rng = g_rand_new_with_seed(SEED);
	g_test_message("seed %u", SEED);
	g_test_add_func("/wire/round-trip", test_round_trip);
	g_test_add_func("/wire/truncated", test_truncated);
	g_test_add_func("/wire/trailing", test_trailing);
	g_test_add_func("/wire/vectors", test_vectors);
	g_test_add_func("/wire/vectors-keys", test_vectors_keys);
	g_test_add_func("/wire/type", test_type);
	g_test_add_func("/wire/choices", test_choices);
	g_test_add_func("/wire/encode-choices", test_encode_choices);
	g_test_add_func("/wire/priority", test_priority);
	g_test_add_func("/wire/text", test_text);
	g_test_add_func("/wire/bytes", test_bytes);
	g_test_add_func("/wire/longest", test_longest);
	g_test_add_func("/wire/longest-keys", test_longest_keys);
	g_test_add_func("/wire/random-bytes", test_random_bytes);
	g_test_add_func("/wire/mutated", test_mutated);
	g_test_add_func("/wire/names", test_names);
	r = g_test_run();
	g_rand_free(rng);
	return r;
}
