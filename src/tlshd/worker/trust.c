// SPDX-License-Identifier: GPL-2.0-or-later
/* Trust stores: of a file, or the system's. */
#include "tlshd/worker/engine-private.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>

struct trust {
	gnutls_x509_trust_list_t list;
	bool owns_list;
	struct namesakes *namesakes;
	char *name;
	struct crls *crls;	/* NULL: none */
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
	if (r >= 0 && (unsigned int)r < n) {
		/* It ends where it has no memory for one. */
		for (unsigned int i = (unsigned int)r; i < n; i++)
			gnutls_x509_crt_deinit(certs[i]);
		r = GNUTLS_E_MEMORY_ERROR;
	}
	gnutls_free(certs);
	if (r < 0) {
		snprintf(reason, reason_size, "%s: no certificate in it can be trusted: %s",
			 file->label, gnutls_strerror(r));
		return r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EBADMSG;
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

	while ((r = gnutls_x509_trust_list_iter_get_ca(from, &iter, &ca)) == 0) {
		/* The list takes it over, a duplicate too. */
		r = gnutls_x509_trust_list_add_cas(to, &ca, 1, GNUTLS_TL_NO_DUPLICATES);
		if (r != 1) {
			gnutls_x509_crt_deinit(ca);
			r = r < 0 ? r : GNUTLS_E_MEMORY_ERROR;
			break;
		}
		n++;
	}
	gnutls_x509_trust_list_iter_deinit(iter);
	return r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE ? n : r;
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
		/* The library has no word for want of memory here, and goes on with what it has. */
		if (n == GNUTLS_E_MEMORY_ERROR || errno == ENOMEM)
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
		r = crls_new(&t->crls, &config->crl, t, in_use, log, reason, reason_size);
	if (r < 0) {
		trust_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void trust_free(struct trust *t)
{
	if (!t)
		return;
	crls_free(t->crls);
	namesakes_free(t->namesakes);
	if (t->owns_list)
		gnutls_x509_trust_list_deinit(t->list, 1);
	g_free(t->name);
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

int64_t trust_until(const struct trust *t)
{
	return t->crls ? crls_until(t->crls) : 0;
}

void trust_check_revocation(struct trust *t, gnutls_x509_crt_t cert, gnutls_x509_crt_t issuer,
			    time_t now, const char *who, struct verdict *v)
{
	if (t->crls)
		crls_check(t->crls, cert, issuer, now, who, v);
}
