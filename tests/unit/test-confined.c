// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whole handshakes by the worker's engine inside of a worker's filter, both ends in one
 * process: what the library does late, where nobody expects it, is found here without a
 * kernel that has TLS. (setsockopt() is not called here, and the keeper's key is used directly.)
 */
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build-config.h"
#include "common/sandbox.h"
#include "tls-pair.h"

#define TOKEN "pkcs11:model=p11-kit-trust"

/* The system's trust store as on systems where it is a token: the way that the library is built there. */
static bool store_is_token;

int __real_gnutls_x509_trust_list_add_system_trust(gnutls_x509_trust_list_t list,
						   unsigned int flags, unsigned int verify);
int __wrap_gnutls_x509_trust_list_add_system_trust(gnutls_x509_trust_list_t list,
						   unsigned int flags, unsigned int verify);

int __wrap_gnutls_x509_trust_list_add_system_trust(gnutls_x509_trust_list_t list,
						   unsigned int flags, unsigned int verify)
{
	if (store_is_token)
		return gnutls_x509_trust_list_add_trust_file(list, TOKEN, NULL,
							     GNUTLS_X509_FMT_PEM, flags, verify);
	return __real_gnutls_x509_trust_list_add_system_trust(list, flags, verify);
}

static bool token_is_here(void)
{
	gnutls_x509_trust_list_t list;
	int n;

	g_assert_cmpint(gnutls_x509_trust_list_init(&list, 0), ==, 0);
	n = gnutls_x509_trust_list_add_trust_file(list, TOKEN, NULL, GNUTLS_X509_FMT_PEM, 0, 0);
	gnutls_x509_trust_list_deinit(list, 1);
	g_test_message("%s: %d certificates", TOKEN, n);
	return n > 0;
}

static bool ended(const struct pair *p)
{
	return p->status[HS_CLIENT] == SESSION_ENDED && p->status[HS_SERVER] == SESSION_ENDED;
}

/* Its own loop, for pair_run() sleeps and talks. */
static void steps(struct pair *p)
{
	for (unsigned int idle = 0; idle < 2000 && !ended(p); idle++) {
		bool moved = pair_step(p, HS_CLIENT);

		moved |= pair_step(p, HS_SERVER);
		if (moved)
			idle = 0;
		else
			poll(NULL, 0, 1);
	}
}

static void say(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		_exit(97);
}

/* In the child, which ends with 0 when the client's outcome is @expected. */
static void confined(struct side *client, struct side *server, enum hs_outcome expected)
{
	const char *step = "";
	struct pair p;

	alarm(60);
	pair_open(&p, client, server);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || sandbox_filter(SANDBOX_WORKER, &step) < 0)
		_exit(98);
	pair_start(&p);
	steps(&p);
	if (!ended(&p) || p.result[HS_CLIENT].outcome != expected) {
		say(p.result[HS_CLIENT].reason);
		say("; ");
		say(p.result[HS_SERVER].reason);
		_exit(99);
	}
	_exit(0);
}

static void run(struct side *client, struct side *server, enum hs_outcome expected)
{
	int status;
	pid_t pid = fork();

	g_assert_no_errno(pid);
	if (pid == 0) {
		test_log.sink = NULL;	/* else into the test's output, by write() */
		confined(client, server, expected);
	}
	g_assert_no_errno(waitpid(pid, &status, 0));
	if (WIFSIGNALED(status))
		g_test_message("killed by signal %d", WTERMSIG(status));
	g_assert_cmpint(status, ==, 0);
}

static void test_mutual(void)
{
	struct side client = plain_client(), server = plain_server();

	client.chain = client_cert->pem;
	client.key = client_cert;
	run(&client, &server, HS_OK);
}

static void test_unknown_issuer(void)
{
	struct side client = plain_client(), server = plain_server();

	client.trust = other_ca->pem;
	run(&client, &server, HS_CERT_UNKNOWN_ISSUER);
}

static void test_system_file(void)
{
	struct side client = plain_client(), server = plain_server();

	client.trust = NULL;
	run(&client, &server, HS_CERT_UNKNOWN_ISSUER);
}

static void test_system_token(void)
{
	if (!token_is_here()) {
		g_test_skip("p11-kit's token with the system's trust store is not installed");
		return;
	}
	store_is_token = true;
	test_system_file();
	store_is_token = false;
}

/* Dates become text, for which the C library would like to know the time zone. */
static void test_date(void)
{
	struct side client = plain_client(), server = plain_server();
	struct pki_spec spec = { .dns = { NAME }, .from = -7200, .until = -60 };
	struct pki_cert *expired = pki_issue(&spec, ca);

	server.chain = expired->pem;
	server.key = expired;
	run(&client, &server, HS_CERT_EXPIRED);
	pki_free(expired);
}

int main(int argc, char **argv)
{
	int r;

	g_test_init(&argc, &argv, NULL);
	if (TLSHD_SANDBOX_OFF) {
		printf("1..0 # SKIP this build has no sandbox: sanitizers need calls of their own\n");
		return 0;
	}
	pair_pki_new();
	g_test_add_func("/confined/mutual", test_mutual);
	g_test_add_func("/confined/unknown-issuer", test_unknown_issuer);
	g_test_add_func("/confined/date", test_date);
	g_test_add_func("/confined/system-file", test_system_file);
	g_test_add_func("/confined/system-token", test_system_token);
	r = g_test_run();
	pair_pki_free();
	return r;
}
