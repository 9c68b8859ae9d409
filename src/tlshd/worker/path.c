// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From a peer's certificate to somebody we trust.
 *
 * The path goes from the leaf through what the peer sent to the first certificate
 * whose issuer is in the store, so that all the checks speak of the same certificates
 * and junk behind them does not matter. Where the store has several authorities of
 * that issuer's name, its end is the one whose key signed. Whether the path holds is the
 * library's to say.
 */
#include "tlshd/worker/engine-private.h"

#include <string.h>

#define FITTEST 8

static void find_path(struct path *path, const struct chain *chain, struct trust *trust)
{
	bool used[CHAIN_MAX] = { true };
	gnutls_x509_crt_t last = chain->cert[0];
	unsigned int i;

	path->cert[0] = last;
	path->n = 1;
	path->anchor = NULL;
	for (;;) {
		if (gnutls_x509_trust_list_get_issuer(trust_list(trust), last, &path->anchor,
						      0) == 0)
			return;
		path->anchor = NULL;
		for (i = 1; i < chain->n; i++)
			if (!used[i] && gnutls_x509_crt_check_issuer(last, chain->cert[i]))
				break;
		if (i == chain->n)
			return;
		used[i] = true;
		last = chain->cert[i];
		path->cert[path->n++] = last;
	}
}

/* Is @cert itself in the store? Sets @v when memory is short. */
static bool holds(const struct trust *trust, gnutls_x509_crt_t cert, struct verdict *v)
{
	gnutls_x509_crt_t found = NULL;
	gnutls_datum_t dn;
	unsigned int i;
	bool equal = false;

	if (gnutls_x509_crt_get_raw_dn(cert, &dn) < 0) {
		verdict_out_of_memory(v);
		return false;
	}
	for (i = 0; !equal && (found = namesakes_get(trust_namesakes(trust), &dn, i)); i++)
		equal = gnutls_x509_crt_equals(found, cert);
	if (i == 0 && gnutls_x509_trust_list_get_issuer_by_dn(trust_list(trust), &dn, &found,
							      0) == 0) {
		/* That is its word, too, where it had no memory for a copy. */
		if (found) {
			equal = gnutls_x509_crt_equals(found, cert);
			gnutls_x509_crt_deinit(found);
		} else {
			verdict_out_of_memory(v);
		}
	}
	gnutls_free(dn.data);
	return equal;
}

/*
 * The library's verdict, as if of all that have the name of @anchor only this one were in the
 * store. @pinned, in the store as well, may be NULL. Returns the library's code.
 */
static int verify_under(gnutls_x509_crt_t *certs, unsigned int n, gnutls_x509_crt_t anchor,
			gnutls_x509_crt_t pinned, unsigned int flags, unsigned int *status)
{
	gnutls_x509_trust_list_t list;
	int r = gnutls_x509_trust_list_init(&list, 0);

	if (r < 0)
		return r;
	r = gnutls_x509_trust_list_add_cas(list, &anchor, 1, 0);
	if (r > 0 && pinned)
		r = gnutls_x509_trust_list_add_cas(list, &pinned, 1, 0);
	r = r > 0 ? gnutls_x509_trust_list_verify_crt2(list, certs, n, NULL, 0, flags, status, NULL)
		  : GNUTLS_E_MEMORY_ERROR;
	gnutls_x509_trust_list_deinit(list, 0);
	return r;
}

/* The whole path, its end being @anchor. */
static int verify_whole(struct path *path, gnutls_x509_crt_t anchor, unsigned int *status)
{
	return verify_under(path->cert, path->n, anchor, path->pinned ? path->cert[0] : NULL,
			    VERIFY_FLAGS, status);
}

static bool is_current(gnutls_x509_crt_t cert, time_t now)
{
	return gnutls_x509_crt_get_activation_time(cert) <= now &&
	       gnutls_x509_crt_get_expiration_time(cert) >= now;
}

/* Could @cert be signed by a key of the kind that @issuer has? */
static bool fits_key(gnutls_x509_crt_t cert, gnutls_x509_crt_t issuer)
{
	int sign = gnutls_x509_crt_get_signature_algorithm(cert);
	int pk = gnutls_x509_crt_get_pk_algorithm(issuer, NULL);

	return sign >= 0 && pk >= 0 &&
	       gnutls_sign_supports_pk_algorithm((gnutls_sign_algorithm_t)sign,
						 (gnutls_pk_algorithm_t)pk);
}

/* Has the key of @anchor signed the last of the path? Sets @v when memory is short. */
static bool has_signed(struct path *path, gnutls_x509_crt_t anchor, struct verdict *v)
{
	gnutls_x509_crt_t last = path->cert[path->n - 1];
	unsigned int status = 0;
	int r;

	if (!gnutls_x509_crt_check_issuer(last, anchor) || !fits_key(last, anchor))
		return false;
	r = verify_under(&last, 1, anchor, NULL, VERIFY_FLAGS | GNUTLS_VERIFY_DISABLE_TIME_CHECKS,
			 &status);
	if (r == GNUTLS_E_MEMORY_ERROR)
		verdict_out_of_memory(v);
	return r >= 0 &&
	       !(status & (GNUTLS_CERT_SIGNATURE_FAILURE | GNUTLS_CERT_SIGNER_NOT_FOUND));
}

