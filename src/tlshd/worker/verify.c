// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Verifies the peer's certificates and finds the one reason a person needs.
 *
 * The decision is the library's (path validation with profile MEDIUM, so SHA-1,
 * RSA below 2048 bits and the like are refused) plus checks of our own:
 * revocation (crl.c), extended key usage, name. A refusal is then explained
 * by looking at each link of the path again; where the explanation finds
 * nothing the refusal stands, with the library's own words.
 *
 * OCSP responses are neither asked for nor looked at.
 */
#include "tlshd/worker/engine-private.h"

#include <gnutls/x509-ext.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

#define PURPOSES_MAX 64		/* extended key usages looked at */
#define DN_TEXT 160
#define WHO_TEXT 224

/* What every check needs to know. */
struct check {
	struct path path;
	struct trust *trust;
	const char *peer;	/* "server" */
	time_t now;
	struct verdict *v;
};

void verdict_set(struct verdict *v, enum hs_outcome outcome, gnutls_alert_description_t alert,
		 const char *fmt, ...)
{
	va_list ap;

	if (v->outcome != HS_OK)
		return;
	v->outcome = outcome;
	v->alert = alert;
	va_start(ap, fmt);
	vsnprintf(v->reason, sizeof(v->reason), fmt, ap);
	va_end(ap);
}

void verdict_out_of_memory(struct verdict *v)
{
	verdict_set(v, HS_BUSY, GNUTLS_A_INTERNAL_ERROR, "out of memory");
}

static const char *peer_word(enum hs_role peer)
{
	return peer == HS_SERVER ? "server" : "client";
}

/* "the server's certificate", 'the certificate "CN=..." of its chain'. @i == n: the anchor. */
static const char *who(const struct check *c, unsigned int i, char dst[WHO_TEXT])
{
	char dn[DN_TEXT];

	if (i == 0)
		snprintf(dst, WHO_TEXT, "the %s's certificate", c->peer);
	else if (i < c->path.n)
		snprintf(dst, WHO_TEXT, "the certificate \"%s\" in the %s's chain",
			 cert_subject(c->path.cert[i], dn, sizeof(dn)), c->peer);
	else
		snprintf(dst, WHO_TEXT, "the trusted issuer \"%s\" of the %s's certificate",
			 cert_subject(c->path.anchor, dn, sizeof(dn)), c->peer);
	return dst;
}

static void explain_no_anchor(const struct check *c)
{
	unsigned int last = c->path.n - 1;
	char dn[DN_TEXT], name[WHO_TEXT];

	if (gnutls_x509_crt_check_issuer(c->path.cert[last], c->path.cert[last]))
		verdict_set(c->v, HS_CERT_UNKNOWN_ISSUER, GNUTLS_A_UNKNOWN_CA,
			    "%s is signed by itself and is not in %s", who(c, last, name),
			    trust_name(c->trust));
	else
		verdict_set(c->v, HS_CERT_UNKNOWN_ISSUER, GNUTLS_A_UNKNOWN_CA,
			    "the issuer \"%s\" of %s is not in %s",
			    cert_issuer(c->path.cert[last], dn, sizeof(dn)), who(c, last, name),
			    trust_name(c->trust));
}

static bool key_is_weak(gnutls_x509_crt_t cert, char *dst, size_t size)
{
	unsigned int bits = 0;
	int pk = gnutls_x509_crt_get_pk_algorithm(cert, &bits);

	if (pk < 0 || gnutls_pk_bits_to_sec_param((gnutls_pk_algorithm_t)pk, bits) >=
		      GNUTLS_SEC_PARAM_MEDIUM)
		return false;
	snprintf(dst, size, "%s with %u bits", gnutls_pk_get_name((gnutls_pk_algorithm_t)pk), bits);
	return true;
}

