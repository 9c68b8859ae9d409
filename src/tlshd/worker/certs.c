// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificates as they come in files, and as they are shown to people. */
#include "tlshd/worker/engine-private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/der.h"
#include "common/text.h"

#define DER_CERTS_MAX 64u	/* in one file; more want PEM */

char *time_text(time_t t, char *dst, size_t size)
{
	struct tm tm;

	if (!gmtime_r(&t, &tm) || strftime(dst, size, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		text_copy(dst, size, "an unknown time");
	return dst;
}

char *cert_name_text(int r, gnutls_datum_t *dn, char *dst, size_t size)
{
	if (r < 0 || dn->size == 0)
		text_copy(dst, size, "(no name)");
	else
		text_quote(dst, size, dn->data, dn->size);
	gnutls_free(dn->data);
	return dst;
}

char *cert_subject(gnutls_x509_crt_t cert, char *dst, size_t size)
{
	gnutls_datum_t dn = { NULL, 0 };

	return cert_name_text(gnutls_x509_crt_get_dn3(cert, &dn, 0), &dn, dst, size);
}

char *cert_issuer(gnutls_x509_crt_t cert, char *dst, size_t size)
{
	gnutls_datum_t dn = { NULL, 0 };

	return cert_name_text(gnutls_x509_crt_get_issuer_dn3(cert, &dn, 0), &dn, dst, size);
}

bool cert_is_pem(const struct engine_file *file)
{
	static const char begin[] = "-----BEGIN ";

	return memmem(file->data, file->size, begin, sizeof(begin) - 1) != NULL;
}

gnutls_datum_t cert_datum(const struct engine_file *file)
{
	return (gnutls_datum_t){ (void *)(uintptr_t)file->data, (unsigned int)file->size };
}

void certs_free(gnutls_x509_crt_t *certs, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		gnutls_x509_crt_deinit(certs[i]);
	gnutls_free(certs);
}

/* One behind the other; the library reads a single one only. */
static int import_der(const gnutls_datum_t *data, gnutls_x509_crt_t **ret_certs,
		      unsigned int *ret_n)
{
	gnutls_x509_crt_t *certs = gnutls_calloc(DER_CERTS_MAX, sizeof(*certs));
	gnutls_datum_t left = *data, one;
	unsigned int n = 0;
	int r = certs ? 0 : GNUTLS_E_MEMORY_ERROR;

	while (r == 0 && left.size > 0) {
		one = left;
		one.size = (unsigned int)der_sequence_size(left.data, left.size);
		if (one.size == 0 || n == DER_CERTS_MAX)
			r = GNUTLS_E_ASN1_DER_ERROR;
		else
			r = gnutls_x509_crt_init(&certs[n]);
		if (r < 0)
			break;
		n++;
		r = gnutls_x509_crt_import(certs[n - 1], &one, GNUTLS_X509_FMT_DER);
		left.data += one.size;
		left.size -= one.size;
	}
	if (r < 0) {
		if (certs)
			certs_free(certs, n);
		return r;
	}
	*ret_certs = certs;
	*ret_n = n;
	return 0;
}

int certs_import(const struct engine_file *file, gnutls_x509_crt_t **ret_certs,
		 unsigned int *ret_n, char *reason, size_t reason_size)
{
	gnutls_datum_t data = cert_datum(file);
	int r;

	if (file->size == 0) {
		snprintf(reason, reason_size, "%s is empty", file->label);
		return -ENODATA;
	}
	if (cert_is_pem(file))
		r = gnutls_x509_crt_list_import2(ret_certs, ret_n, &data, GNUTLS_X509_FMT_PEM, 0);
	else
		r = import_der(&data, ret_certs, ret_n);
	if (r == GNUTLS_E_NO_CERTIFICATE_FOUND) {
		snprintf(reason, reason_size, "%s holds no certificate", file->label);
		return -ENODATA;
	}
	if (r < 0) {
		snprintf(reason, reason_size, "%s: a certificate in it cannot be read: %s",
			 file->label, gnutls_strerror(r));
		return r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EBADMSG;
	}
	return 0;
}
