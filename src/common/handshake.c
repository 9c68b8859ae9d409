// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/handshake.h"

#include <errno.h>

#include "common/cleanup.h"

static const char *const roles[] = {
	[HS_CLIENT] = "client",
	[HS_SERVER] = "server",
};
_Static_assert(ARRAY_SIZE(roles) == HS_N_ROLES, "a role without a name");

static const char *const auths[] = {
	[HS_AUTH_UNAUTH] = "unauth",
	[HS_AUTH_PSK] = "psk",
	[HS_AUTH_X509] = "x509",
};
_Static_assert(ARRAY_SIZE(auths) == HS_N_AUTHS, "an auth mode without a name");

static const struct {
	const char *name;
	unsigned int error;
} outcomes[] = {
	[HS_OK] = { "ok", 0 },
	[HS_TIMEOUT] = { "timeout", ETIMEDOUT },
	[HS_CLOSED] = { "closed", ETIMEDOUT },
	[HS_WORKER_DIED] = { "worker-died", ETIMEDOUT },
	[HS_SHUTDOWN] = { "shutdown", ETIMEDOUT },
	[HS_BUSY] = { "busy", ETIMEDOUT },
	[HS_PEER_ALERT] = { "peer-alert", EACCES },
	[HS_PROTOCOL] = { "protocol", EACCES },
	[HS_NO_COMMON] = { "no-common", EACCES },
	[HS_CERT_MISSING] = { "cert-missing", EACCES },
	[HS_CERT_EXPIRED] = { "cert-expired", EACCES },
	[HS_CERT_NOT_YET_VALID] = { "cert-not-yet-valid", EACCES },
	[HS_CERT_UNKNOWN_ISSUER] = { "cert-unknown-issuer", EACCES },
	[HS_CERT_REVOKED] = { "cert-revoked", EACCES },
	[HS_CERT_CRL_STALE] = { "cert-crl-stale", EACCES },
	[HS_CERT_NAME] = { "cert-name", EACCES },
	[HS_CERT_PURPOSE] = { "cert-purpose", EACCES },
	[HS_CERT_WEAK] = { "cert-weak", EACCES },
	[HS_CERT_INVALID] = { "cert-invalid", EACCES },
	[HS_NO_IDENTITY] = { "no-identity", EACCES },
	[HS_KEY_FAILED] = { "key-failed", EACCES },
	[HS_PSK_MISSING] = { "psk-missing", EACCES },
	[HS_PSK_UNKNOWN] = { "psk-unknown", EACCES },
	[HS_PSK_MISMATCH] = { "psk-mismatch", EACCES },
	[HS_KEY_MISSING] = { "key-missing", ENOKEY },
	[HS_KEY_EXPIRED] = { "key-expired", EKEYEXPIRED },
	[HS_KEY_REVOKED] = { "key-revoked", EKEYREVOKED },
	[HS_KEY_DENIED] = { "key-denied", EACCES },
	[HS_KEY_UNUSABLE] = { "key-unusable", EKEYREJECTED },
	[HS_UNSUPPORTED] = { "unsupported", EOPNOTSUPP },
	[HS_KTLS] = { "ktls", EIO },
	[HS_INTERNAL] = { "internal", EIO },
};
_Static_assert(ARRAY_SIZE(outcomes) == HS_N_OUTCOMES, "an outcome without name and errno");

bool hs_may_sign(enum hs_role role, enum hs_auth auth)
{
	/* A key names both sides; else a server has a certificate, whatever it asks of the client. */
	return auth != HS_AUTH_PSK && (role == HS_SERVER || auth == HS_AUTH_X509);
}

/* Values may come from another process: outside its table each is "unknown", and an error. */
const char *hs_role_name(enum hs_role role)
{
	return (unsigned int)role < HS_N_ROLES ? roles[role] : "unknown";
}

const char *hs_auth_name(enum hs_auth auth)
{
	return (unsigned int)auth < HS_N_AUTHS ? auths[auth] : "unknown";
}

const char *hs_outcome_name(enum hs_outcome outcome)
{
	return (unsigned int)outcome < HS_N_OUTCOMES ? outcomes[outcome].name : "unknown";
}

unsigned int hs_outcome_errno(enum hs_outcome outcome)
{
	return (unsigned int)outcome < HS_N_OUTCOMES ? outcomes[outcome].error : EIO;
}

bool hs_is_shortage(int error)
{
	/* EAGAIN: of memory that may be locked, by secret_new() and mmap(2). */
	return error == -ENOMEM || error == -EAGAIN || error == -EMFILE || error == -ENFILE ||
	       error == -ENOSPC || error == -ENOBUFS;
}
