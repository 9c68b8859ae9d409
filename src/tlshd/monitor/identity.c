// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Certificates go to workers, which strangers talk to; private keys go to
 * keepers. A mount that gives the two serials the wrong way round, or a key
 * with a PEM file in it that has both, must not give a private key to a worker.
 * So the monitor looks that far into the certificate, and no further.
 */
#include "tlshd/monitor/identity.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/der.h"
#include "common/file.h"
#include "common/wire.h"
#include "tlshd/monitor/keyring.h"

#define DER_SEQUENCE 0x30
#define DER_INTEGER 0x02

static const char *const own_keyrings[] = { ".nfs", ".nfsd", NULL };

/* Types whose content is not what was put in, or cannot be had; others may be read or not. */
static const char *const refused_types[] = {
	"keyring", "logon", "asymmetric", "trusted", "encrypted",
};

void own_identity_clear(struct own_identity *identity)
{
	fd_close(identity->certificate_fd);
	secret_free(identity->private_key);
	*identity = (struct own_identity){ .certificate_fd = -1 };
}

/*
 * In DER a certificate is a sequence that begins with a sequence, and so is an
 * encrypted key; PKCS #8 and the older forms begin with an integer, their
 * version (RFC 5280 4.1, RFC 5208 5, RFC 8017 A.1.2, RFC 5915 3).
 */
static bool begins_with_key(const uint8_t *data, size_t len)
{
	size_t at;

	if (len < 2 || data[0] != DER_SEQUENCE)
		return false;
	at = 2 + (data[1] & 0x80 ? data[1] & 0x7fu : 0);
	return at < len && data[at] == DER_INTEGER;
}

/* No PEM file has control characters in it, and every private key in DER has, its version. */
static bool has_binary(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] < ' ' && !(data[i] && strchr("\t\n\v\f\r", data[i])))
			return true;
	}
	return false;
}

/* The keeper looks at the first certificate only, so what is behind it counts as well. */
static bool has_private_key(const uint8_t *data, size_t len)
{
	static const char pem[] = "-----BEGIN ", pem_key[] = "PRIVATE KEY-----";
	size_t size;

	if (memmem(data, len, pem_key, sizeof(pem_key) - 1))
		return true;
	if (memmem(data, len, pem, sizeof(pem) - 1))
		return has_binary(data, len);
	for (unsigned int n = 0; len > 0; n++) {
		if (begins_with_key(data, len))
			return true;
		size = der_sequence_size(data, len);
		if (size == 0)
			return n > 0;	/* certificates, and who knows what */
		data += size;
		len -= size;
	}
	return false;
}

static enum hs_outcome check_type(const char *what, int32_t serial, char *reason,
				  size_t reason_size)
{
	struct key_info info;
	int r = key_describe(serial, &info);

	if (r < 0)
		return key_fault(what, serial, r, reason, reason_size);
	for (size_t i = 0; i < ARRAY_SIZE(refused_types); i++) {
		if (strcmp(info.type, refused_types[i]) == 0) {
			snprintf(reason, reason_size, "%s key 0x%08" PRIx32 " is of type %s, of which "
				 "the content cannot be had; add it as type user: keyctl padd user NAME "
				 "KEYRING < FILE", what, (uint32_t)serial, info.type);
			return HS_KEY_UNUSABLE;
		}
	}
	return HS_OK;
}

static enum hs_outcome read_part(const char *what, int32_t serial, size_t max,
				 struct secret **ret, char *reason, size_t reason_size)
{
	CLEANUP(secret_freep) struct secret *secret = NULL;
	int r = key_read(serial, max, &secret);

	if (r == -EFBIG) {
		snprintf(reason, reason_size, "%s key 0x%08" PRIx32 " is longer than %zu bytes; is "
			 "it the right one?", what, (uint32_t)serial, max);
		return HS_KEY_UNUSABLE;
	}
	if (r < 0)
		return key_fault(what, serial, r, reason, reason_size);
	if (secret->len == 0) {
		snprintf(reason, reason_size, "%s key 0x%08" PRIx32 " is empty; add it again: keyctl "
			 "padd user NAME KEYRING < FILE", what, (uint32_t)serial);
		return HS_KEY_UNUSABLE;
	}
	*ret = TAKE_PTR(secret);
	return HS_OK;
}

