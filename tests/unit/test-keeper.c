// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A whole keeper: keeper_main() in a process made by spawn_child(), which runs
 * this program again. The test is its monitor and its worker.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "keeper-world.h"
#include "tlshd/keeper/grants.h"

/* --- keys of every form --- */

struct form {
	const char *name;
	gnutls_x509_crt_fmt_t format;
	bool old;	/* PKCS #1 or SEC 1 instead of PKCS #8 */
};

static const struct form forms[] = {
	{ "pem", GNUTLS_X509_FMT_PEM, false }, { "der", GNUTLS_X509_FMT_DER, false },
	{ "old-pem", GNUTLS_X509_FMT_PEM, true }, { "old-der", GNUTLS_X509_FMT_DER, true },
};

static gnutls_datum_t export_key(const struct pki_cert *cert, const struct form *form)
{
	gnutls_datum_t out;

	if (form->old)
		g_assert_cmpint(gnutls_x509_privkey_export2(cert->key, form->format, &out), ==, 0);
	else
		g_assert_cmpint(gnutls_x509_privkey_export2_pkcs8(cert->key, form->format, NULL,
								  GNUTLS_PKCS_PLAIN, &out), ==, 0);
	return out;
}

static void test_forms(struct world *w, gconstpointer arg)
{
	struct pki_spec spec = { .key = GPOINTER_TO_UINT(arg) };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	bool has_old = spec.key == PKI_RSA2048 || spec.key == PKI_P256 || spec.key == PKI_P384 ||
		       spec.key == PKI_P521;
	uint64_t job = 0;

	for (unsigned int i = 0; i < G_N_ELEMENTS(forms); i++) {
		for (int cert_der = 0; cert_der < 2 && (has_old || !forms[i].old); cert_der++) {
			gnutls_datum_t key = export_key(cert, &forms[i]);
			g_autofree void *der = NULL;
			size_t size = strlen(cert->pem);

			if (cert_der)
				der = pki_der(cert, &size);
			send_key(w, ++job, HS_CLIENT, key.data, key.size, der ? der : cert->pem,
				 size);
			gnutls_free(key.data);
			expect_loaded(w, job);
			expect_signature(w, job, HS_CLIENT, HS_IDENTITY_JOB, cert, spec.key);
			expect_violation(w, job, HS_CLIENT, HS_IDENTITY_JOB, spec.key);
		}
	}
	g_assert_cmpuint(job, ==, has_old ? 8 : 4);
	pki_free(cert);
}

static void test_chain(struct world *w, gconstpointer unused)
{
	struct pki_spec ca = { .ca = true }, leaf = { .key = PKI_RSA2048 };
	struct pki_cert *root = pki_issue(&ca, NULL), *cert = pki_issue(&leaf, root);
	g_autofree char *chain = pki_chain(cert, root, NULL), *wrong = pki_chain(root, cert, NULL);

	give(w, 1, HS_CLIENT, cert->key_pem, chain);
	expect_loaded(w, 1);
	expect_signature(w, 1, HS_CLIENT, HS_IDENTITY_JOB, cert, PKI_RSA2048);
	give(w, 2, HS_CLIENT, cert->key_pem, wrong);
	expect_refused(w, 2, HS_KEY_UNUSABLE, "does not belong to the first certificate in "
		       "certificate 0x22");
	pki_free(cert);
	pki_free(root);
}

/* --- what cannot be used --- */

