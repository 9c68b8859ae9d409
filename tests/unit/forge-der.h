/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DER by hand, for forge.c and forge-key.c. Only the forms occur that DER allows. */
#ifndef TLSHD_TESTS_FORGE_DER_H
#define TLSHD_TESTS_FORGE_DER_H

#include <glib.h>
#include <gnutls/x509.h>
#include <stdint.h>

#include "pki.h"

enum { DER_INTEGER = 0x02, DER_BIT_STRING, DER_OCTET_STRING, DER_NULL, DER_OID, DER_UTF8 = 0x0c,
       DER_SEQUENCE = 0x30, DER_SET };

void der_put(GByteArray *out, uint8_t tag, const void *content, size_t len);
/* @content, which is freed, as one element. */
GByteArray *der_wrap(uint8_t tag, GByteArray *content);
/* Appends @more and frees it. */
void der_append(GByteArray *out, GByteArray *more);
/* The content of the element at @at, and what follows the element. */
const uint8_t *der_content(const uint8_t *at);
const uint8_t *der_next(const uint8_t *at);
/* Field @n of the tbs of the certificate or list @der. */
const uint8_t *der_tbs_field(const uint8_t *der, unsigned int n);

/* @tbs (freed) with @algorithm, an element, and a signature by @key, of P-256. */
GByteArray *der_sign(GByteArray *tbs, const uint8_t *algorithm, gnutls_x509_privkey_t key);
/* The tbs of @der with @by (freed) in place of its element at @field. */
GByteArray *der_tbs_replace(const uint8_t *der, const uint8_t *field, GByteArray *by);
/* @cert becomes what @der (freed) says. */
void forge_become(struct pki_cert *cert, GByteArray *der);

#endif