/* The certificate, to a descriptor that can be given to a worker. */
static enum hs_outcome read_certificate(int32_t serial, const char *label, int *ret_fd,
					char *reason, size_t reason_size)
{
	CLEANUP(secret_freep) struct secret *secret = NULL;
	enum hs_outcome outcome = read_part("certificate", serial, IDENTITY_CERTIFICATE_MAX,
					    &secret, reason, reason_size);
	int fd;

	if (outcome != HS_OK)
		return outcome;
	if (has_private_key(secret->data, secret->len)) {
		snprintf(reason, reason_size, "certificate key 0x%08" PRIx32 " holds a private key; "
			 "put that in a key of its own, and check that cert_serial= and "
			 "privkey_serial= are not the wrong way round", (uint32_t)serial);
		return HS_KEY_UNUSABLE;
	}
	fd = file_memfd_from(secret->data, secret->len, label);
	if (fd < 0) {
		snprintf(reason, reason_size, "certificate key 0x%08" PRIx32 " cannot be copied: %s",
			 (uint32_t)serial, strerror(-fd));
		return fd == -ENOMEM || fd == -EMFILE || fd == -ENFILE ? HS_BUSY : HS_INTERNAL;
	}
	*ret_fd = fd;
	return HS_OK;
}

static enum hs_outcome read_both(struct own_identity *ret, int32_t certificate,
				 int32_t private_key, char *reason, size_t reason_size)
{
	struct own_identity own = { .certificate_fd = -1 };
	enum hs_outcome outcome;

	snprintf(own.certificate_label, sizeof(own.certificate_label),
		 "certificate 0x%08" PRIx32, (uint32_t)certificate);
	snprintf(own.private_key_label, sizeof(own.private_key_label),
		 "private key 0x%08" PRIx32, (uint32_t)private_key);
	outcome = check_type("certificate", certificate, reason, reason_size);
	if (outcome == HS_OK)
		outcome = check_type("private", private_key, reason, reason_size);
	if (outcome == HS_OK)
		outcome = read_certificate(certificate, own.certificate_label,
					   &own.certificate_fd, reason, reason_size);
	/* Last: a secret that will not be used is not read. */
	if (outcome == HS_OK)
		outcome = read_part("private", private_key, WIRE_KEY_MAX, &own.private_key, reason,
				    reason_size);
	if (outcome == HS_OK)
		*ret = own;
	else
		own_identity_clear(&own);
	return outcome;
}

enum hs_outcome own_identity_read(struct own_identity *ret, int32_t certificate,
				  int32_t private_key, int32_t keyring,
				  const char *const *keyrings, char *reason, size_t reason_size)
{
	CLEANUP(keyring_scope_closep) struct keyring_scope scope = { 0 };
	CLEANUP_FREE const char **names = keyring_names(own_keyrings, keyrings);
	enum hs_outcome outcome;
	int r;

	if (!certificate || !private_key) {
		snprintf(reason, reason_size, "the request names %s; mount with both cert_serial= and "
			 "privkey_serial=, or with neither to use the configured certificate",
			 certificate ? "a certificate and no private key" :
			 private_key ? "a private key and no certificate" :
			 "neither certificate nor private key");
		return HS_KEY_MISSING;
	}
	r = names ? keyring_scope_open(&scope, names, keyring) : -ENOMEM;
	if (r < 0)
		return keyring_scope_fault(r, reason, reason_size);
	outcome = read_both(ret, certificate, private_key, reason, reason_size);
	if (outcome == HS_KEY_DENIED)
		keyring_scope_explain(&scope, reason, reason_size);
	return outcome;
}
