// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Trust stores and lists of revoked certificates (CRLs).
 *
 * The library's own CRL check is not used, for three reasons. It never looks
 * at nextUpdate, so that a list which an attacker keeps from being renewed is
 * good for ever; with GNUTLS_TL_VERIFY_CRL it drops a list it does not like and
 * goes on without one; and it searches linearly (1.2 ms for each handshake with
 * 10,000 entries). Here a list is a sorted table of serials. It counts for
 * the certificates of the issuer it names. Its signature is checked against the
 * trust store when it is loaded; a list by an intermediate authority, which we know
 * only from a peer's chain, when it is first needed. A list that is out of
 * date or not signed by its issuer refuses that issuer's certificates.
 *
 * An issuer for which the file holds no list is not checked: so do the
 * files that exist for the agent we replace.
 */
#include "tlshd/worker/engine-private.h"

#include <errno.h>
#include <glib.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

#define SERIAL_MAX 128
#define KEY_ID_LEN 32
#define VERIFY_FLAGS GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM)

struct crl {
	gnutls_x509_crl_t crl;	/* NULL: not needed any more */
	struct serials *serials;
	gnutls_datum_t issuer;	/* DER */
	time_t this_update, next_update;	/* next_update -1: none given */
	bool anchored;		/* signed by a certificate of the trust store */
	uint8_t signer[KEY_ID_LEN];	/* else: the key that was found to have signed it */
	bool has_signer;
};

struct trust {
	gnutls_x509_trust_list_t list;
	bool owns_list;
	struct namesakes *namesakes;
	char *name;
	char *crl_label;
	struct crl *crls;
	unsigned int n_crls;
};

static int load_store(struct trust *t, const struct engine_file *file, const struct log *log,
		      char *reason, size_t reason_size)
{
	gnutls_x509_crt_t *certs;
	unsigned int n;
	int r;

	r = certs_import(file, &certs, &n, reason, reason_size);
	if (r < 0)
		return r;
	if (gnutls_x509_trust_list_init(&t->list, 0) < 0) {
		certs_free(certs, n);
		return -ENOMEM;
	}
	t->owns_list = true;
	/* The list takes the certificates over, duplicates too. */
	r = gnutls_x509_trust_list_add_cas(t->list, certs, n, GNUTLS_TL_NO_DUPLICATES);
	gnutls_free(certs);
	if (r <= 0) {
		snprintf(reason, reason_size, "%s: no certificate in it can be trusted: %s",
			 file->label, r < 0 ? gnutls_strerror(r) : "none accepted");
		return -EBADMSG;
	}
	t->name = g_strdup_printf("the trust store %s", file->label);
	log_debug(log, "%s: %d trusted certificates", file->label, r);
	return 0;
}

/*
 * Where the system's store is a PKCS #11 token (Fedora), the library asks that again for
 * each chain: it opens files, which a worker may not do by then. So what it trusts is copied
 * now. Returns how many, or a negative code of the library.
 */
static int copy_authorities(gnutls_x509_trust_list_t to, gnutls_x509_trust_list_t from)
{
	gnutls_x509_trust_list_iter_t iter = NULL;
	gnutls_x509_crt_t ca;
	int n = 0, r;

	while (gnutls_x509_trust_list_iter_get_ca(from, &iter, &ca) == 0) {
		/* The list takes it over, a duplicate too. */
		r = gnutls_x509_trust_list_add_cas(to, &ca, 1, GNUTLS_TL_NO_DUPLICATES);
		if (r < 0) {
			n = r;
			break;
		}
		n += r;
	}
	gnutls_x509_trust_list_iter_deinit(iter);
	return n;
}

static int read_system(gnutls_x509_trust_list_t list)
{
	gnutls_x509_trust_list_t theirs;
	int r = gnutls_x509_trust_list_init(&theirs, 0);

	if (r < 0)
		return r;
	r = gnutls_x509_trust_list_add_system_trust(theirs, 0, 0);
	if (r > 0)
		r = copy_authorities(list, theirs);
	gnutls_x509_trust_list_deinit(theirs, 1);
	return r;
}