static void test_unusable(struct world *w, gconstpointer unused)
{
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *cert = pki_issue(&spec, NULL), *other = pki_issue(&spec, NULL);
	g_autofree char *cut = g_strndup(cert->key_pem, strlen(cert->key_pem) / 2);
	gnutls_datum_t out;

	give(w, 1, HS_CLIENT, cert->key_pem, other->pem);
	expect_refused(w, 1, HS_KEY_UNUSABLE, "private key 0x11 does not belong to");
	give(w, 1, HS_CLIENT, "hello", cert->pem);
	expect_refused(w, 1, HS_KEY_UNUSABLE, "private key 0x11 is not a private key");
	give(w, 1, HS_CLIENT, "", cert->pem);
	expect_refused(w, 1, HS_KEY_UNUSABLE, "private key 0x11 is empty");
	give(w, 1, HS_CLIENT, cut, cert->pem);
	expect_refused(w, 1, HS_KEY_UNUSABLE, "is not a private key");
	give(w, 1, HS_CLIENT, cert->pem, cert->pem);
	expect_refused(w, 1, HS_KEY_UNUSABLE, "holds no private key");
	give(w, 1, HS_CLIENT, cert->key_pem, "hello");
	expect_refused(w, 1, HS_KEY_UNUSABLE, "certificate 0x22 holds no certificate");
	give(w, 1, HS_CLIENT, cert->key_pem, cert->key_pem);
	expect_refused(w, 1, HS_KEY_UNUSABLE, "certificate 0x22 holds no certificate");
	give(w, 1, HS_CLIENT, cert->key_pem, "");
	expect_refused(w, 1, HS_KEY_UNUSABLE, "certificate 0x22 is empty");
	for (unsigned int i = 0; i < 2; i++) {
		g_assert_cmpint(gnutls_x509_privkey_export2_pkcs8(cert->key, forms[i].format, "secret",
								  GNUTLS_PKCS_PBES2_AES_256, &out),
				==, 0);
		send_key(w, 1, HS_CLIENT, out.data, out.size, cert->pem, strlen(cert->pem));
		gnutls_free(out.data);
		expect_refused(w, 1, HS_KEY_UNUSABLE, "private key 0x11 is encrypted");
	}
	/* None of them left anything: there is no key, and the same job may get one. */
	give(w, 1, HS_CLIENT, cert->key_pem, cert->pem);
	expect_loaded(w, 1);
	expect_signature(w, 1, HS_CLIENT, HS_IDENTITY_JOB, cert, PKI_P256);
	give(w, 1, HS_CLIENT, cert->key_pem, other->pem);
	expect_refused(w, 1, HS_KEY_UNUSABLE, "private key 0x11 does not belong to");
	expect_violation(w, 1, HS_CLIENT, HS_IDENTITY_JOB, PKI_P256);
	pki_free(cert);
	pki_free(other);
}

/* --- whose key it is --- */

static void test_two_jobs(struct world *w, gconstpointer unused)
{
	struct pki_spec spec[] = { { .key = PKI_P256 }, { .key = PKI_P256 } };
	struct pki_cert *cert[] = { pki_issue(&spec[0], NULL), pki_issue(&spec[1], NULL) };

	give(w, 7, HS_CLIENT, cert[0]->key_pem, cert[0]->pem);
	give(w, UINT64_MAX, HS_CLIENT, cert[1]->key_pem, cert[1]->pem);
	expect_loaded(w, 7);
	expect_loaded(w, UINT64_MAX);
	expect_signature(w, UINT64_MAX, HS_CLIENT, HS_IDENTITY_JOB, cert[1], PKI_P256);
	expect_signature(w, 7, HS_CLIENT, HS_IDENTITY_JOB, cert[0], PKI_P256);
	expect_violation(w, 8, HS_CLIENT, HS_IDENTITY_JOB, PKI_P256);
	pki_free(cert[0]);
	pki_free(cert[1]);
}

static void test_cancel(struct world *w, gconstpointer unused)
{
	struct pki_spec spec = { .key = PKI_ED25519 };
	struct pki_cert *cert = pki_issue(&spec, NULL);

	cancel(w, 99);	/* of a job without a key, which is most */
	for (uint64_t job = 1; job <= 3; job++) {
		give(w, job, HS_CLIENT, cert->key_pem, cert->pem);
		expect_loaded(w, job);
	}
	cancel(w, 2);
	cancel(w, 2);
	/* The two channels have no order between them: an answer from the monitor's says it is done. */
	give(w, 4, HS_CLIENT, "x", cert->pem);
	expect_refused(w, 4, HS_KEY_UNUSABLE, "");
	/* Its worker may have asked before it heard; but not twice. */
	expect_refused_signature(w, 2, HS_CLIENT, PKI_ED25519, ENOBUFS);
	expect_signature(w, 1, HS_CLIENT, HS_IDENTITY_JOB, cert, PKI_ED25519);
	expect_signature(w, 3, HS_CLIENT, HS_IDENTITY_JOB, cert, PKI_ED25519);
	/* Its number is free again. */
	give(w, 2, HS_SERVER, cert->key_pem, cert->pem);
	expect_loaded(w, 2);
	expect_signature(w, 2, HS_SERVER, HS_IDENTITY_JOB, cert, PKI_ED25519);
	expect_violation(w, 2, HS_SERVER, HS_IDENTITY_JOB, PKI_ED25519);
	pki_free(cert);
}

