// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Messages between the processes: whatever decodes has all its fields in range,
 * and encoding it gives the very bytes it was decoded from.
 *
 * An input is a byte and a message; or, where that byte is odd, parts of one, each
 * after a byte t: t % 4 is 0: t / 4 + 1 bytes as they are, 1: as many zeros, else: a
 * text with its length in front (u16). So a length that fits its text comes easily.
 */
#include "common/wire.h"
#include "fuzz.h"

#define CHECK_TEXT(field) g_assert_nonnull(memchr(field, 0, sizeof(field)))

static void check_job(const struct hs_job *job)
{
	g_assert_cmpuint(job->role, <, HS_N_ROLES);
	g_assert_cmpuint(job->auth, <, HS_N_AUTHS);
	CHECK_TEXT(job->peername);
}

static void check_result(const struct hs_result *result)
{
	g_assert_cmpuint(result->outcome, <, HS_N_OUTCOMES);
	CHECK_TEXT(result->protocol);
	CHECK_TEXT(result->cipher);
	CHECK_TEXT(result->group);
	CHECK_TEXT(result->subject);
	CHECK_TEXT(result->matched);
	CHECK_TEXT(result->reason);
}

static void check_key(const struct wire_key *key)
{
	g_assert_cmpuint(key->role, <, HS_N_ROLES);
	g_assert_cmpuint(key->len, <=, sizeof(key->data));
	CHECK_TEXT(key->label);
	CHECK_TEXT(key->certificate_label);
}

static void check_sign(const struct wire_sign *sign)
{
	g_assert_cmpuint(sign->role, <, HS_N_ROLES);
	g_assert_cmpuint(sign->identity, <, HS_IDENTITY_END);
	g_assert_cmpuint(sign->len, <=, sizeof(sign->data));
	CHECK_TEXT(sign->algorithm);
}

static void check_file(const struct wire_file *file)
{
	g_assert_cmpuint(file->role, <, HS_N_ROLES);
	g_assert_cmpuint(file->use, <, WIRE_N_FILE_USES);
	g_assert_cmpuint(file->identity, <, HS_N_IDENTITIES);
	CHECK_TEXT(file->label);
	CHECK_TEXT(file->url);
}

static void check_psk(const struct wire_psk *psk)
{
	g_assert_cmpuint(psk->hash, <, HS_N_PSK_HASHES);
	g_assert_cmpuint(psk->len, <=, sizeof(psk->key));
	CHECK_TEXT(psk->identity);
}

static void check(const struct wire_message *msg)
{
	g_assert_cmpuint(msg->type, >=, WIRE_FILE);
	g_assert_cmpuint(msg->type, <, WIRE_N_TYPES);
	switch (msg->type) {
	case WIRE_FILE:
		check_file(&msg->file);
		break;
	case WIRE_JOB:
		check_job(&msg->job);
		break;
	case WIRE_RESULT:
		check_result(&msg->result);
		break;
	case WIRE_FAILED:
		g_assert_cmpuint(msg->failed.passing, <, 2);
		CHECK_TEXT(msg->failed.reason);
		break;
	case WIRE_LOG:
		CHECK_TEXT(msg->text.text);
		break;
	case WIRE_SIGN:
		check_sign(&msg->sign);
		break;
	case WIRE_SIGNED:
		g_assert_cmpuint(msg->signed_.len, <=, sizeof(msg->signed_.signature));
		break;
	case WIRE_ASK:
		CHECK_TEXT(msg->ask.identity);
		break;
	case WIRE_PSK:
		check_psk(&msg->psk);
		break;
	case WIRE_CERTIFICATE:
		CHECK_TEXT(msg->certificate.label);
		break;
	case WIRE_REFUSED:
		g_assert_cmpuint(msg->refused.outcome, <, HS_N_OUTCOMES);
		g_assert_cmpuint(msg->refused.outcome, !=, HS_OK);
		CHECK_TEXT(msg->refused.reason);
		break;
	case WIRE_GRANT:
		g_assert_cmpuint(msg->grant.role, <, HS_N_ROLES);
		break;
	case WIRE_KEY:
		check_key(&msg->key);
		break;
	default:
		break;
	}
}

/* Returns the number of bytes, WIRE_MAX at most. */
static size_t put_together(struct input *in, uint8_t *out)
{
	size_t n = 0;

	while (in->left) {
		uint8_t part = take_u8(in);
		size_t len = part % 4 < 2 ? part / 4u + 1 : take_u16(in), got;
		const uint8_t *bytes;

		if (len + 2 > WIRE_MAX - n)
			break;
		memset(out + n, 0, len);
		if (part % 4 == 0) {
			bytes = take_bytes(in, len, &got);
			memcpy(out + n, bytes, got);
		} else if (part % 4 > 1) {
			out[n++] = (uint8_t)len;
			out[n++] = (uint8_t)(len >> 8);
			memset(out + n, 'a' + part / 4 % 26, len);
		}
		n += len;
	}
	return n;
}

static int decode_and_encode(const uint8_t *data, size_t size)
{
	static struct wire_message msg, again;
	static uint8_t buf[WIRE_MAX];
	int r;

	if (wire_decode(data, size, &msg) < 0)
		return 0;
	check(&msg);
	g_assert_nonnull(wire_type_name(msg.type));
	r = wire_encode(&msg, buf);
	g_assert_cmpint(r, >=, 0);
	g_assert_cmpmem(buf, (size_t)r, data, size);
	g_assert_cmpint(wire_decode(buf, (size_t)r, &again), ==, 0);
	g_assert_cmpmem(&again, sizeof(again), &msg, sizeof(msg));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree uint8_t *exact = NULL;
	static uint8_t built[WIRE_MAX];
	struct input in = { data, size };
	size_t len;

	if (!(take_u8(&in) & 1))
		return decode_and_encode(in.at, in.left);
	len = put_together(&in, built);
	exact = exact_copy(built, len);
	return decode_and_encode(exact, len);
}
