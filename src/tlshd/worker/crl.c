// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lists of revoked certificates (CRLs).
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

struct crl {
	gnutls_x509_crl_t crl;	/* NULL: not needed any more */
	struct serials *serials;
	gnutls_datum_t issuer;	/* DER */
	time_t this_update, next_update;	/* next_update -1: none given */
	bool anchored;		/* signed by a certificate of the trust store */
	uint8_t signer[KEY_ID_LEN];	/* the key that was found to have signed it */
	bool has_signer;	/* known at once when anchored, else once it was needed */
};

struct crls {
	const struct trust *trust;	/* whose they are */
	char *label;
	struct crl *crl;
	unsigned int n;
};

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

/* The library's code. */
static int key_id(gnutls_x509_crt_t cert, uint8_t id[KEY_ID_LEN])
{
	size_t len = KEY_ID_LEN;

	return gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, id, &len);
}

/* Looks for the list's signer in the store. Returns how many certificates have the issuer's name, or -ENOMEM. */
static int anchor_crl(struct crls *t, struct crl *crl)
{
	gnutls_x509_trust_list_iter_t iter = NULL;
	gnutls_datum_t dn = { NULL, 0 };
	gnutls_x509_crt_t ca;
	int namesakes = 0, r;

	while ((r = gnutls_x509_trust_list_iter_get_ca(trust_list(t->trust), &iter, &ca)) == 0) {
		r = gnutls_x509_crt_get_raw_dn(ca, &dn);
		if (r == 0 && same_name(&dn, &crl->issuer)) {
			namesakes++;
			if (!crl->anchored && crl_signed_by(crl, ca)) {
				r = key_id(ca, crl->signer);
				crl->anchored = crl->has_signer = true;
			}
		}
		gnutls_free(dn.data);
		gnutls_x509_crt_deinit(ca);
		if (r < 0)
			break;
	}
	gnutls_x509_trust_list_iter_deinit(iter);
	return r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE ? namesakes : -ENOMEM;
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

static int load_one(struct crls *t, struct crl *crl, const struct log *log, char *reason,
		    size_t reason_size)
{
	gnutls_datum_t dn = { NULL, 0 };
	char issuer[160];
	int namesakes;

	if (gnutls_x509_crl_get_raw_issuer_dn(crl->crl, &crl->issuer) < 0 ||
	    index_serials(crl) < 0) {
		snprintf(reason, reason_size, "%s: a list in it cannot be read", t->label);
		return -EBADMSG;
	}
	crl->this_update = gnutls_x509_crl_get_this_update(crl->crl);
	crl->next_update = gnutls_x509_crl_get_next_update(crl->crl);
	cert_name_text(gnutls_x509_crl_get_issuer_dn3(crl->crl, &dn, 0), &dn, issuer,
		       sizeof(issuer));

	if (has_critical_extension(crl->crl)) {
		snprintf(reason, reason_size, "%s: the list of \"%s\" is partial, indirect or a delta "
			 "(critical extension): only whole lists can be used", t->label, issuer);
		return -ENOTSUP;
	}
	namesakes = anchor_crl(t, crl);
	if (namesakes < 0) {
		snprintf(reason, reason_size, "out of memory");
		return namesakes;
	}
	if (namesakes > 0 && !crl->anchored) {
		snprintf(reason, reason_size, "%s: the list of \"%s\" is not signed by that issuer's "
			 "certificate in %s", t->label, issuer, trust_name(t->trust));
		return -EKEYREJECTED;
	}
	log_debug(log, "%s: %u certificates of \"%s\" revoked", t->label,
		  serials_count(crl->serials), issuer);
	/* Names are compared byte by byte: a list whose issuer is written otherwise counts for nobody. */
	if (!crl->anchored)
		log_warn(log, "%s: the issuer of the list, \"%s\", is not in %s: the list counts only "
			 "for an intermediate authority of exactly this name", t->label, issuer, trust_name(t->trust));
	return 0;
}

static bool is_stale(const struct crl *crl, time_t now)
{
	return crl->next_update != (time_t)-1 && crl->next_update < now;
}

/*
 * Of one issuer and, as far as that is known yet, by one key: an authority that has changed its
 * key may keep a list for each.
 */
static bool same_authority(const struct crl *a, const struct crl *b)
{
	return same_name(&a->issuer, &b->issuer) &&
	       (!a->has_signer || !b->has_signer || memcmp(a->signer, b->signer, KEY_ID_LEN) == 0);
}

/* The list of the same authority that is good for longest: an old one beside it does no harm. */
static const struct crl *best_crl(const struct crls *t, const struct crl *crl)
{
	const struct crl *best = crl;
	unsigned int i;

	for (i = 0; i < t->n && best->next_update != (time_t)-1; i++) {
		const struct crl *other = &t->crl[i];

		if (same_authority(other, crl) &&
		    (other->next_update == (time_t)-1 || other->next_update > best->next_update))
			best = other;
	}
	return best;
}

int64_t crls_until(const struct crls *t)
{
	int64_t until = 0;
	unsigned int i;

	for (i = 0; i < t->n; i++) {
		time_t next = best_crl(t, &t->crl[i])->next_update;

		if (next != (time_t)-1 && (!until || next < until))
			until = next;
	}
	return until;
}

/* Is there a list of the same authority that certificates can be checked with now? */
static bool has_current(const struct crls *t, const struct crl *crl, time_t now)
{
	unsigned int i;

	for (i = 0; i < t->n; i++) {
		const struct crl *other = &t->crl[i];

		if (same_authority(other, crl) && !is_stale(other, now) &&
		    other->this_update <= now)
			return true;
	}
	return false;
}

/*
 * @crl is one of those that have no current one beside them. Returns 0 with a warning, or
 * -EKEYEXPIRED where those in use are good until @in_use.
 */
static int not_current(const struct crls *t, const struct crl *crl, int64_t in_use,
		       const struct log *log, char *reason, size_t reason_size)
{
	char issuer[160], when[48];
	time_t now = time(NULL);
	bool stale = is_stale(crl, now);
	gnutls_datum_t dn = { NULL, 0 };

	/* One that is to come stands beside it, and is what is to be told of. */
	if (stale && !is_stale(best_crl(t, crl), now))
		return 0;
	cert_name_text(gnutls_x509_crl_get_issuer_dn3(crl->crl, &dn, 0), &dn, issuer,
		       sizeof(issuer));
	time_text(stale ? crl->next_update : crl->this_update, when, sizeof(when));
	if (stale && in_use > now) {
		snprintf(reason, reason_size, "%s: the list of \"%s\" is out of date since %s; "
			 "the one in use is not", t->label, issuer, when);
		return -EKEYEXPIRED;
	}
	log_warn(log, stale ?
		 "%s: the list of \"%s\" is out of date since %s: certificates by its key are refused until it is renewed" :
		 "%s: the list of \"%s\" counts from %s on only (is the clock right?): certificates by its key are refused until then",
		 t->label, issuer, when);
	return 0;
}

/* Returns 0, or -EKEYEXPIRED: those that serve now are better. */
static int check_crl_dates(const struct crls *t, int64_t in_use, const struct log *log,
			   char *reason, size_t reason_size)
{
	time_t now = time(NULL);
	unsigned int i;
	int r = 0;

	for (i = 0; i < t->n && r == 0; i++)
		if (!has_current(t, &t->crl[i], now))
			r = not_current(t, &t->crl[i], in_use, log, reason, reason_size);
	return r;
}

/* A list whose signer is known is not looked at again. */
static void drop_parsed(struct crls *t)
{
	unsigned int i;

	for (i = 0; i < t->n; i++) {
		if (!t->crl[i].anchored)
			continue;
		gnutls_x509_crl_deinit(t->crl[i].crl);
		t->crl[i].crl = NULL;
		serials_move(t->crl[i].serials);
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

static int load_all(struct crls *t, const struct engine_file *file, int64_t in_use,
		    const struct log *log, char *reason, size_t reason_size)
{
	gnutls_datum_t data = cert_datum(file);
	gnutls_x509_crl_t *lists = NULL;
	unsigned int n = 0, i;
	int r;

	r = !holds_crl(file) ? GNUTLS_E_NO_CERTIFICATE_FOUND :
	    gnutls_x509_crl_list_import2(&lists, &n, &data, cert_is_pem(file) ? GNUTLS_X509_FMT_PEM
				     : GNUTLS_X509_FMT_DER, 0);
	if (r < 0 || n == 0) {
		snprintf(reason, reason_size, "%s: %s", file->label,
			 r >= 0 || r == GNUTLS_E_NO_CERTIFICATE_FOUND ?
			 "holds no list of revoked certificates" : gnutls_strerror(r));
		return -EBADMSG;
	}
	t->crl = g_new0(struct crl, n);
	t->n = n;
	for (i = 0; i < n; i++)
		t->crl[i].crl = lists[i];
	gnutls_free(lists);
	for (i = 0; i < n; i++) {
		r = load_one(t, &t->crl[i], log, reason, reason_size);
		if (r < 0)
			return r;
	}
	r = check_crl_dates(t, in_use, log, reason, reason_size);
	if (r == 0)
		drop_parsed(t);
	return r;
}

int crls_new(struct crls **ret, const struct engine_file *file, const struct trust *trust,
	     int64_t in_use, const struct log *log, char *reason, size_t reason_size)
{
	struct crls *t = g_new0(struct crls, 1);
	int r;

	t->trust = trust;
	t->label = g_strdup(file->label);
	r = load_all(t, file, in_use, log, reason, reason_size);
	if (r < 0) {
		crls_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void crls_free(struct crls *t)
{
	unsigned int i;

	if (!t)
		return;
	for (i = 0; i < t->n; i++) {
		if (t->crl[i].crl)
			gnutls_x509_crl_deinit(t->crl[i].crl);
		serials_free(t->crl[i].serials);
		gnutls_free(t->crl[i].issuer.data);
	}
	g_free(t->crl);
	g_free(t->label);
	g_free(t);
}

/* Is the list one to go by, for certificates of @issuer, who has @key? NULL: that is not known. */
static bool signature_ok(struct crl *crl, gnutls_x509_crt_t issuer, const uint8_t *key)
{
	if (crl->anchored || (key && crl->has_signer && memcmp(crl->signer, key, KEY_ID_LEN) == 0))
		return true;
	if (!key || !crl_signed_by(crl, issuer))
		return false;
	memcpy(crl->signer, key, KEY_ID_LEN);
	crl->has_signer = true;
	return true;
}

static void check_listed(const struct crls *t, const struct crl *crl, gnutls_x509_crt_t cert,
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
			    "%s is revoked according to %s", who, t->label);
}

/* Sets @v when the list is of another time. */
static void check_dates(const struct crls *t, const struct crl *crl, time_t now,
			const char *who, struct verdict *v)
{
	char when[48];

	if (crl->next_update != (time_t)-1 && crl->next_update < now)
		verdict_set(v, HS_CERT_CRL_STALE, GNUTLS_A_CERTIFICATE_UNKNOWN,
			    "%s cannot be checked: the list in %s is out of date since %s: renew it",
			    who, t->label, time_text(crl->next_update, when, sizeof(when)));
	else if (crl->this_update > now)
		verdict_set(v, HS_CERT_CRL_STALE, GNUTLS_A_CERTIFICATE_UNKNOWN,
			    "%s cannot be checked: the list in %s is dated %s: is the clock right?",
			    who, t->label, time_text(crl->this_update, when, sizeof(when)));
}

/* What lists of one name say of a certificate. */
struct lists {
	bool any;
	bool current;		/* one of them is: an old one beside its successor does no harm */
	struct verdict doubt;
};

/*
 * The lists by the key that has issued the certificate tell whether it can be checked now. Where
 * there is none, an authority that has changed its key goes on with one list: that by another key.
 */
static void check_lists(struct crls *t, gnutls_x509_crt_t cert, const gnutls_datum_t *dn,
			gnutls_x509_crt_t issuer, const uint8_t *key, time_t now,
			const char *who, struct verdict *v)
{
	struct lists own = { .doubt.outcome = HS_OK }, others = { .doubt.outcome = HS_OK };
	unsigned int i;

	for (i = 0; i < t->n; i++) {
		struct verdict dates = { .outcome = HS_OK };
		struct crl *crl = &t->crl[i];
		struct lists *of;

		if (!same_name(dn, &crl->issuer))
			continue;
		if (!signature_ok(crl, issuer, key)) {
			verdict_set(&others.doubt, HS_CERT_CRL_STALE, GNUTLS_A_CERTIFICATE_UNKNOWN,
				    "%s cannot be checked: the list in %s is not signed by %s", who,
				    t->label, key ? "its issuer" : "anybody we know");
			continue;
		}
		of = key && memcmp(crl->signer, key, KEY_ID_LEN) == 0 ? &own : &others;
		of->any = true;
		check_listed(t, crl, cert, who, v);
		check_dates(t, crl, now, who, &dates);
		if (dates.outcome == HS_OK)
			of->current = true;
		else
			of->doubt = dates;
	}
	if (!own.any)
		own = others;
	if (own.doubt.outcome != HS_OK && !own.current)
		verdict_set(v, own.doubt.outcome, own.doubt.alert, "%s", own.doubt.reason);
}

void crls_check(struct crls *t, gnutls_x509_crt_t cert, gnutls_x509_crt_t issuer, time_t now,
		const char *who, struct verdict *v)
{
	gnutls_datum_t dn = { NULL, 0 };
	uint8_t key[KEY_ID_LEN];
	int r = issuer ? key_id(issuer, key) : GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;

	if (r == GNUTLS_E_MEMORY_ERROR || gnutls_x509_crt_get_raw_issuer_dn(cert, &dn) < 0)
		verdict_out_of_memory(v);
	else
		check_lists(t, cert, &dn, issuer, r == 0 ? key : NULL, now, who, v);
	gnutls_free(dn.data);
}