static void test_role(struct world *w, gconstpointer unused)
{
	struct pki_spec spec = { .key = PKI_P384 };
	struct pki_cert *cert = pki_issue(&spec, NULL);

	for (unsigned int role = 0; role < HS_N_ROLES; role++) {
		enum hs_role other = role == HS_CLIENT ? HS_SERVER : HS_CLIENT;

		give(w, 1 + role, role, cert->key_pem, cert->pem);
		expect_loaded(w, 1 + role);
		expect_violation(w, 1 + role, other, HS_IDENTITY_JOB, PKI_P384);
		give(w, 1 + role, role, cert->key_pem, cert->pem);
		expect_loaded(w, 1 + role);
		expect_signature(w, 1 + role, role, HS_IDENTITY_JOB, cert, PKI_P384);
	}
	pki_free(cert);
}

/* A try that fails uses the key up, too. */
static void test_once(struct world *w, gconstpointer unused)
{
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *cert = pki_issue(&spec, NULL);

	give(w, 1, HS_CLIENT, cert->key_pem, cert->pem);
	expect_loaded(w, 1);
	expect_refused_signature(w, 1, HS_CLIENT, PKI_RSA2048, EINVAL);
	expect_violation(w, 1, HS_CLIENT, HS_IDENTITY_JOB, PKI_P256);
	pki_free(cert);
}

/* The configured key is another one, and neither stands in for the other. */
static void test_configured(void)
{
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *own = pki_issue(&spec, NULL), *named = pki_issue(&spec, NULL);
	struct world w = { 0 };

	start_keeper(&w);
	send_file(&w, WIRE_FILE_CERTIFICATE, HS_CLIENT, own->pem);
	send_file(&w, WIRE_FILE_PRIVATE_KEY, HS_CLIENT, own->key_pem);
	begin(&w);
	give(&w, 1, HS_CLIENT, named->key_pem, named->pem);
	expect_loaded(&w, 1);
	grant(&w, 2, HS_CLIENT);
	grant(&w, 3, HS_CLIENT);
	expect_signature(&w, 3, HS_CLIENT, HS_IDENTITY_X509, own, PKI_P256);
	expect_signature(&w, 1, HS_CLIENT, HS_IDENTITY_JOB, named, PKI_P256);
	expect_signature(&w, 2, HS_CLIENT, HS_IDENTITY_X509, own, PKI_P256);
	/* A request that names a key does not get the configured one, nor the other way round. */
	give(&w, 4, HS_CLIENT, named->key_pem, named->pem);
	expect_loaded(&w, 4);
	expect_violation(&w, 4, HS_CLIENT, HS_IDENTITY_X509, PKI_P256);
	grant(&w, 5, HS_CLIENT);
	expect_violation(&w, 5, HS_CLIENT, HS_IDENTITY_JOB, PKI_P256);
	end_keeper(&w);
	pki_free(own);
	pki_free(named);
}

/* One signature for each handshake that runs, as what it is. */
static void test_grants(void)
{
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *own = pki_issue(&spec, NULL);
	const struct {
		uint64_t granted;	/* to a client; 0: none */
		bool used, ended;
		uint64_t asked;
		enum hs_role role;
	} bad[] = {
		{ 0, false, false, 1, HS_CLIENT },
		{ 1, false, false, 2, HS_CLIENT },
		{ 1, false, false, 1, HS_SERVER },
		{ 1, true, false, 1, HS_CLIENT },
		{ 1, true, true, 1, HS_CLIENT },
		{ 1, true, false, 0, HS_CLIENT },
	};

	for (unsigned int i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct world w = { 0 };

		start_keeper(&w);
		send_file(&w, WIRE_FILE_CERTIFICATE, HS_CLIENT, own->pem);
		send_file(&w, WIRE_FILE_PRIVATE_KEY, HS_CLIENT, own->key_pem);
		begin(&w);
		if (bad[i].granted)
			grant(&w, bad[i].granted, HS_CLIENT);
		if (bad[i].used)
			expect_signature(&w, bad[i].granted, HS_CLIENT, HS_IDENTITY_X509, own,
					 PKI_P256);
		if (bad[i].ended)
			cancel(&w, bad[i].granted);
		expect_violation(&w, bad[i].asked, bad[i].role, HS_IDENTITY_X509, PKI_P256);
		end_keeper(&w);
	}
	pki_free(own);
}

