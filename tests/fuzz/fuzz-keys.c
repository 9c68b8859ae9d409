// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Private keys from files and keyrings, as the keeper reads them, and
 * certificates from keyrings, in which the monitor looks for a private key
 * before it gives them to a worker. The first byte says which.
 */
#include <gnutls/gnutls.h>

#include "fixtures.h"
#include "fuzz-steady.h"
#include "fuzz.h"
#include "tlshd/keeper/key.h"
#include "tlshd/monitor/identity.c"

#define LABEL "private key 0x11"

static struct key *load(const void *data, size_t len)
{
	struct key *key = NULL;
	char reason[HS_TEXT_MAX];
	int r = key_load_memory(&key, data, len, LABEL, reason, sizeof(reason));

	g_assert_true(!r == !!key);
	g_assert_true(r == 0 || strstr(reason, LABEL));
	return key;
}

/* With a key that was read, whatever it is. The file's last bytes are what is to be signed. */
static void use(struct key *key, const uint8_t *data, size_t len)
{
	static const char *const algorithms[] = {
		"RSA-PSS-RSAE-SHA256", "RSA-PSS-SHA256", "ECDSA-SECP256R1-SHA256",
		"ECDSA-SECP384R1-SHA384", "EdDSA-Ed25519", "RSA-SHA256", "no such thing",
	};
	uint8_t content[64 + 34 + 32] = { 0 }, signature[1024];
	size_t n = MIN(len, sizeof(content));
	char reason[HS_TEXT_MAX];
	int good = 0;

	key_check_certificate(key, PEM_SERVER_CRT, sizeof(PEM_SERVER_CRT) - 1, LABEL, "cert.pem",
			      reason, sizeof(reason));
	for (size_t i = 0; i < G_N_ELEMENTS(algorithms); i++) {
		/* Whatever came with the key is no CertificateVerify of a server. */
		g_assert_cmpint(key_sign(key, HS_SERVER, algorithms[i], data + len - n, n,
					 signature, sizeof(signature)), <, 0);
		memset(content, ' ', 64);
		memcpy(content + 64, "TLS 1.3, server CertificateVerify", 34);
		good += key_sign(key, HS_SERVER, algorithms[i], content, sizeof(content), signature,
				 sizeof(signature)) > 0;
		g_assert_cmpint(key_sign(key, HS_CLIENT, algorithms[i], content, sizeof(content),
					 signature, sizeof(signature)), <, 0);
	}
	g_assert_cmpint(good, <=, 1);
}

static void on_key(const uint8_t *data, size_t len)
{
	CLEANUP(key_freep) struct key *key = load(data, len);

	if (key)
		use(key, data, len);
}

static void on_certificate(const uint8_t *data, size_t len)
{
	static struct key *ours;
	char reason[HS_TEXT_MAX];
	int r;

	if (!ours)
		ours = load(PEM_SERVER_KEY, sizeof(PEM_SERVER_KEY) - 1);
	r = key_check_certificate(ours, data, len, LABEL, "CERT", reason, sizeof(reason));
	g_assert_true(r == 0 || strstr(reason, "CERT") || strstr(reason, LABEL));
}

/* What the library can read as a private key, from any of its beginnings, must be seen. */
static void on_identity(const uint8_t *data, size_t len)
{
	const uint8_t *at = data;
	size_t left = len;

	g_assert_true(len > 0 || !has_private_key(data, len));
	while (left > 0 && !has_private_key(data, len)) {
		size_t size = der_sequence_size(at, left);
		CLEANUP(key_freep) struct key *key = load(at, size ? size : left);

		g_assert_cmpuint(size, <=, left);
		g_assert_null(key);
		if (!size)
			break;
		at += size;
		left -= size;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t how = take_u8(&in);
	g_autofree uint8_t *copy = exact_copy(in.at, in.left);

	steady_reset();
	switch (how % 3) {
	case 0:
		on_key(copy, in.left);
		break;
	case 1:
		on_certificate(copy, in.left);
		break;
	default:
		on_identity(copy, in.left);
	}
	return 0;
}