static void explain_weak(const struct check *c, unsigned int i)
{
	gnutls_x509_crt_t issuer = path_issuer(&c->path, i);
	char name[WHO_TEXT], key[64];
	int sign;

	if (key_is_weak(c->path.cert[i], key, sizeof(key))) {
		verdict_set(c->v, HS_CERT_WEAK, GNUTLS_A_INSUFFICIENT_SECURITY,
			    "%s has too weak a key: %s", who(c, i, name), key);
		return;
	}
	if (issuer && key_is_weak(issuer, key, sizeof(key))) {
		verdict_set(c->v, HS_CERT_WEAK, GNUTLS_A_INSUFFICIENT_SECURITY,
			    "%s has too weak a key: %s", who(c, i + 1, name), key);
		return;
	}
	sign = gnutls_x509_crt_get_signature_algorithm(c->path.cert[i]);
	/* The library has no other word for parameters it does not like, as those of RSA-PSS. */
	if (sign >= 0 && gnutls_sign_is_secure2((gnutls_sign_algorithm_t)sign,
						GNUTLS_SIGN_FLAG_SECURE_FOR_CERTS)) {
		verdict_set(c->v, HS_CERT_INVALID, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
			    "%s or its issuer has a key whose parameters are not accepted",
			    who(c, i, name));
		return;
	}
	verdict_set(c->v, HS_CERT_WEAK, GNUTLS_A_INSUFFICIENT_SECURITY,
		    "%s is signed with an algorithm that is no longer accepted: %s", who(c, i, name),
		    sign >= 0 ? gnutls_sign_get_name((gnutls_sign_algorithm_t)sign) : "unknown");
}

/* One certificate against its issuer, dates left aside; @whole is the status of the path. */
static void explain_link(const struct check *c, unsigned int i, unsigned int whole)
{
	gnutls_x509_crt_t issuer = path_issuer(&c->path, i);
	char name[WHO_TEXT], dn[DN_TEXT];
	unsigned int status = whole;

	if (!issuer)
		return;
	/* The path is this link alone: a stranger should not have it checked twice. */
	if (c->path.n > 1 &&
	    gnutls_x509_crt_verify(c->path.cert[i], &issuer, 1, VERIFY_FLAGS |
				   GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status) < 0)
		return;
	cert_issuer(c->path.cert[i], dn, sizeof(dn));
	who(c, i, name);
	/* An algorithm that is not allowed fails its signature check, too. */
	if (status & GNUTLS_CERT_INSECURE_ALGORITHM)
		explain_weak(c, i);
	else if (status & GNUTLS_CERT_SIGNER_NOT_CA)
		verdict_set(c->v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "the issuer \"%s\" of %s is not a certificate authority", dn, name);
	else if (status & (GNUTLS_CERT_SIGNATURE_FAILURE | GNUTLS_CERT_SIGNER_NOT_FOUND))
		verdict_set(c->v, i + 1 == c->path.n ? HS_CERT_UNKNOWN_ISSUER : HS_CERT_INVALID,
			    i + 1 == c->path.n ? GNUTLS_A_UNKNOWN_CA : GNUTLS_A_BAD_CERTIFICATE,
			    "%s is not signed by the certificate of its issuer \"%s\" that is in %s",
			    name, dn, i + 1 == c->path.n ? trust_name(c->trust) : "its chain");
	else if (status & GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE)
		verdict_set(c->v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "the issuer \"%s\" of %s was not allowed to issue it", dn, name);
	else if (status & GNUTLS_CERT_UNKNOWN_CRIT_EXTENSIONS)
		verdict_set(c->v, HS_CERT_INVALID, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
			    "%s or its issuer has a critical extension that is not understood", name);
	else if (status == GNUTLS_CERT_INVALID)
		verdict_set(c->v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "%s or its issuer has an extension that cannot be read", name);
}

static void check_time(const struct check *c, unsigned int i, gnutls_x509_crt_t cert)
{
	time_t from = gnutls_x509_crt_get_activation_time(cert);
	time_t until = gnutls_x509_crt_get_expiration_time(cert);
	char name[WHO_TEXT], when[48];

	if (from > c->now)
		verdict_set(c->v, HS_CERT_NOT_YET_VALID, GNUTLS_A_CERTIFICATE_EXPIRED,
			    "%s is not valid before %s: is the clock right?", who(c, i, name),
			    time_text(from, when, sizeof(when)));
	else if (until < c->now)
		verdict_set(c->v, HS_CERT_EXPIRED, GNUTLS_A_CERTIFICATE_EXPIRED, "%s expired on %s",
			    who(c, i, name), time_text(until, when, sizeof(when)));
}