static void test_limit(struct world *w, gconstpointer unused)
{
	struct pki_spec spec = { .key = PKI_ED25519 };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	uint64_t job;

	for (job = 1; job <= GRANT_KEYS_MAX; job++) {
		give(w, job, HS_CLIENT, cert->key_pem, cert->pem);
		expect_loaded(w, job);
	}
	give(w, job, HS_CLIENT, cert->key_pem, cert->pem);
	expect_refused(w, job, HS_BUSY, "4096 keys");
	cancel(w, GRANT_KEYS_MAX / 2);
	give(w, job, HS_CLIENT, cert->key_pem, cert->pem);
	expect_loaded(w, job);
	expect_signature(w, job, HS_CLIENT, HS_IDENTITY_JOB, cert, PKI_ED25519);
	expect_signature(w, 1, HS_CLIENT, HS_IDENTITY_JOB, cert, PKI_ED25519);
	pki_free(cert);
}

/* --- the end --- */

static void violate(struct world *w, const struct wire_message *msg, bool with_fd)
{
	int fd = with_fd ? memory("x", 1) : -1;

	g_assert_cmpint(channel_send(w->monitor, msg, fd), ==, 0);
	fd_close(fd);
	g_assert_cmpint(wait_end(w), ==, EX_IOERR);
}

static void test_violations(void)
{
	const struct {
		struct wire_message msg;
		bool with_fd;
	} cases[] = {
		{ { .type = WIRE_KEY, .key = { .job = 1, .data = "x", .len = 1 } }, false },
		{ { .type = WIRE_CANCEL }, true },
		{ { .type = WIRE_GRANT, .grant.job = 1 }, true },
		{ { .type = WIRE_START }, false },
		{ { .type = WIRE_FILE }, true },
		{ { .type = WIRE_DRAIN }, false },
		{ { .type = WIRE_PSK }, false },
		{ { .type = WIRE_CERTIFICATE }, true },
		{ { .type = WIRE_KEY_LOADED }, false },
		{ { .type = WIRE_SIGN }, false },
	};

	for (unsigned int i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct world w = { 0 };

		start_keeper(&w);
		begin(&w);
		violate(&w, &cases[i].msg, cases[i].with_fd);
		close_channels(&w);
	}
}

static void test_second_key(struct world *w, gconstpointer unused)
{
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *cert = pki_issue(&spec, NULL);

	give(w, 1, HS_CLIENT, cert->key_pem, cert->pem);
	expect_loaded(w, 1);
	give(w, 1, HS_CLIENT, cert->key_pem, cert->pem);
	g_assert_cmpint(wait_end(w), ==, EX_IOERR);
	pki_free(cert);
}

static void test_second_grant(struct world *w, gconstpointer unused)
{
	grant(w, 1, HS_CLIENT);
	grant(w, 1, HS_SERVER);
	g_assert_cmpint(wait_end(w), ==, EX_IOERR);
}

static void test_garbage(struct world *w, gconstpointer unused)
{
	g_assert_cmpint(send(w->monitor, "\xff\xff\xff", 3, MSG_NOSIGNAL), ==, 3);
	g_assert_cmpint(wait_end(w), ==, EX_IOERR);
}

/* What a worker may not say, it may not say about a job's keys either. */
static void test_worker_sends_key(struct world *w, gconstpointer unused)
{
	struct wire_message msg = { .type = WIRE_KEY, .key.job = 1 };
	int fd = memory("x", 1);

	g_assert_cmpint(channel_send(w->worker, &msg, fd), ==, 0);
	close(fd);
	g_assert_cmpint(wait_end(w), ==, EX_PROTOCOL);
}

static void test_monitor_ends(struct world *w, gconstpointer unused)
{
	close(w->monitor);
	w->monitor = -1;
	g_assert_cmpint(wait_end(w), ==, EX_OK);
}

static void test_worker_ends(struct world *w, gconstpointer unused)
{
	close(w->worker);
	w->worker = -1;
	g_assert_cmpint(wait_end(w), ==, EX_OK);
}

/* --- what is left of a key --- */

/* RFC 5208 and SEC 1 have the private number as 32 bytes; the library computes with words, lowest first. */
static void needles(const struct pki_cert *cert, uint8_t big[32], uint8_t little[32])
{
	gnutls_datum_t k, x, y;
	gnutls_ecc_curve_t curve;

	g_assert_cmpint(gnutls_x509_privkey_export_ecc_raw(cert->key, &curve, &x, &y, &k), ==, 0);
	memset(big, 0, 32);
	for (unsigned int i = 0; i < 32 && i < k.size; i++)
		big[31 - i] = k.data[k.size - 1 - i];
	for (unsigned int i = 0; i < 32; i++)
		little[i] = big[31 - i];
	gnutls_free(k.data);
	gnutls_free(x.data);
	gnutls_free(y.data);
}

