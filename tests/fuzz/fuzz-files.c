// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Certificates and lists from files: the trust store, the list of revoked
 * certificates, our own chain. The first byte says which.
 */
#include "fixtures.h"
#include "fuzz-steady.h"
#include "fuzz.h"
#include "tlshd/worker/engine-private.h"

#define LABEL "/etc/x.pem (/etc/tlshd.conf:12)"

static struct engine_file file_of(const char *text)
{
	return (struct engine_file){ text, strlen(text), "ca.pem" };
}

static void check_reason(int r, const char *reason, size_t size)
{
	if (r >= 0)
		return;
	g_assert_cmpuint(strnlen(reason, size), <, size);
	g_assert_true(r == -ENOMEM || strstr(reason, LABEL));
}

static gnutls_x509_crt_t import(const char *pem)
{
	gnutls_datum_t data = { (unsigned char *)(uintptr_t)pem, (unsigned int)strlen(pem) };
	gnutls_x509_crt_t cert;

	g_assert_cmpint(gnutls_x509_crt_init(&cert), ==, 0);
	g_assert_cmpint(gnutls_x509_crt_import(cert, &data, GNUTLS_X509_FMT_PEM), ==, 0);
	return cert;
}

/*
 * Only its issuer can make a list: whatever an accepted one says against a
 * certificate of ours, it says by the issuer's signature.
 */
static void check_revocation(struct trust *trust)
{
	static gnutls_x509_crt_t client, issuer;
	struct verdict v = { .outcome = HS_OK };

	if (!client) {
		client = import(PEM_CLIENT_RSA_CRT);
		issuer = import(PEM_CA_CRT);
	}
	trust_check_revocation(trust, client, issuer, FUZZ_TIME, "the client's certificate", &v);
	if (v.outcome != HS_OK)
		g_assert_cmpuint(strnlen(v.reason, sizeof(v.reason)), >, 0);
}

static void load_trust(const struct engine_role *role)
{
	gnutls_x509_trust_list_t system = NULL;
	struct trust *trust = NULL;
	char reason[HS_TEXT_MAX];
	int r = trust_new(&trust, role, &system, 0, &fuzz_log, reason, sizeof(reason));

	check_reason(r, reason, sizeof(reason));
	g_assert_null(system);	/* a file that is named is never replaced by the system's store */
	if (r < 0)
		return;
	check_revocation(trust);
	g_assert_true(g_str_has_prefix(trust_name(trust), "the trust store "));
	trust_free(trust);
}

static void load_chain(const struct engine_file *file, enum hs_identity id)
{
	struct engine engine = { .log = &fuzz_log };
	struct identity identity = { .engine = &engine, .role = HS_SERVER, .id = id };
	gnutls_certificate_credentials_t credentials;
	char reason[HS_TEXT_MAX];
	int r;

	g_assert_cmpint(credentials_new(&credentials), ==, 0);
	r = credentials_add(credentials, &identity, file, reason, sizeof(reason));
	check_reason(r, reason, sizeof(reason));
	g_assert_true(r != 0 || id == HS_IDENTITY_X509_PQ);
	gnutls_certificate_free_credentials(credentials);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t how = take_u8(&in);
	g_autofree uint8_t *copy = exact_copy(in.at, in.left);
	struct engine_file file = { copy, in.left, LABEL };
	struct engine_role role = { .truststore = file_of(PEM_CA_CRT) };

	steady_reset();
	switch (how % 4) {
	case 0:
		role.truststore = file;
		load_trust(&role);
		break;
	case 1:
		role.crl = file;
		load_trust(&role);
		break;
	default:
		load_chain(&file, how % 4 == 2 ? HS_IDENTITY_X509 : HS_IDENTITY_X509_PQ);
	}
	return 0;
}
