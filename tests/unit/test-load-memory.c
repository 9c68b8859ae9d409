// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Good files are loaded while one allocation fails, whichever: of our code or of a library. That
 * must never be called a fault of the files, for then nobody would try again. A library may give
 * up (SIGABRT): then the process dies, which is tried again, too.
 *
 * Each try is a process of its own, for one allocation in STRIDE. The system's trust store is
 * large, and the library says nothing of want of memory then: there are fewer tries, the later the
 * fewer, and what was loaded must be all of it.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/ktls.h"
#include "common/passing.h"
#include "fail-malloc.h"
#include "tls-pair.h"
#include "tlshd/keeper/key.h"
#include "tlshd/worker/engine-private.h"

#define STRIDE 3
#define SYSTEM_STRIDE(n) (1 + (n) / 20)
#define MANY 1000000

enum load { LOADED, SHORT, BLAMED, NOT_HIT, DIED };

static char *crl;
static unsigned int n_system;	/* authorities in the system's store */
static int key_fd = -1;

static int load_worker(char *reason, size_t size)
{
	struct engine_config config = { .ciphers = 1u << KTLS_AES_256_GCM };
	struct engine *engine = NULL;
	int r;

	for (unsigned int role = 0; role < HS_N_ROLES; role++) {
		config.role[role].truststore = file_of(ca->pem, "trust.pem");
		config.role[role].crl = file_of(crl, "crl.pem");
		config.role[role].certificate[HS_IDENTITY_X509] =
			file_of(server_cert->pem, "cert.pem");
	}
	r = engine_new(&engine, &config, reason, size);
	engine_free(engine);
	return r;
}

static unsigned int count(gnutls_x509_trust_list_t list)
{
	gnutls_x509_trust_list_iter_t iter = NULL;
	gnutls_x509_crt_t ca_cert;
	unsigned int n = 0;

	while (gnutls_x509_trust_list_iter_get_ca(list, &iter, &ca_cert) == 0) {
		gnutls_x509_crt_deinit(ca_cert);
		n++;
	}
	return n;
}

/* Less than all is as if it were blamed on the files: nobody would try again. */
static int load_system(char *reason, size_t size)
{
	struct engine_config config = { .ciphers = 1u << KTLS_AES_256_GCM };
	struct engine *engine = NULL;
	int r = engine_new(&engine, &config, reason, size);

	fail_malloc_pause();
	if (r == 0 && count(engine->system_list) != n_system) {
		snprintf(reason, size, "%u of %u authorities", count(engine->system_list), n_system);
		r = -EBADMSG;
	}
	engine_free(engine);
	return r;
}

static int load_keeper(char *reason, size_t size)
{
	struct key *key = NULL;
	int r = key_load(&key, key_fd, "", "key.pem", reason, size);

	if (r == 0)
		r = key_check_certificate(key, server_cert->pem, strlen(server_cert->pem),
					  "key.pem", "cert.pem", reason, size);
	key_free(key);
	return r;
}

static const struct who {
	const char *name;
	int (*load)(char *reason, size_t size);
	bool is_long;
} who[] = {
	{ "worker", load_worker },
	{ "keeper", load_keeper },
	{ "system", load_system, true },
};

static void find_system(void)
{
	struct engine_config config = { .ciphers = 1u << KTLS_AES_256_GCM };
	struct engine *engine = NULL;
	char reason[512] = "";

	g_assert_cmpint(engine_new(&engine, &config, reason, sizeof(reason)), ==, 0);
	n_system = count(engine->system_list);
	engine_free(engine);
}

/* What is said of a blamed file goes to @out. */
static enum load load_once(const struct who *w, unsigned long n, int out)
{
	char reason[512] = "";
	bool hit;
	int r;

	fail_malloc_begin(n, FAIL_ONCE);
	r = w->load(reason, sizeof(reason));
	hit = fail_malloc_end();
	if (r < 0 && !is_passing(r))
		dprintf(out, "# allocation %lu: %d %s\n", n, r, reason);
	if (r < 0)
		return is_passing(r) ? SHORT : BLAMED;
	return hit ? LOADED : NOT_HIT;
}

static enum load try_one(const struct who *w, unsigned long n)
{
	const struct rlimit none = { 0, 0 };
	int status, out;
	pid_t pid = fork();

	g_assert_cmpint(pid, >=, 0);
	if (!pid) {
		setrlimit(RLIMIT_CORE, &none);
		alarm(30);
		out = dup(STDOUT_FILENO);
		if (!freopen("/dev/null", "w", stderr) || !freopen("/dev/null", "w", stdout))
			_exit(DIED);
		_exit(load_once(w, n, out));
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_false(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
	return WIFSIGNALED(status) ? DIED : (enum load)WEXITSTATUS(status);
}

static void test_load(gconstpointer data)
{
	const struct who *w = data;
	unsigned long n, tries = 0;
	unsigned int seen[DIED + 1] = { 0 };
	enum load v = LOADED;

	if (w->is_long && !n_system) {
		g_test_skip("this system has no trust store");
		return;
	}
	for (n = 1; v != NOT_HIT && n < MANY; n += w->is_long ? SYSTEM_STRIDE(n) : STRIDE) {
		v = try_one(w, n);
		seen[v]++;
		tries++;
	}
	g_test_message("%lu tries; loaded %u, short %u, blamed on the files %u, died %u", tries, seen[LOADED], seen[SHORT], seen[BLAMED], seen[DIED]);
	g_assert_cmpuint(seen[NOT_HIT], ==, 1);
	g_assert_cmpuint(seen[SHORT], >, 0);
	g_assert_cmpuint(seen[BLAMED], ==, 0);
}

int main(int argc, char **argv)
{
	const char *text;
	int r;

	g_test_init(&argc, &argv, NULL);
	pair_pki_new();
	find_system();
	crl = pki_crl(ca, client_cert, -60, 3600);
	text = server_cert->key_pem;
	key_fd = memfd_create("key", MFD_CLOEXEC);
	g_assert_cmpint(write(key_fd, text, strlen(text)), ==, (gint64)strlen(text));
	for (size_t i = 0; i < G_N_ELEMENTS(who); i++) {
		g_autofree char *path = g_strconcat("/load-memory/", who[i].name, NULL);

		g_test_add_data_func(path, &who[i], test_load);
	}
	r = g_test_run();
	fd_close(key_fd);
	g_free(crl);
	pair_pki_free();
	return r;
}