/* In halves, so that one of them overwritten does not hide the other. */
static int n_traces(struct world *w, const uint8_t big[32], const uint8_t little[32],
		    const char *pem)
{
	int n = scan_process(w->pid, big, 16);

	if (n < 0)
		return n;
	n += scan_process(w->pid, big + 16, 16);
	n += scan_process(w->pid, little, 16) + scan_process(w->pid, little + 16, 16);
	/* The second line of base64 has most of the number. */
	pem = strchr(strchr(pem, '\n') + 1, '\n') + 1;
	return n + scan_process(w->pid, pem, 20);
}

static void test_traces(struct world *w, gconstpointer arg)
{
	const struct form *form = arg;
	struct pki_spec spec = { .key = PKI_P256 };
	struct pki_cert *cert = pki_issue(&spec, NULL);
	uint8_t big[32], little[32];
	gnutls_datum_t key = export_key(cert, form);
	int n;

	needles(cert, big, little);
	n = n_traces(w, big, little, cert->key_pem);
	if (n < 0) {
		g_test_skip("the memory of a process that cannot be dumped needs CAP_SYS_PTRACE");
		gnutls_free(key.data);
		pki_free(cert);
		return;
	}
	g_assert_cmpint(n, ==, 0);
	for (uint64_t job = 1; job <= 3; job++) {
		send_key(w, job, HS_CLIENT, key.data, key.size, cert->pem, strlen(cert->pem));
		expect_loaded(w, job);
		/* It is there: we can see it. */
		g_assert_cmpint(n_traces(w, big, little, cert->key_pem), >, 0);
		if (job == 1)
			expect_signature(w, job, HS_CLIENT, HS_IDENTITY_JOB, cert, PKI_P256);
		else if (job == 2)
			cancel(w, job);
		else
			expect_refused_signature(w, job, HS_CLIENT, PKI_RSA2048, EINVAL);
		/* Once it answers this it has done that. */
		give(w, 100, HS_CLIENT, "x", cert->pem);
		expect_refused(w, 100, HS_KEY_UNUSABLE, "");
		g_assert_cmpint(n_traces(w, big, little, cert->key_pem), ==, 0);
	}
	/* And of one that was refused. */
	send_key(w, 4, HS_CLIENT, key.data, key.size, "x", 1);
	expect_refused(w, 4, HS_KEY_UNUSABLE, "");
	g_assert_cmpint(n_traces(w, big, little, cert->key_pem), ==, 0);
	gnutls_free(key.data);
	pki_free(cert);
}

#define ADD(name, data, fn) \
	g_test_add("/keeper/" name, struct world, data, set_up, fn, tear_down)

int main(int argc, char **argv)
{
	char path[64];

	if (argc > 1 && g_str_has_prefix(argv[1], "--role="))
		keeper_child(argv);
	g_test_init(&argc, &argv, NULL);
	for (unsigned int i = 0; i < PKI_N_KEY_TYPES; i++) {
		g_snprintf(path, sizeof(path), "/keeper/forms/%s", pki_key_name(i));
		g_test_add(path, struct world, GUINT_TO_POINTER(i), set_up, test_forms, tear_down);
	}
	ADD("chain", NULL, test_chain);
	ADD("unusable", NULL, test_unusable);
	ADD("two-jobs", NULL, test_two_jobs);
	ADD("cancel", NULL, test_cancel);
	ADD("role", NULL, test_role);
	ADD("once", NULL, test_once);
	g_test_add_func("/keeper/configured", test_configured);
	g_test_add_func("/keeper/grants", test_grants);
	ADD("limit", NULL, test_limit);
	g_test_add_func("/keeper/violations", test_violations);
	ADD("second-key", NULL, test_second_key);
	ADD("second-grant", NULL, test_second_grant);
	ADD("garbage", NULL, test_garbage);
	ADD("worker-sends-key", NULL, test_worker_sends_key);
	ADD("monitor-ends", NULL, test_monitor_ends);
	ADD("worker-ends", NULL, test_worker_ends);
#ifndef __SANITIZE_ADDRESS__
	for (unsigned int i = 0; i < G_N_ELEMENTS(forms); i++) {
		g_snprintf(path, sizeof(path), "/keeper/traces/%s", forms[i].name);
		g_test_add(path, struct world, &forms[i], set_up, test_traces, tear_down);
	}
#else
	(void)test_traces;
#endif
	return g_test_run();
}
