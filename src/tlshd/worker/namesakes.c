// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which certificates of a trust store have the same subject. The library finds an issuer by its
 * name, and by the identifier of its key where the certificate has one; who issues a certificate
 * decides whether it does. Where names are not unique it takes one of those that fit, by a rule
 * that differs from call to call. So these are told apart by us, see path.c.
 */
#include "tlshd/worker/engine-private.h"

#include <errno.h>
#include <string.h>

struct entry {
	gnutls_x509_crt_t cert;
	gnutls_datum_t subject;	/* DER */
	unsigned int place;	/* in the store: those of one subject stay in their order */
	bool shared;		/* the subject is another's, too */
};

struct namesakes {
	GArray *entries;	/* struct entry, by subject */
};

static struct entry *entry_at(const struct namesakes *ns, unsigned int i)
{
	return &g_array_index(ns->entries, struct entry, i);
}

static int compare_subjects(const gnutls_datum_t *a, const gnutls_datum_t *b)
{
	if (a->size != b->size)
		return a->size < b->size ? -1 : 1;
	return memcmp(a->data, b->data, a->size);
}

static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int r = compare_subjects(&x->subject, &y->subject);

	return r ? r : x->place < y->place ? -1 : 1;
}

static void clear_entry(void *entry)
{
	struct entry *e = entry;

	if (e->cert)
		gnutls_x509_crt_deinit(e->cert);
	gnutls_free(e->subject.data);
}

/* Copies all that is in @list. Returns the library's code. */
static int copy_all(struct namesakes *ns, gnutls_x509_trust_list_t list)
{
	gnutls_x509_trust_list_iter_t iter = NULL;
	struct entry e = { 0 };
	int r;

	while ((r = gnutls_x509_trust_list_iter_get_ca(list, &iter, &e.cert)) == 0) {
		r = gnutls_x509_crt_get_raw_dn(e.cert, &e.subject);
		if (r < 0) {
			gnutls_x509_crt_deinit(e.cert);
			break;
		}
		g_array_append_val(ns->entries, e);
		e.place++;
	}
	gnutls_x509_trust_list_iter_deinit(iter);
	return r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE ? 0 : r;
}

/* Most have a name of their own, and nobody asks for these. */
static void keep_shared(struct namesakes *ns)
{
	GArray *kept = g_array_new(FALSE, FALSE, sizeof(struct entry));
	unsigned int i;

	g_array_set_clear_func(kept, clear_entry);
	g_array_sort(ns->entries, compare);
	for (i = 1; i < ns->entries->len; i++) {
		struct entry *a = entry_at(ns, i - 1), *b = entry_at(ns, i);

		if (compare_subjects(&a->subject, &b->subject) == 0)
			a->shared = b->shared = true;
	}
	for (i = 0; i < ns->entries->len; i++) {
		struct entry *e = entry_at(ns, i);

		if (!e->shared)
			continue;
		g_array_append_val(kept, *e);
		memset(e, 0, sizeof(*e));
	}
	g_array_free(ns->entries, TRUE);
	ns->entries = kept;
}

int namesakes_new(struct namesakes **ret, gnutls_x509_trust_list_t list)
{
	struct namesakes *ns = g_new0(struct namesakes, 1);

	ns->entries = g_array_new(FALSE, FALSE, sizeof(struct entry));
	g_array_set_clear_func(ns->entries, clear_entry);
	if (copy_all(ns, list) < 0) {
		namesakes_free(ns);
		return -ENOMEM;
	}
	keep_shared(ns);
	*ret = ns;
	return 0;
}

void namesakes_free(struct namesakes *ns)
{
	if (!ns)
		return;
	g_array_free(ns->entries, TRUE);
	g_free(ns);
}

gnutls_x509_crt_t namesakes_get(const struct namesakes *ns, const gnutls_datum_t *subject,
				unsigned int i)
{
	unsigned int first = 0;

	while (first < ns->entries->len &&
	       compare_subjects(&entry_at(ns, first)->subject, subject) != 0)
		first++;
	if (i >= ns->entries->len - first ||
	    compare_subjects(&entry_at(ns, first + i)->subject, subject) != 0)
		return NULL;
	return entry_at(ns, first + i)->cert;
}