/* The library had no verdict. */
static void explain_code(const struct check *c, int code)
{
	if (code == GNUTLS_E_MEMORY_ERROR)
		verdict_out_of_memory(c->v);
	else
		verdict_set(c->v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "the %s's certificate cannot be verified: %s", c->peer,
			    gnutls_strerror(code));
}

static void explain(const struct check *c, unsigned int status)
{
	gnutls_datum_t text = { NULL, 0 };
	unsigned int i;

	if (!c->path.anchor && (status & GNUTLS_CERT_SIGNER_NOT_FOUND))
		explain_no_anchor(c);
	/* From the anchor down, so that no key is used that nobody has certified. */
	for (i = c->path.n; i > 0 && c->v->outcome == HS_OK; i--)
		explain_link(c, i - 1, status);
	for (i = 0; i < c->path.n; i++)
		check_time(c, i, c->path.cert[i]);
	if (c->path.anchor)
		check_time(c, c->path.n, c->path.anchor);
	if (status & GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE)
		verdict_set(c->v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "an issuer of the %s's certificate was not allowed to issue it: name or "
			    "path length constraint", c->peer);
	if (c->v->outcome != HS_OK)
		return;
	gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
	verdict_set(c->v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
		    "the %s's certificate is not valid: %s", c->peer,
		    text.data ? (const char *)text.data : "no reason given");
	gnutls_free(text.data);
}

/*
 * The library goes from the anchor down and stops at the first link that does
 * not hold. So a stranger without a certificate of ours costs one signature
 * check by a key of the store, and none when the chain ends elsewhere: without
 * an issuer in the store it looks whether the last of the path is there itself,
 * and if so goes down from that. A peer's own certificate needs no issuer
 * there then, unless the peer sends the issuer: then that is the last.
 */
static void check_path(struct check *c)
{
	unsigned int status;
	int r = path_verify(&c->path, c->trust, &status);

	if (r < 0)
		explain_code(c, r);
	else if (status != 0)
		explain(c, status);
}

static void check_revocation(struct check *c)
{
	char name[WHO_TEXT];
	unsigned int i;

	for (i = 0; i < c->path.n; i++)
		trust_check_revocation(c->trust, c->path.cert[i], path_issuer(&c->path, i), c->now,
				       who(c, i, name), c->v);
	/* An intermediate authority in the store is an anchor, and still on its issuer's list. */
	if (c->path.anchor)
		trust_check_revocation(c->trust, c->path.anchor, path_issuer(&c->path, c->path.n),
				       c->now, who(c, c->path.n, name), c->v);
}

/* Absent means any (RFC 5280 4.2.1.12); RFC 9289 5.2.1 has purposes of its own. */
static bool purpose_ok(gnutls_x509_crt_t cert, enum hs_role peer)
{
	static const char *const accepted[HS_N_ROLES][2] = {
		[HS_CLIENT] = { GNUTLS_KP_TLS_WWW_CLIENT, "1.3.6.1.5.5.7.3.33" },
		[HS_SERVER] = { GNUTLS_KP_TLS_WWW_SERVER, "1.3.6.1.5.5.7.3.34" },
	};
	char oid[128];
	size_t size;
	unsigned int i;
	int r;

	for (i = 0; i < PURPOSES_MAX; i++) {
		size = sizeof(oid);
		r = gnutls_x509_crt_get_key_purpose_oid(cert, i, oid, &size, NULL);
		if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return i == 0;
		if (r == GNUTLS_E_SHORT_MEMORY_BUFFER)
			continue;
		if (r < 0)
			return false;
		if (strcmp(oid, GNUTLS_KP_ANY) == 0 || strcmp(oid, accepted[peer][0]) == 0 ||
		    strcmp(oid, accepted[peer][1]) == 0)
			return true;
	}
	return false;
}

/* An intermediate authority with purposes may issue for these only, as everybody handles it. */
static void check_purpose(struct check *c, enum hs_role peer)
{
	char name[WHO_TEXT];
	unsigned int i;

	for (i = 0; i < c->path.n; i++)
		if (!purpose_ok(c->path.cert[i], peer))
			verdict_set(c->v, HS_CERT_PURPOSE, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
				    "%s is not for a TLS %s: its extended key usage says other things",
				    who(c, i, name), c->peer);
}

