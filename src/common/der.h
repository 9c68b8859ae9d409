/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As much of DER (X.690) as it takes to tell one certificate from the next. */
#ifndef TLSHD_COMMON_DER_H
#define TLSHD_COMMON_DER_H

#include <stddef.h>
#include <stdint.h>

/*
 * The size in bytes, header and all, of the SEQUENCE that @data begins with; 0
 * when it is none, is not whole, or says its length in a form DER does not have.
 */
size_t der_sequence_size(const uint8_t *data, size_t len);

#endif
