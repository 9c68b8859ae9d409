// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Each message type has one "fields" function that walks the structure and
 * hands every field to a cursor. The same walk encodes and decodes, so the
 * two directions cannot drift apart; the cursor holds the direction and the
 * checks.
 */
#include "common/wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct cursor {
	uint8_t *out;		/* encoding: where to write; decoding: NULL */
	const uint8_t *in;
	size_t left;
	bool bad;
};

static_assert(sizeof(struct wire_file) + 16 <= WIRE_MAX, "WIRE_FILE does not fit");
static_assert(sizeof(struct hs_result) + 32 <= WIRE_MAX, "WIRE_RESULT does not fit");
static_assert(sizeof(struct wire_signed) + 16 <= WIRE_MAX, "WIRE_SIGNED does not fit");
static_assert(sizeof(struct wire_key) + 16 <= WIRE_MAX, "WIRE_KEY does not fit");

static void raw(struct cursor *c, void *p, size_t len)
{
	if (c->bad || c->left < len) {
		c->bad = true;
		return;
	}
	if (c->out) {
		memcpy(c->out, p, len);
		c->out += len;
	} else {
		memcpy(p, c->in, len);
		c->in += len;
	}
	c->left -= len;
}

static void number(struct cursor *c, uint64_t *v, unsigned int bytes)
{
	uint8_t le[8] = { 0 };

	for (unsigned int i = 0; c->out && i < bytes; i++)
		le[i] = *v >> (8 * i);
	raw(c, le, bytes);
	if (c->out || c->bad)
		return;
	*v = 0;
	for (unsigned int i = 0; i < bytes; i++)
		*v |= (uint64_t)le[i] << (8 * i);
}

static void u64(struct cursor *c, uint64_t *v)
{
	number(c, v, 8);
}

static void u32(struct cursor *c, uint32_t *v)
{
	uint64_t n = *v;

	number(c, &n, 4);
	*v = n;
}

static void i32(struct cursor *c, int32_t *v)
{
	uint32_t n = (uint32_t)*v;

	u32(c, &n);
	*v = (int32_t)n;
}

static void u16(struct cursor *c, uint16_t *v)
{
	uint64_t n = *v;

	number(c, &n, 2);
	*v = n;
}

/* An enum, or a bool, with the values 0 ... @end - 1. */
static unsigned int choice(struct cursor *c, unsigned int v, unsigned int end)
{
	uint16_t n = v;

	if (c->out && v >= end)
		c->bad = true;
	u16(c, &n);
	if (n >= end)
		c->bad = true;
	return c->bad ? 0 : n;
}

#define CHOICE(c, field, end) ((field) = choice((c), (field), (end)))

static void bytes(struct cursor *c, uint8_t *p, uint16_t *len, size_t max)
{
	u16(c, len);
	if (*len > max)
		c->bad = true;
	raw(c, p, c->bad ? 0 : *len);
}

static void text(struct cursor *c, char *p, size_t size)
{
	uint16_t len = c->out ? strnlen(p, size) : 0;

	bytes(c, (uint8_t *)p, &len, size - 1);
	if (c->out)
		return;
	if (c->bad || memchr(p, 0, len)) {
		c->bad = true;
		len = 0;
	}
	p[len] = 0;
}

static void file_fields(struct cursor *c, struct wire_file *f)
{
	CHOICE(c, f->role, HS_N_ROLES);
	CHOICE(c, f->use, WIRE_N_FILE_USES);
	CHOICE(c, f->identity, HS_N_IDENTITIES);
	text(c, f->label, sizeof(f->label));
	text(c, f->url, sizeof(f->url));
}

static void i64(struct cursor *c, int64_t *v)
{
	uint64_t n = (uint64_t)*v;

	u64(c, &n);
	*v = (int64_t)n;
}

static void dates_fields(struct cursor *c, struct hs_dates *d)
{
	for (unsigned int role = 0; role < HS_N_ROLES; role++) {
		for (unsigned int i = 0; i < HS_N_IDENTITIES; i++)
			i64(c, &d->certificate[role][i]);
		i64(c, &d->crl[role]);
	}
}

static void start_fields(struct cursor *c, struct wire_start *s)
{
	u32(c, &s->ciphers);
	u32(c, &s->tls_debug);
	i32(c, &s->log_level);
	if (s->log_level < LOG_EMERG || s->log_level > LOG_DEBUG)
		c->bad = true;
	dates_fields(c, &s->in_use);
}

static void job_fields(struct cursor *c, struct hs_job *j)
{
	u64(c, &j->id);
	CHOICE(c, j->role, HS_N_ROLES);
	CHOICE(c, j->auth, HS_N_AUTHS);
	u32(c, &j->timeout_ms);
	CHOICE(c, j->own_identity, 2);
	text(c, j->peername, sizeof(j->peername));
}

static void result_fields(struct cursor *c, struct hs_result *r)
{
	u64(c, &r->id);
	CHOICE(c, r->outcome, HS_N_OUTCOMES);
	CHOICE(c, r->peer_verified, 2);
	text(c, r->protocol, sizeof(r->protocol));
	text(c, r->cipher, sizeof(r->cipher));
	text(c, r->group, sizeof(r->group));
	text(c, r->subject, sizeof(r->subject));
	text(c, r->matched, sizeof(r->matched));
	text(c, r->reason, sizeof(r->reason));
}

static void failed_fields(struct cursor *c, struct wire_failed *f)
{
	CHOICE(c, f->passing, 2);
	text(c, f->reason, sizeof(f->reason));
}

static void text_fields(struct cursor *c, struct wire_text *t)
{
	i32(c, &t->priority);
	if (t->priority < LOG_EMERG || t->priority > LOG_DEBUG)
		c->bad = true;
	text(c, t->text, sizeof(t->text));
}

