/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a handshake is asked for (struct hs_job) and how it ended (struct
 * hs_result): the vocabulary of monitor and worker. Nothing here knows which
 * protocol the handshake speaks.
 */
#ifndef TLSHD_COMMON_HANDSHAKE_H
#define TLSHD_COMMON_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

enum hs_role {
	HS_CLIENT,
	HS_SERVER,
	HS_N_ROLES,
};

/* The consumer's wish, include/uapi/linux/handshake.h "auth". */
enum hs_auth {
	HS_AUTH_UNAUTH,		/* client: none of its own; server: asks for none */
	HS_AUTH_PSK,
	HS_AUTH_X509,
	HS_N_AUTHS,
};

#define HS_NAME_MAX 256		/* peer name, NUL included; RFC 1035 names are at most 253 */
#define HS_ADDR_MAX 72		/* "[IPv6%scope]:port", NUL included */
#define HS_TEXT_MAX 512		/* subject, names, reason, NUL included */
#define HS_SHORT_MAX 48		/* cipher, group, protocol names, NUL included */
#define HS_PEERIDS_MAX 5	/* handshake.yaml: peer-identity */
#define HS_PSK_IDENTITY_MAX 1024	/* a PSK identity, NUL included; NVMe/TCP's are at most 521 */
#define HS_PSK_MAX 64		/* bytes of a pre-shared key */

/* An identity of this host, the index of a key in the keeper. */
enum hs_identity {
	HS_IDENTITY_X509,	/* x509.certificate, x509.private_key */
	HS_IDENTITY_X509_PQ,	/* x509.pq.certificate, x509.pq.private_key */
	HS_N_IDENTITIES,	/* that are configured */
	HS_IDENTITY_JOB = HS_N_IDENTITIES,	/* what one request named, for its job only */
	HS_IDENTITY_END,
};

/* The hash of a pre-shared key: of its binder and of the cipher suite (RFC 8446 4.2.11). */
enum hs_psk_hash {
	HS_PSK_SHA256,
	HS_PSK_SHA384,
	HS_N_PSK_HASHES,
};

/*
 * Until when what is configured is good: seconds since 1970. 0: not configured,
 * or without an end.
 */
struct hs_dates {
	int64_t certificate[HS_N_ROLES][HS_N_IDENTITIES];
	int64_t crl[HS_N_ROLES];	/* of all its issuers, the first that is to be renewed */
};

struct hs_job {
	uint64_t id;		/* the monitor's; never 0 */
	enum hs_role role;
	enum hs_auth auth;
	uint32_t timeout_ms;	/* left until the request must be answered; never 0 */
	bool own_identity;	/* the request names our certificate and key: they are to be asked for */
	char peername[HS_NAME_MAX];	/* as the consumer gave it; "" = none */
};

/*
 * How a handshake ended. Expected outcomes, not errors of ours: each has a
 * name for the log and an errno for the consumer (hs_outcome_errno()).
 */
enum hs_outcome {
	HS_OK,
	/* transient: the consumer may try again */
	HS_TIMEOUT,		/* the deadline passed */
	HS_CLOSED,		/* the peer ended the connection, without an alert of an error */
	HS_WORKER_DIED,
	HS_SHUTDOWN,		/* the daemon stops */
	HS_BUSY,		/* a limit of ours, or something is short */
	/* final */
	HS_PEER_ALERT,		/* the peer refused */
	HS_PROTOCOL,		/* the peer broke the protocol, or speaks another */
	HS_NO_COMMON,		/* no version, cipher, group or signature in common */
	HS_CERT_MISSING,	/* the peer sent none where one is needed */
	HS_CERT_EXPIRED,
	HS_CERT_NOT_YET_VALID,
	HS_CERT_UNKNOWN_ISSUER,
	HS_CERT_REVOKED,
	HS_CERT_CRL_STALE,	/* the list of revoked certificates is out of date */
	HS_CERT_NAME,		/* none of its names is the one that was asked for */
	HS_CERT_PURPOSE,	/* its extended key usage is for something else */
	HS_CERT_WEAK,		/* key or signature below what is accepted */
	HS_CERT_INVALID,	/* any other fault of the chain */
	HS_NO_IDENTITY,		/* a certificate of ours is needed and none is configured */
	HS_KEY_FAILED,		/* our private key could not be used */
	HS_PSK_MISSING,		/* the client offers no pre-shared key */
	HS_PSK_UNKNOWN,		/* ... or one that is in no keyring of ours */
	HS_PSK_MISMATCH,	/* both sides know the identity, but not the same key */
	HS_KEY_MISSING,		/* a key of a keyring: is not there, or no longer */
	HS_KEY_EXPIRED,
	HS_KEY_REVOKED,
	HS_KEY_DENIED,		/* its permissions do not let us read it */
	HS_KEY_UNUSABLE,	/* of a wrong type, length or content */
	HS_UNSUPPORTED,		/* the request asks for what this daemon cannot do */
	HS_KTLS,		/* the kernel did not take the keys */
	HS_INTERNAL,		/* a fault of ours */
	HS_N_OUTCOMES,
};

struct hs_result {
	uint64_t id;
	enum hs_outcome outcome;
	bool peer_verified;	/* the peer's chain was verified: only then is remote-auth sent */
	char protocol[HS_SHORT_MAX];	/* "TLS 1.3"; "" when not known, as all below */
	char cipher[HS_SHORT_MAX];	/* "AES-128-GCM" */
	char group[HS_SHORT_MAX];	/* "X25519" */
	char subject[HS_TEXT_MAX];	/* of the peer's certificate, RFC 4514, quoted */
	char matched[HS_NAME_MAX];	/* the name in it that matched: "DNS:host" or "IP:addr" */
	char reason[HS_TEXT_MAX];	/* why it failed, for a person; quoted */
};

/* May a handshake of this kind need a signature of ours? */
bool hs_may_sign(enum hs_role role, enum hs_auth auth);

/* Stable lower-case words for logs: "client", "x509", "cert-expired". Never NULL. */
const char *hs_role_name(enum hs_role role);
const char *hs_auth_name(enum hs_auth auth);
const char *hs_outcome_name(enum hs_outcome outcome);

/*
 * The positive errno for the kernel's consumer, 0 for HS_OK. SunRPC retries
 * ETIMEDOUT and fails the mount, and running I/O, for everything else: so
 * whatever may pass by itself is ETIMEDOUT and whatever will not is EACCES.
 * EIO and EOPNOTSUPP, for faults of this host, are the same to SunRPC and say
 * more to other consumers.
 */
unsigned int hs_outcome_errno(enum hs_outcome outcome);

/*
 * Does this negative errno of ours say that the machine is short of something? It may be there
 * when the consumer tries again: HS_BUSY, and not a fault.
 */
bool hs_is_shortage(int error);

#endif
