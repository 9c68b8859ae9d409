// SPDX-License-Identifier: GPL-2.0-or-later
#include "any-message.h"

#include <errno.h>
#include <string.h>

GRand *rng;

unsigned int below(unsigned int end)
{
	return (unsigned int)g_rand_int_range(rng, 0, (gint32)end);
}

static uint64_t any_u64(void)
{
	return (uint64_t)g_rand_int(rng) << 32 | g_rand_int(rng);
}

/* Often empty, often as long as it may be; any byte but NUL. */
static void any_text(char *p, size_t size)
{
	size_t len = below(4) ? below((unsigned int)size) : below(2) * (size - 1);

	for (size_t i = 0; i < len; i++)
		p[i] = (char)(1 + below(255));
}

static void any_bytes(uint8_t *p, uint16_t *len, size_t max)
{
	*len = (uint16_t)(below(4) ? below((unsigned int)max + 1) : below(2) * max);
	for (size_t i = 0; i < *len; i++)
		p[i] = (uint8_t)below(256);
}

static void any_dates(struct hs_dates *d)
{
	for (unsigned int role = 0; role < HS_N_ROLES; role++) {
		for (unsigned int i = 0; i < HS_N_IDENTITIES; i++)
			d->certificate[role][i] = (int64_t)any_u64();
		d->crl[role] = (int64_t)any_u64();
	}
}

static void any_result(struct hs_result *r)
{
	r->id = any_u64();
	r->outcome = below(HS_N_OUTCOMES);
	r->peer_verified = below(2);
	any_text(r->protocol, sizeof(r->protocol));
	any_text(r->cipher, sizeof(r->cipher));
	any_text(r->group, sizeof(r->group));
	any_text(r->subject, sizeof(r->subject));
	any_text(r->matched, sizeof(r->matched));
	any_text(r->reason, sizeof(r->reason));
}

static void any_sign(struct wire_sign *s)
{
	s->job = any_u64();
	s->role = below(HS_N_ROLES);
	s->identity = below(HS_IDENTITY_END);
	any_text(s->algorithm, sizeof(s->algorithm));
	any_bytes(s->data, &s->len, sizeof(s->data));
}

static void any_file(struct wire_file *f)
{
	f->role = below(HS_N_ROLES);
	f->use = below(WIRE_N_FILE_USES);
	f->identity = below(HS_N_IDENTITIES);
	any_text(f->label, sizeof(f->label));
	any_text(f->url, sizeof(f->url));
}

static void any_psk(struct wire_psk *p)
{
	p->job = any_u64();
	p->hash = below(HS_N_PSK_HASHES);
	any_text(p->identity, sizeof(p->identity));
	any_bytes(p->key, &p->len, sizeof(p->key));
}

static void any_refused(struct wire_refused *r)
{
	r->job = any_u64();
	r->outcome = 1 + below(HS_N_OUTCOMES - 1);
	any_text(r->reason, sizeof(r->reason));
}

static void any_key(struct wire_key *k)
{
	k->job = any_u64();
	k->role = below(HS_N_ROLES);
	any_text(k->label, sizeof(k->label));
	any_text(k->certificate_label, sizeof(k->certificate_label));
	any_bytes(k->data, &k->len, sizeof(k->data));
}

/* A valid message of @type that carries keys, or asks for them. */
static void any_key_message(enum wire_type type, struct wire_message *m)
{
	switch (type) {
	case WIRE_ASK:
		m->ask.job = any_u64();
		any_text(m->ask.identity, sizeof(m->ask.identity));
		break;
	case WIRE_PSK:
		any_psk(&m->psk);
		break;
	case WIRE_CERTIFICATE:
		m->certificate.job = any_u64();
		any_text(m->certificate.label, sizeof(m->certificate.label));
		break;
	case WIRE_REFUSED:
		any_refused(&m->refused);
		break;
	case WIRE_KEY:
		any_key(&m->key);
		break;
	case WIRE_KEY_LOADED:
		m->key_loaded = any_u64();
		break;
	case WIRE_GRANT:
		m->grant.job = any_u64();
		m->grant.role = below(HS_N_ROLES);
		break;
	default:
		break;
	}
}

void any_message(enum wire_type type, struct wire_message *m)
{
	memset(m, 0, sizeof(*m));
	m->type = type;
	switch (type) {
	case WIRE_FILE:
		any_file(&m->file);
		break;
	case WIRE_START:
		m->start.ciphers = g_rand_int(rng);
		m->start.tls_debug = g_rand_int(rng);
		m->start.log_level = (int32_t)below(LOG_DEBUG + 1);
		any_dates(&m->start.in_use);
		break;
	case WIRE_READY:
		any_dates(&m->ready);
		break;
	case WIRE_FAILED:
		m->failed.passing = below(2);
		any_text(m->failed.reason, sizeof(m->failed.reason));
		break;
	case WIRE_LOG:
		m->text.priority = (int32_t)below(LOG_DEBUG + 1);
		any_text(m->text.text, sizeof(m->text.text));
		break;
	case WIRE_JOB:
		m->job.id = any_u64();
		m->job.role = below(HS_N_ROLES);
		m->job.auth = below(HS_N_AUTHS);
		m->job.timeout_ms = g_rand_int(rng);
		m->job.own_identity = below(2);
		any_text(m->job.peername, sizeof(m->job.peername));
		break;
	case WIRE_CANCEL:
		m->cancel = any_u64();
		break;
	case WIRE_RESULT:
		any_result(&m->result);
		break;
	case WIRE_SIGN:
		any_sign(&m->sign);
		break;
	case WIRE_SIGNED:
		m->signed_.job = any_u64();
		m->signed_.error = below(2) ? below(WIRE_ERRNO_MAX + 1) : 0;
		if (m->signed_.error)
			break;
		any_bytes(m->signed_.signature, &m->signed_.len, sizeof(m->signed_.signature));
		break;
	default:
		any_key_message(type, m);
		break;
	}
}

size_t encode(const struct wire_message *m, uint8_t *buf)
{
	int len = wire_encode(m, buf);

	g_assert_cmpint(len, >=, 2);
	g_assert_cmpint(len, <=, WIRE_MAX);
	return (size_t)len;
}

int decode(const uint8_t *buf, size_t len, struct wire_message *ret)
{
	g_autofree uint8_t *exact = g_malloc(len ? len : 1);

	memcpy(exact, buf, len);
	memset(ret, 0xa5, sizeof(*ret));
	return wire_decode(exact, len, ret);
}

void assert_refused(const uint8_t *buf, size_t len)
{
	struct wire_message back;

	g_assert_cmpint(decode(buf, len, &back), ==, -EBADMSG);
}