static int read_names(gnutls_x509_crt_t cert, gnutls_subject_alt_names_t names)
{
	gnutls_datum_t ext = { NULL, 0 };
	unsigned int critical;
	int r;

	r = gnutls_x509_crt_get_extension_by_oid2(cert, GNUTLS_X509EXT_OID_SAN, 0, &ext, &critical);
	if (r < 0)
		return r;
	r = gnutls_x509_ext_import_subject_alt_names(&ext, names, 0);
	gnutls_free(ext.data);
	return r;
}

/* "DNS:host" or "IP:addr"; "" for a name of another kind. */
static char *san_text(unsigned int type, const gnutls_datum_t *san, char *dst, size_t size)
{
	struct peername address;
	char quoted[HS_NAME_MAX];

	dst[0] = '\0';
	if (type == GNUTLS_SAN_DNSNAME)
		snprintf(dst, size, "DNS:%s", text_quote(quoted, sizeof(quoted), san->data,
							 san->size));
	else if (type == GNUTLS_SAN_IPADDRESS &&
		 peername_from_bytes(san->data, san->size, &address) == 0)
		snprintf(dst, size, "IP:%s", address.name);
	return dst;
}

static bool san_matches(unsigned int type, const gnutls_datum_t *san, const struct peername *want)
{
	if (type == GNUTLS_SAN_DNSNAME)
		return peername_match_dns(want, (const char *)san->data, san->size);
	if (type == GNUTLS_SAN_IPADDRESS)
		return peername_match_ip(want, san->data, san->size);
	return false;
}

/* Looks through all names; @list gets as many as there is room for. */
static bool find_name(gnutls_subject_alt_names_t names, const struct peername *want,
		      char matched[HS_NAME_MAX], char *list, size_t list_size)
{
	char text[HS_NAME_MAX + 8];
	size_t used = 0, need;
	gnutls_datum_t san;
	unsigned int i, type;
	bool full = false;

	list[0] = '\0';
	for (i = 0; gnutls_subject_alt_names_get(names, i, &type, &san, NULL) == 0; i++) {
		san_text(type, &san, text, sizeof(text));
		if (san_matches(type, &san, want)) {
			text_copy(matched, HS_NAME_MAX, text);
			return true;
		}
		if (text[0] == '\0' || full)
			continue;
		need = strlen(text) + (used ? 2 : 0);
		full = used + need + sizeof(", ...") > list_size;
		used += (size_t)snprintf(list + used, list_size - used, "%s%s", used ? ", " : "",
					 full ? "..." : text);
	}
	return false;
}

static void check_name(struct check *c, const struct peername *want, char matched[HS_NAME_MAX])
{
	gnutls_subject_alt_names_t names;
	char list[200] = "";
	int r;

	if (gnutls_subject_alt_names_init(&names) < 0) {
		verdict_out_of_memory(c->v);
		return;
	}
	r = read_names(c->path.cert[0], names);
	if (r == GNUTLS_E_MEMORY_ERROR) {
		verdict_out_of_memory(c->v);
	} else if (r < 0 || !find_name(names, want, matched, list, sizeof(list))) {
		if (list[0])
			verdict_set(c->v, HS_CERT_NAME, GNUTLS_A_BAD_CERTIFICATE,
				    "the %s's certificate is for %s, not for %s", c->peer, list,
				    want->name);
		else
			verdict_set(c->v, HS_CERT_NAME, GNUTLS_A_BAD_CERTIFICATE,
				    "the %s's certificate has no DNS name or IP address "
				    "(subjectAltName), so it is not for %s", c->peer, want->name);
	}
	gnutls_subject_alt_names_deinit(names);
}

void chain_verify(const struct chain *chain, enum hs_role peer, struct trust *trust,
		  const struct peername *want, char matched[HS_NAME_MAX], struct verdict *v)
{
	struct check c = { .trust = trust, .peer = peer_word(peer), .now = time(NULL), .v = v };

	path_build(&c.path, chain, trust, c.now, v);
	if (v->outcome == HS_OK)
		check_path(&c);
	if (v->outcome == HS_OK)
		check_revocation(&c);
	if (v->outcome == HS_OK)
		check_purpose(&c, peer);
	if (v->outcome == HS_OK && want)
		check_name(&c, want, matched);
}