/* An authority that is signed by itself is on its own list. */
static gnutls_x509_crt_t issuer_of_anchor(gnutls_x509_crt_t anchor)
{
	return anchor && gnutls_x509_crt_check_issuer(anchor, anchor) ? anchor : NULL;
}

/*
 * Up to FITTEST, by what speaks for @anchor, which has signed: that it was allowed to issue all
 * that is below it, as @status says, that its time is now, that it is not revoked. Sets @v when
 * memory is short.
 */
static unsigned int fitness(gnutls_x509_crt_t anchor, unsigned int status, struct trust *trust,
			    time_t now, struct verdict *v)
{
	const unsigned int dates = GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED;
	struct verdict revoked = { .outcome = HS_OK };

	/* INVALID comes with each of the others. */
	if (status & dates)
		status &= ~(dates | GNUTLS_CERT_INVALID);
	trust_check_revocation(trust, anchor, issuer_of_anchor(anchor), now, "", &revoked);
	if (revoked.outcome == HS_BUSY)
		verdict_out_of_memory(v);
	return 1 + (status == 0 ? 4 : 0) + (is_current(anchor, now) ? 2 : 0) +
	       (revoked.outcome == HS_OK ? 1 : 0);
}

/*
 * Where the store has several of the issuer's name the library would take one without a look at the
 * keys. So the one that signed is found here, and all that is said of the issuer is said of that.
 * Of several with that key one that is good is enough.
 */
static void choose_anchor(struct path *path, struct trust *trust, time_t now, struct verdict *v)
{
	const struct namesakes *all = trust_namesakes(trust);
	unsigned int best = 0, fit, status, i;
	gnutls_x509_crt_t other;
	gnutls_datum_t dn;
	int r;

	if (gnutls_x509_crt_get_raw_issuer_dn(path->cert[path->n - 1], &dn) < 0) {
		verdict_out_of_memory(v);
		return;
	}
	for (i = 0; best < FITTEST && v->outcome == HS_OK &&
		    (other = namesakes_get(all, &dn, i)); i++) {
		path->has_namesakes = true;
		if (!has_signed(path, other, v))
			continue;
		status = 0;
		r = verify_whole(path, other, &status);
		fit = r < 0 ? 1 : fitness(other, status, trust, now, v);
		if (fit <= best)
			continue;
		best = fit;
		path->anchor = other;
		path->code = r;
		path->status = status;
	}
	gnutls_free(dn.data);
	if (path->has_namesakes && best == 0)
		path->code = verify_whole(path, path->anchor, &path->status);
}

void path_build(struct path *path, const struct chain *chain, struct trust *trust, time_t now,
		struct verdict *v)
{
	memset(path, 0, sizeof(*path));
	find_path(path, chain, trust);
	path->pinned = holds(trust, path->cert[0], v);
	if (path->anchor && v->outcome == HS_OK)
		choose_anchor(path, trust, now, v);
}

/* Of the path from number @first on. */
static int verify_part(struct path *path, const struct trust *trust, unsigned int first,
		       unsigned int *status)
{
	return gnutls_x509_trust_list_verify_crt2(trust_list(trust), path->cert + first,
						  path->n - first, NULL, 0, VERIFY_FLAGS, status,
						  NULL);
}

/*
 * What is in the store is accepted whatever the peer sends behind it, which perhaps nobody has
 * looked at: does it lead to an anchor?
 */
static bool is_issued(struct path *path, const struct trust *trust)
{
	unsigned int status = 0;

	if (gnutls_x509_crt_verify(path->cert[0], &path->cert[1], 1, VERIFY_FLAGS, &status) < 0 ||
	    status)
		return false;
	return (path->has_namesakes ?
		verify_under(path->cert + 1, path->n - 1, path->anchor, NULL, VERIFY_FLAGS,
			     &status) :
		verify_part(path, trust, 1, &status)) >= 0 && !status;
}

int path_verify(struct path *path, const struct trust *trust, unsigned int *status)
{
	int r = path->code;

	*status = path->status;
	if (!path->has_namesakes)
		r = verify_part(path, trust, 0, status);
	if (r >= 0 && *status == 0 && path->pinned && path->n > 1 && path->anchor)
		path->has_issuer = is_issued(path, trust);
	return r;
}

gnutls_x509_crt_t path_issuer(const struct path *path, unsigned int i)
{
	if (i == 0 && path->pinned && path->n > 1 && !path->has_issuer)
		return NULL;
	if (i == path->n)
		return issuer_of_anchor(path->anchor);
	return i + 1 < path->n ? path->cert[i + 1] : path->anchor;
}