static void sign_fields(struct cursor *c, struct wire_sign *s)
{
	u64(c, &s->job);
	CHOICE(c, s->role, HS_N_ROLES);
	CHOICE(c, s->identity, HS_IDENTITY_END);
	text(c, s->algorithm, sizeof(s->algorithm));
	bytes(c, s->data, &s->len, sizeof(s->data));
}

static void signed_fields(struct cursor *c, struct wire_signed *s)
{
	u64(c, &s->job);
	u32(c, &s->error);
	bytes(c, s->signature, &s->len, sizeof(s->signature));
	/* Its negative is to be one as well, and not a length. */
	if (s->error > WIRE_ERRNO_MAX || (s->error && s->len))
		c->bad = true;
}

static void ask_fields(struct cursor *c, struct wire_ask *a)
{
	u64(c, &a->job);
	text(c, a->identity, sizeof(a->identity));
}

static void psk_fields(struct cursor *c, struct wire_psk *p)
{
	u64(c, &p->job);
	CHOICE(c, p->hash, HS_N_PSK_HASHES);
	text(c, p->identity, sizeof(p->identity));
	bytes(c, p->key, &p->len, sizeof(p->key));
}

static void certificate_fields(struct cursor *c, struct wire_certificate *x)
{
	u64(c, &x->job);
	text(c, x->label, sizeof(x->label));
}

static void refused_fields(struct cursor *c, struct wire_refused *r)
{
	u64(c, &r->job);
	CHOICE(c, r->outcome, HS_N_OUTCOMES);
	if (r->outcome == HS_OK)
		c->bad = true;
	text(c, r->reason, sizeof(r->reason));
}

static void key_fields(struct cursor *c, struct wire_key *k)
{
	u64(c, &k->job);
	CHOICE(c, k->role, HS_N_ROLES);
	text(c, k->label, sizeof(k->label));
	text(c, k->certificate_label, sizeof(k->certificate_label));
	bytes(c, k->data, &k->len, sizeof(k->data));
}

static void grant_fields(struct cursor *c, struct wire_grant *g)
{
	u64(c, &g->job);
	CHOICE(c, g->role, HS_N_ROLES);
}

static void fields(struct cursor *c, struct wire_message *m)
{
	switch (m->type) {
	case WIRE_FILE:
		file_fields(c, &m->file);
		break;
	case WIRE_START:
		start_fields(c, &m->start);
		break;
	case WIRE_READY:
		dates_fields(c, &m->ready);
		break;
	case WIRE_DRAIN:
		break;
	case WIRE_FAILED:
		failed_fields(c, &m->failed);
		break;
	case WIRE_LOG:
		text_fields(c, &m->text);
		break;
	case WIRE_JOB:
		job_fields(c, &m->job);
		break;
	case WIRE_CANCEL:
		u64(c, &m->cancel);
		break;
	case WIRE_RESULT:
		result_fields(c, &m->result);
		break;
	case WIRE_SIGN:
		sign_fields(c, &m->sign);
		break;
	case WIRE_SIGNED:
		signed_fields(c, &m->signed_);
		break;
	case WIRE_ASK:
		ask_fields(c, &m->ask);
		break;
	case WIRE_PSK:
		psk_fields(c, &m->psk);
		break;
	case WIRE_CERTIFICATE:
		certificate_fields(c, &m->certificate);
		break;
	case WIRE_REFUSED:
		refused_fields(c, &m->refused);
		break;
	case WIRE_KEY:
		key_fields(c, &m->key);
		break;
	case WIRE_KEY_LOADED:
		u64(c, &m->key_loaded);
		break;
	case WIRE_GRANT:
		grant_fields(c, &m->grant);
		break;
	default:
		c->bad = true;
	}
}

int wire_encode(const struct wire_message *msg, uint8_t *buf)
{
	/* The walk can write to the structure; when encoding it stores what it read. */
	struct wire_message copy = *msg;
	struct cursor c = { .out = buf, .left = WIRE_MAX };
	uint16_t type = msg->type;

	u16(&c, &type);
	fields(&c, &copy);
	explicit_bzero(&copy, sizeof(copy));
	return c.bad ? -EINVAL : (int)(WIRE_MAX - c.left);
}

int wire_decode(const uint8_t *buf, size_t len, struct wire_message *ret)
{
	struct cursor c = { .in = buf, .left = len };
	uint16_t type = 0;

	memset(ret, 0, sizeof(*ret));
	u16(&c, &type);
	if (c.bad)
		return -EBADMSG;
	ret->type = type;
	fields(&c, ret);
	return c.bad || c.left ? -EBADMSG : 0;
}

const char *wire_type_name(enum wire_type type)
{
	static const char *const names[WIRE_N_TYPES] = {
		[WIRE_FILE] = "FILE",
		[WIRE_START] = "START",
		[WIRE_READY] = "READY",
		[WIRE_FAILED] = "FAILED",
		[WIRE_JOB] = "JOB",
		[WIRE_CANCEL] = "CANCEL",
		[WIRE_DRAIN] = "DRAIN",
		[WIRE_RESULT] = "RESULT",
		[WIRE_LOG] = "LOG",
		[WIRE_SIGN] = "SIGN",
		[WIRE_SIGNED] = "SIGNED",
		[WIRE_ASK] = "ASK",
		[WIRE_PSK] = "PSK",
		[WIRE_CERTIFICATE] = "CERTIFICATE",
		[WIRE_REFUSED] = "REFUSED",
		[WIRE_KEY] = "KEY",
		[WIRE_KEY_LOADED] = "KEY_LOADED",
		[WIRE_GRANT] = "GRANT",
	};

	return (unsigned int)type < WIRE_N_TYPES && names[type] ? names[type] : "unknown";
}