/*
 * An empty system store is no error: a host that only serves NFS needs none.
 * It trusts nobody, and every refusal names it.
 */
static int load_system(struct trust *t, gnutls_x509_trust_list_t *system, const struct log *log)
{
	int n;

	t->name = g_strdup("the system's trust store");
	if (!*system) {
		if (gnutls_x509_trust_list_init(system, 0) < 0)
			return -ENOMEM;
		n = read_system(*system);
		if (n == GNUTLS_E_MEMORY_ERROR)
			return -ENOMEM;
		if (n > 0)
			log_debug(log, "the system's trust store: %d trusted certificates", n);
		else
			log_warn(log, "the system's trust store is empty or missing%s%s: no peer will "
				 "be trusted unless x509.truststore is set", n < 0 ? ": " : "",
				 n < 0 ? gnutls_strerror(n) : "");
	}
	t->list = *system;
	return 0;
}

static int index_serials(struct crl *crl)
{
	gnutls_x509_crl_iter_t iter = NULL;
	uint8_t serial[SERIAL_MAX];
	time_t when;
	size_t len;
	int r;

	crl->serials = serials_new();
	for (;;) {
		len = sizeof(serial);
		r = gnutls_x509_crl_iter_crt_serial(crl->crl, &iter, serial, &len, &when);
		if (r < 0)
			break;
		serials_add(crl->serials, serial, len);
	}
	gnutls_x509_crl_iter_deinit(iter);
	serials_sort(crl->serials);
	return r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE ? 0 : -EBADMSG;
}

/* Is it signed by @issuer, whatever its dates? */
static bool crl_signed_by(const struct crl *crl, gnutls_x509_crt_t issuer)
{
	const unsigned int dates = GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED |
				   GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE;
	unsigned int status = 0;

	if (gnutls_x509_crl_verify(crl->crl, &issuer, 1, VERIFY_FLAGS, &status) < 0)
		return false;
	/* With a date out of range INVALID is set, too. */
	if (status & dates)
		status &= ~(unsigned int)GNUTLS_CERT_INVALID;
	return (status & ~dates) == 0;
}

