// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One line tells all: a person reading it at night knows who, what, and what
 * to do. The same facts stand in journal fields of their own, so that
 * `journalctl TLSHD_PEER=...` and monitoring need not take the line apart.
 */
#include "tlshd/monitor/report.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "common/address.h"
#include "common/cleanup.h"
#include "common/text.h"

static int severity(enum hs_outcome outcome)
{
	switch (outcome) {
	case HS_OK:
		return LOG_INFO;
	case HS_WORKER_DIED:
	case HS_NO_IDENTITY:
	case HS_KEY_FAILED:
	case HS_KTLS:
	case HS_INTERNAL:
		return LOG_ERR;
	default:
		return LOG_WARNING;
	}
}

/* The pre-shared key that was used, if one was. */
static void describe_key(const struct report *r, char *buf, size_t size)
{
	char identity[HS_PSK_IDENTITY_MAX];

	if (r->key && r->psk_identity)
		snprintf(buf, size, ", identity \"%s\", key 0x%08x",
			 text_quote(identity, sizeof(identity), r->psk_identity,
				    strlen(r->psk_identity)), (unsigned int)r->key);
}

/* What succeeded: "x509, TLS 1.3, AES-128-GCM, X25519, peer "CN=..." matched DNS:... ". */
static void describe_success(const struct report *r, char *buf, size_t size)
{
	const struct hs_result *res = r->result;
	const char *side = r->role == HS_CLIENT ? "server" : "client";
	int n = snprintf(buf, size, "%s, %s, %s", res->protocol, res->cipher, res->group);

	if (n < 0 || (size_t)n >= size)
		return;
	if (res->subject[0])
		snprintf(buf + n, size - n, ", %s certificate \"%s\"%s%s", side, res->subject,
			 res->matched[0] ? " matched " : "", res->matched);
	else if (r->auth != HS_AUTH_PSK)
		snprintf(buf + n, size - n, ", no %s certificate", side);
	else
		describe_key(r, buf + n, size - n);
}

/* Why not; for an administrator of two hosts also with which key, where there was one. */
static void describe_failure(const struct report *r, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%s (%s)", r->result->reason,
			 hs_outcome_name(r->result->outcome));

	if (n >= 0 && (size_t)n < size)
		describe_key(r, buf + n, size - n);
}

void report_handshake(const struct log *log, const struct report *r)
{
	const struct hs_result *res = r->result;
	bool ok = res->outcome == HS_OK;
	char name[4 * HS_NAME_MAX], status[16], duration[24], key[16], what[LOG_TEXT_MAX];
	const struct log_field fields[] = {
		{ "TLSHD_ROLE", hs_role_name(r->role) },
		{ "TLSHD_AUTH", hs_auth_name(r->auth) },
		{ "TLSHD_PEER", r->peer },
		{ "TLSHD_PEERNAME", r->peername[0] ? r->peername : NULL },
		{ "TLSHD_OUTCOME", hs_outcome_name(res->outcome) },
		{ "TLSHD_STATUS", status },
		{ "TLSHD_DURATION_USEC", duration },
		{ "TLSHD_PROTOCOL", res->protocol[0] ? res->protocol : NULL },
		{ "TLSHD_CIPHER", res->cipher[0] ? res->cipher : NULL },
		{ "TLSHD_GROUP", res->group[0] ? res->group : NULL },
		{ "TLSHD_SUBJECT", res->subject[0] ? res->subject : NULL },
		{ "TLSHD_MATCHED", res->matched[0] ? res->matched : NULL },
		{ "TLSHD_PSK_IDENTITY", r->psk_identity && r->psk_identity[0] ? r->psk_identity : NULL },
		{ "TLSHD_KEY", r->key ? key : NULL },
		{ "TLSHD_REASON", res->reason[0] ? res->reason : NULL },
	};

	snprintf(status, sizeof(status), "%u", r->status);
	snprintf(key, sizeof(key), "0x%08x", (unsigned int)r->key);
	snprintf(duration, sizeof(duration), "%" PRIu64, r->duration_us);
	text_quote(name, sizeof(name), r->peername, strlen(r->peername));
	if (ok)
		describe_success(r, what, sizeof(what));
	else
		describe_failure(r, what, sizeof(what));
	log_fields(log, severity(res->outcome), fields, ARRAY_SIZE(fields),
		   "%s handshake with %s%s%s%s, %s, %s: %s; %" PRIu64 ".%" PRIu64 " ms",
		   hs_role_name(r->role), r->peer, name[0] ? " (" : "", name, name[0] ? ")" : "",
		   hs_auth_name(r->auth), ok ? "ok" : "failed", what,
		   r->duration_us / 1000, r->duration_us / 100 % 10);
}

const char *report_peer(int fd, char *buf, size_t size)
{
	union address a;
	char ip[INET6_ADDRSTRLEN], scope[IF_NAMESIZE + 1] = "";

	if (address_of_peer(fd, &a) < 0) {
		text_copy(buf, size, "unknown peer");
	} else if (a.any.sa_family == AF_INET) {
		inet_ntop(AF_INET, &a.in.sin_addr, ip, sizeof(ip));
		snprintf(buf, size, "%s:%u", ip, ntohs(a.in.sin_port));
	} else if (a.any.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &a.in6.sin6_addr, ip, sizeof(ip));
		if (a.in6.sin6_scope_id && if_indextoname(a.in6.sin6_scope_id, scope + 1))
			scope[0] = '%';
		snprintf(buf, size, "[%s%s]:%u", ip, scope, ntohs(a.in6.sin6_port));
	} else {
		text_copy(buf, size, "a peer of unknown address family");
	}
	return buf;
}