static bool same_name(const gnutls_datum_t *a, const gnutls_datum_t *b)
{
	return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* Looks for the list's signer in the store. Returns how many certificates have the issuer's name. */
static unsigned int anchor_crl(struct trust *t, struct crl *crl)
{
	gnutls_x509_trust_list_iter_t iter = NULL;
	gnutls_x509_crt_t ca;
	unsigned int namesakes = 0;
	gnutls_datum_t dn;

	while (gnutls_x509_trust_list_iter_get_ca(t->list, &iter, &ca) == 0) {
		if (gnutls_x509_crt_get_raw_dn(ca, &dn) == 0) {
			if (same_name(&dn, &crl->issuer)) {
				namesakes++;
				crl->anchored |= crl_signed_by(crl, ca);
			}
			gnutls_free(dn.data);
		}
		gnutls_x509_crt_deinit(ca);
	}
	gnutls_x509_trust_list_iter_deinit(iter);
	return namesakes;
}

/*
 * RFC 5280 5.2: a list with a critical extension (part of the certificates only, indirect, a
 * difference to another list) must not be taken for a whole one.
 */
static bool has_critical_extension(gnutls_x509_crl_t crl)
{
	unsigned int i, critical;
	char oid[128];
	size_t size;
	int r;

	for (i = 0; ; i++) {
		size = sizeof(oid);
		critical = 0;
		r = gnutls_x509_crl_get_extension_info(crl, i, oid, &size, &critical);
		if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return false;
		if (r < 0 || critical)
			return true;
	}
}

static int load_crl(struct trust *t, struct crl *crl, const char *label, const struct log *log,
		    char *reason, size_t reason_size)
{
	gnutls_datum_t dn = { NULL, 0 };
	unsigned int namesakes;
	char issuer[160];

	if (gnutls_x509_crl_get_raw_issuer_dn(crl->crl, &crl->issuer) < 0 ||
	    index_serials(crl) < 0) {
		snprintf(reason, reason_size, "%s: a list in it cannot be read", label);
		return -EBADMSG;
	}
	crl->this_update = gnutls_x509_crl_get_this_update(crl->crl);
	crl->next_update = gnutls_x509_crl_get_next_update(crl->crl);
	cert_name_text(gnutls_x509_crl_get_issuer_dn3(crl->crl, &dn, 0), &dn, issuer,
		       sizeof(issuer));

	if (has_critical_extension(crl->crl)) {
		snprintf(reason, reason_size, "%s: the list of \"%s\" is partial, indirect or a delta "
			 "(critical extension): only whole lists can be used", label, issuer);
		return -ENOTSUP;
	}
	namesakes = anchor_crl(t, crl);
	if (namesakes > 0 && !crl->anchored) {
		snprintf(reason, reason_size, "%s: the list of \"%s\" is not signed by that issuer's "
			 "certificate in %s", label, issuer, t->name);
		return -EKEYREJECTED;
	}
	log_debug(log, "%s: %u certificates of \"%s\" revoked", label,
		  serials_count(crl->serials), issuer);
	/* Names are compared byte by byte: a list whose issuer is written otherwise counts for nobody. */
	if (!crl->anchored)
		log_warn(log, "%s: the issuer of the list, \"%s\", is not in %s: the list counts only "
			 "for an intermediate authority of exactly this name", label, issuer, t->name);
	return 0;
}

static bool is_stale(const struct crl *crl, time_t now)
{
	return crl->next_update != (time_t)-1 && crl->next_update < now;
}

/* The list of the same issuer that is good for longest: an old one beside it does no harm. */
static const struct crl *best_crl(const struct trust *t, const struct crl *crl)
{
	const struct crl *best = crl;
	unsigned int i;

	for (i = 0; i < t->n_crls && best->next_update != (time_t)-1; i++) {
		const struct crl *other = &t->crls[i];

		if (same_name(&other->issuer, &crl->issuer) &&
		    (other->next_update == (time_t)-1 || other->next_update > best->next_update))
			best = other;
	}
	return best;
}

int64_t trust_until(const struct trust *t)
{
	int64_t until = 0;
	unsigned int i;

	for (i = 0; i < t->n_crls; i++) {
		time_t next = best_crl(t, &t->crls[i])->next_update;

		if (next != (time_t)-1 && (!until || next < until))
			until = next;
	}
	return until;
}

/* Is there a list of the same issuer that certificates can be checked with now? */
static bool has_current(const struct trust *t, const struct crl *crl, time_t now)
{
	unsigned int i;

	for (i = 0; i < t->n_crls; i++) {
		const struct crl *other = &t->crls[i];

		if (same_name(&other->issuer, &crl->issuer) && !is_stale(other, now) &&
		    other->this_update <= now)
			return true;
	}
	return false;
}

/* Returns 0, or -EKEYEXPIRED: those that serve now are better. */
static int check_crl_dates(const struct trust *t, int64_t in_use, const struct log *log,
			   char *reason, size_t reason_size)
{
	char issuer[160], until[48];
	time_t now = time(NULL);
	unsigned int i;

	for (i = 0; i < t->n_crls; i++) {
		const struct crl *crl = &t->crls[i];
		gnutls_datum_t dn = { NULL, 0 };

		if (!is_stale(crl, now) || has_current(t, crl, now))
			continue;
		cert_name_text(gnutls_x509_crl_get_issuer_dn3(crl->crl, &dn, 0), &dn, issuer,
			  sizeof(issuer));
		time_text(crl->next_update, until, sizeof(until));
		if (in_use > now && is_stale(best_crl(t, crl), now)) {
			snprintf(reason, reason_size, "%s: the list of \"%s\" is out of date since "
				 "%s; the one in use is not", t->crl_label, issuer, until);
			return -EKEYEXPIRED;
		}
		log_warn(log, "%s: the list of \"%s\" is out of date since %s: certificates of this "
			 "issuer are refused until it is renewed", t->crl_label, issuer, until);
	}
	return 0;
}

/* A list whose signer is known is not looked at again. */
static void drop_parsed(struct trust *t)
{
	unsigned int i;

	for (i = 0; i < t->n_crls; i++) {
		if (!t->crls[i].anchored)
			continue;
		gnutls_x509_crl_deinit(t->crls[i].crl);
		t->crls[i].crl = NULL;
		serials_move(t->crls[i].serials);
	}
	malloc_trim(0);
}

/* The library calls a file that holds anything else broken. */
static bool holds_crl(const struct engine_file *file)
{
	static const char begin[] = "-----BEGIN X509 CRL";

	return file->size && (!cert_is_pem(file) ||
			      memmem(file->data, file->size, begin, sizeof(begin) - 1));
}

static int load_crls(struct trust *t, const struct engine_file *file, int64_t in_use,
		     const struct log *log, char *reason, size_t reason_size)
{
	gnutls_datum_t data = cert_datum(file);
	gnutls_x509_crl_t *crls = NULL;
	unsigned int n = 0, i;
	int r;

	r = !holds_crl(file) ? GNUTLS_E_NO_CERTIFICATE_FOUND :
	    gnutls_x509_crl_list_import2(&crls, &n, &data, cert_is_pem(file) ? GNUTLS_X509_FMT_PEM
				     : GNUTLS_X509_FMT_DER, 0);
	if (r < 0 || n == 0) {
		snprintf(reason, reason_size, "%s: %s", file->label,
			 r >= 0 || r == GNUTLS_E_NO_CERTIFICATE_FOUND ?
			 "holds no list of revoked certificates" : gnutls_strerror(r));
		return -EBADMSG;
	}
	t->crl_label = g_strdup(file->label);
	t->crls = g_new0(struct crl, n);
	t->n_crls = n;
	for (i = 0; i < n; i++)
		t->crls[i].crl = crls[i];
	gnutls_free(crls);
	for (i = 0; i < n; i++) {
		r = load_crl(t, &t->crls[i], file->label, log, reason, reason_size);
		if (r < 0)
			return r;
	}
	r = check_crl_dates(t, in_use, log, reason, reason_size);
	if (r == 0)
		drop_parsed(t);
	return r;
}

int trust_new(struct trust **ret, const struct engine_role *config,
	      gnutls_x509_trust_list_t *system, int64_t in_use, const struct log *log,
	      char *reason, size_t reason_size)
{
	struct trust *t = g_new0(struct trust, 1);
	int r;

	snprintf(reason, reason_size, "out of memory");
	if (config->truststore.data)
		r = load_store(t, &config->truststore, log, reason, reason_size);
	else
		r = load_system(t, system, log);
	if (r == 0)
		r = namesakes_new(&t->namesakes, t->list);
	if (r == 0 && config->crl.data)
		r = load_crls(t, &config->crl, in_use, log, reason, reason_size);
	if (r < 0) {
		trust_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void trust_free(struct trust *t)
{
	unsigned int i;

	if (!t)
		return;
	for (i = 0; i < t->n_crls; i++) {
		if (t->crls[i].crl)
			gnutls_x509_crl_deinit(t->crls[i].crl);
		serials_free(t->crls[i].serials);
		gnutls_free(t->crls[i].issuer.data);
	}
	g_free(t->crls);
	namesakes_free(t->namesakes);
	if (t->owns_list)
		gnutls_x509_trust_list_deinit(t->list, 1);
	g_free(t->name);
	g_free(t->crl_label);
	g_free(t);
}

gnutls_x509_trust_list_t trust_list(const struct trust *t)
{
	return t->list;
}

const struct namesakes *trust_namesakes(const struct trust *t)
{
	return t->namesakes;
}

const char *trust_name(const struct trust *t)
{
	return t->name;
}

static bool signature_ok(struct crl *crl, gnutls_x509_crt_t issuer)
{
	uint8_t id[KEY_ID_LEN];
	size_t len = sizeof(id);

	if (crl->anchored)
		return true;
	if (!issuer ||
	    gnutls_x509_crt_get_key_id(issuer, GNUTLS_KEYID_USE_SHA256, id, &len) < 0)
		return false;
	if (crl->has_signer && memcmp(crl->signer, id, sizeof(id)) == 0)
		return true;
	if (!crl_signed_by(crl, issuer))
		return false;
	memcpy(crl->signer, id, sizeof(id));
	crl->has_signer = true;
	return true;
}

static void check_listed(const struct trust *t, const struct crl *crl, gnutls_x509_crt_t cert,
			 const char *who, struct verdict *v)
{
	uint8_t serial[SERIAL_MAX];
	size_t len = sizeof(serial);

	/* RFC 5280 4.1.2.2 allows 20 bytes. */
	if (gnutls_x509_crt_get_serial(cert, serial, &len) < 0)
		verdict_set(v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE,
			    "%s has a serial number of more than %d bytes, which no list of revoked "
			    "certificates can have", who, SERIAL_MAX);
	else if (serials_contain(crl->serials, serial, len))
		verdict_set(v, HS_CERT_REVOKED, GNUTLS_A_CERTIFICATE_REVOKED,
			    "%s is revoked according to %s", who, t->crl_label);
}

/* Sets @v when the list is of another time. */
static void check_dates(const struct trust *t, const struct crl *crl, time_t now,
			const char *who, struct verdict *v)
{
	char when[48];

	if (crl->next_update != (time_t)-1 && crl->next_update < now)
		verdict_set(v, HS_CERT_CRL_STALE, GNUTLS_A_CERTIFICATE_UNKNOWN,
			    "%s cannot be checked: the list in %s is out of date since %s: renew it",
			    who, t->crl_label, time_text(crl->next_update, when, sizeof(when)));
	else if (crl->this_update > now)
		verdict_set(v, HS_CERT_CRL_STALE, GNUTLS_A_CERTIFICATE_UNKNOWN,
			    "%s cannot be checked: the list in %s is dated %s: is the clock right?",
			    who, t->crl_label, time_text(crl->this_update, when, sizeof(when)));
}

void trust_check_revocation(struct trust *t, gnutls_x509_crt_t cert, gnutls_x509_crt_t issuer,
			    time_t now, const char *who, struct verdict *v)
{
	struct verdict doubt = { .outcome = HS_OK };
	gnutls_datum_t dn = { NULL, 0 };
	bool current = false;
	unsigned int i;

	if (t->n_crls == 0)
		return;
	if (gnutls_x509_crt_get_raw_issuer_dn(cert, &dn) < 0) {
		verdict_set(v, HS_CERT_INVALID, GNUTLS_A_BAD_CERTIFICATE, "%s names no issuer", who);
		return;
	}
	/* An old list beside its successor does no harm: one that is current is enough. */
	for (i = 0; i < t->n_crls; i++) {
		struct crl *crl = &t->crls[i];
		struct verdict dates = { .outcome = HS_OK };

		if (!same_name(&dn, &crl->issuer))
			continue;
		if (!signature_ok(crl, issuer)) {
			verdict_set(&doubt, HS_CERT_CRL_STALE, GNUTLS_A_CERTIFICATE_UNKNOWN,
				    "%s cannot be checked: the list in %s is not signed by its issuer",
				    who, t->crl_label);
			continue;
		}
		check_listed(t, crl, cert, who, v);
		check_dates(t, crl, now, who, &dates);
		if (dates.outcome == HS_OK)
			current = true;
		else
			doubt = dates;
	}
	gnutls_free(dn.data);
	if (doubt.outcome != HS_OK && !current)
		verdict_set(v, doubt.outcome, doubt.alert, "%s", doubt.reason);
}
